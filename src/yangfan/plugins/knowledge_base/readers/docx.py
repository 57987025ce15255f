"""Word documents (ECMA-376, WordprocessingML): paragraphs, headings by style or outline level, tables, in the order of the body."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.blocks import Block, markdown_table
from yangfan.plugins.knowledge_base.readers._zip import Package, attribute, child, children, local

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_HEADING = re.compile(r"(?:heading|标题)\s*([1-9])", re.IGNORECASE)
_TITLES = {"title": 1, "标题": 1, "subtitle": 2, "副标题": 2}
_TABS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_DROPPED = {"del", "instrText", "delText"}


def read(path: Path) -> Iterator[Block]:
    """The blocks of the body.

    Raises:
        Invalid: It is no Word document.
    """
    with Package(path) as package:
        document = package.tree("word/document.xml")
        body = child(document, "body")
        if body is None:
            raise Invalid("the file is no Word document: it has no word/document.xml with a body")
        yield from _blocks(body, _levels(package.tree("word/styles.xml")))


def _blocks(parent: Any, levels: Mapping[str, int]) -> Iterator[Block]:
    for element in parent:
        name = local(element.tag)
        if name == "p":
            text = _text(element).strip()
            if not text:
                continue
            level = _level(element, levels)
            yield Block("heading", text, level) if level else Block("text", text)
        elif name == "tbl":
            rows = [
                [
                    " ".join(
                        filter(None, (_text(p).strip() for p in cell.iter() if local(p.tag) == "p"))
                    )
                    for cell in children(row, "tc")
                ]
                for row in children(element, "tr")
            ]
            if any(any(row) for row in rows):
                yield Block("table", markdown_table(rows))
        elif name in {"sdt", "sdtContent", "ins", "customXml"}:
            yield from _blocks(element, levels)


def _levels(styles: Any) -> dict[str, int]:
    """Style ids of headings, and their levels."""
    found: dict[str, int] = {}
    for style in () if styles is None else children(styles, "style"):
        id = attribute(style, "styleId")
        name = attribute(child(style, "name"), "val")
        outline = attribute(child(child(style, "pPr"), "outlineLvl"), "val")
        match = _HEADING.fullmatch(name.strip()) or _HEADING.fullmatch(id)
        if match:
            found[id] = int(match[1])
        elif name.casefold() in _TITLES:
            found[id] = _TITLES[name.casefold()]
        elif outline.isdigit() and int(outline) < 9:
            found[id] = int(outline) + 1
    return found


def _level(paragraph: Any, levels: Mapping[str, int]) -> int:
    properties = child(paragraph, "pPr")
    outline = attribute(child(properties, "outlineLvl"), "val")
    if outline.isdigit() and int(outline) < 9:
        return int(outline) + 1
    style = attribute(child(properties, "pStyle"), "val")
    match = _HEADING.fullmatch(style)
    return levels.get(style) or (int(match[1]) if match else 0)


def _text(element: Any) -> str:
    pieces: list[str] = []
    _gather(element, pieces)
    return "".join(pieces)


def _gather(element: Any, pieces: list[str]) -> None:
    for item in element:
        name = local(item.tag)
        if name in _DROPPED:
            continue
        if name == "t":
            pieces.append(item.text or "")
        elif name in _TABS:
            pieces.append(_TABS[name])
        else:
            _gather(item, pieces)
