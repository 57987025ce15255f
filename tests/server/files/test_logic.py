"""`Files` on SQLite and on PostgreSQL: a cap on size, a content kept once while many send it, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from yangfan.errors import BodyTooLarge, NotFound
from yangfan.server.db import Database
from yangfan.server.files import Files
from yangfan.server.files.store import FileStore

KIND = b"multipart/form-data; boundary=bound"


@pytest.fixture(name="files")
async def files_fixture(database_target: Path | str, tmp_path: Path) -> AsyncGenerator[Files]:
    database = Database(database_target)
    await database.migrate()
    yield Files(FileStore(database), tmp_path / "files", max_file_bytes=1000)
    await database.close()


async def sent(content: bytes, step: int = 7) -> AsyncIterator[bytes]:
    """A form in small pieces."""
    body = (
        b'--bound\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + content
        + b"\r\n--bound--\r\n"
    )
    for start in range(0, len(body), step):
        yield body[start : start + step]


async def test_what_looks_like_the_end_of_the_form_is_content(files: Files):
    content = b"\r\n--boun\r\n--bound\x00--\r\n\r"
    file = await files.upload("app", KIND, sent(content, step=1))
    assert files.content(file.sha256).read_bytes() == content


async def test_file_that_is_too_large_is_refused_and_leaves_nothing(files: Files, tmp_path: Path):
    with pytest.raises(BodyTooLarge, match="larger than 1000 bytes; send it in parts"):
        await files.upload("app", KIND, sent(b"x" * 1001))
    assert list((tmp_path / "files").iterdir()) == []
    assert (await files.upload("app", KIND, sent(b"x" * 1000))).size_bytes == 1000


async def test_content_is_kept_once_and_as_long_as_somebody_has_it(files: Files):
    made = await asyncio.gather(*(files.upload("app", KIND, sent(b"same")) for _ in range(5)))
    path = files.content(made[0].sha256)
    assert len({file.id for file in made}) == 5
    for file in made:
        assert path.exists()
        await files.delete(file.id, "app")
    assert not path.exists()
    with pytest.raises(NotFound, match="GET /v2/files lists"):
        await files.get(made[0].id, "app")


async def test_files_of_others_are_not_there(files: Files):
    file = await files.upload("one", KIND, sent(b"x"))
    with pytest.raises(NotFound, match="no file"):
        await files.delete(file.id, "two")
    assert await files.page("two", None, None, 10, newest_first=True) == ([], False)
