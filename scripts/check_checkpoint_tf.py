#!/usr/bin/env python3
"""Loads every variable of a checkpoint with TensorFlow and prints what it holds.

    check_checkpoint_tf.py PREFIX

One line of JSON per variable, sorted by name: name, dtype, shape, and, if its elements are real
numbers, their sum in float64 (null if not finite), the first five, and the SHA-256 of all of them as
little-endian float32. Needs TensorFlow 2 (pip install tensorflow-cpu==2.21.0).
"""
import hashlib
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    reader = tf.train.load_checkpoint(sys.argv[1])
    for name in sorted(reader.get_variable_to_shape_map()):
        value = np.asarray(reader.get_tensor(name))
        line = {"name": name, "dtype": str(value.dtype), "shape": list(value.shape)}
        if value.dtype.kind in "fiub" or value.dtype == tf.bfloat16.as_numpy_dtype:
            with np.errstate(all="ignore"):
                total = value.sum(dtype=np.float64)
                value = value.astype("<f4")
            line["sum"] = float(total) if np.isfinite(total) else None
            line["first"] = [str(x) for x in value.ravel()[:5]]
            line["sha256"] = hashlib.sha256(value.tobytes()).hexdigest()
        print(json.dumps(line))


if __name__ == "__main__":
    main()
