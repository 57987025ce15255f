"""The parent's side of reading pictures: a process that is started for the first one, and ends when none has come for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from yangfan.computing import environment
from yangfan.errors import ImageUnreadable, PluginFailed
from yangfan.plugins.image_questions.words import Page

if TYPE_CHECKING:
    from asyncio.subprocess import Process

SECONDS = 60.0
START_SECONDS = 60.0
THREADS = max(1, min(4, (os.cpu_count() or 2) // 2))
MEMORY_BYTES = 4 * 1024 * 1024 * 1024
PICTURES_A_PROCESS = 200
IDLE_SECONDS = 120.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024


class Reader:
    """Reads one picture after another.

    Args:
        seconds: How long one picture may take.
        memory_bytes: How much address space its process may have.
        threads: How many cores it may keep busy.
        idle_seconds: How long the process stays, and holds some 600 MB, when no picture comes.
    """

    def __init__(
        self,
        *,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        threads: int = THREADS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Nothing runs until the first picture."""
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._threads = threads
        self._idle_seconds = idle_seconds
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._ended: list[Process] = []
        self._read = 0
        self._ending: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether a process is there."""
        return self._process is not None

    async def read(self, data: bytes) -> Page:
        """What stands in a picture.

        Args:
            data: The file, of a size that was checked.

        Raises:
            ImageUnreadable: It cannot be read; the text says why.
            PluginFailed: What reads pictures does not start.
        """
        async with self._turn:
            if self._ending is not None:
                self._ending.cancel()
            try:
                page = await self._ask(data)
            except BaseException:
                # A call that is given up leaves an answer behind that would be taken for the next one's.
                self.end()
                raise
            self._ending = asyncio.get_running_loop().call_later(self._idle_seconds, self.end)
        if page.error:
            raise ImageUnreadable(page.error, param="fileurl")
        return page

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            self._ended = [each for each in self._ended if each.returncode is None]
            self._ended.append(process)

    async def aclose(self) -> None:
        """End the process and wait for its end."""
        if self._ending is not None:
            self._ending.cancel()
        self.end()
        while self._ended:
            await self._ended.pop().communicate()

    async def _ask(self, data: bytes) -> Page:
        if self._read >= PICTURES_A_PROCESS:
            self.end()
        process = self._process
        if process is None:
            process = self._process = await self._start()
        self._read += 1
        assert process.stdin is not None
        assert process.stdout is not None
        line = b""
        try:
            async with asyncio.timeout(self._seconds):
                process.stdin.write(b"%d\n%b" % (len(data), data))
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError:
            self.end()
            return Page(
                error=f"the picture took longer than {self._seconds:g} seconds; make it smaller"
            )
        except (ConnectionError, ValueError):
            line = b""
        if not line.endswith(b"\n"):
            self.end()
            return Page(error="the picture broke its reader; save it again as PNG")
        return msgspec.json.decode(line, type=Page)

    async def _start(self) -> Process:
        self._read = 0
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "yangfan.plugins.image_questions.reading",
            str(self._memory_bytes),
            str(self._threads),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env=environment(),
            limit=MAX_ANSWER_BYTES,
        )
        assert process.stdout is not None
        ready = b""
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await process.stdout.readline()
        except TimeoutError:
            pass
        finally:
            if ready != b"\n":
                _kill(process)
                self._ended.append(process)
        if ready != b"\n":
            raise PluginFailed(
                f"what reads pictures did not start within {START_SECONDS:g} s; is yangfan[pictures] installed whole?"
            )
        return process


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
