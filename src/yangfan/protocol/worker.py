"""What a worker says to the server that gave it a job, and what it hears.

No Endpoints: this is talk between two halves of the platform, open to nobody who has no worker's token, and not part of the API
that is described at /docs. It is `POST /internal/jobs?Action=…` with `Authorization: Job TOKEN`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PATH = "/internal/jobs"
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
