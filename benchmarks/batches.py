"""Live chat while a batch runs: the latency of calls that are answered at once, alone and beside a batch, on the echo engine.

Rounds alternate between idle and busy, so that a machine that slows down slows both. Each call waits a little before the next, as
people do.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from processes import platform
from report import Report, Table, say

from yangfan import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = 1.2
PAUSE_SECONDS = 0.01
WORDS = 20
SLOTS = 16
TOKEN_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Size:
    """How many live calls there are, in how many rounds of each sort, and lines of the batch."""

    calls: int
    rounds: int
    lines: int


SIZES = {"full": Size(400, 4, 100_000), "quick": Size(100, 2, 20_000), "smoke": Size(4, 1, 500)}


def measure(size: Size) -> Report:
    """Ask with and without a batch in the background."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="bench-batches-") as folder:
        home = Path(folder)
        (home / "yangfan.toml").write_text(f"[options.echo]\ndelay_seconds = {TOKEN_SECONDS}\n")
        with platform("echo", slots=SLOTS, home=home) as server:
            facts = server.credentials
            with Client(facts["base_url"], bearer=facts["bearer"], version=2) as client:
                idle, busy, rate = _rounds(client, size)
    report.tables.append(
        Table(
            ("live calls", "p50 ms", "p95 ms"),
            [
                ("alone", f"{1000 * statistics.median(idle):.1f}", f"{_p95(idle):.1f}"),
                ("beside a batch", f"{1000 * statistics.median(busy):.1f}", f"{_p95(busy):.1f}"),
            ],
        )
    )
    report.check("p95 beside a batch", _p95(busy) / _p95(idle), form="{:.2f} times", at_most=TARGET)
    report.notes.append(
        f"{len(idle)} calls of each sort, a pause of {1000 * PAUSE_SECONDS:.0f} ms between them, {1000 * TOKEN_SECONDS:.0f} ms a token;"
        f" the batch got {rate:.0f} answers/s meanwhile."
    )
    return report


def _rounds(client: Client, size: Size) -> tuple[list[float], list[float], float]:
    _ask(client, min(20, size.calls))
    idle, busy = list[float](), list[float]()
    answered, seconds = 0, 0.0
    for number in range(size.rounds):
        say(f"batches: round {number + 1} of {size.rounds}")
        idle += _ask(client, size.calls // size.rounds)
        id = client.batches.create(_requests(size.lines)).id
        while not client.batches.get(id).completed:
            time.sleep(0.1)
        before, began = client.batches.get(id).completed, time.perf_counter()
        busy += _ask(client, size.calls // size.rounds)
        answered += client.batches.get(id).completed - before
        seconds += time.perf_counter() - began
        if not client.batches.get(id).final:
            client.batches.cancel(id)
        client.batches.wait(id, poll_seconds=0.2)
    return idle, busy, answered / seconds


def _ask(client: Client, calls: int) -> list[float]:
    """Seconds of each of so many calls, one after another."""
    found: list[float] = []
    text = "live " * WORDS
    for _ in range(calls):
        began = time.perf_counter()
        client.chat(text, model="echo")
        found.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    return found


def _requests(count: int) -> bytes:
    """A batch of so many lines."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "batch " * WORDS}]}
    line = {"method": "POST", "url": "/v2/chat/completions", "body": body}
    return b"".join(
        json.dumps({"custom_id": str(number), **line}).encode() + b"\n" for number in range(count)
    )


def _p95(values: Sequence[float]) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(values, n=20)[18]
