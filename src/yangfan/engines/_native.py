"""llama.cpp's own programs, built for the CPU at hand: where builds lie, which one suits this machine, and how one is run.

A build is a folder ``VERSION-HASH`` with ``bin/llama-server``, ``bin/llama-quantize`` and ``manifest.json``; the hash stands for the
instruction sets of the CPU that it was built for. On a machine that lacks one of them the programs would die of an illegal
instruction, so such a build is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import platform
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from yangfan.engines._loopback_server import Server, start
from yangfan.engines.base import CompletionRequest, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yangfan.engines.base import Engine

MANIFEST = "manifest.json"
MEASURED = "measured.json"
COMPARED_ROUNDS, COMPARED_TOKENS = 3, 32
_INSTRUCTIONS = re.compile(
    r"(sse|ssse|avx|fma|f16c|bmi|abm|lzcnt|popcnt|movbe|adx|gfni|vaes|vpclmul|amx|xop"
    r"|asimd|sve|sme(?!p)|i8mm|bf16|dotprod|fphp|crc32|atomics|vfp|neon)"
)
"""Names in /proc/cpuinfo of what a compiler may use; the rest are habits of the kernel, which come and go with it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a build says of itself.

    Attributes:
        source: Package that held the sources, ``NAME==VERSION``.
        version: Its version.
        sha256: Of the file that held them.
        machine: Such as ``x86_64``.
        cpu_flags: Instruction sets that the build may use.
        cmake_flags: How it was configured.
        compiler: Its name and version.
    """

    source: str
    version: str
    sha256: str
    machine: str
    cpu_flags: tuple[str, ...]
    cmake_flags: tuple[str, ...]
    compiler: str


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """How a build did on this machine beside the wheel.

    Attributes:
        ratio: The build's tokens a second for one of the wheel's.
        model: Name of the file that both wrote with.
    """

    ratio: float
    model: str


class Native(NamedTuple):
    """A finished build."""

    folder: Path
    manifest: Manifest

    @property
    def server(self) -> Path:
        """llama.cpp's HTTP server."""
        return self.folder / "bin" / "llama-server"

    @property
    def measured(self) -> Measured | None:
        """What `note` kept of it; None if it was not measured."""
        try:
            return msgspec.json.decode((self.folder / MEASURED).read_bytes(), type=Measured)
        except (OSError, msgspec.DecodeError):
            return None

    @property
    def quantize(self) -> Path:
        """The program that writes a model in another quantisation."""
        return self.folder / "bin" / "llama-quantize"


class State(NamedTuple):
    """The build to use here, None if there is none, and why, for people."""

    native: Native | None
    reason: str


def note(native: Native, measured: Measured) -> None:
    """Keep with a build how fast it is here."""
    part = native.folder / f"{MEASURED}.part"
    part.write_bytes(msgspec.json.encode(measured))
    part.replace(native.folder / MEASURED)


def cpu_flags() -> tuple[str, ...]:
    """The instruction sets of this CPU, sorted; empty where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                return tuple(sorted({flag for flag in value.split() if _INSTRUCTIONS.match(flag)}))
    return ()


def folder_name(version: str) -> str:
    """Name of the folder of a build of `version` for this CPU."""
    facts = " ".join((platform.machine(), *cpu_flags()))
    return f"{version}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def find(builds: Path, version: str) -> State:
    """The build of `version` below `builds` that this CPU can run."""
    reason = "none is built"
    for path in sorted(builds.glob(f"{version}-*/{MANIFEST}")):
        try:
            native = Native(path.parent, msgspec.json.decode(path.read_bytes(), type=Manifest))
        except (OSError, msgspec.DecodeError):
            reason = f"{path} cannot be read"
            continue
        if native.manifest.machine != platform.machine():
            reason = f"{path.parent.name} is for {native.manifest.machine}"
            continue
        lacking = set(native.manifest.cpu_flags).difference(cpu_flags())
        if lacking:
            reason = f"{path.parent.name} is for another CPU: this one lacks {', '.join(sorted(lacking))}"
        elif not native.server.is_file():
            reason = f"{path.parent.name} has no llama-server"
        else:
            return State(native, f"{native.manifest.source}, built for this CPU")
    return State(None, reason)


def start_server(program: Path, arguments: Sequence[str], *, api_key: str, folder: Path) -> Server:
    """Start llama-server and return when it can answer.

    The key travels in a file that only its owner can read and that is gone when this returns: arguments and environment can be read by
    others.

    Args:
        program: The executable.
        arguments: What it is told besides its address and key.
        api_key: What callers must present.
        folder: A private folder for the key's file.

    Raises:
        SystemExit: It ended before it could answer; what it printed went to stderr.
    """
    key_file = folder / f"key-{os.getpid()}"
    key_file.touch(mode=0o600)
    try:
        key_file.write_text(api_key + "\n")
        command = [str(program), *arguments, "--api-key-file", str(key_file)]
        return start(command, _without_options({**os.environ}.items()))
    finally:
        key_file.unlink(missing_ok=True)


def _without_options(variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What llama-server would take for options must not reach it from the platform's environment."""
    return {name: value for name, value in variables if not name.startswith(("LLAMA_", "GGML_"))}


async def rates(sides: Sequence[Engine]) -> list[float]:
    """Tokens a second of each engine, alone and with several answers at once: the median of rounds in which they take turns."""
    found: list[list[float]] = [[] for _ in sides]
    for number in range(COMPARED_ROUNDS + 1):
        for engine, kept in zip(sides, found, strict=True):
            began, tokens = time.perf_counter(), 0
            for streams in (1, engine.spec.slots):
                requests = [
                    CompletionRequest(
                        f"The {number}. story of lighthouse {stream} begins when the keeper",
                        Sampling(max_output_tokens=COMPARED_TOKENS, temperature=0.0),
                    )
                    for stream in range(streams)
                ]
                replies = await asyncio.gather(*map(engine.complete, requests))
                tokens += sum(reply.usage.completion_tokens for reply in replies)
            if number:  # the first round warms both up
                kept.append(tokens / (time.perf_counter() - began))
    return [statistics.median(kept) for kept in found]
