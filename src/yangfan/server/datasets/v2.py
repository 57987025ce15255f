"""v2: the Actions of /v2/dataset (specification D.8; samples, differences and insight are ours). Imports and exports are answered beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from yangfan.datasets.formats import DataFormat, is_annotated, render
from yangfan.errors import Invalid
from yangfan.protocol.v2 import datasets as wire
from yangfan.protocol.v2.memory import PageInfo
from yangfan.server.datasets.logic import Filter
from yangfan.server.datasets.samples import Window
from yangfan.server.datasets.types import STORED_HERE, Storage
from yangfan.server.datasets.wire import IMPORT_WORDS
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import success
from yangfan.server.http.times import console_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.datasets.deltas import Difference
    from yangfan.datasets.formats import Sample
    from yangfan.datasets.inspection import Insight
    from yangfan.server.datasets.links import Links
    from yangfan.server.datasets.logic import Datasets
    from yangfan.server.datasets.publishing import Publishing
    from yangfan.server.datasets.samples import Item, Samples
    from yangfan.server.datasets.types import DatasetVersion, Group

DEFAULT_PAGE = 10


def routes(
    datasets: Datasets, samples: Samples, publishing: Publishing, links: Links
) -> list[Route]:
    """What this file answers."""
    return [
        *_dataset_routes(datasets),
        *_version_routes(datasets, samples, publishing),
        *_sample_routes(samples, links),
    ]


def _dataset_routes(datasets: Datasets) -> list[Route]:
    async def create(call: Call[wire.CreateDataset]) -> Reply:
        request = call.request
        storage = Storage()
        if request.storageType == "BOS":
            if not request.storagePath or not request.storagePath.startswith("bos:/"):
                raise Invalid(
                    "storageType BOS needs a storagePath such as bos:/bucket/folder/; take sysStorage to have the platform keep the rows",
                    param="storagePath",
                )
            bucket, _, folder = request.storagePath.removeprefix("bos:/").partition("/")
            storage = Storage("usrBos", bucket, f"/{folder}")
        made = await datasets.create(
            request.datasetName,
            DataFormat.named(request.dataFormat),
            call.principal.app_id,
            storage=storage,
            description=request.description,
        )
        return success(_version(made))

    async def list_all(call: Call[wire.ListDatasets]) -> Reply:
        request = call.request
        given = request.filter or wire.DatasetFilter()
        wanted = Filter(
            given.datasetName or "",
            DataFormat.named(given.dataFormat) if given.dataFormat else None,
        )
        count = request.maxKeys or DEFAULT_PAGE
        found, following = await datasets.page(
            wanted, request.marker or "", count, newest_first=bool(request.pageReverse)
        )
        return success(
            wire.DatasetPage(
                datasetList=[_dataset(group, version) for group, version in found],
                pageInfo=_page_info(request.marker, count, following),
            )
        )

    async def modify(call: Call[wire.ModifyDataset]) -> Reply:
        group = await datasets.rename(call.request.datasetId, call.request.datasetName)
        versions = await datasets.versions(group.id)
        return success(_dataset(group, versions[-1] if versions else None))

    async def delete(call: Call[wire.NameDataset]) -> Reply:
        await datasets.delete(call.request.datasetId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE, create),
        Route(wire.LIST, list_all, body=lambda body, _scope: body or b"{}"),
        Route(wire.MODIFY, modify),
        Route(wire.DELETE, delete),
    ]


def _version_routes(datasets: Datasets, samples: Samples, publishing: Publishing) -> list[Route]:
    async def create(call: Call[wire.CreateVersion]) -> Reply:
        request = call.request
        made = await datasets.create_version(
            request.datasetId,
            call.principal.app_id,
            description=request.description,
            source=request.sourceVersionId,
        )
        return success(_version(made))

    async def show(call: Call[wire.NameVersion]) -> Reply:
        return success(_version(await datasets.version(call.request.versionId)))

    async def modify(call: Call[wire.ModifyVersion]) -> Reply:
        request = call.request
        return success(_version(await datasets.describe(request.versionId, request.description)))

    async def list_all(call: Call[wire.ListVersions]) -> Reply:
        request = call.request
        wanted = request.filter or wire.VersionFilter()
        found = [
            shown
            for shown in map(
                _version,
                await datasets.versions(request.datasetId, newest_first=bool(request.pageReverse)),
            )
            if (not wanted.importStatusList or shown.importStatus in wanted.importStatusList)
            and (not wanted.publishStatusList or shown.publishStatus in wanted.publishStatusList)
        ]
        if request.marker:
            ids = [version.versionId for version in found]
            if request.marker not in ids:
                raise Invalid(
                    f"no version {request.marker!r} in this list; begin with an empty marker and go on with nextMarker",
                    param="marker",
                )
            found = found[ids.index(request.marker) :]
        count = request.maxKeys or DEFAULT_PAGE
        following = found[count].versionId if len(found) > count else None
        return success(
            wire.VersionPage(
                versionList=found[:count],
                pageInfo=_page_info(request.marker, count, following),
            )
        )

    async def publish(call: Call[wire.NameVersion]) -> Reply:
        return success(
            _version(await publishing.publish(call.request.versionId, call.principal.app_id))
        )

    async def delete(call: Call[wire.NameVersion]) -> Reply:
        await datasets.delete_version(call.request.versionId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def compare(call: Call[wire.CompareVersions]) -> Reply:
        request = call.request
        counts, found = await samples.differences(
            request.baseVersionId, request.versionId, request.offset, request.maxKeys
        )
        data_format = (await datasets.version(request.versionId)).data_format
        return success(
            wire.Comparison(
                baseVersionId=request.baseVersionId,
                versionId=request.versionId,
                addedCount=counts["added"],
                removedCount=counts["removed"],
                changedCount=counts["changed"],
                differences=[_difference(data_format, item) for item in found],
            )
        )

    async def insight(call: Call[wire.NameVersion]) -> Reply:
        version, found = await publishing.inspect(call.request.versionId, call.principal.app_id)
        return success(_insight(version, found))

    return [
        Route(wire.CREATE_VERSION, create),
        Route(wire.SHOW_VERSION, show),
        Route(wire.MODIFY_VERSION, modify),
        Route(wire.LIST_VERSIONS, list_all),
        Route(wire.PUBLISH_VERSION, publish),
        Route(wire.DELETE_VERSION, delete),
        Route(wire.COMPARE_VERSIONS, compare),
        Route(wire.INSIGHT, insight),
    ]


def _sample_routes(samples: Samples, links: Links) -> list[Route]:
    async def list_all(call: Call[wire.ListSamples]) -> Reply:
        request = call.request
        window = Window(
            annotated=request.annotated,
            imported_ms=_span(request.importedMs),
            annotated_ms=_span(request.annotatedMs),
            label=request.label,
            text=request.text,
        )
        page = await samples.page(request.versionId, request.offset, request.maxKeys, window)
        version = page.version
        following = request.offset + len(page.items)
        return success(
            wire.SamplePage(
                versionId=version.id,
                dataFormat=version.data_format.value,
                totalCount=page.total,
                samples=[
                    _sample(version, item, links.url(call.scope, version.id, item.row.row_id))
                    for item in page.items
                ],
                nextOffset=following if following < page.total else UNSET,
            )
        )

    async def create(call: Call[wire.CreateSamples]) -> Reply:
        made = await samples.add(call.request.versionId, call.request.samples)
        return success(wire.CreatedSamples(sampleIds=made))

    async def annotate(call: Call[wire.AnnotateSample]) -> Reply:
        request = call.request
        if request.content is None and request.labels is None:
            raise Invalid("content or labels must be there; say one of them", param="content")
        version, item = await samples.annotate(
            request.versionId,
            request.sampleId,
            content=request.content,
            labels=request.labels,
        )
        return success(_sample(version, item, links.url(call.scope, version.id, item.row.row_id)))

    async def delete(call: Call[wire.DeleteSamples]) -> Reply:
        missing = await samples.delete(call.request.versionId, call.request.sampleIds)
        return success(wire.DeletedSamples(failedIds=missing))

    return [
        Route(wire.LIST_SAMPLES, list_all),
        Route(wire.CREATE_SAMPLES, create),
        Route(wire.ANNOTATE_SAMPLE, annotate),
        Route(wire.DELETE_SAMPLES, delete),
    ]


def _page_info(marker: str | None, count: int, following: str | None) -> PageInfo:
    return PageInfo(
        marker=marker or "",
        maxKeys=count,
        isTruncated=following is not None,
        nextMarker=UNSET if following is None else following,
    )


def _span(moments: Sequence[int] | None) -> tuple[int, int] | None:
    return None if moments is None else (moments[0], moments[1])


def _place(group: Group) -> tuple[wire.StorageType, str]:
    storage = group.storage
    if storage.type == STORED_HERE:
        return "sysStorage", ""
    return "BOS", f"bos:/{storage.id}{storage.path}"


def _dataset(group: Group, version: DatasetVersion | None) -> wire.Dataset:
    storage_type, storage_path = _place(group)
    return wire.Dataset(
        datasetId=group.id,
        datasetName=group.name,
        dataFormat=group.data_format.value,
        storageType=storage_type,
        storagePath=storage_path,
        versionCount=group.latest,
        latestVersion=None if version is None else _version(version),
        creator=group.creator,
        createTime=console_time(group.created_ms),
        modifyTime=console_time(group.modified_ms),
    )


def _version(version: DatasetVersion) -> wire.Version:
    storage_type, storage_path = _place(version.group)
    imported = version.task("import")
    status = IMPORT_WORDS[imported.state]
    if imported.state == "none" and version.rows:
        status = "ImportFinished"  # its rows came another way
    return wire.Version(
        datasetId=version.group_id,
        versionId=version.id,
        versionNumber=version.version,
        datasetName=version.name,
        dataFormat=version.data_format.value,
        description=version.description,
        storageType=storage_type,
        storagePath=storage_path,
        importStatus=msgspec.convert(status, wire.ImportStatus),
        publishStatus=version.state,
        sampleCount=version.rows,
        annotatedSampleCount=version.annotated,
        characterCount=version.characters,
        sizeMB=round(version.size_bytes / 2**20, 3),
        creator=version.creator,
        createTime=console_time(version.created_ms),
        modifyTime=console_time(version.modified_ms),
        reference=version.reference,
        editCount=version.edits,
        lineage=[dict(item) for item in version.lineage],
        error=version.task("release").error or imported.error,
    )


def _sample(version: DatasetVersion, item: Item, url: str) -> wire.Sample:
    row = item.row
    return wire.Sample(
        sampleId=row.row_id,
        content=render(version.data_format, row.sample),
        labels=list(row.labels),
        annotated=is_annotated(version.data_format, row.sample),
        importedMs=row.created_ms,
        annotatedMs=row.annotated_ms,
        url=url,
        statistics=UNSET if item.statistics is None else _statistics(item.statistics),
    )


def _statistics(measured: Mapping[str, object]) -> wire.Statistics:
    return msgspec.convert(measured, wire.Statistics)


def _difference(data_format: DataFormat, item: Difference) -> wire.Difference:
    def shown(sample: Sample | None) -> object:
        return None if sample is None else render(data_format, sample)

    return wire.Difference(
        kind=item.kind, sampleId=item.row_id, before=shown(item.before), after=shown(item.after)
    )


def _insight(version: DatasetVersion, found: Insight | None) -> wire.Insight:
    task = version.task("inspect")
    if found is None:
        return wire.Insight(
            versionId=version.id, status="Running", jobId=task.job_id, error=task.error
        )
    return wire.Insight(
        versionId=version.id,
        status="Finished",
        jobId=task.job_id,
        rows=found.rows,
        characters=found.characters,
        duplicates=found.duplicates,
        largestDuplicates=[
            wire.Duplicates(count=count, firstRow=first)
            for count, first in found.largest_duplicates
        ],
        nearDuplicates=UNSET if found.near_duplicates is None else found.near_duplicates,
        nearestDuplicates=[
            wire.NearDuplicate(row=row, distance=distance)
            for row, distance in found.nearest_duplicates
        ],
        languages=found.languages,
        measures={
            name: wire.Spread(
                rows=spread.rows,
                mean=spread.mean,
                minimum=spread.minimum,
                maximum=spread.maximum,
                percentiles=spread.percentiles,
                edges=list(spread.histogram.edges),
                counts=list(spread.histogram.counts),
            )
            for name, spread in found.measures.items()
        },
        missing=found.missing,
    )
