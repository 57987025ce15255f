"""`POST /v2/jobs?Action=…`: durable jobs. An extension of ours in the shape of Qianfan's Actions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions, Endpoint
from yangfan.protocol.v2.keys import ActionReply

JobState = Literal["queued", "starting", "running", "paused", "succeeded", "failed", "cancelled"]
JobDesired = Literal["run", "pause", "cancel"]
JobId = Annotated[str, Meta(min_length=1, max_length=64)]


class DescribeJobs(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which jobs to show, the youngest first."""

    kind: Annotated[str, Meta(max_length=64)] | None = None
    """Of this kind of work only."""
    state: JobState | None = None
    """In this state only."""
    subject: Annotated[str, Meta(max_length=256)] | None = None
    """About this thing only, such as a model version."""
    marker: JobId | None = None
    """`nextMarker` of the page before."""
    maxKeys: Annotated[int, Meta(ge=1, le=1000)] = 100  # noqa: N815 - the wire's spelling


class NamedJob(msgspec.Struct):
    """Which one."""

    id: JobId


class DescribeJobLogs(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which lines of a job's log to show, the oldest first."""

    id: JobId
    marker: Annotated[str, Meta(pattern=r"^\d{1,12}\.\d{1,12}$")] | None = None
    """`nextMarker` of the page before."""
    maxKeys: Annotated[int, Meta(ge=1, le=1000)] = 1000  # noqa: N815 - the wire's spelling


class WatchJob(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to be told of: a job's changes until it has ended, and its log if wanted."""

    id: JobId
    logs: bool = False
    """Whether to send the log, too."""
    marker: Annotated[str, Meta(pattern=r"^\d{1,12}\.\d{1,12}$")] | None = None
    """Send lines behind this place only: the `marker` of the last line that is known."""


class JobProgress(msgspec.Struct, kw_only=True):
    """How far a job is; `total` is absent where nobody knows it."""

    done: float
    total: float | UnsetType = UNSET
    unit: str = ""
    note: str = ""


class JobFailure(msgspec.Struct):
    """What went wrong last; kept while it is tried again."""

    code: str
    message: str


class Job(msgspec.Struct, kw_only=True):
    """A job. Times are absent until they have come."""

    id: str
    kind: str
    subject: str
    state: JobState
    desired: JobDesired
    progress: JobProgress
    attempts: int
    maxAttempts: int  # noqa: N815 - the wire's spelling
    error: JobFailure | UnsetType = UNSET
    result: dict[str, Any] | UnsetType = UNSET
    createTime: str  # noqa: N815 - the wire's spelling
    startTime: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    finishTime: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class JobList(msgspec.Struct, kw_only=True):
    """A page of jobs; `nextMarker` is absent on the last one."""

    items: list[Job]
    nextMarker: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class JobLogLine(msgspec.Struct, kw_only=True):
    """A line that a worker wrote. Attempts follow one another; `attempt` rises at each."""

    marker: str
    attempt: int
    time: str
    text: str


class JobLog(msgspec.Struct, kw_only=True):
    """Lines in order; `nextMarker` is absent where none follow now."""

    items: list[JobLogLine]
    nextMarker: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class JobEvent(msgspec.Struct, kw_only=True):
    """A job as it is now, and the lines that came since the event before. The last event has a final state."""

    job: Job
    lines: list[JobLogLine] = []


_endpoint = Actions("jobs", "/v2/jobs", "C.7")


DESCRIBE_JOBS: Endpoint[DescribeJobs, ActionReply[JobList]] = _endpoint(
    "list",
    "DescribeJobs",
    DescribeJobs,
    ActionReply[JobList],
    "List jobs, the youngest first.",
    "列出任务，最新的在前。",
)
DESCRIBE_JOB: Endpoint[NamedJob, ActionReply[Job]] = _endpoint(
    "get", "DescribeJob", NamedJob, ActionReply[Job], "Show a job.", "查看任务。"
)
DESCRIBE_JOB_LOGS: Endpoint[DescribeJobLogs, ActionReply[JobLog]] = _endpoint(
    "logs",
    "DescribeJobLogs",
    DescribeJobLogs,
    ActionReply[JobLog],
    "Show what a job's workers wrote.",
    "查看任务日志。",
)
WATCH_JOB: Endpoint[WatchJob, JobEvent] = _endpoint(
    "watch",
    "WatchJob",
    WatchJob,
    JobEvent,
    "Follow a job until it has ended, as server-sent events.",
    "以 SSE 持续跟踪任务直至结束。",
    stream=JobEvent,
)
CANCEL_JOB: Endpoint[NamedJob, ActionReply[Job]] = _endpoint(
    "cancel",
    "CancelJob",
    NamedJob,
    ActionReply[Job],
    "End a job: at once if nothing works on it, otherwise at its worker's next beat.",
    "取消任务。",
)
PAUSE_JOB: Endpoint[NamedJob, ActionReply[Job]] = _endpoint(
    "pause",
    "PauseJob",
    NamedJob,
    ActionReply[Job],
    "Stop a job and keep what it has saved.",
    "暂停任务，保留进度。",
)
RESUME_JOB: Endpoint[NamedJob, ActionReply[Job]] = _endpoint(
    "resume",
    "ResumeJob",
    NamedJob,
    ActionReply[Job],
    "Let a paused job go on from what it saved.",
    "继续已暂停的任务。",
)
DELETE_JOB: Endpoint[NamedJob, ActionReply[bool]] = _endpoint(
    "delete",
    "DeleteJob",
    NamedJob,
    ActionReply[bool],
    "Forget a job that has ended, and its log.",
    "删除已结束的任务及其日志。",
)
