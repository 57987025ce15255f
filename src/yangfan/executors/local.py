"""Workers as child processes of the server, on this machine.

Each runs in a session of its own, ends with the server however the server ends, and is on record (process id, boot id, start
time), so that the next server ends what a worker of the last one had started.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from yangfan.engines.process import ChildProcess
from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from yangfan.executors.base import Assignment

RECORD = "worker.json"
START_SECONDS = 120.0
STOP_GRACE_SECONDS = 18.0
"""A worker that trains writes a checkpoint first; all others end at once."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SESSION, _START_TIME = 5, 21
"""Places in /proc/PID/stat, counted from 0 (proc(5))."""


class Record(msgspec.Struct, frozen=True):
    """A worker as it was started. A process id alone may be another's by now; together these are not."""

    pid: int
    boot_id: str
    start_time: int


class LocalExecutor:
    """Runs workers as child processes.

    Args:
        root: Folder of the jobs' scratch folders.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, job_id: str) -> Path:
        """Scratch folder of a job."""
        return self._root / job_id

    def forget(self, job_id: str) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def kept(self) -> list[str]:
        """Ids of the jobs that have a scratch folder."""
        return [path.name for path in self._root.glob("jb-*")]

    async def run(self, assignment: Assignment) -> str:
        """Run the worker until it ends; how it ended. Cancelling this ends the worker first."""
        folder = self.folder(assignment.job_id)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "yangfan", "worker", "run", assignment.job_id]
        child = ChildProcess(
            f"the worker of {assignment.job_id}",
            [*argv, "--fence", str(assignment.fence)],
            folder,
            start_timeout_seconds=START_SECONDS,
            stop_grace_seconds=STOP_GRACE_SECONDS,
            log_name="worker.log",
        )
        try:
            await child.start(assignment.line)
            if child.pid is not None:
                await asyncio.to_thread(_note, folder / RECORD, child.pid)
            await child.wait_died()
            how = child.log_tail()
        except EngineFailed as error:
            return error.message
        finally:
            await child.stop()
            (folder / RECORD).unlink(missing_ok=True)
        if how:
            return f"the worker ended before its work did; it last printed:\n{how}"
        return "the worker was killed before its work was done; was there enough memory?"

    async def reap(self) -> int:
        """End the workers of an earlier server, and what they had started; how many processes."""
        return await asyncio.to_thread(self._reap)

    def _reap(self) -> int:
        count = 0
        for path in self._root.glob(f"*/{RECORD}"):
            with suppress(OSError, msgspec.MsgspecError):
                count += _end(msgspec.json.decode(path.read_bytes(), type=Record))
            path.unlink(missing_ok=True)
        return count


def _note(path: Path, pid: int) -> None:
    stat = _stat(pid)
    if stat is not None:
        record = Record(pid, _boot_id(), int(stat[_START_TIME]))
        path.write_bytes(msgspec.json.encode(record))


def _end(record: Record) -> int:
    """Kill what is left of a worker's session."""
    if record.boot_id != _boot_id():
        return 0
    leader = _stat(record.pid)
    if leader is not None and int(leader[_START_TIME]) != record.start_time:
        return 0  # the number is another process's now, so the whole session had ended
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            stat = _stat(int(entry.name))
            if stat is not None and int(stat[_SESSION]) == record.pid:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(entry.name), signal.SIGKILL)
                    count += 1
    return count


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat; the name, which may hold spaces, is left empty."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    before, _, after = text.rpartition(")")
    return [before.partition(" ")[0], "", *after.split()]


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
