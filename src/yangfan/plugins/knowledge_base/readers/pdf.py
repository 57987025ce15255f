"""PDF: the text of each page in reading order, by PDFium; lines larger than the rest are headings.

Text that is only a picture (a scan) is not read here; the caller is told so and can have it read by OCR.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.plugins._texts import units
from yangfan.plugins.knowledge_base.blocks import Block
from yangfan.plugins.knowledge_base.readers.txt import MAX_HEADING_CHARS, heading_level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_PAGES = 5000
HYPHEN = "\ufffe"
"""What PDFium makes of a hyphen at the end of a line, within a word."""

HEADING_RATIO = 1.15
"""A line so much larger than the text of the document is a heading."""


def read(path: Path) -> Iterator[Block]:
    """The blocks of all pages.

    Raises:
        Invalid: It is no PDF, is encrypted, or has no text.
    """
    import pypdfium2  # pyright: ignore[reportMissingTypeStubs]

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise Invalid(
            f"the file is no PDF that can be read: {error}; print it to a new PDF without a password"
        ) from None
    with contextlib.closing(document):
        if len(document) > MAX_PAGES:
            raise Invalid(
                f"the PDF has {len(document)} pages; at most {MAX_PAGES} are read, split it"
            )
        pages = [list(_lines(document, number)) for number in range(len(document))]
    sizes = Counter[float]()
    for lines in pages:
        for text, size in lines:
            sizes[size] += len(text)
    if not sizes:
        raise Invalid("the PDF has no text, only pictures; run it through OCR first")
    body = sizes.most_common(1)[0][0]
    larger = sorted((size for size in sizes if size > body * HEADING_RATIO), reverse=True)
    for number, lines in enumerate(pages, 1):
        yield from _page(lines, number, larger)


def _page(lines: list[tuple[str, float]], number: int, larger: list[float]) -> Iterator[Block]:
    paragraph = ""
    for text, size in lines:
        level = (
            min(larger.index(size) + 1, 6)
            if size in larger and len(text) <= MAX_HEADING_CHARS * 2
            else heading_level(text)
        )
        if level or not text:
            if paragraph:
                yield Block("text", paragraph, 0, number)
            paragraph = ""
            if level:
                yield Block("heading", text, level, number)
        else:
            paragraph = _joined(paragraph, text)
    if paragraph:
        yield Block("text", paragraph, 0, number)


def _joined(paragraph: str, line: str) -> str:
    """Lines of a paragraph were broken by the page, not by the writer."""
    if not paragraph:
        return line
    if paragraph.endswith("-") and line[:1].islower():
        return paragraph[:-1] + line
    chinese = units(paragraph[-1]) == 1 and units(line[0]) == 1
    return paragraph + ("" if chinese else " ") + line


def _lines(document: Any, number: int) -> Iterator[tuple[str, float]]:
    """Lines of a page with their height in points, rounded; empty ones where a gap is."""
    page = document[number]
    with contextlib.closing(page):
        text_page = page.get_textpage()
        with contextlib.closing(text_page):
            text = text_page.get_text_range()
            at, bottom = 0, None
            for line in text.split("\n"):
                stripped = line.strip()
                if stripped:
                    place = at + len(line) - len(line.lstrip())
                    box = (
                        text_page.get_charbox(place, loose=True)
                        if place < text_page.count_chars()
                        else (0, 0, 0, 0)
                    )
                    size = round(box[3] - box[1], 0)
                    if bottom is not None and size and bottom - box[3] > size * 0.9:
                        yield "", 0.0
                    bottom = box[1] if size else bottom
                    yield " ".join(stripped.replace(HYPHEN, "").split()), size
                at += len(line) + 1
