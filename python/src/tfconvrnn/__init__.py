"""The published ConvRNNs: features of images at every 10 ms.

``extract`` returns features as an xarray dataset, ``load`` keeps a model for closed loops, ``classify`` and
``compare`` are the commands of these names, ``connect`` is a client of ``serve``, ``models`` is the catalogue, and
:mod:`tfconvrnn.brainscore` gives models to Brain-Score. The work is done by a program, tfconvrnn-cli, which is
installed with this package.
"""

from __future__ import annotations

from . import errors
from ._catalogue import Catalogue, Layer, ModelInfo, models
from ._commands import classify, compare, driven, extract, provenance
from ._model import Model, load
from ._program import version as _version
from ._service import Service, connect
from .errors import (
    InputError,
    MissingError,
    ProgramDied,
    ProgramMissingError,
    RequestError,
    ServiceError,
    TfconvrnnError,
    UsageError,
)

__all__ = [
    "Catalogue",
    "InputError",
    "Layer",
    "MissingError",
    "Model",
    "ModelInfo",
    "ProgramDied",
    "ProgramMissingError",
    "RequestError",
    "Service",
    "ServiceError",
    "TfconvrnnError",
    "UsageError",
    "classify",
    "compare",
    "connect",
    "driven",
    "errors",
    "extract",
    "load",
    "models",
    "provenance",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
