"""Whole replies as fast as a gateway gives them: rate, latency, and what each request costs its processor."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from load import ask_for_whole_replies, percentile
from processes import Running, processor_seconds
from report import Report, Table, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEXT = "The quick brown fox jumps over the lazy dog."
RATE_TARGET = 10_000
RATIO_TARGET = 80
ADDED_P50_TARGET_MS = 0.6
ADDED_P99_TARGET_MS = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """One round at one server, or the medians of several."""

    per_second: float
    p50_ms: float
    p99_ms: float
    processor_us: float
    """Processor time of the server for each request."""
    busy_percent: float
    """How much of the time the server used a core."""


def measure(
    report: Report,
    servers: Mapping[str, Running],
    *,
    rounds: int,
    seconds: float,
    connections: Sequence[int],
) -> None:
    """Measure every server in every round; the first is the upstream alone, the second the platform, a third the peer."""
    results: defaultdict[tuple[int, str], list[Result]] = defaultdict(list)
    for server in servers.values():
        ask_for_whole_replies(server.target, TEXT, connections=16, seconds=seconds / 3)
    for _ in range(rounds):
        for count in connections:
            for name, server in servers.items():
                say(f"gateway: {name}, whole replies on {count} connections")
                results[count, name].append(_round(server, count, seconds))
    medians = {key: _median(found) for key, found in results.items()}
    report.tables.append(
        Table(
            (
                "whole replies",
                "connections",
                "req/s",
                "p50 ms",
                "p99 ms",
                "CPU µs a request",
                "core busy",
            ),
            [
                (
                    name,
                    str(count),
                    f"{result.per_second:,.0f}",
                    f"{result.p50_ms:.2f}",
                    f"{result.p99_ms:.2f}",
                    f"{result.processor_us:,.0f}",
                    f"{result.busy_percent:.0f} %",
                )
                for (count, name), result in medians.items()
            ],
        )
    )
    _judge(report, medians, list(servers), connections)


def _round(server: Running, connections: int, seconds: float) -> Result:
    before = processor_seconds(server.pid)
    replies = ask_for_whole_replies(server.target, TEXT, connections=connections, seconds=seconds)
    used = processor_seconds(server.pid) - before
    return Result(
        per_second=replies.per_second,
        p50_ms=percentile(replies.latency_seconds, 50) * 1e3,
        p99_ms=percentile(replies.latency_seconds, 99) * 1e3,
        processor_us=used / len(replies.latency_seconds) * 1e6,
        busy_percent=used / replies.seconds * 100,
    )


def _median(rounds: Sequence[Result]) -> Result:
    return Result(
        per_second=median(result.per_second for result in rounds),
        p50_ms=median(result.p50_ms for result in rounds),
        p99_ms=median(result.p99_ms for result in rounds),
        processor_us=median(result.processor_us for result in rounds),
        busy_percent=median(result.busy_percent for result in rounds),
    )


def _judge(
    report: Report,
    medians: Mapping[tuple[int, str], Result],
    names: Sequence[str],
    connections: Sequence[int],
) -> None:
    upstream, platform, *peers = names
    one, many = connections[0], connections[1]
    rate = medians[many, platform].per_second
    report.check(f"req/s at {many} connections", rate, at_least=RATE_TARGET, form="{:,.0f}")
    for peer in peers:
        ratio = rate / medians[many, peer].per_second
        report.check(f"the same, times {peer}'s", ratio, at_least=RATIO_TARGET, form="{:,.0f}")
    ours, alone = medians[one, platform], medians[one, upstream]
    added_ms = ours.p50_ms - alone.p50_ms
    report.check("latency added, p50", added_ms, at_most=ADDED_P50_TARGET_MS, form="{:.2f} ms")
    added_ms = ours.p99_ms - alone.p99_ms
    report.check("latency added, p99", added_ms, at_most=ADDED_P99_TARGET_MS, form="{:.2f} ms")
    report.notes.append(
        f"Latency added is the difference to the {upstream} at {one} connection, where nothing queues; with more, the loads are "
        "closed loops, whose latency is connections / rate."
    )
