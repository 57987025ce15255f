"""Files on their way here."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from yangfan.errors import BodyTooLarge, Conflict, Invalid, NotFound
from yangfan.server.models.uploads import LIFETIME_SECONDS, Uploads


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", max_bytes=10)


async def test_a_file_comes_in_pieces_and_goes_on_where_it_stopped(uploads: Uploads) -> None:
    upload = await uploads.create()
    assert await uploads.append(upload, "a/m.gguf", 0, pieces(b"GG", b"U")) == 3
    with pytest.raises(Conflict, match=r"a/m\.gguf has 3 bytes here, not 0; go on from offset=3"):
        await uploads.append(upload, "a/m.gguf", 0, pieces(b"x"))
    assert await uploads.append(upload, "a/m.gguf", 3, pieces(b"F")) == 4
    assert (uploads.folder(upload) / "a/m.gguf").read_bytes() == b"GGUF"
    assert uploads.files(upload) == {"a/m.gguf": 4}


async def test_what_came_before_a_connection_broke_stays(uploads: Uploads) -> None:
    upload = await uploads.create()

    async def broken() -> AsyncIterator[bytes]:
        yield b"GG"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await uploads.append(upload, "m.gguf", 0, broken())
    assert await uploads.append(upload, "m.gguf", 2, pieces(b"UF")) == 4


@pytest.mark.parametrize("path", ["", "../x", "/etc/passwd", "a//b", "a/../b", "C:\\x", "a\n", "."])
async def test_a_path_out_of_the_folder_is_refused(uploads: Uploads, path: str) -> None:
    upload = await uploads.create()
    with pytest.raises(Invalid, match="cannot be stored safely"):
        await uploads.append(upload, path, 0, pieces(b"x"))
    assert uploads.files(upload) == {}


async def test_a_path_below_a_file_is_refused(uploads: Uploads) -> None:
    upload = await uploads.create()
    await uploads.append(upload, "a", 0, pieces(b"x"))
    with pytest.raises(Invalid, match="a/b cannot be a file here"):
        await uploads.append(upload, "a/b", 0, pieces(b"x"))


async def test_more_than_the_limit_is_refused(uploads: Uploads) -> None:
    upload = await uploads.create()
    await uploads.append(upload, "a", 0, pieces(b"12345678"))
    with pytest.raises(BodyTooLarge, match=r"at most 10 bytes \(the setting max_upload_bytes"):
        await uploads.append(upload, "b", 0, pieces(b"12", b"3"))


@pytest.mark.parametrize("upload", ["up-x", "..", "up-" + "0" * 32, "../up-" + "0" * 32])
async def test_an_unknown_upload_is_told(uploads: Uploads, upload: str) -> None:
    with pytest.raises(NotFound, match="there is no upload"):
        await uploads.append(upload, "a", 0, pieces(b"x"))


async def test_two_do_not_write_one_file(uploads: Uploads) -> None:
    upload = await uploads.create()

    async def nested() -> AsyncIterator[bytes]:
        with pytest.raises(Conflict, match="somebody is adding to a of up-"):
            await uploads.append(upload, "a", 0, pieces(b"x"))
        yield b"y"

    assert await uploads.append(upload, "a", 0, nested()) == 1


async def test_an_upload_goes_when_it_is_removed_or_its_time_is_over(tmp_path: Path) -> None:
    now = 1_000_000_000.0
    uploads = Uploads(tmp_path, max_bytes=10, clock=lambda: now)
    old, young, removed = [await uploads.create() for _ in range(3)]
    os.utime(uploads.folder(old), (0, now - LIFETIME_SECONDS - 1))
    await uploads.remove(removed)
    await uploads.start()
    uploads.folder(young)
    for gone in (old, removed):
        with pytest.raises(NotFound):
            uploads.folder(gone)
