"""Running the program: arguments in, JSON out, messages and progress from its log in JSON."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from .errors import ProgramMissingError, TfconvrnnError, of_exit_code

NAME = "tfconvrnn-cli"
PROGRAM_ENV = "TFCONVRNN_PROGRAM"
LIBRARY_ENV = "TFCONVRNN_LIBTENSORFLOW"

# A version of TensorFlow that the program can use: (2, 16) up to before (3,).
_OLDEST_TENSORFLOW = (2, 16)

Progress = Callable[[str, int, int], None]


def find() -> str:
    """Return the program's path: what TFCONVRNN_PROGRAM names, or the one installed with this package, or on PATH."""
    if named := os.environ.get(PROGRAM_ENV):
        return named
    for scheme in (None, f"{os.name}_user"):
        with contextlib.suppress(KeyError):
            folder = sysconfig.get_path("scripts") if scheme is None else sysconfig.get_path("scripts", scheme)
            if os.access(path := os.path.join(folder, NAME), os.X_OK):
                return path
    # pip install --target puts the program into bin/ beside the package.
    if os.access(beside := str(Path(__file__).parent.parent / "bin" / NAME), os.X_OK):
        return beside
    if found := shutil.which(NAME):
        return found
    raise ProgramMissingError(
        f"no {NAME} in this environment; install the wheel of tfconvrnn again, or name it in {PROGRAM_ENV}"
    )


def tensorflow_library() -> str | None:
    """Return the folder of TensorFlow's library in this Python environment, None if there is no usable one."""
    for project in ("tensorflow-cpu", "tensorflow", "tensorflow-aarch64"):
        try:
            distribution = importlib.metadata.distribution(project)
        except importlib.metadata.PackageNotFoundError:
            continue
        version = tuple(int(part) for part in distribution.version.split(".")[:2] if part.isdigit())
        folder = Path(str(distribution.locate_file("tensorflow")))
        if _OLDEST_TENSORFLOW <= version < (3,) and any(folder.glob("libtensorflow_cc.*")):
            return str(folder)
    return None


def environment() -> dict[str, str]:
    """Return the environment of the program: with this Python environment's TensorFlow and HDF5."""
    env = dict(os.environ)
    if LIBRARY_ENV not in env and (library := tensorflow_library()):
        env[LIBRARY_ENV] = library
    env.setdefault("VIRTUAL_ENV", sys.prefix)  # where the program looks for h5py's HDF5
    return env


def arguments(flags: dict[str, Any]) -> list[str]:
    """Return flags of the program: None is left out, True has no value, lists are repeated."""
    args: list[str] = []
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            args.append(flag)
        elif isinstance(value, (list, tuple)):
            args += [f"{flag}={item}" for item in value]
        else:
            args.append(f"{flag}={value}")
    return args


class Log:
    """Reads the program's log, of one JSON object a line, in a thread of its own."""

    def __init__(self, stream: IO[bytes], progress: Progress | None) -> None:
        self.error: str | None = None
        self.rest: list[str] = []
        self.warnings: list[str] = []
        self._stream, self._progress = stream, progress
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            text = line.decode("utf-8", "replace").strip()
            try:
                entry = json.loads(text)
                level, message = entry["level"], entry["msg"]
            except (ValueError, KeyError, TypeError):
                self.rest = [*self.rest[-20:], text]
                continue
            if "done" in entry:
                if self._progress is not None:
                    self._progress(message.split(":")[0], int(entry["done"]), int(entry.get("total", 0)))
            elif level == "ERROR":
                self.error = message
            elif level == "WARN":
                self.warnings = [*self.warnings[-200:], message]

    def close(self) -> None:
        """Wait for the end of the log, and pass warnings on."""
        self._thread.join(10)
        self.warn()

    def warn(self) -> None:
        """Pass warnings on that were not yet."""
        passed, self.warnings = self.warnings, []
        for message in passed:
            warnings.warn(message, stacklevel=5)

    def failure(self, code: int) -> TfconvrnnError:
        """Return the error that the program ended with."""
        if code < 0:
            what = f"{NAME} was killed by {signal.Signals(-code).name}"
        else:
            what = self.error or "; ".join(self.rest[-5:]) or f"{NAME} ended with code {code}"
        return of_exit_code(code, what)


def start(args: Sequence[str], progress: Progress | None = None, **options: Any) -> tuple[subprocess.Popen[bytes], Log]:
    """Start the program. It gets no Ctrl-C of the terminal: the caller stops it."""
    messages = ["--log-format=json", *([] if progress is None else ["--progress-every=500ms"])]
    try:
        process = subprocess.Popen(
            [find(), *messages, *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment(), start_new_session=True, **options,
        )  # fmt: skip
    except OSError as error:
        raise ProgramMissingError(f"{NAME} cannot be started: {error}") from error
    assert process.stderr is not None
    return process, Log(process.stderr, progress)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program, tidily if it can within ten seconds."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(args: Sequence[str], progress: Progress | None = None) -> bytes:
    """Run the program to its end and return what it printed. Ctrl-C stops it, and so does the end of this process."""
    process, log = start(["--end-with-stdin", *args], progress, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin, process.stdout:
            output: bytes = process.stdout.read()
        process.wait()
    except BaseException:
        stop(process)
        raise
    finally:
        log.close()
    if process.returncode != 0:
        raise log.failure(process.returncode)
    return output


def run_json(
    command: Sequence[str],
    flags: dict[str, Any] | None = None,
    inputs: Sequence[str] = (),
    progress: Progress | None = None,
) -> Any:
    """Run the program with --json and return what it says."""
    return json.loads(run([*command, "--json", *arguments(flags or {}), "--", *inputs], progress))


@contextlib.contextmanager
def progress_bar(wanted: bool) -> Iterator[Progress | None]:
    """Give a function that shows progress with tqdm; None if that is not wanted or not there."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        wanted = False
    if not wanted:
        yield None
        return
    bars: dict[str, Any] = {}

    def show(label: str, done: int, total: int) -> None:
        if label not in bars:
            for bar in bars.values():
                bar.close()
            bars[label] = tqdm(desc=label, total=total or None, leave=False)
        bars[label].total = total or None
        bars[label].update(done - bars[label].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


def version() -> str:
    """Return the version of this package, which is the program's."""
    try:
        return importlib.metadata.version("tfconvrnn")
    except importlib.metadata.PackageNotFoundError:
        return str(run_json(["version"])["version"])
