"""What both dialects show of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.protocol.v1.cleaning import Operation, Operations, StageResult, TaskResult
from yangfan.server.http.actions import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.processing.types import Now


def action_time(epoch_ms: int) -> str:
    """A time as Actions write it; "" where it has not come."""
    return moment(epoch_ms) if epoch_ms else ""


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
