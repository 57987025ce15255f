"""Whether the server is well, for load balancers and people, without credentials.

`GET /livez`: the process answers. `GET /readyz`: it can take calls; 503 names what cannot. With `?exclude=services`, callers' services
are not judged. `GET /healthz`: how busy each model is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from yangfan.server.services import Service, Services

CHECK_SECONDS = 1.0
"""Between two looks at the database: anybody may ask, and there is one writer."""


class Health:
    """The health page.

    Args:
        services: What is served.
        check_database: Raises if the database cannot be written now; None where there is none.
        unready: Which services of callers should run and do not, one sentence each.
    """

    def __init__(
        self,
        services: Services,
        check_database: Callable[[], Awaitable[None]] | None = None,
        unready: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._services = services
        self._unready = unready
        self._check_database = check_database
        self._checked_at, self._writable = -CHECK_SECONDS, True

    @property
    def routes(self) -> list[Route]:
        """What this file answers."""
        return [
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/livez", self._livez, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]

    async def _livez(self, request: Request) -> JSONResponse:
        del request
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> JSONResponse:
        reasons = [
            f"the engine of {service.name} is not running"
            for service in self._services.all
            if not service.replica.ready
        ]
        if request.query_params.get("exclude") != "services":
            reasons += self._unready()
        if not await self._can_write():
            reasons.append("the database cannot be written")
        return JSONResponse(
            {"status": "unready" if reasons else "ok", "reasons": reasons}, 503 if reasons else 200
        )

    async def _can_write(self) -> bool:
        now = time.monotonic()
        if self._check_database is not None and now - self._checked_at >= CHECK_SECONDS:
            self._checked_at = now
            try:
                await self._check_database()
            except Exception:  # noqa: BLE001 - whatever it was: what cannot be written is not ready
                self._writable = False
            else:
                self._writable = True
        return self._writable

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
