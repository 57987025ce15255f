"""`POST /v2/dataset?Action=…`: import and export of datasets, v2 (specification D.8)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.dataset_files import MAX_FILES, FileAddress, FileFormat, Reading, VersionId
from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.keys import ActionReply


class CreateImport(Reading, kw_only=True):
    """Which files to import into which version."""

    versionId: VersionId  # noqa: N815 - the wire's spelling
    files: Annotated[list[FileAddress], Meta(min_length=1, max_length=MAX_FILES)]


class CreateExport(msgspec.Struct, kw_only=True):
    """Which version to export, and where to.

    Attributes:
        storageType: ``sysStorage`` keeps the file here, ``BOS`` puts it into a bucket as well.
        storagePath: ``bos:/bucket/dir/`` of the latter.
        format: Ours: of the file; JSON lines if absent, .txt for texts, as the official SDK reads them.
        archive: Ours: whether to pack it as a zip archive.
        withAnnotations: Ours: whether responses and labels come along.
    """

    versionId: VersionId  # noqa: N815 - the wire's spelling
    storageType: Literal["BOS", "sysStorage"] = "sysStorage"  # noqa: N815 - the wire's spelling
    storagePath: Annotated[str, Meta(max_length=4096)] | None = None  # noqa: N815 - the wire's spelling
    format: FileFormat | None = None
    archive: bool = True
    withAnnotations: bool = True  # noqa: N815 - the wire's spelling


class NameTask(msgspec.Struct, kw_only=True):
    """Which task."""

    taskId: Annotated[str, Meta(min_length=1, max_length=64)]  # noqa: N815 - the wire's spelling


class CreatedTransfer(msgspec.Struct, kw_only=True):
    """The task that was begun, and (ours) the job behind it."""

    taskId: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling


class Refusal(msgspec.Struct, kw_only=True):
    """A row that was not taken: file, line (or row), reason, and how it begins."""

    file: str
    line: int
    reason: str
    row: str
    rows: int


class FileCount(msgspec.Struct, kw_only=True):
    """What came out of one file."""

    name: str
    format: str
    rows: int
    badRows: int  # noqa: N815 - the wire's spelling


class ImportTask(msgspec.Struct, kw_only=True):
    """An import. Times are UTC, `YYYY-MM-DD hh:mm:ss`, "" where there is none yet.

    Attributes:
        progress: In per cent.
        sampleCount: Rows that were taken.
        badSampleCount: Rows that were refused (ours).
        errorUrl: JSON lines of all of them; "" if there are none.
        error: Why it failed.
        refused: The first refused rows (ours).
        files: Counts by file (ours).
        skipped: Files of archives that are no data, and why (ours).
    """

    taskId: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling
    versionId: str  # noqa: N815 - the wire's spelling
    importStatus: Literal["Created", "Importing", "ImportFinished", "ImportFailed"]  # noqa: N815 - the wire's spelling
    progress: int
    sizeMB: float  # noqa: N815 - the wire's spelling
    sampleCount: int  # noqa: N815 - the wire's spelling
    badSampleCount: int  # noqa: N815 - the wire's spelling
    errorUrl: str  # noqa: N815 - the wire's spelling
    error: str
    creator: str
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling
    refused: list[Refusal]
    files: list[FileCount]
    skipped: list[str]


class ExportTask(msgspec.Struct, kw_only=True):
    """An export; `downloadUrl` is "" until it is finished and after its file's time is over."""

    taskId: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling
    versionId: str  # noqa: N815 - the wire's spelling
    exportStatus: Literal["Created", "Exporting", "ExportFinished", "ExportFailed"]  # noqa: N815 - the wire's spelling
    progress: int
    sizeMB: float  # noqa: N815 - the wire's spelling
    sampleCount: int  # noqa: N815 - the wire's spelling
    downloadUrl: str  # noqa: N815 - the wire's spelling
    sha256: str
    storagePath: str  # noqa: N815 - the wire's spelling
    error: str
    creator: str
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling


def _action(
    verb: str, action: str, request: type[Any], reply: type[Any], summary: str, summary_zh: str
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v2.datasets.{verb}",
        dialect="action",
        method="POST",
        path="/v2/dataset",
        action=action,
        request=request,
        reply=reply,
        auth="signature",
        summary=summary,
        summary_zh=summary_zh,
        spec="D.8",
    )


CREATE_IMPORT = _action(
    "create_import_task",
    "CreateImportTask",
    CreateImport,
    ActionReply[CreatedTransfer],
    "Import files into a version.",
    "创建数据导入任务。",
)
DESCRIBE_IMPORT = _action(
    "describe_import_task",
    "DescribeImportTask",
    NameTask,
    ActionReply[ImportTask],
    "Show how far an import is, and what it refused.",
    "查看数据导入任务。",
)
CREATE_EXPORT = _action(
    "create_export_task",
    "CreateExportTask",
    CreateExport,
    ActionReply[CreatedTransfer],
    "Export a version.",
    "创建数据导出任务。",
)
DESCRIBE_EXPORT = _action(
    "describe_export_task",
    "DescribeExportTask",
    NameTask,
    ActionReply[ExportTask],
    "Show how far an export is, and where its file is.",
    "查看数据导出任务。",
)
