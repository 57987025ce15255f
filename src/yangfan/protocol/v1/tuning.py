"""`/wenxinworkshop/finetune/…`: tuning in v1 (specification D.5).

The names are turned round: what v1 calls a task is a job in v2, and v1's job is a task there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.console import ConsoleReply

TrainStatus = Literal["RUNNING", "FINISH", "FAIL", "STOP"]
"""Running or waiting; done; failed; stopped by somebody."""

Id = Annotated[int, Meta(ge=0, le=1 << 62)] | Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=64)]


class CreateTask(msgspec.Struct, kw_only=True):
    """A name for a row of runs that train one model."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    baseTrainType: Text | None = None  # noqa: N815 - the wire's spelling
    trainType: Annotated[str, Meta(min_length=1, max_length=128)]  # noqa: N815 - the wire's spelling
    description: Annotated[str, Meta(max_length=500)] | None = None


class CreatedTask(msgspec.Struct, kw_only=True):
    """What was made; `uuid` is its id in v2."""

    id: int
    uuid: str
    name: str
    description: str = ""
    createTime: str  # noqa: N815 - the wire's spelling


class TrainSet(msgspec.Struct, kw_only=True):
    """A dataset to train on: `type` 1 is one of the platform, 2 a private bucket."""

    type: Literal[1, 2] = 1
    id: Id | None = None
    bosPath: Annotated[str, Meta(max_length=1024)] | None = None  # noqa: N815 - the wire's spelling


class CreateJob(msgspec.Struct, kw_only=True):
    """A run to begin."""

    taskId: Id  # noqa: N815 - the wire's spelling
    baseTrainType: Text | None = None  # noqa: N815 - the wire's spelling
    trainType: Annotated[str, Meta(max_length=128)] | None = None  # noqa: N815 - the wire's spelling
    trainMode: Text = "SFT"  # noqa: N815 - the wire's spelling
    peftType: Text = "LoRA"  # noqa: N815 - the wire's spelling
    trainConfig: dict[str, Any] = {}  # noqa: N815 - the wire's spelling
    trainset: Annotated[list[TrainSet], Meta(min_length=1, max_length=100)]
    rewardConfig: dict[str, Any] | None = None  # noqa: N815 - the wire's spelling
    """An extension, as in v2's CreateFineTuningTask: what an answer is worth, in the mode RFT."""
    trainsetRate: Annotated[float, Meta(ge=0, le=100)] = 20.0  # noqa: N815 - the wire's spelling
    """Percent of the rows that are held out."""


class CreatedJob(msgspec.Struct, kw_only=True):
    """What was made; `uuid` is its id in v2."""

    id: int
    uuid: str


class NameJob(msgspec.Struct, kw_only=True):
    """Which run."""

    taskId: Id  # noqa: N815 - the wire's spelling
    jobId: Id  # noqa: N815 - the wire's spelling


class JobDetail(msgspec.Struct, kw_only=True):
    """A run. Times are those of the wire, "" until they have come."""

    id: int
    uuid: str
    description: str
    taskId: int  # noqa: N815 - the wire's spelling
    taskName: str  # noqa: N815 - the wire's spelling
    version: int
    jobRunType: int = 0  # noqa: N815 - the wire's spelling
    trainType: str  # noqa: N815 - the wire's spelling
    trainMode: str  # noqa: N815 - the wire's spelling
    peftType: str  # noqa: N815 - the wire's spelling
    trainStatus: TrainStatus  # noqa: N815 - the wire's spelling
    progress: int
    runTime: int  # noqa: N815 - the wire's spelling
    """Seconds since the run began, until it ended."""
    trainTime: int  # noqa: N815 - the wire's spelling
    startTime: str  # noqa: N815 - the wire's spelling
    finishTime: str  # noqa: N815 - the wire's spelling
    vdlLink: str  # noqa: N815 - the wire's spelling


def _endpoint(
    name: str, path: str, request: type[Any], reply: Any, summary: str, summary_zh: str
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.tuning.{name}",
        dialect="v1",
        method="POST",
        path=f"/wenxinworkshop/finetune/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=summary,
        summary_zh=summary_zh,
        spec="D.5",
    )


CREATE_TASK: Endpoint[CreateTask, ConsoleReply[CreatedTask]] = _endpoint(
    "create_task",
    "createTask",
    CreateTask,
    ConsoleReply[CreatedTask],
    "Make a tuning task, which holds the runs that train one model.",
    "创建训练任务。",
)
CREATE_JOB: Endpoint[CreateJob, ConsoleReply[CreatedJob]] = _endpoint(
    "create_job",
    "createJob",
    CreateJob,
    ConsoleReply[CreatedJob],
    "Begin a tuning run of a task.",
    "创建任务的一次训练运行。",
)
JOB_DETAIL: Endpoint[NameJob, ConsoleReply[JobDetail]] = _endpoint(
    "job_detail",
    "jobDetail",
    NameJob,
    ConsoleReply[JobDetail],
    "Show a tuning run.",
    "查看训练运行详情。",
)
STOP_JOB: Endpoint[NameJob, ConsoleReply[bool]] = _endpoint(
    "stop_job",
    "stopJob",
    NameJob,
    ConsoleReply[bool],
    "Stop a tuning run; its last checkpoint is kept.",
    "停止训练运行，保留最近的检查点。",
)
