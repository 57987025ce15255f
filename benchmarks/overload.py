"""More calls than the model can do: what is still done, how fast the rest is refused, and what becomes of a modest key beside a flood.

The model is the echo engine with a pause before each token, so that its capacity is known: it is measured first. Clients are an open
loop: they call at their times, whether or not earlier calls were answered. One key offers a tenth of the capacity throughout, the
other the rest of each load.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from load import HOST, LoadError, Target, ask_for_whole_replies, percentile
from processes import allow_many_connections, another_key, platform
from report import Report, Table, say

SLOTS = 8
TOKENS = 10
PACE_SECONDS = 0.01
WAITING_PER_KEY = 16
MODEST_SHARE = 0.1
LOADS = (1, 2, 10)
REFUSAL_TARGET_MS = 50
TEXT = " ".join(["word"] * TOKENS)
CALL_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Size:
    """How long each load is held; shares of the loads for a machine that only proves that the program works."""

    seconds: float
    loads: tuple[float, ...] = LOADS


SIZES = {"full": Size(15.0), "quick": Size(4.0), "smoke": Size(0.5, (1, 2))}


@dataclass(slots=True)
class Outcome:
    """Seconds of each call of one key, by how it ended."""

    served: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])


def measure(size: Size) -> Report:
    """Hold each load once, the lightest first."""
    allow_many_connections()
    report, rows = Report(), list[tuple[str, ...]]()
    environ = {
        "YANGFAN_ECHO_DELAY_SECONDS": str(PACE_SECONDS),
        "YANGFAN_MAX_WAITING_PER_KEY": str(WAITING_PER_KEY),
    }
    with platform("echo", slots=SLOTS, environ=environ) as server:
        flood, modest = server.target, another_key(server)
        say("overload: the capacity")
        capacity = ask_for_whole_replies(
            flood, TEXT, connections=SLOTS, seconds=max(size.seconds / 3, 0.5)
        ).per_second
        goodput: dict[float, float] = {}
        worst_ms = 0.0
        firsts: dict[float, Outcome] = {}
        for load in size.loads:
            say(f"overload: {load:g} times the capacity")
            modest_rate = capacity * MODEST_SHARE
            started = time.perf_counter()
            greedy, polite = asyncio.run(
                _both(flood, modest, capacity * load - modest_rate, modest_rate, size.seconds)
            )
            seconds = max(time.perf_counter() - started, size.seconds)
            goodput[load] = (len(greedy.served) + len(polite.served)) / seconds
            firsts[load] = polite
            if greedy.refused:
                worst_ms = max(worst_ms, percentile(greedy.refused, 99) * 1e3)
            for name, outcome in (("flooding key", greedy), ("modest key", polite)):
                offered = len(outcome.served) + len(outcome.refused)
                rows.append(
                    (
                        f"{load:g} ×, {name}",
                        f"{offered / size.seconds:.1f}",
                        f"{len(outcome.served) / seconds:.1f}",
                        f"{100 * len(outcome.refused) / max(offered, 1):.0f} %",
                        *_times(outcome.served),
                        *_times(outcome.refused),
                    )
                )
    report.tables.append(
        Table(
            (
                "load",
                "offered a second",
                "served a second",
                "refused",
                "served p50 ms",
                "p99 ms",
                "refused p50 ms",
                "p99 ms",
            ),
            rows,
        )
    )
    first, last = size.loads[0], size.loads[-1]
    report.check("refusal, p99", worst_ms, at_most=REFUSAL_TARGET_MS, form="{:.1f} ms")
    report.check(
        f"served at {last:g} ×, of what is served at {first:g} ×",
        100 * goodput[last] / goodput[first],
        at_least=90,
        form="{:.0f} %",
    )
    polite = firsts[last]
    report.check(
        f"calls of the modest key served at {last:g} ×",
        100 * len(polite.served) / max(len(polite.served) + len(polite.refused), 1),
        at_least=99,
        form="{:.0f} %",
    )
    report.notes.append(
        f"The capacity was {capacity:.0f} calls a second: {SLOTS} slots, {TOKENS} tokens a call, {PACE_SECONDS * 1e3:g} ms each; "
        f"{WAITING_PER_KEY} calls of a key may wait. The load generator uses the same cores, and each call opens a connection."
    )
    return report


def _times(seconds: list[float]) -> tuple[str, str]:
    if not seconds:
        return "", ""
    return f"{percentile(seconds, 50) * 1e3:.1f}", f"{percentile(seconds, 99) * 1e3:.1f}"


async def _both(
    flood: Target, modest: Target, flood_rate: float, modest_rate: float, seconds: float
) -> tuple[Outcome, Outcome]:
    greedy, polite = await asyncio.gather(
        _offer(flood, flood_rate, seconds), _offer(modest, modest_rate, seconds)
    )
    return greedy, polite


async def _offer(target: Target, per_second: float, seconds: float) -> Outcome:
    """Calls at even times, each on a connection of its own."""
    outcome, request = Outcome(), target.request(TEXT)
    loop = asyncio.get_running_loop()
    started, calls = loop.time(), list[asyncio.Task[None]]()
    for number in range(max(round(per_second * seconds), 1)):
        await asyncio.sleep(max(started + number / per_second - loop.time(), 0))
        calls.append(asyncio.create_task(_call(target, request, outcome)))
    await asyncio.gather(*calls)
    return outcome


async def _call(target: Target, request: bytes, outcome: Outcome) -> None:
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(HOST, target.port)
    try:
        writer.write(request)
        async with asyncio.timeout(CALL_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    status, seconds = head[9:12], time.perf_counter() - started
    if status == b"200":
        outcome.served.append(seconds)
    elif status == b"429" and b"\r\nRetry-After: " in head:
        outcome.refused.append(seconds)
    else:
        raise LoadError(head.decode("latin-1"))
