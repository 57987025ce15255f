"""Bytes to text: UTF-8, UTF-16 by its mark, else the Chinese encodings (GB 18030 holds GBK and GB 2312)."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 * 1024 * 1024
MAX_STRANGE = 0.01
"""Share of control characters above which a file is no text."""


def text_of(path: Path) -> str:
    """A text file's text, its line ends as newlines.

    Raises:
        Invalid: It is too large, or no text.
    """
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Invalid(f"the text is longer than {MAX_BYTES} bytes; split it into several documents")
    text = _decoded(content).replace("\r\n", "\n").replace("\r", "\n")
    strange = sum(character < " " and character not in "\n\t\f" for character in text)
    if strange > MAX_STRANGE * len(text):
        raise Invalid("the file holds no text; give it the name ending of what it is")
    return text


def _decoded(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Invalid(
        "the text is neither UTF-8, UTF-16 with a byte order mark nor GB 18030; save it as UTF-8"
    )
