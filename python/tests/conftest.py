"""The tests run the program that TFCONVRNN_PROGRAM names or that the wheel installed, with a seeded model."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import tfconvrnn

MODEL = "timedecay_shallow"
WEIGHTS = "seeded:1"
PICTURES = Path(__file__).parents[2] / "testdata" / "pictures"
COMPARISON = PICTURES.parent / "comparison"

warnings.filterwarnings("ignore", message=".*untrained weights.*")


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also in tests that a shell started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def images() -> npt.NDArray[np.uint8]:
    """Five different images."""
    return np.random.default_rng(1).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def model() -> Iterator[tfconvrnn.Model]:
    """A loaded model."""
    with tfconvrnn.load(MODEL, weights=WEIGHTS, progress=False) as loaded:
        yield loaded
