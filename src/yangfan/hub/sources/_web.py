"""A single file on a web server, for the sources `https` and `http`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from yangfan.errors import ConfigurationError
from yangfan.hub.http import download
from yangfan.hub.sources.base import Listing, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yangfan.hub.sources.base import Source, Workspace
    from yangfan.hub.uri import ModelURI


def create(uri: ModelURI, workspace: Workspace) -> Source:
    """Make the source. Raises ConfigurationError unless the address ends in a file name."""
    url = f"{uri.scheme}:{uri.path}"
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not uri.path.startswith("//") or not name:
        raise ConfigurationError(
            f"{str(uri)!r} names no file: write {uri.scheme}://host/path/model.gguf"
        )
    return _File(url, name, workspace)


class _File:
    """What one URL holds. Its entity tag, if it has a strong one, guards a download that is continued."""

    def __init__(self, url: str, name: str, workspace: Workspace) -> None:
        self._url = url
        self._name = name
        self._egress = workspace.egress

    async def list(self) -> Listing:
        async with self._egress.open(self._url, method="HEAD", max_bytes=0) as response:
            # Servers that know no HEAD tell nothing; the download itself then has the last word.
            told = response.status == 200
        length = response.headers.get("content-length", "") if told else ""
        etag = response.headers.get("etag", "") if told else ""
        return Listing(
            (
                RemoteFile(
                    self._name,
                    int(length) if length.isdecimal() else None,
                    version="" if etag.startswith("W/") else etag,
                ),
            )
        )

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        await download(
            self._egress,
            self._url,
            part,
            progress,
            size=file.size_bytes,
            etag=file.version or None,
        )
