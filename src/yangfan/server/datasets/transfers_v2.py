"""v2: the Actions of imports and exports at /v2/dataset (specification D.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from yangfan.protocol.v2 import dataset_transfers as wire
from yangfan.server.datasets.transfers import EXPORT, IMPORT, first_reason
from yangfan.server.datasets.transfers_wire import base_url, options_of, percent, task_id
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import success
from yangfan.server.http.times import console_time

if TYPE_CHECKING:
    from yangfan.server.datasets.transfers import Transfers
    from yangfan.server.jobs import Job

_WAITING = ("queued", "paused")


def routes(transfers: Transfers) -> list[Route]:
    """What this file answers."""

    async def create_import(call: Call[wire.CreateImport]) -> Reply:
        request = call.request
        job = await transfers.import_files(
            request.versionId,
            request.files,
            account=call.principal.app_id,
            options=options_of(request),
            file_format=request.format,
        )
        return success(wire.CreatedTransfer(taskId=task_id(job), jobId=job.id))

    async def describe_import(call: Call[wire.NameTask]) -> Reply:
        job = await transfers.task(IMPORT, call.request.taskId)
        return success(_import(transfers, job, base_url(call.scope)))

    async def create_export(call: Call[wire.CreateExport]) -> Reply:
        request = call.request
        job = await transfers.export(
            request.versionId,
            account=call.principal.app_id,
            file_format=request.format,
            archive=request.archive,
            with_annotations=request.withAnnotations,
            bucket_path=(request.storagePath or "/") if request.storageType == "BOS" else "",
        )
        return success(wire.CreatedTransfer(taskId=task_id(job), jobId=job.id))

    async def describe_export(call: Call[wire.NameTask]) -> Reply:
        job = await transfers.task(EXPORT, call.request.taskId)
        return success(_export(transfers, job, base_url(call.scope)))

    return [
        Route(wire.CREATE_IMPORT, create_import),
        Route(wire.DESCRIBE_IMPORT, describe_import),
        Route(wire.CREATE_EXPORT, create_export),
        Route(wire.DESCRIBE_EXPORT, describe_export),
    ]


def _import(transfers: Transfers, job: Job, base: str) -> wire.ImportTask:
    result: dict[str, Any] = job.result or {}
    path = transfers.url_path(result.get("refused_path", ""))
    rows, bad_rows = int(result.get("rows", 0)), int(result.get("bad_rows", 0))
    error = "" if job.error is None or job.state == "succeeded" else job.error.message
    status: Literal["Created", "Importing", "ImportFinished", "ImportFailed"] = "Importing"
    if job.state in _WAITING:
        status = "Created"
    elif job.state == "succeeded" and rows:
        status = "ImportFinished"
    elif job.final:
        status = "ImportFailed"
        error = error or (first_reason(result) if bad_rows else _no_rows(job))
    return wire.ImportTask(
        taskId=task_id(job),
        jobId=job.id,
        versionId=job.subject,
        importStatus=status,
        progress=percent(job),
        sizeMB=round(int(result.get("size_bytes", 0)) / 1e6, 3),
        sampleCount=rows,
        badSampleCount=bad_rows,
        errorUrl=base + path if path else "",
        error=error,
        creator=job.account,
        startTime=console_time(job.started_ms),
        finishTime=console_time(job.finished_ms),
        refused=[wire.Refusal(**row) for row in result.get("refused", [])],
        files=[
            wire.FileCount(
                name=count["name"],
                format=count["format"],
                rows=count["rows"],
                badRows=count["bad_rows"],
            )
            for count in result.get("files", [])
        ],
        skipped=[f"{name}: {reason}" for name, reason in result.get("skipped", [])][:100],
    )


def _no_rows(job: Job) -> str:
    return "it was cancelled" if job.state == "cancelled" else "there are no rows in it"


def _export(transfers: Transfers, job: Job, base: str) -> wire.ExportTask:
    result: dict[str, Any] = job.result or {}
    path = transfers.url_path(result.get("path", ""))
    status: Literal["Created", "Exporting", "ExportFinished", "ExportFailed"] = "Exporting"
    if job.state in _WAITING:
        status = "Created"
    elif job.final:
        status = "ExportFinished" if job.state == "succeeded" else "ExportFailed"
    failed = job.error.message if job.error is not None else _no_rows(job)
    location = str(result.get("location", ""))
    return wire.ExportTask(
        taskId=task_id(job),
        jobId=job.id,
        versionId=job.subject,
        exportStatus=status,
        progress=percent(job),
        sizeMB=round(int(result.get("size_bytes", 0)) / 1e6, 3),
        sampleCount=int(result.get("rows", 0)),
        downloadUrl=base + path if path else "",
        sha256=str(result.get("sha256", "")),
        storagePath=location.replace("s3:", "bos:/", 1),
        error=failed if status == "ExportFailed" else "",
        creator=job.account,
        startTime=console_time(job.started_ms),
        finishTime=console_time(job.finished_ms),
    )
