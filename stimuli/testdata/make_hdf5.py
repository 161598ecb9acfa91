"""Writes pictures.h5: what h5py makes of pictures, and what cannot be used."""
import h5py
import numpy as np

n, side = 40, 16
i, y, x, c = np.meshgrid(np.arange(n), np.arange(side), np.arange(side), np.arange(3), indexing="ij")
images = (5 * i + y // 4 + 40 * c).astype("uint8")
with h5py.File("pictures.h5", "w", libver=("earliest", "v108")) as f:
    group = f.create_group("stimuli")
    group.create_dataset("images", data=images, chunks=(7, side, side, 3), compression="gzip", compression_opts=9, track_times=False)
    group.create_dataset("ids", data=[f"picture {k}" for k in range(n)], dtype=h5py.string_dtype(), track_times=False)
    group.create_dataset("fixed", data=np.array([b"p%d" % k for k in range(n)]), track_times=False)
    group.create_dataset("few", data=["a", "b"], dtype=h5py.string_dtype(), track_times=False)
    group.create_dataset("twice", data=["same"] * n, dtype=h5py.string_dtype(), track_times=False)
    group.create_dataset("signed", data=np.zeros((1, 2, 2, 3), "int8"), track_times=False)
    group.create_dataset("channels_first", data=np.zeros((2, 3, 4, 5), "uint8"), track_times=False)
    group.create_dataset("empty", shape=(0, 4, 4, 3), dtype="uint8", track_times=False)
    # Nothing of it is stored.
    group.create_dataset("claimed", shape=(1000, 224, 224, 3), dtype="uint8", chunks=(1, 224, 224, 3), track_times=False)
    group.create_dataset("long", shape=(1, 20000, 224, 224, 3), dtype="uint8", chunks=(1, 1, 224, 224, 3),
                         compression="gzip", track_times=False)
layout = h5py.VirtualLayout(shape=(1, 4, 4, 3), dtype="uint8")
layout[0] = h5py.VirtualSource("nowhere.h5", "images", shape=(4, 4, 3))
with h5py.File("virtual.h5", "w", libver="latest") as f:
    f.create_virtual_dataset("images", layout, fillvalue=0)
