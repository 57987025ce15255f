"""`GET /healthz`: whether every served model can answer now. For load balancers and people, without credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from yangfan.server.services import Services


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
        models = {
            service.name: {"ready": service.replica.ready, "restarts": service.replica.restarts}
            for service in self._services.all
        }
        ready = all(model["ready"] for model in models.values())
        return JSONResponse(
            {"status": "ok" if ready else "degraded", "models": models}, 200 if ready else 503
        )
