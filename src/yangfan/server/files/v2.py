"""v2: /v2/files in OpenAI's shapes (specification C.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from yangfan.errors import Invalid
from yangfan.protocol.v2 import files as wire
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import Download

if TYPE_CHECKING:
    from yangfan.server.files.logic import Files
    from yangfan.server.files.types import StoredFile


def routes(files: Files) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[bytes]) -> Reply:
        content_type = next(
            (value for name, value in call.scope["headers"] if name == b"content-type"), b""
        )
        return Reply(_file(await files.upload(call.principal.app_id, content_type, call.pieces)))

    async def list_all(call: Call[None]) -> Reply:
        query = call.query
        order = query.get("order", "desc")
        if order not in {"asc", "desc"}:
            raise Invalid(f"order must be asc or desc, got {order[:32]!r}", param="order")
        found, has_more = await files.page(
            call.principal.app_id,
            query.get("purpose") or None,
            query.get("after") or None,
            _limit(query.get("limit")),
            newest_first=order == "desc",
        )
        return Reply(
            wire.FileList(
                data=[*map(_file, found)],
                first_id=found[0].id if found else None,
                last_id=found[-1].id if found else None,
                has_more=has_more,
            )
        )

    async def show(call: Call[None]) -> Reply:
        return Reply(_file(await files.get(call.params["file_id"], call.principal.app_id)))

    async def content(call: Call[None]) -> Download:
        file = await files.get(call.params["file_id"], call.principal.app_id)
        # Never the caller's own name in a header: the id will do.
        return Download(files.content(file.sha256), file.id, "application/octet-stream")

    async def delete(call: Call[None]) -> Reply:
        await files.delete(call.params["file_id"], call.principal.app_id)
        return Reply(wire.DeletedFile(id=call.params["file_id"]))

    return [
        Route(wire.CREATE, create),
        Route(wire.LIST, list_all),
        Route(wire.SHOW, show),
        Route(wire.CONTENT, content),
        Route(wire.DELETE, delete),
    ]


def _limit(text: str | None) -> int:
    if text is None:
        return wire.MAX_LISTED
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= wire.MAX_LISTED):
        raise Invalid(
            f"limit must be a whole number in [1, {wire.MAX_LISTED}], got {text[:32]!r}",
            param="limit",
        )
    return int(text)


def _file(file: StoredFile) -> wire.File:
    return wire.File(
        id=file.id,
        bytes=file.size_bytes,
        created_at=file.created_ms // 1000,
        filename=file.name,
        purpose=file.purpose,
        expires_at=UNSET if file.expires_ms is None else file.expires_ms // 1000,
    )
