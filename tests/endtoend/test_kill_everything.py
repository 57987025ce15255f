"""kill -9 of the server, its engines and its workers while three services run and an import is half done: all of it comes back."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import yangfan
from yangfan.weights import gguf

if TYPE_CHECKING:
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

Start = Callable[..., AbstractContextManager["Server"]]
Wait = Callable[..., None]

SERVICES = 3
WAIT_SECONDS = 120.0
ALLOWED = {"YANGFAN_EGRESS_ALLOW": "127.0.0.1"}


class HalfWay:
    """A web server with one file, of which it gives the first half until `go_on` is set; it counts what it sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = path.stat().st_size
        self.sent_bytes = 0
        self.go_on = threading.Event()
        self.url = ""

    def send(self, handler: http.server.BaseHTTPRequestHandler, first: int) -> None:
        """From that byte on."""
        with self.path.open("rb") as file:
            file.seek(first)
            while chunk := file.read(64 * 1024):
                if self.sent_bytes >= self.size_bytes // 2:
                    self.go_on.wait(WAIT_SECONDS)
                handler.wfile.write(chunk)
                self.sent_bytes += len(chunk)


@contextlib.contextmanager
def half_way(path: Path) -> Generator[HalfWay]:
    """Serve a file on a free port."""
    door = HalfWay(path)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

        def _head(self) -> int:
            first = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if first else 200)
            if first:
                last = door.size_bytes - 1
                self.send_header("Content-Range", f"bytes {first}-{last}/{door.size_bytes}")
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(door.size_bytes - first))
            self.end_headers()
            return first

        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                door.send(self, self._head())

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        door.url = f"http://127.0.0.1:{server.server_address[1]}/{path.name}"
        try:
            yield door
        finally:
            door.go_on.set()
            server.shutdown()
            thread.join()


def descendants(pid: int) -> list[int]:
    """Every process that a process started, and those that these started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for word in (task / "children").read_text().split():
            found += [int(word), *descendants(int(word))]
    return found


def kill_all(server: Server) -> int:
    """kill -9 of a server and of everything below it at once; how many processes that were."""
    pids = [server.pid, *descendants(server.pid)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait(10)
    return len(pids)


def signed(server: Server) -> yangfan.Client:
    """A client that may do everything."""
    return yangfan.Client(
        server.base_url,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
        bearer=server.bearer,
    )


def answers(server: Server, names: Sequence[str]) -> list[str]:
    """What each service says, at the same settings each time."""
    with signed(server) as client:
        return [
            client.chat("hello", model=name, max_output_tokens=8, temperature=0.01).text
            for name in names
        ]


def storm(start: Start, wait_until: Wait, home: Path, path: Path, *, of_file: bool) -> None:
    """Three services and an import of the file at `path`; kill all at half of it; look what the next server does.

    The services are of the same file, imported before from the disk, or else of echo.
    """
    names = [f"s{number}" for number in range(SERVICES)]
    with half_way(path) as door:
        with start(home, environ=ALLOWED) as server, signed(server) as client:
            made, model = client.models.create_set("mine"), "echo"
            if of_file:
                model = client.models.import_(made.id, str(path)).id
                client.models.wait(model, poll_seconds=0.1)
            for name in names:
                client.services.create(model, name)
            for name in names:
                assert client.services.wait(name).status == "Serving"
            before = answers(server, names)
            version = client.models.import_(made.id, door.url)
            job = client.jobs.list(kind="import_model")[0]

            def half() -> bool:
                progress = client.jobs.get(job.id).progress
                return progress.done >= 0.4 * door.size_bytes

            wait_until(half, "half of the import", WAIT_SECONDS)
            killed = kill_all(server)
            sent = door.sent_bytes
        # The server, an engine for each service and for the echo model, and the worker; engines may have helpers.
        assert killed >= SERVICES + 2
        assert sent < door.size_bytes

        began = time.monotonic()
        door.go_on.set()
        with start(home, environ=ALLOWED) as server, signed(server) as client:
            ready = time.monotonic() - began
            assert answers(server, names) == before
            answered = time.monotonic() - began
            version = client.models.wait(version.id, poll_seconds=0.1)
            imported = time.monotonic() - began
            assert version.status == "Ready"
            assert client.jobs.get(job.id).state == "succeeded"
            assert version.size_bytes == door.size_bytes
        # What had come before the kill was not fetched again, but for what no disk had seen yet.
        assert door.sent_bytes < 1.4 * door.size_bytes
    figures = {
        "killed processes": killed,
        "import at %": round(100 * sent / door.size_bytes),
        "ready, seconds": round(ready, 2),
        "three services answer, seconds": round(answered, 2),
        "import done, seconds": round(imported, 2),
        "fetched again, %": round(100 * (door.sent_bytes / door.size_bytes - 1), 1),
    }
    print(f"kill -9 of everything: {json.dumps(figures)}")


def test_services_and_half_an_import_come_back(
    start_server: Start, wait_until: Wait, tmp_path: Path
) -> None:
    path = tmp_path / "small.gguf"
    facts: dict[str, gguf.Value] = {"general.architecture": "llama", "general.name": "small"}
    size = (1024, 8192)  # 16 MB
    gguf.write(
        path,
        {
            **facts,
            "llama.context_length": 256,
            "llama.embedding_length": 8192,
            "llama.block_count": 1,
            "llama.attention.head_count": 1,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": ["a", "b"],
        },
        [gguf.Tensor("token_embd.weight", size, "F16", lambda: os.urandom(2 * size[0] * size[1]))],
    )
    storm(start_server, wait_until, tmp_path / "home", path, of_file=False)


@pytest.mark.model
@pytest.mark.large
def test_real_services_and_half_a_real_import_come_back(
    start_server: Start, wait_until: Wait, tmp_path: Path, smollm2_path: Path
) -> None:
    storm(start_server, wait_until, tmp_path / "home", smollm2_path, of_file=True)
