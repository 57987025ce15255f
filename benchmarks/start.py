"""What it takes to begin: import, help, memory at rest, and the time from `yangfan serve` to the first token."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from load import ask_for_streams
from overhead import MODEL
from processes import children, platform, resident_bytes
from report import Report, Table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

IMPORT_TARGET_MS = 150
HELP_TARGET_MS = 200
MEMORY_TARGET_MB = 120
SLOTS = 16


@dataclass(frozen=True, slots=True)
class Size:
    """How many fresh processes are started."""

    commands: int
    servers: int
    model: str = MODEL


SIZES = {
    "full": Size(commands=10, servers=3),
    "quick": Size(commands=3, servers=1),
    "smoke": Size(commands=1, servers=1, model="echo"),
}


@dataclass(slots=True)
class Start:
    """One start of the platform with the embedded model, which is in the store already."""

    ready_seconds: float
    first_token_seconds: float
    """From the start of the process, with the connection and the prompt."""
    idle_bytes: int
    """Memory of the API process before its first request."""
    used_bytes: int
    """The same after it."""
    engine_bytes: int


def measure(size: Size) -> Report:
    """Start everything several times."""
    report = Report()
    bare, imported, helped = _commands(size.commands)
    _start(size.model)  # fetches the model, fills the page cache, compiles byte code
    starts = [_start(size.model) for _ in range(size.servers)]
    added = [one - bare_one for one, bare_one in zip(imported, bare, strict=True)]
    rows = [
        _row("`import yangfan`, over a bare interpreter", [value * 1e3 for value in added], "ms"),
        _row("bare interpreter", [value * 1e3 for value in bare], "ms"),
        _row("`yangfan --help`, whole process", [value * 1e3 for value in helped], "ms"),
        _row("`yangfan serve` to ready", [start.ready_seconds for start in starts], "s"),
        _row(
            "`yangfan serve` to first token", [start.first_token_seconds for start in starts], "s"
        ),
        _row("memory of the API process, idle", [start.idle_bytes / 1e6 for start in starts], "MB"),
        _row("the same after a request", [start.used_bytes / 1e6 for start in starts], "MB"),
        _row("memory of its engine process", [start.engine_bytes / 1e6 for start in starts], "MB"),
    ]
    report.tables.append(Table(("what", "median", "least", "most"), rows))
    report.check(
        "`import yangfan`", median(added) * 1e3, at_most=IMPORT_TARGET_MS, form="{:.0f} ms"
    )
    report.check("`yangfan --help`", median(helped) * 1e3, at_most=HELP_TARGET_MS, form="{:.0f} ms")
    report.check(
        "memory of the API process, idle",
        median(start.idle_bytes for start in starts) / 1e6,
        at_most=MEMORY_TARGET_MB,
        form="{:.0f} MB",
    )
    report.notes.append(
        f"Fresh processes, {size.commands} for each command and {size.servers} for `yangfan serve` with {size.model} in the store; files are "
        "in the page cache. Memory is resident memory (VmRSS)."
    )
    return report


def _commands(count: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds of a bare interpreter, of one that imports the SDK, and of the help, in turns."""
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    commands = (["-c", "pass"], ["-c", "import yangfan"], ["-m", "yangfan", "--help"])
    for number in range(count + 1):
        say(f"start: commands, {number} of {count}")
        for times, command in zip(found, commands, strict=True):
            started = perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            times.append(perf_counter() - started)
    for times in found:
        del times[0]  # it warmed the page cache
    return found


def _start(model: str) -> Start:
    say("start: yangfan serve")
    with platform(model, slots=SLOTS) as server:
        idle_bytes = resident_bytes(server.pid)
        engine_bytes = sum(map(resident_bytes, children(server.pid)))
        request = server.target.request(
            "What is the capital of France?",
            stream=True,
            stream_options={"include_usage": True},
            max_tokens=8,
        )
        answer = ask_for_streams(server.target, [[request]]).all[0]
        return Start(
            ready_seconds=server.ready_seconds,
            first_token_seconds=server.ready_seconds + answer.first_token_seconds,
            idle_bytes=idle_bytes,
            used_bytes=resident_bytes(server.pid),
            engine_bytes=engine_bytes,
        )


def _row(what: str, values: Sequence[float], unit: str) -> Sequence[str]:
    form = "{:.2f} s" if unit == "s" else f"{{:.0f}} {unit}"
    return (what, *(form.format(value) for value in (median(values), min(values), max(values))))
