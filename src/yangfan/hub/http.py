"""Asking hubs over HTTP: JSON answers, and files that continue where they were cut."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from yangfan.errors import FetchError, SourceUnavailable
from yangfan.hub.disk import discard, full_disk_said_clearly, size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yangfan.egress import Egress, Response

T = TypeVar("T")

MAX_JSON_BYTES: Final = 32 * 1024 * 1024
MAX_FILE_BYTES: Final = 1024**4
MAX_FILE_SECONDS: Final = 24 * 3600.0

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-")


class Gone(SourceUnavailable):
    """The source does not have it, or does not give it to us; another try would not help."""


async def get_json(
    egress: Egress, url: str, kind: type[T], *, headers: Mapping[str, str] | None = None
) -> tuple[T, Mapping[str, str]]:
    """Fetch a JSON document and return it as `kind`, with the answer's header fields.

    Raises:
        SourceUnavailable: The source has no such document (`Gone`) or did not answer.
        FetchError: The answer is not what the source documents.
    """
    async with egress.open(url, max_bytes=MAX_JSON_BYTES, headers=headers) as response:
        _require_success(response)
        body = await response.read()
    try:
        return msgspec.json.decode(body, type=kind), response.headers
    except msgspec.MsgspecError as error:
        raise FetchError(f"{response.name} did not answer as documented: {error}") from error


async def download(
    egress: Egress,
    url: str,
    part: Path,
    progress: Callable[[int], None],
    *,
    size: int | None = None,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Fetch a file into `part`, continuing behind the bytes that `part` already has.

    Args:
        egress: Guard to fetch through.
        url: Where the file is.
        part: What is there so far; whole when this returns.
        progress: Told the bytes of `part` as they grow.
        size: Size of the whole file in bytes, if the source told it.
        etag: Strong entity tag; with it the source starts over if the file has changed.
        headers: Further request header fields.

    Raises:
        SourceUnavailable: Cut short; what came stays in `part`. `Gone` if the source has no such file.
        FetchError: The file is larger than the source told.
        ConfigurationError: The disk is full.
    """
    done = size_bytes(part) or 0
    if size is not None and done > size:
        discard(part)
        done = 0
    if done and done == size:
        return
    asked = dict(headers or {})
    if done:
        asked["range"] = f"bytes={done}-"
        if etag:
            asked["if-range"] = etag
    limit = MAX_FILE_BYTES if size is None else size
    async with egress.open(
        url, max_bytes=limit, headers=asked, timeout_seconds=MAX_FILE_SECONDS
    ) as response:
        if response.status == 416:  # Range Not Satisfiable: `part` is not a beginning of this file.
            discard(part)
            raise SourceUnavailable(f"{response.name} does not continue at byte {done}")
        _require_success(response)
        done = _start(response, done)
        await _write(response, part, done, progress)
    done = size_bytes(part) or 0
    if size is not None and done < size:
        raise SourceUnavailable(f"{response.name} ended after {done} of {size} bytes")


async def _write(
    response: Response, part: Path, done: int, progress: Callable[[int], None]
) -> None:
    with full_disk_said_clearly(part.parent), part.open("ab" if done else "wb") as stream:
        async for chunk in response.iter_bytes():
            stream.write(chunk)
            done += len(chunk)
            progress(done)


def _start(response: Response, done: int) -> int:
    """Return the position in the file at which the answer begins."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchError(f"{response.name} was sent compressed although that was not asked for")
    if response.status != 206:  # Partial Content
        return 0
    found = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
    if found is None or int(found[1]) != done:
        raise FetchError(f"{response.name} answered with another part of the file than asked for")
    return done


def _require_success(response: Response) -> None:
    status = response.status
    if status in {200, 206}:
        return
    if status in {401, 403}:
        raise Gone(
            f"{response.name} is not open to us (HTTP {status}): it does not exist, or needs a token or accepted terms"
        )
    if status == 429 or status >= 500:  # Too Many Requests, or the server's own trouble
        raise SourceUnavailable(f"{response.name} is not available now (HTTP {status})")
    raise Gone(f"{response.name} does not exist (HTTP {status})")
