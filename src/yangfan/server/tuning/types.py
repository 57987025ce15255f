"""The nouns of tuning. A job names a model and a way of training; a task is one run of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from yangfan.server.jobs import Job

RunStatus = Literal["Running", "Done", "Failed", "Stopped", "Waiting", ""]
"""In Qianfan's words (specification D.6)."""

State = Literal["running", "succeeded", "failed", "stopped"]
"""What a row says. While it is running, its durable job knows better; stopped runs can go on."""

ENDED: frozenset[RunStatus] = frozenset({"Done", "Failed", "Stopped"})


class TrainingData(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset version as far as a run needs it.

    Attributes:
        id: ``ds-…``.
        name: For people.
        data_format: What its rows are, in the words of specification D.8.
        is_published: Whether it can be trained on.
        rows: How many there are.
        manifest: Where they are, for the trainers.
    """

    id: str
    name: str
    data_format: str
    is_published: bool
    rows: int
    manifest: Mapping[str, Any]


DataOf = Callable[[str], Awaitable[TrainingData]]
"""From the id or name of a dataset version to what is in it. Raises NotFound."""


class TuningJob(msgspec.Struct, frozen=True, kw_only=True):
    """A model and a way of training it.

    Attributes:
        number: The integer id that v1 shows.
        id: ``job-…``.
        name: For people.
        description: For people.
        model: The model as the caller named it.
        mode: Way of training, such as SFT.
        base_id: The model version that this means.
        scale: How much is trained where a task does not say; "" for the mode's first.
        hyper_parameters: What tasks begin with.
        account: Whose it is.
        created_ms: ms since the epoch.
    """

    number: int
    id: str
    name: str
    description: str = ""
    model: str
    mode: str
    base_id: str
    scale: str = ""
    hyper_parameters: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    account: str = ""
    created_ms: int


class TuningTask(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        number: The integer id that v1 shows.
        id: ``task-…``.
        job_id: The tuning job.
        scale: How much is trained.
        hyper_parameters: All of them, as the wire spells them.
        dataset: What is trained on, as the caller wrote it.
        more: Further fields of the call, kept to be shown.
        increment_task_id: The run that this one goes on from; "" for none.
        increment_step: The checkpoint of that.
        state: Where it stands; while it is running, its durable job knows better.
        error: Why it failed.
        result: What came out.
        work_id: The durable job that does it.
        created_ms: ms since the epoch; `finished_ms` likewise.
    """

    number: int
    id: str
    job_id: str
    scale: str
    hyper_parameters: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    dataset: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    more: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    increment_task_id: str = ""
    increment_step: int | None = None
    state: State = "running"
    error: str = ""
    result: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    work_id: str = ""
    created_ms: int
    finished_ms: int | None = None


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants to begin.

    Attributes:
        job_id: ``job-…`` or v1's integer.
        scale: How much is trained; None for what the job says.
        hyper_parameters: Those that differ from the defaults.
        dataset: `datasetConfig` as the wire has it.
        increment_task_id: The run to go on from.
        increment_step: The checkpoint of that.
        more: Further fields of the call, kept to be shown.
        account: Whose call it is.
        idempotency_key: A repetition with the same one begins nothing.
    """

    job_id: str | int
    scale: str | None = None
    hyper_parameters: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    dataset: Mapping[str, Any]
    increment_task_id: str | None = None
    increment_step: int | None = None
    more: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    account: str = ""
    idempotency_key: str = ""


class Checkpoint(NamedTuple):
    """A place to go on from: after how many steps, and the loss there (None: nobody measured)."""

    step: int
    folder: str
    loss: float | None = None


class View(NamedTuple):
    """A run as it is at one moment.

    Attributes:
        task: Its row.
        job: The tuning job.
        work: The durable job; None if that was deleted since it ended.
        status: In Qianfan's words.
        checkpoints: In order of steps.
        last: What was measured last, in the trainers' words; {} for nothing yet.
        published: Model versions that were made of it.
    """

    task: TuningTask
    job: TuningJob
    work: Job | None
    status: RunStatus
    checkpoints: tuple[Checkpoint, ...]
    last: Mapping[str, Any]
    published: tuple[str, ...] = ()

    @property
    def percent(self) -> int:
        """How far it is, 0 to 100."""
        if self.status == "Done":
            return 100
        now = None if self.work is None else self.work.progress
        if now is None or now.unit not in {"step", "steps"} or not now.total:
            return 0
        return max(0, min(99, int(100 * now.done / now.total)))
