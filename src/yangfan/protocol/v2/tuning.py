"""`POST /v2/finetuning?Action=…`: tuning jobs, their tasks, and what can be tuned (specification D.6).

A job names a model and a way of training; each of its tasks is one run. `ResumeFineTuningTask`, `DescribeFineTuningTaskMetrics`,
`WatchFineTuningTask` and the report are extensions of ours, and so is every field whose docstring says so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions, Endpoint
from yangfan.protocol.v2.keys import ActionReply
from yangfan.protocol.v2.memory import PageInfo

RunStatus = Literal["Running", "Done", "Failed", "Stopped", "Waiting", ""]
"""Waiting: in the queue; Stopped: somebody stopped it, and it can go on."""

NEVER = "0000-00-00T00:00:00Z"
"""`finishDate` of what has not finished."""

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Word = Annotated[str, Meta(min_length=1, max_length=128)]


class CreateJob(msgspec.Struct, kw_only=True):
    """What to train, and how."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    model: Word
    """A name of DescribeFineTuningSupportModels, or any model version that was imported: amv-…, SET:VERSION, SET@label."""
    trainMode: Word  # noqa: N815 - the wire's spelling
    description: Annotated[str, Meta(max_length=500)] = ""
    parameterScale: Word | None = None  # noqa: N815 - the wire's spelling
    hyperParameterConfig: dict[str, Any] | None = None  # noqa: N815 - the wire's spelling


class CreatedJob(msgspec.Struct, kw_only=True):
    """The new job."""

    jobId: str  # noqa: N815 - the wire's spelling


class DatasetVersion(msgspec.Struct, kw_only=True):
    """A part of what is trained on: a published dataset version, or a folder of a bucket."""

    versionId: Annotated[str, Meta(max_length=256)] | None = None  # noqa: N815 - the wire's spelling
    versionBosUri: Annotated[str, Meta(max_length=1024)] | None = None  # noqa: N815 - the wire's spelling
    samplingRate: Annotated[float, Meta(ge=0.01, le=10)] = 1.0  # noqa: N815 - the wire's spelling
    """How often each row is taken: 0.5 takes every other one, 2 takes each twice."""


class DatasetConfig(msgspec.Struct, kw_only=True):
    """What is trained on, and what is held out."""

    sourceType: Annotated[str, Meta(max_length=32)] = "Platform"  # noqa: N815 - the wire's spelling
    versions: Annotated[list[DatasetVersion], Meta(min_length=1, max_length=100)]
    splitRatio: float | None = None  # noqa: N815 - the wire's spelling
    """Percent of the rows that are held out, 0 to 100."""
    evalVersions: list[DatasetVersion] | None = None  # noqa: N815 - the wire's spelling
    """Datasets to hold out instead of a share of the rows."""
    corpusProportion: Any = None  # noqa: N815 - the wire's spelling


class CorpusItem(msgspec.Struct, kw_only=True):
    """A corpus to mix in: `proportion` is own rows to its rows, such as ``1:2``."""

    proportion: Any = None
    corpusType: int | None = None  # noqa: N815 - the wire's spelling
    labels: list[str] | None = None


class CorpusConfig(msgspec.Struct, kw_only=True):
    """What the platform mixes into the rows."""

    copyData: bool | None = None  # noqa: N815 - the wire's spelling
    config: list[CorpusItem] = []


class ResourceConfig(msgspec.Struct, kw_only=True):
    """Where it runs; here it is this server's own machines, and the rest is kept to be shown."""

    resourceId: str | None = None  # noqa: N815 - the wire's spelling
    nodeNum: Annotated[int, Meta(ge=1, le=1024)] | None = None  # noqa: N815 - the wire's spelling
    """On how many machines: this one, and so many of those that the setting tuning_nodes names; 1 by default."""
    idleResource: bool | None = None  # noqa: N815 - the wire's spelling


class RewardRule(msgspec.Struct, kw_only=True):
    """A scorer of evaluation that rewards an answer: exact, regex, json_validity, f1, rouge, bleu_4 or accuracy."""

    scorer: Word
    parameters: dict[str, Any] = {}
    weight: Annotated[float, Meta(ge=-100, le=100)] = 1.0


class RewardConfig(msgspec.Struct, kw_only=True):
    """An extension, for the mode RFT: what an answer is worth, all of it added up."""

    rules: Annotated[list[RewardRule], Meta(max_length=16)] = []
    """A rule without a pattern or a text of its own holds the answer against the row's."""
    taskId: Id | None = None  # noqa: N815 - the wire's spelling
    """A run of the mode RM, whose model scores answers."""
    checkpointStep: Annotated[int, Meta(ge=0)] | None = None  # noqa: N815 - the wire's spelling
    """Which checkpoint of it; the last by default."""
    weight: Annotated[float, Meta(ge=-100, le=100)] = 1.0
    """What its scores are multiplied by."""


class CreateTask(msgspec.Struct, kw_only=True):
    """A run to begin."""

    jobId: Id  # noqa: N815 - the wire's spelling
    parameterScale: Word | None = None  # noqa: N815 - the wire's spelling
    hyperParameterConfig: dict[str, Any] | None = None  # noqa: N815 - the wire's spelling
    datasetConfig: DatasetConfig  # noqa: N815 - the wire's spelling
    incrementTaskId: Id | None = None  # noqa: N815 - the wire's spelling
    incrementCheckpointStep: Annotated[int, Meta(ge=0)] | None = None  # noqa: N815 - the wire's spelling
    corpusConfig: CorpusConfig | None = None  # noqa: N815 - the wire's spelling
    modelConfig: dict[str, Any] | None = None  # noqa: N815 - the wire's spelling
    resourceConfig: ResourceConfig | None = None  # noqa: N815 - the wire's spelling
    rewardConfig: RewardConfig | None = None  # noqa: N815 - the wire's spelling
    """An extension: what an answer is worth, in the mode RFT."""
    idempotencyKey: Annotated[str, Meta(max_length=128)] = ""  # noqa: N815 - the wire's spelling
    """An extension: a repeated call with the same key begins no second run."""


class CreatedTask(msgspec.Struct, kw_only=True):
    """The new task."""

    jobId: str  # noqa: N815 - the wire's spelling
    taskId: str  # noqa: N815 - the wire's spelling


class ListJobs(msgspec.Struct, kw_only=True):
    """Which page; the published Python package spells the mode `trainModel`."""

    marker: str | None = None
    maxKeys: Annotated[int, Meta(ge=1)] | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling
    model: str | None = None
    trainMode: str | None = None  # noqa: N815 - the wire's spelling
    trainModel: str | None = None  # noqa: N815 - the wire's spelling


class Job(msgspec.Struct, kw_only=True):
    """A job in a list."""

    jobId: str  # noqa: N815 - the wire's spelling
    name: str
    description: str
    model: str
    trainMode: str  # noqa: N815 - the wire's spelling
    createDate: str  # noqa: N815 - the wire's spelling


class Jobs(msgspec.Struct, kw_only=True):
    """A page of jobs."""

    jobList: list[Job]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class ListTasks(msgspec.Struct, kw_only=True):
    """Which page of which job's tasks; without a job, an extension, those of all."""

    jobId: Id | None = None  # noqa: N815 - the wire's spelling
    marker: str | None = None
    maxKeys: Annotated[int, Meta(ge=1)] | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling


class TaskLine(msgspec.Struct, kw_only=True):
    """A task in a list."""

    taskId: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling
    jobName: str  # noqa: N815 - the wire's spelling
    jobDescription: str  # noqa: N815 - the wire's spelling
    model: str
    trainMode: str  # noqa: N815 - the wire's spelling
    parameterScale: str  # noqa: N815 - the wire's spelling
    runStatus: RunStatus  # noqa: N815 - the wire's spelling
    createDate: str  # noqa: N815 - the wire's spelling
    finishDate: str  # noqa: N815 - the wire's spelling


class Tasks(msgspec.Struct, kw_only=True):
    """A page of tasks."""

    taskList: list[TaskLine]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class NameTask(msgspec.Struct, kw_only=True):
    """Which task."""

    taskId: Id  # noqa: N815 - the wire's spelling


class NameJob(msgspec.Struct, kw_only=True):
    """Which job."""

    jobId: Id  # noqa: N815 - the wire's spelling


class Checkpoint(msgspec.Struct, kw_only=True):
    """Where a run can be published from, or another go on from."""

    step: int
    loss: float | UnsetType = UNSET
    """An extension: the loss when it was written."""


class Metric(msgspec.Struct, kw_only=True):
    """What was measured at a step; what was not is absent."""

    step: int
    epoch: float | UnsetType = UNSET
    loss: float | UnsetType = UNSET
    evalLoss: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    """Of the rows that are held out."""
    learningRate: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    gradNorm: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    tokensPerSecond: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    more: dict[str, float] = {}
    """Everything else that the way of training measures."""


class Progress(msgspec.Struct, kw_only=True):
    """How far a run is, and how it goes."""

    step: int
    totalSteps: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    etaSeconds: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    note: str = ""
    """What it does where it measures nothing, such as loading weights."""
    last: Metric | UnsetType = UNSET
    """What was measured last."""


class Task(TaskLine, kw_only=True):
    """A task with everything about it."""

    runProgress: str  # noqa: N815 - the wire's spelling
    """Such as ``51%``."""
    vdlLink: str  # noqa: N815 - the wire's spelling
    """Where its report is."""
    metrics: dict[str, str] = {}
    """Of the rows that are held out, once it is Done: BLEU-4, ROUGE-1, ROUGE-2, ROUGE-L in percent."""
    checkpointList: list[Checkpoint] = []  # noqa: N815 - the wire's spelling
    datasetConfig: dict[str, Any]  # noqa: N815 - the wire's spelling
    hyperParameterConfig: dict[str, Any]  # noqa: N815 - the wire's spelling
    corpusConfig: dict[str, Any] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    resourceConfig: dict[str, Any] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    rewardConfig: dict[str, Any] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    """An extension, as it was sent."""
    incrementTaskId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    incrementCheckpointStep: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    baseModelId: str  # noqa: N815 - the wire's spelling
    """An extension: the model version that is trained."""
    failedReason: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    """An extension: what went wrong."""
    progress: Progress
    """An extension."""
    workId: str  # noqa: N815 - the wire's spelling
    """An extension: the durable job that does it; its log is there."""
    publishedModelIds: list[str] = []  # noqa: N815 - the wire's spelling
    """An extension: model versions that were made of it."""


class TaskEvent(msgspec.Struct, kw_only=True):
    """A task as it is now. The last event is Done, Failed or Stopped."""

    task: Task


class Metrics(msgspec.Struct, kw_only=True):
    """Everything that a run measured, in order."""

    rows: list[Metric]


class Parameter(msgspec.Struct, kw_only=True):
    """A hyper-parameter: what it may be, and what it is where nobody says."""

    key: str
    name: str
    description: str
    type: Literal["int", "float", "string", "boolean"]
    checkType: Literal["range", "choice", "mult_choice"]  # noqa: N815 - the wire's spelling
    checkValue: list[Any]  # noqa: N815 - the wire's spelling
    """Least and most of a range; everything that may be chosen otherwise."""
    default: Any


class SupportedScale(msgspec.Struct, kw_only=True):
    """How much of a model is trained."""

    parameterScale: Literal["FullFineTuning", "LoRA", "PromptTuning"]  # noqa: N815 - the wire's spelling
    supportHyperParameterConfig: list[Parameter]  # noqa: N815 - the wire's spelling


class SupportedMode(msgspec.Struct, kw_only=True):
    """A way of training."""

    trainMode: str  # noqa: N815 - the wire's spelling
    supportParameterScale: list[SupportedScale]  # noqa: N815 - the wire's spelling


class SupportedModel(msgspec.Struct, kw_only=True):
    """A model that can be trained here."""

    model: str
    modelType: Literal["text2text", "text2image", "imageUnderstanding"] = "text2text"  # noqa: N815 - the wire's spelling
    baseModel: str  # noqa: N815 - the wire's spelling
    modelId: str  # noqa: N815 - the wire's spelling
    """An extension: the model version behind the name."""
    supportTrainMode: list[SupportedMode]  # noqa: N815 - the wire's spelling


class Nothing(msgspec.Struct):
    """A body without a word."""


_endpoint = Actions("v2.tuning", "/v2/finetuning", "D.6")

CREATE_JOB: Endpoint[CreateJob, ActionReply[CreatedJob]] = _endpoint(
    "create_fine_tuning_job",
    "CreateFineTuningJob",
    CreateJob,
    ActionReply[CreatedJob],
    "Make a tuning job: a model and a way of training.",
    "创建模型精调作业。",
)
CREATE_TASK: Endpoint[CreateTask, ActionReply[CreatedTask]] = _endpoint(
    "create_fine_tuning_task",
    "CreateFineTuningTask",
    CreateTask,
    ActionReply[CreatedTask],
    "Begin a run of a tuning job.",
    "创建模型精调任务。",
)
LIST_JOBS: Endpoint[ListJobs, ActionReply[Jobs]] = _endpoint(
    "describe_fine_tuning_jobs",
    "DescribeFineTuningJobs",
    ListJobs,
    ActionReply[Jobs],
    "List tuning jobs.",
    "查看模型精调作业列表。",
)
LIST_TASKS: Endpoint[ListTasks, ActionReply[Tasks]] = _endpoint(
    "describe_fine_tuning_tasks",
    "DescribeFineTuningTasks",
    ListTasks,
    ActionReply[Tasks],
    "List the runs of a tuning job.",
    "查看模型精调任务列表。",
)
SHOW_TASK: Endpoint[NameTask, ActionReply[Task]] = _endpoint(
    "describe_fine_tuning_task",
    "DescribeFineTuningTask",
    NameTask,
    ActionReply[Task],
    "Show a run: state, progress, metrics, checkpoints.",
    "查看模型精调任务详情。",
)
STOP_TASK: Endpoint[NameTask, ActionReply[bool]] = _endpoint(
    "stop_fine_tuning_task",
    "StopFineTuningTask",
    NameTask,
    ActionReply[bool],
    "Stop a run at its next step and keep a checkpoint; false if it does not run.",
    "停止模型精调任务，保留检查点。",
)
RESUME_TASK: Endpoint[NameTask, ActionReply[bool]] = _endpoint(
    "resume_fine_tuning_task",
    "ResumeFineTuningTask",
    NameTask,
    ActionReply[bool],
    "Let a stopped run go on from its last checkpoint.",
    "从最近的检查点继续已停止的精调任务。",
    spec="ours",
)
DELETE_TASK: Endpoint[NameTask, ActionReply[bool]] = _endpoint(
    "delete_fine_tuning_task",
    "DeleteFineTuningTask",
    NameTask,
    ActionReply[bool],
    "Delete a run that does not run, with its checkpoints; models that were published stay.",
    "删除模型精调任务及其检查点，已发布的模型保留。",
)
DELETE_JOB: Endpoint[NameJob, ActionReply[bool]] = _endpoint(
    "delete_fine_tuning_job",
    "DeleteFineTuningJob",
    NameJob,
    ActionReply[bool],
    "Delete a tuning job with all its runs.",
    "删除模型精调作业及其全部任务。",
)
SUPPORTED_MODELS: Endpoint[Nothing, ActionReply[list[SupportedModel]]] = _endpoint(
    "describe_fine_tuning_support_models",
    "DescribeFineTuningSupportModels",
    Nothing,
    ActionReply[list[SupportedModel]],
    "List what can be tuned here, how, and what every hyper-parameter may be.",
    "查看支持精调的模型、方法与超参数范围。",
)
METRICS: Endpoint[NameTask, ActionReply[Metrics]] = _endpoint(
    "describe_fine_tuning_task_metrics",
    "DescribeFineTuningTaskMetrics",
    NameTask,
    ActionReply[Metrics],
    "Show what a run measured at every logged step.",
    "查看精调任务各步的训练指标。",
    spec="ours",
)
WATCH_TASK: Endpoint[NameTask, TaskEvent] = _endpoint(
    "watch_fine_tuning_task",
    "WatchFineTuningTask",
    NameTask,
    TaskEvent,
    "Follow a run until it has ended, as server-sent events: loss, learning rate, tokens a second, time left.",
    "以 SSE 持续跟踪精调任务：损失、学习率、吞吐与剩余时间。",
    stream=TaskEvent,
    spec="ours",
)
REPORT: Endpoint[None, bytes] = Endpoint(
    name="v2.tuning.report",
    dialect="action",
    method="GET",
    path="/v2/finetuning/{task}/report",
    request=None,
    reply=bytes,
    auth="signature",
    summary="Get a run's report: one HTML page that needs nothing else.",
    summary_zh="下载精调任务报告（单个 HTML 文件）。",
    spec="ours",
)
