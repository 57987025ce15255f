"""What cleaning and augmentation of datasets look like in the SDK, and what recipes are on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import UNSET

from yangfan import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client.types import JSON
    from yangfan.protocol.v1.cleaning import TaskResult
    from yangfan.protocol.v2 import dataprocessing as wire

STAGES = ("clean", "filter", "deduplication", "desensitization")
FINAL = frozenset({"Succeeded", "Failed", "Stopped"})
POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class OperatorCounts:
    """What one operator did.

    Attributes:
        stage: clean, filter, deduplication or desensitization.
        name: Which operator.
        matched: Texts that it changed or dropped.
        dropped: Texts that it dropped.
        remaining: Texts that were left behind it.
        failed: Texts that passed by it because it failed; only operators of third parties.
    """

    stage: str
    name: str
    matched: int
    dropped: int
    remaining: int
    failed: int = 0


@dataclass(frozen=True, slots=True)
class CleaningTask:
    """A cleaning.

    Attributes:
        id: ``task-…``.
        name: For people.
        status: Running, Paused, Succeeded, Failed or Stopped.
        progress: Hundredths that are done.
        source: The version that is read, ``NAME:VERSION``; `source_id` is its ``ds-…``.
        destination: The version that is written; `destination_id` likewise.
        rows: Rows of the source.
        remaining: Rows that stay, 0 until the end.
        operators: What each operator did, empty until the end.
        error: Why it failed.
        job_id: The job that works on it; `client.jobs` follows it.
    """

    id: str
    name: str
    status: wire.CleanStatus
    progress: int
    source: str
    source_id: str
    destination: str
    destination_id: str
    rows: int
    remaining: int
    operators: tuple[OperatorCounts, ...]
    error: str
    job_id: str

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class CleanedRow:
    """A row that a cleaning dropped or changed.

    Attributes:
        row: Its place in the source, from 0.
        row_id: Its id there.
        operators: The operator that dropped it, or those that changed it.
        value: What was measured, None where nothing is.
        reason: Why it was dropped; "" where it was changed.
        text: What it said, where it was dropped.
    """

    row: int
    row_id: str
    operators: tuple[str, ...]
    value: float | None = None
    reason: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """A row before and after; `after` is None where `operator` drops it for `reason`."""

    row: int
    before: str
    after: str | None
    operator: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CleaningPreview:
    """What a recipe would do to the first rows: those that change, and the counts."""

    rows: int
    remaining: int
    samples: tuple[PreviewedRow, ...]
    operators: tuple[OperatorCounts, ...]


@dataclass(frozen=True, slots=True)
class AugmentationTask:
    """An augmentation.

    Attributes:
        id: ``task-…``.
        name: For people.
        status: Running, Succeeded, Failed or Stopped.
        progress: Hundredths that are done.
        source: The version with the seeds, ``NAME:VERSION``; `source_id` is its ``ds-…``.
        destination: The version with what is made; `destination_id` likewise.
        model: Which model is asked.
        made: Samples made so far.
        rejected: Prompts that were too like another one, 0 until the end.
        asked: Questions to the model, 0 until the end.
        error: Why it failed.
        job_id: The job that works on it; `client.jobs` follows it.
    """

    id: str
    name: str
    status: wire.AugmentStatus
    progress: int
    source: str
    source_id: str
    destination: str
    destination_id: str
    model: str
    made: int
    rejected: int
    asked: int
    error: str
    job_id: str = field(default="")

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


def check_succeeded(task: CleaningTask | AugmentationTask) -> None:
    """Nothing, where a task has done what it was to do.

    Raises:
        Conflict: It failed or was stopped.
    """
    if task.status != "Succeeded":
        raise errors.Conflict(
            f"{task.id} from {task.source} into {task.destination} has {task.status.lower()}: {task.error}"
        )


def recipe_of(given: Mapping[str, Any]) -> JSON:
    """A recipe as the wire spells it: `operationsV2` and the other fields, or the stages alone; operators as objects or by name.

    Raises:
        Invalid: It is none.
    """
    stages = given if given and set(given) <= set(STAGES) else given.get("operationsV2")
    if not isinstance(stages, dict):
        raise errors.Invalid(
            f"a recipe has operationsV2, or some of the stages {', '.join(STAGES)}; it has: {', '.join(map(str, given)) or 'nothing'}"
        )
    found: JSON = {
        "operationsV2": {
            str(stage): [{"name": step} if isinstance(step, str) else step for step in steps or ()]
            for stage, steps in cast("dict[Any, Any]", stages).items()
        }
    }
    for name in ("language", "custom"):
        if stages is not given and name in given:
            found[name] = given[name]
    return found


def operators_of(result: TaskResult) -> tuple[OperatorCounts, ...]:
    """What each operator did."""
    return tuple(
        OperatorCounts(
            stage,
            item.name,
            item.entity_match_count,
            item.drop_count,
            item.remaining_count,
            item.failed_count,
        )
        for stage, found in result.pipeline_stage_result.items()
        for item in found.each_operator_result
    )


def cleaning_of(task: wire.CleanTask) -> CleaningTask:
    """As the SDK shows it."""
    return CleaningTask(
        task.taskId,
        task.taskName,
        task.status,
        task.progress,
        task.srcDatasetName,
        task.srcDatasetVersionId,
        task.dstDatasetName,
        task.dstDatasetVersionId,
        task.entityCount,
        task.result.remaining_entity,
        operators_of(task.result),
        task.errorMessage,
        task.jobId,
    )


def row_of(item: wire.CleanReason) -> CleanedRow:
    """As the SDK shows it."""
    operators = (item.operator,) if isinstance(item.operator, str) else item.operators
    return CleanedRow(
        item.row,
        item.row_id,
        () if operators is UNSET else tuple(operators),
        None if item.value is UNSET else item.value,
        item.reason or "",
        item.text or "",
    )


def preview_of(found: wire.Preview) -> CleaningPreview:
    """As the SDK shows it."""
    return CleaningPreview(
        found.entityCount,
        found.result.remaining_entity,
        tuple(PreviewedRow(**msgspec.structs.asdict(sample)) for sample in found.samples),
        operators_of(found.result),
    )


def augmentation_of(task: wire.AugmentTask) -> AugmentationTask:
    """As the SDK shows it."""
    return AugmentationTask(
        task.taskId,
        task.taskName,
        task.status,
        task.progress,
        task.srcDatasetName,
        task.srcDatasetVersionId,
        task.dstDatasetName,
        task.dstDatasetVersionId,
        task.promptModel,
        task.sampleCount,
        task.rejectedCount,
        task.askedCount,
        task.errorMessage,
        task.jobId,
    )
