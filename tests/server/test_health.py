"""`GET /healthz` for load balancers and people."""

from __future__ import annotations

import json
from unittest.mock import MagicMock

from tests.server.conftest import Caller
from tests.server.services.conftest import Scripted

from yangfan.errors import EngineFailed
from yangfan.protocol import presets
from yangfan.server.health import Health
from yangfan.server.services import Service, Services
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy


def test_running_server_says_ok_without_credentials(echo: Caller):
    reply = echo.ask("GET", "/healthz")
    assert reply.status == 200
    body = reply.json
    assert body["status"] == "ok"
    assert body["models"]["echo"]["ready"] is True
    assert body["models"]["echo"]["slots"]["total"] >= 1


async def health_of(engine: Scripted) -> tuple[int, dict[str, object]]:
    replica = Replica(engine)  # pyright: ignore[reportArgumentType] - a double of the interface
    service = Service("scripted", replica, ServicePolicy(1.0, 0), created=0)
    if engine.running:
        await replica.start()
    route = Health(Services([service], presets.load(), {})).routes[0]
    response = await route.endpoint(MagicMock())
    await replica.stop()
    return response.status_code, json.loads(response.body)


async def test_model_that_is_not_running_is_degraded():
    status, body = await health_of(Scripted())
    assert status == 503
    assert body == {"status": "degraded", "models": {"scripted": {"ready": False, "restarts": 0}}}


async def test_model_that_does_not_answer_is_degraded():
    class Mute(Scripted):
        async def slots(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - it never returns
            raise EngineFailed("mute")

    engine = Mute()
    engine.running = True
    status, body = await health_of(engine)
    assert (status, body["status"]) == (503, "degraded")


def test_running_server_is_alive_and_ready_without_credentials(echo: Caller):
    assert echo.ask("GET", "/livez").json == {"status": "ok"}
    reply = echo.ask("GET", "/readyz")
    assert (reply.status, reply.json) == (200, {"status": "ok", "reasons": []})


def asking(**query: str) -> MagicMock:
    return MagicMock(query_params=query)


async def test_what_is_not_ready_is_named():
    async def read_only() -> None:
        raise OSError("read-only")

    replica = Replica(Scripted())  # pyright: ignore[reportArgumentType] - a double of the interface
    service = Service("scripted", replica, ServicePolicy(1.0, 0), created=0)
    health = Health(
        Services([service], presets.load(), {}), read_only, lambda: ["the service bot is Deploying"]
    )
    routes = {route.path: route.endpoint for route in health.routes}
    response = await routes["/readyz"](asking())
    assert response.status_code == 503
    assert json.loads(response.body)["reasons"] == [
        "the engine of scripted is not running",
        "the service bot is Deploying",
        "the database cannot be written",
    ]
    response = await routes["/readyz"](asking(exclude="services"))
    assert not any("bot" in reason for reason in json.loads(response.body)["reasons"])
    assert (await routes["/livez"](MagicMock())).status_code == 200
