"""Bringing files of data to this machine: from a path, a URL, or an S3-compatible store.

A file of this machine is read where it is. Everything else gathers in a folder of the job, and another attempt goes on behind the
bytes that are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from yangfan.errors import ConfigurationError
from yangfan.hub.attempt import FETCH_TRIES, LIST_TRIES, persistently
from yangfan.hub.disk import require_free, size_bytes
from yangfan.hub.http import Gone, download
from yangfan.hub.s3 import S3, split

if TYPE_CHECKING:
    from yangfan.egress import Egress
    from yangfan.hub.s3 import S3Object
    from yangfan.hub.sources.base import HubSettings

Tell = Callable[[float, float | None, str, str], None]
"""(done, total, unit, note): how far it is. Whatever it raises ends the work; what came so far stays."""

SCHEMES: Final = ("https", "http", "s3", "bos", "file")


class File(NamedTuple):
    """A file that is on this machine now: as people call it, and where it is."""

    name: str
    path: Path


async def fetch(
    source: str, folder: Path, *, egress: Egress, settings: HubSettings, tell: Tell
) -> list[File]:
    """Bring what an address names.

    Args:
        source: ``file:/data/a.jsonl``, ``https://…``, ``s3:bucket/key`` (``bos:/bucket/key`` is the same); an address of a store that
            ends in / means every file below it.
        folder: Existing folder for what is fetched, kept from attempt to attempt.
        egress: Guard for the fetch.
        settings: The S3 store's address and keys, and how patiently to try.
        tell: Told the bytes that are here.

    Returns:
        The files, sorted by name.

    Raises:
        ConfigurationError: No address of these forms, no such file, or no space.
        EgressDenied: The policy forbids the address.
        SourceUnavailable: It did not answer, or has nothing there; another attempt goes on where this one stopped.
        FetchError: It offered what is not safe to take.
    """
    scheme, _, path = source.partition(":")
    if scheme == "file":
        return [_local(Path(path))]
    if scheme in {"https", "http"}:
        return [await _from_url(source, folder, egress, settings, tell)]
    if scheme in {"s3", "bos"}:
        return await _from_store(path.lstrip("/"), folder, egress, settings, tell)
    raise ConfigurationError(
        f"{source[:200]!r} is no address of data: give https://…, s3:bucket/path or file:/path"
    )


def _local(path: Path) -> File:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path} on this machine")
    return File(path.name, path)


async def _from_url(
    url: str, folder: Path, egress: Egress, settings: HubSettings, tell: Tell
) -> File:
    name = unquote(urlsplit(url).path.rpartition("/")[2]) or "data"

    async def ask() -> tuple[int | None, str]:
        async with egress.open(url, method="HEAD", max_bytes=0) as response:
            # Servers that know no HEAD, and addresses signed for GET alone, tell nothing; the download has the last word.
            told: Mapping[str, str] = response.headers if response.status == 200 else {}
        length, etag = told.get("content-length", ""), told.get("etag", "")
        return int(length) if length.isdecimal() else None, "" if etag.startswith("W/") else etag

    tell(0, None, "bytes", f"asking for {name[:80]}")
    size, etag = await persistently(ask, LIST_TRIES, settings.retry_seconds)
    # Without a length and a tag nobody knows whether the beginning that is here belongs to the same file.
    part = folder / _key(url, str(size), etag)
    if not etag:
        part.unlink(missing_ok=True)
    require_free(folder, max((size or 0) - (size_bytes(part) or 0), 0))

    def advance(done: int) -> None:
        tell(done, size, "bytes", f"downloading {name[:80]}")

    await persistently(
        lambda: download(egress, url, part, advance, size=size, etag=etag or None),
        FETCH_TRIES,
        settings.retry_seconds,
        reached=lambda: size_bytes(part) or 0,
    )
    return File(name, part)


async def _from_store(
    path: str, folder: Path, egress: Egress, settings: HubSettings, tell: Tell
) -> list[File]:
    bucket, key = split(path)
    if not bucket or not key:
        raise ConfigurationError(
            f"{path[:200]!r} names no file of a bucket: write s3:bucket/folder/file, or s3:bucket/folder/ for all below it"
        )
    store = S3(egress, settings.s3)
    tell(0, None, "bytes", f"asking for {key[:80]}")
    found = await persistently(lambda: store.list(bucket, key), LIST_TRIES, settings.retry_seconds)
    wanted = [item for item in found if _is_below(item.key, key)]
    if not wanted:
        raise Gone(f"the bucket {bucket} holds nothing at {key[:200]!r}")
    total = sum(item.size_bytes for item in wanted)
    done = 0
    files: list[File] = []
    for item in sorted(wanted):
        files.append(
            await _object(store, bucket, item, folder, settings, _behind(done, total, tell))
        )
        done += item.size_bytes
    return files


def _is_below(found: str, key: str) -> bool:
    if key.endswith("/"):
        return found.startswith(key) and not found.endswith("/")
    return found == key


def _behind(before: int, total: int, tell: Tell) -> Callable[[int, str], None]:
    def advance(done: int, note: str) -> None:
        tell(before + done, total, "bytes", note)

    return advance


async def _object(
    store: S3,
    bucket: str,
    item: S3Object,
    folder: Path,
    settings: HubSettings,
    advance: Callable[[int, str], None],
) -> File:
    name = item.key.rpartition("/")[2]
    part = folder / _key(bucket, item.key, str(item.size_bytes), item.etag)
    require_free(folder, max(item.size_bytes - (size_bytes(part) or 0), 0))
    await persistently(
        lambda: store.get(bucket, item, part, lambda done: advance(done, f"downloading {name}")),
        FETCH_TRIES,
        settings.retry_seconds,
        reached=lambda: size_bytes(part) or 0,
    )
    return File(item.key, part)


def _key(*parts: str) -> str:
    """Name of the file here: all that decides its content."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
