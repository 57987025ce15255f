"""HTML: what a reader sees of it, headings and tables kept; scripts, styles, menus and what is hidden left out."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

from yangfan.plugins.knowledge_base.blocks import Block, markdown_table
from yangfan.plugins.knowledge_base.readers._text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEFT_OUT = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "head",
        "nav",
        "iframe",
        "object",
        "select",
        "button",
    }
)
_BREAKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "ul",
    ]
)
_VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "source",
        "track",
        "wbr",
    ]
)


def read(path: Path) -> Iterator[Block]:
    """The blocks of a page."""
    yield from blocks(text_of(path))


def blocks(text: str) -> Iterator[Block]:
    """The blocks of HTML."""
    page = _Page()
    page.feed(text)
    page.close()
    page.end()
    return iter(page.blocks)


class _Page(HTMLParser):
    """Gathers blocks; keeps counts instead of a tree, so depth costs nothing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._text: list[str] = []
        self._heading = 0
        self._left_out = ""
        self._left_out_depth = 0
        self._tables = 0
        self._rows: list[list[str]] = []
        self._cell: list[str] | None = None
        self._cells: list[tuple[list[str], int, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        if self._left_out:
            self._left_out_depth += tag == self._left_out
            return
        if tag in _LEFT_OUT or (tag not in _VOID and ("hidden", None) in attrs):
            self._left_out, self._left_out_depth = tag, 1
        elif tag == "table":
            self._tables += 1
            if self._tables == 1:
                self.end()
        elif self._tables:
            self._in_table(tag)
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self.end()
            self._heading = int(tag[1])
        elif tag in _BREAKS:
            self.end()
            if tag == "li":
                self._text.append("- ")
        elif tag == "br":
            self._text.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if self._left_out:
            self._left_out_depth -= tag == self._left_out
            if self._left_out_depth == 0:
                self._left_out = ""
        elif tag == "table" and self._tables:
            self._tables -= 1
            if self._tables == 0:
                self._end_table()
        elif self._tables:
            if tag in {"td", "th"}:
                self._cell = None
        elif (len(tag) == 2 and tag[0] == "h" and tag[1].isdigit()) or tag in _BREAKS:
            self.end()

    def handle_data(self, data: str) -> None:
        """Text."""
        if self._left_out:
            return
        if not self._tables:
            self._text.append(data)
        elif self._cell is not None:
            self._cell.append(data)

    def end(self) -> None:
        """A block ends here."""
        lines = (" ".join(line.split()) for line in "".join(self._text).split("\n"))
        text = "\n".join(filter(None, lines))
        self._text = []
        if text.strip("- \n"):
            level, self._heading = self._heading, 0
            self.blocks.append(
                Block("heading", " ".join(text.split()), level) if level else Block("text", text)
            )
        elif not text:
            self._heading = self._heading if self._tables == 0 else 0

    def _in_table(self, tag: str) -> None:
        if tag == "tr" or (tag in {"td", "th"} and not self._rows):
            self._rows.append([])
        if tag in {"td", "th"}:
            self._cell = []
            self._rows[-1].append("")
            self._cells.append((self._rows[-1], len(self._rows[-1]) - 1, self._cell))

    def _end_table(self) -> None:
        for row, at, pieces in self._cells:
            row[at] = "".join(pieces)
        rows = [row for row in self._rows if any(cell.strip() for cell in row)]
        if rows:
            self.blocks.append(Block("table", markdown_table(rows)))
        self._cells.clear()
        self._rows = []
        self._cell = None
