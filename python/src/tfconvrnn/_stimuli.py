"""Stimuli in Python's forms, as the program reads them: paths, tables and .npy files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError

IMAGE_SIZE = 224


def as_array(images: Any) -> npt.NDArray[Any] | None:
    """Return an array, or a torch tensor, as [n, height, width, 3]; None if it is neither."""
    if all(hasattr(images, method) for method in ("detach", "cpu", "numpy")):  # torch's, and those of packages over it
        tensor = images.detach().cpu()
        array = np.asarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())
        if array.ndim in (3, 4) and array.shape[-3] == 3 and array.shape[-1] != 3:
            array = np.moveaxis(array, -3, -1)  # torch's [n, 3, height, width]
    elif isinstance(images, np.ndarray):
        array = images
    else:
        return None
    if array.ndim == 3:
        array = array[None]
    if array.ndim not in (4, 5) or array.shape[-1] != 3:
        raise InputError(
            f"images of shape {array.shape}; they are [n, height, width, 3], or [n, 3, height, width] of torch"
        )
    if len(array) == 0:
        raise InputError("there are no images")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"images of type {array.dtype}; they are uint8, or floating-point of 0 … 1")
    if array.dtype != np.uint8:
        if not np.isfinite(array).all():
            raise InputError("images hold NaN or infinity")
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float32)
    return array


def is_picture(item: Any) -> bool:
    """Say whether something is a picture of Pillow's."""
    return type(item).__module__.split(".")[0] == "PIL" and hasattr(item, "save")


def is_table(item: Any) -> bool:
    """Say whether something is a table of pandas'."""
    return type(item).__module__.split(".")[0] == "pandas" and hasattr(item, "to_csv") and hasattr(item, "columns")


def sequence(stimuli: Any) -> list[Any]:
    """Return the items of a sequence; the error names what else is possible."""
    if isinstance(stimuli, Iterable) and not isinstance(stimuli, (bytes, dict)):
        return list(stimuli)
    raise InputError(
        f"stimuli of type {type(stimuli).__name__}; they are a path, a folder, paths, a pandas table, an array, "
        "a torch tensor or Pillow's pictures"
    )


@contextlib.contextmanager
def inputs(stimuli: Any) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Give the program's INPUT arguments for stimuli, and flags they need. Temporary files go away afterwards."""
    with tempfile.TemporaryDirectory(prefix="tfconvrnn-") as folder:
        yield _inputs(stimuli, Path(folder))


def _inputs(stimuli: Any, folder: Path) -> tuple[list[str], dict[str, Any]]:
    if isinstance(stimuli, (str, os.PathLike)):
        return [_path(stimuli)], {}
    if hasattr(stimuli, "get_stimulus"):  # a stimulus set of Brain-Score, which is a table too
        stimuli = stimuli.assign(stimulus_path=[os.fspath(stimuli.get_stimulus(i)) for i in stimuli["stimulus_id"]])
        return _table(stimuli, folder)
    if is_table(stimuli):
        return _table(stimuli, folder)
    if is_picture(stimuli):
        stimuli = [stimuli]
    if (array := as_array(stimuli)) is not None:
        np.save(folder / "images.npy", array)
        return [str(folder / "images.npy")], {}
    items = sequence(stimuli)
    if not items:
        raise InputError("there are no stimuli")
    if all(isinstance(item, (str, os.PathLike)) for item in items):
        return _listed([_path(item) for item in items], folder)
    if all(is_picture(item) for item in items):
        paths = []
        for i, item in enumerate(items):
            paths.append(str(folder / f"{i:06d}.png"))
            item.convert("RGB").save(paths[-1])
        return _listed(paths, folder)
    arrays = [as_array(item) for item in items]
    if any(array is None for array in arrays):
        raise InputError(
            f"stimuli that are {sorted({type(item).__name__ for item in items})} together; they are all of one kind"
        )
    try:
        together = np.concatenate([array for array in arrays if array is not None])
    except ValueError as error:
        raise InputError(f"images of different shapes: {error}") from error
    return _inputs(together, folder)


def _path(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not os.path.exists(text) and not any(c in text for c in "*?["):
        raise InputError(f"{text}: no such file or folder")
    return os.path.abspath(text)


def _listed(paths: Sequence[str], folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Name files in a table, since there may be more than fit a command line."""
    if len(paths) == 1:
        return [paths[0]], {}
    if not all(map(_is_plain, paths)):
        return list(paths), {}
    import csv

    with open(folder / "stimuli.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["stimulus_path"])
        writer.writerows([path] for path in paths)
    return [str(folder / "stimuli.csv")], {"table_root": "/"}


def _is_plain(path: str) -> bool:
    """Say whether a path is that of a file to be read as one stimulus, and no pattern."""
    suffix = Path(path).suffix.lower()
    return suffix not in {".csv", ".tsv", ".txt", ".npy", ".npz"} and "\n" not in path and os.path.isfile(path)


def _table(table: Any, folder: Path) -> tuple[list[str], dict[str, Any]]:
    column = next((name for name in ("stimulus_path", "path", "filename") if name in table.columns), None)
    if column is None:
        raise InputError(
            f"a table with the columns {', '.join(map(str, table.columns))}; it needs stimulus_path, path or filename"
        )
    table = table.copy()
    for row, path in enumerate(table[column]):
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(f"row {row} of the table has {path!r} in the column {column}, where a path belongs")
    table[column] = [os.path.abspath(os.fspath(path)) for path in table[column]]
    table.to_csv(folder / "stimuli.csv", index=False)
    flags: dict[str, Any] = {"table_root": "/"}
    if column == "filename":
        flags["path_column"] = column
    return [str(folder / "stimuli.csv")], flags


@contextlib.contextmanager
def pixels(images: Any) -> Iterator[tuple[npt.NDArray[Any] | None, list[str]]]:
    """Give images as an array [n, 224, 224, 3] of uint8 or float32, or as paths. Temporary files go away afterwards."""
    if is_picture(images) or isinstance(images, (str, os.PathLike)):
        images = [images]
    array = as_array(images)
    if array is None:
        items = sequence(images)
        if not items:
            raise InputError("there are no images")
        if all(isinstance(item, (str, os.PathLike)) for item in items):
            yield None, [os.path.abspath(os.fspath(item)) for item in items]
            return
        if all(is_picture(item) for item in items):
            with tempfile.TemporaryDirectory(prefix="tfconvrnn-") as folder:
                paths = [os.path.join(folder, f"{i:06d}.png") for i in range(len(items))]
                for item, path in zip(items, paths, strict=True):
                    item.convert("RGB").save(path)
                yield None, paths
            return
        arrays = [as_array(item) for item in items]
        if any(part is None for part in arrays):
            raise InputError(
                f"images that are {sorted({type(item).__name__ for item in items})} together; they are all of one kind"
            )
        try:
            array = np.concatenate([part for part in arrays if part is not None])
        except ValueError as error:
            raise InputError(f"images of different shapes: {error}") from error
    size = (IMAGE_SIZE, IMAGE_SIZE, 3)
    if array.shape[1:] != size:
        raise InputError(
            f"images of {array.shape[1:]}; arrays are {size} here; "
            "pictures of other sizes can be given as files or with Pillow"
        )
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    yield array, []
