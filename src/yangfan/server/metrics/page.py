"""`GET /metrics`: everything that is counted, for Prometheus."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import structlog
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from yangfan.server.http.cors import host_name, is_local_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import CollectorRegistry
    from starlette.requests import Request

_log = structlog.get_logger("yangfan.metrics")

REFUSED = (
    'metrics are shown to this machine only; set metrics = "public" (YANGFAN_METRICS=public) if everybody who reaches the'
    " server may see them\n"
)


class MetricsPage:
    """The page.

    Args:
        registry: What is shown.
        public: Whether other machines may see it.
        look: Called first, to read what takes a while.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        public: bool,
        look: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._registry = registry
        self._look = look
        self._public = public

    @property
    def routes(self) -> list[Route]:
        """What this file answers."""
        return [Route("/metrics", self._metrics, methods=["GET"])]

    async def _metrics(self, request: Request) -> Response:
        if not (self._public or _is_local(request)):
            return PlainTextResponse(REFUSED, 403)
        if self._look is not None:
            try:
                await self._look()
            except Exception:  # noqa: BLE001 - a database that is away must not hide all the other figures
                _log.exception("cannot count the jobs")
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), headers={"Content-Type": content_type})


def _is_local(request: Request) -> bool:
    """Whether the connection comes from this machine, through no proxy that says otherwise, and not from a page under another name."""
    if (
        request.client is None
        or "x-forwarded-for" in request.headers
        or "forwarded" in request.headers
        or not is_local_name(host_name(request.headers.get("host", "")))
    ):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
