"""extract, classify, compare and the catalogue."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr
from conftest import COMPARISON, MODEL, PICTURES, WEIGHTS
from PIL import Image

import tfconvrnn
from tfconvrnn import _program, _stimuli

Array = npt.NDArray[Any]


def extract(stimuli: Any, **options: Any) -> xr.Dataset:
    return tfconvrnn.extract(
        MODEL, stimuli, "conv5", weights=WEIGHTS, progress=False, select={"conv5": "center"}, **options
    )


def test_catalogue() -> None:
    models = tfconvrnn.models()
    assert len(models) == 20
    assert models["rgc_intermediate"].layer("conv8").shape[2] == 256
    assert models[MODEL].areas["pIT"] == ("conv4",)
    assert "rgc_intermediate" in repr(models)
    assert models._repr_html_().count("<tr>") == 21
    with pytest.raises(tfconvrnn.UsageError, match="no model vgg"):
        models["vgg"]
    assert tfconvrnn.__version__ == _program.run_json(["version"])["version"]


def test_the_plugin_names_every_model() -> None:
    """Brain-Score looks for its registrations as text."""
    plugin = Path(__file__).parents[1] / "brainscore_plugin" / "tfconvrnn" / "__init__.py"
    registered = re.findall(r'model_registry\["(\w+)"\] = lambda: get_model\("(\w+)"\)', plugin.read_text())
    assert sorted(registered) == sorted((name, name) for name in tfconvrnn.models().names)


def test_select_layers() -> None:
    info = tfconvrnn.models()["rgc_intermediate"]
    assert info.select(None) == ["imnetds"]
    assert info.select("conv2, conv1") == ["conv2", "conv1"]
    assert info.select(["conv1"], "V4") == ["conv1", *info.areas["V4"]]
    assert len(info.select("all")) == 11
    for name in (MODEL, "rgc_intermediate", "ugrnn_intermediate"):
        described = tfconvrnn.models()[name]
        of_it = [layer for area, layers in described.areas.items() if "IT" in area for layer in layers]
        assert described.select(None, "IT") == list(dict.fromkeys(of_it))


def test_kinds_of_stimuli_are_one(images: Array, tmp_path: Path) -> None:
    with extract(images) as dataset:
        assert (
            dataset["conv5"].dims == ("presentation", "conv5_timestep", "conv5_channel")
            or "timestep" in dataset["conv5"].dims
        )
        expected = dataset["conv5"].values
        assert tfconvrnn.provenance(dataset)["model"] == MODEL
        assert tfconvrnn.driven(dataset, "conv5").all()
    folder = tmp_path / "mit Leerzeichen é"
    folder.mkdir()
    paths = []
    for i, image in enumerate(images):
        paths.append(folder / f"{i} ü [a]*.png")
        Image.fromarray(image).save(paths[-1])
    table = pd.DataFrame({"path": paths, "category": list("abcab")})
    for stimuli in (folder, str(folder), paths, table, list(images), [Image.open(path) for path in paths]):
        with extract(stimuli) as dataset:
            np.testing.assert_allclose(dataset["conv5"].values, expected, rtol=1e-5, atol=1e-5)
            if stimuli is table:
                assert list(dataset["category"].values) == list("abcab")
    with extract(images.astype(np.float32) / 255, out=folder / "features.zarr") as dataset:
        np.testing.assert_allclose(dataset["conv5"].values, expected, rtol=1e-4, atol=1e-5)
    assert (folder / "features.zarr").exists()
    with pytest.raises(tfconvrnn.UsageError, match="exists"):
        extract(images, out=folder / "features.zarr")


def test_paths_go_into_a_table(tmp_path: Path) -> None:
    """There may be more than fit a command line, also where names hold what patterns are made of."""
    (tmp_path / "cat [1].png").touch()
    with _stimuli.inputs([tmp_path / "cat [1].png"] * 2) as (inputs, flags):
        assert [Path(path).name for path in inputs] == ["stimuli.csv"]
        assert flags == {"table_root": "/"}


class _Tensor:
    """What of torch's tensors is used, where torch itself, which is large, is not there."""

    def __init__(self, values: Array, dtype: str = "torch.uint8", needs_grad: bool = True) -> None:
        self._values, self.dtype, self._needs_grad = values, dtype, needs_grad

    def detach(self) -> _Tensor:
        return _Tensor(self._values, self.dtype, False)

    def cpu(self) -> _Tensor:
        return self

    def float(self) -> _Tensor:
        return _Tensor(self._values.astype(np.float32), "torch.float32", self._needs_grad)

    def numpy(self) -> Array:
        if self._needs_grad or self.dtype == "torch.bfloat16":
            raise TypeError("NumPy cannot hold it")
        return self._values


def test_tensors(images: Array) -> None:
    """Torch's own are tried where it is installed; scripts/long_tests.sh installs it."""
    first = np.moveaxis(images, -1, 1)
    tensors: list[Any] = [_Tensor(first), [_Tensor(image) for image in first], _Tensor(images)]
    tensors += [_Tensor(first / np.float32(255), "torch.float32"), _Tensor(first / np.float32(255), "torch.bfloat16")]
    try:
        import torch
    except ImportError:
        pass
    else:
        own = torch.from_numpy(first.copy())
        tensors += [own, list(own), (own.float() / 255).requires_grad_(), own.permute(0, 2, 3, 1), own.double() / 255]
    with extract(images) as of_numpy:
        for tensor in tensors:
            with extract(tensor) as of_torch:
                np.testing.assert_allclose(of_torch["conv5"].values, of_numpy["conv5"].values, rtol=1e-4, atol=1e-5)


def test_many_stimuli_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 stimuli in the long tests."""
    number = int(os.environ.get("TFCONVRNN_STIMULI", "240"))
    pictures = sorted(PICTURES.glob("*.png"))
    table = pd.DataFrame({
        "stimulus_id": [f"s{i}" for i in range(number)], "path": [pictures[i % len(pictures)] for i in range(number)],
    })  # fmt: skip
    peaks: list[int] = []
    over = threading.Event()

    def watch(pid: int) -> None:
        while not over.wait(0.05):
            for of in (pid, os.getpid()):
                with contextlib.suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{of}/status").read_text().splitlines()
                    sizes[of].append(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]))

    sizes: dict[int, list[int]] = {os.getpid(): []}
    original = _program.start

    def start(*args: Any, **options: Any) -> Any:
        process, log = original(*args, **options)
        sizes[process.pid] = []
        threading.Thread(target=watch, args=(process.pid,)).start()
        return process, log

    monkeypatch.setattr(_program, "start", start)
    try:
        with extract(table, out=tmp_path / "many.zarr") as dataset:
            over.set()
            assert dataset.sizes["presentation"] == number
            every = dataset["conv5"].values.reshape(number, -1)
            of_last = [i % len(pictures) for i in range(number - len(pictures), number)]
            np.testing.assert_allclose(every[-len(pictures) :], every[of_last], rtol=1e-4, atol=1e-5)
    finally:
        over.set()
    for series in sizes.values():
        assert len(series) > 20, "too short to say anything"
        middle = max(series[len(series) // 4 : len(series) // 2])
        peaks += [middle, max(series[len(series) // 2 :])]
        assert peaks[-1] < 1.05 * middle + 20_000
    print(f"{number} stimuli: resident memory of the halves {', '.join(f'{peak / 1000:.0f} MB' for peak in peaks)}")


def test_progress(images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar of tqdm's follows the program's own count."""
    auto = pytest.importorskip("tqdm.auto")
    bars: list[Any] = []

    class Bar:
        def __init__(self, desc: str, total: int | None, leave: bool) -> None:
            self.desc, self.total, self.n, self.closed = desc, total, 0, False
            self.shown: list[int] = []
            bars.append(self)

        def update(self, more: int) -> None:
            self.n += more
            self.shown.append(self.n)

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(auto, "tqdm", Bar)
    many = np.concatenate([images] * 8)
    with tfconvrnn.extract(MODEL, many, "imnetds", weights=WEIGHTS):
        pass
    (bar,) = (bar for bar in bars if bar.desc == "extracting")
    assert bar.total == len(many)
    assert bar.shown == sorted(bar.shown)
    assert bar.shown[0] < len(many), "it is shown before the end, however short the run"
    assert bar.shown[-1] == len(many)
    assert all(bar.closed for bar in bars)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="arm64 has one kind of kernels")
def test_kernels_are_those_of_the_processor() -> None:
    """The compiler that links the wheel could not tell what the processor has, and took the slowest."""
    has = set(Path("/proc/cpuinfo").read_text().split())
    best = (
        "avx512" if has >= {"avx512f", "avx512vl", "avx512bw", "avx512dq"} else "avx2" if "avx2" in has else "baseline"
    )
    told = _program.run(["doctor"]).decode()
    assert re.search(rf"convolutions +winograd {best}\n", told), told


def test_temporary_stores_go_away(images: Array) -> None:
    dataset = extract(images[:1])
    store = Path(dataset.encoding["source"])
    assert store.exists()
    dataset.close()
    assert not store.parent.exists()


@pytest.mark.parametrize(
    ("stimuli", "message"),
    [
        ("/nonexistent/picture.png", "no such file"),
        ([], "no stimuli"),
        (np.zeros((0, 224, 224, 3), np.uint8), "no images"),
        (np.zeros((2, 224, 224), np.uint8), "shape"),
        (np.zeros((1, 224, 224, 4), np.uint8), "shape"),
        (np.zeros((1, 224, 224, 3), np.int64), "type int64"),
        (np.full((1, 224, 224, 3), np.nan), "NaN"),
        (42, "stimuli of type int"),
        ([np.zeros((224, 224, 3), np.uint8), "a.png"], "all of one kind"),
        ([np.zeros((224, 224, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)], "different shapes"),
        (pd.DataFrame({"image": ["a.png"]}), "needs stimulus_path"),
        (pd.DataFrame({"path": [str(PICTURES / "chelsea.png"), np.nan]}), "row 1 of the table has nan"),
    ],
)
def test_bad_stimuli(stimuli: Any, message: str) -> None:
    with pytest.raises(tfconvrnn.InputError, match=message):
        extract(stimuli)


def test_bad_files(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes((PICTURES / "chelsea.png").read_bytes()[:1000])
    with pytest.raises(tfconvrnn.InputError, match=r"damaged\.png") as error:
        extract(damaged)
    assert error.value.exit_code == 3
    with extract([damaged, PICTURES / "chelsea.png"], on_error="skip") as dataset:
        assert list(dataset["valid"].values) == [False, True]
        assert np.isnan(dataset["conv5"].values[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "rgc"}, "rgc_"),
        ({"layers": "conv99"}, "conv99"),
        ({"areas": "V9"}, "V9"),
        ({"on_ms": 3.0}, "multiple|timestep"),
        ({"select": {"conv5": "(9,9)"}, "layers": "conv5"}, r"none at \(9,9\)"),
        ({"reduce": "median"}, "median"),
        ({"out": "features.npz"}, "zarr"),
        ({"no_such_flag": 1}, "no-such-flag"),
        ({"log_format": "text"}, "log_format"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"model": MODEL, "stimuli": PICTURES, "weights": WEIGHTS, "progress": False, **options}
    with pytest.raises(tfconvrnn.UsageError, match=message):
        tfconvrnn.extract(**arguments)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(tfconvrnn.TfconvrnnError, match=r"weights|checkpoint"):
        tfconvrnn.classify(MODEL, PICTURES, weights=tmp_path, progress=False)


def test_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFCONVRNN_PROGRAM", "/nonexistent/tfconvrnn-cli")
    with pytest.raises(tfconvrnn.ProgramMissingError):
        _program.run_json(["version"])


def test_classify() -> None:
    classes = tfconvrnn.classify(MODEL, PICTURES / "chelsea.png", top=3, weights=WEIGHTS, progress=False)
    assert list(classes["rank"]) == [1, 2, 3]
    assert classes["probability"].is_monotonic_decreasing
    assert {"stimulus", "index", "wordnet_id", "names", "driven"} <= set(classes)


def test_compare() -> None:
    scores = tfconvrnn.compare(
        "cka", COMPARISON / "features.nc", data=COMPARISON / "neural.nc", region="IT", progress=False
    )
    assert {"layer", "score", "time_bin_start"} <= set(scores)
    assert scores.attrs["analysis"] == "cka"
    with pytest.raises(tfconvrnn.UsageError):
        tfconvrnn.compare("cka", COMPARISON / "features.nc", data=COMPARISON / "neural.nc", no_such=1)


def test_the_command_is_the_module() -> None:
    result = subprocess.run([sys.executable, "-m", "tfconvrnn", "models", "--json"], capture_output=True, check=True)
    assert b"rgc_intermediate" in result.stdout
    assert subprocess.run([sys.executable, "-m", "tfconvrnn", "nonsense"], capture_output=True).returncode == 2


def test_ctrl_c_stops_the_program(images: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.concatenate([images] * 100))
    started: list[int] = []
    original = _program.start

    def start(*args: Any, **options: Any) -> Any:
        process, log = original(*args, **options)
        started.append(process.pid)
        return process, log

    _program.start = start
    threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            extract(tmp_path / "many.npy", out=tmp_path / "out.zarr")
    finally:
        _program.start = original
    time.sleep(0.1)
    assert not Path(f"/proc/{started[0]}").exists()
    assert not (tmp_path / "out.zarr").exists()


def test_the_program_ends_with_python(images: Array, tmp_path: Path) -> None:
    """A notebook's kernel that is killed leaves nothing that goes on computing."""
    np.save(tmp_path / "many.npy", np.concatenate([images] * 200))
    code = (
        "import sys, tfconvrnn; tfconvrnn.extract(sys.argv[1], sys.argv[2], 'conv5', weights=sys.argv[3],"
        "out=sys.argv[4], progress=False)"
    )
    out = tmp_path / "out.zarr"
    python = subprocess.Popen([sys.executable, "-c", code, MODEL, str(tmp_path / "many.npy"), WEIGHTS, str(out)])
    children = Path(f"/proc/{python.pid}/task/{python.pid}/children")
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*")):  # it computes
        assert time.monotonic() < until
        time.sleep(0.05)
    (program,) = children.read_text().split()
    python.kill()
    python.wait()
    while Path(f"/proc/{program}").exists():
        assert time.monotonic() < until, "the program lives on"
        time.sleep(0.05)
    assert not out.exists()


def test_overhead_is_small(images: Array, tmp_path: Path) -> None:
    """Print what extract costs over the command; under load the times are noise, so this holds a wide limit."""
    shutil.copytree(PICTURES, tmp_path / "pictures")
    flags = ["--model", MODEL, "--weights", WEIGHTS, "--layers", "conv5", "--select", "conv5=center"]
    command, function = [], []
    for i in range(5):
        begun = time.perf_counter()
        _program.run(["extract", "--json", *flags, "--out", str(tmp_path / f"c{i}.zarr"), str(tmp_path / "pictures")])
        command.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        extract(tmp_path / "pictures", out=tmp_path / f"f{i}.zarr")
        function.append(time.perf_counter() - begun)
    over = min(function) - min(command)
    print(f"extract: {over * 1000:.0f} ms over the command's {min(command) * 1000:.0f} ms")
    assert over < 2
