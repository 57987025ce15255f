"""`POST /v2/batchinference?Action=…`: batch inference in Qianfan's shapes (specification D.12)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions, Endpoint
from yangfan.protocol.v2.keys import ActionReply
from yangfan.protocol.v2.memory import PageInfo

RunStatus = Literal["Queuing", "Running", "Stopping", "Done", "Stopped", "Failed"]
TaskId = Annotated[str, Meta(min_length=1, max_length=64)]


class CreateBatchInferenceTask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be worked on: JSON lines `{id, query}`, where a query is a text or a list of messages."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    description: Annotated[str, Meta(max_length=1000)] = ""
    modelId: str = ""  # noqa: N815 - the wire's spelling
    """A model version, `amv-…`, or any name of a model. A version that no service serves runs on an engine of its own meanwhile."""
    endpoint: str = ""
    """Instead: the URL of a service."""
    inferenceParams: dict[str, Any] = {}  # noqa: N815 - the wire's spelling
    inputBosUri: str = ""  # noqa: N815 - the wire's spelling
    """A folder of .jsonl files, `bos:/BUCKET/FOLDER`, or one file."""
    outputBosUri: str = ""  # noqa: N815 - the wire's spelling
    """A folder to write to."""
    afsConfig: dict[str, Any] | None = None  # noqa: N815 - the wire's spelling
    completion_window: str | None = None
    inputFileId: str = ""  # noqa: N815 - the wire's spelling
    """Instead of both folders: a file of /v2/files. The results become one, too. An extension of ours."""
    engineOptions: dict[str, Any] = {}  # noqa: N815 - the wire's spelling
    """What that engine is told, as in `/v2/service`; `force` runs a version whose parity gate failed. An extension of ours."""


class NamedInferenceTask(msgspec.Struct):
    """Which one."""

    taskId: TaskId  # noqa: N815 - the wire's spelling


class DescribeBatchInferenceTasks(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which to show."""

    marker: str | None = None
    maxKeys: Annotated[int, Meta(ge=1, le=100)] | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling
    runStatus: list[str] = []  # noqa: N815 - the wire's spelling


class CreatedInferenceTask(msgspec.Struct):
    """Its id."""

    taskId: str  # noqa: N815 - the wire's spelling


class BatchInferenceTask(msgspec.Struct, kw_only=True):
    """A task."""

    taskId: str  # noqa: N815 - the wire's spelling
    name: str
    description: str
    endpoint: str | UnsetType = UNSET
    modelId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    runStatus: RunStatus  # noqa: N815 - the wire's spelling
    inferenceParams: dict[str, Any]  # noqa: N815 - the wire's spelling
    inputBosUri: str  # noqa: N815 - the wire's spelling
    outputBosUri: str  # noqa: N815 - the wire's spelling
    inputAfsUri: str = ""  # noqa: N815 - the wire's spelling
    outputAfsUri: str = ""  # noqa: N815 - the wire's spelling
    outputDir: str  # noqa: N815 - the wire's spelling
    progress: int
    createTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling
    inputTokenUsage: int  # noqa: N815 - the wire's spelling
    outputTokenUsage: int  # noqa: N815 - the wire's spelling
    creator: str = ""
    inputFileId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    outputFileId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    message: str | UnsetType = UNSET
    """Why it failed, or what it waits for."""
    jobId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class ShownInferenceTask(ActionReply[BatchInferenceTask], kw_only=True):
    """A task, with what the official helper reads beside the result."""

    runStatus: str  # noqa: N815 - the wire's spelling
    progress: int


class BatchInferenceTasks(msgspec.Struct):
    """A page of tasks."""

    taskList: list[BatchInferenceTask]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


_endpoint = Actions("v2.batches", "/v2/batchinference", "D.12")

CREATE: Endpoint[CreateBatchInferenceTask, ActionReply[CreatedInferenceTask]] = _endpoint(
    "create_batch_inference_task",
    "CreateBatchInferenceTask",
    CreateBatchInferenceTask,
    ActionReply[CreatedInferenceTask],
    "Work on folders of queries when there is time.",
    "创建批量推理任务。",
)
SHOW: Endpoint[NamedInferenceTask, ShownInferenceTask] = _endpoint(
    "describe_batch_inference_task",
    "DescribeBatchInferenceTask",
    NamedInferenceTask,
    ShownInferenceTask,
    "Show a batch inference task.",
    "查看批量推理任务。",
)
LIST: Endpoint[DescribeBatchInferenceTasks, ActionReply[BatchInferenceTasks]] = _endpoint(
    "describe_batch_inference_tasks",
    "DescribeBatchInferenceTasks",
    DescribeBatchInferenceTasks,
    ActionReply[BatchInferenceTasks],
    "List batch inference tasks, the oldest first unless `pageReverse`.",
    "查询批量推理任务列表。",
)
STOP: Endpoint[NamedInferenceTask, ActionReply[bool]] = _endpoint(
    "stop_batch_inference_task",
    "StopBatchInferenceTask",
    NamedInferenceTask,
    ActionReply[bool],
    "Stop a batch inference task and keep what it has answered; it can go on later.",
    "停止批量推理任务，已完成的结果保留，可继续。",
)
RESUME: Endpoint[NamedInferenceTask, ActionReply[bool]] = _endpoint(
    "resume_batch_inference_task",
    "ResumeBatchInferenceTask",
    NamedInferenceTask,
    ActionReply[bool],
    "Let a stopped batch inference task go on from where it stopped. An extension of ours.",
    "继续已停止的批量推理任务（扬帆扩展）。",
)
