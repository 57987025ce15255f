"""Building llama.cpp's server for the CPU at hand, with cmake and a C++ compiler: minutes, once for each version."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import platform
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from yangfan.engines import _native
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence

TARGETS = ("llama-server", "llama-quantize")

CMAKE_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_CCACHE=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # it would be downloaded
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_NUMBER=0",  # the sources are no git repository
)
"""One self-contained program for this very CPU, without what the platform has no use for; nothing is downloaded."""

NEEDED_BYTES = 1 << 30
"""Room for the sources and everything that is compiled on the way."""

TAIL_LINES = 30
_STEP = re.compile(rb"\[\s*(\d+)(?:/\s*(\d+)\]|%\])")


class Origin(NamedTuple):
    """Where sources come from: the package ``NAME==VERSION``, its version, and the SHA-256 of the file that holds them."""

    source: str
    version: str
    sha256: str


class Tools(NamedTuple):
    """What a build needs, found on this machine."""

    cmake: str
    generator: tuple[str, ...]


def find_tools() -> Tools:
    """Find cmake, ninja or make, and a C++ compiler.

    Raises:
        ConfigurationError: One is missing; the message tells which packages bring it.
    """
    cmake, ninja, make = _which("cmake"), _which("ninja"), _which("make")
    compiler = _which("c++") or _which("g++") or _which("clang++")
    lacking = [
        name
        for name, found in (
            ("cmake", cmake),
            ("ninja or make", ninja or make),
            ("a C++ compiler", compiler),
        )
        if not found
    ]
    if cmake is None or lacking:
        raise ConfigurationError(
            f"to build llama.cpp, {' and '.join(lacking)} must be installed: apt install cmake ninja-build g++ (Debian, Ubuntu), "
            "xcode-select --install (macOS); cmake and ninja also come with: pip install cmake ninja"
        )
    if ninja is not None:
        return Tools(cmake, ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"))
    return Tools(cmake, ("-G", "Unix Makefiles"))


async def build(
    unpack: Callable[[Path], Awaitable[None]],
    builds: Path,
    origin: Origin,
    *,
    jobs: int | None,
    force: bool,
    report: Callable[[str, int, int], None],
) -> _native.Native:
    """Build the programs and put them below `builds`, in one step: there is a whole build or none.

    Args:
        unpack: Puts the sources into the empty folder that it is given.
        builds: Folder of all builds.
        origin: Where the sources come from.
        jobs: Compilers to run at once; None for one a CPU.
        force: Build even if there is a build that suits.
        report: Told the stage, steps done and steps in all.

    Raises:
        ConfigurationError: A tool is missing, the disk is full, another build runs, or compiling failed; the message quotes the end.
    """
    found = _native.find(builds, origin.version)
    if found.native is not None and not force:
        return found.native
    tools = find_tools()
    with _alone(builds):
        _require_room(builds)
        staging = builds / ".building"
        shutil.rmtree(staging, ignore_errors=True)  # of a build that was killed
        try:
            await _compile(unpack, staging, tools, jobs or _cpus(), report)
            return _finish(staging, builds, origin)
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)


async def _compile(
    unpack: Callable[[Path], Awaitable[None]],
    staging: Path,
    tools: Tools,
    jobs: int,
    report: Callable[[str, int, int], None],
) -> None:
    sources, objects = staging / "sources", staging / "objects"
    sources.mkdir(parents=True)
    await unpack(sources)
    report("configuring", 0, 1)
    flags = (*CMAKE_FLAGS, *tools.generator)
    await run([tools.cmake, "-S", str(sources), "-B", str(objects), *flags], staging, None)
    command = [tools.cmake, "--build", str(objects), "--parallel", str(jobs)]
    await run([*command, "--target", *TARGETS], staging, report)
    await run([str(objects / "bin" / TARGETS[0]), "--version"], staging, None)


def _finish(staging: Path, builds: Path, origin: Origin) -> _native.Native:
    objects, out = staging / "objects", staging / "out"
    (out / "bin").mkdir(parents=True)
    for name in TARGETS:
        shutil.copy2(objects / "bin" / name, out / "bin" / name)
    manifest = _native.Manifest(
        source=origin.source,
        version=origin.version,
        sha256=origin.sha256,
        machine=platform.machine(),
        cpu_flags=_native.cpu_flags(),
        cmake_flags=CMAKE_FLAGS,
        compiler=_compiler(objects),
    )
    (out / _native.MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return _native.Native(_publish(out, builds / _native.folder_name(origin.version)), manifest)


def _publish(out: Path, target: Path) -> Path:
    """Move a finished build to its place. Programs of the old one that still run keep their files."""
    old = out.parent / "old"
    with contextlib.suppress(FileNotFoundError):
        target.rename(old)
    out.rename(target)
    return target


async def run(
    command: Sequence[str],
    folder: Path,
    report: Callable[[str, int, int], None] | None,
    *,
    failure: str = "llama.cpp could not be built",
) -> None:
    """Run a program to its end; end it and all that it started if this is cancelled.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        report: Told of each line that begins with ``[done/all]`` or ``[percent%]``.
        failure: How the message begins if it fails.

    Raises:
        ConfigurationError: It failed; the message quotes what it last printed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    tail: list[str] = []
    try:
        async for line in _lines(process.stdout):
            tail = [*tail[1 - TAIL_LINES :], line.decode("utf-8", "replace")]
            step = _STEP.match(line)
            if step is not None and report is not None:
                report("working", int(step[1]), int(step[2] or 100))
        status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if status != 0:
        printed = "\n".join(tail)
        raise ConfigurationError(
            f"{failure}: {Path(command[0]).name} ended with status {status}. It last printed:\n{printed}"
        )


async def _lines(stream: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    """Lines of any length: a compiler's command line may be longer than a reader's limit."""
    rest = b""
    while data := await stream.read(65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


def _which(name: str) -> str | None:
    """A program on the path, or beside this Python, where pip puts it."""
    beside = Path(sys.executable).parent / name
    return shutil.which(name) or (str(beside) if beside.is_file() else None)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _compiler(objects: Path) -> str:
    """Name and version as cmake found them."""
    facts: dict[str, str] = {}
    for file in objects.glob("CMakeFiles/*/CMakeCXXCompiler.cmake"):
        text = file.read_text("utf-8", "replace")
        facts |= dict(re.findall(r'set\(CMAKE_CXX_COMPILER_(ID|VERSION) "([^"]*)"\)', text))
    return f"{facts.get('ID', 'unknown')} {facts.get('VERSION', '')}".strip()


def _require_room(folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < NEEDED_BYTES:
        raise ConfigurationError(
            f"building llama.cpp needs {NEEDED_BYTES >> 20} MiB on the disk of {folder}, {free_bytes >> 20} MiB are free; "
            "free some, or choose another folder with --home"
        )


@contextlib.contextmanager
def _alone(builds: Path) -> Generator[None]:
    builds.mkdir(parents=True, exist_ok=True)
    with (builds / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another build runs in {builds}; wait for it or stop it"
            ) from None
        yield
