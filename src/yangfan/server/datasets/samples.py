"""The rows of a version: pages and windows of them, searches, edits, annotations and their statistics."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from yangfan.datasets import formats, inspection, shards
from yangfan.datasets.deltas import Delta, Edited, differences
from yangfan.datasets.formats import is_annotated, parse
from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.server.datasets import store
from yangfan.server.datasets.logic import require_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from yangfan.datasets.deltas import Difference
    from yangfan.datasets.formats import Sample
    from yangfan.datasets.manifest import Row
    from yangfan.server.datasets.logic import Datasets
    from yangfan.server.datasets.types import DatasetVersion

T = TypeVar("T")

MAX_EDITS = 10_000
"""Most edited rows of a version; publishing writes them into shards."""

MAX_LABELS = 50
MAX_LABEL_CHARACTERS = 64
_CACHED = 16


class Window(NamedTuple):
    """Which rows.

    Attributes:
        annotated: Those that are annotated, or those that are not; None for both.
        imported_ms: First and last moment of coming in.
        annotated_ms: First and last moment of being annotated here.
        label: Those that have this label; "" for all.
        text: Those that say this, in any case; "" for all.
    """

    annotated: bool | None = None
    imported_ms: tuple[int, int] | None = None
    annotated_ms: tuple[int, int] | None = None
    label: str = ""
    text: str = ""

    def has(self, data_format: formats.DataFormat, row: Row) -> bool:
        """Whether a row is one of them."""
        return (
            self.annotated in {None, is_annotated(data_format, row.sample)}
            and _within(row.created_ms, self.imported_ms)
            and _within(row.annotated_ms, self.annotated_ms)
            and (not self.label or self.label in row.labels)
            and (not self.text or self.text.casefold() in formats.text_of(row.sample).casefold())
        )


ALL = Window()


def _within(moment_ms: int, span: tuple[int, int] | None) -> bool:
    return span is None or span[0] <= moment_ms <= span[1]


@dataclass(frozen=True, slots=True)
class Item:
    """A row on a page.

    Attributes:
        row: The row.
        annotated: Whether it is annotated.
        statistics: What was measured of it; None where nobody has, or it was edited since.
    """

    row: Row
    annotated: bool
    statistics: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of rows.

    Attributes:
        version: Of which.
        total: How many rows of the window there are.
        items: Some of them, in order.
    """

    version: DatasetVersion
    total: int
    items: list[Item]


class Samples:
    """Rows of all versions.

    Args:
        datasets: The versions.
    """

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._edited = _Recent[Edited]()
        self._matches = _Recent[list[int]]()

    async def page(
        self, reference: str | int, offset: int, limit: int, window: Window = ALL
    ) -> Page:
        """Rows of a version from an offset on.

        Raises:
            NotFound: There is no such version.
        """
        version = await self._datasets.version(reference)
        edited = await self._view(version)
        if window == ALL:
            total, found = version.rows, await asyncio.to_thread(edited.page, offset, limit)
        else:
            places = await self._matching(version, edited, window)
            total = len(places)
            found = await asyncio.to_thread(_gather, edited, places[offset : offset + limit])
        statistics = await self._statistics(version, [place for place, _ in found])
        data_format = version.data_format
        items = [
            Item(row, is_annotated(data_format, row.sample), measured)
            for (_, row), measured in zip(found, statistics, strict=True)
        ]
        return Page(version, total, items)

    async def get(self, reference: str | int, row_id: str) -> Row:
        """One row.

        Raises:
            NotFound: There is no such version or row.
        """
        version = await self._datasets.version(reference)
        found = await self._rows(version, [row_id])
        if row_id not in found:
            raise _no_row(version, row_id)
        return found[row_id][1]

    async def add(self, reference: str | int, raws: Sequence[object]) -> list[str]:
        """Put rows at the end, as `formats.parse` reads them; their ids.

        Raises:
            NotFound: There is no such version.
            Conflict: It cannot be changed, or would have too many edits.
            Invalid: A row is not of the version's format; none was added then.
        """
        version = await self._datasets.version(reference)
        samples: list[Sample] = []
        for number, raw in enumerate(raws, 1):
            try:
                samples.append(parse(version.data_format, raw))
            except Invalid as error:
                raise Invalid(f"row {number}: {error.message}", param="samples") from None
        now = store.clock_ms()
        ids = shards.RowIds(f"e{now:013x}{random.getrandbits(24):06x}")
        edits = [Delta(row_id=ids(), sample=sample, created_ms=now) for sample in samples]
        await self._edit(reference, lambda _found: edits, [])
        return [edit.row_id for edit in edits]

    async def annotate(
        self,
        reference: str | int,
        row_id: str,
        *,
        content: object = None,
        labels: Sequence[str] | None = None,
    ) -> tuple[DatasetVersion, Item]:
        """Say what a row is to say, and which labels it has; what is None stays.

        Raises:
            NotFound: There is no such version or row.
            Conflict: The version cannot be changed, or would have too many edits.
            Invalid: The content is not of the version's format, or a label is too long.
        """
        _check_labels(labels or ())
        version = await self._datasets.version(reference)
        now = store.clock_ms()

        def changed(found: Mapping[str, tuple[int | None, Row]]) -> list[Delta]:
            if row_id not in found:
                raise _no_row(version, row_id)
            place, row = found[row_id]
            sample = row.sample if content is None else _annotated(version, row.sample, content)
            return [
                Delta(
                    row_id=row_id,
                    sample=sample,
                    labels=row.labels if labels is None else tuple(dict.fromkeys(labels)),
                    place=place,
                    created_ms=row.created_ms,
                    annotated_ms=now,
                )
            ]

        (edit,) = await self._edit(reference, changed, [row_id])
        return version, Item(edit.row, is_annotated(version.data_format, edit.row.sample), None)

    async def delete(self, reference: str | int, row_ids: Sequence[str]) -> list[str]:
        """Delete rows; the ids of those that there were not.

        Raises:
            NotFound: There is no such version.
            Conflict: It cannot be changed, or would have too many edits.
        """
        missing: list[str] = []

        def deleted(found: Mapping[str, tuple[int | None, Row]]) -> list[Delta]:
            missing[:] = [row_id for row_id in dict.fromkeys(row_ids) if row_id not in found]
            return [Delta(row_id=row_id, place=place) for row_id, (place, _row) in found.items()]

        await self._edit(reference, deleted, row_ids)
        return missing

    async def differences(
        self, before: str | int, after: str | int, offset: int, limit: int
    ) -> tuple[Mapping[str, int], list[Difference]]:
        """What is different between two versions: how many rows of each kind, and some of them.

        Raises:
            NotFound: There is no such version.
            Invalid: They have different formats, or one of them has edits that are not in shards.
        """
        old, new = [await self._datasets.version(reference) for reference in (before, after)]
        if old.data_format is not new.data_format:
            raise Invalid(
                f"{old.reference} and {new.reference} have different data formats, {old.data_format.value} and {new.data_format.value}"
            )
        edits = [await self._deltas(version) for version in (old, new)]
        return await asyncio.to_thread(
            _compare, self._datasets.blobs, (old, new), edits, offset, limit
        )

    # Inside

    async def _view(self, version: DatasetVersion) -> Edited:
        """A version with its edits, from memory if it is the last one that was asked for."""
        key = (version.id, version.revision)
        edited = self._edited.get(key)
        if edited is None:
            edited = Edited(self._datasets.blobs, version.manifest, await self._deltas(version))
            self._edited.put(key, edited)
        return edited

    async def _deltas(self, version: DatasetVersion) -> list[Delta]:
        if not version.edits:
            return []
        async with self._datasets.database.read() as connection:
            return await store.deltas(connection, version.number)

    async def _matching(self, version: DatasetVersion, edited: Edited, window: Window) -> list[int]:
        """The numbers of the rows in a window, counted with edits."""
        if window == Window(annotated=True) and version.annotated == version.rows:
            return list(range(version.rows))
        if window == Window(annotated=False) and version.annotated == version.rows:
            return []
        key = (version.id, version.revision, window)
        found = self._matches.get(key)
        if found is None:
            found = await asyncio.to_thread(_search, self._datasets.blobs, version, edited, window)
            self._matches.put(key, found)
        return found

    async def _statistics(
        self, version: DatasetVersion, places: Sequence[int | None]
    ) -> list[Mapping[str, Any] | None]:
        known = [place for place in places if place is not None]
        if not known:
            return [None] * len(places)
        needed = {
            shard.sha256: shard
            for shard in version.manifest.shards
            if any(shard.first_row <= place < shard.first_row + shard.rows for place in known)
        }
        async with self._datasets.database.read() as connection:
            made = await store.statistics(connection, needed)
        if not made:
            return [None] * len(places)
        measured = await asyncio.to_thread(
            inspection.statistics_of, self._datasets.blobs, version.manifest, made, known
        )
        return [None if place is None else measured.get(place) for place in places]

    async def _rows(
        self, version: DatasetVersion, row_ids: Iterable[str]
    ) -> dict[str, tuple[int | None, Row]]:
        """Rows as they are now, with their places in the shards."""
        wanted = list(dict.fromkeys(row_ids))
        async with self._datasets.database.read() as connection:
            edited = await store.find_deltas(connection, version.number, wanted)
        left = [row_id for row_id in wanted if row_id not in edited]
        found: dict[str, tuple[int | None, Row]] = dict(
            await asyncio.to_thread(shards.find_rows, self._datasets.blobs, version.manifest, left)
        )
        found |= {
            row_id: (delta.place, delta.row)
            for row_id, delta in edited.items()
            if delta.sample is not None
        }
        return found

    async def _edit(
        self,
        reference: str | int,
        change: Callable[[Mapping[str, tuple[int | None, Row]]], Sequence[Delta]],
        row_ids: Sequence[str],
    ) -> Sequence[Delta]:
        """Read rows, change them, and write the edits, unless somebody was faster: then once more."""
        while True:
            version = await self._datasets.version(reference)
            require_open(version)
            found = await self._rows(version, row_ids)
            edits = change(found)
            async with self._datasets.database.write() as connection:
                now = await self._datasets.version(version.id, connection)
                require_open(now)
                if now.revision != version.revision:
                    continue
                if now.edits + len(edits) > MAX_EDITS:
                    raise Conflict(
                        f"{now.reference} has {now.edits} edited rows, {MAX_EDITS} are allowed;"
                        " publish it and go on in a new version"
                    )
                for edit in edits:
                    if edit.sample is None and edit.place is None:
                        await store.drop_delta(connection, version.number, edit.row_id)
                        continue
                    before = found.get(edit.row_id)
                    await store.put_delta(
                        connection,
                        version.number,
                        edit,
                        annotated=edit.sample is not None
                        and is_annotated(version.data_format, edit.sample),
                        was_annotated=before is not None
                        and edit.place is not None
                        and is_annotated(version.data_format, before[1].sample),
                    )
                if edits:
                    await store.change_version(
                        connection, version.number, revision=None, modified_ms=store.clock_ms()
                    )
            return edits


class _Recent(Generic[T]):
    """The last few things that were worked out."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, T] = OrderedDict()

    def get(self, key: Any) -> T | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Any, value: T) -> None:
        self._kept[key] = value
        while len(self._kept) > _CACHED:
            self._kept.popitem(last=False)


def _gather(edited: Edited, numbers: Sequence[int]) -> list[tuple[int | None, Row]]:
    """Rows by their numbers; those that follow one another are read at once."""
    found: list[tuple[int | None, Row]] = []
    at = 0
    while at < len(numbers):
        length = 1
        while at + length < len(numbers) and numbers[at + length] == numbers[at] + length:
            length += 1
        found += edited.page(numbers[at], length)
        at += length
    return found


def _search(
    blobs: shards.BlobFolder, version: DatasetVersion, edited: Edited, window: Window
) -> list[int]:
    """The numbers of the rows in a window: columns are compared, samples are not read."""
    columns = [
        name
        for name, wanted in (
            ("annotated", window.annotated),
            ("created_ms", window.imported_ms),
            ("annotated_ms", window.annotated_ms),
            ("labels", window.label or None),
            ("text", window.text or None),
        )
        if wanted is not None
    ]
    found: list[int] = []
    place = number = 0
    for batch in shards.read_batches(blobs, version.manifest, columns):
        for hit in _hits(batch, window):
            if place not in edited.deleted:
                delta = edited.changed.get(place)
                if hit if delta is None else window.has(version.data_format, delta.row):
                    found.append(number)
                number += 1
            place += 1
    new = (window.has(version.data_format, row) for row in edited.new)
    return [*found, *(number + index for index, has in enumerate(new) if has)]


def _hits(batch: Any, window: Window) -> list[bool]:
    """Which rows of a batch are in a window."""
    compute = shards.arrow("pyarrow.compute")
    masks: list[Any] = []
    for name, span in (("created_ms", window.imported_ms), ("annotated_ms", window.annotated_ms)):
        if span is not None:
            column = batch.column(name)
            masks += (
                compute.greater_equal(column, span[0]),
                compute.less_equal(column, span[1]),
            )
    if window.annotated is not None:
        masks.append(compute.equal(batch.column("annotated"), window.annotated))
    if window.text:
        column = batch.column("text")
        masks.append(compute.match_substring(column, window.text, ignore_case=True))
    hits = [True] * batch.num_rows
    for mask in masks:
        hits = [hit and also for hit, also in zip(hits, mask.to_pylist(), strict=True)]
    if window.label:
        labels: list[list[str]] = batch.column("labels").to_pylist()
        hits = [hit and window.label in names for hit, names in zip(hits, labels, strict=True)]
    return hits


def _compare(
    blobs: shards.BlobFolder,
    versions: Sequence[DatasetVersion],
    edits: Sequence[Sequence[Delta]],
    offset: int,
    limit: int,
) -> tuple[Mapping[str, int], list[Difference]]:
    counts = {"added": 0, "removed": 0, "changed": 0}
    found: list[Difference] = []
    old, new = versions
    for number, item in enumerate(
        differences(blobs, old.manifest, new.manifest, edits[0], edits[1])
    ):
        counts[item.kind] += 1
        if offset <= number < offset + limit:
            found.append(item)
    return counts, found


def _annotated(version: DatasetVersion, before: Sample, content: object) -> Sample:
    """A row that says something else; pictures stay where the new content names none."""
    if version.data_format.has_images and before.images:
        images = [
            {"name": image.name, "sha256": image.sha256, "size_bytes": image.size_bytes}
            for image in before.images
        ]
        content = _with_images(content, images)
    try:
        return parse(version.data_format, content)
    except Invalid as error:
        raise Invalid(f"content: {error.message}", param="content") from None


def _with_images(content: object, images: list[dict[str, Any]]) -> object:
    rows = cast("list[Any]", content) if isinstance(content, list) else [content]
    first: Any = rows[0] if rows else None
    if not isinstance(first, dict) or {"image", "images"} & {*cast("dict[str, Any]", first)}:
        return rows
    return [{**cast("dict[str, Any]", first), "images": images}, *rows[1:]]


def _no_row(version: DatasetVersion, row_id: str) -> NotFound:
    return NotFound(
        f"{version.reference} has no row {row_id[:80]!r}; list its rows to see their ids",
        param="id",
    )


def _check_labels(labels: Sequence[str]) -> None:
    if len(labels) > MAX_LABELS:
        raise Invalid(f"a row has at most {MAX_LABELS} labels, got {len(labels)}", param="labels")
    for label in labels:
        if not label.strip() or len(label) > MAX_LABEL_CHARACTERS:
            raise Invalid(
                f"a label has 1 to {MAX_LABEL_CHARACTERS} characters, got {label[:80]!r}",
                param="labels",
            )
