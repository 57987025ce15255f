"""Imports and exports of datasets as the SDK shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.protocol.v2 import dataset_transfers as wire

TransferState = Literal["waiting", "running", "succeeded", "failed"]

_STATES: dict[str, TransferState] = {
    "Created": "waiting",
    "Importing": "running",
    "ImportFinished": "succeeded",
    "ImportFailed": "failed",
    "Exporting": "running",
    "ExportFinished": "succeeded",
    "ExportFailed": "failed",
}


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that an import did not take.

    Attributes:
        file: Where it stood.
        line: The line it begins in, or the how-manieth row it is, from 1.
        reason: Why, and what to change.
        row: The beginning of what stands there.
    """

    file: str
    line: int
    reason: str
    row: str


@dataclass(frozen=True, slots=True)
class DatasetImport:
    """An import.

    Attributes:
        id: ``task-…``.
        job_id: The job behind it.
        version_id: The version that gets the rows.
        state: waiting, running, succeeded or failed.
        percent: How far it is.
        rows: Rows that were taken.
        bad_rows: Rows that were refused; none of them is lost.
        refused: The first of those.
        refused_url: Where all of them are, as JSON lines; "" if there are none.
        error: Why it failed.
        files: Rows taken and refused, by file.
        skipped: Files of archives that are no data, and why.
    """

    id: str
    job_id: str
    version_id: str
    state: TransferState
    percent: int
    rows: int
    bad_rows: int
    refused: tuple[RefusedRow, ...]
    refused_url: str
    error: str
    files: Mapping[str, tuple[int, int]]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DatasetExport:
    """An export.

    Attributes:
        id: ``task-…``.
        job_id: The job behind it.
        version_id: The version that is exported.
        state: waiting, running, succeeded or failed.
        percent: How far it is.
        rows: Rows that were written.
        url: Where its file is, for a week; "" before and after.
        sha256: Of that file.
        location: Where it is in a bucket; "" for nowhere.
        error: Why it failed.
    """

    id: str
    job_id: str
    version_id: str
    state: TransferState
    percent: int
    rows: int
    url: str
    sha256: str
    location: str
    error: str


def import_of(task: wire.ImportTask) -> DatasetImport:
    """From the wire."""
    return DatasetImport(
        id=task.taskId,
        job_id=task.jobId,
        version_id=task.versionId,
        state=_STATES[task.importStatus],
        percent=task.progress,
        rows=task.sampleCount,
        bad_rows=task.badSampleCount,
        refused=tuple(RefusedRow(row.file, row.line, row.reason, row.row) for row in task.refused),
        refused_url=task.errorUrl,
        error=task.error,
        files={count.name: (count.rows, count.badRows) for count in task.files},
        skipped=tuple(task.skipped),
    )


def export_of(task: wire.ExportTask) -> DatasetExport:
    """From the wire."""
    return DatasetExport(
        id=task.taskId,
        job_id=task.jobId,
        version_id=task.versionId,
        state=_STATES[task.exportStatus],
        percent=task.progress,
        rows=task.sampleCount,
        url=task.downloadUrl,
        sha256=task.sha256,
        location=task.storagePath,
        error=task.error,
    )


def reading(
    columns: Mapping[str, str] | None,
    format: str | None,
    encoding: str | None,
    delimiter: str | None,
    sheet: str | None,
    *,
    whole_files: bool,
) -> dict[str, Any]:
    """How to read, for the wire; what is not said is left out."""
    said: dict[str, Any] = {
        "columns": dict(columns) if columns else None,
        "format": format,
        "encoding": encoding,
        "delimiter": delimiter,
        "sheet": sheet,
        "wholeFiles": whole_files or None,
    }
    return {name: value for name, value in said.items() if value is not None}


ADDRESSES = ("https://", "http://", "s3:", "bos:", "upload:", "file-", "file:")


def is_address(source: str) -> bool:
    """Whether it names something that the server finds by itself, and no file of this machine."""
    return source.startswith(ADDRESSES)


def place(path: str | Path) -> Path:
    """A path of this machine."""
    return Path(path).expanduser()
