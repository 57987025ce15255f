"""v1: /wenxinworkshop/finetune (specification D.5). Its task is v2's job, its job v2's task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.protocol.v1 import tuning as wire
from yangfan.protocol.v1.console import ConsoleReply
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment
from yangfan.server.tuning.types import ENDED, NewTask
from yangfan.server.tuning.urls import report_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.tuning.logic import Tuning
    from yangfan.server.tuning.types import View

_SCALES = {"ALL": "FullFineTuning", "P-tuning": "PromptTuning", "PTuning": "PromptTuning"}
"""v1's words for how much is trained, where they are others than v2's."""

_STATUSES: dict[str, wire.TrainStatus] = {
    "Done": "FINISH",
    "Failed": "FAIL",
    "Stopped": "STOP",
}


def routes(tuning: Tuning) -> list[Route]:
    """What this file answers."""

    async def create_task(call: Call[wire.CreateTask]) -> Reply:
        wanted = call.request
        made = await tuning.create_job(
            wanted.name,
            wanted.trainType,
            "SFT",
            description=wanted.description or "",
            account=call.principal.app_id,
        )
        return _success(
            call,
            wire.CreatedTask(
                id=made.number,
                uuid=made.id,
                name=made.name,
                description=made.description,
                createTime=moment(made.created_ms),
            ),
        )

    async def create_job(call: Call[wire.CreateJob]) -> Reply:
        wanted = call.request
        job = await tuning.job(wanted.taskId)
        if wanted.trainMode != job.mode:
            await tuning.set_mode(job, wanted.trainMode)
        made = await tuning.create_task(
            NewTask(
                job_id=job.id,
                scale=_SCALES.get(wanted.peftType, wanted.peftType),
                hyper_parameters=wanted.trainConfig,
                dataset={
                    "sourceType": "Bos"
                    if any(each.type == 2 for each in wanted.trainset)
                    else "Platform",
                    "versions": [_dataset(each) for each in wanted.trainset],
                    "splitRatio": wanted.trainsetRate,
                },
                more={} if wanted.rewardConfig is None else {"rewardConfig": wanted.rewardConfig},
                account=call.principal.app_id,
            )
        )
        return _success(call, wire.CreatedJob(id=made.number, uuid=made.id))

    async def detail(call: Call[wire.NameJob]) -> Reply:
        view = await _named(tuning, call.request)
        return _success(call, _detail(view, call.scope))

    async def stop(call: Call[wire.NameJob]) -> Reply:
        view = await _named(tuning, call.request)
        return _success(call, await tuning.stop(view.task.id))

    return [
        Route(wire.CREATE_TASK, create_task),
        Route(wire.CREATE_JOB, create_job),
        Route(wire.JOB_DETAIL, detail),
        Route(wire.STOP_JOB, stop),
    ]


def _success(call: Call[Any], result: object) -> Reply:
    return Reply(ConsoleReply(call.request_id, result))


def _dataset(given: wire.TrainSet) -> dict[str, str]:
    """What v2 calls a version: of a dataset, or files of a bucket, whose path begins with its name."""
    if given.type == 1 and given.id is not None:
        return {"versionId": str(given.id)}
    path = (given.bosPath or "").removeprefix("bos:").strip().lstrip("/")
    if given.type != 2 or "/" not in path:
        raise Invalid(
            "trainset takes datasets of the platform (type 1, id) or files of a bucket (type 2, bosPath: bucket/folder/ or"
            " bucket/file.jsonl)",
            param="trainset",
        )
    return {"versionBosUri": f"bos:/{path}"}


async def _named(tuning: Tuning, wanted: wire.NameJob) -> View:
    view = await tuning.task(wanted.jobId)
    if str(wanted.taskId) not in {str(view.job.number), view.job.id}:
        raise Invalid(
            f"jobId {wanted.jobId} belongs to the task {view.job.id}, not to {str(wanted.taskId)[:80]}",
            param="taskId",
        )
    return view


def _detail(view: View, scope: Mapping[str, Any]) -> wire.JobDetail:
    task, job, work = view.task, view.job, view.work
    started = None if work is None else work.started_ms
    until = task.finished_ms or time.time_ns() // 1_000_000
    seconds = 0 if started is None else max(0, until - started) // 1000
    ended = view.status in ENDED
    return wire.JobDetail(
        id=task.number,
        uuid=task.id,
        description=job.description,
        taskId=job.number,
        taskName=job.name,
        version=task.number,
        trainType=job.model,
        trainMode=job.mode,
        peftType=task.scale,
        trainStatus=_STATUSES.get(view.status, "RUNNING"),
        progress=view.percent,
        runTime=seconds,
        trainTime=seconds,
        startTime="" if started is None else moment(started),
        finishTime=moment(task.finished_ms) if ended and task.finished_ms is not None else "",
        vdlLink=report_url(scope, task.id),
    )
