"""`POST /wenxinworkshop/dataset/…`: import and export of datasets, v1 (specification D.7).

Baidu's pages Yloic82qy, hlonqulbq, bloicnydp and Zlonqgtw0 (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/…).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.dataset_files import MAX_FILES, FileAddress, Reading
from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.console import Id
from yangfan.protocol.v1.envelope import Envelope


class ImportRows(Reading, kw_only=True):
    """Which files to import into which version; the fields of `Reading` are ours."""

    datasetId: Id  # noqa: N815 - the wire's spelling
    files: Annotated[list[FileAddress], Meta(min_length=1, max_length=MAX_FILES)]
    annotated: bool = False
    importFrom: Literal[1, 2] = 1  # noqa: N815 - the wire's spelling


class ExportRows(msgspec.Struct, kw_only=True):
    """Which version to export; `exportType` 2 leaves responses and labels out, `exportTo` 1 writes to the bucket `storageId`."""

    datasetId: Id  # noqa: N815 - the wire's spelling
    exportFormat: int = 0  # noqa: N815 - the wire's spelling
    exportType: Literal[1, 2] = 1  # noqa: N815 - the wire's spelling
    exportTo: Literal[0, 1] = 0  # noqa: N815 - the wire's spelling
    storageId: str | None = None  # noqa: N815 - the wire's spelling


class NameVersion(msgspec.Struct, kw_only=True):
    """Which version."""

    datasetId: Id  # noqa: N815 - the wire's spelling


class AskErrors(NameVersion, kw_only=True):
    """The rows that the last import of a version refused."""

    errCode: int = 0  # noqa: N815 - the wire's spelling


class ExportRecord(msgspec.Struct, kw_only=True):
    """An export of a version. Times are the server's, `YYYY-MM-DD hh:mm:ss`; `finishTime` is "" until it has succeeded."""

    creatorName: str  # noqa: N815 - the wire's spelling
    storageId: str  # noqa: N815 - the wire's spelling
    storagePath: str  # noqa: N815 - the wire's spelling
    size: int
    exportFormat: int  # noqa: N815 - the wire's spelling
    exportType: int  # noqa: N815 - the wire's spelling
    status: int
    recordNum: int  # noqa: N815 - the wire's spelling
    exportTo: int  # noqa: N815 - the wire's spelling
    downloadUrl: str  # noqa: N815 - the wire's spelling
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling


class RefusedRow(msgspec.Struct, kw_only=True):
    """A row that was not taken: which file, which line of it, why, and how it begins."""

    sequence: int
    sampleFileName: str  # noqa: N815 - the wire's spelling
    sampleName: str  # noqa: N815 - the wire's spelling
    textLocation: str  # noqa: N815 - the wire's spelling
    textContent: str  # noqa: N815 - the wire's spelling


class ImportErrors(msgspec.Struct, kw_only=True):
    """The first refused rows; all of them are in the JSON lines at `downloadUrl`."""

    dataType: int  # noqa: N815 - the wire's spelling
    projectType: int  # noqa: N815 - the wire's spelling
    downloadUrl: str  # noqa: N815 - the wire's spelling
    isZip: bool  # noqa: N815 - the wire's spelling
    content: list[RefusedRow]


def _datasets(
    verb: str, path: str, request: type[Any], reply: type[Any], summary: str, summary_zh: str
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.datasets.{verb}",
        dialect="data",
        method="POST",
        path=f"/wenxinworkshop/dataset/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=summary,
        summary_zh=summary_zh,
        spec="D.7",
    )


IMPORT = _datasets(
    "import",
    "import",
    ImportRows,
    Envelope[bool],
    "Import files into a version; `info` tells how far it is.",
    "向数据集版本导入文件。",
)
EXPORT = _datasets(
    "export", "export", ExportRows, Envelope[bool], "Export a version.", "导出数据集版本。"
)
EXPORT_RECORD = _datasets(
    "export_record",
    "exportRecord",
    NameVersion,
    Envelope[list[ExportRecord]],
    "List the exports of a version.",
    "查询数据集导出记录。",
)
IMPORT_ERROR_DETAIL = _datasets(
    "import_error_detail",
    "importErrorDetail",
    AskErrors,
    Envelope[ImportErrors],
    "Show the rows that an import refused.",
    "查看数据集导入错误详情。",
)
