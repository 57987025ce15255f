"""Objects of an S3-compatible store: ``s3:bucket/folder/``, ``s3:bucket/model.gguf``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError
from yangfan.hub.http import Gone
from yangfan.hub.s3 import S3, S3Object, split
from yangfan.hub.sources.base import Listing, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yangfan.hub.sources.base import Source, Workspace
    from yangfan.hub.uri import ModelURI


def create(uri: ModelURI, workspace: Workspace) -> Source:
    """Make the source. Raises ConfigurationError unless the address names a bucket and something in it."""
    bucket, key = split(uri.path)
    if not bucket or not key.strip("/"):
        raise ConfigurationError(
            f"{str(uri)!r} names no object: write s3:bucket/folder/ or s3:bucket/model.gguf"
        )
    return _Objects(bucket, key, workspace)


class _Objects:
    """One object, or all below a folder."""

    def __init__(self, bucket: str, key: str, workspace: Workspace) -> None:
        self._bucket = bucket
        self._key = key
        self._store = S3(workspace.egress, workspace.settings.s3)
        self._objects: dict[str, S3Object] = {}

    async def list(self) -> Listing:
        found = await self._store.list(self._bucket, self._key)
        folder = self._key.rstrip("/") + "/"
        for item in found:
            if item.key == self._key and not self._key.endswith("/"):
                self._objects = {item.key.rpartition("/")[2]: item}
                break
            if item.key.startswith(folder) and not item.key.endswith("/"):
                self._objects[item.key[len(folder) :]] = item
        if not self._objects:
            raise Gone(f"the bucket {self._bucket} holds nothing at {self._key!r}")
        return Listing(
            tuple(
                RemoteFile(path, item.size_bytes, version=item.etag)
                for path, item in self._objects.items()
            )
        )

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        await self._store.get(self._bucket, self._objects[file.path], part, progress)
