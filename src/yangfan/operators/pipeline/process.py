"""The parent's side of a process that runs operators (`child`): asked one thing at a time, killed when it takes too long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import BinaryIO

import msgspec

from yangfan.errors import OperatorFailed
from yangfan.operators.pipeline import frames

START_SECONDS = 120.0
TAIL_BYTES = 1500
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
"""What such a process sees of the environment: no keys."""


class Died(OperatorFailed):
    """The process is gone; why, in words."""


class Process:
    """A running process.

    Args:
        start: What it is to do.
        timeout_seconds: How long an answer may take.

    Attributes:
        ready: Its first answer.

    Raises:
        Died: It could not begin.
    """

    def __init__(self, start: frames.Start, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process
        whole = {**os.environ}
        handed_on = {name: whole[name] for name in KEPT if name in whole}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "yangfan.operators.pipeline.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env={**handed_on, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._late = False
        try:
            self.ready = self._asked(msgspec.msgpack.encode(start), START_SECONDS)
        except BaseException:
            self.close()
            raise

    def ask(self, ask: frames.Ask) -> frames.Answer:
        """Its answer; what it says of an error is in there.

        Raises:
            Died: It ended, or had to be killed because it took too long.
        """
        return self._asked(msgspec.msgpack.encode(ask), self._timeout_seconds)

    def close(self) -> None:
        """End it."""
        self._kill()
        for pipe in (self._stdin, self._stdout):
            try:
                pipe.close()
            except OSError:
                continue
        self._process.wait()
        self._printed.close()

    @property
    def _stdin(self) -> BinaryIO:
        assert self._process.stdin is not None
        return self._process.stdin  # pyright: ignore[reportReturnType] -- it is opened for bytes

    @property
    def _stdout(self) -> BinaryIO:
        assert self._process.stdout is not None
        return self._process.stdout  # pyright: ignore[reportReturnType] -- likewise

    def _asked(self, content: bytes, seconds: float) -> frames.Answer:
        watch = threading.Timer(seconds, self._too_late)
        watch.daemon = True
        watch.start()
        try:
            frames.write(self._stdin, content)
            frame = frames.read(self._stdout)
        except OSError:
            frame = None
        finally:
            watch.cancel()
        if frame is None:
            raise Died(self._why(seconds))
        return msgspec.msgpack.decode(frame, type=frames.Answer)

    def _too_late(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        """The process and what it started, which are of one session."""
        if self._process.poll() is not None:
            return
        if sys.platform == "win32":
            self._process.kill()
        else:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _why(self, seconds: float) -> str:
        status = self._process.wait()
        if self._late:
            return f"it gave no answer within {seconds:g} seconds"
        said = f"it ended with status {status}"
        if status < 0:
            said = f"it was ended by {signal.Signals(-status).name}"
        self._printed.seek(max(self._printed.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
        last = self._printed.read().decode("utf-8", "replace").strip().splitlines()
        return f"{said}: {last[-1]}" if last else said
