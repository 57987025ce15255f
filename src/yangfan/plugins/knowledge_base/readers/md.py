"""Markdown: headings of both kinds, tables, code and paragraphs, as they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yangfan.plugins.knowledge_base.blocks import Block
from yangfan.plugins.knowledge_base.readers._text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")


def read(path: Path) -> Iterator[Block]:
    """The blocks of a Markdown file; front matter is left out."""
    yield from blocks(text_of(path))


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a Markdown text."""
    lines = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).split("\n")
    paragraph: list[str] = []
    fence = ""
    for at, line in enumerate([*lines, ""]):
        if fence:
            paragraph.append(line)
            if line.strip().startswith(fence):
                fence = ""
            continue
        if match := _FENCE.match(line):
            fence = match[1]
            paragraph.append(line)
            continue
        heading = _HEADING.match(line)
        if paragraph and len(paragraph) == 1 and _UNDERLINE.match(line) and "|" not in paragraph[0]:
            yield Block("heading", paragraph.pop().strip(), 1 if line.strip()[0] == "=" else 2)
            continue
        begins_table = (
            "|" in line
            and at + 1 < len(lines)
            and "|" in lines[at + 1]
            and _RULE.match(lines[at + 1])
        )
        if paragraph and (heading or not line.strip() or begins_table):
            yield _block(paragraph)
            paragraph = []
        if heading:
            if heading[2]:
                yield Block("heading", heading[2], len(heading[1]))
        elif line.strip():
            paragraph.append(line.rstrip())
    if paragraph:
        yield _block(paragraph)


def _block(lines: list[str]) -> Block:
    if len(lines) > 1 and "|" in lines[0] and _RULE.match(lines[1]):
        return Block("table", "\n".join(lines))
    return Block("text", "\n".join(lines))
