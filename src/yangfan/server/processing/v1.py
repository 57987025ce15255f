"""v1: /wenxinworkshop/etl/… and /wenxinworkshop/enhance/… (specification D.9, D.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.protocol.v1 import augmentation as enhance
from yangfan.protocol.v1 import cleaning as etl
from yangfan.protocol.v1.envelope import Envelope
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.times import console_time
from yangfan.server.processing import shown

if TYPE_CHECKING:
    from yangfan.server.processing.logic import Processing
    from yangfan.server.processing.types import Now, State

PROCESS: dict[State, etl.ProcessStatus] = {
    "running": 1,
    "succeeded": 2,
    "stopped": 3,
    "failed": 4,
    "paused": 5,
}
"""`processStatus` (D.9)."""

MODELS = {
    "1191": "ernie-3.5-8k",
    "1431": "ernie-lite-8k",
    "1306": "ernie-4.0-8k",
    "1378": "ernie-speed-8k",
}
"""`devApiId` (D.10)."""

SAVED = "save_pipeline_"
"""Qianfan shows such a step behind those of each stage."""


def routes(processing: Processing) -> list[Route]:
    """What this file answers."""
    return [*_etl_routes(processing), *_enhance_routes(processing)]


def _etl_routes(processing: Processing) -> list[Route]:
    async def create(call: Call[etl.CreateCleaning]) -> Reply:
        request = call.request
        task = await processing.clean(
            request.sourceDatasetId,
            request.destDatasetId,
            {"operationsV2": msgspec.to_builtins(request.operationsV2)},
            name=request.etlTaskName,
            account=call.principal.app_id,
        )
        return _success(call, task.id)

    async def detail(call: Call[etl.ShowCleaning]) -> Reply:
        return _success(call, _detail(await processing.get("clean", call.request.etlId)))

    async def list_all(call: Call[etl.ListCleanings]) -> Reply:
        total, found = await processing.page(
            "clean", offset=call.request.offset, count=call.request.pageSize
        )
        running = await processing.running("clean")
        return _success(
            call, etl.CleaningList(processingCount=running, total=total, items=[*map(_item, found)])
        )

    async def delete(call: Call[etl.DeleteCleanings]) -> Reply:
        await processing.delete("clean", call.request.etlIds)
        return _success(call, True)  # noqa: FBT003 - the result of the call

    return [
        Route(etl.CREATE, create),
        Route(etl.DETAIL, detail),
        Route(etl.LIST, list_all),
        Route(etl.DELETE, delete),
    ]


def _enhance_routes(processing: Processing) -> list[Route]:
    async def create(call: Call[enhance.CreateAugmentation]) -> Reply:
        request = call.request
        model = str(request.devApiId)
        await processing.augment(
            request.sourceDatasetId,
            request.destDatasetId,
            {
                "model": MODELS.get(model, model),
                "seeds_in_prompt": request.numSeedFewshot,
                "number": request.numInstancesToGenerate,
                "similarity_threshold": request.similarityThreshold,
            },
            name=request.name,
            account=call.principal.app_id,
        )
        return _success(call, True)  # noqa: FBT003 - the result of the call

    async def list_all(call: Call[enhance.ListAugmentations]) -> Reply:
        request = call.request
        total, found = await processing.page(
            "augment",
            offset=request.offset,
            count=request.pageSize,
            word=request.word or "",
            # Without a field to sort by they come by their ids, ascending.
            newest_first=request.sortField is not None and request.sortBy != "asc",
        )
        return _success(
            call, enhance.AugmentationList(total=total, items=[*map(_made_item, found)])
        )

    async def detail(call: Call[enhance.ShowAugmentation]) -> Reply:
        return _success(call, _made_detail(await processing.get("augment", call.request.taskId)))

    async def delete(call: Call[enhance.DeleteAugmentations]) -> Reply:
        await processing.delete("augment", call.request.taskIds)
        return _success(call, enhance.AugmentationsDeleted())

    return [
        Route(enhance.CREATE, create),
        Route(enhance.LIST, list_all),
        Route(enhance.DETAIL, detail),
        Route(enhance.DELETE, delete),
    ]


def _success(call: Call[Any], result: Any) -> Reply:
    return Reply(Envelope(call.request_id, result))


def _detail(now: Now) -> etl.CleaningDetail:
    task = now.task
    asked = {
        stage: [*steps, etl.Operation(name=f"{SAVED}{stage}")]
        for stage, steps in shown.operations(task.order).items()
    }
    return etl.CleaningDetail(
        id=task.number,
        etlTaskId=task.id,
        etlTaskName=task.name,
        userId=task.account,
        taskId=task.id,
        sourceDatasetStrId=task.source_id,
        sourceDatasetName=task.source_name,
        destDatasetStrId=task.destination_id,
        destDatasetName=task.destination_name,
        entityCount=task.rows,
        operationsV2=asked,
        result=shown.result(now),
        processStatus=PROCESS[now.state],
        status=PROCESS[now.state],
        createTime=console_time(task.created_ms),
        startTime=console_time(now.started_ms),
        finishTime=console_time(task.finished_ms),
        endTime=console_time(task.finished_ms),
        modifyTime=console_time(task.finished_ms or now.started_ms or task.created_ms),
        creatorName=task.account,
        jobId=task.job_id,
    )


def _item(now: Now) -> etl.CleaningItem:
    task = now.task
    names = [step.name for steps in shown.operations(task.order).values() for step in steps]
    return etl.CleaningItem(
        id=task.number,
        etlStrId=task.id,
        names=",".join(names),
        operatorNameList=names,
        sourceDatasetStrId=task.source_id,
        sourceDatasetName=task.source_name,
        destDatasetStrId=task.destination_id,
        destDatasetName=task.destination_name,
        entityCount=task.rows,
        result=shown.result(now),
        processStatus=PROCESS[now.state],
        status=PROCESS[now.state],
        startTime=console_time(now.started_ms),
        endTime=console_time(task.finished_ms),
        createTime=console_time(task.created_ms),
        errCode=1 if now.state == "failed" else 0,
        errMsg=task.error,
    )


def made_status(now: Now) -> enhance.Status:
    """`status` of an augmentation (D.10)."""
    if now.state in {"failed", "stopped"}:
        return 4
    if now.state == "succeeded":
        return 3
    return 1 if now.waiting else 2


def _made_item(now: Now) -> enhance.AugmentationItem:
    task = now.task
    return enhance.AugmentationItem(
        id=task.number,
        strId=task.id,
        projectType=task.project_type,
        sourceDatasetId=task.source_id,
        sourceDatasetName=task.source_name,
        destDatasetId=task.destination_id,
        destDatasetName=task.destination_name,
        status=made_status(now),
        startTime=console_time(now.started_ms),
        finishTime=console_time(task.finished_ms),
        failReason=task.error,
        name=task.name,
        modelName=task.order["model"],
    )


def _made_detail(now: Now) -> enhance.AugmentationDetail:
    task, counts = now.task, now.task.result.get("counts", {})
    return enhance.AugmentationDetail(
        id=task.number,
        strId=task.id,
        sourceDatasetId=task.source_id,
        sourceDatasetName=task.source_name,
        destDatasetId=task.destination_id,
        destDatasetName=task.destination_name,
        status=made_status(now),
        entityCount=counts.get("made", now.rows),
        startTime=console_time(now.started_ms),
        finishTime=console_time(task.finished_ms),
        name=task.name,
        serviceName=task.order["model"],
        appName=task.account,
        userName=task.account,
        numSeedFewshot=task.order.get("seeds_in_prompt", 0),
        numInstancesToGenerate=task.order.get("number", 0),
        similarityThreshold=task.order["similarity_threshold"],
        jobId=task.job_id,
        failReason=task.error,
        rejectedCount=counts.get("rejected", 0),
    )
