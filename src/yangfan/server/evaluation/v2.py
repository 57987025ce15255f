"""v2: /v2/eval (specification D.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from msgspec import UNSET

from yangfan.errors import Invalid
from yangfan.protocol.v2 import evaluation as wire
from yangfan.protocol.v2.memory import PageInfo
from yangfan.server.evaluation.logic import PARAMETERS, scorers_of, units_of
from yangfan.server.evaluation.types import Candidate, Chosen, Order
from yangfan.server.evaluation.v1 import scores_of
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.evaluation.logic import Evaluations
    from yangfan.server.evaluation.types import Evaluation
    from yangfan.server.jobs import Job

DEFAULT_PAGE = 10
_STATES: Mapping[str, wire.EvalState] = {
    "queued": "Queued",
    "running": "Running",
    "manual": "RunningWithManualBegin",
    "done": "Successed",
    "partly": "Successed",
    "failed": "Failed",
    "stopped": "Stopped",
}


def routes(evaluations: Evaluations) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[wire.CreateEvalTask]) -> Reply:
        made = await evaluations.create(call.principal.app_id, _order(call.request))
        return success(made.id)

    async def list_all(call: Call[wire.DescribeEvalTasks]) -> Reply:
        asked = call.request
        count = asked.maxKeys or DEFAULT_PAGE
        found, more = list[tuple[Any, Any]](), True
        after = asked.marker or None
        while more and len(found) <= count:
            page, more = await evaluations.page(
                call.principal.app_id, after, 100, newest_first=bool(asked.pageReverse)
            )
            after = page[-1][0].id if page else None
            found += [each for each in page if _is_wanted(each[0], asked)]
        truncated = len(found) > count
        return success(
            wire.EvalTasks(
                [_task(*each) for each in found[:count]],
                PageInfo(
                    marker=asked.marker or "",
                    maxKeys=count,
                    isTruncated=truncated,
                    nextMarker=found[count - 1][0].id if truncated else UNSET,
                ),
            )
        )

    async def show(call: Call[wire.NamedEvalTask]) -> Reply:
        return success(_task(*await evaluations.get(call.request.taskId, call.principal.app_id)))

    async def report(call: Call[wire.NamedEvalTask]) -> Reply:
        found, job = await evaluations.get(call.request.taskId, call.principal.app_id)
        candidates, manual = await evaluations.report(found)
        return success(
            wire.EvalReport(
                taskId=found.id,
                state=state_of(found, job),
                samples=found.outcome.samples,
                candidates=candidates,
                comparison=found.outcome.comparison,
                manual=None if manual is None else wire.PeoplesProgress(**manual),
                subjectiveImpression=found.outcome.impression,
            )
        )

    async def results(call: Call[wire.DescribeEvalTaskResults]) -> Reply:
        asked = call.request
        found, _ = await evaluations.get(asked.taskId, call.principal.app_id)
        items, total = await evaluations.results(found, asked.offset, asked.maxKeys)
        return success(wire.EvalResults(items=items, total=total))

    async def score(call: Call[wire.ScoreEvalTask]) -> Reply:
        asked, app_id = call.request, call.principal.app_id
        await evaluations.score(asked.taskId, app_id, scores_of(asked.scores))
        found, _ = await evaluations.get(asked.taskId, app_id)
        _, progress = await evaluations.report(found)
        return success(progress)

    async def finish(call: Call[wire.FinishEvalTask]) -> Reply:
        asked = call.request
        await evaluations.finish(asked.taskId, call.principal.app_id, asked.subjectiveImpression)
        return success(result=True)

    async def delete(call: Call[wire.NamedEvalTask]) -> Reply:
        await evaluations.delete(call.request.taskId, call.principal.app_id)
        return success(result=True)

    async def stop(call: Call[wire.NamedEvalTask]) -> Reply:
        await evaluations.stop(call.request.taskId, call.principal.app_id)
        return success(result=True)

    return [
        Route(wire.CREATE, create),
        Route(wire.LIST, list_all),
        Route(wire.SHOW, show),
        Route(wire.REPORT, report),
        Route(wire.RESULTS, results),
        Route(wire.SCORE, score),
        Route(wire.FINISH, finish),
        Route(wire.DELETE, delete),
        Route(wire.STOP, stop),
    ]


def state_of(evaluation: Evaluation, job: Job | None) -> wire.EvalState:
    """Where it stands, in v2's words."""
    if job is not None and not job.final:
        if job.desired == "cancel":
            return "Stopping"
        if job.state in {"starting", "running"}:
            return "RunningWithMetricsCalculating" if _is_grading(job) else "Running"
    return _STATES[evaluation.state]


def _is_grading(job: Job) -> bool:
    """Whether all answers are there: they are the first half of the work, grading them the second, comparing them in pairs what follows."""
    progress = job.progress
    return progress.unit == "pairs" or bool(progress.total and 2 * progress.done >= progress.total)


def _is_wanted(evaluation: Evaluation, asked: wire.DescribeEvalTasks) -> bool:
    if asked.evalType and asked.evalType != _type(evaluation):
        return False
    wanted = (asked.keyFilter or "").casefold()
    return wanted in evaluation.order.name.casefold() or wanted == evaluation.id


def _type(evaluation: Evaluation) -> Any:
    return "manual" if "manual" in evaluation.order.mode else "auto"


def _task(evaluation: Evaluation, job: Job | None) -> wire.EvalTask:
    order = evaluation.order
    shown = cast("Mapping[str, dict[str, Any]]", order.shown)
    return wire.EvalTask(
        taskId=evaluation.id,
        taskName=order.name,
        description=order.description,
        evalType=_type(evaluation),
        state=state_of(evaluation, job),
        evalObjectConfig=shown.get("evalObjectConfig", {}),
        evalConfig=shown.get("evalConfig", {}),
        createTime=moment(evaluation.created_ms),
        message=evaluation.outcome.message or UNSET,
        jobId=evaluation.job_id,
        resultDatasetId=evaluation.outcome.result_dataset or UNSET,
        evalUnits=[
            wire.EvalUnit(
                modelId=candidate.id,
                name=candidate.name,
                state=unit.state or _unit_state(evaluation),
                message=unit.message,
            )
            for candidate, unit in zip(order.candidates, units_of(evaluation, job), strict=True)
        ],
    )


def _unit_state(evaluation: Evaluation) -> Literal["Pending", "Failed", "Stopped"]:
    """Of a candidate that has nothing of its own to say."""
    if evaluation.state == "failed":
        return "Failed"
    return "Stopped" if evaluation.state == "stopped" else "Pending"


def _part(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: Any = of.get(name) or {}
    if not isinstance(found, dict):
        raise Invalid(f"{name} must be an object", param=name)
    return cast("dict[str, Any]", found)


def _list(of: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found: Any = of.get(name) or []
    if not isinstance(found, list) or not all(
        isinstance(each, dict) for each in cast("list[Any]", found)
    ):
        raise Invalid(f"{name} must be a list of objects", param=name)
    return cast("list[dict[str, Any]]", found)


def _order(asked: wire.CreateEvalTask) -> Order:
    config = asked.evalConfig
    mode = str(config.get("evalMode") or "")
    if asked.evalObjectType == "model":
        objects = _part(asked.evalObjectConfig, "evalModelConfig")
        candidates = [
            Candidate(
                id=str(each.get("modelId") or ""),
                name=str(each.get("name") or each.get("modelId") or ""),
                model=str(each.get("modelId") or ""),
                template=str(each.get("promptTemplate") or ""),
                prompt=str(each.get("templateId") or ""),
                variables={name: str(value) for name, value in _part(each, "variables").items()},
                parameters={
                    PARAMETERS[name]: value for name, value in each.items() if name in PARAMETERS
                },
                options=_part(each, "engineOptions"),
            )
            for each in _list(objects, "evalModelConfigList")
        ]
        dataset = str(objects.get("versionId") or "")
    else:
        objects = _part(asked.evalObjectConfig, "evalInferDatasetConfig")
        listed = _list(objects, "evalInferDatasetConfigList")
        candidates = [
            Candidate(
                id=str(each.get("answers") or each.get("inferDatasetId")),
                name=str(each.get("name") or each.get("inferDatasetId") or ""),
                dataset=str(each.get("inferDatasetId") or ""),
            )
            for each in listed
        ]
        dataset = str(listed[0].get("inferDatasetId") or "") if listed else ""
    if not dataset:
        raise Invalid("versionId must name a dataset version", param="versionId")
    chosen = [
        Chosen(
            name=str(each.get("name") or ""),
            label=str(each.get("label") or each.get("name") or ""),
            parameters=_part(each, "parameters"),
        )
        for each in _list(config, "scorers")
    ]
    if not mode and not chosen:
        raise Invalid(
            "evalConfig needs evalMode (rule, model, manual), or scorers", param="evalMode"
        )
    manual = _part(config, "manualEvalConfig")
    return Order(
        name=asked.taskName,
        description=asked.description,
        dataset=dataset,
        candidates=tuple(candidates),
        scorers=(
            *scorers_of(
                mode, _part(config, "autoRuleEvalConfig"), _part(config, "autoModelEvalConfig")
            ),
            *chosen,
        ),
        pairwise=_part(config, "pairwise") if "pairwise" in config else None,
        mode=mode,
        dimensions=tuple(_list(manual, "dimensions")),
        results=str(config["resultDatasetName"]) if config.get("resultDatasetName") else None,
        shown={"evalObjectConfig": asked.evalObjectConfig, "evalConfig": asked.evalConfig},
    )
