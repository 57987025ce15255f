"""Blocks to chunks: pieces of a size that a model of embeddings reads well, cut where the document is.

Headings open a chunk and are told in front of every one below them; sentences are not cut unless one alone is too long; a table that is
too long is cut between rows, each piece with the table's head.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import Invalid
from yangfan.plugins._texts import CJK, LATIN_UNITS, units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from yangfan.plugins.knowledge_base.blocks import Block

_SENTENCE = re.compile(
    r"[^。！？!?；;\n.]*(?:[。！？!?；;\n]+[”’\"'」）)]*|\.(?=\s|$)[\"')]*|\.(?!\s|$)|$)"
)
_CJK = re.compile(f"[{CJK}]")


class Chunking(msgspec.Struct, frozen=True, kw_only=True):
    """How documents are cut.

    Attributes:
        target_units: Length to aim at: Chinese characters, or four times as many Latin ones. 50 to 1200.
        overlap: Share of the end of a chunk that the next one of the same section begins with. 0 to 0.5.

    Raises:
        Invalid: One is out of range.
    """

    target_units: int = 220
    overlap: float = 0.15

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 50 <= self.target_units <= 1200:
            raise Invalid(
                f"a chunk's target length must be from 50 to 1200, got {self.target_units}",
                param="targetLength",
            )
        if not 0 <= self.overlap <= 0.5:
            raise Invalid(
                f"the overlap of chunks must be from 0 to 0.5, got {self.overlap}",
                param="overlapRate",
            )


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a document.

    Attributes:
        text: Its words.
        headings: What stands above it, the outermost first, joined by " > ".
        page: Page, slide or sheet that it begins on, from 1; 0 if there are none.
    """

    text: str
    headings: str = ""
    page: int = 0


def sentences(text: str) -> list[str]:
    """The sentences of a text; joined they are the text."""
    return [found for found in _SENTENCE.findall(text) if found]


def chunked(blocks: Iterable[Block], chunking: Chunking) -> Iterator[Chunk]:
    """The chunks of a document, in order."""
    path: list[tuple[int, str]] = []
    waiting: list[Block] = []
    told = True
    for block in blocks:
        if not block.text.strip():
            continue
        if block.kind != "heading":
            waiting.append(block)
            told = True
            continue
        if waiting:
            yield from _section(waiting, _joined(path), chunking)
            waiting = []
        elif not told and path and block.level <= path[-1][0]:
            yield Chunk(
                path[-1][1], _joined(path[:-1]), block.page
            )  # a heading with nothing below it
        while path and path[-1][0] >= block.level:
            path.pop()
        path.append((block.level, " ".join(block.text.split())))
        told = False
    if waiting:
        yield from _section(waiting, _joined(path), chunking)
    elif not told and path:
        yield Chunk(path[-1][1], _joined(path[:-1]), 0)


def _joined(path: Sequence[tuple[int, str]]) -> str:
    return " > ".join(text for _, text in path)


def _section(blocks: list[Block], headings: str, chunking: Chunking) -> Iterator[Chunk]:
    """The chunks of what stands below one heading."""
    pieces: list[str] = []
    length, page, fresh = 0.0, blocks[0].page, False
    for text, at in _pieces(blocks, chunking):
        size = units(text)
        if fresh and length + size > chunking.target_units:
            yield Chunk("".join(pieces).strip(), headings, page)
            pieces = _tail(pieces, chunking)
            length, page, fresh = sum(map(units, pieces)), at, False
        if not pieces:
            page = at
        pieces.append(text)
        length += size
        fresh = fresh or bool(text.strip())
    if fresh:
        yield Chunk("".join(pieces).strip(), headings, page)


def _pieces(blocks: list[Block], chunking: Chunking) -> Iterator[tuple[str, int]]:
    """What a chunk may be cut between: sentences and rows; each with the page that it stands on."""
    for block in blocks:
        if block.kind == "table":
            for text in _table(block.text, chunking.target_units):
                yield text + "\n\n", block.page
        else:
            for sentence in sentences(block.text.strip() + "\n\n"):
                for text in _cut(sentence, chunking.target_units):
                    yield text, block.page


def _table(text: str, most: int) -> Iterator[str]:
    if units(text) <= most:
        yield text
        return
    lines = text.split("\n")
    head, rows = lines[:2], lines[2:]
    part: list[str] = []
    length = first = sum(map(units, head))
    for row in rows:
        if part and length + units(row) > most:
            yield "\n".join(head + part)
            part, length = [], first
        part.append(row)
        length += units(row)
    yield "\n".join(head + part)


def _cut(sentence: str, most: int) -> Iterator[str]:
    """A sentence; in pieces if it alone is too long."""
    while units(sentence) > most:
        end = most if _CJK.search(sentence[:most]) else min(len(sentence), int(most / LATIN_UNITS))
        space = sentence.rfind(" ", end // 2, end)
        end = space + 1 if space > 0 else end
        if end >= len(sentence):
            break
        yield sentence[:end]
        sentence = sentence[end:]
    if sentence:
        yield sentence


def _tail(pieces: Sequence[str], chunking: Chunking) -> list[str]:
    """The end of a chunk that the next one begins with."""
    most = chunking.target_units * chunking.overlap
    tail: list[str] = []
    for piece in reversed(pieces):
        most -= units(piece)
        if most < 0:
            break
        tail.insert(0, piece)
    return tail
