"""What a gateway costs: the platform in front of an upstream that costs nothing, and LiteLLM's proxy in front of the same program.

The upstream is the echo engine. The gateway has one core to itself; the upstream and the load generator share the other one. Every
gateway asks for a key. Each figure is the median of the rounds, and each round goes through all gateways, so that ratios hold
even where the machine changes its pace.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import open_streams
import paced_streams
import whole_replies
from litellm_proxy import VERSION, UnavailableError, install, proxy
from processes import (
    Cores,
    Running,
    allow_many_connections,
    children,
    engine,
    pin,
    pinned,
    platform,
)
from report import Report

from yangfan.engines.echo import EchoConfig

if TYPE_CHECKING:
    from collections.abc import Generator

ALONE, OURS, PEER = "upstream alone", "Yangfan", "LiteLLM"
SLOTS = 1024
PACE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: float
    connections: tuple[int, ...] = (1, 16, 64)
    paced_streams: int = 64
    answers: int = 4
    """Answers of each paced stream's connection, one after the other."""
    open_streams: int = 1000
    open_tokens: int = 14
    open_pace_seconds: float = 0.5
    compare: bool = True
    """Whether LiteLLM is measured, too."""


SIZES = {
    "full": Size(rounds=3, seconds=3.0),
    "quick": Size(rounds=1, seconds=1.0, answers=2, open_streams=250, open_tokens=6),
    "smoke": Size(
        rounds=1,
        seconds=0.05,
        connections=(1, 2),
        paced_streams=2,
        answers=1,
        open_streams=4,
        open_tokens=2,
        open_pace_seconds=PACE_SECONDS,
        compare=False,
    ),
}


def measure(size: Size) -> Report:
    """Measure all three loads and judge them."""
    allow_many_connections()
    report, cores = Report(), Cores.available()
    with ExitStack() as stack:
        enter = stack.enter_context
        servers = {
            pace: {ALONE: enter(_upstream(pace, cores)), OURS: enter(_platform(pace, cores))}
            for pace in {0.0, PACE_SECONDS, size.open_pace_seconds}
        }
        fast, paced = dict(servers[0.0]), dict(servers[PACE_SECONDS])
        slow = servers[size.open_pace_seconds]
        if size.compare:
            try:
                install()
            except UnavailableError as error:
                report.notes.append(f"LiteLLM {VERSION} was not measured: {error}.")
            else:
                fast[PEER], paced[PEER] = enter(proxy([fast[ALONE].target, paced[ALONE].target]))
                pin(fast[PEER].pid, cores.gateway)
                report.versions["LiteLLM"] = VERSION
        enter(pinned(cores.rest))
        whole_replies.measure(
            report, fast, rounds=size.rounds, seconds=size.seconds, connections=size.connections
        )
        paced_streams.measure(
            report, paced, rounds=size.rounds, streams=size.paced_streams, answers=size.answers
        )
        open_streams.measure(report, slow, streams=size.open_streams, tokens=size.open_tokens)
    return report


@contextmanager
def _platform(pace_seconds: float, cores: Cores) -> Generator[Running]:
    """The platform on its core, its engine on the other."""
    environ = {"YANGFAN_ECHO_DELAY_SECONDS": str(pace_seconds)}
    with platform("echo", slots=SLOTS, environ=environ) as server:
        pin(server.pid, cores.gateway)
        for child in children(server.pid):
            pin(child, cores.rest)
        yield server


@contextmanager
def _upstream(pace_seconds: float, cores: Cores) -> Generator[Running]:
    config = EchoConfig(api_key="", slots=SLOTS, delay_seconds=pace_seconds)
    with engine("yangfan.engines.echo", config, "echo") as server:
        pin(server.pid, cores.rest)
        yield server
