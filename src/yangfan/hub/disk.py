"""Writing so that it stays written, and saying clearly when there is no room."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

RESERVE_BYTES: Final = 64 * 1024 * 1024
"""Space left alone on the disk, for the database and logs beside the models."""


def require_free(folder: Path, needed_bytes: int) -> None:
    """Check that the disk of an existing folder has room.

    Raises:
        ConfigurationError: It has not; the message names needed and free bytes.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + RESERVE_BYTES:
        raise _full(folder, free_bytes, needed_bytes)


@contextlib.contextmanager
def full_disk_said_clearly(folder: Path, needed_bytes: int | None = None) -> Generator[None]:
    """Raise ConfigurationError in place of the system's "no space left"."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _full(folder, shutil.disk_usage(folder).free, needed_bytes) from error
        raise


def _full(folder: Path, free_bytes: int, needed_bytes: int | None) -> ConfigurationError:
    needed = "" if needed_bytes is None else f"{needed_bytes + RESERVE_BYTES} bytes are needed, "
    return ConfigurationError(
        f"no space on the disk of {folder}: {needed}{free_bytes} bytes are free; "
        "free some, or choose another folder with --home"
    )


def size_bytes(path: Path) -> int | None:
    """Size of a file, None if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have the system put a file, or the entries of a folder, on the disk now."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step: readers see the old content or the new, whenever the power goes."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        new.write_bytes(content)
        sync(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    sync(path.parent)


def discard(path: Path) -> None:
    """Remove a file if it is there."""
    path.unlink(missing_ok=True)
