"""The programs that are measured, as processes: the platform, an engine alone, and what the kernel knows about each.

Linux only: processor time, memory and pinning come from /proc.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from load import Target
from report import ROOT

from yangfan import Client

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

START_SECONDS = 180.0
"""How long a server may take to start; the first start may fetch a model."""

STOP_SECONDS = 15.0
LOG_TAIL_BYTES = 4000
_STREAMS_FILES = 8192
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class NotStartedError(Exception):
    """A program ended or hung before it could answer."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the gateway has to itself, and which one the upstream and the load generator share."""

    gateway: int
    rest: int

    @classmethod
    def available(cls) -> Cores:
        """Two cores of those that this process may use; the same one twice where there is only one."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1])


@dataclass(frozen=True, slots=True)
class Running:
    """A server process that answers."""

    target: Target
    pid: int
    started: float
    """When it was started, by `time.perf_counter`."""
    ready_seconds: float
    credentials: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What the platform's ready file says."""


def model_store() -> Path:
    """Where models are kept between runs: `YANGFAN_MODEL_STORE`, or a folder of the benchmarks' own."""
    return Path(os.environ.get("YANGFAN_MODEL_STORE", "~/.cache/yangfan-bench")).expanduser()


def folder_of(path: Path) -> Path:
    """A GGUF model of SmolLM2's kind as a Hugging Face folder (tests/smollm2_folder.py), made once for all runs."""
    folder = model_store().absolute() / "folders" / path.stem
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "tests.smollm2_folder", str(path.resolve()), str(part)]
        subprocess.run(argv, check=True, stdout=sys.stderr, cwd=ROOT)
        part.rename(folder)
    return folder


@contextmanager
def platform(
    model: str,
    *others: str,
    slots: int,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Generator[Running]:
    """`yangfan serve` with a model (and `others`), with authentication, in a new home folder unless one is given."""
    with tempfile.TemporaryDirectory(prefix="yangfan-bench-") as folder:
        ready = Path(folder) / "ready.json"
        where = folder if home is None else str(home)
        command = [sys.executable, "-m", "yangfan", "serve", "--home", where, "--port", "0"]
        command += [word for each in (model, *others) for word in ("--model", each)]
        command += ["--slots", str(slots), "--ready-file", str(ready)]
        store = {"YANGFAN_MODEL_STORE": str(model_store()), "YANGFAN_MAX_WAITING": "4096"}
        started = time.perf_counter()
        with running(command, {**store, **(environ or {})}) as process:
            wait_for(ready.exists, process, "yangfan serve")
            ready_seconds = time.perf_counter() - started
            facts = json.loads(ready.read_text())
            port = int(facts["base_url"].rpartition(":")[2])
            target = Target(port, "/v2/chat/completions", facts["bearer"], model)
            yield Running(target, facts["pid"], started, ready_seconds, facts)


def another_key(server: Running) -> Target:
    """A new bearer key of a platform."""
    facts = server.credentials
    with Client(
        base_url=facts["base_url"],
        access_key=facts["access_key"],
        secret_access_key=facts["secret_access_key"],
    ) as client:
        made = client.keys.create()
    return replace(server.target, bearer=made.secret)


@contextmanager
def engine(module: str, config: msgspec.Struct, model: str) -> Generator[Running]:
    """An engine's child process without the platform: the same program with the same line of configuration.

    Args:
        module: The engine's file, such as `yangfan.engines.echo`.
        config: What the child reads from stdin; its `api_key` is replaced.
        model: Name that requests use.
    """
    api_key = secrets.token_hex(16)
    line = msgspec.json.encode({**msgspec.structs.asdict(config), "api_key": api_key}) + b"\n"
    started = time.perf_counter()
    with running([sys.executable, "-m", module], {}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line)
        process.stdin.flush()
        ready = process.stdout.readline()
        if not ready:
            raise NotStartedError(f"{module} did not start")
        target = Target(json.loads(ready)["port"], "/v1/chat/completions", api_key, model)
        yield Running(target, process.pid, started, time.perf_counter() - started)


@contextmanager
def running(
    command: Sequence[str], environ: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    """A process in a session of its own, ended with all that it started; what it printed is shown if it did not start."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        except NotStartedError as error:
            log.seek(0)
            printed = log.read()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
            raise SystemExit(f"{error}; it printed:\n{printed}") from None
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: object, process: subprocess.Popen[bytes], what: str) -> None:
    """Wait until `condition()` is true.

    Raises:
        NotStartedError: The process ended, or took longer than `START_SECONDS`.
    """
    assert callable(condition)
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if process.poll() is not None:
            raise NotStartedError(f"{what} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise NotStartedError(f"{what} was not ready after {START_SECONDS:g} s")
        time.sleep(0.001)


def allow_many_connections() -> None:
    """Raise this process's limit of open files, which its children inherit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_STREAMS_FILES, hard), hard))


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


@contextmanager
def pinned(core: int) -> Generator[None]:
    """Keep this process on one core for a while."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(_stat(folder.name)[1]) == pid:
                found.append(int(folder.name))
    return found


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, all its threads together, in steps of 10 ms."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def _stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat behind the name, which may hold anything: state, parent, …; see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
