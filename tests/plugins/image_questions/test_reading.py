"""Pictures through the process that reads them: what stands in them, and what hostile ones do to it."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import AsyncGenerator

import pytest
from tests.plugins.image_questions.drawn import drawn

from yangfan.errors import ImageUnreadable
from yangfan.plugins.image_questions.layout import told
from yangfan.plugins.image_questions.reader import Reader

pytest.importorskip("rapidocr", reason="yangfan[pictures] is not installed")


@pytest.fixture
async def reader() -> AsyncGenerator[Reader]:
    reader = Reader()
    yield reader
    await reader.aclose()


def png(width: int, height: int, data: bytes | None = None) -> bytes:
    """A PNG of grey pixels whose header says what it says."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = (
        zlib.compress(b"".join(b"\0" + b"\xff" * width for _ in range(height)))
        if data is None
        else data
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


async def test_what_is_drawn_is_read(reader: Reader) -> None:
    """Each kind of picture in each language; `make test-large` reads many more."""
    wrong: list[str] = []
    for each in drawn(10, seed=1):
        page = await reader.read(each.data)
        text = told(page.words, page.chart, chinese=each.language == "zh")
        if not each.is_told(text):
            wrong.append(f"{each.name}: {each.question} {each.answer}\n{text}")
    assert not wrong, "\n".join(wrong)
    assert reader.running


async def test_hostile_pictures_are_refused_and_the_next_one_is_read(reader: Reader) -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (100, 100), 255).save(stream, "GIF")
    bomb = zlib.compress(b"\0" * 50_000_000)
    for data in (
        b"",
        b"\x89PNG\r\n\x1a\n" + os.urandom(100),
        png(60_000, 60_000, bomb),
        png(5_000, 9_000, b"x"),
        png(200, 200, b"not deflated"),
        png(200, 200)[:-200],
        b"\xff\xd8\xff\xe0" + os.urandom(2000),
        b"%!PS-Adobe-3.0\n(secret) run\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    ):
        with pytest.raises(ImageUnreadable, match=r"picture .*; (send|save|make)"):
            await reader.read(data)
    assert (await reader.read(stream.getvalue())).words == []


async def test_a_picture_that_takes_too_long_ends_its_process_only() -> None:
    reader = Reader(seconds=0.001)
    (picture,) = drawn(1, seed=3)
    with pytest.raises(ImageUnreadable, match="longer than"):
        await reader.read(picture.data)
    assert not reader.running
    await reader.aclose()
