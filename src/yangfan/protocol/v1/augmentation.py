"""`POST /wenxinworkshop/enhance/…`: making more samples out of a few, v1 (specification D.10).

Baidu's pages Dlp6iv0zw, Flp7n9xmp, Clp6iwiy9 and glp6iy6h3 (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/…).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.cleaning import DatasetId
from yangfan.protocol.v1.envelope import Envelope

Status = Literal[1, 2, 3, 4]
"""1 pending, 2 running, 3 finished, 4 failed."""


class CreateAugmentation(msgspec.Struct, kw_only=True):
    """What to make out of which samples, and where to. The destination is an unpublished version without rows."""

    name: Annotated[str, Meta(max_length=128)] = ""
    isSelfInstruct: bool = True  # noqa: N815 - the wire's spelling
    sourceDatasetId: DatasetId  # noqa: N815 - the wire's spelling
    destDatasetId: DatasetId  # noqa: N815 - the wire's spelling
    devApiId: int | Annotated[str, Meta(min_length=1, max_length=256)]  # noqa: N815 - the wire's spelling
    """1191 ERNIE-3.5-8K, 1431 ERNIE-Lite-8K, 1306 ERNIE-4.0-8K, 1378 ERNIE-Speed-8K, or the name of any served model."""
    appId: int | str = 0  # noqa: N815 - the wire's spelling
    numSeedFewshot: Annotated[int, Meta(ge=1, le=10)]  # noqa: N815 - the wire's spelling
    numInstancesToGenerate: Annotated[int, Meta(ge=1, le=5000)]  # noqa: N815 - the wire's spelling
    similarityThreshold: Annotated[float, Meta(ge=0, le=1)]  # noqa: N815 - the wire's spelling


class ListAugmentations(msgspec.Struct, kw_only=True):
    """Which page; `word` is a part of the name."""

    isSelfInstruct: bool = True  # noqa: N815 - the wire's spelling
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    pageSize: Annotated[int, Meta(ge=1, le=100)] = 10  # noqa: N815 - the wire's spelling
    word: Annotated[str, Meta(max_length=128)] | None = None
    sortField: Literal["startTime"] | None = None  # noqa: N815 - the wire's spelling
    sortBy: Literal["asc", "desc"] | None = None  # noqa: N815 - the wire's spelling


class ShowAugmentation(msgspec.Struct, kw_only=True):
    """Which task."""

    taskId: int | Annotated[str, Meta(min_length=1, max_length=64)]  # noqa: N815 - the wire's spelling


class DeleteAugmentations(msgspec.Struct, kw_only=True):
    """Which tasks; those that run are stopped. What they made stays."""

    taskIds: Annotated[  # noqa: N815 - the wire's spelling
        list[int | Annotated[str, Meta(min_length=1, max_length=64)]],
        Meta(min_length=1, max_length=100),
    ]


class AugmentationItem(msgspec.Struct, kw_only=True):
    """A task in a list. Times are ``YYYY-MM-DD hh:mm:ss`` in UTC, "" where they have not come."""

    id: int
    strId: str  # noqa: N815 - the wire's spelling
    projectType: int  # noqa: N815 - the wire's spelling
    sourceDatasetId: str  # noqa: N815 - the wire's spelling
    sourceDatasetName: str  # noqa: N815 - the wire's spelling
    destDatasetId: str  # noqa: N815 - the wire's spelling
    destDatasetName: str  # noqa: N815 - the wire's spelling
    area: str = ""
    status: Status
    strategy: str = ""
    operations: list[str] = []
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling
    failReason: str  # noqa: N815 - the wire's spelling
    isSelfInstruct: bool = True  # noqa: N815 - the wire's spelling
    name: str
    modelName: str  # noqa: N815 - the wire's spelling


class AugmentationList(msgspec.Struct, kw_only=True):
    """A page of tasks."""

    total: int
    items: list[AugmentationItem]


class AugmentationDetail(msgspec.Struct, kw_only=True):
    """A task. `strId`, `jobId`, `failReason` and `rejectedCount` (prompts too like another) are ours."""

    id: int
    strId: str  # noqa: N815 - the wire's spelling
    sourceDatasetId: str  # noqa: N815 - the wire's spelling
    sourceDatasetName: str  # noqa: N815 - the wire's spelling
    destDatasetId: str  # noqa: N815 - the wire's spelling
    destDatasetName: str  # noqa: N815 - the wire's spelling
    labelIds: list[str] = []  # noqa: N815 - the wire's spelling
    status: Status
    area: str = ""
    entityCount: int  # noqa: N815 - the wire's spelling
    strategy: str = ""
    operations: list[str] = []
    retStr: str = ""  # noqa: N815 - the wire's spelling
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling
    isSelfInstruct: bool = True  # noqa: N815 - the wire's spelling
    name: str
    serviceName: str  # noqa: N815 - the wire's spelling
    appName: str  # noqa: N815 - the wire's spelling
    userName: str  # noqa: N815 - the wire's spelling
    numSeedFewshot: int  # noqa: N815 - the wire's spelling
    numInstancesToGenerate: int  # noqa: N815 - the wire's spelling
    similarityThreshold: float  # noqa: N815 - the wire's spelling
    jobId: str = ""  # noqa: N815 - the wire's spelling
    failReason: str = ""  # noqa: N815 - the wire's spelling
    rejectedCount: int = 0  # noqa: N815 - the wire's spelling


class AugmentationsDeleted(msgspec.Struct):
    """It is done."""

    success: bool = True


def _enhance(verb: str, request: type[Any], reply: Any, en: str, zh: str) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.augmentation.{verb}",
        dialect="data",
        method="POST",
        path=f"/wenxinworkshop/enhance/{verb}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.10",
    )


CREATE = _enhance(
    "create",
    CreateAugmentation,
    Envelope[bool],
    "Let a model make more samples out of those of a dataset.",
    "创建数据增强任务。",
)
LIST = _enhance(
    "list",
    ListAugmentations,
    Envelope[AugmentationList],
    "List augmentation tasks.",
    "查看数据增强任务列表。",
)
DETAIL = _enhance(
    "detail",
    ShowAugmentation,
    Envelope[AugmentationDetail],
    "Show an augmentation task.",
    "查看数据增强任务详情。",
)
DELETE = _enhance(
    "delete",
    DeleteAugmentations,
    Envelope[AugmentationsDeleted],
    "Delete augmentation tasks; what they made stays.",
    "删除数据增强任务，增强结果保留。",
)
