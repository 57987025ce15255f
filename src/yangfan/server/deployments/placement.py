"""Is there room for one more engine? What each needs is estimated before it starts; what the machine has is read when it is asked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.models import Plan

KEPT_FREE_BYTES = 256 * 1024 * 1024
"""What engines leave to the rest of the machine."""

BASE_BYTES = 48 * 1024 * 1024
"""A process that has loaded nothing yet."""

FACTOR = 1.25
"""Weights are not all: caches of a few conversations, buffers of the computation."""

_CGROUP = Path("/sys/fs/cgroup")


class Placement:
    """Who has claimed how much memory.

    Args:
        limit_bytes: What all engines of services may have together; None for what the machine has.
        available: Bytes that are free now; None where nobody knows.
    """

    def __init__(
        self,
        limit_bytes: int | None = None,
        available: Callable[[], int | None] | None = None,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._available = available or available_bytes
        self._claims: dict[str, int] = {}
        self._loading: set[str] = set()

    @property
    def claimed_bytes(self) -> int:
        """What engines of services need together."""
        return sum(self._claims.values())

    def claim_of(self, key: str) -> int:
        """What the engine of a key has claimed."""
        return self._claims.get(key, 0)

    def room_bytes(self) -> int | None:
        """What one more engine may need; None where nobody knows. What loads now counts as if it were loaded."""
        rooms: list[int] = []
        if self._limit_bytes is not None:
            rooms.append(self._limit_bytes - self.claimed_bytes)
        free = self._available()
        if free is not None:
            rooms.append(free - KEPT_FREE_BYTES - sum(self._claims[key] for key in self._loading))
        return min(rooms) if rooms else None

    def claim(self, key: str, need_bytes: int) -> str | None:
        """Take room for an engine that starts now; None if there is, else why not."""
        reason = self.refusal(need_bytes)
        if reason is None:
            self._claims[key] = need_bytes
            self._loading.add(key)
        return reason

    def refusal(self, need_bytes: int) -> str | None:
        """Why there is no room for so much; None if there is."""
        room = self.room_bytes()
        if room is None or need_bytes <= room:
            return None
        return f"it needs about {_size(need_bytes)} of memory and {_size(max(room, 0))} are free"

    def impossible(self, need_bytes: int) -> str | None:
        """Why so much could not even be had if nothing else ran; None if it could."""
        if self._limit_bytes is not None and need_bytes > self._limit_bytes:
            return (
                f"it needs about {_size(need_bytes)} of memory and all services together may have"
                f" {_size(self._limit_bytes)}"
            )
        total = total_bytes()
        if total is not None and need_bytes > total:
            return (
                f"it needs about {_size(need_bytes)} of memory and this machine has {_size(total)}"
            )
        return None

    def loaded(self, key: str) -> None:
        """The engine runs: what it needs is no longer free."""
        self._loading.discard(key)

    def release(self, key: str) -> None:
        """The engine is gone."""
        self._loading.discard(key)
        self._claims.pop(key, None)


def estimate_bytes(plan: Plan) -> int:
    """What one engine of a plan needs: its files and something around them."""
    spec = plan.spec
    weights = _size_of(spec.path) + sum(map(_size_of, spec.adapters.values()))
    return BASE_BYTES + int(weights * FACTOR)


def _size_of(path: str | None) -> int:
    if path is None:
        return 0
    given = Path(path)
    with contextlib.suppress(OSError):
        if given.is_file():
            return given.stat().st_size
        return sum(file.stat().st_size for file in given.rglob("*") if file.is_file())
    return 0


def available_bytes() -> int | None:
    """Memory that is free on this machine, or within what this process's control group may have; None where neither is told."""
    found: list[int] = []
    free = _meminfo("MemAvailable:")
    if free is not None:
        found.append(free)
    with contextlib.suppress(OSError, ValueError):
        most = int((_CGROUP / "memory.max").read_text())  # "max" where there is no limit
        used = int((_CGROUP / "memory.current").read_text())
        cached = 0
        for line in (_CGROUP / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "inactive_file":
                cached = int(value)
        found.append(most - used + cached)
    return min(found) if found else None


def total_bytes() -> int | None:
    """Memory of this machine; None where nobody tells."""
    return _meminfo("MemTotal:")


def _meminfo(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024
    return None


def _size(size_bytes: int) -> str:
    if size_bytes < 1_000_000_000:
        return f"{size_bytes / 1_000_000:.0f} MB"
    return f"{size_bytes / 1_000_000_000:.1f} GB"
