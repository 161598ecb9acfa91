"""Brain-Score's own benchmarks score two ConvRNNs on made-up data, and compare gives the same scores.

It runs in an environment of scripts/python-requirements-brainscore.txt, where Brain-Score is without torch, or with all
of brainscore-vision 2.4.2, on Python 3.11. It prints a table of the scores, and fails where two differ.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

_FOLDER = Path(tempfile.mkdtemp(prefix="tfconvrnn-brainscore-"))
os.environ.update(BS_INSTALL_DEPENDENCIES="no", RESULTCACHING_DISABLE="1", BRAINSCORE_HOME=str(_FOLDER))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TQDM_DISABLE", "1")
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from brainscore_core.benchmarks import score_benchmark  # noqa: E402
from brainscore_core.supported_data_standards.brainio.assemblies import (  # noqa: E402
    BehavioralAssembly,
    NeuronRecordingAssembly,
)
from brainscore_core.supported_data_standards.brainio.packaging import write_netcdf  # noqa: E402
from brainscore_core.supported_data_standards.brainio.stimuli import StimulusSet  # noqa: E402
from brainscore_vision import load_ceiling, load_metric  # noqa: E402
from brainscore_vision.benchmark_helpers.neural_common import NeuralBenchmark, average_repetition  # noqa: E402
from brainscore_vision.benchmarks.kar2019 import benchmark as kar2019  # noqa: E402
from brainscore_vision.benchmarks.rajalingham2018.benchmarks import benchmark as rajalingham2018  # noqa: E402
from brainscore_vision.model_interface import BrainModel  # noqa: E402
from PIL import Image  # noqa: E402

import tfconvrnn  # noqa: E402
import tfconvrnn.brainscore  # noqa: E402

CANDIDATES = ("timedecay_shallow", "simplernn_shallow")
# The layers committed to IT; for object solution times the readout, whose decoders are small.
LAYER, SOLVING = "conv5", "imnetds"
WEIGHTS = "seeded:1"
STIMULI, NEUROIDS, REPETITIONS = 60, 6, 4
SHOWN: dict[str, Any] = {"on_ms": 0, "off_ms": 100, "total_ms": 260}
OBJECTS = ("coarse", "fine")
# Both sides compute features in other batches, so that they differ in their last bits; and scikit-learn's logistic
# regression stops before its optimum, which compare finds.
TOLERANCE, TOLERANCE_OF_READOUT = 1e-5, 1e-3
RNG = np.random.default_rng(3)


def stimulus_set(name: str, number: int) -> Any:
    """Return pictures of coarse and fine patterns in noise of different strengths."""
    rows, paths = [], {}
    for i in range(number):
        kind = OBJECTS[i % 2]
        pattern = RNG.uniform(0, 255, (4 if kind == "coarse" else 16,) * 2 + (3,)).astype(np.uint8)
        large = np.asarray(Image.fromarray(pattern).resize((224, 224)), np.float64)
        noise = RNG.uniform(0, 255, (224, 224, 3))
        strength = RNG.uniform(0, 0.9)
        identifier = f"{name}{i:03d}"
        paths[identifier] = _FOLDER / f"{identifier}.png"
        Image.fromarray(((1 - strength) * large + strength * noise).astype(np.uint8)).save(paths[identifier])
        rows.append({"stimulus_id": identifier, "image_label": kind, "object_name": kind})
    stimuli = StimulusSet(rows)
    stimuli.stimulus_paths, stimuli.identifier = paths, name
    return stimuli


def recordings(stimuli: Any, bins: list[tuple[int, int]]) -> Any:
    """Return recordings of neurons that are sums of units of another network, with noise."""
    brain = tfconvrnn.brainscore.model("timedecay_shallow", weights="seeded:2", layers={"IT": "conv5"})
    brain.start_recording("IT", time_bins=bins)
    features = brain.look_at(stimuli).values
    brain.close()
    mixing = RNG.normal(size=(features.shape[1], NEUROIDS)) / np.sqrt(features.shape[1])
    means = np.einsum("inb,nk->ikb", features - features.mean(0), mixing)
    means /= means.std()
    values = np.concatenate([means + RNG.normal(scale=0.4, size=means.shape) for _ in range(REPETITIONS)])
    return NeuronRecordingAssembly(
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


def neural_benchmark(name: str, stimuli: Any, repeated: Any, metric: str, ceiling: str) -> NeuralBenchmark:
    """Return Brain-Score's benchmark of recordings, made as its MajajHong2015 is."""
    averaged = average_repetition(repeated)
    averaged.attrs["stimulus_set"] = stimuli
    return NeuralBenchmark(
        name, version=1, assembly=averaged, similarity_metric=load_metric(metric), visual_degrees=8,
        number_of_trials=REPETITIONS, parent="IT", ceiling_func=lambda: load_ceiling(ceiling)(repeated),
    )  # fmt: skip


class Candidate:
    """A model as Brain-Score's BrainModel, and its features for compare."""

    def __init__(self, name: str, stimuli: Any, fitting: Any) -> None:
        self.name = name
        self.brain = tfconvrnn.brainscore.model(name, weights=WEIGHTS, layers={"IT": LAYER})
        self.solver = tfconvrnn.brainscore.model(name, weights=WEIGHTS, layers={"IT": [SOLVING]})
        options: dict[str, Any] = {"weights": WEIGHTS, "progress": False}
        self.features = tfconvrnn.extract(
            name, stimuli, [LAYER, SOLVING], all_times=True, out=_FOLDER / f"{name}.zarr", **SHOWN, **options
        )
        both = pd.concat([table(stimuli), table(fitting)])
        self.pooled = tfconvrnn.extract(name, both, LAYER, reduce="gap", out=_FOLDER / f"{name}-pooled.zarr", **options)

    def compare(self, analysis: Any, data: Path, **options: Any) -> pd.DataFrame:
        """Return what compare finds."""
        features = self.pooled if analysis == "behaviour" else self.features
        layers = SOLVING if analysis == "ost" else LAYER
        return tfconvrnn.compare(analysis, features, data=data, layers=layers, progress=False, **options)


def table(stimuli: Any) -> pd.DataFrame:
    """Return a stimulus set as a table of pandas, with paths."""
    paths = [str(stimuli.get_stimulus(stimulus)) for stimulus in stimuli["stimulus_id"]]
    return pd.DataFrame(stimuli).assign(stimulus_path=paths)


def solution_times(stimuli: Any) -> tuple[Any, Path]:
    """Return made-up object solution times as Kar2019 has them, and as a table."""
    times = RNG.uniform(90, 200, STIMULI)
    thresholds = np.round(RNG.uniform(1, 2.5, STIMULI), 4)
    times[[7, 30]] = np.nan  # not solved
    assembly = BehavioralAssembly(
        times[:, None],
        coords={
            "stimulus_id": ("presentation", stimuli["stimulus_id"].to_numpy()),
            "image_label": ("presentation", stimuli["image_label"].to_numpy()),
            "i1": ("presentation", thresholds),
            "decoder": ("decoder", ["svm"]),
        },
        dims=["presentation", "decoder"],
    )
    assembly.attrs["stimulus_set"] = stimuli
    path = _FOLDER / "ost.csv"
    pd.DataFrame({
        "stimulus_id": stimuli["stimulus_id"], "label": stimuli["image_label"], "ost": times, "i1": thresholds,
    }).to_csv(path, index=False)  # fmt: skip
    return assembly, path


def choices(stimuli: Any, each: int = 30) -> tuple[Any, Path]:
    """Return made-up choices between the two objects as Rajalingham2018 has them, and as a table."""
    labels = stimuli["image_label"].to_numpy()
    trials = pd.DataFrame({
        "stimulus_id": np.repeat(stimuli["stimulus_id"].to_numpy(), each), "sample_obj": np.repeat(labels, each),
    })  # fmt: skip
    trials["dist_obj"] = np.where(trials["sample_obj"] == OBJECTS[0], OBJECTS[1], OBJECTS[0])
    right = RNG.uniform(size=len(trials)) < np.repeat(RNG.uniform(0.55, 0.95, STIMULI), each)
    trials["choice"] = np.where(right, trials["sample_obj"], trials["dist_obj"])
    path = _FOLDER / "trials.csv"
    trials.to_csv(path, index=False)
    assembly = BehavioralAssembly(
        trials["choice"].to_numpy(),
        coords={
            **{name: ("presentation", trials[name].to_numpy()) for name in trials},
            "truth": ("presentation", trials["sample_obj"].to_numpy()),
        },
        dims=["presentation"],
    )
    assembly.attrs["stimulus_set"] = stimuli
    return assembly, path


def real_time_bins(candidate: Candidate, stimuli: Any) -> None:
    """Check that recordings are means of what extract reports, for bins as benchmarks give them."""
    whole = candidate.features[LAYER].values.reshape(STIMULI, 26, -1)
    odd = np.empty((), object)
    odd[()] = (95, 110)  # as the squeezed bin of an assembly
    candidate.brain.start_recording(BrainModel.RecordingTarget.IT, time_bins=[(70, 170), odd])
    recorded = candidate.brain.look_at(stimuli, number_of_trials=3)
    assert recorded.dims == ("presentation", "neuroid", "time_bin")
    np.testing.assert_allclose(recorded.values[..., 0], whole[:, 7:17].mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(recorded.values[..., 1], (0.5 * whole[:, 9] + whole[:, 10]) / 1.5, rtol=1e-4, atol=1e-5)
    assert list(recorded["image_label"].values) == list(stimuli["image_label"])
    assert list(recorded["time_bin_end"].values) == [170, 110]


def behaviour_and_errors(brain: Any, stimuli: Any) -> None:
    """Check the tasks beside those of the benchmarks, and what is refused."""
    brain.start_task(BrainModel.Task.label, "imagenet")
    labels = brain.look_at(stimuli[:3])
    assert labels.shape == (1, 3)
    assert str(labels.values[0, 0]).startswith("n")
    brain.start_task(BrainModel.Task.label, ["dog", "cat"])
    assert set(brain.look_at(stimuli[:3]).values.ravel()) <= {"dog", "cat"}
    brain.start_task(BrainModel.Task.odd_one_out)
    assert brain.look_at(stimuli[:6]).shape == (1, 2)
    brain.start_task(BrainModel.Task.passive)
    assert brain.look_at(stimuli[:1]) is None
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


def plugin() -> None:
    """Check that Brain-Score finds every model of the plugin, in a copy of its folder of models."""
    import brainscore_vision
    from brainscore_core.plugin_management.import_plugin import ImportPlugin

    models = Path(brainscore_vision.__file__).parent / "models"
    link = models / "tfconvrnn"
    link.symlink_to(Path(__file__).parents[1] / "brainscore_plugin" / "tfconvrnn")
    try:
        for info in tfconvrnn.models():
            assert ImportPlugin("brainscore_vision", "models", info.name).plugin_dirname == "tfconvrnn"
        loaded = brainscore_vision.load_model("rgc_intermediate")
        assert loaded.identifier == "rgc_intermediate"
        assert set(loaded.layers) == {"V4", "IT"}
        assert "Nayebi" in brainscore_vision.load_model_bibtex("rgc_intermediate")
    finally:
        link.unlink()


def main() -> None:
    """Score the models, and print what both sides find."""
    plugin()
    stimuli, fitting = stimulus_set("s", STIMULI), stimulus_set("f", 40)
    one_bin, several = [(70, 170)], [(70, 80), (100, 110), (130, 140)]
    static = recordings(stimuli, one_bin)
    write_netcdf(static, str(_FOLDER / "static.nc"))
    temporal = recordings(stimuli, several)
    write_netcdf(temporal, str(_FOLDER / "temporal.nc"))
    osts, osts_file = solution_times(stimuli)
    trials, trials_file = choices(stimuli)
    labels = _FOLDER / "labels.csv"
    table(fitting)[["stimulus_id", "image_label"]].to_csv(labels, index=False)

    def kar() -> Any:
        with mock.patch.object(kar2019, "load_dataset", {"Kar2019": osts}.__getitem__):
            return kar2019.DicarloKar2019OST()

    def rajalingham() -> Any:
        with mock.patch.object(rajalingham2018, "load_stimulus_set", {"objectome.public": fitting}.__getitem__):
            benchmark = rajalingham2018.DicarloRajalingham2018I2n()
        trials["correct"] = trials["choice"] == trials["sample_obj"]
        benchmark._assembly = trials
        return benchmark

    benchmarks: dict[str, tuple[Callable[[], Any], Callable[[Candidate], pd.DataFrame]]] = {
        "pls": (
            lambda: neural_benchmark("pls", stimuli, static.squeeze("time_bin"), "pls", "internal_consistency"),
            lambda c: c.compare("fit", _FOLDER / "static.nc"),
        ),
        "temporal-pls": (
            lambda: neural_benchmark("t-pls", stimuli, temporal, "spantime_pls", "internal_consistency_temporal"),
            lambda c: c.compare("fit", _FOLDER / "temporal.nc", span_time=True),
        ),
        "Kar2019-ost": (kar, lambda c: c.compare("ost", osts_file)),
        "Rajalingham2018-i2n": (
            rajalingham,
            lambda c: c.compare("behaviour", trials_file, labels=labels, label="image_label").tail(1),  # as it decides
        ),
    }
    print("| model | benchmark | time | Brain-Score: score | ceiled | compare: score | ceiled |")
    print("|---|---|---|---|---|---|---|")
    for name in CANDIDATES:
        candidate = Candidate(name, stimuli, fitting)
        if name == CANDIDATES[0]:
            real_time_bins(candidate, stimuli)
            behaviour_and_errors(candidate.brain, stimuli)
        for benchmark, (theirs, ours) in benchmarks.items():
            found = score_benchmark(theirs(), candidate.solver if benchmark == "Kar2019-ost" else candidate.brain)
            scores = ours(candidate)
            tolerance = TOLERANCE_OF_READOUT if benchmark == "Rajalingham2018-i2n" else TOLERANCE
            raw, ceiled = np.atleast_1d(found.raw.values), np.atleast_1d(found.values)
            assert len(raw) == len(scores), (raw, scores)
            for i, (_, row) in enumerate(scores.iterrows()):
                when = f"{row['time_bin_start']:g}–{row['time_bin_end']:g} ms" if "time_bin_start" in row else ""
                numbers = [float(raw[i]), float(ceiled[i]), *row[["score", "ceiled"]].astype(float)]
                print(
                    f"| {name} | {benchmark} | {when} | " + " | ".join(f"{v:.6f}" for v in numbers) + " |", flush=True
                )
                assert np.isfinite(numbers).all(), "a score that is no number proves nothing"
                np.testing.assert_allclose(numbers[:2], numbers[2:], rtol=0, atol=tolerance)
        candidate.brain.close()
        candidate.solver.close()
    print("Brain-Score's benchmarks score the models")


if __name__ == "__main__":
    sys.exit(main())
