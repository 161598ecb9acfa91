"""Opens one output in every format with the readers that users have, and
compares it with the .npz to the last bit.

usage: read_outputs.py FOLDER, which holds features.npz, features.nc,
features.logits.nc, features.zarr, features.h5, npy and mat, all of the same layout, and wide.nc.
"""

import csv
import json
import pathlib
import sys

import h5py
import numpy as np
import scipy.io
import xarray as xr
import zarr

folder = pathlib.Path(sys.argv[1])
npz = np.load(folder / "features.npz")
layers = ["conv9", "imnetds"]
ids = npz["stimulus_id"]
n = len(ids)
provenance = str(npz["provenance"])
checked = []


def same(what, got, want):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, (what, got.shape, want.shape)
    if want.dtype.kind in "OUS" or got.dtype.kind in "OUST":
        assert [str(x) for x in got.ravel()] == [str(x) for x in want.ravel()], what
    else:
        assert got.dtype.newbyteorder("=") == want.dtype, (what, got.dtype, want.dtype)
        assert got.astype(want.dtype).tobytes() == want.tobytes(), what
    checked.append(what)


# NumPy, and numpy.lib.npyio's zip checks.
import zipfile

assert zipfile.ZipFile(folder / "features.npz").testzip() is None
same("npz timesteps", npz["conv9/timesteps"], np.arange(3, dtype=np.int32))
same("npz ms", npz["conv9/ms"], np.arange(3, dtype=np.int32) * 10)
same("npz driven", npz["conv9/driven"], np.array([False, True, True]))
json.loads(provenance)

# thingsvision's folder.
for layer in layers + ["logits"]:
    features = np.load(folder / "npy" / layer / "features.npy", mmap_mode="r")
    same(f"npy {layer}", features, npz[layer].reshape(n, -1))
    names = (folder / "npy" / layer / "file_names.txt").read_text(encoding="utf-8").split("\n")
    assert names[-1] == "" and names[:-1] == list(ids), names
    layout = json.loads((folder / "npy" / layer / "layer.json").read_text(encoding="utf-8"))
    assert [n] + layout["row_shape"] == list(npz[layer].shape)
rows = list(csv.DictReader((folder / "npy" / "stimuli.csv").open(encoding="utf-8", newline="")))
same("npy stimuli.csv", np.array([r["stimulus_id"] for r in rows]), ids)
same("npy stimuli.csv weight", np.array([float(r["weight"]) for r in rows]), npz["weight"])
same("npy stimuli.csv valid", np.array([{"true": True, "false": False}[r["valid"]] for r in rows]), npz["valid"])
same("npy valid", np.load(folder / "npy" / "valid.npy"), npz["valid"])
assert not (folder / "npy" / "valid").exists()
assert json.loads((folder / "npy" / "features.json").read_text(encoding="utf-8"))["attributes"]["provenance"] == provenance
same("npy constant", np.load(folder / "npy" / "projection" / "indices.npy"), npz["projection/indices"])

# netCDF as Brain-Score reads it.
for engine in ["netcdf4", "scipy"]:
    data = xr.load_dataarray(folder / "features.nc", engine=engine)
    assert data.dims == ("presentation", "neuroid", "time_bin"), data.dims
    for layer in layers:
        want = npz[layer]  # [N, T, ...]
        want = np.moveaxis(want.reshape(n, want.shape[1], -1), 1, 2)
        part = data.values[:, np.asarray(data["layer"]).astype(str) == layer, :]
        same(f"netCDF {engine} {layer}", part, want)
    for column in ["stimulus_id", "weight", "flag", "valid"]:
        same(f"netCDF {engine} {column}", data[column].values, npz[column])
        assert data[column].dims == ("presentation",)
    same(f"netCDF {engine} count", data["count"].values, npz["count"].astype(np.int32))
    same(f"netCDF {engine} bins", data["time_bin_start"].values, npz["conv9/ms"])
    same(f"netCDF {engine} bins", data["time_bin_end"].values, npz["conv9/ms"] + 10)
    for coordinate in ["neuroid_id", "neuroid_num", "model", "layer", "region", "channel", "channel_x", "channel_y"]:
        assert data[coordinate].dims == ("neuroid",), coordinate
    assert len(set(data["neuroid_id"].values.tolist())) == data.sizes["neuroid"]
    assert str(data["neuroid_id"].values[0]) == "ugrnn_shallow.conv9.0"
    assert str(data["region"].values[0]) == "IT" and str(data["region"].values[-1]) == ""
    # A unit found through its coordinates is the unit of the array.
    unit = (data["layer"].values.astype(str) == "conv9") & (data["channel"].values == 3) & (data["channel_x"].values == 1) & (data["channel_y"].values == 0)
    same(f"netCDF {engine} unit", data.values[:, unit, :][:, 0], npz["conv9"][:, :, 1, 0, 3])
    assert data["first_driven_ms"].values[0] == 10 and np.isnan(data["first_driven_ms"].values[-1])
    order = list(data.coords)
    assert order.index("time_bin_start") < order.index("time_bin_end"), order
    with xr.open_dataset(folder / "features.nc", engine=engine) as dataset:
        assert list(dataset.data_vars) == ["data"], dataset
        assert dataset.attrs["identifier"] == "ugrnn_shallow-test"
        assert dataset.attrs["stimulus_set_identifier"] == "test"
        assert dataset.attrs["provenance"] == provenance
    # What BrainIO does on loading: every coordinate becomes a level.
    for dim in data.dims:
        levels = [name for name, c in data.coords.items() if c.dims == (dim,)]
        data = data.set_index({dim: levels}, append=True)
    assert data.sel(stimulus_id="astronaut").sizes["neuroid"] == data.sizes["neuroid"]
    logits = xr.load_dataarray(folder / "features.logits.nc", engine=engine)
    same(f"netCDF {engine} logits", logits.values, npz["logits"])
    same(f"netCDF {engine} class names", logits["class_name"].values, npz["class_name"])

# Which engine opens what, as docs/python.md says.
with xr.open_dataset(folder / "wide.nc", engine="netcdf4") as dataset:
    same("netCDF CDF-5", dataset["count"].values, np.array([-1, 0, 1, 2, 3, 1 << 40]))
for engine, name in [("scipy", "wide.nc"), ("h5netcdf", "wide.nc"), ("h5netcdf", "features.nc")]:
    try:
        xr.load_dataset(folder / name, engine=engine)
    except Exception:
        continue
    raise AssertionError(f"{engine} opens {name}: docs/python.md says that it does not")

# Zarr with zarr itself and xarray.
store = zarr.open_group(str(folder / "features.zarr"), mode="r")
for layer in layers + ["logits", "valid", "stimulus_id", "weight", "count", "flag", "class_name"]:
    same(f"zarr {layer}", store[layer][...], npz[layer])
same("zarr constant", store["projection_indices"][...], npz["projection/indices"])
for consolidated in [True, False]:
    with xr.open_zarr(folder / "features.zarr", consolidated=consolidated, chunks=None) as dataset:
        for layer in layers + ["logits"]:
            same(f"zarr xarray {layer}", dataset[layer].values, npz[layer])
        assert dataset["conv9"].dims == ("presentation", "timestep", "conv9_height", "conv9_width", "conv9_channel")
        assert set(dataset["conv9"].coords) >= {"stimulus_id", "weight", "timestep", "ms", "conv9_driven", "valid"}, dataset["conv9"]
        same("zarr xarray timestep", dataset["timestep"].values, npz["conv9/timesteps"])
        same("zarr xarray ids", dataset["stimulus_id"].values, ids)
        same("zarr xarray driven", dataset["conv9_driven"].values, npz["conv9/driven"])
        same("zarr xarray selection", dataset["conv9"].sel(timestep=2).values, npz["conv9"][:, 2])
        assert dataset.attrs["provenance"] == provenance
        assert dataset["conv9"].attrs["region"] == "IT"

# HDF5 with h5py, and as netCDF-4 with xarray.
with h5py.File(folder / "features.h5") as file:
    assert list(file)[0] == "stimulus_id" and file.attrs["layers"] == "conv9 imnetds", (list(file), dict(file.attrs))
    for layer in layers + ["logits"]:
        data = file[layer]
        same(f"h5 {layer}", data[...], npz[layer])
        assert data.chunks[1:] == data.shape[1:] and data.compression is None, data.chunks
    conv9 = file["conv9"]
    scales = [conv9.dims[i][0] for i in range(5)]
    assert [d.name for d in scales] == ["/presentation", "/timestep", "/conv9_height", "/conv9_width", "/conv9_channel"]
    assert [d.is_scale for d in scales] == [True] * 5
    same("h5 timesteps", scales[1][...], npz["conv9/timesteps"])
    same("h5 ms", file["ms"][...], npz["conv9/ms"])
    assert conv9.attrs["layer"] == "conv9" and conv9.attrs["region"] == "IT"
    same("h5 ids", file["stimulus_id"].asstr()[...], ids)
    same("h5 weight", file["weight"][...], npz["weight"])
    same("h5 count", file["count"][...], npz["count"])
    for name in ["flag", "valid", "conv9_driven"]:
        same(f"h5 {name}", file[name][...].astype(bool), npz[name.replace("_", "/")])
        assert file[name].attrs["dtype"] == "bool"
    same("h5 class names", file["class_name"].asstr()[...], npz["class_name"])
    same("h5 constant", file["projection_indices"][...], npz["projection/indices"])
    assert file.attrs["provenance"] == provenance
for engine in ["h5netcdf", "netcdf4"]:
    with xr.open_dataset(folder / "features.h5", engine=engine) as dataset:
        for layer in layers + ["logits"]:
            same(f"h5 {engine} {layer}", dataset[layer].values, npz[layer])
        assert dataset["conv9"].dims == ("presentation", "timestep", "conv9_height", "conv9_width", "conv9_channel")
        assert set(dataset["conv9"].coords) >= {"stimulus_id", "weight", "timestep", "ms", "conv9_driven", "valid"}, dataset["conv9"]
        same(f"h5 {engine} ids", dataset["stimulus_id"].values, ids)
        same(f"h5 {engine} flag", dataset["flag"].values, npz["flag"])
        same(f"h5 {engine} driven", dataset["conv9_driven"].values, npz["conv9/driven"])
        same(f"h5 {engine} selection", dataset["conv9"].sel(timestep=2).values, npz["conv9"][:, 2])
        assert dataset.attrs["provenance"] == provenance

# MATLAB files.
assert sorted(p.name for p in (folder / "mat").iterdir()) == ["conv9.mat", "imnetds.mat", "layers.txt", "logits.mat"]
for layer in layers + ["logits"]:
    mat = scipy.io.loadmat(folder / "mat" / f"{layer}.mat")
    got = mat["features"].transpose()
    want = npz[layer]
    same(f"mat {layer}", got, want)
    assert mat["valid"].shape == (n, 1)
    same(f"mat {layer} valid", mat["valid"].ravel().astype(bool), npz["valid"])
    same(f"mat {layer} ids", np.array([x[0] if len(x) else "" for x in mat["stimulus_id"].ravel()]), ids)
    same(f"mat {layer} weight", mat["weight"].ravel(), npz["weight"])
    same(f"mat {layer} constant", mat["projection_indices"].transpose(), npz["projection/indices"])
    assert mat["provenance"][0] == provenance and mat["layer"][0] == layer
    if layer == "conv9":
        same("mat ms", mat["ms"].ravel(), npz["conv9/ms"])
        same("mat driven", mat["driven"].ravel().astype(bool), npz["conv9/driven"])
        assert mat["region"][0] == "IT"

print(f"{len(checked)} comparisons")
