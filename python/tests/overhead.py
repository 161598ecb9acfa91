"""What this package costs over the program: a step of a closed loop, and extract. It prints two lines.

A step's answer says how long the library took; extract is measured beside the command, in turns.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from conftest import MODEL, PICTURES, WEIGHTS

import tfconvrnn
from tfconvrnn import _program


def steps(number: int) -> None:
    """Measure steps of 20 images whose pixels are new each time."""
    random = np.random.default_rng(1)
    with tfconvrnn.load(MODEL, weights=WEIGHTS, progress=False) as model:
        request = {"outputs": [model._output("conv5", 7, "center")], "window_ms": [100, 150], "average": True}
        over, library = [], []
        for _ in range(number + 3):
            images = random.integers(0, 256, (20, 224, 224, 3), dtype=np.uint8)
            begun = time.perf_counter()
            answer, _ = model._ask({**request, "images": len(images), "dtype": "uint8"}, images)
            over.append(time.perf_counter() - begun - answer["seconds"])
            library.append(answer["seconds"])
        begun = time.perf_counter()
        for _ in range(10):
            model.respond(images, "conv5", channels=7, window=(100, 150))
        whole = (time.perf_counter() - begun) / 10
    over, library = over[3:], library[3:]
    print(
        f"respond: {np.median(over) * 1000:.2f} ms (worst {max(over) * 1000:.2f}) over the library's "
        f"{np.median(library) * 1000:.1f} ms; a call of respond {whole * 1000:.1f} ms"
    )


def extraction(rounds: int) -> None:
    """Measure extract of four pictures beside the command."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(PICTURES, folder / "pictures")
    flags = ["--model", MODEL, "--weights", WEIGHTS, "--layers", "conv5"]
    command, function = [], []
    for i in range(rounds):
        begun = time.perf_counter()
        _program.run(["extract", "--json", *flags, "--out", str(folder / f"c{i}.zarr"), str(folder / "pictures")])
        command.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        tfconvrnn.extract(
            MODEL, folder / "pictures", "conv5", weights=WEIGHTS, out=folder / f"f{i}.zarr", progress=False
        )
        function.append(time.perf_counter() - begun)
    shutil.rmtree(folder)
    over = np.median(np.array(function) - np.array(command))
    print(
        f"extract: {over * 1000:.0f} ms over the command's {np.median(command) * 1000:.0f} ms, {rounds} rounds in turns"
    )


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    steps(number)
    extraction(max(number // 5, 3))
