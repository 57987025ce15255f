"""What was asked and answered, on disk before anything follows from it: a killed job asks no answered question again."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class _Entry(msgspec.Struct, array_like=True):
    key: str
    answer: str


class Journal:
    """Answers by the key of their question. Several threads may write.

    Args:
        file: Where they are kept; what is there already is read.
    """

    def __init__(self, file: Path) -> None:
        self._answers: dict[str, str] = {}
        self._lock = threading.Lock()
        size = 0
        if file.exists():
            for line in file.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break  # the writer was killed within this line
                entry = msgspec.json.decode(line, type=_Entry)
                self._answers[entry.key] = entry.answer
                size += len(line)
        self._file = file.open("ab")
        self._file.truncate(size)

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> str | None:
        """The answer to a question, None where there is none yet."""
        return self._answers.get(key)

    def put(self, key: str, answer: str) -> None:
        """Keep an answer; it is durable when this returns."""
        with self._lock:
            self._file.write(msgspec.json.encode(_Entry(key, answer)) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._answers[key] = answer

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
