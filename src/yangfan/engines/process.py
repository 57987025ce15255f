"""A supervised child process: started in a session of its own, watched, and never left behind.

Parent and child share three pipes. The parent writes one line of configuration to the child's stdin (secrets travel here, never in
argv) and keeps it open; the child writes one line to its stdout once it can answer; everything that it prints goes to stderr, which
is its log. The child ends with its parent, however the parent ends: on Linux the kernel kills it, elsewhere it notices that stdin closed.
A child that starts programs of its own notices it everywhere, and takes them along.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from yangfan.computing import environment
from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOG_LIMIT_BYTES = 1 << 20
"""The log file starts again at its beginning when it would grow beyond this."""

TAIL_BYTES = 2000
POLL_SECONDS = 0.25
LOOP_DIED = 70
"""Exit status of a child whose computing thread ended by a defect: its parent starts another."""

_PR_SET_PDEATHSIG = 1


class ChildProcess:
    """One child: `start` it, wait for its death, `stop` it, start it again.

    Attributes:
        name: What error messages call it.
        log_path: File with what the child printed since it was last started; bounded.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        workdir: Path,
        *,
        start_timeout_seconds: float = 60.0,
        stop_grace_seconds: float = 5.0,
        log_name: str = "engine.log",
    ) -> None:
        """Describe the child; nothing runs yet.

        Args:
            name: What error messages call it.
            argv: Program and arguments; the program begins with `ParentLink`.
            workdir: Existing folder, the child's working directory and the place of its log.
            start_timeout_seconds: How long the child may take until its ready line.
            stop_grace_seconds: How long it may take to end after SIGTERM before it is killed.
            log_name: Name of the log in `workdir`.
        """
        self.name = name
        self.log_path = workdir / log_name
        self._argv = tuple(argv)
        self._workdir = workdir
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_grace_seconds = stop_grace_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._logging: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the operating system still has the child."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """Process id of the living child, None while there is none."""
        return self._process.pid if self._process is not None and self.alive else None

    async def start(self, config: bytes) -> bytes:
        """Start the child, hand it one line of configuration and return its ready line.

        Raises:
            EngineFailed: It did not start, ended first, or was not ready in time. The child is gone then.
        """
        await self.stop()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                cwd=self._workdir,
                env=environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineFailed(f"{self.name} could not be started: {error}") from error
        try:
            return await self._await_ready(self._process, config)
        except BaseException:
            await self.stop()
            raise

    async def wait_died(self) -> None:
        """Return when the child that runs now has ended; at once if there is none."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        await _end_of(process)

    async def stop(self) -> None:
        """End the child and whatever it started: SIGTERM, then SIGKILL. A second call does nothing."""
        process = self._process
        if process is None:
            return
        if (
            process.returncode is None
        ):  # of a child that ended long ago, even the process id may be another's
            try:
                _signal_group(process.pid, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._stop_grace_seconds):
                        await process.wait()
            finally:
                _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        if self._logging is not None:
            await asyncio.wait({self._logging})
        self._process = None

    def log_tail(self) -> str:
        """The last lines that the child printed."""
        try:
            data = self.log_path.read_bytes()[-TAIL_BYTES:]
        except OSError:
            return ""
        return data.decode("utf-8", "replace").strip()

    async def _await_ready(self, process: asyncio.subprocess.Process, config: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._logging = asyncio.create_task(self._keep_log(process.stderr))
        process.stdin.write(config + b"\n")
        try:
            async with asyncio.timeout(self._start_timeout_seconds):
                line = await process.stdout.readline()
        except TimeoutError:
            raise EngineFailed(
                f"{self.name} was not ready after {self._start_timeout_seconds:g} s; give it more time or a smaller model."
                f"{self._quote_log()}"
            ) from None
        if not line.endswith(b"\n"):
            await _end_of(process)
            await asyncio.wait({self._logging})
            raise EngineFailed(
                f"{self.name} ended while starting ({_describe(process.returncode)}).{self._quote_log()}"
            )
        return line

    async def _keep_log(self, printed: asyncio.StreamReader) -> None:
        """Copy what the child prints into the log file, so that it can neither block the child nor fill the disk."""
        with self.log_path.open("wb", buffering=0) as file:
            while data := await printed.read(65536):
                if file.tell() + len(data) > LOG_LIMIT_BYTES:
                    file.seek(0)
                    file.truncate()
                with contextlib.suppress(OSError):  # a full disk must not stop the child
                    file.write(data)

    def _quote_log(self) -> str:
        tail = self.log_tail()
        return f" It last printed:\n{tail}" if tail else " It printed nothing."


class ParentLink:
    """The child's side: made first thing in the child's program.

    Attributes:
        config: The line of configuration that the parent sent.
    """

    def __init__(self, *, has_children: bool = False) -> None:
        """Tie this process to its parent, read the configuration and turn stdout into the ready pipe.

        Args:
            has_children: Whether this process starts others that do not end by themselves when it does, such as the workers of a
                server. It then ends itself, and them with it, when the parent is gone: one that the kernel kills could not.

        Raises:
            SystemExit: The parent is already gone.
        """
        if not has_children:
            die_with_parent()
        self._ready_fd = os.dup(1)
        os.dup2(2, 1)  # from here on, prints (a C library's too) go to the log
        self.config = sys.stdin.buffer.readline()
        if not self.config.endswith(b"\n"):
            raise SystemExit("the parent process is gone")
        # A parent that died before die_with_parent took effect is noticed here, and on every other system too.
        end = _end_the_group if has_children else _end_this_process
        threading.Thread(target=_at_end_of_stdin, args=(end,), daemon=True).start()

    def ready(self, line: bytes) -> None:
        """Tell the parent that this process can answer."""
        os.write(self._ready_fd, line + b"\n")
        os.close(self._ready_fd)


def die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def confine(memory_bytes: int) -> None:
    """Let this process, which reads other people's files, end with its parent, take so much memory at most, and write no file (Linux only)."""
    if sys.platform == "linux":
        import resource

        die_with_parent()
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _at_end_of_stdin(end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    end()


def _end_this_process() -> None:
    os._exit(0)


def _end_the_group() -> None:
    """Kill all that this process started, and it: it leads a group of its own, in which they are."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


async def _end_of(process: asyncio.subprocess.Process) -> None:
    """Wait until the child has ended, then end what it had started, such as the workers of a server.

    `Process.wait` alone waits for its pipes, too, and those workers hold them open.
    """
    waiting = asyncio.ensure_future(process.wait())
    try:
        while process.returncode is None:
            await asyncio.wait({waiting}, timeout=POLL_SECONDS)
    finally:
        waiting.cancel()
    _signal_group(process.pid, signal.SIGKILL)  # right now its number is nobody else's


def _signal_group(leader_pid: int, number: signal.Signals) -> None:
    """Signal the child and whatever it started: it leads its process group, so its pid is the group's name."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, number)


def _describe(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"
