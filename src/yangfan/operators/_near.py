"""Which 64-bit fingerprints lie within a few bits of one seen before, for more of them than memory holds.

Fingerprints that differ in at most d bits agree in at least two of d + 2 blocks of bits. So for each pair of blocks there is
one table: all fingerprints with the two blocks moved to the top, sorted. Those that agree in both lie next to each other
(Manku, Jain and Das Sarma, 2007, "Detecting Near-Duplicates for Web Crawling"). A table is a few sorted runs of growing size, merged
as in a log-structured merge tree; the large ones are files mapped into memory. Beside each run stands where every beginning of its
fingerprints begins, for as many bits as there are fingerprints, so that a look-up costs the same in a small run and in a large one.
The fingerprints themselves, in order, are one more file: it alone is needed to go on later.
"""

from __future__ import annotations

import io
import itertools
import mmap
import os
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from yangfan.operators._texts import Counts, Hashes

BITS = 64
FAN_OUT = 4
"""Runs of one size that become one of the next."""
IN_MEMORY = 1 << 16
"""Fingerprints in the largest run that stays in memory, however much of that there is: files are mapped, and as quick."""
MEMORY_BYTES = 256 << 20
"""What an index may take, by default."""
MAPPED_BYTES = 512 << 20
"""Of the files, so much stays mapped into memory between two looks; what is more comes from the page cache again."""
LEAST_BYTES = 1 << 16
"""Less than this is taken for so much: a run of a few fingerprints helps nobody."""
AT_ONCE = 1 << 18
"""Candidates compared at once, and fingerprints counted at once: what stays in a processor's cache."""
ONE_BY_ONE = 256
"""Among so few fingerprints each is compared with each."""
MOST_PAIRS = 1 << 18
"""Pairs of fingerprints that are compared with each other; where there are more, few of them will stay."""

RECENT = 1024
"""Fingerprints that are compared one by one before they become a run: for so few that takes less than all tables."""

FAR = 255
"""The distance where nothing is near."""

_Answers = tuple["Counts", "Counts", "NDArray[np.uint8]"]
"""Positions of questions, positions of what is near them, and how many bits they differ in."""


class _Table:
    """One order of the bits: two blocks at the top, then the others."""

    def __init__(self, blocks: list[tuple[int, int]], first: int, second: int) -> None:
        order = [
            first,
            second,
            *(block for block in range(len(blocks)) if block not in (first, second)),
        ]
        self._moves: list[tuple[np.uint64, np.uint64, np.uint64]] = []
        top = BITS
        for block in order:
            offset, width = blocks[block]
            top -= width
            mask = np.uint64((1 << width) - 1)
            self._moves.append((np.uint64(offset), mask, np.uint64(top)))
        self.key_bits = blocks[first][1] + blocks[second][1]
        self.rest = np.uint64((1 << (BITS - self.key_bits)) - 1)

    def moved(self, fingerprints: Hashes) -> Hashes:
        """The same fingerprints, their bits in this order; distances stay as they were."""
        out = np.zeros(len(fingerprints), np.uint64)
        for offset, mask, top in self._moves:
            out |= ((fingerprints >> offset) & mask) << top
        return out


class _Run:
    """Fingerprints in every table's order, each sorted, and where each beginning begins.

    Args:
        size: How many; they are still to be filled in.
        tables: How many tables.
        bits: Bits of the beginnings.
        file: Where it is, None for memory.
    """

    def __init__(self, size: int, tables: int, bits: int, file: Path | None = None) -> None:
        self._file = file
        self._shift = np.uint64(BITS - bits)
        begins = (1 << bits) + 1
        self._lengths = size * 8, begins * 4
        self.table_bytes = 0 if file is None else sum(self._lengths)
        total = tables * sum(self._lengths)
        self._map: mmap.mmap | None = None
        if file is not None:
            with file.open("w+b") as opened:
                opened.truncate(total)
                self._map = mmap.mmap(opened.fileno(), total)
        content = bytearray(total) if self._map is None else self._map
        before = tables * size
        self.tables: Hashes = np.frombuffer(content, np.uint64, before).reshape(tables, size)
        self._begins: NDArray[np.uint32] = np.frombuffer(
            content, np.uint32, offset=before * 8
        ).reshape(tables, begins)

    def __len__(self) -> int:
        return self.tables.shape[1]

    @property
    def held_bytes(self) -> int:
        """Bytes that are in no file."""
        return 0 if self._file is not None else self.tables.nbytes + self._begins.nbytes

    def fill(self, number: int, fingerprints: Hashes) -> None:
        """The fingerprints of a table, in its order of bits, sorted."""
        self.tables[number] = fingerprints
        begins = self._begins[number]
        counts = np.zeros(len(begins) - 1, np.int64)
        for start in range(0, len(fingerprints), AT_ONCE):
            tops = (fingerprints[start : start + AT_ONCE] >> self._shift).astype(np.int64)
            low, high = int(tops[0]), int(tops[-1]) + 1
            counts[low:high] += np.bincount(tops - low, minlength=high - low)
        begins[0] = 0
        np.cumsum(counts, out=begins[1:], dtype=np.uint32)

    def near(self, number: int, questions: Hashes, distance: int) -> Iterator[_Answers]:
        """Of a table, those near the questions that begin as they do, and how many bits they differ in."""
        tops, begins = (questions >> self._shift).astype(np.intp), self._begins[number]
        low, high = begins[tops].astype(np.int64), begins[tops + 1].astype(np.int64)
        return _near_ones(self.tables[number], questions, low, high, distance)

    def let_go(self, number: int) -> None:
        """A table in a file is not looked at for a while: its pages are the page cache's alone."""
        if self._map is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        fingerprints, begins = self._lengths
        for offset, length in (
            (number * fingerprints, fingerprints),
            (self.tables.nbytes + number * begins, begins),
        ):
            start = offset // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, start, offset + length - start)

    def forget(self) -> None:
        """Its file is not needed any more."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


class Near:
    """Fingerprints seen so far.

    Args:
        distance: Bits that near fingerprints differ in at most.
        folder: Where files go; None keeps everything in memory.
        memory_bytes: What the index may take where there is a folder: half of it for runs that are not files yet, and what
            sorting the largest run takes, which is no larger than that allows.
    """

    def __init__(
        self, distance: int, folder: Path | None = None, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self.distance = distance
        edges = [round(BITS * block / (distance + 2)) for block in range(distance + 3)]
        blocks = [(low, high - low) for low, high in itertools.pairwise(edges)]
        self._tables = [
            _Table(blocks, *pair) for pair in itertools.combinations(range(len(blocks)), 2)
        ]
        memory_bytes = max(memory_bytes, LEAST_BYTES)
        self._key_bits = min(table.key_bits for table in self._tables)
        # At most FAN_OUT runs of each size wait for the next one, which a file holds; beginnings take as much as fingerprints.
        run_bytes = 16 * len(self._tables) * FAN_OUT * 2
        self._in_memory = max(min(IN_MEMORY, memory_bytes // run_bytes), 1)
        # Sorting one table: what is put together, and its sorted copy.
        self._largest = max(memory_bytes // 16, self._in_memory)
        self._runs: list[_Run] = []
        self._recent: Hashes = np.zeros(0, np.uint64)
        self._count = 0
        self._files = 0
        self._folder = folder
        self._log: BinaryIO
        if folder is None:
            self._log = io.BytesIO()
        else:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob("run-*"):
                left.unlink()
            file = folder / "fingerprints"
            file.touch()
            self._log = file.open("r+b")

    def __len__(self) -> int:
        return self._count

    @property
    def held_bytes(self) -> int:
        """Bytes of the runs that are not in files."""
        return sum(run.held_bytes for run in self._runs)

    def distances(self, fingerprints: Hashes) -> NDArray[np.uint8]:
        """Of each, the distance to the nearest one seen, or `FAR` where none is near."""
        nearest = np.full(len(fingerprints), FAR, np.uint8)
        for start in range(0, len(fingerprints), RECENT):
            piece = fingerprints[start : start + RECENT, None] ^ self._recent
            np.bitwise_count(piece).min(axis=1, initial=FAR, out=nearest[start : start + RECENT])
        table_bytes = sum(run.table_bytes for run in self._runs)
        stay = MAPPED_BYTES // max(table_bytes, 1)
        for number, table in enumerate(self._tables if self._runs else ()):
            moved = table.moved(fingerprints)
            order = np.argsort(moved)
            # Neighbouring questions look at neighbouring memory.
            asked = moved[order]
            for run in self._runs:
                for questions, _, differing in run.near(number, asked, self.distance):
                    np.minimum.at(nearest, order[questions], differing)
                if number >= stay:
                    run.let_go(number)
        nearest[nearest > self.distance] = FAR
        return nearest

    def pairs(self, fingerprints: Hashes) -> tuple[Counts, Counts, NDArray[np.uint8]] | None:
        """Pairs among `fingerprints` that are near: their positions and their distance; some come twice.

        Returns:
            None where there may be too many to list, which happens only to more than `ONE_BY_ONE` fingerprints.
        """
        if len(fingerprints) <= ONE_BY_ONE:
            differing = np.bitwise_count(fingerprints[:, None] ^ fingerprints)
            first, second = np.nonzero(np.triu(differing <= self.distance, 1))
            return first, second, differing[first, second]
        found: list[_Answers] = []
        most = MOST_PAIRS
        for table in self._tables:
            moved = table.moved(fingerprints)
            order = np.argsort(moved)
            run = moved[order]
            # Where those begin and end that agree in the blocks at the top.
            edges = np.flatnonzero(np.diff(run & ~table.rest, prepend=~run[:1], append=~run[-1:]))
            sizes = np.diff(edges)
            some = sizes > 1
            most -= int((sizes[some] ** 2).sum())
            if most < 0:
                return None
            of, number = (
                np.repeat(edges[:-1][some], sizes[some]),
                np.repeat(sizes[some], sizes[some]),
            )
            asked = (
                of
                + np.arange(len(of))
                - np.repeat(np.cumsum(sizes[some]) - sizes[some], sizes[some])
            )
            for questions, answers, differing in _near_ones(
                run, run[asked], of, of + number, self.distance
            ):
                once = asked[questions] < answers
                found.append((order[asked[questions[once]]], order[answers[once]], differing[once]))
        return _joined(found)

    def add(self, fingerprints: Hashes) -> None:
        """Remember more, in their order."""
        if not len(fingerprints):
            return
        self._log.seek(self._count * 8)
        self._log.write(fingerprints.astype("<u8").tobytes())
        self._count += len(fingerprints)
        self._recent = np.append(self._recent, fingerprints)
        if len(self._recent) >= RECENT:
            self._index(self._recent)
            self._recent = np.zeros(0, np.uint64)

    def save(self) -> int:
        """Make all durable, and say how many there are."""
        self._log.flush()
        if self._folder is not None:
            os.fsync(self._log.fileno())
        return self._count

    def restore(self, count: int) -> None:
        """Go back to the first `count`."""
        for run in self._runs:
            run.forget()
        self._runs, self._recent, self._count = [], np.zeros(0, np.uint64), 0
        self._log.truncate(count * 8)
        self._log.seek(0)
        while piece := self._log.read(self._in_memory * 8):
            self._index(np.frombuffer(piece, "<u8").astype(np.uint64))
            self._count += len(piece) // 8

    def close(self) -> None:
        """Let go of everything but the log."""
        for run in self._runs:
            run.forget()
        self._runs = []
        self._log.close()

    def _index(self, fingerprints: Hashes) -> None:
        run = self._room(len(fingerprints))
        for number, table in enumerate(self._tables):
            run.fill(number, np.sort(table.moved(fingerprints)))
        self._runs.append(run)
        while (last := self._mergeable()) > 1:
            self._merge(last)

    def _mergeable(self) -> int:
        """How many of the last runs become one: as many as are not much larger than the last."""
        size, number, total = len(self._runs[-1]), 0, 0
        for run in reversed(self._runs):
            if len(run) > size * FAN_OUT or total + len(run) > self._largest:
                break
            number += 1
            total += len(run)
        return number if number >= FAN_OUT else 0

    def _merge(self, number: int) -> None:
        merged = self._runs[-number:]
        whole = self._room(sum(map(len, merged)))
        for table in range(len(self._tables)):
            whole.fill(table, np.sort(np.concatenate([run.tables[table] for run in merged])))
            for run in (whole, *merged):
                run.let_go(table)
        for run in merged:
            run.forget()
        self._runs[-number:] = [whole]

    def _room(self, size: int) -> _Run:
        """A run of so many fingerprints that are still to be filled in: in memory, or a file."""
        # Twice as many beginnings as fingerprints at most.
        bits = min(self._key_bits, size.bit_length())
        if self._folder is None or size <= self._in_memory:
            return _Run(size, len(self._tables), bits)
        # Never a name that a run still being merged has.
        self._files += 1
        return _Run(size, len(self._tables), bits, self._folder / f"run-{self._files}")


def _joined(answers: list[_Answers]) -> _Answers:
    none = np.zeros(0, np.int64)
    first, second, differing = zip((none, none, none.astype(np.uint8)), *answers, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(differing)


def _near_ones(
    run: Hashes, questions: Hashes, low: Counts, high: Counts, distance: int
) -> Iterator[_Answers]:
    """Positions of questions and of those answers between `low` and `high` of each that are near, and their distance, in pieces."""
    counts = high - low
    ends = np.cumsum(counts)
    start = 0
    while start < len(questions):
        done = ends[start - 1] if start else 0
        end = max(int(np.searchsorted(ends, done + AT_ONCE, side="right")), start + 1)
        of = counts[start:end]
        total = int(of.sum())
        if total:
            before = ends[start:end] - of
            answers = np.arange(done, done + total) + np.repeat(low[start:end] - before, of)
            differing = np.bitwise_count(run[answers] ^ np.repeat(questions[start:end], of))
            near = np.flatnonzero(differing <= distance)
            # Hardly ever is one near, so whose candidate it is is looked up afterwards.
            asked = np.searchsorted(ends, near + done, side="right")
            yield asked, answers[near], differing[near]
        start = end
