"""What the plugin `ChatFile` does: the passages of a document that a question is about, or its beginning, and what a model is told of them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import mimetypes
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from yangfan.errors import FetchError, Invalid, InvalidPluginArgument
from yangfan.plugins._texts import units
from yangfan.plugins.base import Outcome
from yangfan.plugins.knowledge_base.answering import prompt
from yangfan.plugins.knowledge_base.chunks import Chunking, chunked
from yangfan.plugins.knowledge_base.parsing import ENDINGS, Parser
from yangfan.plugins.knowledge_base.ranking import Corpus, bm25
from yangfan.plugins.knowledge_base.terms import query_terms, terms_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.plugins.base import Host
    from yangfan.plugins.knowledge_base.chunks import Chunk

MAX_FILE_BYTES = 10 * 1024 * 1024
FETCH_SECONDS = 30.0
MOST_UNITS = 3000
MAX_CHUNKS = 20_000
READERS = 2
"""Documents that are read at once; others wait."""


class _Turns:
    """Bounds how many documents are read at once."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(READERS)

    async def aclose(self) -> None:
        """Nothing is held."""


async def call(inputs: Mapping[str, Any], host: Host) -> Outcome:
    """What the document at `fileurl` says on `query`.

    Raises:
        InvalidPluginArgument: There is no document, or it is not to be had, too large, of a kind that is not read, or broken.
    """
    question, address = inputs["query"], inputs.get("fileurl", "")
    if not address:
        raise InvalidPluginArgument(
            "ChatFile needs a document: give fileurl, or <file>NAME</file><url>ADDRESS</url> in the message",
            param="fileurl",
        )
    if address[:5].lower() == "data:":
        data, name, kind = _of_data_uri(address)
    else:
        data, name, kind = await _fetched(address, host)
    name = _named(host.file_name or name, kind)
    async with host.kept(_Turns).free:
        try:
            chunks = await asyncio.to_thread(_chunks, data, name)
        except Invalid as error:
            raise InvalidPluginArgument(error.message, param="fileurl") from error
    room = min(host.room_tokens / 2, MOST_UNITS)
    chosen = _chosen(chunks, question, room)
    texts = tuple(
        f"{each.headings}\n{each.text}" if each.headings else each.text for each in chosen
    )
    response = {
        "errCode": 0,
        "errMsg": "success",
        "fileName": name,
        "chunks": len(chunks),
        "passages": [
            {"content": each.text, "headings": each.headings, "page": each.page} for each in chosen
        ],
    }
    return Outcome(
        "\n\n".join(texts),
        prompt=prompt(host.prompt, question, texts, host.variables, most_units=room),
        sources=texts,
        request={"query": question, "fileName": name},
        response=response,
    )


async def _fetched(address: str, host: Host) -> tuple[bytes, str, str]:
    if not address.lower().startswith(("https://", "http://")):
        raise InvalidPluginArgument(
            "fileurl must be an https URL or a data URI such as data:application/pdf;base64,…",
            param="fileurl",
        )
    try:
        found = await host.fetch(address, max_bytes=MAX_FILE_BYTES, timeout_seconds=FETCH_SECONDS)
    except FetchError as error:
        raise InvalidPluginArgument(f"fileurl: {error.message}", param="fileurl") from error
    if found.status != 200:
        raise InvalidPluginArgument(
            f"fileurl answered with status {found.status} instead of a document", param="fileurl"
        )
    name = unquote(urlsplit(address).path.rpartition("/")[2])
    return found.content, name, found.headers.get("content-type", "")


def _of_data_uri(address: str) -> tuple[bytes, str, str]:
    head, comma, text = address.partition(",")
    kind, *options = head[5:].split(";")
    if not comma or "base64" not in options:
        raise InvalidPluginArgument(
            "fileurl must be a data URI such as data:application/pdf;base64,…", param="fileurl"
        )
    if len(text) // 4 * 3 > MAX_FILE_BYTES:
        raise InvalidPluginArgument(
            f"the document is larger than {MAX_FILE_BYTES} bytes; split it", param="fileurl"
        )
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPluginArgument("the base64 of fileurl is broken", param="fileurl") from None
    name = next((each[5:] for each in options if each.startswith("name=")), "")
    return data, unquote(name), kind


def _named(name: str, kind: str) -> str:
    """A name with an ending that says what the document is: its own, or that of its media type."""
    name = name.replace("/", "_").replace("\0", "")[-200:]
    if name.rpartition(".")[2].casefold() in ENDINGS:
        return name
    ending = mimetypes.guess_extension(kind.partition(";")[0].strip()) or ""
    return (name or "document") + ending


def _chunks(data: bytes, name: str) -> list[Chunk]:
    """The document in pieces. It lies in a file while it is read, and in a process of its own it is read."""
    with tempfile.TemporaryDirectory(prefix="yangfan-chatfile-") as folder, Parser() as parser:
        path = Path(folder) / "document"
        path.write_bytes(data)
        blocks = parser.blocks(path, name)
    chunks = [chunk for chunk in chunked(blocks, Chunking()) if chunk.text]
    if not chunks:
        raise Invalid(f"{name} holds no text")
    return chunks[:MAX_CHUNKS]


def _chosen(chunks: Sequence[Chunk], question: str, room: float) -> list[Chunk]:
    """All that fits; of a longer document what the question's words stand in, or the beginning where they stand nowhere; in its order."""
    if sum(units(chunk.text) for chunk in chunks) <= room:
        return list(chunks)
    terms = query_terms(question)
    counted = [Counter(terms_of(f"{chunk.headings}\n{chunk.text}")) for chunk in chunks]
    frequencies = {term: sum(term in each for each in counted) for term in terms}
    lengths = [each.total() for each in counted]
    corpus = Corpus(len(chunks), sum(lengths), frequencies)
    candidates = (
        (number, " ".join(each.elements()), lengths[number]) for number, each in enumerate(counted)
    )
    ranked = [number for number, _ in bm25(terms, candidates, corpus)]
    kept: list[int] = []
    for number in ranked or range(len(chunks)):
        room -= units(chunks[number].text)
        if kept and room < 0:
            break
        kept.append(number)
    return [chunks[number] for number in sorted(kept)]
