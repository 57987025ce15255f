"""Locks between processes that the operating system lets go of when their holder dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from pathlib import Path

POLL_SECONDS: Final = 0.1


@contextlib.contextmanager
def try_lock(file: Path, *, shared: bool = False) -> Generator[bool]:
    """Take the lock if it is free and yield whether it was taken.

    Args:
        file: Lock file; it is made if it is missing, and stays.
        shared: Whether other shared holders are welcome.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def lock(
    file: Path, *, shared: bool = False, waiting: Callable[[], None] | None = None
) -> AsyncGenerator[None]:
    """Hold the lock, waiting for it without blocking the event loop.

    Args:
        file: Lock file.
        shared: Whether other shared holders are welcome.
        waiting: Called once if somebody else has the lock.
    """
    while True:
        with try_lock(file, shared=shared) as taken:
            if taken:
                yield
                return
        if waiting is not None:
            waiting()
            waiting = None
        await asyncio.sleep(POLL_SECONDS)
