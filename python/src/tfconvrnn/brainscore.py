"""ConvRNNs as models of Brain-Score (brainscore-vision 2.4)::

    import tfconvrnn.brainscore
    from brainscore_vision import load_benchmark

    model = tfconvrnn.brainscore.model("rgc_intermediate")
    print(load_benchmark("MajajHong2015public.IT-pls")(model))

Recordings have real time bins: a bin holds the mean of the timesteps of 10 ms in it, weighted by overlap.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _flags
from ._model import Model, load
from .errors import UsageError

#: Brain-Score's regions, and the authors' areas that they hold.
REGIONS = {"V4": ("V4",), "IT": ("pIT", "cIT", "aIT", "cIT/aIT")}

_MILLISECONDS = 10
_IMAGES = 16


def model(
    name: str,
    *,
    layers: Mapping[str, str | Sequence[str]] | None = None,
    weights: str | os.PathLike[str] | None = None,
    on_ms: _flags.Numbers = 0,
    off_ms: _flags.Numbers = 100,
    total_ms: float = 260,
    visual_degrees: int = 8,
    identifier: str | None = None,
    **options: Any,
) -> BrainModel:
    """Return a model as Brain-Score's ``BrainModel``.

    ``layers`` commit layers to regions; without it V4 and IT are the authors' best-matching layers, and other regions
    cannot be recorded. The presentation is that of the authors' neural fits (100 ms of 260 ms); recordings that ask for
    later bins get a longer one. ``options`` are those of :func:`tfconvrnn.load`.
    """
    return BrainModel(name, layers, weights, (on_ms, off_ms, total_ms), visual_degrees, identifier or name, options)


class BrainModel:
    """A ConvRNN as Brain-Score's interface of this name describes it. It needs brainscore-vision to look at stimuli."""

    def __init__(
        self,
        name: str,
        layers: Mapping[str, str | Sequence[str]] | None,
        weights: str | os.PathLike[str] | None,
        presentation: tuple[_flags.Numbers, _flags.Numbers, float],
        visual_degrees: int,
        identifier: str,
        options: dict[str, Any],
    ) -> None:
        from . import models

        self.info = models()[name]
        self.layers: dict[str, list[str]] = {}
        for region, areas in REGIONS.items():
            matching = [layer for area in areas for layer in self.info.areas.get(area, ())]
            if matching:
                self.layers[region] = list(dict.fromkeys(matching))
        for region, committed in (layers or {}).items():
            self.layers[region] = [committed] if isinstance(committed, str) else list(committed)
            for layer in self.layers[region]:
                self.info.layer(layer)
        self._identifier, self._visual_degrees = identifier, visual_degrees
        self._weights, self._presentation, self._options = weights, presentation, options
        self._loaded: dict[float | None, Model] = {}
        self._region: str | None = None
        self._bins: list[tuple[int, int]] = []
        self._task: Any = None

    @property
    def identifier(self) -> str:
        """The model's name in scores."""
        return self._identifier

    def visual_degrees(self) -> int:
        """Return how many degrees an image covers."""
        return self._visual_degrees

    def close(self) -> None:
        """End the programs behind the model."""
        for loaded in self._loaded.values():
            loaded.close()
        self._loaded = {}

    def _load(self, end: float | None) -> Model:
        """Return the model with a presentation that lasts until a time, or with that of its training."""
        total = None if end is None else max(self._presentation[2], -(-end // _MILLISECONDS) * _MILLISECONDS)
        if total not in self._loaded:
            shown: dict[str, Any] = {}
            if total is not None:
                shown = {"on_ms": self._presentation[0], "off_ms": self._presentation[1], "total_ms": total}
            self._loaded[total] = load(self.info.name, weights=self._weights, progress=False, **shown, **self._options)
        return self._loaded[total]

    def start_recording(self, recording_target: str, time_bins: Sequence[tuple[int, int]]) -> None:
        """Record from a region from now on, in bins of milliseconds."""
        region = str(getattr(recording_target, "value", recording_target))
        if region not in self.layers:
            raise UsageError(
                f"{self.identifier}: no layers are committed to {region}; there are {', '.join(self.layers)}, "
                "and others are named with layers={...}"
            )
        bins = [(int(start), int(end)) for start, end in map(_bin, time_bins)]
        if not bins or any(start < 0 or end <= start for start, end in bins):
            raise UsageError(f"time bins {bins}; they have a beginning, from 0 on, and a later end")
        self._region, self._bins, self._task = region, bins, None

    def start_task(self, task: Any, *args: Any, **kwargs: Any) -> None:
        """Do a task from now on: passive, label, probabilities or odd_one_out, as Brain-Score's own classes do them."""
        from brainscore_vision.model_interface import BrainModel as Interface

        behavior = _behavior()
        readout = self.info.layers[-2].name
        activations = _Activations(self)
        if task == Interface.Task.label:
            self._task = behavior.LabelBehavior(self.identifier, activations)
        elif task in (Interface.Task.probabilities, Interface.Task.passive):
            self._task = behavior.ProbabilitiesMapping(self.identifier, activations, readout)
            if task == Interface.Task.passive and not args and not kwargs:
                self._task.current_task = task
                return
        elif task == Interface.Task.odd_one_out:
            self._task = behavior.OddOneOut(self.identifier, activations, [readout])
        else:
            raise UsageError(
                f"{self.identifier}: task {task!r}; there are passive, label, probabilities and odd_one_out"
            )
        self._task.start_task(task, *args, **kwargs)

    def look_at(self, stimuli: Any, number_of_trials: int = 1, require_variance: bool = False) -> Any:
        """Return the recordings of, or the behaviour towards, stimuli. The model has no noise: all trials are alike."""
        if require_variance:
            raise UsageError(f"{self.identifier} has no noise, so there is no variance over trials")
        if self._task is not None:
            return self._task.look_at(stimuli, number_of_trials=number_of_trials)
        if self._region is None:
            raise UsageError("what should it do? start_recording or start_task come first")
        return self._record(stimuli, self.layers[self._region], self._bins, self._region)

    def _record(self, stimuli: Any, layers: list[str], bins: list[tuple[int, int]], region: str) -> Any:
        weights = _overlaps(bins)
        loaded = self._load(max(end for _, end in bins))
        paths, parts = _paths(stimuli), []
        request = {
            "outputs": [{"layer": layer} for layer in layers],
            "window_ms": [weights[0] * _MILLISECONDS, (weights[0] + weights[1].shape[1]) * _MILLISECONDS],
        }
        for first in range(0, len(paths), _IMAGES):
            some = paths[first : first + _IMAGES]
            values, _ = loaded._all(some, request, len(some))
            flat = np.concatenate([of.reshape(*of.shape[:2], -1) for of in values], axis=2)
            parts.append(np.einsum("bt,itn->inb", weights[1], flat, optimize=True).astype(np.float32))
        return _assembly(self, stimuli, np.concatenate(parts), layers, bins, region)

    def _features(self, stimuli: Any, layer: str) -> npt.NDArray[np.float32]:
        """Return the mean over positions of a layer at the last timestep of the presentation of training."""
        loaded = self._load(None)
        end = loaded.times * _MILLISECONDS
        return loaded.respond(_paths(stimuli), layer, unit="mean", window=(end - _MILLISECONDS, end))

    def _logits(self, stimuli: Any) -> npt.NDArray[np.float32]:
        """Return the logarithms of the probabilities of ImageNet's classes, which the model's decoder reads out."""
        from . import classify

        found = classify(
            self.info.name, _paths(stimuli), top=1000, weights=self._weights, progress=False, **self._options
        )
        probabilities = found["probability"].to_numpy().reshape(-1, 1000)
        logits = np.empty_like(probabilities)
        np.put_along_axis(logits, found["index"].to_numpy().reshape(-1, 1000), np.log(probabilities + 1e-300), axis=1)
        rounded: npt.NDArray[np.float32] = logits.astype(np.float32)
        return rounded


def _bin(time_bin: Any) -> Any:
    """Return a bin as a tuple; the one of an assembly without a dimension of time is an array that holds it."""
    return time_bin.item() if isinstance(time_bin, np.ndarray) and time_bin.ndim == 0 else time_bin


def _behavior() -> Any:
    """Return Brain-Score's module of behaviour, also where torch, which other modules of its package need, is not."""
    try:
        from brainscore_vision.model_helpers.brain_transformation import behavior
    except ImportError:
        import importlib.util

        package = importlib.util.find_spec("brainscore_vision.model_helpers")
        assert package is not None
        assert package.submodule_search_locations
        path = os.path.join(package.submodule_search_locations[0], "brain_transformation", "behavior.py")
        spec = importlib.util.spec_from_file_location("tfconvrnn._brainscore_behavior", path)
        assert spec is not None
        assert spec.loader is not None
        behavior = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(behavior)
    return behavior


class _Activations:
    """What Brain-Score's classes of behaviour ask: features of a layer, or logits, without a time axis."""

    def __init__(self, brain: BrainModel) -> None:
        self.identifier, self._brain = brain.identifier, brain

    def __call__(self, stimuli: Any, layers: Sequence[str], **_: Any) -> Any:
        (layer,) = layers
        values = self._brain._logits(stimuli) if layer == "logits" else self._brain._features(stimuli, layer)
        return _assembly(self._brain, stimuli, values, [layer], None, "")


def _overlaps(bins: list[tuple[int, int]]) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the first timestep of bins, and how much of each bin [bins, timesteps] each timestep is."""
    first = min(start for start, _ in bins) // _MILLISECONDS
    last = max(-(-end // _MILLISECONDS) for _, end in bins)
    begins = np.arange(first, last) * _MILLISECONDS
    weights = np.array(
        [np.clip(np.minimum(end, begins + _MILLISECONDS) - np.maximum(start, begins), 0, None) for start, end in bins]
    )
    return first, weights / weights.sum(1, keepdims=True)


def _paths(stimuli: Any) -> list[str]:
    if hasattr(stimuli, "get_stimulus"):
        return [str(stimuli.get_stimulus(stimulus)) for stimulus in stimuli["stimulus_id"]]
    return [os.fspath(path) for path in stimuli]


def _assembly(
    brain: BrainModel,
    stimuli: Any,
    values: npt.NDArray[np.float32],
    layers: Sequence[str],
    bins: list[tuple[int, int]] | None,
    region: str,
) -> Any:
    """Return values [stimuli, neuroids] or [stimuli, neuroids, bins] as an assembly of Brain-Score."""
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly

    coordinates: dict[str, Any] = {}
    if hasattr(stimuli, "get_stimulus"):
        coordinates = {str(column): ("presentation", stimuli[column].to_numpy()) for column in stimuli.columns}
    else:
        coordinates["stimulus_id"] = ("presentation", [os.path.basename(path) for path in _paths(stimuli)])
    coordinates["stimulus_path"] = ("presentation", _paths(stimuli))
    shapes = [brain.info.layer(layer).shape if bins is not None else (values.shape[1],) for layer in layers]
    sizes = [int(np.prod(shape)) for shape in shapes]
    numbers = [np.arange(size) for size in sizes]
    places = [
        np.unravel_index(number, shape)
        if len(shape) == 3
        else (np.full(len(number), -1), np.full(len(number), -1), number)
        for number, shape in zip(numbers, shapes, strict=True)
    ]
    names = np.repeat(np.array(layers, dtype=object), sizes)
    every = np.concatenate(numbers)
    neuroids = {
        "neuroid_id": [f"{brain.info.name}.{layer}.{number}" for layer, number in zip(names, every, strict=True)],
        "neuroid_num": every,
        "model": [brain.identifier] * len(every),
        "layer": names,
        "region": [region] * len(every),
        "channel_x": np.concatenate([place[0] for place in places]),
        "channel_y": np.concatenate([place[1] for place in places]),
        "channel": np.concatenate([place[2] for place in places]),
    }
    coordinates |= {name: ("neuroid", of) for name, of in neuroids.items()}
    dims = ["presentation", "neuroid"]
    if bins is not None:
        dims.append("time_bin")
        coordinates["time_bin_start"] = ("time_bin", [start for start, _ in bins])
        coordinates["time_bin_end"] = ("time_bin", [end for _, end in bins])
    assembly = NeuroidAssembly(values, coords=coordinates, dims=dims)
    if (identifier := getattr(stimuli, "identifier", None)) is not None:
        assembly.attrs["stimulus_set_identifier"] = identifier
    return assembly
