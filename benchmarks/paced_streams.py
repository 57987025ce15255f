"""Streams whose upstream sends a token every 5 ms: what a gateway adds to the first token, and whether it keeps up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from load import Target, ask_for_streams, percentile
from processes import Running, processor_seconds
from report import Report, Table, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORDS = tuple(f"{'' if number == 0 else ' '}word{number}" for number in range(64))
"""The tokens that the upstream answers with."""

SPREAD_SECONDS = 0.32
"""The streams begin evenly over the time that one answer takes; in lockstep they would wait for each other, not for a gateway."""

ADDED_TARGET_MS = 0.6


@dataclass(frozen=True, slots=True)
class Result:
    """One round at one server, or the medians of several; `wrong` counts answers with a lost, merged or changed event."""

    events_per_second: float
    first_p50_ms: float
    first_p99_ms: float
    gap_p99_ms: float
    processor_us: float
    """Processor time of the server for each event."""
    wrong: float


def measure(
    report: Report, servers: Mapping[str, Running], *, rounds: int, streams: int, answers: int
) -> None:
    """Measure every server in every round; the first is the upstream alone, the second the platform, a third the peer."""
    results: defaultdict[str, list[Result]] = defaultdict(list)
    for _ in range(rounds):
        for name, server in servers.items():
            say(f"gateway: {name}, {streams} paced streams")
            results[name].append(_round(server, streams, answers))
    medians = {name: _summary(found) for name, found in results.items()}
    upstream, platform = list(servers)[:2]
    first_ms = medians[upstream].first_p50_ms
    report.tables.append(
        Table(
            (
                f"{streams} streams × 5 ms",
                "events/s",
                "first token p50 ms",
                "p99 ms",
                "added p50 ms",
                "gap p99 ms",
                "CPU µs an event",
                "wrong answers",
            ),
            [
                (
                    name,
                    f"{result.events_per_second:,.0f}",
                    f"{result.first_p50_ms:.2f}",
                    f"{result.first_p99_ms:.2f}",
                    "" if name == upstream else f"{result.first_p50_ms - first_ms:.2f}",
                    f"{result.gap_p99_ms:.2f}",
                    f"{result.processor_us:.0f}",
                    f"{result.wrong:.0f} of {rounds * streams * answers}",
                )
                for name, result in medians.items()
            ],
        )
    )
    ours = medians[platform]
    report.check(
        f"first token added, {streams} streams, p50",
        ours.first_p50_ms - first_ms,
        at_most=ADDED_TARGET_MS,
        form="{:.2f} ms",
    )
    report.check("answers with lost or merged events", ours.wrong, at_most=0, form="{:.0f}")


def streaming_requests(target: Target, tokens: int, count: int) -> list[bytes]:
    """`count` times a request whose answer has `tokens` tokens."""
    text = "".join(WORDS[:tokens])
    request = target.request(text, stream=True, stream_options={"include_usage": True})
    return [request] * count


def _round(server: Running, streams: int, answers: int) -> Result:
    requests = streaming_requests(server.target, len(WORDS), answers)
    ask_for_streams(server.target, [streaming_requests(server.target, 4, 1)] * streams)
    before = processor_seconds(server.pid)
    found = ask_for_streams(server.target, [requests] * streams, spread_seconds=SPREAD_SECONDS)
    used = processor_seconds(server.pid) - before
    firsts = [record.first_token_seconds for record in found.all]
    gaps = [gap for record in found.all for gap in record.gap_seconds]
    return Result(
        events_per_second=found.events_per_second,
        first_p50_ms=percentile(firsts, 50) * 1e3,
        first_p99_ms=percentile(firsts, 99) * 1e3,
        gap_p99_ms=percentile(gaps, 99) * 1e3,
        processor_us=used / sum(len(record.pieces) for record in found.all) * 1e6,
        wrong=sum(tuple(record.pieces) != WORDS for record in found.all),
    )


def _summary(rounds: Sequence[Result]) -> Result:
    """Medians, but all that was wrong."""
    return Result(
        events_per_second=median(result.events_per_second for result in rounds),
        first_p50_ms=median(result.first_p50_ms for result in rounds),
        first_p99_ms=median(result.first_p99_ms for result in rounds),
        gap_p99_ms=median(result.gap_p99_ms for result in rounds),
        processor_us=median(result.processor_us for result in rounds),
        wrong=sum(result.wrong for result in rounds),
    )
