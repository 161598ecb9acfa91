"""A client of ``tfconvrnn-cli serve``: the Open Inference Protocol over HTTP, with binary tensors."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from . import _catalogue, _flags, _model, _stimuli
from .errors import InputError, RequestError, ServiceError, UsageError

if TYPE_CHECKING:
    import pandas as pd

_BINARY_HEADER = "Inference-Header-Content-Length"
_TYPES = {"BOOL": np.dtype("?"), "UINT8": np.dtype("u1"), "INT32": np.dtype("<i4"), "FP32": np.dtype("<f4")}

# What one request asks for; more are several requests. The service refuses what is too much for it.
_IMAGES = 32
_RESPONSE_BYTES = 256 << 20
_BUSY = (429, 503)


def connect(
    url: str = "http://127.0.0.1:8080",
    *,
    token: str | None = None,
    timeout: float = 600,
    ca_file: str | os.PathLike[str] | None = None,
) -> Service:
    """Return a client of a running ``tfconvrnn-cli serve``. Nothing is loaded here.

    ``url`` is http://…, https://… or unix:/path/of/socket. ``token`` is what the service's ``--token-file`` holds.
    ``timeout`` is how many seconds a request may take, with waiting for a service that is busy. ``ca_file`` has the
    certificates to trust in place of the system's.
    """
    service = Service(url, token, timeout, ca_file)
    service.ready()
    return service


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Service:
    """A running service. It may be used by several threads, each of which gets a connection of its own."""

    def __init__(
        self, url: str, token: str | None, timeout: float, ca_file: str | os.PathLike[str] | None = None
    ) -> None:
        self._url, self._token, self._timeout = url, token, timeout
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https", "unix") or not (
            parts.path if parts.scheme == "unix" else parts.hostname
        ):
            raise UsageError(f"url={url!r}; it is http://HOST:PORT, https://HOST:PORT or unix:/path")
        if parts.scheme != "unix" and (parts.path not in ("", "/") or parts.query):
            raise UsageError(f"url={url!r}: it is the service's address, without {parts.path or parts.query}")
        self._parts = parts
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._of_thread = threading.local()

    def __repr__(self) -> str:
        return f"<tfconvrnn.Service {self._url}>"

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this thread's connection. A further request opens another."""
        connection = getattr(self._of_thread, "connection", None)
        if connection is not None:
            connection.close()
            self._of_thread.connection = None

    def ready(self) -> None:
        """Return when the service has loaded its models. The error says what is wrong otherwise."""
        self._request("GET", "/v2/health/ready")
        self._request("GET", "/v2")  # which needs the token

    def metadata(self, model: str) -> dict[str, Any]:
        """Return what the service says of a model: inputs, outputs, and the parameters of requests."""
        described = json.loads(self._request("GET", _path(model))[1])
        assert isinstance(described, dict)
        return described

    def extract(
        self,
        model: str,
        stimuli: Any,
        layers: str | Sequence[str] | None = None,
        areas: str | Sequence[str] | None = None,
        *,
        presentation: str | None = None,
        on_ms: _flags.Numbers | None = None,
        off_ms: _flags.Numbers | None = None,
        total_ms: float | None = None,
        blank: str | None = None,
        all_times: bool = False,
        logits: bool = False,
        select: Mapping[str, str] | None = None,
        reduce: str | Mapping[str, str] | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """Return features of stimuli, as :func:`tfconvrnn.extract` does, in memory.

        ``stimuli`` are an array [n, 224, 224, 3] of uint8 or of floating-point 0 … 1, a torch tensor
        [n, 3, 224, 224], pictures of Pillow, or paths of files here, which are sent as they are. ``options`` are
        further parameters of the service's requests, such as ``preprocess``.
        """
        info = _catalogue.models()[model]
        names = info.select(layers, areas)
        parts = [f"{layer}{part}" for layer in names for part in ("", "/timesteps", "/ms", "/driven")]
        parameters = {
            **_flags.presentation(presentation, on_ms, off_ms, total_ms, blank),
            "include_all_times": all_times,
            "select": _of_layers(select),
            "reduce": reduce if isinstance(reduce, str) else _of_layers(reduce),
            **options,
        }
        outputs = [*parts, *(["logits"] if logits else []), "provenance"]
        values = sum(math.prod(info.layer(layer).shape) for layer in names)
        found, ids = self._infer(info, stimuli, values, parameters, outputs, along=(*names, "logits"))
        reduced = {layer: reduce if isinstance(reduce, str) else (reduce or {}).get(layer) for layer in names}
        return _dataset(info, names, reduced, found, ids)

    def classify(
        self,
        model: str,
        stimuli: Any,
        *,
        top: int = 5,
        presentation: str | None = None,
        on_ms: _flags.Numbers | None = None,
        off_ms: _flags.Numbers | None = None,
        total_ms: float | None = None,
        blank: str | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        """Return the likeliest ImageNet classes: stimulus, rank, index, wordnet_id, names and probability."""
        import pandas as pd

        info = _catalogue.models()[model]
        parameters = {**_flags.presentation(presentation, on_ms, off_ms, total_ms, blank), "top": top, **options}
        columns = {
            "index": "classes", "wordnet_id": "classes/wordnet_ids", "names": "classes/names",
            "probability": "classes/probabilities",
        }  # fmt: skip
        found, ids = self._infer(info, stimuli, 0, parameters, list(columns.values()), along=tuple(columns.values()))
        ranks = found["classes"].shape[1]
        table = {
            "stimulus": np.repeat(np.array(ids, object), ranks),
            "rank": np.tile(np.arange(1, ranks + 1), len(ids)),
        }
        return pd.DataFrame({**table, **{column: found[output].ravel() for column, output in columns.items()}})

    def respond(
        self,
        model: str,
        images: Any,
        layer: str,
        channels: int | Sequence[int] | None = None,
        unit: str | _model.Position = "center",
        window: tuple[int, int] | None = None,
        average: bool | None = None,
        **options: Any,
    ) -> npt.NDArray[np.float32]:
        """Return the responses of a layer's units, as :meth:`tfconvrnn.Model.respond` does.

        The service sends the units that are asked for, at all timesteps. ``options`` are parameters of the service's
        requests, such as ``on_ms``.
        """
        info = _catalogue.models()[model]
        shape = info.layer(layer).shape
        asked = _model.units(info, layer, channels, unit)
        places = [
            *zip(asked.position or (), shape, strict=False),
            *((channel, shape[-1]) for channel in asked.channels or ()),
        ]
        for at, size in places:
            if not 0 <= at < size:
                raise UsageError(f"{layer} is {'×'.join(map(str, shape))}; there is no {at}")
        parameters = {
            "include_all_times": True,
            "select": f"{layer}={asked.text()}" if asked.text() else "",
            "reduce": "gap" if asked.mean else "",
            **options,
        }
        found, _ = self._infer(info, images, asked.values(shape), parameters, [layer, f"{layer}/ms"], along=(layer,))
        values: npt.NDArray[np.float32] = found[layer]
        if window is not None:
            values = values[:, _within(found[f"{layer}/ms"], window)]
        if (window is not None) if average is None else average:
            values = values.mean(axis=1)
        return np.ascontiguousarray(values)

    def _infer(
        self,
        info: _catalogue.ModelInfo,
        stimuli: Any,
        values: int,
        parameters: Mapping[str, Any],
        outputs: Sequence[str],
        along: Sequence[str],
    ) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
        """Ask for outputs, a few stimuli at a time; those named ``along`` have a row for each stimulus.

        ``values`` is how many there are of a stimulus at a timestep, at most.
        """
        wanted = {name: value for name, value in parameters.items() if value not in (None, False, "")}
        bytes_each = 4 * max(info.times, 30) * max(values, 1)
        step = max(1, min(_IMAGES, _RESPONSE_BYTES // bytes_each))
        answers = []
        with _stimuli.pixels(stimuli) as (array, paths):
            number = len(array) if array is not None else len(paths)
            ids = [str(i) for i in range(number)] if array is not None else [os.path.basename(path) for path in paths]
            for first in range(0, number, step):
                some = slice(first, first + step)
                tensor = _pixels(array[some]) if array is not None else _pictures(paths[some])
                answers.append(self._ask(info.name, tensor, wanted, outputs))
        return {
            name: np.concatenate([answer[name] for answer in answers]) if name in along else answers[0][name]
            for name in outputs
        }, ids

    def _ask(
        self,
        model: str,
        tensor: tuple[dict[str, Any], bytes],
        parameters: Mapping[str, Any],
        outputs: Sequence[str],
    ) -> dict[str, npt.NDArray[Any]]:
        """Send one request and return its outputs."""
        described, data = tensor
        described["parameters"] = {"binary_data_size": len(data)}
        head = json.dumps({
            "inputs": [described], "parameters": dict(parameters),
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
        }).encode()  # fmt: skip
        headers, body = self._request("POST", _path(model) + "/infer", head + data, {_BINARY_HEADER: str(len(head))})
        size = int(headers[_BINARY_HEADER])
        at, found = size, {}
        for output in json.loads(body[:size])["outputs"]:
            length = output["parameters"]["binary_data_size"]
            found[output["name"]] = _values(output, body[at : at + length])
            at += length
        return found

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """Send a request until it is answered: again where the service is busy, or a kept connection had ended."""
        shown = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        until = time.monotonic() + self._timeout
        while True:
            kept = getattr(self._of_thread, "connection", None)
            try:
                connection = kept or self._connection()
                connection.timeout = max(until - time.monotonic(), 0.001)
                if connection.sock is not None:
                    connection.sock.settimeout(connection.timeout)
                connection.request(method, path, body, {**shown, **(headers or {})})
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if kept is not None and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                    continue
                raise ServiceError(f"{self._url} does not answer: {error or type(error).__name__}") from error
            except BaseException:  # Ctrl-C: the answer to this request must not be taken for that of the next
                self.close()
                raise
            if response.status == 200:
                return response.headers, answer
            wait = _seconds(response.headers.get("Retry-After"))
            if response.status in _BUSY and wait is not None and time.monotonic() + wait < until:
                time.sleep(wait)
                continue
            raise _refusal(response, answer)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._parts.scheme == "unix":
            connection = _UnixConnection(self._parts.path, self._timeout)
        elif self._tls is not None:
            host = self._parts.hostname or ""
            connection = http.client.HTTPSConnection(host, self._parts.port, timeout=self._timeout, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
        self._of_thread.connection = connection
        return connection


def _within(ms: npt.NDArray[Any], window: tuple[int, int]) -> slice:
    """Return the timesteps in a window of milliseconds."""
    begin, end = window
    edges = [*ms.tolist(), int(ms[-1]) + 10]
    if begin not in edges[:-1] or end not in edges[1:] or begin >= end:
        raise UsageError(f"window {window}: its ends are multiples of 10 within {edges[0]} … {edges[-1]} ms")
    return slice(edges.index(begin), edges.index(end))


def _of_layers(choices: Mapping[str, str] | None) -> str:
    return ",".join(f"{layer}={choice}" for layer, choice in (choices or {}).items())


def _path(model: str) -> str:
    return "/v2/models/" + urllib.parse.quote(model, safe="")


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None


def _refusal(response: http.client.HTTPResponse, answer: bytes) -> ServiceError:
    """Return the error that an answer means."""
    message = f"the service answers {response.status} {response.reason}"
    with contextlib.suppress(ValueError, KeyError, TypeError):
        message = str(json.loads(answer)["error"])
    wrong = response.status in (400, 404, 405, 413, 501)
    return (RequestError if wrong else ServiceError)(message, response.status)


def _pixels(images: npt.NDArray[Any]) -> tuple[dict[str, Any], bytes]:
    """Return images as an input of a request."""
    if images.dtype != np.uint8:
        images = images.astype("<f4")
        if images.min() < 0 or images.max() > 1:
            raise InputError("floating-point images that are not of 0 … 1")
    datatype = "UINT8" if images.dtype == np.uint8 else "FP32"
    return {"name": "images", "shape": list(images.shape), "datatype": datatype}, images.tobytes()


def _pictures(paths: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """Return files as an input of a request."""
    data = b""
    for path in paths:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; it is a picture's file") from error
        data += len(content).to_bytes(4, "little") + content
    return {"name": "pictures", "shape": [len(paths)], "datatype": "BYTES"}, data


def _values(output: Mapping[str, Any], data: bytes) -> npt.NDArray[Any]:
    """Return the values of an output."""
    if output["datatype"] == "BYTES":
        return np.array(list(_texts(data)), object).reshape(output["shape"])
    return np.frombuffer(data, _TYPES[output["datatype"]]).reshape(output["shape"])


def _texts(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        yield data[at + 4 : at + 4 + size].decode()
        at += 4 + size


def _dataset(
    info: _catalogue.ModelInfo,
    layers: Sequence[str],
    reduced: Mapping[str, str | None],
    found: Mapping[str, npt.NDArray[Any]],
    ids: Sequence[str],
) -> xr.Dataset:
    """Return outputs under the names that an extraction's Zarr store has."""
    made = json.loads(found["provenance"][0])
    same = len({tuple(found[f"{layer}/timesteps"]) for layer in layers}) == 1
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {"stimulus_id": ("presentation", np.array(ids, object))}
    for layer in layers:
        prefix = "" if same else f"{layer}_"
        time = f"{prefix}timestep"
        coordinates[time] = (time, found[f"{layer}/timesteps"].astype(np.int64))
        coordinates[f"{prefix}ms"] = (time, found[f"{layer}/ms"].astype(np.int64))
        coordinates[f"{layer}_driven"] = (time, found[f"{layer}/driven"])
        values = found[layer]
        places = ["height", "width", "channel"]
        if values.ndim == 3:
            flat = len(info.layer(layer).shape) == 1
            places = ["component" if reduced[layer] not in (None, "gap") else "class" if flat else "channel"]
        if units := made.get("selections", {}).get(layer):  # which of the layer's there are
            for place in ("row", "column"):
                if place in units:
                    coordinates[f"{layer}_{place}"] = ((), units[place])
            if "channels" in units and places[-1] != "component":
                coordinates[f"{layer}_{places[-1]}"] = (f"{layer}_{places[-1]}", units["channels"])
        variables[layer] = (["presentation", time, *(f"{layer}_{place}" for place in places)], values)
    if "logits" in found:
        variables["logits"] = (["presentation", "logit"], found["logits"])
    attributes = {"model": info.name, "provenance": str(found["provenance"][0])}
    return xr.Dataset(variables, coordinates, attributes)
