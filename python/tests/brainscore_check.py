"""Brain-Score's own benchmark classes score a ConvRNN on made-up data, and compare gives the same scores.

It runs in an environment with brainscore-vision 2.4.2, which needs Python 3.11; prints a line for each score.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from brainscore_core import Score
from brainscore_core.supported_data_standards.brainio.assemblies import BehavioralAssembly, NeuronRecordingAssembly
from brainscore_core.supported_data_standards.brainio.stimuli import StimulusSet
from brainscore_vision import load_metric
from brainscore_vision.benchmark_helpers.neural_common import NeuralBenchmark, average_repetition
from brainscore_vision.model_interface import BrainModel
from PIL import Image

import tfconvrnn
import tfconvrnn.brainscore

warnings.simplefilter("ignore")
MODEL, WEIGHTS, STIMULI, NEUROIDS, REPETITIONS = "timedecay_shallow", "seeded:1", 40, 6, 4
RNG = np.random.default_rng(3)


def stimulus_set(folder: Path) -> Any:
    """Return pictures of blobs of two kinds, which the untrained network tells apart."""
    rows, paths = [], {}
    for i in range(STIMULI):
        coarse = RNG.uniform(0, 255, (4 + 12 * (i % 2),) * 2 + (3,)).astype(np.uint8)
        name = f"s{i:03d}"
        paths[name] = folder / f"{name}.png"
        Image.fromarray(coarse).resize((224, 224)).save(paths[name])
        rows.append(
            {"stimulus_id": name, "image_label": ["coarse", "fine"][i % 2], "object_name": ["coarse", "fine"][i % 2]}
        )
    stimuli = StimulusSet(rows)
    stimuli.stimulus_paths, stimuli.identifier = paths, "made-up"
    return stimuli


def assembly(stimuli: Any, features: Any, bins: list[tuple[int, int]]) -> Any:
    """Return recordings of neurons that are sums of a layer's units, with noise."""
    mixing = RNG.normal(size=(features.shape[1], NEUROIDS)) / np.sqrt(features.shape[1])
    means = np.einsum("inb,nk->ikb", features - features.mean(0), mixing)
    means /= means.std()
    values = np.concatenate([means + RNG.normal(scale=0.4, size=means.shape) for _ in range(REPETITIONS)])
    recorded = NeuronRecordingAssembly(
        values,
        coords={
            "stimulus_id": ("presentation", np.tile(stimuli["stimulus_id"].to_numpy(), REPETITIONS)),
            "object_name": ("presentation", np.tile(stimuli["object_name"].to_numpy(), REPETITIONS)),
            "repetition": ("presentation", np.repeat(np.arange(REPETITIONS), STIMULI)),
            "neuroid_id": ("neuroid", [f"n{k}" for k in range(NEUROIDS)]),
            "region": ("neuroid", ["IT"] * NEUROIDS),
            "time_bin_start": ("time_bin", [start for start, _ in bins]),
            "time_bin_end": ("time_bin", [end for _, end in bins]),
        },
        dims=["presentation", "neuroid", "time_bin"],
    )
    recorded.attrs["stimulus_set"] = stimuli
    return recorded


def table(recorded: Any, path: Path) -> Path:
    """Write recordings as compare reads them from a table."""
    values = recorded.transpose("presentation", "neuroid", "time_bin").values
    p, n, b = np.unravel_index(np.arange(values.size), values.shape)
    columns = {name: recorded[name].values[p] for name in ("stimulus_id", "object_name", "repetition")}
    columns["neuroid_id"] = recorded["neuroid_id"].values[n]
    columns |= {name: recorded[name].values[b] for name in ("time_bin_start", "time_bin_end")}
    pd.DataFrame({**columns, "rate": values.ravel()}).to_csv(path, index=False)
    return path


def main() -> None:
    """Score the model, and say what both sides find."""
    folder = Path(tempfile.mkdtemp())
    stimuli = stimulus_set(folder)
    brain = tfconvrnn.brainscore.model(MODEL, weights=WEIGHTS, layers={"IT": "conv5"})
    assert brain.visual_degrees() == 8
    assert brain.layers == {"V4": ["conv3"], "IT": ["conv5"]}

    # Real time bins: they are the means of what extract reports.
    features = folder / "features.npz"
    from tfconvrnn import _program

    pictures = folder / "stimuli.csv"
    pd.DataFrame(
        {"stimulus_id": stimuli["stimulus_id"], "path": [str(stimuli.get_stimulus(s)) for s in stimuli["stimulus_id"]]}
    ).to_csv(pictures, index=False)
    flags = {
        "model": MODEL,
        "weights": WEIGHTS,
        "layers": "conv5",
        "on_ms": 0,
        "off_ms": 100,
        "total_ms": 260,
        "include_all_times": True,
    }
    _program.run_json(["extract"], {**flags, "out": features, "table_root": "/"}, [str(pictures)])
    conv5 = np.load(features)["conv5"].reshape(STIMULI, 26, -1)
    brain.start_recording("IT", time_bins=[(70, 170), (95, 110)])
    recorded = brain.look_at(stimuli)
    assert recorded.dims == ("presentation", "neuroid", "time_bin")
    np.testing.assert_allclose(recorded.values[..., 0], conv5[:, 7:17].mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(recorded.values[..., 1], (0.5 * conv5[:, 9] + conv5[:, 10]) / 1.5, rtol=1e-4, atol=1e-5)
    assert list(recorded["image_label"].values) == list(stimuli["image_label"])

    # Neural PLS, and the same in time bins of 10 ms.
    for name, bins in {"pls": [(70, 170)], "temporal": [(120, 130)]}.items():
        brain.start_recording("IT", time_bins=bins)
        repeated = assembly(stimuli, brain.look_at(stimuli).values, bins)
        scores = tfconvrnn.compare("fit", features, data=table(repeated, folder / f"{name}.csv"), progress=False)
        averaged = average_repetition(repeated)
        averaged.attrs["stimulus_set"] = stimuli
        for i, a_bin in enumerate(bins):
            of_bin = averaged.isel(time_bin=[i])
            squeezed = of_bin.squeeze("time_bin")
            squeezed.attrs["stimulus_set"] = stimuli
            with_repetitions = repeated.isel(time_bin=i)
            ceiling = load_metric("internal_consistency")
            benchmark = NeuralBenchmark(
                f"made-up-{name}", version=1, assembly=squeezed, similarity_metric=load_metric("pls"), visual_degrees=8,
                number_of_trials=REPETITIONS, parent="IT", ceiling_func=lambda c=ceiling, r=with_repetitions: c(r),
            )  # fmt: skip
            benchmark.timebins = [a_bin]
            score = benchmark(brain)
            ours = scores[scores["time_bin_start"] == a_bin[0]].iloc[0]
            theirs = {"score": float(score.raw), "ceiling": float(score.ceiling), "ceiled": float(score)}
            print(
                name, a_bin, {k: round(v, 6) for k, v in theirs.items()}, {k: round(float(ours[k]), 6) for k in theirs}
            )
            for key, value in theirs.items():
                assert abs(value - ours[key]) < 1e-3, (name, key, value, ours[key])

    # Behaviour: labels, and i2n of probabilities.
    brain.start_task(BrainModel.Task.label, "imagenet")
    labels = brain.look_at(stimuli[:3])
    assert labels.shape == (1, 3)
    assert str(labels.values[0, 0]).startswith("n")
    brain.start_task(BrainModel.Task.probabilities, stimuli)
    probabilities = brain.look_at(stimuli)
    assert probabilities.shape == (STIMULI, 2)
    np.testing.assert_allclose(probabilities.values.sum(1), 1, rtol=1e-6)
    trials = pd.DataFrame({
        "stimulus_id": np.repeat(stimuli["stimulus_id"].to_numpy(), 20),
        "sample_obj": np.repeat(stimuli["image_label"].to_numpy(), 20),
    })  # fmt: skip
    trials["dist_obj"] = np.where(trials["sample_obj"] == "coarse", "fine", "coarse")
    right = RNG.uniform(size=len(trials)) < np.repeat(RNG.uniform(0.6, 0.95, STIMULI), 20)
    trials["choice"] = np.where(right, trials["sample_obj"], trials["dist_obj"])
    observed = BehavioralAssembly(
        trials["choice"].to_numpy(),
        coords={
            **{
                name: ("presentation", trials[name].to_numpy())
                for name in ("stimulus_id", "sample_obj", "dist_obj", "choice")
            },
            "truth": ("presentation", trials["sample_obj"].to_numpy()),
        },
        dims=["presentation"],
    )
    observed["correct"] = observed["choice"] == observed["sample_obj"]
    score = load_metric("i2n")(probabilities, observed)
    assert isinstance(score, Score)
    print("i2n", float(score))

    for wrong in (
        lambda: brain.start_recording("V1", [(0, 10)]),
        lambda: brain.start_recording("IT", []),
        lambda: brain.start_task("dance"),
    ):
        try:
            wrong()
        except tfconvrnn.UsageError:
            continue
        raise AssertionError("it is accepted")
    brain.close()
    print("Brain-Score's classes score the model")


if __name__ == "__main__":
    sys.exit(main())
