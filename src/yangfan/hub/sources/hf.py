"""Models on Hugging Face or a mirror of it: ``hf:organisation/name[@revision][#file]``.

The file API is documented at https://huggingface.co/docs/hub/api: the revision becomes a commit, the commit's tree lists
sizes and (for large files) SHA-256, and ``resolve`` answers with the file or a redirect to a CDN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from yangfan.errors import FetchError
from yangfan.hub.http import download, get_json
from yangfan.hub.sources.base import Listing, RemoteFile, require_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yangfan.hub.sources.base import Source, Workspace
    from yangfan.hub.uri import ModelURI

MAX_PAGES = 100


class _Commit(msgspec.Struct):
    sha: str


class _Large(msgspec.Struct):
    """The Git LFS record of a file; its oid is the SHA-256 of the content."""

    oid: str
    size: int


class _Entry(msgspec.Struct):
    type: str
    path: str
    oid: str = ""
    size: int | None = None
    lfs: _Large | None = None


def create(uri: ModelURI, workspace: Workspace) -> Source:
    """Make the source. Raises ConfigurationError unless the address names a repository."""
    return _Repository(require_repository(uri), uri.revision or "main", workspace)


class _Repository:
    """One repository at the commit that its revision has when it is listed."""

    def __init__(self, repository: str, revision: str, workspace: Workspace) -> None:
        self._repository = repository
        self._revision = revision
        self._egress = workspace.egress
        self._endpoint = workspace.settings.hf_endpoint.rstrip("/")
        token = workspace.settings.hf_token
        self._headers: Mapping[str, str] = {"authorization": f"Bearer {token}"} if token else {}
        self._commit = ""

    async def list(self) -> Listing:
        api = f"{self._endpoint}/api/models/{self._repository}"
        revision = quote(self._revision, safe="")
        commit, _ = await get_json(
            self._egress, f"{api}/revision/{revision}", _Commit, headers=self._headers
        )
        self._commit = commit.sha
        files: list[RemoteFile] = []
        cursor: str | None = ""
        for _ in range(MAX_PAGES):
            entries, headers = await get_json(
                self._egress,
                f"{api}/tree/{quote(self._commit, safe='')}?recursive=1"
                + (f"&cursor={quote(cursor, safe='')}" if cursor else ""),
                list[_Entry],
                headers=self._headers,
            )
            files.extend(_remote(entry) for entry in entries if entry.type == "file")
            cursor = _next_cursor(headers.get("link", ""))
            if cursor is None:
                return Listing(tuple(files), revision=self._commit)
        raise FetchError(f"{self._endpoint}/{self._repository} lists too many files")

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        await download(
            self._egress,
            f"{self._endpoint}/{self._repository}/resolve/{quote(self._commit, safe='')}/{quote(file.path)}",
            part,
            progress,
            size=file.size_bytes,
            headers=self._headers,
        )


def _remote(entry: _Entry) -> RemoteFile:
    if entry.lfs is not None:
        return RemoteFile(entry.path, entry.lfs.size, entry.lfs.oid.removeprefix("sha256:"))
    return RemoteFile(entry.path, entry.size, version=entry.oid)


def _next_cursor(link: str) -> str | None:
    """The cursor of the next page; the rest of the link is not followed, it may name another host."""
    for part in link.split(","):
        target, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            found = parse_qs(urlsplit(target.strip(" <>")).query).get("cursor")
            return found[0] if found else None
    return None
