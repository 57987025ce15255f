"""The append-only file between the hot path and the database: it survives kill -9, and after each `sync` power loss.

A record is a line, ``<crc32 in 8 hex digits> <text>``. It is copied into a memory-mapped file, so that the kernel has it as soon as
`append` returns, at a tenth of the cost of a system call. The room is reserved on the disk beforehand: a full disk is an error when a
segment is opened, never a fault when it is written. Reading stops at the first line that is not whole.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEGMENT_BYTES = 1024 * 1024
"""Room of one file, some 15,000 records."""

_PREFIX, _SUFFIX = "usage-", ".log"


class Spool:
    """Numbered segments in one folder; the last one is written.

    Args:
        folder: Made if it is not there.
        segment_bytes: Room of one segment.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open nothing yet."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._number = 0
        self._descriptors: list[int] = []
        self._map: mmap.mmap | None = None
        self._end = 0

    def segments(self) -> list[int]:
        """Numbers of the segments that are there, oldest first."""
        names = (path.name for path in self._folder.glob(f"{_PREFIX}*{_SUFFIX}"))
        return sorted(int(name.removeprefix(_PREFIX).removesuffix(_SUFFIX)) for name in names)

    def read(self, number: int) -> Iterator[bytes]:
        """The texts of a segment, up to the first line that is torn."""
        return read_records(self._path(number).read_bytes())

    def open(self, number: int) -> None:
        """Begin segment `number`.

        Raises:
            OSError: The disk is full or not writable; what was open stays so.
        """
        self._folder.mkdir(exist_ok=True, mode=0o700)
        path = self._path(number)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._segment_bytes)
            mapped = mmap.mmap(descriptor, self._segment_bytes)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        if self._map is not None:
            self._map.close()
        self._map, self._number, self._end = mapped, number, 0
        self._descriptors.append(descriptor)

    def append(self, text: bytes) -> None:
        """Write one record; when it returns, the end of this process cannot undo it.

        Raises:
            OSError: The segment is full and there is no room for another.
        """
        line = b"%08x %b\n" % (crc32(text), text)
        end = self._end + len(line)
        if end > self._segment_bytes:
            self.open(self._number + 1)
            end = len(line)
        assert self._map is not None, "open comes first"
        self._map[self._end : end] = line
        self._end = end

    def rotate(self) -> int:
        """Begin the next segment; the number of the one that is finished.

        Raises:
            OSError: There is no room for another.
        """
        self.open(self._number + 1)
        return self._number - 1

    def sync(self) -> None:
        """Have the disk keep what was appended. Slow; for a thread."""
        for descriptor in list(self._descriptors):
            os.fsync(descriptor)

    def forget(self, through: int) -> None:
        """Close and delete the segments up to number `through`."""
        finished, self._descriptors = self._descriptors[:-1], self._descriptors[-1:]
        for descriptor in finished:
            os.close(descriptor)
        for number in self.segments():
            if number <= through:
                self._path(number).unlink()

    def close(self) -> None:
        """Close every file."""
        if self._map is not None:
            self._map.close()
            self._map = None
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def _path(self, number: int) -> Path:
        return self._folder / f"{_PREFIX}{number:010d}{_SUFFIX}"


def read_records(data: bytes) -> Iterator[bytes]:
    """The texts of the whole records at the beginning of `data`."""
    for line in data.split(b"\n")[:-1]:
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % crc32(text):
            return
        yield text
