"""v2: the Actions of /v2/dataprocessing (specification D.10; those of cleaning are ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from yangfan.protocol.v2 import dataprocessing as wire
from yangfan.protocol.v2.memory import PageInfo
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import success
from yangfan.server.processing import shown
from yangfan.server.processing.shown import action_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.server.processing.logic import Processing
    from yangfan.server.processing.types import Kind, Now, ProcessingTask, State

AUGMENT_STATUS: dict[State, wire.AugmentStatus] = {
    "running": "Running",
    "paused": "Running",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "stopped": "Stopped",
}
CLEAN_STATUS: dict[State, wire.CleanStatus] = {
    "running": "Running",
    "paused": "Paused",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "stopped": "Stopped",
}
_STATES = {status: state for state, status in AUGMENT_STATUS.items() if state != "paused"}
STRATEGIES = ("addConstraint", "complexScene", "direction", "precondition")


def routes(processing: Processing) -> list[Route]:
    """What this file answers."""
    return [
        *_augment_routes(processing),
        *_clean_routes(processing),
        *_steering_routes(processing),
    ]


def _augment_routes(processing: Processing) -> list[Route]:
    async def create(call: Call[wire.CreateAugmentTask]) -> Reply:
        request = call.request
        task = await processing.augment(
            request.srcDatasetVersionId,
            request.dstDatasetVersionId,
            _order(request),
            name=request.taskName,
            account=call.principal.app_id,
            idempotency_key=request.idempotencyKey,
        )
        return success(_created(task))

    async def describe(call: Call[wire.NamedTask]) -> Reply:
        return success(_made(await processing.get("augment", call.request.taskId)))

    async def list_all(call: Call[wire.DescribeAugmentTasks]) -> Reply:
        request = call.request
        states = [_STATES[status] for status in request.filter.status]
        found, info = await _page(
            processing,
            "augment",
            request.marker,
            request.maxKeys,
            states=states,
            reverse=request.pageReverse,
        )
        return success(wire.AugmentTasks(taskList=[*map(_made, found)], pageInfo=info))

    async def delete(call: Call[wire.NamedTask]) -> Reply:
        await processing.delete("augment", [call.request.taskId])
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE_AUGMENT, create),
        Route(wire.DESCRIBE_AUGMENT, describe),
        Route(wire.LIST_AUGMENT, list_all),
        Route(wire.DELETE_AUGMENT, delete),
    ]


def _clean_routes(processing: Processing) -> list[Route]:
    async def create(call: Call[wire.CreateCleanTask]) -> Reply:
        request = call.request
        task = await processing.clean(
            request.srcDatasetVersionId,
            request.dstDatasetVersionId,
            _recipe(request.recipe),
            name=request.taskName,
            account=call.principal.app_id,
            idempotency_key=request.idempotencyKey,
        )
        return success(_created(task))

    async def describe(call: Call[wire.NamedTask]) -> Reply:
        return success(_cleaned(await processing.get("clean", call.request.taskId)))

    async def list_all(call: Call[wire.DescribeCleanTasks]) -> Reply:
        request = call.request
        found, info = await _page(processing, "clean", request.marker, request.maxKeys)
        return success(wire.CleanTasks(taskList=[*map(_cleaned, found)], pageInfo=info))

    async def reasons(call: Call[wire.DescribeCleanReasons]) -> Reply:
        request = call.request
        start = int(request.marker or 0)
        page = await processing.reasons(request.taskId, request.kind, start, request.maxKeys)
        items = [msgspec.json.decode(line, type=wire.CleanReason) for line in page.lines]
        return success(
            wire.CleanReasons(items=items, pageInfo=_info(str(start), request.maxKeys, page.next))
        )

    async def preview(call: Call[wire.PreviewClean]) -> Reply:
        request = call.request
        found = await processing.preview(
            request.srcDatasetVersionId, _recipe(request.recipe), request.maxRows
        )
        return success(
            wire.Preview(
                samples=msgspec.convert(found["samples"], list[wire.PreviewSample]),
                result=shown.of_report(found["report"]),
                entityCount=found["report"]["entity_count"],
            )
        )

    return [
        Route(wire.CREATE_CLEAN, create),
        Route(wire.DESCRIBE_CLEAN, describe),
        Route(wire.LIST_CLEAN, list_all),
        Route(wire.CLEAN_REASONS, reasons),
        Route(wire.PREVIEW_CLEAN, preview),
    ]


def _steering_routes(processing: Processing) -> list[Route]:
    async def delete(call: Call[wire.NamedTask]) -> Reply:
        await processing.delete("clean", [call.request.taskId])
        return success(True)  # noqa: FBT003 - the result of the Action

    async def pause(call: Call[wire.NamedTask]) -> Reply:
        return success(_cleaned(await processing.pause(call.request.taskId)))

    async def resume(call: Call[wire.NamedTask]) -> Reply:
        return success(_cleaned(await processing.resume(call.request.taskId)))

    async def undo(call: Call[wire.NamedTask]) -> Reply:
        await processing.undo(call.request.taskId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.DELETE_CLEAN, delete),
        Route(wire.PAUSE_CLEAN, pause),
        Route(wire.RESUME_CLEAN, resume),
        Route(wire.UNDO_CLEAN, undo),
    ]


def _order(request: wire.CreateAugmentTask) -> dict[str, Any]:
    order: dict[str, Any] = {
        "model": request.promptModel,
        "context": request.promptContext,
        "similarity_threshold": request.similarityThreshold,
        "seeds_in_prompt": request.numSeedFewshot,
        "requests_per_minute": request.requestsPerMinute,
    }
    evolution = request.promptEvol
    counts = {name: getattr(evolution, name) for name in STRATEGIES} if evolution else {}
    if any(counts.values()):
        order["evolution"] = {name: count for name, count in counts.items() if count}
        if request.promptIteration.enable:
            order["iterations"] = request.promptIteration.maxIterations
    else:
        order["number"] = request.numInstancesToGenerate
    if evolution is not None:
        order["words"] = evolution.genWord
    return order


def _recipe(recipe: wire.Recipe) -> dict[str, Any]:
    return {
        "operationsV2": msgspec.to_builtins(recipe.operationsV2),
        "language": recipe.language,
        "custom": recipe.custom,
    }


async def _page(
    processing: Processing,
    kind: Kind,
    marker: str | None,
    count: int,
    *,
    states: Sequence[str] = (),
    reverse: bool = False,
) -> tuple[list[Now], PageInfo]:
    place = int(marker) if marker else None
    _, found = await processing.page(
        kind,
        count=count + 1,
        before=None if reverse else place,
        after=place if reverse else None,
        states=states,
        newest_first=not reverse,
    )
    more = len(found) > count
    found = found[:count]
    return found, _info(marker or "", count, found[-1].task.number if more else None)


def _info(marker: str, count: int, following: int | None) -> PageInfo:
    return PageInfo(
        marker=marker,
        maxKeys=count,
        isTruncated=following is not None,
        nextMarker=UNSET if following is None else str(following),
    )


def _created(task: ProcessingTask) -> wire.CreatedProcessing:
    return wire.CreatedProcessing(
        taskId=task.id, dstDatasetVersionId=task.destination_id, jobId=task.job_id
    )


def _made(now: Now) -> wire.AugmentTask:
    task, counts = now.task, now.task.result.get("counts", {})
    return wire.AugmentTask(
        taskId=task.id,
        taskName=task.name,
        srcDatasetVersionId=task.source_id,
        srcDatasetName=task.source_name,
        dstDatasetVersionId=task.destination_id,
        dstDatasetName=task.destination_name,
        promptModel=task.order["model"],
        promptContext=task.order.get("context", ""),
        similarityThreshold=task.order["similarity_threshold"],
        status=AUGMENT_STATUS[now.state],
        progress=round(now.done * 100),
        sampleCount=counts.get("made", now.rows),
        rejectedCount=counts.get("rejected", 0),
        askedCount=counts.get("asked", 0),
        errorMessage=task.error,
        jobId=task.job_id,
        creator=task.account,
        createTime=action_time(task.created_ms),
        startTime=action_time(now.started_ms),
        finishTime=action_time(task.finished_ms),
    )


def _cleaned(now: Now) -> wire.CleanTask:
    task = now.task
    return wire.CleanTask(
        taskId=task.id,
        taskName=task.name,
        srcDatasetVersionId=task.source_id,
        srcDatasetName=task.source_name,
        dstDatasetVersionId=task.destination_id,
        dstDatasetName=task.destination_name,
        status=CLEAN_STATUS[now.state],
        progress=round(now.done * 100),
        entityCount=task.rows,
        result=shown.result(now),
        recipe=wire.Recipe(
            operationsV2=shown.operations(task.order),
            language=task.order.get("language", "auto"),
            custom=task.order.get("custom", {}),
        ),
        errorMessage=task.error,
        jobId=task.job_id,
        creator=task.account,
        createTime=action_time(task.created_ms),
        startTime=action_time(now.started_ms),
        finishTime=action_time(task.finished_ms),
    )
