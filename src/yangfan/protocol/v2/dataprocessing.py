"""`POST /v2/dataprocessing?Action=…`: making samples (specification D.10) and, an extension of ours in the same shape, cleaning them.

Baidu's pages Bmnqwddzx and fmnr4euct (https://cloud.baidu.com/doc/qianfan-api/s/…).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions
from yangfan.protocol.v1.cleaning import Operations, TaskResult
from yangfan.protocol.v2.keys import ActionReply
from yangfan.protocol.v2.memory import PageInfo

Reference = Annotated[str, Meta(min_length=1, max_length=256)]
"""A version's ``ds-…``, or ``NAME:VERSION``."""
TaskId = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(max_length=128)]
Key = Annotated[str, Meta(max_length=256)]
"""A second call of the same application with the same key gets the first one's task."""
Marker = Annotated[str, Meta(pattern=r"^\d{0,18}$")]
AugmentStatus = Literal["Running", "Stopped", "Succeeded", "Failed"]
CleanStatus = Literal["Running", "Paused", "Stopped", "Succeeded", "Failed"]
EvolutionCount = Annotated[int, Meta(ge=0, le=1000)]


class PromptIteration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether what was made is evolved again, and how often."""

    enable: bool = False
    maxIterations: Annotated[int, Meta(ge=1, le=10)] = 1  # noqa: N815 - the wire's spelling


class PromptEvol(msgspec.Struct, kw_only=True):
    """How many prompts to make by each strategy, 0 for none."""

    genType: Annotated[str, Meta(max_length=64)] = ""  # noqa: N815 - the wire's spelling
    genWord: Annotated[str, Meta(max_length=1000)] = ""  # noqa: N815 - the wire's spelling
    """What the new prompts are about."""
    addConstraint: EvolutionCount = 0  # noqa: N815 - the wire's spelling
    complexScene: EvolutionCount = 0  # noqa: N815 - the wire's spelling
    direction: EvolutionCount = 0
    precondition: EvolutionCount = 0


class CreateAugmentTask(msgspec.Struct, kw_only=True):
    """What to make. Without `promptEvol` it is self-instruct; from `numSeedFewshot` on the fields are ours."""

    taskName: Name = ""  # noqa: N815 - the wire's spelling
    srcDatasetVersionId: Reference  # noqa: N815 - the wire's spelling
    dstDatasetVersionId: Reference | None = None  # noqa: N815 - the wire's spelling
    """An unpublished version without rows; a new version of the source's dataset if absent."""
    promptModel: Annotated[str, Meta(min_length=1, max_length=256)]  # noqa: N815 - the wire's spelling
    promptContext: Annotated[str, Meta(max_length=4000)] = ""  # noqa: N815 - the wire's spelling
    promptIteration: PromptIteration = PromptIteration()  # noqa: N815 - the wire's spelling
    similarityThreshold: Annotated[float, Meta(ge=0, le=1)] = 0.7  # noqa: N815 - the wire's spelling
    promptEvol: PromptEvol | None = None  # noqa: N815 - the wire's spelling
    numSeedFewshot: Annotated[int, Meta(ge=1, le=10)] = 3  # noqa: N815 - the wire's spelling
    numInstancesToGenerate: Annotated[int, Meta(ge=1, le=5000)] = 100  # noqa: N815 - the wire's spelling
    requestsPerMinute: Annotated[int, Meta(ge=0, le=100_000)] = 0  # noqa: N815 - the wire's spelling
    """At most so many questions a minute; 0 for as many as the platform has room for."""
    idempotencyKey: Key = ""  # noqa: N815 - the wire's spelling


class NamedTask(msgspec.Struct, kw_only=True):
    """Which task."""

    taskId: TaskId  # noqa: N815 - the wire's spelling


class AugmentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks."""

    status: tuple[AugmentStatus, ...] = ()


class DescribeAugmentTasks(msgspec.Struct, kw_only=True):
    """Which page, the youngest first; `marker` is `nextMarker` of the page before."""

    marker: Marker | None = None
    maxKeys: Annotated[int, Meta(ge=1, le=100)] = 10  # noqa: N815 - the wire's spelling
    pageReverse: bool = False  # noqa: N815 - the wire's spelling
    filter: AugmentFilter = AugmentFilter()


class CreatedProcessing(msgspec.Struct, kw_only=True):
    """A new task. `dstDatasetVersionId` and `jobId` are ours."""

    taskId: str  # noqa: N815 - the wire's spelling
    dstDatasetVersionId: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling


class AugmentTask(msgspec.Struct, kw_only=True):
    """A task. Times are ISO in UTC, "" where they have not come."""

    taskId: str  # noqa: N815 - the wire's spelling
    taskName: str  # noqa: N815 - the wire's spelling
    srcDatasetVersionId: str  # noqa: N815 - the wire's spelling
    srcDatasetName: str  # noqa: N815 - the wire's spelling
    dstDatasetVersionId: str  # noqa: N815 - the wire's spelling
    dstDatasetName: str  # noqa: N815 - the wire's spelling
    promptModel: str  # noqa: N815 - the wire's spelling
    promptContext: str  # noqa: N815 - the wire's spelling
    similarityThreshold: float  # noqa: N815 - the wire's spelling
    status: AugmentStatus
    progress: int
    """Hundredths that are done."""
    sampleCount: int  # noqa: N815 - the wire's spelling
    rejectedCount: int  # noqa: N815 - the wire's spelling
    askedCount: int  # noqa: N815 - the wire's spelling
    errorMessage: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling
    creator: str
    createTime: str  # noqa: N815 - the wire's spelling
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling


class AugmentTasks(msgspec.Struct, kw_only=True):
    """A page of tasks."""

    taskList: list[AugmentTask]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class Recipe(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to do to texts: as `etl/create` has it, and how."""

    operationsV2: Operations  # noqa: N815 - the wire's spelling
    language: Annotated[str, Meta(max_length=16)] = "auto"
    custom: dict[str, Any] = {}
    """How operators of third parties run: `on_failure`, `timeout_seconds`, `memory_bytes`."""


class CreateCleanTask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to clean."""

    taskName: Name = ""  # noqa: N815 - the wire's spelling
    srcDatasetVersionId: Reference  # noqa: N815 - the wire's spelling
    dstDatasetVersionId: Reference | None = None  # noqa: N815 - the wire's spelling
    """An unpublished version without rows; a new version of the source's dataset if absent."""
    recipe: Recipe
    idempotencyKey: Key = ""  # noqa: N815 - the wire's spelling


class PreviewClean(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What would become of the first rows."""

    srcDatasetVersionId: Reference  # noqa: N815 - the wire's spelling
    recipe: Recipe
    maxRows: Annotated[int, Meta(ge=1, le=200)] = 50  # noqa: N815 - the wire's spelling


class DescribeCleanTasks(msgspec.Struct, kw_only=True):
    """Which page, the youngest first; `marker` is `nextMarker` of the page before."""

    marker: Marker | None = None
    maxKeys: Annotated[int, Meta(ge=1, le=100)] = 10  # noqa: N815 - the wire's spelling


class DescribeCleanReasons(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which rows of a finished task: those that it dropped, or those that it changed."""

    taskId: TaskId  # noqa: N815 - the wire's spelling
    kind: Literal["dropped", "changed"] = "dropped"
    marker: Marker | None = None
    maxKeys: Annotated[int, Meta(ge=1, le=1000)] = 100  # noqa: N815 - the wire's spelling


class CleanTask(msgspec.Struct, kw_only=True):
    """A task. Times are ISO in UTC, "" where they have not come."""

    taskId: str  # noqa: N815 - the wire's spelling
    taskName: str  # noqa: N815 - the wire's spelling
    srcDatasetVersionId: str  # noqa: N815 - the wire's spelling
    srcDatasetName: str  # noqa: N815 - the wire's spelling
    dstDatasetVersionId: str  # noqa: N815 - the wire's spelling
    dstDatasetName: str  # noqa: N815 - the wire's spelling
    status: CleanStatus
    progress: int
    """Hundredths that are done."""
    entityCount: int  # noqa: N815 - the wire's spelling
    result: TaskResult
    recipe: Recipe
    errorMessage: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling
    creator: str
    createTime: str  # noqa: N815 - the wire's spelling
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling


class CleanTasks(msgspec.Struct, kw_only=True):
    """A page of tasks."""

    taskList: list[CleanTask]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class CleanReason(msgspec.Struct, kw_only=True):
    """A row that was dropped (operator, value, reason and its text), or changed (operators)."""

    row: int
    row_id: str
    operator: str | UnsetType = UNSET
    value: float | UnsetType | None = UNSET
    reason: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    operators: list[str] | UnsetType = UNSET


class CleanReasons(msgspec.Struct, kw_only=True):
    """A page of rows."""

    items: list[CleanReason]
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class PreviewSample(msgspec.Struct, kw_only=True):
    """A row before and after; `after` is absent where it is dropped."""

    row: int
    before: str
    after: str | None = None
    operator: str = ""
    reason: str = ""


class Preview(msgspec.Struct, kw_only=True):
    """What becomes of the first rows: those that change, and the counts."""

    samples: list[PreviewSample]
    result: TaskResult
    entityCount: int  # noqa: N815 - the wire's spelling


_augment = Actions("v2.augmentation", "/v2/dataprocessing", "D.10")
_clean = Actions("v2.cleaning", "/v2/dataprocessing", "D.9")

CREATE_AUGMENT = _augment(
    "create_text_augment_task",
    "CreateTextAugmentTask",
    CreateAugmentTask,
    ActionReply[CreatedProcessing],
    "Let a model make more samples out of those of a dataset.",
    "创建文本增强任务。",
)
DESCRIBE_AUGMENT = _augment(
    "describe_text_augment_task",
    "DescribeTextAugmentTask",
    NamedTask,
    ActionReply[AugmentTask],
    "Show an augmentation task.",
    "查看文本增强任务。",
)
LIST_AUGMENT = _augment(
    "describe_text_augment_tasks",
    "DescribeTextAugmentTasks",
    DescribeAugmentTasks,
    ActionReply[AugmentTasks],
    "List augmentation tasks.",
    "查看文本增强任务列表。",
)
DELETE_AUGMENT = _augment(
    "delete_text_augment_task",
    "DeleteTextAugmentTask",
    NamedTask,
    ActionReply[bool],
    "Delete an augmentation task; what it made stays.",
    "删除文本增强任务。",
)
CREATE_CLEAN = _clean(
    "create_text_clean_task",
    "CreateTextCleanTask",
    CreateCleanTask,
    ActionReply[CreatedProcessing],
    "Clean a version of a dataset into another.",
    "创建数据清洗任务。",
)
DESCRIBE_CLEAN = _clean(
    "describe_text_clean_task",
    "DescribeTextCleanTask",
    NamedTask,
    ActionReply[CleanTask],
    "Show a cleaning task and what each operator did.",
    "查看数据清洗任务。",
)
LIST_CLEAN = _clean(
    "describe_text_clean_tasks",
    "DescribeTextCleanTasks",
    DescribeCleanTasks,
    ActionReply[CleanTasks],
    "List cleaning tasks.",
    "查看数据清洗任务列表。",
)
DELETE_CLEAN = _clean(
    "delete_text_clean_task",
    "DeleteTextCleanTask",
    NamedTask,
    ActionReply[bool],
    "Delete a cleaning task; what it made stays.",
    "删除数据清洗任务。",
)
PAUSE_CLEAN = _clean(
    "pause_text_clean_task",
    "PauseTextCleanTask",
    NamedTask,
    ActionReply[CleanTask],
    "Pause a cleaning task.",
    "暂停数据清洗任务。",
)
RESUME_CLEAN = _clean(
    "resume_text_clean_task",
    "ResumeTextCleanTask",
    NamedTask,
    ActionReply[CleanTask],
    "Let a paused cleaning task go on where it was.",
    "继续数据清洗任务。",
)
UNDO_CLEAN = _clean(
    "undo_text_clean_task",
    "UndoTextCleanTask",
    NamedTask,
    ActionReply[bool],
    "Take back what a task made: its version goes, the source is as it was.",
    "撤销数据清洗：删除清洗得到的版本，源版本不变。",
)
PREVIEW_CLEAN = _clean(
    "preview_text_clean",
    "PreviewTextClean",
    PreviewClean,
    ActionReply[Preview],
    "Show what a recipe would do to the first rows, before and after; nothing is written.",
    "预览清洗效果，不写入数据。",
)
CLEAN_REASONS = _clean(
    "describe_text_clean_reasons",
    "DescribeTextCleanReasons",
    DescribeCleanReasons,
    ActionReply[CleanReasons],
    "List the rows that a task dropped or changed, and why.",
    "查看被去除或被修改的样本及原因。",
)
