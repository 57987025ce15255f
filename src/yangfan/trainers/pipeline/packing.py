"""Several short rows in one: best fit, longest first, and the same result on every machine."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def pack(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Group the numbers of rows so that no group is longer than `limit`; a row that is longer stands alone.

    Best fit decreasing: at most 11/9 of the fewest groups there could be, and one more (D. S. Johnson, 1973).
    """
    groups: list[list[int]] = []
    room: list[tuple[int, int]] = []
    """Free places of each group that has some, and its number; sorted."""
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        place = bisect_left(room, (lengths[row], -1))
        if place == len(room):
            groups.append([row])
            left, group = limit - lengths[row], len(groups) - 1
        else:
            free, group = room.pop(place)
            groups[group].append(row)
            left = free - lengths[row]
        if left > 0:
            insort(room, (left, group))
    return [sorted(group) for group in groups]
