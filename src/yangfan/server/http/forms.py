"""Bodies in multipart/form-data (RFC 7578), as JSON: for calls that some clients send as forms, with files in them."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import MalformedArgument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FORM = re.compile(rb'multipart/form-data\s*;.*?boundary="?([^";,\s]{1,70})"?', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="([^"\r\n]*)"')
_FILE = re.compile(rb"[;\s]filename\*?=")
MAX_PARTS = 64
MAX_HEAD_BYTES = 4096


def json_of_form(body: bytes, scope: Mapping[str, Any], numbers: Mapping[str, type]) -> bytes:
    """The body as JSON: a form's texts as they are, its files as data URIs; any other body unchanged.

    A name that comes twice, or ends in ``[]``, becomes a list.

    Args:
        body: As it came.
        scope: Of the request; its Content-Type says whether it is a form.
        numbers: Fields that are no texts, and what they are: int or float.

    Raises:
        MalformedArgument: The form is broken, or a number in it is none.
    """
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    found = _FORM.match(kind)
    if found is None:
        return body
    fields: dict[str, Any] = {}
    for name, value in _parts(body, found[1]):
        base, given = name.removesuffix("[]"), _typed(name, value, numbers)
        if base in fields or name != base:
            before = fields.get(base, [])
            fields[base] = [*(before if isinstance(before, list) else [before]), given]
        else:
            fields[base] = given
    return msgspec.json.encode(fields)


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes | str]]:
    """Names and contents: bytes of files, text of what is no file."""
    sign = b"--" + boundary
    first, *parts = (b"\r\n" + body).split(b"\r\n" + sign, MAX_PARTS + 1)
    if first.strip() or not parts or not parts[-1].startswith(b"--"):
        raise MalformedArgument(
            f"the form is broken: it must begin and end with its boundary, and have at most {MAX_PARTS} parts"
        )
    for part in parts[:-1]:
        head, line, content = part.partition(b"\r\n\r\n")
        named = _NAME.search(head)
        if not line or named is None or len(head) > MAX_HEAD_BYTES:
            raise MalformedArgument(
                "the form is broken: a part has no Content-Disposition with a name"
            )
        name = named[1].decode("utf-8", "replace")
        yield name, content if _FILE.search(head) else content.decode("utf-8", "replace")


def _typed(name: str, value: bytes | str, numbers: Mapping[str, type]) -> Any:
    if isinstance(value, bytes):
        return f"data:application/octet-stream;base64,{base64.b64encode(value).decode('ascii')}"
    kind = numbers.get(name)
    if kind is None:
        return value
    try:
        return kind(value)
    except ValueError:
        raise MalformedArgument(
            f"`{name}`: expected `{kind.__name__}`, got {value[:32]!r}", param=name
        ) from None
