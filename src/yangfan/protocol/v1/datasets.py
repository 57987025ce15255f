"""`POST /wenxinworkshop/dataset/…`: datasets, v1 (specification D.7).

`datasetId` is the ``ds-…`` of a version; its integer id, a name and ``NAME:VERSION`` are taken too. Times are
``YYYY-MM-DD hh:mm:ss`` in UTC, which the published SDK compares with one another.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.envelope import Envelope

Id = int | Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
StorageType = Literal["sysBos", "usrBos"]


class CreateDataset(msgspec.Struct, kw_only=True):
    """A new dataset; `storageType` is kept and shown, the rows are kept by the platform."""

    name: Name
    versionId: int = 1  # noqa: N815 - the wire's spelling
    projectType: int  # noqa: N815 - the wire's spelling
    templateType: int  # noqa: N815 - the wire's spelling
    dataType: int = 4  # noqa: N815 - the wire's spelling
    storageType: StorageType = "sysBos"  # noqa: N815 - the wire's spelling
    storageId: Annotated[str, Meta(max_length=256)] | None = None  # noqa: N815 - the wire's spelling
    rawStoragePath: Annotated[str, Meta(max_length=1024)] | None = None  # noqa: N815 - the wire's spelling
    remark: Annotated[str, Meta(max_length=1024)] = ""


class NameDataset(msgspec.Struct, kw_only=True):
    """Which version."""

    datasetId: Id  # noqa: N815 - the wire's spelling


class NameDatasets(msgspec.Struct, kw_only=True):
    """Which versions."""

    datasetIds: Annotated[list[Id], Meta(max_length=100)]  # noqa: N815 - the wire's spelling


class StorageInfo(msgspec.Struct, kw_only=True):
    """Where a caller said that the rows are to be."""

    storageId: str  # noqa: N815 - the wire's spelling
    storagePath: str  # noqa: N815 - the wire's spelling
    storageName: str  # noqa: N815 - the wire's spelling
    rawStoragePath: str  # noqa: N815 - the wire's spelling
    region: str


class CreatedDataset(msgspec.Struct, kw_only=True):
    """A new dataset; `datasetId` names its first version everywhere."""

    id: int
    groupId: int  # noqa: N815 - the wire's spelling
    groupPK: str  # noqa: N815 - the wire's spelling
    datasetId: str  # noqa: N815 - the wire's spelling
    versionId: int  # noqa: N815 - the wire's spelling
    groupName: str  # noqa: N815 - the wire's spelling
    displayName: str  # noqa: N815 - the wire's spelling
    createFrom: int = 0  # noqa: N815 - the wire's spelling
    bmlDatasetId: str = ""  # noqa: N815 - the wire's spelling
    userId: int = 0  # noqa: N815 - the wire's spelling
    dataType: int  # noqa: N815 - the wire's spelling
    projectType: int  # noqa: N815 - the wire's spelling
    templateType: int  # noqa: N815 - the wire's spelling
    remark: str
    storageInfo: StorageInfo  # noqa: N815 - the wire's spelling
    importStatus: int  # noqa: N815 - the wire's spelling
    importProgress: int  # noqa: N815 - the wire's spelling
    exportStatus: int  # noqa: N815 - the wire's spelling
    releaseStatus: int  # noqa: N815 - the wire's spelling
    ShouldHide: bool = False
    status: int = 0
    isUnique: int = 0  # noqa: N815 - the wire's spelling
    errCode: int | None = None  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling


class Storage(msgspec.Struct, kw_only=True):
    """Where the rows are, as `VersionInfo` shows it."""

    storageId: str  # noqa: N815 - the wire's spelling
    storageName: str  # noqa: N815 - the wire's spelling
    storagePath: str  # noqa: N815 - the wire's spelling
    rawStoragePath: str  # noqa: N815 - the wire's spelling
    region: str


class VersionInfo(msgspec.Struct, kw_only=True):
    """A version. `errorMessage` is ours: why its last import failed."""

    id: int
    groupId: int  # noqa: N815 - the wire's spelling
    datasetId: int  # noqa: N815 - the wire's spelling
    datasetPK: str  # noqa: N815 - the wire's spelling
    importRecordCount: int  # noqa: N815 - the wire's spelling
    exportRecordCount: int  # noqa: N815 - the wire's spelling
    bmlDatasetId: str = ""  # noqa: N815 - the wire's spelling
    userId: int = 0  # noqa: N815 - the wire's spelling
    versionId: int  # noqa: N815 - the wire's spelling
    displayName: str  # noqa: N815 - the wire's spelling
    importStatus: int  # noqa: N815 - the wire's spelling
    importProgress: int  # noqa: N815 - the wire's spelling
    exportStatus: int  # noqa: N815 - the wire's spelling
    exportProgress: int  # noqa: N815 - the wire's spelling
    dataType: int  # noqa: N815 - the wire's spelling
    projectType: int  # noqa: N815 - the wire's spelling
    templateType: int  # noqa: N815 - the wire's spelling
    dataFormat: str  # noqa: N815 - the wire's spelling
    errCode: int | None  # noqa: N815 - the wire's spelling
    errorMessage: str  # noqa: N815 - the wire's spelling
    uniqueType: int = 0  # noqa: N815 - the wire's spelling
    importErrorInfo: dict[str, Any] | None  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    storageType: StorageType  # noqa: N815 - the wire's spelling
    storage: Storage
    releaseStatus: int  # noqa: N815 - the wire's spelling
    releaseErrCode: int  # noqa: N815 - the wire's spelling
    releaseStoragePath: str = ""  # noqa: N815 - the wire's spelling
    releaseProgress: int  # noqa: N815 - the wire's spelling
    remark: str
    annotatedEntityCount: int  # noqa: N815 - the wire's spelling
    entityCount: int  # noqa: N815 - the wire's spelling
    labelCount: int  # noqa: N815 - the wire's spelling
    memorySize: float  # noqa: N815 - the wire's spelling
    characterCount: int  # noqa: N815 - the wire's spelling
    isEnhancing: bool  # noqa: N815 - the wire's spelling
    enhanceStatus: int  # noqa: N815 - the wire's spelling
    hasEnhance: bool  # noqa: N815 - the wire's spelling
    isSelfInstructEnhance: bool  # noqa: N815 - the wire's spelling
    interAnnoRunning: bool = False  # noqa: N815 - the wire's spelling
    hardSampleCount: int = 0  # noqa: N815 - the wire's spelling
    etlStatus: int  # noqa: N815 - the wire's spelling
    hasEtl: bool  # noqa: N815 - the wire's spelling
    isPipelineEtl: bool  # noqa: N815 - the wire's spelling
    teamAnnoStatus: int = -1  # noqa: N815 - the wire's spelling
    hasTeamAnno: bool = False  # noqa: N815 - the wire's spelling
    promptOptimizeStatus: int = -1  # noqa: N815 - the wire's spelling
    demandStatus: int = -1  # noqa: N815 - the wire's spelling
    view: int = 0
    usage: int = 0
    description: str = ""
    tag: list[str] = []
    license: str = ""
    copyright: str = ""
    copyrightLink: str = ""  # noqa: N815 - the wire's spelling


class DatasetInfo(msgspec.Struct, kw_only=True):
    """A version and its dataset."""

    groupPK: str  # noqa: N815 - the wire's spelling
    name: str
    dataType: int  # noqa: N815 - the wire's spelling
    versionInfo: VersionInfo  # noqa: N815 - the wire's spelling


class DatasetStatus(msgspec.Struct, kw_only=True):
    """How far everything about a version is."""

    importStatus: int  # noqa: N815 - the wire's spelling
    importProgress: int  # noqa: N815 - the wire's spelling
    releaseStatus: int  # noqa: N815 - the wire's spelling
    releaseProgress: int  # noqa: N815 - the wire's spelling
    exportStatus: int  # noqa: N815 - the wire's spelling
    exportProgress: int  # noqa: N815 - the wire's spelling
    enhanceStatus: int  # noqa: N815 - the wire's spelling
    etlStatus: int  # noqa: N815 - the wire's spelling
    importErrorInfo: dict[str, Any] | None  # noqa: N815 - the wire's spelling
    entityCount: int  # noqa: N815 - the wire's spelling
    annotatedEntityCount: int  # noqa: N815 - the wire's spelling
    labelCount: int  # noqa: N815 - the wire's spelling
    characterCount: int  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling


class Deleted(msgspec.Struct, kw_only=True):
    """How many versions the dataset has left."""

    versionCount: int  # noqa: N815 - the wire's spelling


def datasets(
    name: str, path: str, request: type[Any], reply: Any, en: str, zh: str
) -> Endpoint[Any, Any]:
    """An Endpoint below /wenxinworkshop/dataset."""
    return Endpoint(
        name=f"v1.datasets.{name}",
        dialect="data",
        method="POST",
        path=f"/wenxinworkshop/dataset/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.7",
    )


CREATE = datasets(
    "create",
    "create",
    CreateDataset,
    Envelope[CreatedDataset],
    "Make a dataset with its first version.",
    "创建数据集。",
)
RELEASE = datasets(
    "release",
    "release",
    NameDataset,
    Envelope[bool],
    "Publish a version: it never changes again.",
    "发布数据集版本。",
)
INFO = datasets(
    "info", "info", NameDataset, Envelope[DatasetInfo], "Show a version.", "查看数据集详情。"
)
STATUS_LIST = datasets(
    "status_list",
    "statusList",
    NameDatasets,
    Envelope[dict[str, DatasetStatus]],
    "Show how far importing, publishing and exporting are.",
    "批量查询数据集状态。",
)
DELETE = datasets(
    "delete", "delete", NameDataset, Envelope[Deleted], "Delete a version.", "删除数据集版本。"
)
