"""Models on ModelScope: ``modelscope:organisation/name[@revision][#file]``.

The file API is the one that the modelscope package uses
(https://github.com/modelscope/modelscope/blob/master/modelscope/hub/api.py): one call lists sizes and SHA-256, another
gives a file, usually by a redirect to a CDN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from yangfan.hub.http import Gone, download, get_json
from yangfan.hub.sources.base import Listing, RemoteFile, require_repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yangfan.hub.sources.base import Source, Workspace
    from yangfan.hub.uri import ModelURI


class _Entry(msgspec.Struct, rename="pascal"):
    path: str
    type: str = "blob"
    size: int | None = None
    sha256: str | None = None
    revision: str = ""


class _Data(msgspec.Struct, rename="pascal"):
    files: tuple[_Entry, ...] = ()


class _Reply(msgspec.Struct, rename="pascal"):
    code: int = 200
    message: str = ""
    data: _Data | None = None


def create(uri: ModelURI, workspace: Workspace) -> Source:
    """Make the source. Raises ConfigurationError unless the address names a repository."""
    return _Repository(require_repository(uri), uri.revision or "master", workspace)


class _Repository:
    """One repository at one revision."""

    def __init__(self, repository: str, revision: str, workspace: Workspace) -> None:
        self._name = repository
        self._revision = revision
        self._egress = workspace.egress
        endpoint = workspace.settings.modelscope_endpoint.rstrip("/")
        self._url = f"{endpoint}/api/v1/models/{quote(repository)}/repo"

    async def list(self) -> Listing:
        query = urlencode({"Revision": self._revision, "Recursive": "true"})
        reply, _ = await get_json(self._egress, f"{self._url}/files?{query}", _Reply)
        if reply.code != 200 or reply.data is None:
            raise Gone(f"modelscope:{self._name} cannot be listed: {reply.message or reply.code}")
        files = tuple(
            RemoteFile(entry.path, entry.size, entry.sha256 or None, entry.revision)
            for entry in reply.data.files
            if entry.type != "tree"
        )
        return Listing(files, revision=self._revision)

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        query = urlencode({"Revision": self._revision, "FilePath": file.path})
        await download(self._egress, f"{self._url}?{query}", part, progress, size=file.size_bytes)
