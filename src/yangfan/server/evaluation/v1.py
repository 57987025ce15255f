"""v1: /wenxinworkshop/modelrepo/eval/… (specification D.14)."""

from __future__ import annotations

import asyncio
import re
import secrets
import zipfile
from statistics import median, pstdev
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import structlog

from yangfan.errors import Invalid, NotFound
from yangfan.protocol.v1 import evaluation as wire
from yangfan.protocol.v1.console import ConsoleReply
from yangfan.server.evaluation.logic import scorers_of, units_of
from yangfan.server.evaluation.people import dimensions
from yangfan.server.evaluation.types import Candidate, HumanScore, Order
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import Download

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from yangfan.server.evaluation.logic import Evaluations
    from yangfan.server.evaluation.types import Evaluation
    from yangfan.server.jobs import Job

_NO_SCORE = -1.0
"""What stands in v1 for a score that the judge did not give."""

_STATES = {
    "queued": "Pending",
    "running": "Doing",
    "manual": "DoingWithManualBegin",
    "done": "Done",
    "partly": "PartlyDone",
    "failed": "Failed",
    "stopped": "Stopped",
}
MAX_NUMBERS = 10_000
"""Integer ids of exports that are known."""

_log = structlog.get_logger("yangfan.evaluation")
_TOKEN = re.compile(r"amemt-([0-9a-f]{32})-(\d{1,12})")
_RULES = ("accuracy", "f1Score", "rouge_1", "rouge_2", "rouge_l", "bleu4")
_CONTENT = ("prompt", "prediction", "completion", "metrics")
_SHOWN_RULES = {
    "BLEU-4": "bleu4",
    "ROUGE-1": "rouge_1",
    "ROUGE-2": "rouge_2",
    "ROUGE-L": "rouge_l",
}


def routes(evaluations: Evaluations) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[wire.CreateEval]) -> Reply:
        made = await evaluations.create(call.principal.app_id, _order(call.request))
        return _reply(call, wire.CreatedEval(evalId=made.number, evalIdStr=made.id))

    async def detail(call: Call[wire.NamedEval]) -> Reply:
        return _reply(call, _detail(*await evaluations.get(call.request.id, call.principal.app_id)))

    async def report(call: Call[wire.NamedEval]) -> Reply:
        found, _ = await evaluations.get(call.request.id, call.principal.app_id)
        items, _ = await evaluations.results(found)
        candidates, _ = await evaluations.report(found)
        asked = found.order.candidates
        return _reply(
            call,
            [
                _report(found, place, own, each, items)
                for place, (own, each) in enumerate(zip(asked, candidates, strict=False))
            ],
        )

    async def cancel(call: Call[wire.NamedEval]) -> Reply:
        await evaluations.stop(call.request.id, call.principal.app_id)
        return _reply(call, wire.Cancelled())

    async def results(call: Call[wire.ListEvalResults]) -> Reply:
        asked = call.request
        found, _ = await evaluations.get(asked.id, call.principal.app_id)
        items, _ = await evaluations.results(found)
        versions, units = set(map(str, asked.modelVersionIds)), set(asked.evalUnitId)
        items = [
            each
            for each in items
            if (not versions or each["candidate"] in versions)
            and (not units or _unit_id(found, found.place_of(each)) in units)
            and _in_ranges(each, asked)
        ]
        if asked.orderBy:
            items = _ordered(items, asked.orderBy, descending=asked.order == "desc")
        start = (asked.pageNo - 1) * asked.pageSize
        page = items[start : start + asked.pageSize]
        return _reply(call, wire.EvalResultPage(total=len(items), items=[*map(_row, page)]))

    async def score(call: Call[wire.ScoreEval]) -> Reply:
        asked, app_id = call.request, call.principal.app_id
        await evaluations.score(asked.id, app_id, scores_of(asked.scores))
        found, _ = await evaluations.get(asked.id, app_id)
        _, progress = await evaluations.report(found)
        return _reply(call, progress)

    async def finish(call: Call[wire.FinishEval]) -> Reply:
        asked = call.request
        await evaluations.finish(asked.id, call.principal.app_id, asked.subjectiveImpression)
        return _reply(call, result=True)

    async def delete(call: Call[wire.DeleteEvals]) -> Reply:
        for id in call.request.evalIds:
            await evaluations.delete(id, call.principal.app_id)
        return _reply(call, result=True)

    return [
        Route(wire.CREATE, create),
        Route(wire.DETAIL, detail),
        Route(wire.REPORT, report),
        Route(wire.CANCEL, cancel),
        Route(wire.RESULTS, results),
        Route(wire.SCORE, score),
        Route(wire.FINISH, finish),
        Route(wire.DELETE, delete),
        *_exports(evaluations),
    ]


class Exports:
    """Exports that are being written, one after another, and those that could not be. What is written is a file, and needs no memory."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self._writing: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._numbers: dict[tuple[str, str], str] = {}

    def token_of(self, id: str, app_id: str) -> str:
        """The long id for an integer one, which an application can use for its own while the server runs; others as they are."""
        return self._numbers.get((app_id, id), id)

    def begin(self, token: str, app_id: str, write: Callable[[], None]) -> None:
        """Have one written soon."""
        self._numbers[app_id, str(_number(token))] = token
        while len(self._numbers) > MAX_NUMBERS:
            del self._numbers[next(iter(self._numbers))]
        self._tasks = {
            name: task
            for name, task in self._tasks.items()
            if not task.done() or task.exception() is not None
        }
        self._tasks[token] = asyncio.create_task(self._write(token, write), name=f"export {token}")

    def state_of(self, token: str) -> Literal["Pending", "Uploading", "Fail", ""]:
        """Where one stands; "" if it is written, or was never begun."""
        task = self._tasks.get(token)
        if task is None or (task.done() and task.exception() is None):
            return ""
        if task.done():
            return "Fail"
        return "Uploading" if token in self._writing else "Pending"

    async def _write(self, token: str, write: Callable[[], None]) -> None:
        async with self._one:
            self._writing.add(token)
            try:
                await asyncio.to_thread(write)
            except OSError as error:
                _log.error("an export was not written", export=token, error=str(error))
                raise
            finally:
                self._writing.discard(token)


def _exports(evaluations: Evaluations) -> list[Route]:
    exports = Exports()

    async def export(call: Call[wire.ExportEval]) -> Reply:
        asked = call.request
        if asked.exportType != "local":
            raise Invalid(
                "exportType must be local: fetch the file from its downloadUrl", param="exportType"
            )
        found, _ = await evaluations.get(asked.id, call.principal.app_id)
        items, _ = await evaluations.results(found)
        if asked.exportOpt == "part":
            items = [each for each in items if each["id"] in set(asked.resultIds)]
        token = f"amemt-{secrets.token_hex(16)}-{found.number}"
        path = _place(evaluations, token)
        exports.begin(
            token, call.principal.app_id, lambda: _zip(path, found, items, asked.exportContent)
        )
        return _reply(call, wire.CreatedExport(exportID=_number(token), exportIDStr=token))

    async def export_info(call: Call[wire.NamedExport]) -> Reply:
        token = exports.token_of(str(call.request.exportID), call.principal.app_id)
        path = _place(evaluations, token)
        state = exports.state_of(token)
        if not state and not await asyncio.to_thread(path.exists):
            raise NotFound(f"no export {token[:64]!r}; result/export makes one")
        return _reply(
            call,
            wire.Export(
                id=_number(token),
                exportID=_number(token),
                exportIDStr=token,
                state=state or "Done",
                exportType="local",
                exportPath=path.name,
                downloadUrl="" if state else f"{_base_url(call)}/v2/evalexports/{token}",
            ),
        )

    async def download(call: Call[None]) -> Download:
        path = _place(evaluations, call.params["token"])
        if not await asyncio.to_thread(path.exists):
            raise NotFound("there is no such export")
        return Download(path, "evaluation.zip", "application/zip")

    return [
        Route(wire.EXPORT, export),
        Route(wire.EXPORT_INFO, export_info),
        Route(wire.DOWNLOAD, download),
    ]


def _reply(call: Call[Any], result: Any) -> Reply:
    return Reply(ConsoleReply(call.request_id, result))


def scores_of(given: Sequence[wire.PeoplesScore]) -> list[HumanScore]:
    """What people say, in either dialect."""
    return [
        HumanScore(
            result_id=each.resultId,
            dimension=each.dimension,
            value=each.score,
            scorer=each.scorer,
            comment=each.comment,
        )
        for each in given
    ]


def state_of(evaluation: Evaluation, job: Job | None) -> str:
    """Where it stands, in v1's words."""
    if job is not None and not job.final:
        if job.desired == "cancel":
            return "Stopping"
        if job.state in {"starting", "running"}:
            return "Doing"
    return _STATES[evaluation.state]


def _order(asked: wire.CreateEval) -> Order:
    conf = asked.evalStandardConf
    mode = str(conf.get("evalMode") or "")
    if not mode:
        raise Invalid("evalStandardConf.evalMode is missing", param="evalMode")
    wanted: Any = conf.get("evaluationDimension") or []
    if not isinstance(wanted, list) or not all(
        isinstance(each, dict) for each in cast("list[Any]", wanted)
    ):
        raise Invalid("evaluationDimension must be a list", param="evaluationDimension")
    listed = cast("list[dict[str, Any]]", wanted)
    return Order(
        name=asked.name,
        description=asked.description,
        dataset=str(asked.datasetId),
        candidates=tuple(
            Candidate(
                id=str(each.modelVersionId),
                name=str(each.modelVersionId),
                model=str(each.modelVersionId),
                options=each.engineOptions,
            )
            for each in asked.versionEvalInfo
        ),
        scorers=scorers_of(mode, conf, conf),
        mode=mode,
        dimensions=tuple(listed),
        results=str(conf.get("resultDatasetName") or ""),
        result_dataset=str(conf.get("resultDatasetIdStr") or conf.get("resultDatasetId") or ""),
        shown={
            "conf": conf,
            "compute": asked.computeResourceConf,
            "datasetName": asked.datasetName,
            "sets": [str(each.modelId) for each in asked.versionEvalInfo],
        },
    )


def _detail(evaluation: Evaluation, job: Job | None) -> dict[str, Any]:
    order, state = evaluation.order, state_of(evaluation, job)
    sets: list[str] = order.shown.get("sets") or []
    units = units_of(evaluation, job)
    return {
        "evaluationId": evaluation.number,
        "evaluationIdStr": evaluation.id,
        "name": order.name,
        "description": order.description,
        "state": state,
        "evalUnits": [
            {
                "evalUnitId": _unit_id(evaluation, place),
                "modelVersionId": each.id,
                "modelId": each.set_id or (sets[place] if place < len(sets) else ""),
                "modelName": each.title or each.name,
                "modelVersion": each.version or each.id,
                "modelSource": "Train",
                "state": units[place].state or state,
                "modelVersionDesc": "",
                "message": units[place].message or evaluation.outcome.message,
                "modelTags": [],
            }
            for place, each in enumerate(order.candidates)
        ],
        "datasetId": order.dataset,
        "datasetName": order.shown.get("datasetName", ""),
        "computeResourceConf": order.shown.get("compute", {}),
        "evalStandardConf": {
            **order.shown.get("conf", {}),
            "resultDatasetIdStr": evaluation.outcome.result_dataset,
        },
        "jobId": evaluation.job_id,
    }


def _unit_id(evaluation: Evaluation, place: int) -> str:
    return f"{evaluation.id}-{place}"


def _report(
    evaluation: Evaluation,
    place: int,
    asked: Candidate,
    candidate: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    figures: Mapping[str, Any] = candidate["figures"]
    metric: dict[str, Any] = {
        name: figures[name]["value"] if name in figures else None for name in _RULES
    }
    judged = [
        each["scores"]["judge"]["value"]
        for each in items
        if evaluation.place_of(each) == place and "judge" in each["scores"]
    ]
    values = [value for value in judged if value is not None]
    distribution = {f"{value:g}": values.count(value) for value in sorted(set(values))}
    if len(values) < len(judged):
        distribution["-1"] = len(judged) - len(values)
    people = [(each.name, figures[each.label]) for each in dimensions(evaluation)]
    # The first dimension is what Qianfan's single figures are about.
    first: Mapping[str, Any] = people[0][1] if people else {}
    metric |= {
        "avgJudgeScore": figures["judge"]["value"] if "judge" in figures else None,
        "stdJudgeScore": pstdev(values) if values else None,
        "medianJudgeScore": median(values) if values else None,
        "scoreDistribution": distribution,
        "manualAvgScore": first.get("value"),
        "goodCaseProportion": first.get("good"),
        "subjectiveImpression": evaluation.outcome.impression,
        "manualScoreDistribution": [
            {"dimension": name, "scoreDistribution": each["distribution"]} for name, each in people
        ],
        "intervals": {
            name: {"low": each["low"], "high": each["high"], "ungradeable": each["ungradeable"]}
            for name, each in figures.items()
        },
    }
    return {
        "modelName": asked.title or candidate["name"],
        "modelVersion": asked.version or candidate["id"],
        "modelVersionSource": "Train",
        "evalMode": evaluation.order.mode,
        "evaluationName": evaluation.order.name,
        "id": evaluation.number,
        "modelVersionId": candidate["id"],
        "modelId": asked.set_id,
        "evaluationJobId": evaluation.job_id,
        "userId": evaluation.app_id,
        "projectId": "",
        "evaluationId": evaluation.id,
        "effectMetric": metric,
    }


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    scores = item["scores"]
    judge: Mapping[str, Any] = scores.get("judge") or {}
    return {
        "id": item["id"],
        "modelVersionId": item["candidate"],
        "modelName": item["name"],
        "prompt": item["prompt"],
        "prediction": item["answer"],
        "completion": item["references"],
        "metrics": {name: scores[name]["value"] for name in _RULES if name in scores},
        "judgeScore": judge.get("value"),
        "judgeReason": judge.get("reason", ""),
        "manualScores": {
            name.removeprefix("manual:"): each["value"]
            for name, each in scores.items()
            if name.startswith("manual:")
        },
        "ungradeable": {
            name: each["reason"] for name, each in scores.items() if each["value"] is None
        },
    }


def _in_ranges(item: Mapping[str, Any], asked: wire.ListEvalResults) -> bool:
    ranges = {
        "bleu4": asked.bleu4,
        "rouge_1": asked.rouge_1,
        "rouge_2": asked.rouge_2,
        "rouge_l": asked.rouge_l,
        "judge": asked.judgeScore,
    }
    for name, wanted in ranges.items():
        if wanted is None:
            continue
        score: Mapping[str, Any] = item["scores"].get(name) or {}
        value: float | None = score.get("value")
        if value is None and name == "judge" and score:
            value = _NO_SCORE
        if value is None or not (
            (wanted.start is None or value >= wanted.start)
            and (wanted.end is None or value <= wanted.end)
        ):
            return False
    return True


def _ordered(items: list[dict[str, Any]], name: str, *, descending: bool) -> list[dict[str, Any]]:
    """Those without a score last, either way."""
    label = "judge" if name == "judgeScore" else name

    def value(item: dict[str, Any]) -> float | None:
        score: dict[str, Any] = item["scores"].get(label) or {}
        return score.get("value")

    graded = [each for each in items if value(each) is not None]
    graded.sort(key=lambda each: value(each) or 0.0, reverse=descending)
    return [*graded, *(each for each in items if value(each) is None)]


def _zip(
    path: Path,
    evaluation: Evaluation,
    items: Sequence[Mapping[str, Any]],
    content: Sequence[str],
) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".coming")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        lines = [msgspec.json.encode([_exported(evaluation, each, content)]) for each in items]
        archive.writestr("data.jsonl", b"\n".join(lines) + b"\n")
    part.replace(path)


def _exported(
    evaluation: Evaluation, item: Mapping[str, Any], content: Sequence[str]
) -> dict[str, Any]:
    """A line as Qianfan exports it, with Chinese keys and what was asked for, all by default; what has no grade has no figure."""
    scores = item["scores"]
    asked = evaluation.order.candidates[evaluation.place_of(item)]
    shown: dict[str, Any] = {
        "模型名称": asked.title or item["name"],
        "模型版本": asked.version or item["candidate"],
    }
    wanted = content or _CONTENT
    if "prompt" in wanted:
        shown["Prompt问题"] = item["prompt"]
    if "prediction" in wanted:
        shown["模型结果"] = item["answer"]
    if "completion" in wanted:
        shown["预期回答"] = " / ".join(item["references"])
    if "metrics" not in wanted:
        return shown
    for title, name in _SHOWN_RULES.items():
        if name in scores:
            shown[title] = scores[name]["value"]
    if "judge" in scores:
        shown["裁判员模型打分"] = scores["judge"]["value"]
        shown["裁判员模型打分理由"] = scores["judge"]["reason"]
    return shown


def _place(evaluations: Evaluations, token: str) -> Path:
    """Where an export lies. A token is ours or no path at all."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise NotFound(f"no export {token[:64]!r}; name it by its exportIDStr")
    return evaluations.exports / f"{match[1]}.zip"


def _number(token: str) -> int:
    match = _TOKEN.fullmatch(token)
    return int(match[1][:8], 16) if match else 0


def _base_url(call: Call[Any]) -> str:
    scope = call.scope
    host = next((value for name, value in scope["headers"] if name == b"host"), b"127.0.0.1")
    return f"{scope.get('scheme', 'http')}://{host.decode('latin-1')}"
