"""Rows of a manifest into files that people and the official SDK read.

The file grows in a folder of the job and is saved where another attempt may go on; an archive is made of it at the end. Equal rows make
equal files, byte for byte, whoever was killed in between.
"""

from __future__ import annotations

import itertools
import shutil
import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from yangfan import extensions
from yangfan.datasets.deltas import Delta, Edited
from yangfan.datasets.formats import DataFormat, Sample, Turn, render
from yangfan.datasets.manifest import Manifest, Row
from yangfan.datasets.shards import BlobFolder, read_rows
from yangfan.datasets.tables import cells_of, columns_of
from yangfan.errors import ConfigurationError
from yangfan.hub.disk import (
    discard,
    full_disk_said_clearly,
    require_free,
    sha256_of,
    size_bytes,
    sync,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from yangfan.datasets.fetching import Tell
    from yangfan.datasets.writers.base import Writer

Save = Callable[[Mapping[str, Any]], None]

WRITERS: Final = "yangfan.datasets.writers"
FORMATS: Final = ("jsonl", "json", "csv", "tsv", "xlsx", "parquet", "txt")
TABLES: Final = ("csv", "tsv", "xlsx", "parquet")
ROWS: Final = 1000
SAVE_ROWS: Final = 50_000
"""Rows between two saves: a new export writes so many, one that was killed writes no more than so many twice."""
CHUNK_BYTES: Final = 4 * 1024 * 1024
STEM: Final = "data"
"""Name of the file of rows in an archive, but for its ending."""

_OLDEST: Final = (1980, 1, 1, 0, 0, 0)
"""Zip's first day: equal rows make equal archives."""


class ExportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to export.

    Attributes:
        manifest: The rows.
        deltas: What was edited since they were written.
        format: Of `FORMATS`; None for what the official SDK reads: txt for texts, jsonl for everything else.
        archive: Whether to make a zip archive of it; pictures are in archives alone.
        with_annotations: Whether responses and labels are written, too.
    """

    manifest: Manifest
    deltas: tuple[Delta, ...] = ()
    format: str | None = None
    archive: bool = True
    with_annotations: bool = True


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    Attributes:
        path: The file.
        rows: How many rows are in it.
        size_bytes: How long it is.
        sha256: Of the file.
    """

    path: str
    rows: int
    size_bytes: int
    sha256: str


class _State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A checkpoint: rows read, rows written, and where the writer goes on."""

    read: int = 0
    written: int = 0
    place: dict[str, Any] = {}
    is_whole: bool = False


def export(
    order: ExportOrder,
    folder: Path,
    target: Path,
    *,
    blobs: BlobFolder,
    state: Mapping[str, Any],
    save: Save,
    tell: Tell,
) -> Exported:
    """Write the rows of an order to a file.

    Args:
        order: What to write.
        folder: Of the job, kept from attempt to attempt.
        target: The file; there is none until it is whole.
        blobs: Where the shards are.
        state: The checkpoint of an earlier attempt.
        save: Keeps the next ones.
        tell: Told the rows written; whatever it raises ends the work.

    Raises:
        ConfigurationError: The format does not hold such rows, or there is no space; the message says what to change.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    exporting = _Export(order, folder, blobs, msgspec.convert(dict(state), _State), save, tell)
    with full_disk_said_clearly(target.parent):
        return exporting.run(target)


def default_format(data_format: DataFormat) -> str:
    """What the official SDK reads."""
    return "txt" if data_format is DataFormat.TEXT else "jsonl"


def require_fit(data_format: DataFormat, name: str) -> None:
    """Find out whether a file format holds the samples of a data format.

    Raises:
        ConfigurationError: It does not, or there is none of that name.
    """
    if name not in FORMATS:
        raise ConfigurationError(
            f"there is no export to {name[:40]!r}; there are: {', '.join(FORMATS)}"
        )
    if name == "txt" and data_format is not DataFormat.TEXT:
        raise ConfigurationError(
            f"a .txt file holds texts alone, and the dataset is {data_format.value}: export jsonl or csv"
        )


class _Export:
    """One attempt."""

    def __init__(
        self,
        order: ExportOrder,
        folder: Path,
        blobs: BlobFolder,
        state: _State,
        save: Save,
        tell: Tell,
    ) -> None:
        self._order, self._folder, self._blobs = order, folder, blobs
        self._state, self._save, self._tell = state, save, tell
        self._format = DataFormat(order.manifest.data_format)
        self._name = order.format or default_format(self._format)
        require_fit(self._format, self._name)
        module = extensions.load(WRITERS, self._name)
        self._suffix: str = module.SUFFIX
        self._part = folder / f"{STEM}{self._suffix}"
        self._open: Callable[[Path, Mapping[str, Any], Sequence[str]], Writer] = module.open
        self._total = Edited(blobs, order.manifest, order.deltas).rows

    def run(self, target: Path) -> Exported:
        is_of_pictures = self._format is DataFormat.PROMPT_IMAGE and self._order.archive
        if is_of_pictures and self._order.format is None:
            self._picture_archive(target)
        else:
            if not self._state.is_whole or not self._part.exists():
                self._write_rows()
            if self._order.archive:
                self._archive(target)
            else:
                part = target.with_name(f".{target.name}.part")
                shutil.copyfile(self._part, part)
                sync(part)
                part.replace(target)
        sync(target.parent)
        return Exported(
            path=str(target),
            rows=self._state.written,
            size_bytes=size_bytes(target) or 0,
            sha256=sha256_of(target),
        )

    def _rows(self, offset: int) -> Iterator[Row]:
        if self._order.deltas:
            edited = Edited(self._blobs, self._order.manifest, self._order.deltas)
            yield from itertools.islice(edited, offset, None)
            return
        yield from read_rows(self._blobs, self._order.manifest, offset)

    def _write_rows(self) -> None:
        if self._state.place and not self._is_here():
            self._state = _State()
        writer = self._open(self._part, self._state.place, columns_of(self._format))
        try:
            pending: list[Any] = []
            read = self._state.read
            for row in self._rows(read):
                pending.append(self._written(row.sample))
                read += 1
                if len(pending) == ROWS:
                    self._add(writer, pending, read)
                    pending = []
            self._add(writer, pending, read)
            writer.finish()
        finally:
            writer.close()
        self._state.is_whole = True
        self._save(msgspec.to_builtins(self._state))

    def _is_here(self) -> bool:
        """Whether what was saved is still in the folder."""
        size = self._state.place.get("size")
        if size is not None:
            return (size_bytes(self._part) or 0) >= size
        pieces = self._state.place.get("pieces", 0)
        return all(
            self._part.with_name(f"{self._part.name}.{number}").exists() for number in range(pieces)
        )

    def _add(self, writer: Writer, pending: list[Any], read: int) -> None:
        writer.write(pending)
        self._state.read, self._state.written = read, self._state.written + len(pending)
        self._tell(self._state.read, self._total, "rows", f"writing {self._part.name}")
        if (
            pending
            and self._state.read % SAVE_ROWS < len(pending)
            and self._state.read >= SAVE_ROWS
        ):
            self._state.place = writer.save()
            if self._state.place:
                self._save(msgspec.to_builtins(self._state))

    def _written(self, sample: Sample) -> Any:
        """What the writer of the format takes."""
        if not self._order.with_annotations:
            sample = without_annotations(self._format, sample)
        if self._name in TABLES:
            return cells_of(self._format, sample)
        if self._name == "txt":
            return sample.text
        if self._order.archive and sample.images:
            images = tuple(
                msgspec.structs.replace(image, sha256="", size_bytes=0) for image in sample.images
            )
            sample = msgspec.structs.replace(sample, images=images)
        return render(self._format, sample)

    def _archive(self, target: Path) -> None:
        """A zip archive of the file of rows, and of the pictures that they name."""
        part = target.with_name(f".{target.name}.part")
        discard(part)
        require_free(target.parent, size_bytes(self._part) or 0)
        try:
            with zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                with self._part.open("rb") as rows, _member(archive, self._part.name) as out:
                    self._copy(rows, out)
                if self._format.has_images:
                    names = set[str]()
                    for row in self._rows(0):
                        for image in row.sample.images:
                            if image.sha256 and image.name not in names:
                                names.add(image.name)
                                self._add_picture(archive, image.name, image.sha256)
            sync(part)
            part.replace(target)
        finally:
            discard(part)

    def _copy(self, rows: Any, out: Any) -> None:
        while chunk := rows.read(CHUNK_BYTES):
            out.write(chunk)
            self._tell(self._state.read, self._total, "rows", "packing")

    def _picture_archive(self, target: Path) -> None:
        """Pictures, and beside each a file of the same name that says what it shows."""
        part = target.with_name(f".{target.name}.part")
        discard(part)
        taken = set[str]()
        self._state.written = 0
        try:
            with zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for number, row in enumerate(self._rows(0), 1):
                    image = row.sample.images[0]
                    name = _free_name(image.name, number, taken)
                    if image.sha256:
                        self._add_picture(archive, name, image.sha256)
                    sample = row.sample
                    if sample.turns and self._order.with_annotations:
                        said = [{"annotations": sample.turns[0].prompt, **sample.extra}]
                        with _member(archive, f"{name.rpartition('.')[0]}.json") as out:
                            out.write(msgspec.json.encode(said))
                    self._state.written = number
                    self._tell(number, self._total, "rows", "packing")
            sync(part)
            part.replace(target)
        finally:
            discard(part)

    def _add_picture(self, archive: zipfile.ZipFile, name: str, sha256: str) -> None:
        path = self._blobs.path(sha256)
        with path.open("rb") as source, _member(archive, name, zipfile.ZIP_STORED) as out:
            shutil.copyfileobj(source, out, CHUNK_BYTES)


def without_annotations(data_format: DataFormat, sample: Sample) -> Sample:
    """A sample as it is before anybody has answered it; unchanged where nothing in it is an answer."""
    if data_format in {DataFormat.TEXT, DataFormat.SFT_FIM}:
        return sample
    turns = tuple(Turn(turn.prompt) for turn in sample.turns)
    if data_format is DataFormat.PROMPT_IMAGE:
        turns = ()
    if data_format is DataFormat.ROLE:
        last = len(sample.messages)
        while last > 1 and sample.messages[last - 1].role != "user":
            last -= 1
        return msgspec.structs.replace(sample, messages=sample.messages[:last])
    return msgspec.structs.replace(sample, turns=turns, chosen=None, rejected=None)


def _member(archive: zipfile.ZipFile, name: str, packing: int = zipfile.ZIP_DEFLATED) -> Any:
    info = zipfile.ZipInfo(name, _OLDEST)
    info.external_attr = 0o100644 << 16
    info.compress_type = packing
    return archive.open(info, "w", force_zip64=True)


def _free_name(name: str, number: int, taken: set[str]) -> str:
    """A name in the archive that nothing else has, annotations included."""
    base = name.replace("\\", "/").rpartition("/")[2].lstrip(".") or f"{number}.png"
    stem, dot, ending = base.rpartition(".")
    if not dot:
        stem, ending = base, "png"
    found = f"{stem}.{ending}"
    if stem.casefold() in taken:
        stem = f"{stem}-{number}"
        found = f"{stem}.{ending}"
    taken.add(stem.casefold())
    return found
