"""The nouns of jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

State = Literal["queued", "starting", "running", "paused", "succeeded", "failed", "cancelled"]
"""``queued → starting → running ⇄ paused → succeeded | failed | cancelled``."""

Desired = Literal["run", "pause", "cancel"]
"""What somebody asked for; the worker sees it at its next beat."""

WORKING: tuple[State, ...] = ("starting", "running")
"""States in which a worker holds the job under a lease."""

FINAL: tuple[State, ...] = ("succeeded", "failed", "cancelled")
"""States that a job never leaves."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        done: What is done, in `unit`.
        total: What there is to do; None where nobody knows.
        unit: Such as ``bytes`` or ``steps``.
        note: What happens now, for a person.
    """

    done: float = 0.0
    total: float | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class JobError:
    """What went wrong last.

    Attributes:
        code: Name of an error class of `yangfan.errors`, or ``WorkerLost``.
        message: What happened and what to change, for a person.
    """

    code: str
    message: str


NO_PROGRESS = Progress()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was at one moment.

    Attributes:
        id: ``jb-…``.
        kind: Kind of work, the name of a file in `yangfan.worker.works`.
        spec: What to do, as the kind of work takes it.
        subject: Id of what it is about, such as a model version; "" for nothing.
        account: Whose it is.
        state: Where it stands.
        desired: What was asked for.
        progress: How far it is.
        attempts: Attempts since it last saved something, the present one included.
        max_attempts: At so many failed ones it fails for good.
        error: What went wrong last, kept while it is tried again; None after success.
        result: What the work returned; None before success.
        checkpoint: What the work saved last: how a killed job goes on.
        saves: How often it saved.
        created_ms: When it was submitted, ms since the epoch; `started_ms` (first claimed) and `finished_ms` likewise.
        run_after_ms: Not before this moment, while it waits for another attempt.
        fence: Rises at each claim; a worker with an older one is refused.
        revision: Rises at each change.
    """

    id: str
    kind: str
    spec: dict[str, Any] = field(repr=False)
    subject: str
    account: str
    state: State
    desired: Desired
    progress: Progress
    attempts: int
    max_attempts: int
    error: JobError | None
    result: dict[str, Any] | None = field(repr=False)
    checkpoint: dict[str, Any] = field(repr=False)
    saves: int
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    run_after_ms: int
    fence: int
    revision: int

    @property
    def final(self) -> bool:
        """Whether it has ended for good."""
        return self.state in FINAL


@dataclass(frozen=True, slots=True)
class Census:
    """How many jobs there are, how long they take and how long they wait.

    Attributes:
        jobs: How many, by kind and state.
        queue_age_seconds: How long the first in the queue could have begun; 0 where none waits.
        ended: Kind, state and seconds from the first start of those that ended since the census before.
        upto_ms: Until when `ended` reaches, by the database's clock: what the next census begins with.
    """

    jobs: Mapping[tuple[str, str], int]
    queue_age_seconds: float
    ended: Sequence[tuple[str, str, float]]
    upto_ms: int


class LogPlace(NamedTuple):
    """Where a line stands in a job's log: attempts come after one another, lines are counted within each."""

    fence: int
    number: int


BEFORE_ALL = LogPlace(-1, -1)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a worker wrote."""

    place: LogPlace
    at_ms: int
    text: str
