"""What functions of this package say of a model and a presentation, as flags of the program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import UsageError

Numbers = float | Sequence[float]


def joined(names: str | Sequence[str] | None) -> str | None:
    """Join names by commas."""
    if names is None or isinstance(names, str):
        return names
    return ",".join(names)


def milliseconds(times: Numbers | None) -> str | None:
    """Write one or several times."""
    if times is None:
        return None
    values: Any = [times] if np.ndim(times) == 0 else times
    return ",".join(np.format_float_positional(np.float64(value), trim="-") for value in values)


def presentation(
    name: str | None, on_ms: Numbers | None, off_ms: Numbers | None, total_ms: float | None, blank: str | None
) -> dict[str, Any]:
    """Return the flags of a presentation."""
    return {
        "presentation": name,
        "on_ms": milliseconds(on_ms),
        "off_ms": milliseconds(off_ms),
        "total_ms": milliseconds(total_ms),
        "blank": blank,
    }


def model(name: str, weights: str | os.PathLike[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return the flags of a model, with further ones that have no parameter of their own."""
    for option in options:
        if not option.replace("_", "").isalnum() or option in _OURS:
            raise UsageError(
                f"option {option!r}: options are flags of the program, such as device or threads, with _ for -"
            )
    return {"model": name, "weights": None if weights is None else os.fspath(weights), "yes": True, **options}


_OURS = {"model", "weights", "yes", "json", "log_format", "log_level", "quiet", "stdio", "help"}
