"""v1: import and export under /wenxinworkshop/dataset (specification D.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.protocol.v1 import dataset_transfers as wire
from yangfan.protocol.v1.envelope import Envelope
from yangfan.server.datasets.transfers import EXPORT, IMPORT
from yangfan.server.datasets.transfers_wire import base_url, options_of
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.times import console_time

if TYPE_CHECKING:
    import msgspec

    from yangfan.server.datasets.transfers import Transfers
    from yangfan.server.jobs import Job

SHARED_URL = 2
_STATUS = {"queued": 1, "starting": 1, "running": 1, "paused": 1, "succeeded": 2}


def routes(transfers: Transfers) -> list[Route]:
    """What this file answers."""

    async def import_rows(call: Call[wire.ImportRows]) -> Reply:
        request = call.request
        if request.importFrom == SHARED_URL and not all(
            file.startswith(("https://", "http://")) for file in request.files
        ):
            raise Invalid(
                "importFrom 2 takes the URL of a shared file, such as https://host/data.zip",
                param="files",
            )
        await transfers.import_files(
            request.datasetId,
            request.files,
            account=call.principal.app_id,
            options=options_of(request),
            file_format=request.format,
            is_bucket_path=True,
        )
        return _success(call)

    async def export(call: Call[wire.ExportRows]) -> Reply:
        request = call.request
        bucket = ""
        if request.exportTo == 1:
            if not request.storageId:
                raise Invalid("exportTo 1 needs storageId, the bucket", param="storageId")
            version = await transfers.datasets.version(request.datasetId)
            storage = version.group.storage
            folder = storage.path if storage.id == request.storageId else ""
            bucket = f"{request.storageId}/{folder.strip('/')}"
        await transfers.export(
            request.datasetId,
            account=call.principal.app_id,
            with_annotations=request.exportType == 1,
            bucket_path=bucket,
        )
        return _success(call)

    async def records(call: Call[wire.NameVersion]) -> Reply:
        _, jobs = await transfers.of_version(EXPORT, call.request.datasetId)
        return _success(call, [_record(transfers, job, base_url(call.scope)) for job in jobs])

    async def errors(call: Call[wire.AskErrors]) -> Reply:
        version, jobs = await transfers.of_version(IMPORT, call.request.datasetId)
        result: dict[str, Any] = (jobs[0].result if jobs else None) or {}
        path = transfers.url_path(result.get("refused_path", ""))
        numbers = version.data_format.numbers
        return _success(
            call,
            wire.ImportErrors(
                dataType=numbers.data_type,
                projectType=numbers.project_type,
                downloadUrl=base_url(call.scope) + path if path else "",
                isZip=False,
                content=[
                    wire.RefusedRow(
                        sequence=number,
                        sampleFileName=row["file"],
                        sampleName=row["reason"],
                        textLocation=str(row["line"]),
                        textContent=row["row"],
                    )
                    for number, row in enumerate(result.get("refused", []), 1)
                ],
            ),
        )

    return [
        Route(wire.IMPORT, import_rows),
        Route(wire.EXPORT, export),
        Route(wire.EXPORT_RECORD, records),
        Route(wire.IMPORT_ERROR_DETAIL, errors),
    ]


def _record(transfers: Transfers, job: Job, base: str) -> wire.ExportRecord:
    result: dict[str, Any] = job.result or {}
    path = transfers.url_path(result.get("path", ""))
    bucket, _, key = str(result.get("location", "")).removeprefix("s3:").partition("/")
    done = job.state == "succeeded"
    return wire.ExportRecord(
        creatorName=job.account,
        storageId=bucket,
        storagePath=key,
        size=int(result.get("size_bytes", 0)),
        exportFormat=0,
        exportType=1 if job.spec.get("with_annotations", True) else 2,
        status=_STATUS.get(job.state, 3),
        recordNum=int(result.get("rows", 0)),
        exportTo=1 if bucket else 0,
        downloadUrl=base + path if path else "",
        startTime=console_time(job.created_ms),
        # The official client takes the record with the latest one.
        finishTime=console_time(job.finished_ms) if done and path else "",
    )


def _success(call: Call[Any], result: list[Any] | msgspec.Struct | None = None) -> Reply:
    return Reply(Envelope(call.request_id, True if result is None else result))
