"""The examples: what docs/python.md shows of this package, and the closed loop."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODEL, PICTURES, WEIGHTS
from test_service import serving

import tfconvrnn

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))


def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rsatoolbox")
    blocks = re.findall(r"^```python tfconvrnn( service)?\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) >= 5
    shutil.copytree(PICTURES, tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"token": None}
    for needs_service, block in blocks:
        with serving() if needs_service else contextlib.nullcontext("") as names["url"]:
            exec(compile(block, str(PAGE), "exec"), names)
    np.testing.assert_allclose(names["driving"], names["response"], rtol=1e-4, atol=1e-5)
    late = names["late"].measurements
    above = np.triu_indices(len(late), 1)
    np.testing.assert_allclose(names["dissimilarities"].dissimilarities[0], 1 - np.corrcoef(late)[above], rtol=1e-4)
    assert names["similarity"][0, 8] == pytest.approx(1), "12 of 4 … 15"


def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells run, and it is kept without what they print."""
    pytest.importorskip("matplotlib").use("Agg")
    notebook = json.loads((EXAMPLES / "layer_time.ipynb").read_text(encoding="utf-8"))
    shutil.copytree(PICTURES, tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert (tmp_path / "layer-time.png").stat().st_size > 5000


def test_a_unit_is_driven() -> None:
    pytest.importorskip("cma")
    from drive_unit import Gratings, evolve

    with tfconvrnn.load(MODEL, weights=WEIGHTS, progress=False) as model:
        code, best = evolve(model, "conv5", channel=7, window=(100, 150), steps=8, population=8)
        again = model.respond(Gratings()(code[None]), "conv5", channels=7, window=(100, 150))
        gray = model.respond(np.full((1, 224, 224, 3), 128, np.uint8), "conv5", channels=7, window=(100, 150))
    assert max(best) > best[0], "the responses rise"
    assert again[0, 0] == pytest.approx(max(best), rel=1e-3, abs=1e-5)
    assert again[0, 0] > gray[0, 0]
