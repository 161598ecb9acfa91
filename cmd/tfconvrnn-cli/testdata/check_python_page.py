"""Runs the Python of docs/python.md and checks what it read.

usage: check_python_page.py PAGE [KIND], in the folder of the outputs; KIND is the
word after ```python of the blocks to run, none for those without.
"""

import re
import sys

page = open(sys.argv[1], encoding="utf-8").read()
kind = sys.argv[2] if len(sys.argv) > 2 else ""
blocks = [code for word, code in re.findall(r"^```python *(\w*)\n(.*?)^```$", page, re.M | re.S) if word == kind]
assert blocks
for code in blocks:
    exec(compile(code, sys.argv[1], "exec"), globals())

if kind == "brainio":
    assert type(recording).__name__ == "NeuronRecordingAssembly"
    assert means.sizes["presentation"] == 3
    assert list(recording["category"].values) == ["cat", "rocket", "cat"]
    sys.exit()


def same(what, got, want):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.astype(want.dtype).tobytes() == want.tobytes(), what


assert conv5.shape == (3, 26, 4, 4, 512) and conv5.dtype == np.float32
ids = ["first", "second", "third"]
assert file_names == ["pictures/chelsea.png", "pictures/rocket.jpg", "pictures/chelsea.png"], file_names
assert names.tolist() == ids == stimuli == assembly["stimulus_id"].values.tolist()
assert category.tolist() == ["cat", "rocket", "cat"] == assembly["category"].values.tolist()
assert ms.tolist() == list(range(0, 260, 10)) and late.shape[1] == 22
assert provenance["presentation"].startswith("episodes(times=26,on=0,off=10)")
same("xarray zarr", dataset["conv5"].values, conv5)
same("xarray zarr conv4", dataset["conv4"].values, npz["conv4"])
same("selection", cats.values, conv5[[0, 2], 12])
assert response.dims == ("presentation", "timestep")
assert json.loads(dataset.attrs["provenance"]) == provenance
same("zarr", first, conv5[0])
assert assembly.dims == ("presentation", "neuroid", "time_bin")
same("netCDF", it.values, np.moveaxis(conv5.reshape(3, 26, -1), 1, 2))
assert window.shape == (3, 4 * 4 * 512)
np.testing.assert_allclose(window.values, conv5[:, 7:17].reshape(3, 10, -1).mean(1), rtol=1e-5, atol=1e-5)
same("npy folder", conv5_again, conv5)
same("mat", features, conv5)
same("h5", conv5_of_h5, conv5[:, 9:21])
same("h5 xarray", of_h5["conv5"].values, conv5)
assert h5_ids.tolist() == names.tolist() and how["presentation"] == provenance["presentation"]
same("usable", usable, conv5)
assert np.load("reduced.npz")["conv4"].shape == (3, 26, 256)
np.testing.assert_allclose(np.load("reduced.npz")["conv4"], npz["conv4"].mean((2, 3)), rtol=1e-5, atol=1e-6)
