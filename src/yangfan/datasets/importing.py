"""Rows of files into shards: fetch, take archives apart, read, check each row, write.

A row that is not of the dataset's format stops nothing: it goes into a file of refused rows, with the file it stood in, its number and
a reason. Where an attempt may begin anew is saved with every shard. Batches, shards and places follow from the files alone, so an
import that was killed leaves, in the end, the same rows in the same shards as one that was not.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import msgspec

from yangfan.datasets.fetching import File, Tell, fetch
from yangfan.datasets.formats import DataFormat, Image, Sample, encode_utf8, parse_encoded
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.parts import Part, Picture, Skipped, open_part, parts_of
from yangfan.datasets.readers.base import Flaw, Options
from yangfan.datasets.shards import BlobFolder, RowIds, ShardWriter
from yangfan.datasets.tables import row_of, with_json
from yangfan.errors import BadSample, ConfigurationError
from yangfan.hub.disk import full_disk_said_clearly, sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.egress import Egress
    from yangfan.hub.sources.base import HubSettings

Save = Callable[[Mapping[str, Any]], None]
"""Keeps a checkpoint; it is durable when this returns."""

FIRST_SAVE_BYTES: Final = 4 * 1024 * 1024
MAX_SAVE_BYTES: Final = 64 * 1024 * 1024
"""A shard holds what came out of so many bytes of the files: the first one few, each further one twice as many, up to this."""
MAX_SAVE_ROWS: Final = 200_000
"""And no more rows than this."""
SHOWN_ROWS: Final = 100
"""Of the refused rows, so many are part of the result."""


class ImportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to import.

    Attributes:
        sources: Addresses, as `yangfan.datasets.fetching.fetch` takes them, read in this order.
        data_format: Value of a `DataFormat`.
        row_prefix: Row ids are this, a dash and a number; unique in the group of the dataset.
        created_ms: When the rows come in, ms since the epoch.
        names: What people call the files of the addresses, where the addresses do not say it.
        format: Of files whose names say none; None to go by their content.
        options: How to read them.
    """

    sources: tuple[str, ...]
    data_format: str
    row_prefix: str
    created_ms: int = 0
    names: tuple[str, ...] = ()
    format: str | None = None
    options: Options = Options()


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not taken, as the file of refused rows has it on a line.

    Attributes:
        file: Where it stood.
        line: The line that it begins in, from 1, in formats with lines; the how-manieth it is otherwise.
        reason: Why, and what to change.
        row: The beginning of what stands there.
        rows: How many rows it stands for.
    """

    file: str
    line: int
    reason: str
    row: str
    rows: int = 1


class FileCount(msgspec.Struct, kw_only=True):
    """What came out of one file."""

    name: str
    format: str
    rows: int = 0
    bad_rows: int = 0


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What there is now.

    Attributes:
        manifest: The rows.
        rows: How many were taken.
        bad_rows: How many were refused.
        refused_path: The file of refused rows, JSON lines of `Refused`; "" if there are none.
        refused: The first ones.
        size_bytes: All files together, unpacked.
        files: Count by file.
        skipped: Members of archives that are no data.
    """

    manifest: Manifest
    rows: int
    bad_rows: int
    refused_path: str
    refused: tuple[Refused, ...]
    size_bytes: int
    files: tuple[FileCount, ...]
    skipped: tuple[Skipped, ...]


class _State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A checkpoint.

    Attributes:
        files: Name, path, size and time of change of each file that was fetched.
        part: The how-manieth part is being read.
        place: Where in it, and how many of its bytes are before that.
        rows: Rows taken.
        bad_rows: Rows refused.
        refused_bytes: Of the file of refused rows.
        done_bytes: Of the parts before this one.
        save_bytes: Bytes between this save and the next.
        counts: By part.
        writer: What the writer of shards goes on from.
    """

    files: list[tuple[str, str, int, int]] = []
    part: int = 0
    place: dict[str, Any] = {}
    place_bytes: int = 0
    rows: int = 0
    bad_rows: int = 0
    refused_bytes: int = 0
    done_bytes: int = 0
    save_bytes: int = 0
    counts: list[FileCount] = []
    writer: dict[str, Any] = {}


def gather(
    order: ImportOrder,
    folder: Path,
    *,
    egress: Egress,
    settings: HubSettings,
    state: Mapping[str, Any],
    save: Save,
    tell: Tell,
) -> dict[str, Any]:
    """Bring the files of an order here, unless the checkpoint knows them and they are as they were.

    Returns:
        The checkpoint to go on from.

    Raises:
        ConfigurationError: An address is none, a file is not there, or changed while it was read.
        SourceUnavailable: See `yangfan.datasets.fetching.fetch`, as for EgressDenied and FetchError.
    """
    now = msgspec.convert(dict(state), _State)
    if now.files and all(Path(path).exists() for _, path, _, _ in now.files):
        for name, path, size, changed in now.files:
            facts = Path(path).stat()
            if (facts.st_size, facts.st_mtime_ns) != (size, changed):
                raise ConfigurationError(
                    f"{name} changed while it was imported; import it again, and leave it alone meanwhile"
                )
        return dict(state)
    folder.mkdir(parents=True, exist_ok=True)
    fetched: list[File] = []
    for number, source in enumerate(order.sources):
        came = asyncio.run(fetch(source, folder, egress=egress, settings=settings, tell=tell))
        if len(came) == 1 and number < len(order.names) and order.names[number]:
            came = [File(order.names[number], came[0].path)]
        fetched += came
    fresh = _State(files=[_described(file) for file in fetched])
    kept = msgspec.to_builtins(fresh)
    save(kept)
    return kept


def _described(file: File) -> tuple[str, str, int, int]:
    facts = file.path.stat()
    return file.name, str(file.path), facts.st_size, facts.st_mtime_ns


def read(
    order: ImportOrder,
    folder: Path,
    *,
    blobs: BlobFolder,
    refused: Path,
    state: Mapping[str, Any],
    save: Save,
    tell: Tell,
) -> Imported:
    """Read the files that `gather` brought, behind what the checkpoint says.

    Args:
        order: What to import.
        folder: Of the job, kept from attempt to attempt.
        blobs: Where shards go.
        refused: Where the file of refused rows goes; there is none if no row is refused.
        state: The checkpoint.
        save: Keeps the next ones.
        tell: Told the bytes that were read; whatever it raises ends the work.

    Raises:
        ConfigurationError: A file cannot be read at all, or there is no space; the message says what to change.
        FetchError: An archive is damaged or must not be unpacked.
    """
    now = msgspec.convert(dict(state), _State)
    files = [File(name, Path(path)) for name, path, _, _ in now.files]
    importing = _Import(order, folder, blobs, refused, now, save, tell)
    with full_disk_said_clearly(folder):
        try:
            return importing.run(files)
        finally:
            importing.close()


class _Import:
    """One attempt."""

    def __init__(
        self,
        order: ImportOrder,
        folder: Path,
        blobs: BlobFolder,
        refused: Path,
        state: _State,
        save: Save,
        tell: Tell,
    ) -> None:
        self._order, self._folder, self._blobs, self._target = order, folder, blobs, refused
        self._state, self._save, self._tell = state, save, tell
        state.save_bytes = state.save_bytes or min(FIRST_SAVE_BYTES, MAX_SAVE_BYTES)
        self._format = DataFormat.named(order.data_format)
        self._writer = ShardWriter(
            blobs, self._format, start=state.writer, created_ms=order.created_ms
        )
        self._row_ids = RowIds(order.row_prefix, state.rows)
        self._refused_path = folder / "refused.jsonl"
        self._refused = self._open_refused()
        self._scratch = folder / "scratch"
        self._unsaved_bytes = self._unsaved_rows = 0
        self._is_only = False
        self._adopted: dict[str, Image] = {}

    def _open_refused(self) -> BinaryIO:
        self._refused_path.touch()
        file = self._refused_path.open("r+b")
        file.truncate(self._state.refused_bytes)
        file.seek(self._state.refused_bytes)
        return file

    def close(self) -> None:
        self._writer.close()
        self._refused.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def run(self, files: Sequence[File]) -> Imported:
        parts, skipped = parts_of(
            files,
            self._folder,
            wanted=self._order.format,
            with_pictures=self._format.has_images,
            tell=self._tell,
        )
        sizes = [self._size(part) for part in parts]
        total, self._is_only = sum(sizes), len(parts) == 1
        for number in range(self._state.part, len(parts)):
            self._read(number, parts[number], total)
            self._state.done_bytes += sizes[number]
            self._state.part, self._state.place, self._state.place_bytes = number + 1, {}, 0
            self._adopted.clear()
        manifest = self._writer.finish()
        return Imported(
            manifest=manifest,
            rows=self._state.rows,
            bad_rows=self._state.bad_rows,
            refused_path=self._keep_refused(),
            refused=self._first_refused(),
            size_bytes=total,
            files=tuple(self._state.counts),
            skipped=tuple(skipped),
        )

    def _size(self, part: Part) -> int:
        return len(part.pictures) if part.format == "images" else part.path.stat().st_size

    def _read(self, number: int, part: Part, total: int) -> None:
        """Read a part from its place on."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        if len(self._state.counts) <= number:
            self._state.counts.append(FileCount(name=part.name, format=part.format))
        try:
            reader = open_part(part, self._order.options, self._scratch)
        except ConfigurationError as error:
            if self._is_only:
                raise
            self._refuse(part, Flaw(1, error.message))
            return
        # A copy in another encoding has another size than the part.
        scale = self._size(part) / max(reader.total_bytes, 1)
        for batch in reader.batches(self._state.place):
            flaws = [*batch.flaws]
            for line, row in zip(batch.numbers, batch.rows, strict=True):
                flaw = self._take(part, line, row, is_table=reader.is_table)
                if flaw is not None:
                    flaws.append(flaw)
            rows = len(batch) - len(flaws)
            self._state.rows += rows
            self._state.counts[number].rows += rows
            for flaw in sorted(flaws, key=lambda flaw: flaw.number):
                self._refuse(part, flaw)
            self._unsaved_bytes += batch.done_bytes - self._state.place_bytes
            self._unsaved_rows += len(batch)
            self._state.place, self._state.place_bytes = batch.place, batch.done_bytes
            done = self._state.done_bytes + batch.done_bytes * scale
            self._tell(done, total, "bytes", f"{self._state.rows} rows")
            if self._unsaved_bytes >= self._state.save_bytes or self._unsaved_rows >= MAX_SAVE_ROWS:
                self._checkpoint()

    def _take(self, part: Part, line: int, row: Any, *, is_table: bool) -> Flaw | None:
        """Check a row and write it, or say why not."""
        try:
            sample, encoded = self._sample(part, row, is_table=is_table)
        except BadSample as error:
            shown = msgspec.json.encode(row)[:8000].decode("utf-8", "replace")[:2000]
            return Flaw(line, error.message, shown)
        self._writer.add(self._row_ids(), sample, encoded=encoded)
        return None

    def _sample(self, part: Part, row: Any, *, is_table: bool) -> tuple[Sample, bytes]:
        columns = self._order.options.columns
        if columns and isinstance(row, dict):
            row = renamed(cast("dict[str, Any]", row), columns)
        if is_table:
            row = row_of(row)
        try:
            sample, encoded = parse_encoded(self._format, row)
        except BadSample:
            cells = cast("dict[str, Any]", row) if isinstance(row, dict) else None
            other = with_json(cells) if is_table and cells else None
            if other is None:
                raise
            sample, encoded = parse_encoded(self._format, other)
        if sample.images:
            images = tuple(self._picture(part, image) for image in sample.images)
            sample = msgspec.structs.replace(sample, images=images)
            encoded = encode_utf8(sample)
        return sample, encoded

    def _picture(self, part: Part, image: Image) -> Image:
        """A picture with its content among the blobs, if it came with the row."""
        if image.name in self._adopted:
            return self._adopted[image.name]
        found = _find(part, image.name)
        if found is None:
            # What a row says of a content is not believed: it would open other people's pictures.
            if part.pictures and not image.name.startswith(("https://", "http://")):
                raise BadSample(
                    f"there is no picture {image.name[:200]!r} in {part.name}; put it into the same archive"
                )
            return Image(image.name)
        copy = self._scratch / "picture"
        shutil.copyfile(found.path, copy)
        kept = Image(image.name, *self._adopt(copy))
        if len(self._adopted) < 10_000:
            self._adopted[image.name] = kept
        return kept

    def _adopt(self, copy: Path) -> tuple[str, int]:
        size_bytes = copy.stat().st_size
        return self._blobs.adopt(copy), size_bytes

    def _refuse(self, part: Part, flaw: Flaw) -> None:
        self._state.bad_rows += flaw.rows
        self._state.counts[self._state.part].bad_rows += flaw.rows
        refused = Refused(
            file=part.name, line=flaw.number, reason=flaw.reason, row=flaw.source, rows=flaw.rows
        )
        self._refused.write(msgspec.json.encode(refused) + b"\n")

    def _checkpoint(self) -> None:
        """All that was read so far is in shards, and another attempt begins here."""
        self._writer.flush()
        self._refused.flush()
        os.fsync(self._refused.fileno())
        self._state.refused_bytes = self._refused.tell()
        self._state.writer = self._writer.state
        self._state.save_bytes = min(2 * self._state.save_bytes, MAX_SAVE_BYTES)
        self._save(msgspec.to_builtins(self._state))
        self._unsaved_bytes = self._unsaved_rows = 0

    def _keep_refused(self) -> str:
        """Put the file of refused rows where it stays."""
        self._refused.flush()
        if not self._state.bad_rows:
            return ""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        part = self._target.with_name(f".{self._target.name}.part")
        shutil.copyfile(self._refused_path, part)
        sync(part)
        part.replace(self._target)
        return str(self._target)

    def _first_refused(self) -> tuple[Refused, ...]:
        with self._refused_path.open("rb") as file:
            lines = [line for line, _ in zip(file, range(SHOWN_ROWS), strict=False)]
        return tuple(msgspec.json.decode(line, type=Refused) for line in lines)


def renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """A row with its fields under the names that samples have.

    Raises:
        BadSample: A column is not there.
    """
    taken = set(columns.values())
    found = {name: value for name, value in row.items() if name not in taken}
    for field, column in columns.items():
        if column in row:
            found[field] = row[column]
    if not any(column in row for column in taken):
        there = ", ".join(repr(name[:40]) for name in list(row)[:12])
        raise BadSample(f"there is none of {', '.join(sorted(taken))}; fields found: {there}")
    return found


def _find(part: Part, name: str) -> Picture | None:
    """A picture of the archive: by its whole name, or below the folder of the file that names it."""
    plain = name.removeprefix("./")
    beside = f"{part.member.rpartition('/')[0]}/{plain}"
    return part.pictures.get(plain) or part.pictures.get(beside)
