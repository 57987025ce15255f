"""v1: /wenxinworkshop/dataset/… and /wenxinworkshop/entity/… (specification D.7, D.11). Imports and exports are answered beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET

from yangfan.datasets.formats import DataFormat, encode
from yangfan.errors import Invalid, NotFound
from yangfan.protocol.v1 import datasets as wire
from yangfan.protocol.v1 import samples as samples_wire
from yangfan.protocol.v1.envelope import Envelope
from yangfan.server.datasets.samples import Window
from yangfan.server.datasets.types import Storage
from yangfan.server.datasets.wire import AUGMENT, CLEAN, EXPORT, IMPORT, RELEASE
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.times import console_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.server.datasets.links import Links
    from yangfan.server.datasets.logic import Datasets
    from yangfan.server.datasets.publishing import Publishing
    from yangfan.server.datasets.samples import Item, Samples
    from yangfan.server.datasets.types import DatasetVersion, Kind, Task
    from yangfan.server.jobs import Jobs

REGION = "local"
LABEL_COLOR = "#5B8FF9"
_SECONDS_UNTIL = 100_000_000_000
"""Larger moments are milliseconds."""


class Progress(NamedTuple):
    """Percent of what goes on."""

    importing: int
    exporting: int
    releasing: int


def routes(
    datasets: Datasets, samples: Samples, publishing: Publishing, jobs: Jobs, links: Links
) -> list[Route]:
    """What this file answers."""

    async def progress_of(version: DatasetVersion) -> Progress:
        kinds: tuple[Kind, ...] = ("import", "export", "release")
        return Progress(*[await _percent(jobs, version.task(kind)) for kind in kinds])

    async def create(call: Call[wire.CreateDataset]) -> Reply:
        request = call.request
        data_format = DataFormat.of_template(request.templateType)
        numbers = data_format.numbers
        if (request.projectType, request.dataType) != (numbers.project_type, numbers.data_type):
            raise Invalid(
                f"templateType {request.templateType} goes with projectType {numbers.project_type} and dataType {numbers.data_type}",
                param="projectType",
            )
        if request.storageType == "usrBos" and not (request.storageId and request.rawStoragePath):
            raise Invalid(
                "storageType usrBos needs storageId and rawStoragePath; take sysBos to have the platform keep the rows",
                param="storageId",
            )
        storage = Storage(
            request.storageType, request.storageId or "", request.rawStoragePath or ""
        )
        made = await datasets.create(
            request.name,
            data_format,
            call.principal.app_id,
            storage=storage,
            description=request.remark,
        )
        return _success(call, _created(made))

    async def release(call: Call[wire.NameDataset]) -> Reply:
        await publishing.publish(call.request.datasetId, call.principal.app_id)
        return _success(call, True)  # noqa: FBT003 - the result of the call

    async def info(call: Call[wire.NameDataset]) -> Reply:
        version = await datasets.version(call.request.datasetId)
        numbers = version.data_format.numbers
        shown = wire.DatasetInfo(
            groupPK=version.group_id,
            name=version.name,
            dataType=numbers.data_type,
            versionInfo=_info(version, await progress_of(version)),
        )
        return _success(call, shown)

    async def status_list(call: Call[wire.NameDatasets]) -> Reply:
        found: dict[str, wire.DatasetStatus] = {}
        for reference in call.request.datasetIds:
            try:
                version = await datasets.version(reference)
            except NotFound:
                continue  # those that there are not are left out
            found[str(reference)] = _status(version, await progress_of(version))
        return _success(call, found)

    async def delete(call: Call[wire.NameDataset]) -> Reply:
        left = await datasets.delete_version(call.request.datasetId)
        return _success(call, wire.Deleted(versionCount=left))

    return [
        Route(wire.CREATE, create),
        Route(wire.RELEASE, release),
        Route(wire.INFO, info),
        Route(wire.STATUS_LIST, status_list),
        Route(wire.DELETE, delete),
        *_sample_routes(samples, links),
    ]


def _sample_routes(samples: Samples, links: Links) -> list[Route]:
    async def annotate(call: Call[samples_wire.Annotate]) -> Reply:
        request = call.request
        if request.content is None and request.labels is None:
            raise Invalid("content or labels must be there; say one of them", param="content")
        await samples.annotate(
            request.datasetId,
            request.id,
            content=request.content,
            labels=_label_names(request.labels),
        )
        return _success(call, True)  # noqa: FBT003 - the result of the call

    async def delete(call: Call[samples_wire.Delete]) -> Reply:
        missing = await samples.delete(call.request.datasetId, call.request.id)
        return _success(call, samples_wire.Failed(failedOnes=missing or None))

    async def list_all(call: Call[samples_wire.ListSamples]) -> Reply:
        request = call.request
        window = Window(
            annotated={0: None, 1: True, 2: False}[request.tabType],
            imported_ms=_span(request.importTime),
            annotated_ms=_span(request.annoTime),
            label=request.labelId or "",
        )
        page = await samples.page(request.datasetId, request.offset, request.pageSize, window)
        items = [
            _sample(item, links.url(call.scope, page.version.id, item.row.row_id))
            for item in page.items
        ]
        return _success(
            call,
            samples_wire.Samples(totalAll=page.version.rows, total=page.total, items=items),
        )

    return [
        Route(samples_wire.ANNOTATE, annotate),
        Route(samples_wire.DELETE, delete),
        Route(samples_wire.LIST, list_all),
    ]


def _success(call: Call[Any], result: Any) -> Reply:
    return Reply(Envelope(call.request_id, result))


async def _percent(jobs: Jobs, task: Task) -> int:
    if task.state == "succeeded":
        return 100
    if task.state != "running" or not task.job_id:
        return 0
    try:
        job = await jobs.get(task.job_id)
    except NotFound:
        return 0
    if not job.progress.total:
        return 0
    return min(99, max(0, int(100 * job.progress.done / job.progress.total)))


def _created(version: DatasetVersion) -> wire.CreatedDataset:
    numbers = version.data_format.numbers
    storage = _storage(version)
    return wire.CreatedDataset(
        id=version.number,
        groupId=version.group.number,
        groupPK=version.group_id,
        datasetId=version.id,
        versionId=version.version,
        groupName=version.name,
        displayName=version.name,
        dataType=numbers.data_type,
        projectType=numbers.project_type,
        templateType=numbers.template_type,
        remark=version.description,
        storageInfo=wire.StorageInfo(
            storageId=storage.storageId,
            storagePath=storage.storagePath,
            storageName=storage.storageName,
            rawStoragePath=storage.rawStoragePath,
            region=storage.region,
        ),
        importStatus=IMPORT["none"],
        importProgress=0,
        exportStatus=EXPORT["none"],
        releaseStatus=RELEASE["none"],
        createTime=console_time(version.created_ms),
        modifyTime=console_time(version.modified_ms),
    )


def _storage(version: DatasetVersion) -> wire.Storage:
    storage = version.group.storage
    return wire.Storage(
        storageId=storage.id or "yangfan",
        storageName=storage.id or "yangfan",
        storagePath=storage.path or f"/{version.group_id}/{version.id}/",
        rawStoragePath=storage.path or f"/{version.group_id}/{version.id}/",
        region=REGION,
    )


def _info(version: DatasetVersion, progress: Progress) -> wire.VersionInfo:
    numbers = version.data_format.numbers
    imported, exported = version.task("import"), version.task("export")
    cleaned, augmented = version.task("clean"), version.task("augment")
    release = version.task("release")
    return wire.VersionInfo(
        id=version.number,
        groupId=version.group.number,
        datasetId=version.number,
        datasetPK=version.id,
        importRecordCount=imported.count,
        exportRecordCount=exported.count,
        versionId=version.version,
        displayName=version.name,
        importStatus=IMPORT[imported.state],
        importProgress=progress.importing,
        exportStatus=EXPORT[exported.state],
        exportProgress=progress.exporting,
        dataType=numbers.data_type,
        projectType=numbers.project_type,
        templateType=numbers.template_type,
        dataFormat=version.data_format.value,
        errCode=imported.error_code or None,
        errorMessage=imported.error,
        importErrorInfo=_error_info(imported),
        createTime=console_time(version.created_ms),
        modifyTime=console_time(version.modified_ms),
        storageType="usrBos" if version.group.storage.type == "usrBos" else "sysBos",
        storage=_storage(version),
        releaseStatus=RELEASE["succeeded"] if version.published else RELEASE[release.state],
        releaseErrCode=release.error_code or int(release.state == "failed"),
        releaseProgress=progress.releasing,
        remark=version.description,
        annotatedEntityCount=version.annotated,
        entityCount=version.rows,
        labelCount=version.labels,
        memorySize=round(version.size_bytes / 2**20, 2),
        characterCount=version.characters,
        isEnhancing=augmented.state == "running",
        enhanceStatus=AUGMENT[augmented.state],
        hasEnhance=augmented.count > 0,
        isSelfInstructEnhance=augmented.count > 0,
        etlStatus=CLEAN[cleaned.state],
        hasEtl=cleaned.count > 0,
        isPipelineEtl=cleaned.count > 0,
    )


def _status(version: DatasetVersion, progress: Progress) -> wire.DatasetStatus:
    info = _info(version, progress)
    return wire.DatasetStatus(
        importStatus=info.importStatus,
        importProgress=info.importProgress,
        releaseStatus=info.releaseStatus,
        releaseProgress=info.releaseProgress,
        exportStatus=info.exportStatus,
        exportProgress=info.exportProgress,
        enhanceStatus=info.enhanceStatus,
        etlStatus=info.etlStatus,
        importErrorInfo=info.importErrorInfo,
        entityCount=info.entityCount,
        annotatedEntityCount=info.annotatedEntityCount,
        labelCount=info.labelCount,
        characterCount=info.characterCount,
        modifyTime=info.modifyTime,
    )


def _error_info(task: Task) -> dict[str, Any] | None:
    if not task.error:
        return None
    return {"errCode": task.error_code, "errMsg": task.error}


def _label_names(
    given: Sequence[str | int | samples_wire.LabelName] | samples_wire.LabelName | None,
) -> list[str] | None:
    if given is None:
        return None
    if isinstance(given, samples_wire.LabelName):
        return [_label_name(given)]
    return [*map(_label_name, given)]


def _label_name(label: str | int | samples_wire.LabelName) -> str:
    if isinstance(label, samples_wire.LabelName):
        return label.name or label.label_id or ""
    return str(label)


def _span(moments: Sequence[int] | None) -> tuple[int, int] | None:
    if moments is None:
        return None
    first, last = moments
    # The last second is one of them.
    return _milliseconds(first), _milliseconds(last) + (0 if last >= _SECONDS_UNTIL else 999)


def _milliseconds(moment: int) -> int:
    return moment if moment >= _SECONDS_UNTIL else moment * 1000


def _sample(item: Item, url: str) -> samples_wire.Sample:
    row = item.row
    return samples_wire.Sample(
        id=row.row_id,
        name=row.sample.images[0].name if row.sample.images else row.row_id,
        labels=[
            samples_wire.Label(label_id=name, name=name, color=LABEL_COLOR) for name in row.labels
        ],
        url=url,
        memorySize=len(encode(row.sample).encode())
        + sum(image.size_bytes for image in row.sample.images),
        isAnnotated=item.annotated,
        textExtra=_extra(item.statistics or {}),
    )


def _extra(measured: Mapping[str, Any]) -> samples_wire.TextExtra:
    def value(name: str) -> Any:
        found = measured.get(name)
        return UNSET if found is None else found

    words = value("words")
    return samples_wire.TextExtra(
        wordNum=words if words is UNSET else int(words),
        repetitiveCharRatio=value("character_repetition"),
        specialCharRatio=value("special_characters"),
        flaggedWordRatio=value("flagged_words"),
        langProb=value("language_probability"),
        perplexity=value("perplexity"),
    )
