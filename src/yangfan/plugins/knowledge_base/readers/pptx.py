"""Presentations (ECMA-376, PresentationML): slides in their order, their titles as headings, tables and notes."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.blocks import Block, markdown_table
from yangfan.plugins.knowledge_base.readers._zip import Package, attribute, child, children, local

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read(path: Path) -> Iterator[Block]:
    """The blocks of all slides; a slide is a page.

    Raises:
        Invalid: It is no presentation.
    """
    with Package(path) as package:
        presentation = package.tree("ppt/presentation.xml")
        if presentation is None:
            raise Invalid("the file is no presentation: it has no ppt/presentation.xml")
        related = _related(package, "ppt/presentation.xml")
        ids = child(presentation, "sldIdLst")
        for number, slide in enumerate(() if ids is None else ids, 1):
            name = related.get(_relation(slide), ("", ""))[1]
            tree = package.tree(name)
            if tree is not None:
                yield from _slide(tree, number)
                yield from _notes(package, name, number)


def _relation(slide: Any) -> str:
    return next((str(v) for k, v in slide.attrib.items() if str(k).endswith("}id")), "")


def _related(package: Package, name: str) -> dict[str, tuple[str, str]]:
    """Relations of a part: id to kind and name of the other part."""
    folder, file = posixpath.split(name)
    tree = package.tree(f"{folder}/_rels/{file}.rels")
    return {
        attribute(item, "Id"): (
            attribute(item, "Type").rpartition("/")[2],
            posixpath.normpath(posixpath.join(folder, attribute(item, "Target"))).lstrip("/"),
        )
        for item in (() if tree is None else tree)
    }


def _slide(tree: Any, number: int) -> Iterator[Block]:
    for shape in tree.iter():
        name = local(shape.tag)
        if name == "sp":
            text = _paragraphs(shape)
            if text:
                placeholder = next((item for item in shape.iter() if local(item.tag) == "ph"), None)
                title = attribute(placeholder, "type") in {"title", "ctrTitle"}
                yield (
                    Block("heading", " ".join(text.split()), 1, number)
                    if title
                    else Block("text", text, 0, number)
                )
        elif name == "tbl":
            rows = [
                [_paragraphs(cell) for cell in children(row, "tc")] for row in children(shape, "tr")
            ]
            if any(any(row) for row in rows):
                yield Block("table", markdown_table(rows), 0, number)


def _notes(package: Package, name: str, number: int) -> Iterator[Block]:
    for kind, other in _related(package, name).values():
        if kind == "notesSlide" and (tree := package.tree(other)) is not None:
            for shape in tree.iter():
                if local(shape.tag) == "sp":
                    placeholder = next((i for i in shape.iter() if local(i.tag) == "ph"), None)
                    if attribute(placeholder, "type") == "body" and (text := _paragraphs(shape)):
                        yield Block("text", text, 0, number)


def _paragraphs(element: Any) -> str:
    lines = (
        "".join(item.text or "" for item in paragraph.iter() if local(item.tag) == "t").strip()
        for paragraph in element.iter()
        if local(paragraph.tag) == "p"
    )
    return "\n".join(filter(None, lines))
