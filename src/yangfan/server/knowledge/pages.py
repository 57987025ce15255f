"""Pages of the web as documents: fetched through the guard, named so that the right reader reads them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.parsing import ENDINGS

if TYPE_CHECKING:
    from pathlib import Path

    from yangfan.egress import Egress

SOURCE_URL: Final = "source_url"
"""What a document's metadata call the address that it was fetched from."""

MAX_PAGE_BYTES: Final = 64 * 1024 * 1024
TIMEOUT_SECONDS: Final = 60.0
MAX_NAME_CHARS: Final = 200

_KINDS: Final = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/csv": "csv",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


async def fetch(egress: Egress, url: str, path: Path) -> tuple[str, str]:
    """Fetch a page into a file: its name as a document, and its sha256.

    Raises:
        Invalid: The server answers with no page, or with one of no kind that is read.
        FetchError: The guard refuses the address, or there is no usable answer.
    """
    digest = hashlib.sha256()
    async with egress.open(
        url, max_bytes=MAX_PAGE_BYTES, timeout_seconds=TIMEOUT_SECONDS
    ) as response:
        if response.status != 200:
            raise Invalid(f"{response.name} answered HTTP {response.status}", param="url")
        name = name_of(response.url, response.headers.get("content-type", ""))
        with path.open("wb") as file:
            async for chunk in response.iter_bytes():
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
            if not file.tell():
                raise Invalid(f"{response.name} is empty", param="url")
    return name, digest.hexdigest()


def name_of(url: str, content_type: str) -> str:
    """A name that says where a page came from, and ends as what it is.

    Raises:
        Invalid: It is no kind of document that is read.
    """
    parts = urlsplit(url)
    place = f"{parts.hostname}{unquote(parts.path)}".rstrip("/")
    name = re.sub(r"[^\w.-]+", "-", place)[:MAX_NAME_CHARS]
    kind = content_type.partition(";")[0].strip().lower()
    last = parts.path.rpartition("/")[2]
    ending = last.rpartition(".")[2].casefold() if "." in last else ""
    if kind in _KINDS:
        wanted = _KINDS[kind]
        # Servers that know no Markdown call it plain text.
        if ENDINGS.get(ending) in {wanted, "md", "csv"}:
            return name
        return f"{name}.{wanted}"
    if ending in ENDINGS and kind in {"", "application/octet-stream", "binary/octet-stream"}:
        return name
    raise Invalid(
        f"the page is {kind or 'of no type'}, which is not read; {', '.join(sorted(set(_KINDS.values())))} are",
        param="url",
    )
