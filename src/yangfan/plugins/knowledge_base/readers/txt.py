"""Plain text: paragraphs at empty lines; numbered chapters and sections are headings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yangfan.plugins.knowledge_base.blocks import Block
from yangfan.plugins.knowledge_base.readers._text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_HEADING_CHARS = 60
_CHAPTER = re.compile(
    r"(?:第[一二三四五六七八九十百零〇\d]+([编篇部章节])|(?:chapter|part)\s+\w+)(?:[\s:：、.].*)?$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(\d+(?:\.\d+){0,4})[.、]?\s+\S")
_LISTED = re.compile(r"[一二三四五六七八九十]{1,3}、\S")
_ENDS = tuple("。！？；;!?,，…")
_LEVELS = {"编": 1, "篇": 1, "部": 1, "章": 1, "节": 2}


def read(path: Path) -> Iterator[Block]:
    """The blocks of a text file."""
    yield from blocks(text_of(path))


def blocks(text: str, page: int = 0) -> Iterator[Block]:
    """The blocks of a text."""
    paragraph: list[str] = []
    for line in [*text.split("\n"), ""]:
        stripped = line.strip()
        level = heading_level(stripped)
        if (not stripped or level) and paragraph:
            yield Block("text", "\n".join(paragraph), 0, page)
            paragraph = []
        if level:
            yield Block("heading", stripped, level, page)
        elif stripped:
            paragraph.append(stripped)


def heading_level(line: str) -> int:
    """Level of a line that is a heading by its number and its shape; 0 if it is none."""
    if not line or len(line) > MAX_HEADING_CHARS or line.endswith(_ENDS):
        return 0
    if match := _CHAPTER.match(line):
        return _LEVELS.get(match[1] or "章", 1)
    if (match := _NUMBERED.match(line)) and not line.endswith("."):
        return match[1].count(".") + 1
    return 2 if _LISTED.match(line) else 0
