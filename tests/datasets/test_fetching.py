"""Files from paths, URLs and stores: continued where they were cut, refused where the guard says so."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from tests.hub.s3_server import Store
from tests.hub.s3_server import serving as storing

from yangfan.datasets.fetching import File, fetch
from yangfan.egress import Egress
from yangfan.errors import ConfigurationError, EgressDenied, FetchError, SourceUnavailable
from yangfan.hub.sources.base import HubSettings

CONTENT = b"".join(b'{"prompt": "%d"}\n' % number for number in range(20_000))
LOCAL = Egress(allow=("127.0.0.1",))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cuts: ClassVar[list[int]] = []
    asked: ClassVar[list[str]] = []
    etag: ClassVar[str] = '"one"'

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("ETag", self.etag)
        self.end_headers()

    def do_GET(self) -> None:
        begin = 0
        self.asked.append(self.headers.get("Range", ""))
        if asked := self.headers.get("Range"):
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        content = CONTENT[begin:]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.cuts:
            self.wfile.write(content[: self.cuts.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(content)


@contextmanager
def web() -> Generator[str]:
    _Handler.cuts, _Handler.asked = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def bring(
    source: str, folder: Path, egress: Egress = LOCAL, store: Store | None = None
) -> list[File]:
    settings = HubSettings(retry_seconds=0.01)
    if store is not None:
        settings = HubSettings(retry_seconds=0.01, s3=store.settings)

    def tell(done: float, total: float | None, unit: str, note: str) -> None:
        assert unit == "bytes"
        assert done <= (total or done)

    return await fetch(source, folder, egress=egress, settings=settings, tell=tell)


async def test_a_file_of_this_machine_is_read_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(CONTENT)
    assert await bring(f"file:{file}", tmp_path) == [File("a.jsonl", file)]
    with pytest.raises(ConfigurationError, match="there is no file"):
        await bring(f"file:{tmp_path}/none", tmp_path)


async def test_a_download_that_is_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    with web() as url:
        _Handler.cuts = [1000, 70_000]
        (file,) = await bring(f"{url}/share/data.zip?token=secret", tmp_path)
        assert file.name == "data.zip"
        assert file.path.read_bytes() == CONTENT
        assert _Handler.asked == ["", "bytes=1000-", "bytes=71000-"]


async def test_a_second_attempt_goes_on_behind_the_first(tmp_path: Path) -> None:
    with web() as url:
        (file,) = await bring(f"{url}/a.jsonl", tmp_path)
        file.path.write_bytes(CONTENT[:5000])
        _Handler.asked.clear()
        (again,) = await bring(f"{url}/a.jsonl", tmp_path)
        assert again.path.read_bytes() == CONTENT
        assert _Handler.asked == ["bytes=5000-"]


async def test_the_guard_is_asked(tmp_path: Path) -> None:
    with web() as url, pytest.raises(EgressDenied):
        await bring(f"{url}/a.jsonl", tmp_path, Egress())
    for source in ("http://169.254.169.254/latest", "https://[::1]/a", "https://10.0.0.1/a"):
        with pytest.raises(EgressDenied):
            await bring(source, tmp_path, Egress())


@pytest.mark.parametrize("scheme", ["s3:", "s3://", "bos:/"])
async def test_one_object_or_all_below_a_folder_come_from_a_store(
    scheme: str, tmp_path: Path
) -> None:
    with storing() as store:
        store.objects |= {
            "d/two.jsonl": b"2\n",
            "d/one.jsonl": CONTENT,
            "d/": b"",
            "dx/other.jsonl": b"3\n",
        }
        store.cuts = [10_000]
        (file,) = await bring(f"{scheme}models/d/one.jsonl", tmp_path, store=store)
        assert (file.name, file.path.read_bytes()) == ("d/one.jsonl", CONTENT)
        files = await bring(f"{scheme}models/d/", tmp_path, store=store)
        assert [item.name for item in files] == ["d/one.jsonl", "d/two.jsonl"]
        with pytest.raises(SourceUnavailable, match="holds nothing at 'd/on'"):
            await bring(f"{scheme}models/d/on", tmp_path, store=store)


@pytest.mark.parametrize("source", ["ftp://host/a", "s3:bucket", "a.jsonl", "file", "https:"])
async def test_what_is_no_address_says_what_is_one(source: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigurationError, EgressDenied, FetchError)):
        await bring(source, tmp_path)
