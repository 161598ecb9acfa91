"""Has Brain-Score's own packages read features and score them.

usage: check_brainscore.py FEATURES.nc NEURAL.nc LAYER: makes recordings of made-up neuroids, writes
them to NEURAL.nc as Brain-Score's packages do, and prints as JSON what they find for each time bin.
"""

import json
import logging
import os
import sys
import warnings

os.environ["BS_INSTALL_DEPENDENCIES"] = "no"
os.environ["RESULTCACHING_DISABLE"] = "1"
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import numpy as np
from brainscore_core.supported_data_standards.brainio.assemblies import ModelFeaturesAssembly, NeuronRecordingAssembly
from brainscore_core.supported_data_standards.brainio.packaging import write_netcdf
from brainscore_vision import load_ceiling, load_metric
from brainscore_vision.benchmark_helpers.neural_common import average_repetition, explained_variance

features = ModelFeaturesAssembly.from_files(sys.argv[1], stimulus_set_identifier="made-up", stimulus_set=None)
features.load()
features = features.isel(neuroid=np.asarray(features["layer"].values).astype(str) == sys.argv[3])

random = np.random.default_rng(11)
starts, repetitions, neuroids = [80, 100, 120], 4, 12
ids = np.asarray(features["stimulus_id"].values).astype(str)
rates = np.zeros((len(ids), repetitions, neuroids, len(starts)))
for b, start in enumerate(starts):
    x = features.isel(time_bin=int(np.where(features["time_bin_start"].values == start)[0][0])).values.astype(float)
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    signal = u[:, :10] @ random.normal(size=(10, neuroids))
    rates[..., b] = (signal / signal.std(0))[:, None] + random.normal(size=(len(ids), repetitions, neuroids))
order = random.permutation(len(ids) * repetitions)
stimulus, repetition = np.divmod(order, repetitions)
neural = NeuronRecordingAssembly(rates[stimulus, repetition], dims=["presentation", "neuroid", "time_bin"], coords={
    "stimulus_id": ("presentation", ids[stimulus]), "image": ("presentation", stimulus), "repetition": ("presentation", repetition),
    "neuroid_id": ("neuroid", [f"n{i:02d}" for i in range(neuroids)]), "region": ("neuroid", ["IT"] * neuroids),
    "time_bin_start": ("time_bin", starts), "time_bin_end": ("time_bin", [s + 10 for s in starts])})
write_netcdf(neural, sys.argv[2])
neural = NeuronRecordingAssembly.from_files(sys.argv[2], stimulus_set_identifier="made-up", stimulus_set=None)
neural.load()

average = average_repetition(neural)
found = []
for b, start in enumerate(starts):
    model = features.isel(time_bin=int(np.where(features["time_bin_start"].values == start)[0][0]))
    ceiling = load_ceiling("internal_consistency")(neural.isel(time_bin=b))
    row = {"time_bin_start": start, "ceiling": float(ceiling.values)}
    for metric in ["pls", "ridge"]:
        score = load_metric(metric, crossvalidation_kwargs=dict(stratification_coord=None))(model, average.isel(time_bin=b))
        row[metric] = {"score": float(score.values), "error": float(score.attrs["error"].values), "ceiled": float(explained_variance(score, ceiling).values)}
    row["rdm"] = float(load_metric("rdm")(model, average.isel(time_bin=b)).values)
    found.append(row)
json.dump(found, sys.stdout)
