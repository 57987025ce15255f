"""The nouns of processing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["clean", "augment"]
State = Literal["running", "paused", "succeeded", "failed", "stopped"]
"""``running`` from the first moment on; what a job is in between, its own row says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingTask:
    """A cleaning or an augmentation.

    Attributes:
        number: Its integer id.
        id: ``task-…``.
        kind: What is done.
        name: For people.
        account: The application whose it is.
        source_id: The version that is read, ``ds-…``; `source_name` is its ``NAME:VERSION``.
        destination_id: The version that is written; `destination_name` likewise.
        made_destination: Whether the task made that version, so that undoing takes it away.
        rows: Rows of the source.
        project_type: v1's number of the source's format.
        order: What was asked for: a recipe, or the settings of an augmentation.
        job_id: Who works on it.
        state: Where it stands.
        result: What the work returned, without the manifest.
        error: Why it failed.
        created_ms: When it was asked for, ms since the epoch; `finished_ms` is 0 until it has ended.
    """

    number: int
    id: str
    kind: Kind
    name: str
    account: str
    source_id: str
    source_name: str
    destination_id: str
    destination_name: str
    made_destination: bool
    rows: int
    project_type: int
    order: dict[str, Any] = field(repr=False)
    job_id: str
    state: State
    result: dict[str, Any] = field(repr=False)
    error: str
    created_ms: int
    finished_ms: int


@dataclass(frozen=True, slots=True)
class Now:
    """A task with where its job stands now.

    Attributes:
        task: The task.
        state: Paused is known only to the job.
        waiting: Whether no worker has begun.
        done: From 0 to 1.
        rows: Rows, or samples, that are done.
        started_ms: When a worker first began; 0 until then.
    """

    task: ProcessingTask
    state: State
    waiting: bool
    done: float
    rows: int
    started_ms: int
