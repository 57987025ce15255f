"""v1: /wenxinworkshop/prompt/{singleOptimize,evaluate}/… (specification D.13). An optimisation is its job, and nothing beside."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid, NotFound, RefusedError, UnknownExtension
from yangfan.protocol.v1 import prompt_work as wire
from yangfan.protocol.v1.envelope import Envelope
from yangfan.scorers import base
from yangfan.server.evaluation.logic import DEFAULT_JUDGE
from yangfan.server.http import Call, Reply, Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from yangfan.server.files import Files
    from yangfan.server.jobs import Job, Jobs

    Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]

KIND = "optimise_prompt"
MEASURED = ("exact", "accuracy", "f1", "bleu_4", "rouge", "json_validity", "regex")
SEMANTIC, REGEX, EXACT = 1, 2, 3
_STATUS = {"succeeded": 2, "failed": 3, "cancelled": 3}


def routes(jobs: Jobs, files: Files, named: Callable[[str], str], embed: Embed) -> list[Route]:
    """What this file answers.

    Args:
        jobs: Who rewrites.
        files: Where samples come from.
        named: From a name or a version's id to the name by which it is called. Raises ModelNotFound.
        embed: One vector for each text. Raises RefusedError.
    """

    async def create(call: Call[wire.CreateOptimisation]) -> Reply:
        asked, app_id = call.request, call.principal.app_id
        model = named(asked.serviceName or DEFAULT_JUDGE)
        if asked.scorer not in MEASURED:
            raise Invalid(
                f"scorer must be one of {', '.join(MEASURED)}, got {asked.scorer[:64]!r}",
                param="scorer",
            )
        samples = ""
        if asked.datasetId:
            file = await files.get(asked.datasetId, app_id)
            samples = str(files.content(file.sha256))
        job = await jobs.submit(
            KIND,
            {
                "content": asked.content,
                "operations": {str(each.opType): each.payload for each in asked.operations},
                "model": model,
                "task_model": named(asked.taskModel) if asked.taskModel else "",
                "samples": samples,
                "scorer": asked.scorer,
            },
            account=app_id,
        )
        return _reply(call, wire.OptimisationId(f"task-{job.id.removeprefix('jb-')}"))

    async def show(call: Call[wire.OptimisationId]) -> Reply:
        id = call.request.id
        try:
            job = await jobs.get(f"jb-{id.removeprefix('task-')}")
        except NotFound:
            job = None
        if job is None or job.kind != KIND or job.account != call.principal.app_id:
            raise NotFound(f"no optimisation {id[:64]!r}; singleOptimize/create makes one")
        return _reply(call, _shown(id, job))

    async def predict(call: Call[wire.Predict]) -> Reply:
        asked = call.request
        if asked.type == SEMANTIC:
            rows = [await _meanings(embed, each) for each in asked.data]
        else:
            scorer = base.create("regex" if asked.type == REGEX else "exact", {})
            rows = await asyncio.to_thread(
                lambda: [
                    [
                        scorer.score(base.Sample(text, (each.scene,))).value
                        for text in each.response_list
                    ]
                    for each in asked.data
                ]
            )
        return _reply(call, wire.Scores(logID=call.request_id, scores=rows))

    async def summarise(call: Call[wire.Summarise]) -> Reply:
        found = [
            wire.Summary(response=_summary(each), id=f"{call.request_id}-{number}")
            for number, each in enumerate(call.request.data)
        ]
        return _reply(call, wire.Summaries(found))

    return [
        Route(wire.OPTIMISE, create),
        Route(wire.OPTIMISATION, show),
        Route(wire.PREDICT, predict),
        Route(wire.SUMMARY, summarise),
    ]


def _reply(call: Call[Any], result: Any) -> Reply:
    return Reply(Envelope(call.request_id, result))


def _shown(id: str, job: Job) -> wire.Optimisation:
    spec, result = job.spec, job.result or {}
    return wire.Optimisation(
        id=id,
        content=spec["content"],
        optimizeContent=result.get("content", ""),
        qingfanResult=result.get("content", ""),
        operations=[
            msgspec.convert({"opType": int(op), "payload": payload}, wire.Operation)
            for op, payload in spec["operations"].items()
        ],
        processStatus=_STATUS.get(job.state, 1),  # pyright: ignore[reportArgumentType] - 1, 2 or 3
        appId=job.account,
        serviceName=spec["model"],
        creator=job.account,
        createTime=_time(job.created_ms),
        modifyTime=_time(job.finished_ms or job.created_ms),
        measured=bool(result.get("measured")),
        search=result.get("search", []),
        message=job.error.message if job.error is not None and not job.result else "",
        jobId=job.id,
    )


async def _meanings(embed: Embed, graded: wire.Graded) -> list[float | None]:
    """How close each answer is to the expected one; by its words where no model for embeddings is served."""
    try:
        vectors = await embed(
            [graded.scene or " ", *(text or " " for text in graded.response_list)]
        )
    except (RefusedError, UnknownExtension):
        scorer = base.create("f1", {})
        return [
            scorer.score(base.Sample(text, (graded.scene,))).value for text in graded.response_list
        ]
    models = _Known(dict(zip([graded.scene, *graded.response_list], vectors, strict=True)))
    scorer = base.create("embedding_similarity", {}, models)
    return [scorer.score(base.Sample(text, (graded.scene,))).value for text in graded.response_list]


class _Known:
    """Vectors that are there already, as scorers ask for them."""

    def __init__(self, vectors: dict[str, Sequence[float]]) -> None:
        self._vectors = vectors

    def chat(
        self, model: str, messages: Any, *, schema: Any = None, temperature: Any = None
    ) -> str:
        """Never asked."""
        raise AssertionError(model, messages, schema, temperature)

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One for each text."""
        del model
        return [self._vectors[text] for text in texts]


def _summary(prompt: wire.SummedPrompt) -> str:
    """Figures in a sentence of either language: what was right, and how much of the rest was there."""
    scenes = prompt.scenes or prompt.scene
    exact, overlap = base.create("exact", {}), base.create("f1", {})
    samples = [
        base.Sample(each.response, (each.expected_target,))
        for each in scenes
        if each.expected_target
    ]
    if not samples:
        return f"{len(scenes)} 个场景，均无预期回答，无法评判 / {len(scenes)} scenes without an expected answer"
    right = sum(exact.score(sample).value or 0.0 for sample in samples)
    mean = sum(overlap.score(sample).value or 0.0 for sample in samples) / len(samples)
    return (
        f"{len(samples)} 个场景中 {right:g} 个与预期完全一致，词重叠 F1 平均 {mean:.2f} /"
        f" {right:g} of {len(samples)} exactly as expected, mean overlap of words (F1) {mean:.2f}"
    )


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
