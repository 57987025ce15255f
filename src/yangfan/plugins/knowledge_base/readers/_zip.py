"""Zipped XML (Office Open XML) without its dangers: no entity, no member that unpacks to a flood, nothing ever written."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_MEMBER_BYTES = 64 * 1024 * 1024
MAX_TOTAL_BYTES = 256 * 1024 * 1024
MAX_RATIO = 200
MAX_DEPTH = 200
MAX_MEMBERS = 20_000


class Package:
    """An Office file: members by name, as trees of XML.

    Raises:
        Invalid: It is no such file, is encrypted, or is made to flood whoever opens it.
    """

    def __init__(self, path: Path) -> None:
        """Open it; `close` when done, or use it in a `with` block."""
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise Invalid(
                f"the file is no Office document: {error}; save it again as .docx, .pptx or .xlsx"
            ) from None
        self._left = MAX_TOTAL_BYTES
        members = self._zip.infolist()
        if len(members) > MAX_MEMBERS:
            raise Invalid(f"the document has {len(members)} parts; at most {MAX_MEMBERS} are read")
        self.names = {member.filename for member in members}
        for member in members:
            if member.flag_bits & 1:
                raise Invalid("the document is encrypted; save it without a password")

    def __enter__(self) -> Package:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._zip.close()

    def tree(self, name: str) -> Any:
        """A member as an element tree; None if there is none of that name.

        Raises:
            Invalid: It is no XML, has entities, or is too large.
        """
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring

        if name not in self.names:
            return None
        try:
            tree = fromstring(self._content(name), forbid_dtd=True)
        except DefusedXmlException:
            raise Invalid(f"{name} in the document declares entities, which are not read") from None
        except (ParseError, ValueError, RecursionError) as error:
            raise Invalid(f"{name} in the document is broken: {error}; save it again") from None
        if _depth(tree) > MAX_DEPTH:
            raise Invalid(f"{name} in the document is nested deeper than {MAX_DEPTH} levels")
        return tree

    def _content(self, name: str) -> bytes:
        member = self._zip.getinfo(name)
        most = min(MAX_MEMBER_BYTES, self._left, MAX_RATIO * max(member.compress_size, 4096))
        try:
            with self._zip.open(member) as stream:
                content = stream.read(most + 1)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise Invalid(f"{name} in the document is broken: {error}; save it again") from None
        if len(content) > most:
            raise Invalid(
                f"{name} in the document unpacks to more than {most} bytes; it is not read"
            )
        self._left -= len(content)
        return content


def _depth(tree: Any) -> int:
    depth, level = 0, [tree]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return depth
        level = [child for element in level for child in element]
    return depth


def local(tag: Any) -> str:
    """The name of an element without its namespace."""
    return str(tag).rpartition("}")[2]


def children(element: Any, name: str) -> Iterator[Any]:
    """Children of that local name."""
    return (child for child in element if local(child.tag) == name)


def child(element: Any, name: str) -> Any:
    """The first child of that local name, or None."""
    return None if element is None else next(children(element, name), None)


def attribute(element: Any, name: str) -> str:
    """An attribute by its local name; "" if there is none."""
    if element is not None:
        for key, value in element.attrib.items():
            if local(key) == name:
                return str(value)
    return ""
