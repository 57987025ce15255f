"""Addresses of samples for a plain GET: signed, so that they need no other key, and good for a day."""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from yangfan.datasets.formats import DataFormat, render
from yangfan.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from yangfan.server.datasets.logic import Datasets
    from yangfan.server.datasets.samples import Samples

PATH = "/dataset-samples"
LIFETIME_SECONDS = 24 * 3600


class Links:
    """Makes and answers the addresses of samples.

    Args:
        datasets: Where pictures are.
        samples: Where rows are.
        key: Signs them.
    """

    def __init__(self, datasets: Datasets, samples: Samples, key: bytes) -> None:
        self._datasets = datasets
        self._samples = samples
        self._key = key

    def url(self, scope: Mapping[str, Any], version_id: str, row_id: str) -> str:
        """Where a sample is, as the caller of `scope` reaches this server."""
        expires = str(int(time.time()) // 3600 * 3600 + LIFETIME_SECONDS)
        query = urlencode(
            {"expires": expires, "signature": self._sign(version_id, row_id, expires)}
        )
        return f"{base_url(scope)}{PATH}/{version_id}/{quote(row_id, safe='')}?{query}"

    @property
    def routes(self) -> list[Route]:
        """What this file answers."""
        return [Route(f"{PATH}/{{version_id}}/{{row_id:path}}", self._get, methods=["GET"])]

    def _sign(self, version_id: str, row_id: str, expires: str) -> str:
        text = f"{version_id}\n{row_id}\n{expires}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, "sha256").hex()

    async def _get(self, request: Request) -> Response:
        version_id: str = request.path_params["version_id"]
        row_id: str = request.path_params["row_id"]
        expires = request.query_params.get("expires", "")
        signature = request.query_params.get("signature", "")
        good = hmac.compare_digest(
            self._sign(version_id, row_id, expires).encode(),
            signature.encode("utf-8", "surrogatepass"),
        )
        if not good or not expires.isdigit() or int(expires) < time.time():
            return PlainTextResponse(
                "this address is not valid, or its time is over; list the samples again\n", 403
            )
        try:
            version = await self._datasets.version(version_id)
            row = await self._samples.get(version.id, row_id)
        except RefusedError as error:
            return PlainTextResponse(f"{error.message}\n", 404)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=60"}
        sample = row.sample
        if version.data_format is DataFormat.PROMPT_IMAGE and sample.images[0].sha256:
            path = self._datasets.blobs.path(sample.images[0].sha256)
            return FileResponse(
                path, media_type=_media_type(sample.images[0].name), headers=headers
            )
        if version.data_format is DataFormat.TEXT:
            return PlainTextResponse(sample.text, headers=headers)
        content = msgspec.json.encode(render(version.data_format, sample))
        return Response(content, media_type="application/json", headers=headers)


_MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "bmp": "image/bmp",
}


def _media_type(name: str) -> str:
    """Only of pictures: whatever else somebody may have sent is never shown as a page."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2].casefold(), "application/octet-stream")


def base_url(scope: Mapping[str, Any]) -> str:
    """Where the caller reached this server."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not host:
        address, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"{address}:{port}".encode()
    return f"{scope.get('scheme', 'http')}://{host.decode('latin-1')}"
