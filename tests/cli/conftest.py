"""The real command as a process, beside a real server: with pipes, or in a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.conftest import Server, serving

from yangfan.cli import main

TIMEOUT_SECONDS = 20.0
PATIENCE_SECONDS = 3.0
"""How long a pressed key may take to show."""
ECHO_DELAY_SECONDS = 0.2
NOBODY_LISTENS = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str


class Command:
    """`yangfan` with an environment of its own, in which only a home is set.

    Args:
        home: The home folder that the command finds.
        home_of_user: Its `HOME`, so that it never sees the developer's own platform.
    """

    def __init__(self, home: Path, home_of_user: Path) -> None:
        self.home = home
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("YANGFAN_", "QIANFAN_")) and name != "NO_COLOR"
        }
        self.environ = {
            **own,
            "HOME": str(home_of_user),
            "YANGFAN_HOME": str(home),
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": "200",
        }

    def __call__(
        self, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> Result:
        """Run it with pipes to its end."""
        done = subprocess.run(
            self._command(arguments),
            input=stdin,
            capture_output=True,
            env={**self.environ, **(environ or {})},
            timeout=TIMEOUT_SECONDS,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def inside(
        self, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> Result:
        """Run it in this process: the same code to the same streams, without the wait for a new interpreter."""
        out, err = _stream(), _stream()
        with (
            patch.dict(os.environ, {**self.environ, **(environ or {})}, clear=True),
            patch.object(sys, "argv", ["yangfan", *arguments]),
            patch.object(sys, "stdin", _stream(stdin)),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, _written(out), _written(err))

    @contextmanager
    def started(self, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
        """Start it with pipes; kill it if it still runs at the end."""
        with subprocess.Popen(
            self._command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def in_terminal(
        self, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> Generator[Terminal]:
        """Start it in a terminal; kill it if it still runs at the end."""
        ours, its = pty.openpty()
        with subprocess.Popen(
            self._command(arguments),
            stdin=its,
            stdout=its,
            stderr=its,
            env={**self.environ, "TERM": "dumb", **(environ or {})},
            start_new_session=True,
        ) as process:
            os.close(its)
            try:
                yield Terminal(ours, process)
            finally:
                process.kill()
                os.close(ours)

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "yangfan", *arguments]


class Terminal:
    """The other side of a command's terminal."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self._process = process
        self._unread = ""

    def type(self, text: str) -> None:
        """Type `text` as it is; end a line with ``\\n``."""
        os.write(self._descriptor, text.encode())

    def expect(self, pattern: str) -> str:
        """Wait until the screen shows what matches; return what came before it and drop both."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while (match := re.search(pattern, self._unread, re.DOTALL)) is None:
            more = self._read(deadline - time.monotonic())
            assert more, f"waited for {pattern!r}; the terminal shows {self._unread!r}"
            self._unread += more
        before, self._unread = self._unread[: match.start()], self._unread[match.end() :]
        return before

    def interrupt_until(self, pattern: str) -> None:
        """Press Ctrl-C until the screen shows what matches: one that comes just before the command waits goes unseen.

        It is pressed again only after a while, because each one that is seen late undoes what is typed next.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        patience = 0.0
        while re.search(pattern, self._unread, re.DOTALL) is None:
            now = time.monotonic()
            assert now < deadline, f"the terminal shows {self._unread!r}"
            if now > patience:
                self._process.send_signal(signal.SIGINT)
                patience = now + PATIENCE_SECONDS
            self._unread += self._read(0.2)
        self.expect(pattern)

    def type_until(self, line: str, pattern: str, *, undone_by: str) -> None:
        """Type a line until the screen shows what matches, again whenever it shows that the line was undone."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        self.type(line)
        while re.search(pattern, self._unread, re.DOTALL) is None:
            assert time.monotonic() < deadline, f"the terminal shows {self._unread!r}"
            if re.search(undone_by, self._unread, re.DOTALL):
                self.expect(undone_by)
                self.type(line)
            self._unread += self._read(0.2)
        self.expect(pattern)

    def end(self) -> Result:
        """Press Ctrl-D until the command ends: one is lost when a late Ctrl-C empties the line, or an answer still runs."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            self.type("\x04")
            self._unread += self._read(0.2)
        return self.rest()

    def rest(self) -> Result:
        """Wait until the command ends; return its status and what the terminal still showed."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while more := self._read(deadline - time.monotonic()):
            self._unread += more
        return Result(self._process.wait(TIMEOUT_SECONDS), self._unread, "")

    def _read(self, timeout_seconds: float) -> str:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout_seconds))
        try:
            return os.read(self._descriptor, 65536).decode() if ready else ""
        except OSError:  # Linux's way to say that the other side has closed the terminal
            return ""


def _stream(data: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), "utf-8")


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@pytest.fixture
def yangfan(echo_server: Server, tmp_path: Path) -> Command:
    """The command beside a running server."""
    return Command(echo_server.home, tmp_path)


@pytest.fixture
def lonely(tmp_path: Path) -> Command:
    """The command on a machine where no server runs."""
    return Command(tmp_path / "home", tmp_path)


@pytest.fixture(scope="session")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server whose model pauses before each token, so that an answer can be watched and stopped."""
    home = tmp_path_factory.mktemp("slow-home")
    with serving(home, environ={"YANGFAN_ECHO_DELAY_SECONDS": str(ECHO_DELAY_SECONDS)}) as server:
        yield server


@pytest.fixture
def slow(slow_server: Server, tmp_path: Path) -> Command:
    """The command beside a server that answers slowly."""
    return Command(slow_server.home, tmp_path)


@pytest.fixture
def read_until() -> Callable[[subprocess.Popen[bytes], bytes], bytes]:
    """Read a process's stdout until something has come."""

    def read(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
        assert process.stdout is not None
        seen, deadline = b"", time.monotonic() + TIMEOUT_SECONDS
        while wanted not in seen:
            ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
            more = os.read(process.stdout.fileno(), 65536) if ready else b""
            assert more, f"waited for {wanted!r} after {seen!r}"
            seen += more
        return seen

    return read
