"""`POST /v2/eval?Action=…`: evaluating models on datasets (specification D.14)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions, Endpoint
from yangfan.protocol.v1.evaluation import PeoplesProgress, PeoplesScore
from yangfan.protocol.v2.keys import ActionReply
from yangfan.protocol.v2.memory import PageInfo

EvalState = Literal[
    "Queued",
    "Running",
    "RunningWithManualBegin",
    "RunningWithMetricsCalculating",
    "Successed",
    "Stopping",
    "Failed",
    "Stopped",
]
TaskId = Annotated[str, Meta(min_length=1, max_length=64)]


class CreateEvalTask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be evaluated, on what, and how."""

    taskName: Annotated[str, Meta(min_length=1, max_length=100)]  # noqa: N815 - the wire's spelling
    description: Annotated[str, Meta(max_length=1000)] = ""
    evalObjectType: Literal["model", "inferDataset"] = "model"  # noqa: N815 - the wire's spelling
    evalObjectConfig: dict[str, Any]  # noqa: N815 - the wire's spelling
    """`evalModelConfig`: versionId (a dataset version; or a file of /v2/files, an extension) and evalModelConfigList. A model has a `promptTemplate` with
    {input}; as extensions it may name a prompt template there (NAME@LABEL) or in `templateId`, with `variables`, and has `maxTokens` and `seed`. A model
    version that no service serves runs on an engine of its own while it is asked; `engineOptions` are what that is told, as in `/v2/service`."""
    evalConfig: dict[str, Any]  # noqa: N815 - the wire's spelling
    """`evalMode` and what its modes need; `scorers`, `pairwise` and `resultDatasetName` (a dataset that is made of the answers) are extensions."""


class NamedEvalTask(msgspec.Struct):
    """Which one."""

    taskId: TaskId  # noqa: N815 - the wire's spelling


class DescribeEvalTasks(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which to show."""

    evalType: Literal["manual", "auto"] | None = None  # noqa: N815 - the wire's spelling
    keyFilter: str | None = None  # noqa: N815 - the wire's spelling
    marker: str | None = None
    maxKeys: Annotated[int, Meta(ge=1, le=100)] | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling


class DescribeEvalTaskResults(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which answers to show."""

    taskId: TaskId  # noqa: N815 - the wire's spelling
    offset: Annotated[int, Meta(ge=0)] = 0
    maxKeys: Annotated[int, Meta(ge=1, le=1000)] = 1000  # noqa: N815 - the wire's spelling


class ScoreEvalTask(msgspec.Struct, kw_only=True):
    """What people say about answers."""

    taskId: TaskId  # noqa: N815 - the wire's spelling
    scores: Annotated[list[PeoplesScore], Meta(min_length=1, max_length=1000)]


class FinishEvalTask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """That people are through."""

    taskId: TaskId  # noqa: N815 - the wire's spelling
    subjectiveImpression: Annotated[str, Meta(max_length=2000)] = ""  # noqa: N815 - the wire's spelling
    """What they say of it all."""


class EvalUnit(msgspec.Struct, kw_only=True):
    """How far a model of an evaluation is."""

    modelId: str  # noqa: N815 - the wire's spelling
    name: str
    state: Literal["Pending", "Doing", "Done", "Failed", "Stopped"]
    message: str = ""
    """What it waits for, or why it has no answers."""


class EvalTask(msgspec.Struct, kw_only=True):
    """An evaluation."""

    taskId: str  # noqa: N815 - the wire's spelling
    taskName: str  # noqa: N815 - the wire's spelling
    description: str
    evalType: Literal["manual", "auto"]  # noqa: N815 - the wire's spelling
    state: EvalState
    evalObjectConfig: dict[str, Any]  # noqa: N815 - the wire's spelling
    evalConfig: dict[str, Any]  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    message: str | UnsetType = UNSET
    """Why it, or a model of it, failed."""
    jobId: str  # noqa: N815 - the wire's spelling
    resultDatasetId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    """The dataset version that was made of the answers."""
    evalUnits: list[EvalUnit] = []  # noqa: N815 - the wire's spelling
    """The models one by one, as v1 shows them. An extension of ours."""


class EvalTasks(msgspec.Struct):
    """A page of evaluations."""

    evalList: list[EvalTask]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class EvalReport(msgspec.Struct, kw_only=True):
    """The figures of an evaluation. Each has a value, an interval and why answers could not be graded."""

    taskId: str  # noqa: N815 - the wire's spelling
    state: EvalState
    samples: int
    candidates: list[dict[str, Any]]
    comparison: dict[str, Any] | None = None
    manual: PeoplesProgress | None = None
    """How far people are, where they are asked; their scores are among the figures, as `manual:DIMENSION`."""
    subjectiveImpression: str = ""  # noqa: N815 - the wire's spelling


class EvalResults(msgspec.Struct, kw_only=True):
    """Answers with their scores, a sample and a candidate each."""

    items: list[dict[str, Any]]
    total: int


_endpoint = Actions("v2.evaluation", "/v2/eval", "D.14")

CREATE: Endpoint[CreateEvalTask, ActionReply[str]] = _endpoint(
    "create_eval_task",
    "CreateEvalTask",
    CreateEvalTask,
    ActionReply[str],
    "Evaluate models on a dataset.",
    "创建评估任务。",
)
LIST: Endpoint[DescribeEvalTasks, ActionReply[EvalTasks]] = _endpoint(
    "describe_eval_tasks",
    "DescribeEvalTasks",
    DescribeEvalTasks,
    ActionReply[EvalTasks],
    "List evaluations.",
    "查询评估任务列表。",
)
SHOW: Endpoint[NamedEvalTask, ActionReply[EvalTask]] = _endpoint(
    "describe_eval_task",
    "DescribeEvalTask",
    NamedEvalTask,
    ActionReply[EvalTask],
    "Show an evaluation.",
    "查看评估任务。",
)
REPORT: Endpoint[NamedEvalTask, ActionReply[EvalReport]] = _endpoint(
    "describe_eval_task_report",
    "DescribeEvalTaskReport",
    NamedEvalTask,
    ActionReply[EvalReport],
    "Show the figures of an evaluation.",
    "查看评估报告。",
)
DELETE: Endpoint[NamedEvalTask, ActionReply[bool]] = _endpoint(
    "delete_eval_task",
    "DeleteEvalTask",
    NamedEvalTask,
    ActionReply[bool],
    "Delete an evaluation.",
    "删除评估任务。",
)
STOP: Endpoint[NamedEvalTask, ActionReply[bool]] = _endpoint(
    "stop_eval_task",
    "StopEvalTask",
    NamedEvalTask,
    ActionReply[bool],
    "Stop an evaluation. An extension of ours.",
    "停止评估任务（扬帆扩展）。",
)
RESULTS: Endpoint[DescribeEvalTaskResults, ActionReply[EvalResults]] = _endpoint(
    "describe_eval_task_results",
    "DescribeEvalTaskResults",
    DescribeEvalTaskResults,
    ActionReply[EvalResults],
    "Show answers with their scores. An extension of ours.",
    "查看逐条回答与得分（扬帆扩展）。",
)
SCORE: Endpoint[ScoreEvalTask, ActionReply[PeoplesProgress]] = _endpoint(
    "score_eval_task_results",
    "ScoreEvalTaskResults",
    ScoreEvalTask,
    ActionReply[PeoplesProgress],
    "Enter people's scores of answers. An extension of ours.",
    "提交人工评分（扬帆扩展）。",
)
FINISH: Endpoint[FinishEvalTask, ActionReply[bool]] = _endpoint(
    "finish_eval_task",
    "FinishEvalTask",
    FinishEvalTask,
    ActionReply[bool],
    "Say that people are through. An extension of ours.",
    "结束人工评分（扬帆扩展）。",
)
