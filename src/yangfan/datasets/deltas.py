"""Edits of an unpublished version: one for each row that differs from its shards, on top of them until they are written anew."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from yangfan.datasets import formats, shards
from yangfan.datasets.formats import Sample
from yangfan.datasets.manifest import Manifest, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from yangfan.datasets.shards import BlobFolder


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a row.

    Attributes:
        row_id: Which row.
        sample: What it says now; None if it is deleted.
        labels: Labels that people put on it.
        place: Where it stands in the version's shards; None for a row that they do not have, which comes behind them.
        created_ms: When it came in.
        annotated_ms: When it was annotated.
    """

    row_id: str
    sample: Sample | None = None
    labels: tuple[str, ...] = ()
    place: int | None = None
    created_ms: int = 0
    annotated_ms: int = 0

    @property
    def row(self) -> Row:
        """The row as it is now; it must not be deleted."""
        assert self.sample is not None, "a deleted row says nothing"
        return Row(self.row_id, self.sample, self.labels, self.created_ms, self.annotated_ms)


def apply(rows: Iterable[Row], deltas: Iterable[Delta]) -> Iterator[Row]:
    """All rows of a version with their edits: changed ones in their places, deleted ones gone, new ones at the end in the order given."""
    changed = {delta.row_id: delta for delta in deltas}
    for row in rows:
        delta = changed.pop(row.row_id, None)
        if delta is None:
            yield row
        elif delta.sample is not None:
            yield delta.row
    yield from (delta.row for delta in changed.values() if delta.sample is not None)


class Edited:
    """A version with its edits, of which any page can be read without what stands before it.

    Args:
        blobs: Where its shards are.
        manifest: Which they are.
        deltas: Its edits, new rows in their order.

    Attributes:
        changed: Edits of rows in shards, by their places there.
        deleted: Places of rows that are deleted.
        new: Rows that stand behind those in shards.
    """

    def __init__(self, blobs: BlobFolder, manifest: Manifest, deltas: Sequence[Delta] = ()) -> None:
        self._blobs = blobs
        self._manifest = manifest
        self.changed = {
            delta.place: delta
            for delta in deltas
            if delta.place is not None and delta.sample is not None
        }
        self._deleted = sorted(
            delta.place for delta in deltas if delta.place is not None and delta.sample is None
        )
        self.deleted = frozenset(self._deleted)
        self.new = [delta.row for delta in deltas if delta.place is None and delta.sample]

    @property
    def kept(self) -> int:
        """How many of the rows in shards are left."""
        return self._manifest.rows - len(self._deleted)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.kept + len(self.new)

    def page(self, offset: int = 0, limit: int | None = None) -> list[tuple[int | None, Row]]:
        """Up to `limit` rows from an offset on, each with its place in the shards if it stands there unchanged."""
        limit = self.rows if limit is None else limit
        found = list[tuple[int | None, Row]]()
        if offset < self.kept and limit > 0:
            found = self._from_shards(self._place(offset), limit)
        behind = max(0, offset - self.kept)
        new = self.new[behind : behind + limit - len(found)]
        return [*found, *((None, row) for row in new)]

    def __iter__(self) -> Iterator[Row]:
        """All of them, in order."""
        gone = self.deleted
        for place, row in enumerate(shards.read_rows(self._blobs, self._manifest)):
            if place not in gone:
                yield self.changed[place].row if place in self.changed else row
        yield from self.new

    def _from_shards(self, place: int, limit: int) -> list[tuple[int | None, Row]]:
        gone = set(self._deleted[bisect_left(self._deleted, place) :])
        # So many more must be read at most: each deleted row that follows may be in the way.
        needed = limit + len(gone)
        found: list[tuple[int | None, Row]] = []
        for row in shards.read_rows(self._blobs, self._manifest, place, needed):
            if place not in gone:
                delta = self.changed.get(place)
                found.append((place, row) if delta is None else (None, delta.row))
                if len(found) == limit:
                    break
            place += 1
        return found

    def _place(self, offset: int) -> int:
        """Where in the shards the row stands that is number `offset` of those left."""
        low, high = 0, len(self._deleted)
        while low < high:
            middle = (low + high) // 2
            # So many rows are left before the deleted one.
            if self._deleted[middle] - middle <= offset:
                low = middle + 1
            else:
                high = middle
        return offset + low


def compact(
    blobs: BlobFolder,
    manifest: Manifest,
    deltas: Sequence[Delta],
    tell: Callable[[int], None] = lambda _rows: None,
) -> Manifest:
    """Write edits into shards: only shards that have an edited row are written anew, all others stay.

    Args:
        blobs: Where shards are and go.
        manifest: Those of the version.
        deltas: Its edits.
        tell: Told how many rows of the version are done.

    Raises:
        ConfigurationError: A shard is not here, or the disk is full.
    """
    edits: dict[int, Delta] = {delta.place: delta for delta in deltas if delta.place is not None}
    places = sorted(edits)
    with shards.ShardWriter(blobs, manifest.format) as writer:
        for shard in manifest.shards:
            end = shard.first_row + shard.rows
            here = places[bisect_left(places, shard.first_row) : bisect_left(places, end)]
            if not here:
                writer.add_shards([shard])
            else:
                _rewrite(blobs, manifest, shard.first_row, shard.rows, edits, writer)
                writer.flush()
            tell(end)
        for delta in deltas:
            if delta.place is None and delta.sample is not None:
                writer.add_row(delta.row)
        return writer.finish()


def _rewrite(
    blobs: BlobFolder,
    manifest: Manifest,
    first: int,
    count: int,
    edits: Mapping[int, Delta],
    writer: shards.ShardWriter,
) -> None:
    for place, row in enumerate(shards.read_rows(blobs, manifest, first, count), first):
        delta = edits.get(place)
        if delta is None:
            writer.add_row(row)
        elif delta.sample is not None:
            writer.add_row(delta.row)


class Difference(NamedTuple):
    """A row that two versions do not have alike.

    Attributes:
        kind: Whether the later version has it anew, no longer, or otherwise.
        row_id: Which.
        before: It in the earlier version.
        after: It in the later one.
    """

    kind: Literal["added", "removed", "changed"]
    row_id: str
    before: Sample | None
    after: Sample | None


def differences(
    blobs: BlobFolder,
    before: Manifest,
    after: Manifest,
    before_deltas: Sequence[Delta] = (),
    after_deltas: Sequence[Delta] = (),
) -> Iterator[Difference]:
    """What is different between two versions of a group, by the ids of rows; shards that both have unedited are not read.

    Args:
        blobs: Where their shards are.
        before: The earlier version.
        after: The later one.
        before_deltas: Edits of the earlier one.
        after_deltas: Edits of the later one.

    Raises:
        ConfigurationError: A shard is not here.
    """
    same = _unedited(before, before_deltas) & _unedited(after, after_deltas)
    # Only hashes are kept of the earlier rows: a few dozen bytes each.
    were = {
        row_id: (hash((sample, labels)), place)
        for row_id, sample, labels, place in _rows(blobs, before, before_deltas, same)
    }
    edited = {delta.row_id: delta for delta in before_deltas}

    def earlier(row_id: str, place: int | None) -> Sample | None:
        if row_id in edited:
            return edited[row_id].sample
        assert place is not None, "a row that was not edited stands in a shard"
        return next(shards.read_rows(blobs, before, place, 1)).sample

    for row_id, sample, labels, _place in _rows(blobs, after, after_deltas, same):
        was = were.pop(row_id, None)
        if was is None:
            yield Difference("added", row_id, None, formats.decode(sample))
        elif was[0] != hash((sample, labels)):
            yield Difference("changed", row_id, earlier(row_id, was[1]), formats.decode(sample))
    for row_id, (_hash, place) in were.items():
        yield Difference("removed", row_id, earlier(row_id, place), None)


def _unedited(manifest: Manifest, deltas: Sequence[Delta]) -> set[str]:
    """Shards none of whose rows is edited."""
    places = sorted(delta.place for delta in deltas if delta.place is not None)
    return {
        shard.sha256
        for shard in manifest.shards
        if bisect_left(places, shard.first_row) == bisect_left(places, shard.first_row + shard.rows)
    }


def _rows(
    blobs: BlobFolder, manifest: Manifest, deltas: Sequence[Delta], without: set[str]
) -> Iterator[tuple[str, str, tuple[str, ...], int | None]]:
    """Id, sample as JSON, labels and place of rows with their edits, but for those of some shards."""
    edits = {delta.place: delta for delta in deltas if delta.place is not None}
    columns = ["row_id", "sample", "labels"]
    for shard in manifest.shards:
        if shard.sha256 in without:
            continue
        place = shard.first_row
        for batch in shards.read_batches(blobs, manifest, columns, place, shard.rows):
            ids, samples, labels = (column.to_pylist() for column in batch.columns)
            for row_id, sample, names in zip(ids, samples, labels, strict=True):
                delta = edits.get(place)
                if delta is None:
                    yield row_id, sample, tuple(names), place
                elif delta.sample is not None:
                    yield row_id, formats.encode(delta.sample), delta.labels, place
                place += 1
    for delta in deltas:
        if delta.place is None and delta.sample is not None:
            yield delta.row_id, formats.encode(delta.sample), delta.labels, None
