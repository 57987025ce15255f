"""Services in the database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from yangfan.server.db import Database
from yangfan.server.deployments.store import KEPT_EVENTS, DeploymentStore
from yangfan.server.deployments.types import Deployment, Filter, Service

NOW_MS = 1_800_000_000_000


def service(number: int, **more: Any) -> Service:
    """A service that is not kept yet."""
    fields: dict[str, Any] = {
        "number": 0,
        "id": f"svco-{number}",
        "name": f"Service {number}",
        "suffix": f"s{number}",
        "description": "关于",
        "type": "chat",
        "kinds": frozenset({"chat", "vision"}),
        "desired": "running",
        "warm": True,
        "idle_seconds": None,
        "priority": 0,
        "fallback": "",
        "protocol_version": 1,
        "resource_type": "GPU-I-2",
        "qps": 5.0,
        "context_tokens": 0,
        "creator": "key",
        "created_ms": NOW_MS,
        "modified_ms": NOW_MS,
    }
    return Service(**{**fields, **more})


def deployment(number: int, role: Any = "stable", **more: Any) -> Deployment:
    """A deployment of that service."""
    fields: dict[str, Any] = {
        "id": f"dep-{number}-{role}",
        "service_id": f"svco-{number}",
        "role": role,
        "reference": "amv-1",
        "set_id": "am-1",
        "weight": 100,
        "replicas": 2,
        "options": {"slots": 4, "prefix": "前 "},
        "memory_bytes": 1 << 40,
        "bake_seconds": 10.0,
        "generation": 1,
        "created_ms": NOW_MS,
    }
    return Deployment(**{**fields, **more})


@pytest.fixture
async def store(database_target: Path | str) -> AsyncGenerator[DeploymentStore]:
    database = Database(database_target)
    await database.migrate()
    yield DeploymentStore(database)
    await database.close()


async def test_what_is_kept_comes_back_as_it_was(store: DeploymentStore):
    kept = await store.add(service(1, idle_seconds=1.5, warm=False), deployment(1))
    assert kept.number > 0
    for key in ("svco-1", "s1", "Service 1", str(kept.number)):
        assert await store.get(key) == (kept, [deployment(1)])
    assert await store.get("svco-2") is None
    assert await store.taken("S1")
    assert not await store.taken("s2")


async def test_those_that_run_come_by_priority_and_the_others_by_name_alone(store: DeploymentStore):
    for number, priority in enumerate((1, 5, 3)):
        await store.add(service(number, priority=priority), deployment(number))
    await store.add(service(9, desired="stopped"), deployment(9))
    assert [found.id for found, _ in await store.running()] == ["svco-1", "svco-2", "svco-0"]
    assert await store.offline() == [("s9", "svco-9")]
    await store.change("svco-9", {"desired": "running"})
    assert len(await store.running()) == 4


async def test_a_candidate_takes_the_place_of_the_stable_one(store: DeploymentStore):
    stable, candidate = deployment(1), deployment(1, "candidate", generation=2)
    await store.add(service(1), stable)
    await store.put(candidate)
    await store.put(replace(candidate, id="dep-other", generation=3))
    _, found = await store.get("svco-1") or (None, [])
    assert [each.id for each in found] == [stable.id, "dep-other"]
    await store.promote(replace(candidate, role="stable"), replace(stable, role="previous"))
    _, found = await store.get("svco-1") or (None, [])
    assert [(each.id, each.role) for each in found] == [
        (stable.id, "previous"),
        (candidate.id, "stable"),
    ]
    assert await store.user_of("amv-1") == "the service s1 (svco-1)"
    await store.change_deployment(candidate.id, {"replicas": 7})
    await store.remove("svco-1")
    assert await store.user_of("amv-1") is None


async def test_pages_and_filters(store: DeploymentStore):
    for number in range(5):
        more = {"type": "embeddings", "creator": "other"} if number == 3 else {}
        await store.add(service(number, **more), deployment(number))
    await store.add(service(7, desired="stopped", name="100%_real"), deployment(7))

    async def ids(wanted: Filter, first: str | None = None, **more: Any) -> list[str]:
        return [found.id for found, _ in await store.page(wanted, first, 3, **more)]

    assert await ids(Filter()) == ["svco-0", "svco-1", "svco-2"]
    assert await ids(Filter(), "svco-3") == ["svco-3", "svco-4", "svco-7"]
    assert await ids(Filter(), "svco-1", newest_first=True) == ["svco-1", "svco-0"]
    assert await ids(Filter(name="SERVICE 4")) == ["svco-4"]
    assert await ids(Filter(name="%_")) == ["svco-7"]
    assert await ids(Filter(types=frozenset({"embeddings"}))) == ["svco-3"]
    assert await ids(Filter(creators=frozenset({"other"}))) == ["svco-3"]
    assert await ids(Filter(protocol_version=2)) == []
    assert await ids(Filter(), ids={"svco-2"}) == ["svco-2", "svco-7"]
    assert await ids(Filter(), ids={"svco-2"}, stopped=False) == ["svco-2"]


async def test_the_last_events_are_kept(store: DeploymentStore):
    await store.add_event("svco-2", NOW_MS, "other", "")
    for number in range(KEPT_EVENTS + 5):
        await store.add_event("svco-1", NOW_MS + number, "kind", f"{number}")
    found = await store.events("svco-1", 0, 1000)
    assert [event.message for event in found] == [str(n) for n in range(5, KEPT_EVENTS + 5)]
    assert [event.message for event in await store.events("svco-1", found[0].number, 1)] == ["6"]
    assert len(await store.events("svco-2", 0, 10)) == 1


async def test_failures_add_up_by_day_service_and_key(store: DeploymentStore):
    await store.add_failures({(1, "a", "k"): 1, (2, "a", "k"): 2})
    await asyncio.gather(
        store.add_failures({(2, "a", "k"): 3}), store.add_failures({(2, "b", "k"): 4})
    )
    assert await store.failures(1, 2, ["a"]) == {("a", "k"): 6}
    assert await store.failures(2, 2, ["a", "b"]) == {("a", "k"): 5, ("b", "k"): 4}
