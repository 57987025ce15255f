"""`GET /healthz`: whether every served model can answer now, and how busy it is. For load balancers and people, without credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from starlette.requests import Request

    from yangfan.server.services import Service, Services


class Health:
    """The health page.

    Args:
        services: What is served.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def routes(self) -> list[Route]:
        """What this file answers."""
        return [Route("/healthz", self._healthz, methods=["GET"])]

    async def _healthz(self, request: Request) -> JSONResponse:
        del request
        models = {service.name: await _state(service) for service in self._services.all}
        ready = all(model["ready"] for model in models.values())
        return JSONResponse(
            {"status": "ok" if ready else "degraded", "models": models}, 200 if ready else 503
        )


async def _state(service: Service) -> dict[str, Any]:
    replica = service.replica
    state: dict[str, Any] = {"ready": replica.ready, "restarts": replica.restarts}
    if replica.ready:
        try:
            slots = await service.slots()
        except EngineFailed:
            state["ready"] = False
        else:
            state["slots"] = {"busy": slots.busy, "total": slots.total}
    return state
