#!/usr/bin/env python3
"""Writes the fixtures of this folder with TensorFlow 2.21: python3 generate.py

dtypes       one variable of each type, with shapes from scalar to rank 3, an empty one among them
partitioned  variables in slices: along either dimension, on a grid, sizes that need more than one
             byte in a slice's key
escaped      a slice whose tensor's name needs escapes in its key
saver        a variable split by a partitioner, saved by a Saver
sharded      a checkpoint of two data shards
strings      tensors of strings
v1           the old format, which the reader refuses
"""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

here = os.path.dirname(os.path.abspath(__file__))


def path(name):
    return os.path.join(here, name)


def save_slices(prefix, tensors):
    """tensors: (name, shape and slices or "", value)"""
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[t[0] for t in tensors],
        shape_and_slices=[t[1] for t in tensors],
        tensors=[tf.constant(t[2]) for t in tensors],
    )


def ramp(*shape):
    """0, 1, 2, … in C order."""
    return np.arange(np.prod(shape, dtype=np.int64), dtype=np.float32).reshape(shape)


values = np.array([0, 1, -1, 0.5, 3.140625, -65504, 2.0**-24, 2.0**-14, np.inf, -np.inf])
save_slices(path("dtypes"), [
    ("float32", "", values.astype(np.float32)),
    ("float64", "", np.append(values, 1 / 3).astype(np.float64)),
    ("float16", "", values.astype(np.float16)),
    ("bfloat16", "", values.astype(tf.bfloat16.as_numpy_dtype)),
    ("int64", "", np.array([[0, 1, -1], [2**24, 2**24 + 1, -(2**62)]], np.int64)),
    ("scalar", "", np.int64(12345)),
    ("int32", "", np.array([1, 2, 3], np.int32)),
    ("bool", "", np.array([True, False])),
    ("complex128", "", np.array([1 + 2j])),
    ("empty", "", np.zeros((0, 3), np.float32)),
    ("rank3", "", ramp(2, 3, 4)),
])

rows, columns, grid = ramp(7, 4), ramp(3, 200), ramp(4, 5, 6)
save_slices(
    path("partitioned"),
    [("rows", f"7 4 {start},{n}:-", rows[start:start + n]) for start, n in [(0, 3), (3, 2), (5, 2)]]
    + [("columns", f"3 200 -:{start},{n}", columns[:, start:start + n]) for start, n in [(130, 70), (0, 63), (63, 67)]]
    + [("grid", f"4 5 6 -:{i},{n}:{j},{m}", grid[:, i:i + n, j:j + m])
       for i, n in [(0, 2), (2, 3)] for j, m in [(0, 1), (1, 5)]]
    + [("whole", "", ramp(5))],
)

save_slices(path("escaped"), [
    (b"odd\xff\x00", f"3 2 {i},{n}:-", ramp(3, 2)[i:i + n]) for i, n in [(0, 1), (1, 2)]
])

# What training code makes.
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    with tf.compat.v1.variable_scope("scope", partitioner=tf.compat.v1.fixed_size_partitioner(3)):
        kernel = tf.compat.v1.get_variable("kernel", [10, 2])
    tf.compat.v1.get_variable("global_step", [], tf.int64, tf.compat.v1.constant_initializer(7))
    session.run(tf.compat.v1.global_variables_initializer())
    for part, value in zip(kernel, np.array_split(ramp(10, 2), 3)):
        session.run(part.assign(value))
    saver = tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V2)
    saver.save(session, path("saver"), write_meta_graph=False, write_state=False)

save_slices(path("part0"), [("a", "", ramp(3)), ("s", "4 2 0,2:-", ramp(4, 2)[:2])])
save_slices(path("part1"), [("b", "", ramp(2, 2)), ("s", "4 2 2,2:-", ramp(4, 2)[2:])])
tf.raw_ops.MergeV2Checkpoints(
    checkpoint_prefixes=[path("part0"), path("part1")], destination_prefix=path("sharded"), delete_old_dirs=False)
os.remove(path("part0.index"))
os.remove(path("part1.index"))

save_slices(path("strings"), [
    ("scalar", "", b"one string"),
    ("vector", "", [b"", b"a", b"\x00\xff" * 300]),
    ("numbers", "", ramp(4)),
])

with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    tf.compat.v1.get_variable("a", [2])
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V1).save(
        session, path("v1"), write_meta_graph=False, write_state=False)
