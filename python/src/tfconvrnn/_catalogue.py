"""The published models."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from . import _program
from .errors import UsageError


@dataclass(frozen=True)
class Layer:
    """A layer that reports features."""

    name: str
    #: [height, width, channels], or [classes] of the readout.
    shape: tuple[int, ...]
    #: The first timestep at which an image shown from timestep 0 can change the layer.
    driven_from: int
    #: The first timestep that is reported unless all are asked for.
    reported_from: int
    #: The brain areas that the authors match with the layer.
    areas: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInfo:
    """A published model."""

    name: str
    cell: str
    depth: str
    decoder: str
    #: Published ImageNet accuracies in percent.
    top1: float
    top5: float
    #: Timesteps of 10 ms of the default presentation, and the one at which the image goes off.
    times: int
    image_off: int
    layers: tuple[Layer, ...]
    #: For each brain area, the layers that the authors found to match it best.
    areas: dict[str, tuple[str, ...]]
    #: The number of trained parameters.
    parameters: int

    def layer(self, name: str) -> Layer:
        """Return a layer by its name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise UsageError(f"{self.name} has no layer {name}; it has {', '.join(layer.name for layer in self.layers)}")

    def select(self, layers: str | Sequence[str] | None, areas: str | Sequence[str] | None = None) -> list[str]:
        """Return the layers named, or "all", and those of brain areas; the readout where neither is given.

        An area is "V4", "pIT", "cIT" or "aIT", or "IT" for the last three.
        """
        names = [layer.name for layer in self.layers]
        chosen = names if layers == "all" else [self.layer(name).name for name in _listed(layers)]
        for area in _listed(areas):
            found = [
                layer
                for known, matching in self.areas.items()
                if any(area.lower() in (part.lower(), known.lower(), part[-2:].lower()) for part in known.split("/"))
                for layer in matching
            ]
            if not found:
                raise UsageError(f"{self.name} has no layers for the area {area}; it has {', '.join(self.areas)}")
            chosen += found
        return list(dict.fromkeys(chosen)) or names[-1:]


def _listed(names: str | Sequence[str] | None) -> list[str]:
    if isinstance(names, str):
        return [name.strip() for name in names.split(",") if name.strip()]
    return list(names or ())


def from_json(entry: dict[str, Any]) -> ModelInfo:
    """Read a model as the program describes it."""
    layers = tuple(
        Layer(one["name"], tuple(one["shape"]), one["driven_from"], one["reported_from"], tuple(one.get("areas", ())))
        for one in entry["layers"]
    )
    return ModelInfo(
        entry["name"], entry["cell"], entry["depth"], entry["decoder"], entry["top1"], entry["top5"],
        entry["default_presentation"]["times"], entry["default_presentation"]["image_off"], layers,
        {area["name"]: tuple(area["layers"]) for area in entry["areas"]}, entry["parameters"],
    )  # fmt: skip


class Catalogue(Sequence[ModelInfo]):
    """The published models, by number or by name. Notebooks show it as a table."""

    def __init__(self, models: Sequence[ModelInfo]) -> None:
        self._models = tuple(models)

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[ModelInfo]:
        return iter(self._models)

    @overload
    def __getitem__(self, key: int | str) -> ModelInfo: ...

    @overload
    def __getitem__(self, key: slice) -> Catalogue: ...

    def __getitem__(self, key: int | str | slice) -> ModelInfo | Catalogue:
        if isinstance(key, slice):
            return Catalogue(self._models[key])
        if isinstance(key, int):
            return self._models[key]
        for model in self._models:
            if model.name == key:
                return model
        raise UsageError(f"no model {key}; there are {', '.join(self.names)}")

    @property
    def names(self) -> list[str]:
        """The models' names."""
        return [model.name for model in self._models]

    def _rows(self) -> list[list[str]]:
        return [
            [
                m.name,
                m.cell,
                str(len(m.layers)),
                m.decoder,
                f"{m.times * 10} ms",
                f"{m.parameters / 1e6:.1f} M",
                f"{m.top1:.2f}",
                f"{m.top5:.2f}",
            ]
            for m in self._models
        ]

    _HEAD = ("model", "cell", "layers", "decoder", "presentation", "parameters", "top-1 %", "top-5 %")

    def __repr__(self) -> str:
        rows = [list(self._HEAD), *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self._HEAD))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        return "<table>" + row(self._HEAD, "th") + "".join(row(cells, "td") for cells in self._rows()) + "</table>"


@functools.lru_cache(maxsize=1)
def models() -> Catalogue:
    """Return the published models."""
    return Catalogue([from_json(entry) for entry in _program.run_json(["models"])])
