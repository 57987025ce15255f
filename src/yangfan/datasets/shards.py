"""Shards: Parquet files of rows in a folder of blobs that are named by what they hold.

The columns of a shard:

| column | type | holds |
|---|---|---|
| row_id | string | names the row in its group |
| sample | string | `yangfan.datasets.formats.Sample` as canonical JSON |
| text | string | all that it says (`text_of`), for operators, statistics and searches |
| annotated | bool | whether it is annotated |
| labels | list of string | labels that people put on it |
| created_ms, annotated_ms | int64 | when it came in, when it was annotated here |
| blobs | list of string | sha256 of the pictures that it needs |

Rows stand in row groups of about a thousand, so that a page in the middle of a million rows costs one of them. The same rows
written by the same release of pyarrow make the same file. pyarrow is imported by the functions that need it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import time
import uuid
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from yangfan.datasets import formats
from yangfan.datasets.manifest import MAX_LABELS, Manifest, Row, Shard
from yangfan.errors import ConfigurationError
from yangfan.hub.disk import full_disk_said_clearly, sha256_of, sync

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from yangfan.datasets.formats import DataFormat, Sample

ROWS_PER_SHARD = 50_000
ROWS_PER_GROUP = 1_000
GROUP_BYTES = 8 * 1024 * 1024
"""A row group of long samples is closed at so many bytes of JSON, whatever its rows: this bounds the memory of a writer."""
SHARD_BYTES = 256 * 1024 * 1024
"""And a shard at so many."""
COLUMNS = ("row_id", "sample", "text", "annotated", "labels", "created_ms", "annotated_ms", "blobs")
PARTS = "parts"
"""Folder of the files that are being written."""


def arrow(module: str = "pyarrow") -> Any:
    """Pyarrow or a module of it, which have no types.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigurationError(
            'datasets need pyarrow, which is not installed here; type: pip install "yangfan[data]"'
        ) from None


def schema() -> Any:
    """The schema of every shard."""
    pa = arrow()

    text, texts, moment = pa.string(), pa.list_(pa.string()), pa.int64()
    kinds = (text, text, text, pa.bool_(), texts, moment, moment, texts)
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in zip(COLUMNS, kinds, strict=True)]
    )


class BlobFolder:
    """A folder of files that are named by the sha256 of what they hold. Safe for many processes at once.

    Args:
        root: The folder, made when something is put into it. The server's is ``<home>/datasets``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where that content is, or would be.

        Raises:
            ConfigurationError: It is no sha256.
        """
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ConfigurationError(f"{sha256[:80]!r} is no sha256")
        return self.root / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether that content is here."""
        return self.path(sha256).is_file()

    def part(self, ending: str = "") -> Path:
        """A new place for a file on its way in; `adopt` takes it from there."""
        folder = self.root / PARTS
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"cannot make the folder {folder}: {error.strerror}"
            ) from error
        return folder / f"{uuid.uuid4().hex}{ending}"

    def adopt(self, part: Path) -> str:
        """Make a finished file a blob; its sha256. `part` is gone afterwards.

        Raises:
            ConfigurationError: The disk is full.
        """
        sha256 = sha256_of(part)
        path = self.path(sha256)
        with full_disk_said_clearly(part.parent):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.is_file() and path.stat().st_size == part.stat().st_size:
                part.unlink()
                os.utime(path)  # somebody is about to use it: collecting leaves young blobs alone
                return sha256
            sync(part)
            try:
                part.replace(path)
            except OSError:  # another disk
                moved = self.part()
                shutil.copyfile(part, moved)
                sync(moved)
                moved.replace(path)
                part.unlink()
            sync(path.parent)
        return sha256

    def put(self, content: bytes) -> str:
        """Keep a few bytes; their sha256.

        Raises:
            ConfigurationError: The disk is full.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        if path.is_file():
            os.utime(path)
            return sha256
        part = self.part()
        with full_disk_said_clearly(part.parent):
            part.write_bytes(content)
        return self.adopt(part)

    def read(self, sha256: str) -> bytes:
        """A blob's bytes.

        Raises:
            ConfigurationError: It is not here.
        """
        try:
            return self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise _gone(sha256) from None

    def collect(self, used: Collection[str], *, older_than_seconds: float) -> tuple[int, int]:
        """Remove blobs that nobody uses and files that nobody finished, unless they are young.

        Args:
            used: What stays.
            older_than_seconds: What was put here or asked for again since then stays: somebody may be about to name it.

        Returns:
            How many files are gone, and how many bytes they had.
        """
        before = time.time() - older_than_seconds
        gone = size_bytes = 0
        for path in (*self.root.glob("??/*"), *self.root.glob(f"{PARTS}/*")):
            if path.name in used:
                continue
            try:
                stat = path.stat()
                if stat.st_mtime > before:
                    continue
                path.unlink()
            except FileNotFoundError:
                continue
            gone += 1
            size_bytes += stat.st_size
        return gone, size_bytes


def _gone(sha256: str) -> ConfigurationError:
    return ConfigurationError(
        f"content {sha256[:16]}… of the dataset is no longer on this machine; restore the folder datasets of the home folder"
    )


class _Line(NamedTuple):
    """A row as columns, in the order of `COLUMNS`."""

    row_id: str
    sample: bytes
    text: str
    annotated: bool
    labels: Sequence[str]
    created_ms: int
    annotated_ms: int
    blobs: Sequence[str]


class ShardWriter:
    """Writes rows into shards, in bounded memory.

    Nothing is a shard before `flush` or `finish`, or before so many rows are there; `state` then says what is, and a writer that is
    made with it goes on behind them. Leave it with `close` when nothing is to come of it; used in a ``with`` it does so by itself.

    Args:
        blobs: Where shards go.
        data_format: What the rows are.
        rows_per_shard: Rows of a shard.
        start: What `state` said, {} for nothing.
        created_ms: When the rows come in, unless `add` says otherwise. Take it from the job's spec, not the clock: the same rows are to
            make the same shards.
    """

    def __init__(
        self,
        blobs: BlobFolder,
        data_format: DataFormat,
        rows_per_shard: int = ROWS_PER_SHARD,
        start: Mapping[str, Any] | None = None,
        *,
        created_ms: int = 0,
    ) -> None:
        self._blobs = blobs
        self._format = data_format
        self._is_annotated = formats.annotation_of(data_format)
        self._rows_per_shard = rows_per_shard
        self._group_rows = min(ROWS_PER_GROUP, rows_per_shard)
        self._created_ms = created_ms
        self._shards: list[Shard] = []
        if start:
            self._shards = msgspec.convert(start.get("shards", []), list[Shard])
        self._lines: list[_Line] = []
        self._line_bytes = 0
        self._open: _OpenShard | None = None

    def __enter__(self) -> ShardWriter:
        """The writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is not a shard."""
        self.close()

    @property
    def rows(self) -> int:
        """How many rows are in shards, or on their way."""
        waiting = len(self._lines) + (self._open.rows if self._open else 0)
        return sum(shard.rows for shard in self._shards) + waiting

    @property
    def data_format(self) -> DataFormat:
        """What the rows are."""
        return self._format

    def add(
        self,
        row_id: str,
        sample: Sample,
        labels: Sequence[str] = (),
        *,
        created_ms: int | None = None,
        annotated_ms: int = 0,
        encoded: bytes = b"",
    ) -> None:
        """Write a row.

        Args:
            row_id: Names it; must be new in its group.
            sample: What it says.
            labels: Labels that people put on it.
            created_ms: When it came in, ms since the epoch; None for the writer's.
            annotated_ms: When it was annotated here, 0 for never.
            encoded: The sample as `formats.encode_utf8` writes it, where somebody has that already.
        """
        encoded = encoded or formats.encode_utf8(sample)
        plain = formats.text_of(sample)
        self._lines.append(
            _Line(
                row_id,
                encoded,
                plain,
                self._is_annotated(sample),
                labels,
                self._created_ms if created_ms is None else created_ms,
                annotated_ms,
                [image.sha256 for image in sample.images if image.sha256] if sample.images else (),
            )
        )
        self._line_bytes += len(encoded) + len(plain)
        if len(self._lines) >= self._group_rows or self._line_bytes >= GROUP_BYTES:
            self._write_group()
            if self._open is not None and (
                self._open.rows >= self._rows_per_shard or self._open.json_bytes >= SHARD_BYTES
            ):
                self.flush()

    def add_row(self, row: Row) -> None:
        """Write a row of another version as it is."""
        self.add(
            row.row_id,
            row.sample,
            row.labels,
            created_ms=row.created_ms,
            annotated_ms=row.annotated_ms,
        )

    def add_shards(self, shards: Iterable[Shard]) -> None:
        """Put shards that there are already behind what has been written."""
        self.flush()
        self._shards.extend(shards)

    def flush(self) -> list[Shard]:
        """Make a shard of what has been written since the last one; those that are new.

        Raises:
            ConfigurationError: The disk is full.
        """
        self._write_group()
        if self._open is None:
            return []
        shard = self._open.finish()
        self._open = None
        self._shards.append(shard)
        return [shard]

    @property
    def state(self) -> dict[str, Any]:
        """What is in shards, as JSON: for a checkpoint right behind `flush`."""
        return {"shards": msgspec.to_builtins(self._shards)}

    def finish(self) -> Manifest:
        """Make shards of all that was written; the manifest of all of it.

        Raises:
            ConfigurationError: The disk is full.
        """
        self.flush()
        return Manifest.of(self._format, self._shards)

    def close(self) -> None:
        """Remove what is not a shard."""
        self._lines.clear()
        if self._open is not None:
            self._open.discard()
            self._open = None

    def _write_group(self) -> None:
        if not self._lines:
            return
        if self._open is None:
            self._open = _OpenShard(self._blobs)
        self._open.write(self._lines, self._line_bytes)
        self._lines, self._line_bytes = [], 0


class _OpenShard:
    """A shard that is being written: pyarrow packs a row group in a thread, without Python, while the next one is being read."""

    def __init__(self, blobs: BlobFolder) -> None:
        pq = arrow("pyarrow.parquet")

        self._blobs = blobs
        self._path = blobs.part(".parquet")
        self._schema = schema()
        self._writer = pq.ParquetWriter(
            self._path,
            self._schema,
            compression="zstd",
            use_dictionary=["labels", "created_ms", "annotated_ms"],
            write_statistics=["row_id"],
            store_schema=False,
        )
        self.rows = self.json_bytes = self._annotated = self._characters = 0
        self._ids: list[str] = []
        self._labels: set[str] = set()
        self._thread = ThreadPoolExecutor(1)
        self._packing: Future[None] | None = None

    def write(self, lines: Sequence[_Line], json_bytes: int) -> None:
        """One row group."""
        pa = arrow()

        columns = dict(zip(COLUMNS, zip(*lines, strict=True), strict=True))
        texts = {"sample": columns["sample"], "text": [line.text.encode() for line in lines]}
        arrays = [
            _strings(texts[field.name])
            if field.name in texts
            else pa.array(columns[field.name], type=field.type)
            for field in self._schema
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._settle()
        self._packing = self._thread.submit(self._writer.write_table, table)
        self.rows += len(lines)
        self.json_bytes += json_bytes
        self._annotated += sum(line.annotated for line in lines)
        self._characters += sum(len(line.text) for line in lines)
        self._labels.update(*(line.labels for line in lines if line.labels))
        self._ids += (min(line.row_id for line in lines), max(line.row_id for line in lines))

    def _settle(self) -> None:
        """Wait for the row group that is being packed: only one is at a time."""
        packing, self._packing = self._packing, None
        if packing is not None:
            with full_disk_said_clearly(self._path.parent):
                packing.result()

    def finish(self) -> Shard:
        """Make it a blob."""
        self._settle()
        self._thread.shutdown()
        with full_disk_said_clearly(self._path.parent):
            self._writer.close()
        size_bytes = self._path.stat().st_size
        return Shard(
            sha256=self._blobs.adopt(self._path),
            size_bytes=size_bytes,
            rows=self.rows,
            first_row=0,
            annotated=self._annotated,
            characters=self._characters,
            min_row_id=min(self._ids),
            max_row_id=max(self._ids),
            labels=tuple(sorted(self._labels)[:MAX_LABELS]),
        )

    def discard(self) -> None:
        """Remove it."""
        self._thread.shutdown()
        self._writer.close()
        self._path.unlink(missing_ok=True)


def _strings(texts: Sequence[bytes]) -> Any:
    """An Arrow array of texts that are known to be UTF-8: pyarrow would look at each of them again."""
    pa = arrow()
    ends = array("i", accumulate(map(len, texts), initial=0))
    return pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts))
    )


def read_rows(
    blobs: BlobFolder, manifest: Manifest, offset: int = 0, limit: int | None = None
) -> Iterator[Row]:
    """Rows in order, from an offset on; what stands before it is not read.

    Raises:
        ConfigurationError: A shard is not here.
    """
    end = manifest.rows if limit is None else min(manifest.rows, offset + max(0, limit))
    for batch, start in _batches(blobs, manifest, ("row_id", "sample", *_ROW_COLUMNS), offset, end):
        first = max(0, offset - start)
        for line in batch.slice(first, end - start - first).to_pylist():
            yield _row(line)


def read_batches(
    blobs: BlobFolder,
    manifest: Manifest,
    columns: Sequence[str] = ("row_id", "sample"),
    offset: int = 0,
    limit: int | None = None,
) -> Iterator[Any]:
    """Rows as Arrow batches of about a thousand, in order.

    Args:
        blobs: Where the shards are.
        manifest: Which.
        columns: Some of `COLUMNS`, in the order wanted.
        offset: How many rows to leave out at the beginning.
        limit: How many rows at most.

    Raises:
        ConfigurationError: A shard is not here.
    """
    end = manifest.rows if limit is None else min(manifest.rows, offset + max(0, limit))
    for batch, start in _batches(blobs, manifest, columns, offset, end):
        first = max(0, offset - start)
        yield batch.slice(first, end - start - first).select(list(columns))


def find_rows(
    blobs: BlobFolder, manifest: Manifest, row_ids: Collection[str]
) -> dict[str, tuple[int, Row]]:
    """Rows by their ids, with their places in the version; ids that there are not are left out.

    Raises:
        ConfigurationError: A shard is not here.
    """
    wanted, places = set(row_ids), dict[str, int]()
    for shard in manifest.shards:
        left = [row_id for row_id in wanted - places.keys() if shard.may_have(row_id)]
        if left:
            places |= _places(blobs, shard, left)
    return {
        row_id: (place, next(read_rows(blobs, manifest, place, 1)))
        for row_id, place in places.items()
    }


def _places(blobs: BlobFolder, shard: Shard, row_ids: Collection[str]) -> dict[str, int]:
    """Where rows of a shard stand in the version: only row groups whose statistics allow it are read."""
    found: dict[str, int] = {}
    with _opened(blobs, shard.sha256) as file:
        start = shard.first_row
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            known = group.column(0).statistics
            wanted = {
                row_id
                for row_id in row_ids
                if known is None or not known.has_min_max or known.min <= row_id <= known.max
            }
            if wanted:
                ids: list[str] = file.read_row_group(number, columns=["row_id"])[0].to_pylist()
                found |= {
                    row_id: start + index for index, row_id in enumerate(ids) if row_id in wanted
                }
            start += group.num_rows
    return found


_ROW_COLUMNS = ("labels", "created_ms", "annotated_ms")


def _row(line: Mapping[str, Any]) -> Row:
    return Row(
        line["row_id"],
        formats.decode(line["sample"]),
        tuple(line["labels"]),
        line["created_ms"],
        line["annotated_ms"],
    )


def _batches(
    blobs: BlobFolder, manifest: Manifest, columns: Sequence[str], offset: int, end: int
) -> Iterator[tuple[Any, int]]:
    """Row groups that have rows of a range, each with the place of its first row."""
    for shard in manifest.shards:
        if shard.first_row >= end or shard.first_row + shard.rows <= offset:
            continue
        with _opened(blobs, shard.sha256) as file:
            start = shard.first_row
            for number in range(file.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                if start < end and start + rows > offset:
                    table = file.read_row_group(number, columns=list(columns))
                    yield table.combine_chunks().to_batches()[0], start
                start += rows


def _opened(blobs: BlobFolder, sha256: str) -> Any:
    pq = arrow("pyarrow.parquet")

    try:
        return pq.ParquetFile(blobs.path(sha256), memory_map=True)
    except FileNotFoundError:
        raise _gone(sha256) from None


def used_blobs(blobs: BlobFolder, manifest: Manifest) -> set[str]:
    """The sha256 of everything that a version needs: its shards, and the pictures of its rows.

    Raises:
        ConfigurationError: A shard is not here.
    """
    used = {shard.sha256 for shard in manifest.shards}
    if manifest.format.has_images:
        for batch in read_batches(blobs, manifest, ["blobs"]):
            used.update(sha256 for names in batch.column(0).to_pylist() for sha256 in names)
    return used


class RowIds:
    """Makes the ids of new rows: a prefix that names their source, and their number, so that they are in order.

    Args:
        prefix: Such as a job's id without its ``jb-``; the same job makes the same ids again when it is repeated.
        start: Number of the next row.
    """

    def __init__(self, prefix: str, start: int = 0) -> None:
        self._prefix = prefix
        self.next = start

    def __call__(self) -> str:
        """The next id."""
        number, self.next = self.next, self.next + 1
        return f"{self._prefix}-{number:010d}"
