"""A model that stays loaded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MODEL, PICTURES, WEIGHTS
from PIL import Image

import tfconvrnn

Array = npt.NDArray[Any]


def test_responses_are_those_of_extract(model: tfconvrnn.Model, images: Array) -> None:
    with tfconvrnn.extract(MODEL, images, "conv5", weights=WEIGHTS, all_times=True, progress=False) as dataset:
        whole = dataset["conv5"].values

    def close(got: Array, want: Array) -> None:
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)

    close(model.respond(images, "conv5", unit="all"), whole)
    close(model.respond(images, "conv5"), whole[:, :, 2, 2])
    close(model.respond(images, "conv5", unit=(0, 3), channels=[9, 2]), whole[:, :, 0, 3][..., [9, 2]])
    close(model.respond(images, "conv5", unit="mean"), whole.mean((2, 3)))
    close(model.respond(images, "conv5", channels=7, window=(100, 150)), whole[:, 10:15, 2, 2, 7:8].mean(1))
    close(model.respond(images, "conv5", window=(100, 150), average=False), whole[:, 10:15, 2, 2])
    close(model.respond(images.astype(np.float32) / 255, "conv5"), whole[:, :, 2, 2])
    close(model.respond(images.astype(np.float64) / 255, "conv5"), whole[:, :, 2, 2])
    close(model.respond(images[::-1], "conv5"), whole[::-1, :, 2, 2])
    close(model.respond(images[0], "conv5"), whole[:1, :, 2, 2])
    best = whole[0, 12, 2, 2].argmax()  # an integer of NumPy's
    close(model.respond(images, "conv5", channels=best), whole[:, :, 2, 2, best : best + 1])
    close(model.respond(images, "conv5", np.array([9, 2]), np.array([0, 3])), whole[:, :, 0, 3][..., [9, 2]])
    close(model.respond([Image.fromarray(image) for image in images], "conv5"), whole[:, :, 2, 2])
    assert model.respond(PICTURES / "chelsea.png", "imnetds", unit="all", window=(150, 160)).shape == (1, 1000)


def test_any_number_of_images(model: tfconvrnn.Model, images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfconvrnn._model._IMAGES", 2)
    assert model.respond(images, "conv5", window=(100, 110)).shape == (5, 512)


def test_through_a_pipe(images: Array, model: tfconvrnn.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFCONVRNN_NO_SHARED_MEMORY", "1")
    with tfconvrnn.load(MODEL, weights=WEIGHTS, progress=False) as other:
        np.testing.assert_allclose(other.respond(images, "conv5"), model.respond(images, "conv5"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "conv9"}, "no layer conv9"),
        ({"unit": (4, 0)}, r"none at \(4,0\)"),
        ({"unit": "middle"}, "middle"),
        ({"unit": (0.5, 1)}, "whole"),
        ({"unit": 5}, "row, column"),
        ({"unit": (1, 2, 3)}, "row, column"),
        ({"channels": "best"}, "whole"),
        ({"channels": 512}, "no 512"),
        ({"channels": []}, "no channel"),
        ({"window": (101, 150)}, "timestep"),
        ({"window": (100, 900)}, "not within"),
    ],
)
def test_bad_options(model: tfconvrnn.Model, images: Array, options: dict[str, Any], message: str) -> None:
    with pytest.raises(tfconvrnn.UsageError, match=message):
        model.respond(images, **{"layer": "conv5", **options})
    assert model.respond(images[:1], "conv5", window=(100, 110)).shape == (1, 512)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((1, 100, 100, 3), np.uint8), "224"),
        (np.full((1, 224, 224, 3), 2.0), "0 … 1"),
        (np.full((1, 224, 224, 3), np.nan), "NaN"),
        ([], "no images"),
        ("/nonexistent.png", "nonexistent"),
    ],
)
def test_bad_images(model: tfconvrnn.Model, bad: Any, message: str) -> None:
    with pytest.raises(tfconvrnn.TfconvrnnError, match=message):
        model.respond(bad, "conv5")


def test_closed_and_dead(images: Array) -> None:
    model = tfconvrnn.load(MODEL, weights=WEIGHTS, progress=False)
    assert MODEL in repr(model)
    assert "conv5" in model._repr_html_()
    assert model._process is not None
    model._process.kill()
    with pytest.raises(tfconvrnn.ProgramDied):
        model.respond(images, "conv5")
    assert model.respond(images[:1], "conv5", window=(100, 110)).shape == (1, 512), "it is loaded again"
    process = model._process
    model.close()
    model.close()
    assert process.poll() is not None
    with pytest.raises(tfconvrnn.UsageError, match="closed"):
        model.respond(images, "conv5")
    with pytest.raises(tfconvrnn.UsageError):
        tfconvrnn.load("nonsense", progress=False)


def test_ctrl_c(images: Array) -> None:
    many = np.concatenate([images] * 60)
    with tfconvrnn.load(MODEL, weights=WEIGHTS, progress=False) as model:
        threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            model.respond(many, "conv5", unit="all")
        assert model.respond(images[:1], "conv5", window=(100, 110)).shape == (1, 512)


def test_several_threads(model: tfconvrnn.Model, images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is that of its request, also where another thread asks before it is looked at."""
    lock = model._lock

    class Contended:
        def __enter__(self) -> None:
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            model._requests += 1  # as another thread does that waited for the lock
            lock.release()

    monkeypatch.setattr(model, "_lock", Contended())
    assert model.respond(images[:1], "conv5", window=(100, 110)).shape == (1, 512)


def test_a_forked_process_is_refused(model: tfconvrnn.Model, images: Array) -> None:
    """It would mix its requests with those of the process that loaded the model."""
    child = os.fork()
    if child == 0:
        try:
            model.respond(images[:1], "conv5")
        except tfconvrnn.UsageError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert model.respond(images[:1], "conv5", window=(100, 110)).shape == (1, 512)


def test_times_are_numbers_of_any_kind(images: Array) -> None:
    with tfconvrnn.load(
        MODEL, weights=WEIGHTS, progress=False, on_ms=np.int64(0), off_ms=np.array([100]), total_ms=np.float32(160)
    ) as model:
        assert model.times == 16


def _other_process(images: Array, results: Any) -> None:
    with tfconvrnn.load(MODEL, weights=WEIGHTS, progress=False) as model:
        results.put(model.respond(images, "conv5", window=(100, 150)))


def test_two_models_and_two_processes(model: tfconvrnn.Model, images: Array) -> None:
    expected = model.respond(images, "conv5", window=(100, 150))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_other_process, args=(images, results))
    process.start()
    with tfconvrnn.load("timedecay_shallow", weights="seeded:2", progress=False) as second:
        other = second.respond(images, "conv5", window=(100, 150))
        again = model.respond(images, "conv5", window=(100, 150))
    np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(other, expected)
    np.testing.assert_allclose(results.get(timeout=120), expected, rtol=1e-4, atol=1e-5)
    process.join(30)


def test_the_program_ends_with_python() -> None:
    code = (
        "import tfconvrnn, os, numpy, sys; m = tfconvrnn.load('timedecay_shallow', weights='seeded:1', progress=False);"
        "print(m._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    pid = int(result.stdout)
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the program lives on")
