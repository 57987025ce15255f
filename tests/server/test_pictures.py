"""Sizes of pictures from their headers, against files that Pillow wrote and against broken ones."""

from __future__ import annotations

import base64
import io
import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from yangfan.egress import Egress
from yangfan.errors import Invalid
from yangfan.server import pictures

EGRESS = Egress()


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3)
    return (
        b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xfe\x00\x03c\xff\xc2"
        + struct.pack(">H", 2 + len(frame))
        + frame
    )


FILES = {
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 300, 200),
    "gif": b"GIF89a" + struct.pack("<HH", 300, 200),
    "jpeg": jpeg(300, 200),
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 300, -200),
    "webp": b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0"
    + struct.pack("<HBHB", 299, 0, 199, 0),
    "ico": b"\0\0\1\0\1\0"
    + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 40, 22)
    + struct.pack("<Iii", 40, 300, 400),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_every_format_is_measured(kind: str):
    assert pictures.measure(FILES[kind]) == (kind, 300, 200)


@pytest.mark.parametrize("kind", FILES)
def test_a_header_cut_anywhere_is_refused(kind: str):
    for length in range(len(FILES[kind]) - 1):
        with pytest.raises(Invalid):
            pictures.measure(FILES[kind][:length])


def test_broken_headers_end_in_a_refusal_or_a_size():
    dice = random.Random(4)
    for _ in range(3000):
        data = bytearray(FILES[dice.choice(sorted(FILES))] + bytes(20))
        for _ in range(3):
            data[dice.randrange(len(data))] = dice.randrange(256)
        with suppress(Invalid):  # any other exception fails the test
            assert pictures.measure(bytes(data)).width > 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "ICO"])
def test_files_of_pillow_are_measured(kind: str):
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.new("RGB", (200, 144), (1, 2, 3)).save(file, kind)
    found = pictures.measure(file.getvalue())
    assert found.format == kind.lower()
    assert (found.width, found.height) == (200, 144) or kind == "ICO"


async def test_a_data_uri_is_decoded(tmp_path: Path):
    uri = f"data:image/png;base64,{base64.b64encode(FILES['png']).decode()}"
    assert await pictures.load(uri, EGRESS, max_bytes=100) == FILES["png"]
    with pytest.raises(Invalid, match="larger than 10 bytes"):
        await pictures.load(uri, EGRESS, max_bytes=10)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("data:image/png;base64,@@@@", "base64 is broken"),
        ("data:image/png,abc", "not of the form"),
        ("file:///etc/passwd", "neither an https URL nor a data URI"),
        ("https://127.0.0.1/a.png", "not a public address"),
        ("http://169.254.169.254/latest", "not a public address"),
    ],
)
async def test_what_cannot_be_loaded_is_refused_with_its_reason(reference: str, says: str):
    with pytest.raises(Invalid, match=says):
        await pictures.load(reference, EGRESS, max_bytes=100)
