"""A model that stays loaded, for closed loops."""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import math
import mmap
import os
import struct
import subprocess
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from . import _catalogue, _flags, _program, _stimuli
from .errors import ProgramDied, TfconvrnnError, UsageError, of_exit_code

PROTOCOL = 1
_PREFIX = struct.Struct("<IQ")
_PIPE_BYTES = 1 << 20
_F_ADD_SEALS, _F_SEAL_SHRINK = 1033, 2
_NO_SHARED_MEMORY = "TFCONVRNN_NO_SHARED_MEMORY"

# What one request may ask for at once; more images are several requests.
_IMAGES = 512
_RESPONSE_BYTES = 256 << 20

Position = tuple[int, int]


@dataclass(frozen=True)
class Units:
    """Which units of a layer are asked for: at a position or all, with these channels or all, or means."""

    position: Position | None
    channels: list[int] | None
    mean: bool

    def text(self) -> str:
        """Write position and channels as the program's --select does, "" for all units."""
        parts = []
        if self.position is not None:
            parts.append(f"({self.position[0]},{self.position[1]})")
        if self.channels is not None:
            parts.append("channels(" + ",".join(map(str, self.channels)) + ")")
        return "+".join(parts)

    def values(self, shape: Sequence[int]) -> int:
        """Return how many values of a layer of this shape there are at a timestep."""
        places = 1 if self.position is not None or self.mean else math.prod(shape[:-1])
        return places * (shape[-1] if self.channels is None else len(self.channels))


def units(info: _catalogue.ModelInfo, layer: str, channels: int | Sequence[int] | None, unit: str | Position) -> Units:
    """Read what :meth:`Model.respond` is asked for."""
    shape = info.layer(layer).shape
    listed: list[int] | None = None
    if channels is not None:
        of: Any = [channels] if np.ndim(channels) == 0 else channels
        if len(of) == 0:
            raise UsageError("channels=[]: there is no channel in it")
        listed = [_whole(channel, "channels") for channel in of]
    if len(shape) == 1:
        if unit not in ("center", "all"):
            raise UsageError(f"unit={unit!r}: {layer} has no positions")
        return Units(None, listed, False)
    if isinstance(unit, str):
        if unit not in ("center", "all", "mean"):
            raise UsageError(f"unit={unit!r}; it is 'center', a (row, column), 'all' or 'mean'")
        return Units((shape[0] // 2, shape[1] // 2) if unit == "center" else None, listed, unit == "mean")
    if np.shape(unit) != (2,):
        raise UsageError(f"unit={unit!r}; it is 'center', a (row, column), 'all' or 'mean'")
    row, column = (_whole(at, "unit") for at in unit)
    return Units((row, column), listed, False)


class _SharedMemory:
    """Memory in which the program finds images, so that they need not go through a pipe. Linux has it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    @staticmethod
    def new() -> _SharedMemory | None:
        if not hasattr(os, "memfd_create") or _NO_SHARED_MEMORY in os.environ:
            return None
        try:
            descriptor = os.memfd_create("tfconvrnn", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            fcntl.fcntl(descriptor, _F_ADD_SEALS, _F_SEAL_SHRINK)
        except OSError:
            return None
        return _SharedMemory(descriptor)

    def put(self, images: npt.NDArray[Any]) -> None:
        """Lay images at the beginning."""
        if self._map is None or len(self._map) < images.nbytes:
            os.ftruncate(self.descriptor, images.nbytes)
            self._map = mmap.mmap(self.descriptor, images.nbytes)
        np.copyto(np.frombuffer(self._map, images.dtype, images.size).reshape(images.shape), images)

    def close(self) -> None:
        """Give the memory back."""
        self._map = None
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Model:
    """A loaded model: a program behind it keeps the weights and computes. Close it, or use it in a ``with``.

    Several models, and several processes with models, work at once; each has a program of its own. Calls of one model
    from several threads are answered one after the other.
    """

    def __init__(self, name: str, flags: Sequence[str], progress: bool) -> None:
        self._flags, self._name = list(flags), name
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._requests = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: _program.Log | None = None
        self._hello: dict[str, Any] = {}
        with _program.progress_bar(progress) as show:
            self._start(show)
        self.info = _catalogue.from_json(self._hello["model"])

    def _start(self, show: _program.Progress | None = None) -> None:
        self._shared = _SharedMemory.new()
        flags = self._flags
        descriptors: tuple[int, ...] = ()
        if self._shared is not None:
            descriptors = (self._shared.descriptor,)
            flags = [*flags, f"--shared-memory={self._shared.descriptor}"]
        process, log = _program.start(
            ["respond", "--stdio", *flags], show, stdin=subprocess.PIPE, bufsize=0, pass_fds=descriptors
        )
        self._process, self._log = process, log
        self._end = weakref.finalize(self, _end, process, self._shared)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(AttributeError, OSError):  # Linux only, and limited for users
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[arg-type]
        try:
            self._hello, _ = self._receive(process.stdout)  # type: ignore[arg-type]
        except BaseException:
            self._stop()
            raise
        log.warn()
        if self._hello.get("protocol") != PROTOCOL:
            self._stop()
            raise ProgramDied(
                f"the program speaks protocol {self._hello.get('protocol')}, this package {PROTOCOL}; "
                "install the same version of both"
            )

    @property
    def presentation(self) -> str:
        """How images are shown."""
        return str(self._hello["presentation"])

    @property
    def times(self) -> int:
        """The number of timesteps of 10 ms."""
        return int(self._hello["times"])

    @property
    def untrained(self) -> bool:
        """Whether the weights come from a seed, not from training."""
        return bool(self._hello["untrained"])

    def __repr__(self) -> str:
        state = "" if self._process else ", closed"
        return f"<tfconvrnn.Model {self._name}, {'untrained, ' if self.untrained else ''}{self.presentation}{state}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{layer.name}</td><td>{'×'.join(map(str, layer.shape))}</td><td>{layer.driven_from * 10} ms</td>"
            f"<td>{html.escape(', '.join(layer.areas))}</td></tr>"
            for layer in self.info.layers
        )
        head = "<tr><th>layer</th><th>shape</th><th>driven from</th><th>areas</th></tr>"
        return f"<p>{html.escape(repr(self))}</p><table>{head}{rows}</table>"

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the program. Closing again does nothing."""
        with self._lock:
            self._stop()
            self._flags = []

    def _stop(self) -> None:
        if self._process is not None:
            self._end()
            self._process = None
        if self._log is not None:
            with contextlib.suppress(Exception):
                self._log.close()
            self._log = None

    def respond(
        self,
        images: Any,
        layer: str,
        channels: int | Sequence[int] | None = None,
        unit: str | Position = "center",
        window: tuple[int, int] | None = None,
        average: bool | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return the responses of a layer's units to any number of images.

        ``images`` are an array [n, 224, 224, 3] of uint8 or of floating-point 0 … 1, a torch tensor [n, 3, 224, 224],
        pictures of Pillow, or paths. ``unit`` is "center" (row height/2, column width/2, rounded down), a
        (row, column), "all" positions, or their "mean". ``channels`` are one channel, several, or None for all.
        ``window`` is a time in milliseconds such as (100, 150); its mean is returned unless ``average=False``.

        The result is [images, timesteps, channels], [images, channels] for the mean of a window, and with "all"
        [images, timesteps, height, width, channels]. The timesteps are all of the presentation, or those in the window.
        """
        asked = units(self.info, layer, channels, unit)
        output = {"layer": layer, "mean": asked.mean, "units": asked.text()}
        request: dict[str, Any] = {"outputs": [output]}
        if window is not None:
            request["window_ms"] = [_whole(edge, "window") for edge in window]
        request["average"] = window is not None if average is None else average
        size = 4 * asked.values(self.info.layer(layer).shape) * (1 if request["average"] else self.times)
        values, _ = self._all(images, request, max(1, min(_IMAGES, _RESPONSE_BYTES // size)))
        return values[0]

    def _all(
        self, images: Any, request: dict[str, Any], step: int
    ) -> tuple[list[npt.NDArray[np.float32]], list[dict[str, Any]]]:
        """Ask for the outputs of a request, a few images at a time, and return them with their descriptions."""
        parts: list[list[npt.NDArray[np.float32]]] = []
        with _stimuli.pixels(images) as (array, paths):
            number = len(array) if array is not None else len(paths)
            for done in range(0, number, step):
                of_these = {**request, "images": min(step, number - done)}
                if array is None:
                    of_these["paths"] = paths[done : done + step]
                else:
                    of_these["dtype"] = str(array.dtype)
                answer, data = self._ask(of_these, None if array is None else array[done : done + step])
                outputs, at = answer["outputs"], 0
                parts.append([])
                for output in outputs:
                    size = int(np.prod(output["shape"]))
                    parts[-1].append(np.frombuffer(data, np.dtype("<f4"), size, 4 * at).reshape(output["shape"]))
                    at += size
        together = [of[0] if len(parts) == 1 else np.concatenate(of) for of in zip(*parts, strict=True)]
        return together, outputs

    def _ask(self, request: dict[str, Any], images: npt.NDArray[Any] | None) -> tuple[dict[str, Any], bytearray]:
        if self._pid != os.getpid():
            raise UsageError(f"{self._name} was loaded by another process, from which this one is forked; load it here")
        with self._lock:
            if not self._flags:
                raise UsageError(f"{self._name} is closed")
            if self._process is None:  # it was interrupted
                self._start()
            assert self._process is not None
            self._requests += 1
            number = self._requests
            try:
                payload = None
                if images is not None and self._shared is not None:
                    self._shared.put(images)
                    request["shared"] = True
                elif images is not None:
                    payload = memoryview(np.ascontiguousarray(images)).cast("B")
                self._send(self._process.stdin, {"id": number, **request}, payload)  # type: ignore[arg-type]
                answer, values = self._receive(self._process.stdout)  # type: ignore[arg-type]
                if answer.get("id") != number and "error" not in answer:
                    raise ProgramDied(f"the program answered request {answer.get('id')}, not {number}")
            except BaseException:
                # Ctrl-C, or a program that died: nobody knows what comes next over the pipe.
                self._stop()
                raise
        if error := answer.get("error"):
            raise of_exit_code(int(error["exit_code"]), str(error["message"]))
        return answer, values

    def _send(self, pipe: BinaryIO, header: dict[str, Any], payload: memoryview | None) -> None:
        text = json.dumps(header).encode()
        try:
            _write(pipe, memoryview(_PREFIX.pack(len(text), 0 if payload is None else payload.nbytes) + text))
            if payload is not None:
                _write(pipe, payload)
        except BrokenPipeError:
            raise self._died() from None

    def _receive(self, pipe: BinaryIO) -> tuple[dict[str, Any], bytearray]:
        header_bytes, payload_bytes = _PREFIX.unpack(self._read(pipe, _PREFIX.size))
        answer = json.loads(self._read(pipe, header_bytes))
        return answer, self._read(pipe, payload_bytes)

    def _read(self, pipe: BinaryIO, size: int) -> bytearray:
        buffer = bytearray(size)
        view, done = memoryview(buffer), 0
        while done < size:
            count = pipe.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise self._died()
            done += count
        return buffer

    def _died(self) -> TfconvrnnError:
        assert self._process is not None
        assert self._log is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._log.close()
        code = self._process.returncode
        error = self._log.failure(code if code is not None else -9)
        return error if code in (2, 3, 4) else ProgramDied(str(error), code)


def load(
    model: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    presentation: str | None = None,
    on_ms: _flags.Numbers | None = None,
    off_ms: _flags.Numbers | None = None,
    total_ms: float | None = None,
    blank: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Model:
    """Load a model that stays loaded and answers again and again; see :meth:`Model.respond`.

    The parameters are those of :func:`extract`; ``options`` are flags of ``tfconvrnn-cli respond``, such as
    ``threads=4``.
    """
    flags = {
        **_flags.presentation(presentation, on_ms, off_ms, total_ms, blank),
        **_flags.model(model, weights, options),
    }
    return Model(model, _program.arguments(flags), progress)


def _end(process: subprocess.Popen[bytes], shared: _SharedMemory | None) -> None:
    """End the program behind a model: it ends with its standard input."""
    if shared is not None:
        shared.close()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write(pipe: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[pipe.write(data) :]


def _whole(value: Any, name: str) -> int:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        number = int(value)
        if number == value:
            return number
    raise UsageError(f"{name}: {value!r} is no whole number")
