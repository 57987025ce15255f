"""`POST /wenxinworkshop/etl/…`: cleaning datasets, v1 (specification D.9).

Baidu's pages 8lp6irqen, mlp6it4vd, elp7myxvp and Glp6iu8ny (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/…).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.envelope import Envelope

DatasetId = int | Annotated[str, Meta(min_length=1, max_length=256)]
"""A version's ``ds-…``, its integer, or ``NAME:VERSION``."""

ProcessStatus = Literal[0, 1, 2, 3, 4, 5]
"""0 none, 1 running, 2 finished, 3 interrupted, 4 failed, 5 paused."""


class Operation(msgspec.Struct, kw_only=True):
    """One operator and its arguments."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    args: dict[str, Any] = {}


Operations = dict[
    Annotated[str, Meta(max_length=64)], Annotated[list[Operation], Meta(max_length=64)]
]
"""The operators of each stage: clean, filter, deduplication, desensitization."""


class CreateCleaning(msgspec.Struct, kw_only=True):
    """What to clean, and where to. The destination is an unpublished version without rows."""

    etlTaskName: Annotated[str, Meta(max_length=128)] = ""  # noqa: N815 - the wire's spelling
    sourceDatasetId: DatasetId  # noqa: N815 - the wire's spelling
    destDatasetId: DatasetId  # noqa: N815 - the wire's spelling
    entityType: int = 2  # noqa: N815 - the wire's spelling
    operationsV2: Operations  # noqa: N815 - the wire's spelling


class ShowCleaning(msgspec.Struct, kw_only=True):
    """Which task."""

    etlId: int | Annotated[str, Meta(min_length=1, max_length=64)]  # noqa: N815 - the wire's spelling


class ListCleanings(msgspec.Struct, kw_only=True):
    """Which page."""

    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    pageSize: Annotated[int, Meta(ge=1, le=100)] = 10  # noqa: N815 - the wire's spelling


class DeleteCleanings(msgspec.Struct, kw_only=True):
    """Which tasks; those that run are stopped. What they made stays."""

    etlIds: Annotated[  # noqa: N815 - the wire's spelling
        list[int | Annotated[str, Meta(min_length=1, max_length=64)]],
        Meta(min_length=1, max_length=100),
    ]


class OperatorResult(msgspec.Struct, kw_only=True):
    """What one operator did. From `entity_match_count` on the fields are ours."""

    name: str
    remaining_count: int
    drop_count: int
    entity_match_count: int = 0
    failed_count: int = 0
    failures: list[str] = []


class StageResult(msgspec.Struct, kw_only=True):
    """What one stage did."""

    status: str
    operator_count: int
    entity_match_count: int
    each_operator_result: list[OperatorResult]


class TaskResult(msgspec.Struct, kw_only=True):
    """What a task did, as far as it is."""

    RET_OK: bool = True
    pipeline_stage_result: dict[str, StageResult] = {}
    export_entity_num: int = 0
    remaining_entity: int = 0
    unprocessed_entity: int = 0
    failReason: str = ""  # noqa: N815 - the wire's spelling
    pauseReason: str = ""  # noqa: N815 - the wire's spelling


class CleaningDetail(msgspec.Struct, kw_only=True):
    """A task. Times are ``YYYY-MM-DD hh:mm:ss`` in UTC, "" where they have not come; `jobId` is ours."""

    id: int
    etlTaskId: str  # noqa: N815 - the wire's spelling
    etlTaskName: str  # noqa: N815 - the wire's spelling
    userId: str  # noqa: N815 - the wire's spelling
    taskId: str  # noqa: N815 - the wire's spelling
    sourceDatasetStrId: str  # noqa: N815 - the wire's spelling
    sourceDatasetName: str  # noqa: N815 - the wire's spelling
    destDatasetStrId: str  # noqa: N815 - the wire's spelling
    destDatasetName: str  # noqa: N815 - the wire's spelling
    entityCount: int  # noqa: N815 - the wire's spelling
    entityType: int = 2  # noqa: N815 - the wire's spelling
    operationsV2: Operations  # noqa: N815 - the wire's spelling
    result: TaskResult
    processStatus: ProcessStatus  # noqa: N815 - the wire's spelling
    status: ProcessStatus
    createTime: str  # noqa: N815 - the wire's spelling
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling
    endTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    creatorName: str  # noqa: N815 - the wire's spelling
    logPath: str = ""  # noqa: N815 - the wire's spelling
    jobId: str = ""  # noqa: N815 - the wire's spelling


class CleaningItem(msgspec.Struct, kw_only=True):
    """A task in a list."""

    id: int
    etlStrId: str  # noqa: N815 - the wire's spelling
    names: str
    operatorNameList: list[str]  # noqa: N815 - the wire's spelling
    sourceDatasetStrId: str  # noqa: N815 - the wire's spelling
    sourceDatasetName: str  # noqa: N815 - the wire's spelling
    destDatasetStrId: str  # noqa: N815 - the wire's spelling
    destDatasetName: str  # noqa: N815 - the wire's spelling
    entityCount: int  # noqa: N815 - the wire's spelling
    entityType: int = 2  # noqa: N815 - the wire's spelling
    result: TaskResult
    processStatus: ProcessStatus  # noqa: N815 - the wire's spelling
    status: ProcessStatus
    startTime: str  # noqa: N815 - the wire's spelling
    endTime: str  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    errCode: int = 0  # noqa: N815 - the wire's spelling
    errMsg: str = ""  # noqa: N815 - the wire's spelling


class CleaningList(msgspec.Struct, kw_only=True):
    """A page of tasks, the youngest first."""

    processingCount: int  # noqa: N815 - the wire's spelling
    total: int
    items: list[CleaningItem]


def _etl(verb: str, request: type[Any], reply: Any, en: str, zh: str) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.cleaning.{verb}",
        dialect="data",
        method="POST",
        path=f"/wenxinworkshop/etl/{verb}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.9",
    )


CREATE = _etl(
    "create",
    CreateCleaning,
    Envelope[str],
    "Clean a version of a dataset into another; the answer is the task's id.",
    "创建数据清洗任务，返回任务 ID。",
)
DETAIL = _etl(
    "detail",
    ShowCleaning,
    Envelope[CleaningDetail],
    "Show a cleaning task and what each operator did.",
    "查看数据清洗任务详情。",
)
LIST = _etl(
    "list", ListCleanings, Envelope[CleaningList], "List cleaning tasks.", "查看数据清洗任务列表。"
)
DELETE = _etl(
    "delete",
    DeleteCleanings,
    Envelope[bool],
    "Delete cleaning tasks; what they made stays.",
    "删除数据清洗任务，清洗结果保留。",
)
