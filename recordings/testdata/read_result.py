"""Reads what WriteResult wrote with xarray, and compares it with the JSON. Usage: read_result.py FOLDER"""

import json
import sys

import numpy as np
import xarray

folder = sys.argv[1]
with open(folder + "/result.json") as f:
    want = json.load(f)
for d in (xarray.open_dataset(folder + "/result.nc"), xarray.open_zarr(folder + "/result.zarr")):
    d = d.load()
    assert d["raw"].dims[-2:] == ("split", "neuroid"), d["raw"].dims
    assert d["raw_ceiling"].dims[-2:] == ("halving", "neuroid")
    assert set(d.coords) >= {"layer", "time_bin_start", "time_bin_end", "neuroid_id", "region", "subject"}, d.coords
    assert (d["region"] == "IT").all()
    for name in ("analysis", "metric", "splits", "seed", "features", "features_sha256", "data", "data_sha256", "software"):
        assert d.attrs[name] == str(want[name]), name
    undefined = 0
    for s in want["scores"]:
        at = np.flatnonzero(d["time_bin_start"].values == s["time_bin_start"])
        one = d.sel(layer=s["layer"]).isel(time_bin=at[0])
        if "feature_bin" in d.dims:
            start = s.get("feature_bin_start", s["time_bin_start"])
            one = one.isel(feature_bin=np.flatnonzero(d["feature_bin_start"].values == start)[0])
        for name in ("score", "error", "ceiling", "ceiled"):
            np.testing.assert_array_equal(float(one[name]), np.nan if s[name] is None else s[name])
        assert one["neuroids"] == s["neuroids"] and one["stimuli"] == s["stimuli"]
        if s["score"] is None:
            undefined += 1
            assert str(one["reason"].values) == s["reason"] and np.isnan(one["raw"]).all()
            continue
        assert list(one["neuroid_id"].values) == s["neuroid_ids"]
        np.testing.assert_array_equal(one["raw"], np.array(s["raw"], float))
        np.testing.assert_array_equal(one["raw_ceiling"], np.array(s["raw_ceiling"], float))
        np.testing.assert_array_equal(one["alpha"].values.ravel(), np.array(s["alphas"], float).ravel())
        assert one["normalisation"] == s["normalisation"]
    assert undefined == int(sys.argv[2]), undefined
print("all the same")
