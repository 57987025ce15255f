"""What both dialects show of a task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.protocol.v1.cleaning import Operation, Operations, StageResult, TaskResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.processing.types import Now


def console_time(epoch_ms: int) -> str:
    """A time as v1 writes it; "" where it has not come."""
    if not epoch_ms:
        return ""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def action_time(epoch_ms: int) -> str:
    """A time as Actions write it; "" where it has not come."""
    if not epoch_ms:
        return ""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def operations(order: Mapping[str, Any]) -> Operations:
    """The operators of a recipe, stage by stage."""
    return {
        stage: [
            Operation(name=step) if isinstance(step, str) else msgspec.convert(step, Operation)
            for step in steps
        ]
        for stage, steps in order["operationsV2"].items()
        if steps
    }


def result(now: Now) -> TaskResult:
    """What a cleaning did."""
    report = now.task.result.get("report")
    if report is None:
        return TaskResult(
            RET_OK=now.state not in {"failed", "stopped"},
            unprocessed_entity=max(now.task.rows - now.rows, 0),
            failReason=now.task.error if now.state != "succeeded" else "",
            pauseReason="it was paused" if now.state == "paused" else "",
        )
    return of_report(report)


def of_report(report: Mapping[str, Any]) -> TaskResult:
    """What a run did (`yangfan.operators.pipeline.run.Report`)."""
    return TaskResult(
        pipeline_stage_result=msgspec.convert(
            report["pipeline_stage_result"], dict[str, StageResult]
        ),
        export_entity_num=report["remaining_entity"],
        remaining_entity=report["remaining_entity"],
    )
