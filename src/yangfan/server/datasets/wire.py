"""What both dialects write alike: moments, and the states of what takes time as numbers and words (specification D.7, D.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.datasets.types import Task, TaskState

IMPORT: Mapping[TaskState, int] = {
    "none": -1,
    "running": 1,  # never 0: the published SDK takes that for a failure
    "succeeded": 2,
    "failed": 3,
    "aborted": 4,
}
EXPORT: Mapping[TaskState, int] = {**IMPORT, "aborted": 3}
RELEASE: Mapping[TaskState, int] = {
    "none": 0,
    "running": 1,
    "succeeded": 2,
    "failed": 3,
    "aborted": 3,
}
CLEAN: Mapping[TaskState, int] = {
    "none": 0,
    "running": 1,
    "succeeded": 2,
    "aborted": 3,
    "failed": 4,
}
AUGMENT: Mapping[TaskState, int] = {
    "none": 0,
    "running": 2,
    "succeeded": 3,
    "failed": 4,
    "aborted": 4,
}
IMPORT_WORDS: Mapping[TaskState, str] = {
    "none": "Created",
    "running": "Importing",
    "succeeded": "ImportFinished",
    "failed": "ImportFailed",
    "aborted": "ImportFailed",
}


def percent(task: Task) -> int:
    """How far something is, where only its end is known; a job knows more."""
    return 100 if task.state == "succeeded" else 0
