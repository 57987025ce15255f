"""`POST /v2/dataset?Action=…`: datasets, their versions and samples, v2 (specification D.8; samples, differences and insight are ours).

A version is named by its ``ds-…``, a dataset by its ``dg-…``; names and ``NAME:VERSION`` are taken too. Times are
``YYYY-MM-DD hh:mm:ss`` in UTC.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions
from yangfan.protocol.v2.keys import ActionReply
from yangfan.protocol.v2.memory import PageInfo

MAX_SAMPLES = 1000
"""Most samples of a page, and of one call that adds or deletes some."""

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Marker = Annotated[str, Meta(max_length=200)]
Moments = Annotated[list[Annotated[int, Meta(ge=0, le=10**15)]], Meta(min_length=2, max_length=2)]
"""First and last moment, in ms since 1970."""
MaxKeys = Annotated[int, Meta(ge=1, le=100)]
StorageType = Literal["BOS", "sysStorage"]
ImportStatus = Literal["Created", "Importing", "ImportFinished", "ImportFailed"]
PublishStatus = Literal["Unpublished", "Publishing", "Published", "PublishFailed"]


class CreateDataset(msgspec.Struct, kw_only=True):
    """A new dataset; `storageType` is kept and shown, the rows are kept by the platform."""

    datasetName: Id  # noqa: N815 - the wire's spelling
    dataFormat: Annotated[str, Meta(max_length=64)]  # noqa: N815 - the wire's spelling
    storageType: StorageType = "sysStorage"  # noqa: N815 - the wire's spelling
    storagePath: Annotated[str, Meta(max_length=1024)] | None = None  # noqa: N815 - the wire's spelling
    description: Annotated[str, Meta(max_length=1024)] = ""


class DatasetFilter(msgspec.Struct, kw_only=True):
    """Which datasets: a part of the name, a format."""

    datasetName: Annotated[str, Meta(max_length=200)] | None = None  # noqa: N815 - the wire's spelling
    dataFormat: Annotated[str, Meta(max_length=64)] | None = None  # noqa: N815 - the wire's spelling


class ListDatasets(msgspec.Struct, kw_only=True):
    """Which page; `marker` is the dataset to begin with."""

    marker: Marker | None = None
    maxKeys: MaxKeys | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling
    filter: DatasetFilter | None = None


class NameDataset(msgspec.Struct, kw_only=True):
    """Which dataset."""

    datasetId: Id  # noqa: N815 - the wire's spelling


class ModifyDataset(msgspec.Struct, kw_only=True):
    """Another name for a dataset."""

    datasetId: Id  # noqa: N815 - the wire's spelling
    datasetName: Id  # noqa: N815 - the wire's spelling


class CreateVersion(msgspec.Struct, kw_only=True):
    """The next version of a dataset: empty, or beginning with the rows of `sourceVersionId` (ours)."""

    datasetId: Id  # noqa: N815 - the wire's spelling
    description: Annotated[str, Meta(max_length=1024)] = ""
    sourceVersionId: Id | None = None  # noqa: N815 - the wire's spelling


class NameVersion(msgspec.Struct, kw_only=True):
    """Which version."""

    versionId: Id  # noqa: N815 - the wire's spelling


class ModifyVersion(msgspec.Struct, kw_only=True):
    """What to say about a version."""

    versionId: Id  # noqa: N815 - the wire's spelling
    description: Annotated[str, Meta(max_length=1024)]


class VersionFilter(msgspec.Struct, kw_only=True):
    """Which versions."""

    importStatusList: list[ImportStatus] | None = None  # noqa: N815 - the wire's spelling
    publishStatusList: list[PublishStatus] | None = None  # noqa: N815 - the wire's spelling


class ListVersions(msgspec.Struct, kw_only=True):
    """Which page of whose versions; `marker` is the version to begin with."""

    datasetId: Id  # noqa: N815 - the wire's spelling
    marker: Marker | None = None
    maxKeys: MaxKeys | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling
    filter: VersionFilter | None = None


class ListSamples(msgspec.Struct, kw_only=True):
    """Which samples of a version; moments are ms since 1970, `text` is looked for in any case."""

    versionId: Id  # noqa: N815 - the wire's spelling
    offset: Annotated[int, Meta(ge=0, le=2_000_000_000)] = 0
    maxKeys: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] = 100  # noqa: N815 - the wire's spelling
    annotated: bool | None = None
    importedMs: Moments | None = None  # noqa: N815 - the wire's spelling
    annotatedMs: Moments | None = None  # noqa: N815 - the wire's spelling
    label: Annotated[str, Meta(max_length=64)] = ""
    text: Annotated[str, Meta(max_length=1000)] = ""


class CreateSamples(msgspec.Struct, kw_only=True):
    """Rows to put at the end of a version, as lines of its format's jsonl say them."""

    versionId: Id  # noqa: N815 - the wire's spelling
    samples: Annotated[list[Any], Meta(min_length=1, max_length=MAX_SAMPLES)]


class AnnotateSample(msgspec.Struct, kw_only=True):
    """What a row is to say from now on, and its labels; what is left out stays."""

    versionId: Id  # noqa: N815 - the wire's spelling
    sampleId: Id  # noqa: N815 - the wire's spelling
    content: Any = None
    labels: list[str] | None = None


class DeleteSamples(msgspec.Struct, kw_only=True):
    """Which rows to take out of a version."""

    versionId: Id  # noqa: N815 - the wire's spelling
    sampleIds: Annotated[list[Id], Meta(min_length=1, max_length=MAX_SAMPLES)]  # noqa: N815 - the wire's spelling


class CompareVersions(msgspec.Struct, kw_only=True):
    """Which two versions, and which part of what is different."""

    versionId: Id  # noqa: N815 - the wire's spelling
    baseVersionId: Id  # noqa: N815 - the wire's spelling
    offset: Annotated[int, Meta(ge=0, le=2_000_000_000)] = 0
    maxKeys: Annotated[int, Meta(ge=0, le=MAX_SAMPLES)] = 20  # noqa: N815 - the wire's spelling


class Version(msgspec.Struct, kw_only=True):
    """A version. `reference`, `editCount`, `lineage` and `error` are ours."""

    datasetId: str  # noqa: N815 - the wire's spelling
    versionId: str  # noqa: N815 - the wire's spelling
    versionNumber: int  # noqa: N815 - the wire's spelling
    datasetName: str  # noqa: N815 - the wire's spelling
    dataFormat: str  # noqa: N815 - the wire's spelling
    description: str
    storageType: StorageType  # noqa: N815 - the wire's spelling
    storagePath: str  # noqa: N815 - the wire's spelling
    importStatus: ImportStatus  # noqa: N815 - the wire's spelling
    publishStatus: PublishStatus  # noqa: N815 - the wire's spelling
    sampleCount: int  # noqa: N815 - the wire's spelling
    annotatedSampleCount: int  # noqa: N815 - the wire's spelling
    characterCount: int  # noqa: N815 - the wire's spelling
    sizeMB: float  # noqa: N815 - the wire's spelling
    creator: str
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    reference: str
    editCount: int  # noqa: N815 - the wire's spelling
    lineage: list[dict[str, Any]]
    error: str = ""


class Dataset(msgspec.Struct, kw_only=True):
    """A dataset, and its newest version."""

    datasetId: str  # noqa: N815 - the wire's spelling
    datasetName: str  # noqa: N815 - the wire's spelling
    dataFormat: str  # noqa: N815 - the wire's spelling
    storageType: StorageType  # noqa: N815 - the wire's spelling
    storagePath: str  # noqa: N815 - the wire's spelling
    versionCount: int  # noqa: N815 - the wire's spelling
    latestVersion: Version | None = None  # noqa: N815 - the wire's spelling
    creator: str
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling


class DatasetPage(msgspec.Struct, kw_only=True):
    """A page of datasets."""

    datasetList: list[Dataset]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class VersionPage(msgspec.Struct, kw_only=True):
    """A page of versions."""

    versionList: list[Version]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class Statistics(msgspec.Struct, kw_only=True):
    """What was measured of a row; null where nobody could."""

    words: float | None = None
    word_repetition: float | None = None
    character_repetition: float | None = None
    special_characters: float | None = None
    flagged_words: float | None = None
    language_probability: float | None = None
    perplexity: float | None = None
    characters: float | None = None
    language: str | None = None


class Sample(msgspec.Struct, kw_only=True):
    """A row of a version: `content` is a line of its format's jsonl."""

    sampleId: str  # noqa: N815 - the wire's spelling
    content: Any
    labels: list[str]
    annotated: bool
    importedMs: int  # noqa: N815 - the wire's spelling
    annotatedMs: int  # noqa: N815 - the wire's spelling
    url: str
    statistics: Statistics | UnsetType = UNSET


class SamplePage(msgspec.Struct, kw_only=True):
    """Samples of a version: `totalCount` in the window; `nextOffset` where there are more."""

    versionId: str  # noqa: N815 - the wire's spelling
    dataFormat: str  # noqa: N815 - the wire's spelling
    totalCount: int  # noqa: N815 - the wire's spelling
    samples: list[Sample]
    nextOffset: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class CreatedSamples(msgspec.Struct, kw_only=True):
    """Ids of new rows, in their order."""

    sampleIds: list[str]  # noqa: N815 - the wire's spelling


class DeletedSamples(msgspec.Struct, kw_only=True):
    """Ids of rows that there were not."""

    failedIds: list[str]  # noqa: N815 - the wire's spelling


class Difference(msgspec.Struct, kw_only=True):
    """A row that two versions do not have alike."""

    kind: Literal["added", "removed", "changed"]
    sampleId: str  # noqa: N815 - the wire's spelling
    before: Any = None
    after: Any = None


class Comparison(msgspec.Struct, kw_only=True):
    """How many rows were added, removed and changed, and some of them."""

    baseVersionId: str  # noqa: N815 - the wire's spelling
    versionId: str  # noqa: N815 - the wire's spelling
    addedCount: int  # noqa: N815 - the wire's spelling
    removedCount: int  # noqa: N815 - the wire's spelling
    changedCount: int  # noqa: N815 - the wire's spelling
    differences: list[Difference]


class Spread(msgspec.Struct, kw_only=True):
    """How a measure is spread: `histogram` has one edge more than counts."""

    rows: int
    mean: float
    minimum: float
    maximum: float
    percentiles: dict[str, float]
    edges: list[float]
    counts: list[int]


class Duplicates(msgspec.Struct, kw_only=True):
    """A text that stands in several rows: how many, and the first of them."""

    count: int
    firstRow: int  # noqa: N815 - the wire's spelling


class NearDuplicate(msgspec.Struct, kw_only=True):
    """A row that nearly repeats an earlier one: its number, and the bits in which their simhashes differ."""

    row: int
    distance: int


class Insight(msgspec.Struct, kw_only=True):
    """What a version looks like. While it is being measured there are only `status`, `jobId`, and the `error` of the attempt before."""

    versionId: str  # noqa: N815 - the wire's spelling
    status: Literal["Running", "Finished"]
    jobId: str = ""  # noqa: N815 - the wire's spelling
    error: str = ""
    rows: int | UnsetType = UNSET
    characters: int | UnsetType = UNSET
    duplicates: int | UnsetType = UNSET
    largestDuplicates: list[Duplicates] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    nearDuplicates: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    """Rows that `deduplication_simhash` would take out; left out where they could not be measured."""
    nearestDuplicates: list[NearDuplicate] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    """The first of them whose text is not that of an earlier row to the letter."""
    languages: dict[str, int] | UnsetType = UNSET
    measures: dict[str, Spread] | UnsetType = UNSET
    missing: dict[str, str] | UnsetType = UNSET


action = Actions("v2.datasets", "/v2/dataset", "D.8")
"""Makes an Endpoint on /v2/dataset."""

_sample = Actions("v2.samples", "/v2/dataset", "D.11")

CREATE = action(
    "create_dataset",
    "CreateDataset",
    CreateDataset,
    ActionReply[Version],
    "Make a dataset with its first version.",
    "创建数据集，同时创建 V1 版本。",
)
LIST = action(
    "describe_datasets",
    "DescribeDatasets",
    ListDatasets,
    ActionReply[DatasetPage],
    "List datasets.",
    "查询数据集列表。",
)
MODIFY = action(
    "modify_dataset",
    "ModifyDataset",
    ModifyDataset,
    ActionReply[Dataset],
    "Rename a dataset.",
    "重命名数据集。",
)
DELETE = action(
    "delete_dataset",
    "DeleteDataset",
    NameDataset,
    ActionReply[bool],
    "Delete a dataset with all its versions.",
    "删除数据集及其所有版本。",
)
CREATE_VERSION = action(
    "create_dataset_version",
    "CreateDatasetVersion",
    CreateVersion,
    ActionReply[Version],
    "Make the next version of a dataset, empty or from an earlier one.",
    "创建数据集新版本，可继承已有版本。",
)
SHOW_VERSION = action(
    "describe_dataset_version",
    "DescribeDatasetVersion",
    NameVersion,
    ActionReply[Version],
    "Show a version.",
    "查看数据集版本详情。",
)
MODIFY_VERSION = action(
    "modify_dataset_version",
    "ModifyDatasetVersion",
    ModifyVersion,
    ActionReply[Version],
    "Describe a version.",
    "修改数据集版本描述。",
)
LIST_VERSIONS = action(
    "describe_dataset_versions",
    "DescribeDatasetVersions",
    ListVersions,
    ActionReply[VersionPage],
    "List the versions of a dataset.",
    "查询数据集版本列表。",
)
PUBLISH_VERSION = action(
    "publish_dataset_version",
    "PublishDatasetVersion",
    NameVersion,
    ActionReply[Version],
    "Publish a version: it never changes again.",
    "发布数据集版本，发布后不可修改。",
)
DELETE_VERSION = action(
    "delete_dataset_version",
    "DeleteDatasetVersion",
    NameVersion,
    ActionReply[bool],
    "Delete a version.",
    "删除数据集版本。",
)
COMPARE_VERSIONS = action(
    "compare_dataset_versions",
    "CompareDatasetVersions",
    CompareVersions,
    ActionReply[Comparison],
    "Say which rows are different between two versions.",
    "比较两个版本的样本差异。",
)
INSIGHT = action(
    "describe_dataset_insight",
    "DescribeDatasetInsight",
    NameVersion,
    ActionReply[Insight],
    "Say what a version looks like: lengths, languages, repetition, duplicates; measured by a job at the first call.",
    "数据洞察：长度、语种、重复度等统计，首次调用时由任务计算。",
)
LIST_SAMPLES = _sample(
    "describe_samples",
    "DescribeSamples",
    ListSamples,
    ActionReply[SamplePage],
    "List and search samples.",
    "查询与检索样本。",
)
CREATE_SAMPLES = _sample(
    "create_samples",
    "CreateSamples",
    CreateSamples,
    ActionReply[CreatedSamples],
    "Add samples to a version.",
    "向版本追加样本。",
)
ANNOTATE_SAMPLE = _sample(
    "annotate_sample",
    "AnnotateSample",
    AnnotateSample,
    ActionReply[Sample],
    "Say what a sample is to say, or label it.",
    "标注样本。",
)
DELETE_SAMPLES = _sample(
    "delete_samples",
    "DeleteSamples",
    DeleteSamples,
    ActionReply[DeletedSamples],
    "Delete samples.",
    "删除样本。",
)
