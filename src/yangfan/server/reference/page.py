"""`/openapi.json`, the interactive page `/docs` and the files behind it, all from this package: no other host is asked."""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from yangfan.protocol import openapi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from yangfan.protocol.endpoint import Endpoint

ASSETS = {
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""Files that may be asked for, with their media types. Nothing else is read, whatever the path says."""

SECURITY_HEADERS = {
    # Swagger UI draws its icons from data URIs in its style sheet.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Content:
    """A body with the tag that lets a browser keep it."""

    def __init__(self, body: bytes, media_type: str) -> None:
        """Keep the body and compute its tag, once."""
        self.body = body
        self.media_type = media_type
        self.etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Response:
        """The body, or 304 when the browser has it; it asks each time, so an upgrade shows at once."""
        headers = {**SECURITY_HEADERS, "ETag": self.etag, "Cache-Control": "no-cache"}
        known = request.headers.get("if-none-match", "").split(",")
        if self.etag in (tag.strip().removeprefix("W/") for tag in known):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)


class Reference:
    """The API's own reference, for people (`/docs`) and for programs (`/openapi.json`).

    Args:
        endpoints: What the server answers, in the order to show it.
        version: Version to name in the document.
    """

    def __init__(self, endpoints: Sequence[Endpoint[Any, Any]], version: str) -> None:
        """Keep the endpoints; nothing is read or computed before the first visit."""
        self._endpoints = endpoints
        self._version = version
        self._files: dict[str, Content] = {}

    @property
    def routes(self) -> list[Route]:
        """Routes for the composition root; GET and HEAD."""
        return [
            Route("/openapi.json", self._answer_document),
            Route("/docs", self._answer_page),
            Route("/docs/assets/{name}", self._answer_asset),
        ]

    async def _answer_document(self, request: Request) -> Response:
        return self._document.answer(request)

    async def _answer_page(self, request: Request) -> Response:
        return self._file("index.html", "text/html").answer(request)

    async def _answer_asset(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        if name not in ASSETS:
            return PlainTextResponse("no such file", 404, headers=SECURITY_HEADERS)
        return self._file(name, ASSETS[name]).answer(request)

    @cached_property
    def _document(self) -> Content:
        document = openapi.document(
            self._endpoints, title="Yangfan 扬帆", version=self._version, servers=["."]
        )
        return Content(msgspec.json.encode(document), "application/json")

    def _file(self, name: str, media_type: str) -> Content:
        if name not in self._files:
            file = resources.files("yangfan.server.reference") / "assets" / name
            self._files[name] = Content(file.read_bytes(), media_type)
        return self._files[name]
