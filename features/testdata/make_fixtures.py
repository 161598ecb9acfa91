"""Writes the fixtures of reader_test.go with NumPy, beside this file."""

import pathlib

import numpy as np

here = pathlib.Path(__file__).parent
a = np.arange(24).reshape(4, 3, 2)


def npy(name, array, version=None):
    with open(here / f"{name}.npy", "wb") as f:
        np.lib.format.write_array(f, array, version=version)


for kind in ["u1", "<f2", "<f4", ">f4", "<f8", ">f8", "<i8", ">i2", "?"]:
    npy({"<": "little_", ">": "big_"}.get(kind[0], "") + kind.lstrip("<>").replace("?", "bool"), a.astype(kind))
for version in [(1, 0), (2, 0), (3, 0)]:
    npy(f"version_{version[0]}", a.astype("<f4"), version)
npy("fortran", np.asfortranarray(a.astype("<f4")))
npy("scalar", np.float32(7))
npy("empty", np.zeros((0, 5), "<f4"))
npy("text", np.array(["astronaut", "Käse", "", "🙂x"]))
npy("big_text", np.array(["astronaut", "寿司"], ">U9"))
npy("bytes", np.array([b"ab", b"c"]))
npy("complex", a.astype("<c8"))
npy("structured", np.zeros(3, [("x", "<f4"), ("y", "<i4", (2,))]))
np.savez(here / "stored.npz", **{"conv9": a.astype("<f4"), "conv9/timesteps": np.arange(3), "pixels": a.astype("u1")})
np.savez_compressed(here / "deflated.npz", conv9=a.astype("<f4"), fortran=np.asfortranarray(a.astype("<f4")))
