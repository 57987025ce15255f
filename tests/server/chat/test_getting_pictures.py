"""Pictures: what the first bytes say, and every way to get one (specification B.9, C.6)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from tests.server.drawing import data_uri, png, png_that_claims

from yangfan.egress import Egress
from yangfan.errors import ImageUnreadable, InvalidImage
from yangfan.server.chat import pictures
from yangfan.server.chat.pictures import Pictures, check, decode_base64, read_facts

MAX_BYTES = 4096
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x04ab"
    b"\xff\xff\xc4\x00\x03x"  # a fill byte, and a table that is no frame
    b"\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 30, 40) + b"\x01\x01\x11\x00"
)
GIF = b"GIF89a" + struct.pack("<HH", 40, 30) + b"\0\0\0"
BMP = b"BM" + bytes(12) + struct.pack("<Iii", 40, 40, -30)
OLD_BMP = b"BM" + bytes(12) + struct.pack("<IHH", 12, 40, 30)
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0abc\x9d\x01\x2a" + struct.pack("<HH", 0x4000 | 40, 30)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 39 | 29 << 14)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x27\0\0\x1d\0\0"
FILES = {
    "image/png": (png(40, 30),),
    "image/jpeg": (JPEG,),
    "image/gif": (GIF, GIF.replace(b"89a", b"87a")),
    "image/bmp": (BMP, OLD_BMP),
    "image/webp": (LOSSY, LOSSLESS, EXTENDED),
}
EVERY = [(kind, data) for kind, files in FILES.items() for data in files]


@pytest.mark.parametrize(("media_type", "data"), EVERY)
def test_every_format_tells_its_type_and_size(media_type: str, data: bytes):
    assert read_facts(data) == (media_type, 40, 30)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html><img>",
        b"%PDF-1.7",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\xff\xd8\xff\xd9\x00\x04ab",
        b"\xff\xd8\xff\xe0\x00\x00",
        b"\xff\xd8\xff\xe0\x00\x02ab",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIDAT" + bytes(20),
        b"RIFF\0\0\0\0WEBPVP9 " + bytes(40),
        b"BM" + bytes(40),
    ],
)
def test_anything_else_is_no_picture(data: bytes):
    assert read_facts(data) is None
    with pytest.raises(ImageUnreadable, match=r"image is no picture.*PNG, JPEG"):
        check(data, param="image")


@pytest.mark.parametrize(("width", "height"), [(5, 5), (5999, 5999), (5, 5999)])
def test_sizes_within_the_range_pass(width: int, height: int):
    assert check(png_that_claims(width, height), param="image").facts[1:] == (width, height)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (4, 50), (50, 4), (6000, 50), (20000, 20000), (4, 4)]
)
def test_sizes_beyond_the_range_are_refused_from_the_header_alone(width: int, height: int):
    with pytest.raises(
        InvalidImage, match=f"^the image width and height.* {width} x {height} pixels.*resize"
    ):
        check(png_that_claims(width, height), param="image")


@pytest.mark.parametrize("text", ["AAA", "AAAA=", "AA\nAA", "AA AA", "A-_A", "é===", "data:"])
def test_base64_is_strict(text: str):
    with pytest.raises(ImageUnreadable, match="image is not base64"):
        decode_base64(text, max_bytes=MAX_BYTES, param="image")


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 10 * MAX_BYTES])
def test_base64_of_too_much_is_refused(size: int):
    text = data_uri(bytes(size)).partition(",")[2]
    with pytest.raises(InvalidImage, match=f"image is larger than the {MAX_BYTES} bytes"):
        decode_base64(text, max_bytes=MAX_BYTES, param="image")


# Getting them


@asynccontextmanager
async def web(answer: Callable[[str], bytes | None]) -> AsyncGenerator[str]:
    """Other people's server, on loopback: `answer` gives the whole reply to a path; None never replies."""

    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        reply = answer(head.split()[1].decode())
        if reply is not None:
            writer.write(reply)
        else:
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*filter(None, serving))


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def moved(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def allowing() -> Pictures:
    return Pictures(Egress(allow=["127.0.0.1"]), max_total_bytes=3 * MAX_BYTES)


async def get(*addresses: str, by: Pictures | None = None) -> list[pictures.Picture]:
    named = [(address, f"part {place}") for place, address in enumerate(addresses)]
    return await (by or allowing()).get(named, max_bytes=MAX_BYTES)


async def test_data_uris_and_urls_come_in_order_and_are_fetched_once():
    asked: list[str] = []

    def answer(path: str) -> bytes:
        asked.append(path)
        return moved("/there") if path == "/here" else ok(JPEG)

    async with web(answer) as url:
        found = await get(data_uri(png()), f"{url}/here", f"{url}/here", data_uri(GIF, "image/png"))
    assert [picture.facts.media_type for picture in found] == [
        "image/png",
        "image/jpeg",
        "image/jpeg",
        "image/gif",
    ]
    assert asked == ["/here", "/there"]
    assert found[0].data_uri == data_uri(png())
    assert found[3].data_uri == data_uri(GIF, "image/gif")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (ok(b"<!doctype html>"), "is no picture"),
        (ok(b""), "is no picture"),
        (ok(png() + bytes(MAX_BYTES)), "larger than the 4096 bytes"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered with status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", "could not be read"),
        (moved("http://10.0.0.1/x.png"), "10.0.0.1 is not a public address"),
        (moved("file:///etc/passwd"), "scheme|not fetched"),
    ],
)
async def test_what_is_no_picture_is_refused(reply: bytes, says: str):
    async with web(lambda _: reply) as url:
        with pytest.raises(InvalidImage, match=says):
            await get(f"{url}/x.png")


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "FETCH_SECONDS", 0.05)
    async with web(lambda _: None) as url:
        with pytest.raises(InvalidImage, match=r"part 0: .*did not answer in time"):
            await get(f"{url}/slow.png")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("https://127.0.0.1/x.png", "127.0.0.1 is not a public address"),
        ("https://169.254.169.254/latest/meta-data", "is not a public address"),
        ("http://8.8.8.8/x.png", "plain http"),
        ("ftp://example.com/x.png", "must be an https URL or a data URI"),
        ("/etc/passwd", "must be an https URL or a data URI"),
        ("", "must be an https URL or a data URI"),
        ("https://", "part 0"),
        ("data:image/png;base64", "must be a data URI such as"),
        ("data:image/png,abc", "must be a data URI such as"),
        ("data:image/png;base64,iVBOR", "is not base64"),
    ],
)
async def test_addresses_that_are_none_are_refused(address: str, says: str):
    with pytest.raises(InvalidImage, match=says):
        await get(address, by=Pictures(Egress(), max_total_bytes=MAX_BYTES))


async def test_pictures_are_counted():
    uri = data_uri(png())
    assert len(await get(*[uri] * 16)) == 16
    with pytest.raises(InvalidImage, match="may have 16 pictures, this one has 17"):
        await get(*[uri] * 17)


async def test_pictures_share_the_bytes_of_a_call():
    def padded(place: int) -> str:
        return data_uri(png() + bytes(MAX_BYTES - 200) + bytes([place]))

    assert len(await get(*map(padded, range(3)))) == 3
    with pytest.raises(InvalidImage, match=r"part 3 is larger than the .* bytes that are left"):
        await get(*map(padded, range(4)))
