"""thingsvision's own functions take the features that the command writes, as docs/python.md shows.

It runs in an environment with thingsvision, which brings torch and TensorFlow.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import numpy as np
from thingsvision.utils.storing import save_features

from tfconvrnn import _program

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Extract, run the page's block, and compare with what the numbers have to be."""
    folder = Path(tempfile.mkdtemp(prefix="tfconvrnn-thingsvision-"))
    os.chdir(folder)
    random = np.random.default_rng(1)
    np.save("images.npy", random.integers(0, 256, (12, 224, 224, 3), dtype=np.uint8))
    flags = {"model": "timedecay_shallow", "weights": "seeded:1", "layers": "conv4,conv5", "reduce": ["gap"]}
    _program.run_json(["extract"], {**flags, "out": "features.npy"}, ["images.npy"])
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python thingsvision\n(.*?)^```$", page, re.M | re.S)
    names: dict[str, object] = {}
    lines = block.splitlines()
    *_, rdms, cka = lines
    exec("\n".join([*lines[:-2], f"r = {rdms}", f"cka = {cka}"]), names)
    conv4, conv5 = names["conv4"], names["conv5"]
    above = np.triu_indices(len(conv5), 1)
    assert conv5.shape[0] == 12 == len(Path("features.npy/conv5/file_names.txt").read_text().splitlines())
    expected = np.corrcoef(1 - np.corrcoef(conv4)[above], 1 - np.corrcoef(conv5)[above])[0, 1]
    assert abs(names["r"] - expected) < 1e-3, (names["r"], expected)  # it computes in float32
    assert 0 < names["cka"] <= 1
    # Its own file of the same features is the same file.
    save_features(np.asarray(conv5), "theirs", "npy")
    np.testing.assert_array_equal(np.load("theirs/features.npy"), np.load("features.npy/conv5/features.npy"))
    print(f"thingsvision: correlation of RDMs {names['r']:.4f}, CKA {names['cka']:.4f}")


if __name__ == "__main__":
    main()
