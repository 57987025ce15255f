"""Pictures that callers send: fetched or decoded from a data URI, and measured before anything opens them.

The sizes come from the headers alone, read with bounds: a picture that claims to be huge is refused before a decoder allocates for
it. Formats: PNG (https://www.w3.org/TR/png), JPEG (ITU-T T.81), GIF89a, WebP (RFC 9649), BMP and ICO.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING, Literal, NamedTuple

from yangfan.errors import FetchError, Invalid

if TYPE_CHECKING:
    from yangfan.egress import Egress

Format = Literal["png", "jpeg", "gif", "webp", "bmp", "ico"]

FETCH_TIMEOUT_SECONDS = 20.0
MAX_ICONS = 64
"""Pictures of one .ico file that are looked at."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length."""


class Picture(NamedTuple):
    """What a header says; sizes in pixels, of the largest picture where a file holds several."""

    format: Format
    width: int
    height: int


async def load(reference: str, egress: Egress, *, max_bytes: int) -> bytes:
    """The bytes behind an https URL (fetched through the guard) or a data URI in base64.

    Raises:
        Invalid: Neither of the two, too large, or not to be had; the message says which.
    """
    if reference[:5].lower() == "data:":
        return _of_data_uri(reference, max_bytes)
    if reference[:8].lower() != "https://" and reference[:7].lower() != "http://":
        raise Invalid("it is neither an https URL nor a data URI such as data:image/png;base64,…")
    try:
        async with egress.open(
            reference, max_bytes=max_bytes, timeout_seconds=FETCH_TIMEOUT_SECONDS
        ) as response:
            if response.status != 200:
                raise Invalid(f"{response.name} answered with HTTP status {response.status}")
            return await response.read()
    except FetchError as error:
        raise Invalid(error.message) from None


def measure(data: bytes) -> Picture:
    """Format and size of a picture.

    Raises:
        Invalid: It is none of the formats, or its header is broken or cut.
    """
    try:
        found = _measure(data)
    except (struct.error, IndexError):
        raise Invalid("the picture's header is cut short; send the whole file") from None
    if found is None:
        raise Invalid("it is no picture in PNG, JPEG, GIF, WebP, BMP or ICO")
    if found.width < 1 or found.height < 1:
        raise Invalid("the picture's header says that it has no pixels")
    return found


def _of_data_uri(reference: str, max_bytes: int) -> bytes:
    head, comma, body = reference.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise Invalid("the data URI is not of the form data:image/png;base64,…")
    if len(body) > max_bytes // 3 * 4 + 4:
        raise Invalid(f"the picture is larger than {max_bytes} bytes")
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("the data URI's base64 is broken") from None
    if len(data) > max_bytes:
        raise Invalid(f"the picture is larger than {max_bytes} bytes")
    return data


def _measure(data: bytes) -> Picture | None:  # noqa: PLR0911 - one line for each format
    if data.startswith(_PNG):
        return _png(data, 0)
    if data[:6] in {b"GIF87a", b"GIF89a"}:
        return Picture("gif", *struct.unpack_from("<HH", data, 6))
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(b"BM"):
        return Picture("bmp", *_dib(data, 14))
    if data[:4] == b"\0\0\1\0":
        return _ico(data)
    return None


def _png(data: bytes, at: int) -> Picture:
    if data[at + 12 : at + 16] != b"IHDR":
        raise Invalid("the PNG does not begin with its header")
    return Picture("png", *struct.unpack_from(">II", data, at + 16))


def _jpeg(data: bytes) -> Picture:
    at = 2
    while True:
        if data[at] != 0xFF:
            raise Invalid("the JPEG has no marker where one must be")
        marker = data[at + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Picture("jpeg", width, height)
        if length < 2 or marker in {0xD9, 0xDA}:
            raise Invalid("the JPEG has no header with its size")
        at += 2 + length


def _webp(data: bytes) -> Picture:
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise Invalid("the WebP has no start code")
        width, height = struct.unpack_from("<HH", data, 26)
        return Picture("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Picture("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        width, width_high, height, height_high = struct.unpack_from("<HBHB", data, 24)
        return Picture("webp", (width | width_high << 16) + 1, (height | height_high << 16) + 1)
    raise Invalid("the WebP holds no picture")


def _dib(data: bytes, at: int) -> tuple[int, int]:
    (size,) = struct.unpack_from("<I", data, at)
    if size == 12:
        width, height = struct.unpack_from("<HH", data, at + 4)
    else:
        width, height = struct.unpack_from("<ii", data, at + 4)
    return width, abs(height)


def _ico(data: bytes) -> Picture:
    """The directory holds one byte for a side, so what it points to is asked as well."""
    (count,) = struct.unpack_from("<H", data, 4)
    if not 1 <= count <= MAX_ICONS:
        raise Invalid(f"the ICO holds {count} pictures; 1 to {MAX_ICONS} are read")
    found: list[tuple[int, int]] = []
    for index in range(count):
        *_, at = struct.unpack_from("<BBBBHHII", data, 6 + 16 * index)
        if data[at : at + 8] == _PNG:
            found.append(_png(data, at)[1:])
        else:
            width, height = _dib(data, at)
            found.append((width, height // 2))  # colours above, mask below
    width, height = max(found, key=lambda size: size[0] * size[1])
    return Picture("ico", width, height)
