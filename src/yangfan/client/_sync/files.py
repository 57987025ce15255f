# Generated from _async by scripts/unasync.py; edit there.
"""`client.files`: files to work on, such as the requests of a batch (v2)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from yangfan import errors
from yangfan.client import replies
from yangfan.client.forms import content_of, form
from yangfan.client.retry import Retry
from yangfan.client.types import StoredFile
from yangfan.protocol.v2 import files as wire

if TYPE_CHECKING:
    from typing import Any

    from yangfan.client._sync.session import Session
    from yangfan.client.call import Call
    from yangfan.client.exchange import Request
    from yangfan.protocol.endpoint import Endpoint
    from yangfan.protocol.v2.files import Purpose


class Files:
    """Files of the caller's application. They are sent and read whole, through memory."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def upload(
        self, file: Path | bytes, purpose: Purpose, *, name: str | None = None
    ) -> StoredFile:
        """Send a file, at most 512 MiB.

        Args:
            file: Where it is, or what it holds.
            purpose: What it is for. For batch and fine-tune it is JSON lines, and its name ends in .jsonl.
            name: What it is called; by default as it is on this machine.

        Raises:
            ConfigurationError: It cannot be read, or bytes come without a name.
        """
        if isinstance(file, Path):
            content = content_of(file)
            name = name or file.name
        else:
            content = file
        if not name:
            raise errors.ConfigurationError("a file that comes as bytes needs a name")
        boundary = secrets.token_hex(16)
        call = self._call(
            wire.CREATE, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}
        )
        body = form(boundary, {"purpose": purpose}, name, content)
        # Sent once only: a second time would be a second file.
        call = replace(call, request=replace(call.request, body=body), retry=Retry(0))
        return _file(self._session.fetch(call, wire.CREATE.reply))

    def list(self, purpose: Purpose | None = None) -> tuple[StoredFile, ...]:
        """All files, or those for one purpose, the newest first."""
        found: list[StoredFile] = []
        query = {"limit": "1000"} if purpose is None else {"limit": "1000", "purpose": purpose}
        while True:
            call = self._call(wire.LIST, query=query)
            page = self._session.fetch(call, wire.LIST.reply)
            found += map(_file, page.data)
            if not page.has_more or page.last_id is None:
                return tuple(found)
            query["after"] = page.last_id

    def get(self, file_id: str) -> StoredFile:
        """A file without its content.

        Raises:
            Invalid: There is none of that id.
        """
        return _file(self._session.fetch(self._call(wire.SHOW, file_id), wire.SHOW.reply))

    def download(self, file_id: str) -> bytes:
        """What a file holds, at most 256 MiB.

        Raises:
            Invalid: There is none of that id.
        """
        call = self._call(wire.CONTENT, file_id)

        def once(request: Request) -> bytes:
            reply = self._session.transport.send(
                request, timeout_seconds=call.timeout_seconds
            )
            if reply.status != 200:
                replies.checked(reply)
            return reply.body

        return self._session.persist(call, once)

    def delete(self, file_id: str) -> None:
        """Delete a file.

        Raises:
            Invalid: There is none of that id.
        """
        self._session.fetch(self._call(wire.DELETE, file_id), wire.DELETE.reply)

    def _call(
        self,
        endpoint: Endpoint[Any, Any],
        file_id: str = "",
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Call:
        path = endpoint.path.replace("{file_id}", quote(file_id, safe="") or "-")
        if query:
            path += f"?{urlencode(query)}"
        return self._session.inference_call(endpoint, 2, path=path, headers=headers)


def _file(item: wire.File) -> StoredFile:
    created_at = datetime.fromtimestamp(item.created_at, UTC)
    return StoredFile(item.id, item.filename, item.purpose, item.bytes, created_at)
