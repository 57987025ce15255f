"""`client.services` against a real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import Server

import yangfan
from yangfan import errors


@pytest.fixture(name="client")
def client_fixture(echo_server: Server):
    with yangfan.Client(
        echo_server.base_url,
        access_key=echo_server.access_key,
        secret_access_key=echo_server.secret_access_key,
    ) as client:
        yield client


def test_service_lives_from_create_to_delete(client: yangfan.Client):
    made = client.services.create(
        "echo", "sdk-one", name="One", description="about", engine_options={"prefix": "1 "}
    )
    assert made.status in {"New", "Deploying", "Serving"}
    service = client.services.wait("sdk-one", timeout_seconds=60)
    assert (service.status, service.loaded, service.name) == ("Serving", True, "One")
    assert service.deployments[0].engine_options == {"prefix": "1 "}
    assert client.chat("hi", model="sdk-one").text == "1 hi"
    changed = client.services.update(
        made.id,
        name="Two",
        description="",
        priority=7,
        idle_seconds=60,
        warm=False,
        fallback="echo",
        qps=5,
    )
    assert (changed.name, changed.priority, changed.idle_seconds) == ("Two", 7, 60)
    assert (changed.warm, changed.fallback, changed.qps) == (False, "echo", 5)
    assert client.services.scale("sdk-one", 2).replicas == 2
    client.services.rollout("sdk-one", "echo", engine_options={"prefix": "2 "}, bake_seconds=0)
    client.services.wait("sdk-one", rolled_out=True, timeout_seconds=60)
    assert client.chat("hi", model="sdk-one").text == "2 hi"
    client.services.rollout("sdk-one", "echo", weight=50)
    candidate = client.services.get("sdk-one").candidate
    assert candidate is not None
    assert candidate.weight == 50
    assert client.services.rollback("sdk-one").candidate is None
    now = datetime.now(UTC)
    (used,) = client.services.metrics(now - timedelta(days=1), now, services=["sdk-one"])
    assert (used.service_id, used.calls, used.failed_calls) == (made.id, 2, 0)
    assert "created" in [event.kind for event in client.services.events("sdk-one")]
    assert client.services.logs("sdk-one")
    assert client.services.stop("sdk-one").status == "Stopped"
    with pytest.raises(errors.ModelOffline, match="is stopped"):
        client.chat("hi", model="sdk-one")
    with pytest.raises(errors.Conflict, match="sdk-one is Stopped"):
        client.services.wait("sdk-one")
    client.services.start("sdk-one")
    client.services.wait("sdk-one", timeout_seconds=60)
    client.services.delete("sdk-one")
    with pytest.raises(errors.NotFound, match="no service 'sdk-one'"):
        client.services.get("sdk-one")


def test_lists_of_many_pages_come_whole(client: yangfan.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("yangfan.client._sync.services.PAGE", 2)
    made = [client.services.create("echo", f"sdk-many-{n}", warm=False).id for n in range(5)]
    found = client.services.list(name="sdk-many", types=["chat"])
    assert [service.id for service in found] == made
    assert client.services.list(name="sdk-many", statuses=["Stopped"]) == ()
    for service in found:
        client.services.delete(service.id)


def test_refusals_are_typed(client: yangfan.Client):
    with pytest.raises(errors.NotFound, match="`yangfan pull NAME` fetches one"):
        client.services.create("nobody")
    with pytest.raises(errors.Invalid, match="urlSuffix is 1 to 64 letters"):
        client.services.create("echo", "no spaces")
    with pytest.raises(errors.Conflict, match="can never run here"):
        client.services.create("echo", "sdk-big", memory_bytes=1 << 50, warm=False, replicas=64)
    client.services.create("echo", "sdk-two", warm=False)
    with pytest.raises(errors.Conflict, match="no rollout of sdk-two goes on"):
        client.services.promote("sdk-two")
    with pytest.raises(errors.Conflict, match="no earlier version"):
        client.services.rollback("sdk-two")
    client.services.delete("sdk-two")


def test_presets_name_what_answers_them(client: yangfan.Client):
    found = {preset.name: preset for preset in client.services.presets()}
    assert found["ERNIE-Speed-8K"].model == "echo"
    assert found["ERNIE-Speed-8K"].url.endswith("/chat/ernie_speed")


def test_async_client_does_the_same(echo_server: Server):
    async def check() -> None:
        async with yangfan.AsyncClient(
            echo_server.base_url,
            access_key=echo_server.access_key,
            secret_access_key=echo_server.secret_access_key,
        ) as client:
            await client.services.create("echo", "sdk-async")
            service = await client.services.wait("sdk-async", timeout_seconds=60)
            assert service.url.endswith("/chat/sdk-async")
            await client.services.delete("sdk-async")

    asyncio.run(check())
