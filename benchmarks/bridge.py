"""What a bridge costs: the same platform asked straight, and through a second platform that has it as an upstream.

Each round measures both, and the order changes from round to round (A B, B A, …). The model is echo, so nearly all of the time is
the platforms' own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from load import Streams, Target, ask_for_streams, ask_for_whole_replies, percentile
from processes import platform
from report import Report, Table, say

from yangfan import Client

if TYPE_CHECKING:
    from processes import Running

TEXT = "The quick brown fox jumps over the lazy dog."
STREAMS = 16
ADDED_TARGET_MS = 2.0
DIRECT, BRIDGE = "straight", "through the bridge"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: float
    connections: tuple[int, ...] = (1, 16)


SIZES = {"full": Size(6, 5.0), "quick": Size(2, 2.0), "smoke": Size(1, 0.2)}


def measure(size: Size) -> Report:
    """Measure both ways, whole replies and streams."""
    allowed = {"YANGFAN_EGRESS_ALLOW": "127.0.0.1"}
    report = Report()
    with (
        platform("echo", slots=64) as upstream,
        platform("echo", slots=64, environ=allowed) as front,
    ):
        sides = {DIRECT: upstream.target, BRIDGE: _bridge(front, upstream)}
        for target in sides.values():
            ask_for_whole_replies(target, TEXT, connections=4, seconds=size.seconds / 4)
        rates: defaultdict[tuple[int, str], list[tuple[float, float, float]]] = defaultdict(list)
        firsts: defaultdict[str, list[float]] = defaultdict(list)
        for number in range(size.rounds):
            say(f"bridge: round {number + 1} of {size.rounds}")
            order = list(sides.items())
            if number % 2:
                order.reverse()
            for name, target in order:
                for count in size.connections:
                    found = ask_for_whole_replies(
                        target, TEXT, connections=count, seconds=size.seconds
                    )
                    latency = found.latency_seconds
                    rates[count, name].append(
                        (
                            found.per_second,
                            percentile(latency, 50) * 1e3,
                            percentile(latency, 99) * 1e3,
                        )
                    )
                firsts[name] += [one.first_token_seconds * 1e3 for one in _stream(target).all]
    _tell(report, rates, firsts, size)
    return report


def _bridge(front: Running, upstream: Running) -> Target:
    facts = front.credentials
    with Client(
        base_url=facts["base_url"],
        access_key=facts["access_key"],
        secret_access_key=facts["secret_access_key"],
    ) as client:
        client.upstreams.create(
            "other",
            f"{upstream.credentials['base_url']}/v2",
            key=upstream.credentials["bearer"],
            dialect="qianfan",
        )
    return replace(front.target, model="other/echo")


def _stream(target: Target) -> Streams:
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    return ask_for_streams(target, [[target.request(TEXT, **stream)] * 4] * STREAMS)


def _tell(
    report: Report,
    rates: dict[tuple[int, str], list[tuple[float, float, float]]],
    firsts: dict[str, list[float]],
    size: Size,
) -> None:
    middle = {
        key: tuple(median(values) for values in zip(*found, strict=True))
        for key, found in rates.items()
    }
    report.tables.append(
        Table(
            ("whole replies", "connections", "req/s", "p50 ms", "p99 ms"),
            [
                (name, str(count), f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}")
                for (count, name), (rate, p50, p99) in middle.items()
            ],
        )
    )
    report.tables.append(
        Table(
            (f"{STREAMS} streams", "first token p50 ms", "p99 ms"),
            [
                (name, f"{percentile(found, 50):.2f}", f"{percentile(found, 99):.2f}")
                for name, found in firsts.items()
            ],
        )
    )
    one = size.connections[0]
    added = middle[one, BRIDGE][1] - middle[one, DIRECT][1]
    report.check("latency added, p50", added, at_most=ADDED_TARGET_MS, form="{:.2f} ms")
    report.notes.append("Latency added is the difference at one connection, where nothing queues.")
