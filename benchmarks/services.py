"""Services in numbers: does a start or a list grow with how many there are, and how soon are killed ones back?

Stopped services are copied into the database while no server runs; those that run are echo engines.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from processes import platform
from report import Report, Table, say

from yangfan import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from processes import Running

LIST_TARGET_MS = 50
START_GROWTH_TARGET_SECONDS = 0.2
RUNNING = 3

_COPY = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO services SELECT number + i, id || i, name || i, suffix || i, description, type, kinds, 'stopped', warm, idle_seconds,
  priority, fallback, protocol_version, resource_type, qps, context_tokens, creator, created_ms, modified_ms
FROM services, n WHERE suffix = 'copied'
"""
_COPY_DEPLOYMENTS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO deployments SELECT d.id || i, service_id || i, role, reference, set_id, weight, replicas, options, memory_bytes,
  bake_seconds, generation, d.created_ms, load_seconds
FROM deployments d JOIN services s ON s.id = d.service_id, n WHERE s.suffix = 'copied'
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How many services, and how often each thing is measured."""

    services: int
    starts: int
    calls: int


SIZES = {"full": Size(1000, 5, 50), "quick": Size(1000, 2, 20), "smoke": Size(20, 1, 2)}


def measure(size: Size) -> Report:
    """Start with none and with many, list the many, and kill a server with three that run."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="yangfan-bench-") as folder:
        home = Path(folder)
        few = [_start(home) for _ in range(size.starts)]
        _fill(home, size.services)
        many = [_start(home) for _ in range(size.starts)]
        lists = _lists(home, size)
        back = [_killed(home) for _ in range(size.starts)]
    rows = [
        _seconds("`yangfan serve` to ready, no service", few),
        _seconds(f"the same, {size.services} stopped services", many),
        *(_milliseconds(what, times) for what, times in lists.items()),
        _seconds(f"kill -9 of the server and {RUNNING} services: all answer again after", back),
    ]
    report.tables.append(Table(("what", "median", "least", "most"), rows))
    report.check(
        "what services add to a start",
        min(many) - min(few),
        at_most=START_GROWTH_TARGET_SECONDS,
        form="{:.2f} s",
    )
    for what, times in lists.items():
        report.check(what, median(times) * 1e3, at_most=LIST_TARGET_MS, form="{:.1f} ms")
    report.notes.append(
        f"Medians of {size.starts} starts and {size.calls} signed calls each, one at a time, from the SDK; the server's home is on this "
        "machine's disk. The time after kill -9 begins with the new process and ends with the last service's answer."
    )
    return report


def _start(home: Path) -> float:
    say("services: start")
    with platform("echo", slots=16, home=home) as server:
        return server.ready_seconds


def _client(server: Running) -> Client:
    facts = server.credentials
    return Client(
        facts["base_url"],
        access_key=facts["access_key"],
        secret_access_key=facts["secret_access_key"],
    )


def _fill(home: Path, count: int) -> None:
    say(f"services: {count} of them")
    with platform("echo", slots=16, home=home) as server, _client(server) as client:
        client.services.create("echo", "copied", warm=False)
        client.services.stop("copied")
    with sqlite3.connect(home / "yangfan.db") as connection:
        connection.execute(_COPY_DEPLOYMENTS, (count,))
        connection.execute(_COPY, (count,))
    connection.close()


def _lists(home: Path, size: Size) -> dict[str, list[float]]:
    with platform("echo", slots=16, home=home) as server, _client(server) as client:
        client.services.list(name="copied1")
        asked: dict[str, Callable[[], object]] = {
            "show one": lambda: client.services.get(f"copied{size.services // 2}"),
            "filter by name": lambda: client.services.list(name="copied9"),
            "filter by status": lambda: client.services.list(statuses=["Serving"]),
        }
        found = {what: [_time(ask) for _ in range(size.calls)] for what, ask in asked.items()}
        pages = max(size.services // 100, 1)
        whole = [_time(client.services.list) / pages for _ in range(max(size.calls // 10, 1))]
        return {"a page of 100": whole, **found}


def _killed(home: Path) -> float:
    """Seconds from the new server's start until each of three services has answered."""
    say("services: kill -9")
    names = [f"run-{number}" for number in range(RUNNING)]
    with platform("echo", slots=16, home=home) as server, _client(server) as client:
        known = {service.suffix for service in client.services.list(name="run-")}
        for name in names:
            if name not in known:
                client.services.create("echo", name)
            client.services.wait(name, timeout_seconds=60)
        os.kill(server.pid, signal.SIGKILL)
    with platform("echo", slots=16, home=home) as server, _client(server) as client:
        for name in names:
            answer = client.chat("hi", model=name)
            assert answer.text == "hi"
        return perf_counter() - server.started


def _time(ask: Callable[[], object]) -> float:
    began = perf_counter()
    ask()
    return perf_counter() - began


def _seconds(what: str, values: list[float]) -> tuple[str, ...]:
    return (what, *(f"{value:.2f} s" for value in (median(values), min(values), max(values))))


def _milliseconds(what: str, values: list[float]) -> tuple[str, ...]:
    shown = (median(values), min(values), max(values))
    return (what, *(f"{value * 1e3:.1f} ms" for value in shown))
