"""v2: the Actions of /v2/finetuning, and the report of a run (specification D.6)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from yangfan.errors import NotFound
from yangfan.protocol.v2 import tuning as wire
from yangfan.protocol.v2.memory import PageInfo
from yangfan.server.http import Call, Download, Reply, Route, Stream
from yangfan.server.http.actions import moment, success
from yangfan.server.models import Page
from yangfan.server.tuning.types import ENDED, NewTask
from yangfan.server.tuning.urls import report_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from yangfan.server.models import Version
    from yangfan.server.tuning.logic import Tuning
    from yangfan.server.tuning.recipes import Parameter
    from yangfan.server.tuning.types import TuningJob, View

DEFAULT_PAGE, MAX_PAGE = 10, 100
_FIRST_MARKERS = frozenset({None, "", "0"})
_SCORES = {"bleu_4": "BLEU-4", "rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L"}
_MEASURED = {
    "epoch": "epoch",
    "loss": "loss",
    "eval_loss": "evalLoss",
    "learning_rate": "learningRate",
    "grad_norm": "gradNorm",
    "tokens_per_second": "tokensPerSecond",
}
"""Fields of a line of metrics: the trainers' names to the wire's."""


def routes(tuning: Tuning) -> list[Route]:
    """What this file answers."""
    return [*_job_routes(tuning), *_task_routes(tuning), *_watch_routes(tuning)]


def _job_routes(tuning: Tuning) -> list[Route]:
    async def create(call: Call[wire.CreateJob]) -> Reply:
        wanted = call.request
        made = await tuning.create_job(
            wanted.name,
            wanted.model,
            wanted.trainMode,
            description=wanted.description,
            scale=wanted.parameterScale,
            hyper_parameters=wanted.hyperParameterConfig,
            account=call.principal.app_id,
        )
        return success(wire.CreatedJob(jobId=made.id))

    async def list_all(call: Call[wire.ListJobs]) -> Reply:
        wanted = call.request
        page = _page(wanted)
        found, follows = await tuning.jobs(
            page, model=wanted.model, mode=wanted.trainMode or wanted.trainModel
        )
        jobs = [_job(job) for job in found]
        return success(wire.Jobs(jobList=jobs, pageInfo=_info(wanted, page, follows)))

    async def delete(call: Call[wire.NameJob]) -> Reply:
        await tuning.delete_job(call.request.jobId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def supported(call: Call[wire.Nothing]) -> Reply:
        del call
        return success([_supported(tuning, *each) for each in await tuning.models()])

    return [
        Route(wire.CREATE_JOB, create),
        Route(wire.LIST_JOBS, list_all, body=_or_empty),
        Route(wire.DELETE_JOB, delete),
        Route(wire.SUPPORTED_MODELS, supported, body=_or_empty),
    ]


def _task_routes(tuning: Tuning) -> list[Route]:
    async def create(call: Call[wire.CreateTask]) -> Reply:
        wanted = call.request
        made = await tuning.create_task(
            NewTask(
                job_id=wanted.jobId,
                scale=wanted.parameterScale,
                hyper_parameters=wanted.hyperParameterConfig or {},
                dataset=_told(wanted.datasetConfig),
                increment_task_id=wanted.incrementTaskId,
                increment_step=wanted.incrementCheckpointStep,
                more={
                    name: _told(value)
                    for name in ("corpusConfig", "modelConfig", "resourceConfig", "rewardConfig")
                    if (value := getattr(wanted, name)) is not None
                },
                account=call.principal.app_id,
                idempotency_key=wanted.idempotencyKey,
            )
        )
        return success(wire.CreatedTask(jobId=made.job_id, taskId=made.id))

    async def list_all(call: Call[wire.ListTasks]) -> Reply:
        wanted = call.request
        page = _page(wanted)
        found, follows = await tuning.tasks(page, wanted.jobId)
        tasks = [wire.TaskLine(**_line(view)) for view in found]
        return success(wire.Tasks(taskList=tasks, pageInfo=_info(wanted, page, follows)))

    async def show(call: Call[wire.NameTask]) -> Reply:
        return success(_task(await tuning.task(call.request.taskId), call.scope))

    async def stop(call: Call[wire.NameTask]) -> Reply:
        return success(await tuning.stop(call.request.taskId))

    async def resume(call: Call[wire.NameTask]) -> Reply:
        await tuning.resume(call.request.taskId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete(call: Call[wire.NameTask]) -> Reply:
        await tuning.delete(call.request.taskId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE_TASK, create),
        Route(wire.LIST_TASKS, list_all, body=_or_empty),
        Route(wire.SHOW_TASK, show),
        Route(wire.STOP_TASK, stop),
        Route(wire.RESUME_TASK, resume),
        Route(wire.DELETE_TASK, delete),
    ]


def _watch_routes(tuning: Tuning) -> list[Route]:
    async def metrics(call: Call[wire.NameTask]) -> Reply:
        rows = await tuning.metrics(call.request.taskId)
        return success(wire.Metrics(rows=[_metric(row) for row in rows]))

    async def watch(call: Call[wire.NameTask]) -> Stream:
        await tuning.task(call.request.taskId)
        return Stream(_events(tuning, call))

    async def report(call: Call[None]) -> Download:
        view = await tuning.task(call.params["task"])
        path = tuning.output(view.task.id) / "report.html"
        if not path.is_file():
            raise NotFound(
                f"{view.task.id} has no report yet: it is {view.status or 'new'}, and a report is written as it goes on"
            )
        return Download(path, f"{view.task.id}.html", "text/html; charset=utf-8")

    return [
        Route(wire.METRICS, metrics),
        Route(wire.WATCH_TASK, watch),
        Route(wire.REPORT, report),
    ]


async def _events(tuning: Tuning, call: Call[wire.NameTask]) -> AsyncGenerator[wire.TaskEvent]:
    async with aclosing(tuning.watch(call.request.taskId)) as views:
        async for view in views:
            yield wire.TaskEvent(task=_task(view, call.scope))


def _or_empty(body: bytes, _scope: object) -> bytes:
    return body or b"{}"


def _page(wanted: wire.ListJobs | wire.ListTasks) -> Page:
    return Page(
        None if wanted.marker in _FIRST_MARKERS else wanted.marker,
        min(wanted.maxKeys or DEFAULT_PAGE, MAX_PAGE),
        bool(wanted.pageReverse),
    )


def _info(wanted: wire.ListJobs | wire.ListTasks, page: Page, follows: str | None) -> PageInfo:
    return PageInfo(
        marker=wanted.marker or "",
        maxKeys=page.size,
        isTruncated=follows is not None,
        nextMarker=UNSET if follows is None else follows,
    )


def _told(given: Any) -> Any:
    """A part of a call as it was sent."""
    if isinstance(given, msgspec.Struct):
        given = msgspec.to_builtins(given)
    if isinstance(given, dict):
        return {name: _told(value) for name, value in given.items() if value is not None}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(given, list):
        return [_told(value) for value in given]  # pyright: ignore[reportUnknownVariableType]
    return given


def _job(job: TuningJob) -> wire.Job:
    return wire.Job(
        jobId=job.id,
        name=job.name,
        description=job.description,
        model=job.model,
        trainMode=job.mode,
        createDate=moment(job.created_ms),
    )


def _line(view: View) -> dict[str, Any]:
    task, job = view.task, view.job
    finished = task.finished_ms if view.status in ENDED else None
    return {
        "taskId": task.id,
        "jobId": job.id,
        "jobName": job.name,
        "jobDescription": job.description,
        "model": job.model,
        "trainMode": job.mode,
        "parameterScale": task.scale,
        "runStatus": view.status,
        "createDate": moment(task.created_ms),
        "finishDate": wire.NEVER if finished is None else moment(finished),
    }


def _task(view: View, scope: Mapping[str, Any]) -> wire.Task:
    task, more = view.task, view.task.more
    failed = task.error or ("its job was deleted" if view.status == "Failed" else "")
    return wire.Task(
        **_line(view),
        runProgress=f"{view.percent}%",
        vdlLink=report_url(scope, task.id),
        metrics=_scores(task.result),
        checkpointList=[
            wire.Checkpoint(step=each.step, loss=UNSET if each.loss is None else each.loss)
            for each in view.checkpoints
        ],
        datasetConfig=dict(task.dataset),
        hyperParameterConfig=dict(task.hyper_parameters),
        corpusConfig=more.get("corpusConfig", UNSET),
        resourceConfig=more.get("resourceConfig", UNSET),
        rewardConfig=more.get("rewardConfig", UNSET),
        incrementTaskId=task.increment_task_id or UNSET,
        incrementCheckpointStep=UNSET if task.increment_step is None else task.increment_step,
        baseModelId=view.job.base_id,
        failedReason=failed or UNSET,
        progress=_progress(view),
        workId=task.work_id,
        publishedModelIds=list(view.published),
    )


def _scores(result: Mapping[str, Any]) -> dict[str, str]:
    told = result.get("scores", {})
    return {
        shown: f"{100 * float(told[name]):.2f}%" for name, shown in _SCORES.items() if name in told
    }


def _progress(view: View) -> wire.Progress:
    now = None if view.work is None else view.work.progress
    last = view.last
    steps = now is not None and now.unit in {"step", "steps"}
    eta = last.get("eta_seconds")
    done = int(last.get("step", 0))
    return wire.Progress(
        step=int(now.done) if now is not None and steps else done,
        totalSteps=int(now.total) if now is not None and steps and now.total else UNSET,
        etaSeconds=int(eta) if eta is not None and view.status == "Running" else UNSET,
        note="" if now is None or last else now.note,
        last=_metric(last) if "step" in last else UNSET,
    )


def _metric(row: Mapping[str, Any]) -> wire.Metric:
    told = {ours: row[theirs] for theirs, ours in _MEASURED.items() if row.get(theirs) is not None}
    return wire.Metric(step=int(row["step"]), more=dict(row.get("more") or {}), **told)


def _supported(tuning: Tuning, name: str, version: Version) -> wire.SupportedModel:
    recipes, context = tuning.recipes, version.facts.context_tokens
    return wire.SupportedModel(
        model=name,
        modelType="text2image" if version.kind == "images" else "text2text",
        baseModel=version.facts.architecture or version.set_name,
        modelId=version.id,
        supportTrainMode=[
            wire.SupportedMode(
                trainMode=found.called or mode,
                supportParameterScale=[
                    wire.SupportedScale(
                        parameterScale=scale,
                        supportHyperParameterConfig=[
                            _parameter(key, each)
                            for key, each in recipes.recipe(mode, scale, context).items()
                        ],
                    )
                    for scale in found.scales
                ],
            )
            for mode, found in recipes.modes.items()
            if found.bases == version.kind
        ],
    )


def _parameter(key: str, found: Parameter) -> wire.Parameter:
    return wire.Parameter(
        key=key,
        name=found.name,
        description=found.description,
        type=found.type,
        checkType=found.check,
        checkValue=list(found.values),
        default=found.default,
    )
