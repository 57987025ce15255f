"""Which encoding a text file has, and how its lines become text.

A byte order mark decides. Without one, zero bytes at every other place mean UTF-16; otherwise the lines that are not plain ASCII
are tried as UTF-8 and as GB18030 (of which GBK and GB 2312 are parts), and the better one wins: UTF-8 where both fit, for Chinese
in UTF-8 is often, by accident, GB18030 as well, and the other way round it hardly ever is. Lines of the other encoding are bad
rows then, not guesses.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, BinaryIO, Final

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES: Final = 1 << 20
EVIDENCE_BYTES: Final = 1 << 18
"""So many bytes of lines that are not ASCII settle it."""

NAMES: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-8-sig": "utf-8",
    "ascii": "utf-8",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "gb18030": "gb18030",
    "cp936": "gb18030",
    "utf-16": "utf-16",
    "utf16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "utf-16be": "utf-16-be",
}
"""What people call them, and what they are here."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def named(name: str) -> str:
    """The encoding of a name.

    Raises:
        ConfigurationError: It is none of those that are read here.
    """
    found = NAMES.get(name.strip().lower().replace("_", "-"))
    if found is None:
        raise ConfigurationError(
            f"the encoding {name[:40]!r} is not read here; there are: utf-8, gbk, gb18030, utf-16, or none to have it found out"
        )
    return found


def detect(file: Path) -> str:
    """The encoding of a file: utf-8, gb18030, utf-16-le or utf-16-be. Of a file of plain ASCII every byte is read."""
    with file.open("rb") as opened:
        head = opened.read(CHUNK_BYTES)
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        if zeros := _zeros(head):
            return zeros
        return _by_lines(opened, head)


def mark_bytes(file: Path) -> int:
    """Bytes of the byte order mark that a file begins with; 0 without one."""
    with file.open("rb") as opened:
        head = opened.read(3)
    return next((len(mark) for mark, _ in _MARKS if head.startswith(mark)), 0)


def _zeros(head: bytes) -> str | None:
    """UTF-16 without a mark: much of its text has a zero in one half of each unit, and always the same half."""
    sample = head[: 1 << 14]
    if len(sample) < 4:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    few, many, half = min(even, odd), max(even, odd), len(sample) // 2
    if many * 50 < half or few * 20 > many:
        return None
    # A text that is all Chinese has its line ends and spaces left to show it; a few stray zeros are no encoding.
    ends = sample.count(b"\n\0" if odd > even else b"\0\n")
    if ends * 4 < sample.count(b"\n") * 3 or (not ends and many * 3 < half):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _by_lines(opened: BinaryIO, head: bytes) -> str:
    """The encoding that more bytes of the lines beyond ASCII are in."""
    as_utf8 = as_gb18030 = seen = 0
    rest, chunk = b"", head
    while chunk and seen < EVIDENCE_BYTES:
        if chunk.isascii() and not rest:
            chunk = opened.read(CHUNK_BYTES)
            continue
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()[-CHUNK_BYTES:]
        for line in lines:
            if line.isascii():
                continue
            seen += len(line)
            if _is(line, "utf-8"):
                as_utf8 += len(line)
            elif _is(line, "gb18030"):
                as_gb18030 += len(line)
            if seen >= EVIDENCE_BYTES:
                break
        chunk = opened.read(CHUNK_BYTES)
    if not seen and rest and not rest.isascii():
        # One line without an end; the last character may be cut.
        return "utf-8" if _is_begun(rest, "utf-8") or not _is_begun(rest, "gb18030") else "gb18030"
    return "gb18030" if as_gb18030 > as_utf8 else "utf-8"


def _is(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_begun(line: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(line)
    except UnicodeDecodeError:
        return False
    return True


def to_utf8(file: Path, encoding: str, out: Path) -> None:
    """Write a UTF-16 file as UTF-8. What is no UTF-16 stays no UTF-8, so that its row is refused and not changed."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    with file.open("rb") as source, out.open("wb") as target:
        source.seek(mark_bytes(file))
        while chunk := source.read(CHUNK_BYTES):
            target.write(decoder.decode(chunk).encode("utf-8", "surrogatepass"))
        left = decoder.getstate()[0]
        if left:
            target.write(b"\xff")
