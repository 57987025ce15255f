"""Very many streams open at once, each with a token every half second: memory for each, and what is added to the first token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from load import ask_for_streams, percentile
from paced_streams import ADDED_TARGET_MS, WORDS, streaming_requests
from processes import Running, resident_bytes
from report import Report, Table, say

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY_TARGET_KB = 40
OPENINGS_PER_SECOND = 250
"""So many streams begin each second, evenly; a burst would measure the queue that it makes."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found at one server; `wrong` counts answers with a lost, merged or changed event."""

    first_p50_ms: float
    first_p99_ms: float
    stream_kb: float
    """Memory of the server for each stream."""
    wrong: int


def measure(report: Report, servers: Mapping[str, Running], *, streams: int, tokens: int) -> None:
    """Measure every server once; the first is the upstream alone, the second the platform."""
    results: dict[str, Result] = {}
    for name, server in servers.items():
        say(f"gateway: {name}, {streams} streams open at once")
        results[name] = _measure(server, streams, tokens)
    upstream, platform = servers
    first_ms = results[upstream].first_p50_ms
    report.tables.append(
        Table(
            (
                f"{streams:,} streams open",
                "first token p50 ms",
                "p99 ms",
                "added p50 ms",
                "KB a stream",
                "wrong answers",
            ),
            [
                (
                    name,
                    f"{result.first_p50_ms:.2f}",
                    f"{result.first_p99_ms:.2f}",
                    "" if name == upstream else f"{result.first_p50_ms - first_ms:.2f}",
                    f"{result.stream_kb:.1f}",
                    f"{result.wrong} of {streams}",
                )
                for name, result in results.items()
            ],
        )
    )
    ours = results[platform]
    report.check(
        f"memory a stream, {streams:,} open",
        ours.stream_kb,
        at_most=MEMORY_TARGET_KB,
        form="{:.1f} KB",
    )
    report.check(
        f"first token added, {streams:,} open, p50",
        ours.first_p50_ms - first_ms,
        at_most=ADDED_TARGET_MS,
        form="{:.2f} ms",
    )
    report.check(f"wrong answers, {streams:,} open", ours.wrong, at_most=0, form="{:.0f}")


def _measure(server: Running, streams: int, tokens: int) -> Result:
    requests = streaming_requests(server.target, tokens, 1)
    # What the first requests load once is no memory of a stream.
    ask_for_streams(server.target, [streaming_requests(server.target, 1, 1)] * 8)
    before = resident_bytes(server.pid)
    at_the_most = 0

    def weigh() -> None:
        nonlocal at_the_most
        at_the_most = resident_bytes(server.pid)

    found = ask_for_streams(
        server.target,
        [requests] * streams,
        spread_seconds=streams / OPENINGS_PER_SECOND,
        when_all_open=weigh,
    )
    firsts = [record.first_token_seconds for record in found.all]
    return Result(
        first_p50_ms=percentile(firsts, 50) * 1e3,
        first_p99_ms=percentile(firsts, 99) * 1e3,
        stream_kb=(at_the_most - before) / streams / 1e3,
        wrong=sum(tuple(record.pieces) != WORDS[:tokens] for record in found.all),
    )
