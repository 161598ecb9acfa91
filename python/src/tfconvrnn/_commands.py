"""What the program does once and ends: extract, classify, compare."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xarray as xr

from . import _flags, _program, _stimuli
from .errors import InputError, UsageError

if TYPE_CHECKING:
    import pandas as pd


def extract(
    model: str,
    stimuli: Any,
    layers: str | Sequence[str] | None = None,
    areas: str | Sequence[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    presentation: str | None = None,
    on_ms: _flags.Numbers | None = None,
    off_ms: _flags.Numbers | None = None,
    total_ms: float | None = None,
    blank: str | None = None,
    all_times: bool = False,
    logits: bool = False,
    select: Mapping[str, str] | None = None,
    reduce: str | Mapping[str, str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **options: Any,
) -> xr.Dataset:
    """Return features of stimuli as a dataset that is read from a Zarr store when it is needed.

    ``stimuli`` are a path, a folder, several paths, a table of pandas (with a column ``path``, whose others come
    along), an array [n, height, width, 3] of uint8 or of floating-point 0 … 1, a torch tensor [n, 3, height, width],
    or pictures of Pillow. ``layers`` are names or "all", ``areas`` brain areas whose best-matching layers are taken;
    without either, the readout.

    Every layer is a variable [presentation, timestep, height, width, channel]; ``ms`` tells when a timestep starts.
    ``select={"conv8": "center"}`` takes some units of a layer, ``reduce="gap"`` or ``{"conv5": "pool(2)"}`` makes
    layers smaller. ``weights="seeded:1"`` is an untrained model, to try things out.

    ``out`` names the Zarr store. Without it the store is a temporary one, which goes away when the dataset is closed
    or Python ends. Further ``options`` are flags of ``tfconvrnn-cli extract`` with _ for -, such as ``batch=4`` or
    ``resume=True``.
    """
    temporary = out is None
    store = Path(tempfile.mkdtemp(prefix="tfconvrnn-"), "features.zarr") if out is None else Path(os.fspath(out))
    if store.suffix != ".zarr":
        raise UsageError(
            f"out={str(store)!r}: a dataset is a Zarr store, whose name ends in .zarr; the command writes other formats"
        )
    try:
        with _stimuli.inputs(stimuli) as (inputs, of_inputs), _program.progress_bar(progress) as show:
            flags = {
                "layers": _flags.joined(layers),
                "areas": _flags.joined(areas),
                "include_all_times": all_times,
                "include_logits": logits,
                "out": os.path.abspath(store),
                "select": _of_layers(select),
                "reduce": [reduce] if isinstance(reduce, str) else _of_layers(reduce),
                **_flags.presentation(presentation, on_ms, off_ms, total_ms, blank),
                **of_inputs,
                **_flags.model(model, weights, options),
            }
            _program.run_json(["extract"], flags, inputs, show)
        dataset: xr.Dataset = xr.open_zarr(str(store), chunks=None)
    except BaseException:
        if temporary:
            shutil.rmtree(store.parent, ignore_errors=True)
        raise
    if temporary:
        import atexit

        def remove() -> None:
            atexit.unregister(remove)
            shutil.rmtree(store.parent, ignore_errors=True)

        atexit.register(remove)
        dataset.set_close(remove)
    return dataset


def _of_layers(choices: Mapping[str, str] | None) -> list[str]:
    return [f"{layer}={choice}" for layer, choice in (choices or {}).items()]


def classify(
    model: str,
    stimuli: Any,
    *,
    top: int = 5,
    weights: str | os.PathLike[str] | None = None,
    presentation: str | None = None,
    on_ms: _flags.Numbers | None = None,
    off_ms: _flags.Numbers | None = None,
    total_ms: float | None = None,
    blank: str | None = None,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Return the likeliest ImageNet classes of stimuli.

    Rows have stimulus, rank, index, wordnet_id, names, probability and driven: whether the image can have reached the
    readout when it was decoded. The parameters are those of :func:`extract`; ``options`` are flags of
    ``tfconvrnn-cli classify``.
    """
    import pandas as pd

    with _stimuli.inputs(stimuli) as (inputs, of_inputs), _program.progress_bar(progress) as show:
        flags = {
            "top": top,
            **_flags.presentation(presentation, on_ms, off_ms, total_ms, blank),
            **of_inputs,
            **_flags.model(model, weights, options),
        }
        found = _program.run_json(["classify"], flags, inputs, show)
    rows = [
        {"stimulus": one["stimulus"], "rank": rank + 1, **a_class, "driven": one["driven"]}
        for one in found
        for rank, a_class in enumerate(one["classes"])
    ]
    return pd.DataFrame(rows)


Analysis = Literal["fit", "best", "ceiling", "rsa", "cka", "ost", "behaviour"]


def compare(
    analysis: Analysis,
    features: xr.Dataset | str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str],
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Return how well features explain recordings or behaviour, a row for each score.

    It is ``tfconvrnn-cli compare``: ``analysis`` is its command, ``features`` are a dataset of :func:`extract` or a
    file, ``data`` is the file of recordings, and ``options`` are its flags with _ for -, such as ``region="IT"`` or
    ``metric="ridge"``. What was computed and from what is in ``.attrs`` of the result.
    """
    import pandas as pd

    if analysis not in get_args(Analysis):
        raise UsageError(f"analysis {analysis!r}; there are {', '.join(get_args(Analysis))}")
    with _program.progress_bar(progress) as show:
        flags = {"features": None if features is None else _source(features), "data": os.fspath(data), **options}
        report = _program.run_json(["compare", analysis], flags, progress=show)
    scores = pd.DataFrame(report.pop("scores"))
    scores.attrs = report
    return scores


def _source(features: xr.Dataset | str | os.PathLike[str]) -> str:
    if not isinstance(features, xr.Dataset):
        return os.fspath(features)
    source = features.encoding.get("source")
    if not source or not os.path.exists(source):
        raise InputError("a dataset that is not read from a file; give the file, or the dataset that extract returned")
    return str(source)


def provenance(dataset: xr.Dataset) -> dict[str, Any]:
    """Return how the features of a dataset of :func:`extract` were made."""
    text = dataset.attrs.get("provenance")
    if not isinstance(text, str):
        raise InputError("the dataset has no provenance; extract makes datasets that have")
    made = json.loads(text)
    assert isinstance(made, dict)
    return made


def driven(dataset: xr.Dataset, layer: str) -> xr.DataArray:
    """Return, for each timestep of a layer, whether the image can have reached it."""
    reached: xr.DataArray = dataset[layer].coords[f"{layer}_driven"].astype(np.bool_)
    return reached
