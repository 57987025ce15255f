"""What a worker says to the server that gave it a job, and what it hears.

No Endpoints: this is talk between two halves of the platform, open to nobody who has no worker's token, and not part of the API
that is described at /docs. It is `POST /internal/jobs?Action=…` with `Authorization: Job TOKEN`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PATH = "/internal/jobs"
MODELS_PATH = "/internal/models"
"""Where engines are lent."""

SCHEME = "Job "
"""What stands before the token in the Authorization header."""

Desired = Literal["run", "pause", "cancel"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told when it is started, on one line of its stdin."""

    base_url: str
    token: str
    folder: str
    """Its own scratch folder, kept until the job has ended."""

    def __repr__(self) -> str:
        """No secrets."""
        return f"Order({self.base_url!r}, folder={self.folder!r})"


class StartJob(msgspec.Struct):
    """The worker is there; what is to be done?"""


class StartedJob(msgspec.Struct, kw_only=True):
    """What is to be done."""

    kind: str
    spec: dict[str, Any]
    state: dict[str, Any]
    saves: int
    attempt: int
    lease_seconds: float
    desired: Desired
    token: str


class ProgressNow(msgspec.Struct):
    """How far the work is."""

    done: float
    total: float | None = None
    unit: str = ""
    note: str = ""


class Line(msgspec.Struct, array_like=True):
    """A line of the log: its number within the attempt, when, what."""

    number: int
    at_ms: int
    text: str


class Beat(msgspec.Struct, kw_only=True):
    """The worker lives."""

    progress: ProgressNow | None = None
    lines: list[Line] = []


class Beaten(msgspec.Struct, kw_only=True):
    """What is wanted of the worker, and its next token."""

    desired: Desired
    token: str


class SaveState(msgspec.Struct, kw_only=True):
    """Keep this, the `number`-th checkpoint of the job."""

    number: int
    state: dict[str, Any]


class FinishJob(msgspec.Struct):
    """The work is done."""

    result: dict[str, Any]


class FailJob(msgspec.Struct, kw_only=True):
    """The work failed; another attempt may help, or not."""

    code: str
    message: str
    retryable: bool


class StopJob(msgspec.Struct):
    """The worker stopped because that was wanted."""


class Settled(msgspec.Struct):
    """The state of the job now."""

    state: str


class BorrowModel(msgspec.Struct, kw_only=True):
    """Have a model version run for this job; asked again until it runs. What names it when it does is nobody else's business."""

    version: str
    options: dict[str, Any] = {}
    """Of the engine, as a service has them."""


class BorrowedModel(msgspec.Struct, kw_only=True):
    """How far that is.

    starting: it loads. waiting: there is no room now, and `message` says why. ready: calls with the model `name` reach it. failed: it
    cannot run, and `message` says why.
    """

    state: Literal["starting", "waiting", "ready", "failed"]
    name: str = ""
    message: str = ""


class ReturnModel(msgspec.Struct, kw_only=True):
    """This job needs it no longer."""

    version: str
    options: dict[str, Any] = {}
    keep: bool = False
    """Whether it may stay for a moment, in case that somebody wants it again."""


class ReturnedModel(msgspec.Struct):
    """Very well."""
