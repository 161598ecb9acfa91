"""The client of serve, against the running program."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from conftest import MODEL, PICTURES, WEIGHTS
from PIL import Image

import tfconvrnn
from tfconvrnn import _program

Array = npt.NDArray[Any]
TOKEN = "a secret of enough characters"


def serve(*flags: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start the service, and return it and its address when it is ready."""
    process = subprocess.Popen(
        [_program.find(), "--log-format=json", "serve", f"--model={MODEL}", f"--weights={WEIGHTS}", *flags],
        stderr=subprocess.PIPE, env=_program.environment(),
    )  # fmt: skip
    address, seen = "", []
    assert process.stderr is not None
    for line in process.stderr:
        message = json.loads(line)["msg"]
        seen.append(message)
        if message.startswith("listening: "):
            address = message.removeprefix("listening: ").removeprefix("HTTP on ")
        if message == "ready":
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, address
    raise AssertionError(seen)


@contextlib.contextmanager
def serving(*flags: str) -> Iterator[str]:
    """Give the address of a service that ends afterwards."""
    process, address = serve(*(flags or ["--listen=127.0.0.1:0"]))
    try:
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tfconvrnn.Service]:
    """A service on a Unix socket, with a token."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "token").write_text(TOKEN)
    socket = folder / "socket"
    with (
        serving(f"--listen=unix:{socket}", f"--token-file={folder / 'token'}"),
        tfconvrnn.connect(f"unix:{socket}", token=TOKEN) as client,
    ):
        yield client


def test_extract_is_that_of_the_command(service: tfconvrnn.Service, images: Array) -> None:
    for options in (
        {"areas": "IT", "all_times": True},
        {"layers": "conv3,imnetds", "reduce": {"conv3": "gap"}},
        {"layers": "conv4,conv5", "select": {"conv4": "center", "conv5": "(0,2)+channels(3,0-1)"}},
        {"layers": "conv5", "select": {"conv5": "channels(7,2)"}, "reduce": "gap"},
    ):
        served = service.extract(MODEL, images, logits=True, **options)
        with tfconvrnn.extract(MODEL, images, logits=True, weights=WEIGHTS, progress=False, **options) as written:
            assert served.sizes == written.sizes
            for layer in served.data_vars:
                xr.testing.assert_allclose(
                    served[layer].drop_vars(["stimulus_id"]),
                    written[layer].drop_vars(set(written[layer].coords) - set(served[layer].coords) | {"stimulus_id"}),
                    rtol=1e-4, atol=1e-5,
                )  # fmt: skip
            ours, theirs = tfconvrnn.provenance(served), tfconvrnn.provenance(written)
            assert ours["model"] == theirs["model"]
            assert ours["weights"] == theirs["weights"]
            last = list(served.data_vars)[-2]  # before the logits
            assert tfconvrnn.driven(served, str(last)).dtype == bool
            if "select" in options:
                assert "conv5_channel" in served.coords


def test_kinds_of_stimuli(service: tfconvrnn.Service, images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = service.extract(MODEL, images, "conv5")["conv5"].values
    monkeypatch.setattr("tfconvrnn._service._IMAGES", 2)
    for stimuli in (images, images.astype(np.float64) / 255, [Image.fromarray(image) for image in images]):
        np.testing.assert_allclose(
            service.extract(MODEL, stimuli, "conv5")["conv5"].values, whole, rtol=1e-4, atol=1e-4
        )
    files = sorted(PICTURES.glob("*.png"))
    served = service.extract(MODEL, files, "conv5", reduce="gap")
    assert list(served["stimulus_id"].values) == [file.name for file in files]


def test_classify(service: tfconvrnn.Service) -> None:
    files = sorted(PICTURES.glob("*.png"))
    served = service.classify(MODEL, files, top=3)
    command = tfconvrnn.classify(MODEL, files, top=3, weights=WEIGHTS, progress=False)
    assert list(served["index"]) == list(command["index"])
    assert list(served["rank"]) == list(command["rank"])
    np.testing.assert_allclose(served["probability"], command["probability"], rtol=1e-4)
    assert list(served["wordnet_id"]) == list(command["wordnet_id"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unit": (1, 3), "channels": [7, 2], "window": (100, 150)},
        {"unit": "mean", "channels": 5, "window": (100, 150), "average": False},
        {"unit": "all", "window": (100, 110)},
        {"channels": np.int64(3)},
        {"unit": "mean", "window": (100, 150)},
    ],
)
def test_respond_is_that_of_a_loaded_model(
    service: tfconvrnn.Service,
    model: tfconvrnn.Model,
    images: Array,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    request = service._request

    def counted(*args: Any) -> Any:
        answer = request(*args)
        sizes.append(len(answer[1]))
        return answer

    monkeypatch.setattr(service, "_request", counted)
    served, loaded = service.respond(MODEL, images, "conv5", **options), model.respond(images, "conv5", **options)
    assert served.shape == loaded.shape
    np.testing.assert_allclose(served, loaded, rtol=1e-4, atol=1e-5)
    if options.get("unit") != "all":
        assert max(sizes) < 400_000, "only the units that are asked for travel; the whole layer has 2.6 MB"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, i: s.extract("rgc_shallow", i), tfconvrnn.RequestError, "rgc_shallow"),
        (lambda s, i: s.extract("vgg", i), tfconvrnn.UsageError, "no model vgg"),
        (lambda s, i: s.extract(MODEL, i, "conv99"), tfconvrnn.UsageError, "no layer conv99"),
        (lambda s, i: s.extract(MODEL, i, areas="V9"), tfconvrnn.UsageError, "V9"),
        (lambda s, i: s.extract(MODEL, i, on_ms=3), tfconvrnn.RequestError, "timestep|multiple"),
        (lambda s, i: s.extract(MODEL, i, no_such=1), tfconvrnn.RequestError, "no_such"),
        (lambda s, i: s.extract(MODEL, i * np.float32(2)), tfconvrnn.InputError, "0 … 1"),
        (lambda s, i: s.extract(MODEL, i[:, :99]), tfconvrnn.InputError, "224"),
        (lambda s, i: s.extract(MODEL, __file__), tfconvrnn.RequestError, "picture|image|format"),
        (lambda s, i: s.extract(MODEL, PICTURES), tfconvrnn.InputError, "directory"),
        (lambda s, i: s.extract(MODEL, []), tfconvrnn.InputError, "no images"),
        (lambda s, i: s.respond(MODEL, i, "conv5", unit=(4, 0)), tfconvrnn.UsageError, "no 4"),
        (lambda s, i: s.respond(MODEL, i, "conv5", channels=-1), tfconvrnn.UsageError, "no -1"),
        (lambda s, i: s.respond(MODEL, i, "conv5", window=(101, 150)), tfconvrnn.UsageError, "multiples of 10"),
    ],
)
def test_bad_requests(service: tfconvrnn.Service, images: Array, call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(service, images[:1])
    assert service.respond(MODEL, images[:1], "conv5", window=(100, 110)).shape == (1, 512)


def test_token_and_address(service: tfconvrnn.Service, tmp_path: Path) -> None:
    for token in (None, "another secret of enough characters"):
        with pytest.raises(tfconvrnn.ServiceError, match="token") as error:
            tfconvrnn.connect(service._url, token=token)
        assert error.value.status == 401
    with pytest.raises(tfconvrnn.ServiceError, match="does not answer") as error:
        tfconvrnn.connect(f"unix:{tmp_path / 'nothing'}")
    assert error.value.status is None
    with pytest.raises(tfconvrnn.ServiceError, match="does not answer"):
        tfconvrnn.connect("http://127.0.0.1:1")
    for url in ("127.0.0.1:8080", "unix:", "ftp://localhost", "http://localhost/v2"):
        with pytest.raises(tfconvrnn.UsageError, match="url="):
            tfconvrnn.connect(url)


def test_several_threads(service: tfconvrnn.Service, images: Array) -> None:
    expected = service.respond(MODEL, images, "conv5", window=(100, 150))
    results: dict[int, Array] = {}

    def ask(number: int) -> None:
        results[number] = service.respond(MODEL, images[number : number + 1], "conv5", window=(100, 150))
        service.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(5):
        np.testing.assert_allclose(results[number][0], expected[number], rtol=1e-4, atol=1e-5)


def test_ctrl_c(service: tfconvrnn.Service, images: Array) -> None:
    many = np.concatenate([images] * 40)
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        service.extract(MODEL, many, "conv5")
    assert service.respond(MODEL, images[:1], "conv5", window=(100, 110)).shape == (1, 512)


class _Moody(http.server.BaseHTTPRequestHandler):
    """A service that is busy once, cuts a kept connection once, and then answers."""

    protocol_version = "HTTP/1.1"
    moods: list[str]

    def do_GET(self) -> None:
        mood = self.moods.pop(0) if self.moods else "well"
        if mood == "cut":
            self.close_connection = True
            return
        body = json.dumps({"error": "too many wait"} if mood == "busy" else {}).encode()
        self.send_response(429 if mood == "busy" else 200)
        if mood == "busy":
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_busy_service_is_asked_again() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Moody) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        _Moody.moods = ["well", "well", "cut", "well", "well"]
        client = tfconvrnn.connect(url)
        client.ready()
        assert _Moody.moods == []
        _Moody.moods = ["busy", "busy"]
        begun = time.monotonic()
        client.ready()
        assert time.monotonic() - begun >= 2
        _Moody.moods = ["busy"]
        with pytest.raises(tfconvrnn.ServiceError, match="too many wait") as error:
            tfconvrnn.connect(url, timeout=0.5)
        assert error.value.status == 429
        server.shutdown()
