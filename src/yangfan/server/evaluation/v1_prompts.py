"""v1: /wenxinworkshop/prompt/{singleOptimize,evaluate}/… (specification D.13)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import RefusedError, UnknownExtension
from yangfan.protocol.v1 import prompt_work as wire
from yangfan.protocol.v1.envelope import Envelope
from yangfan.scorers import base
from yangfan.server.evaluation.types import OptimisationOrder
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.times import console_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from yangfan.server.evaluation.optimising import Optimisations
    from yangfan.server.jobs import Job

    Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]

SEMANTIC, REGEX, EXACT = 1, 2, 3
_STATUS = {"succeeded": 2, "failed": 3, "cancelled": 3}


def routes(optimisations: Optimisations, embed: Embed) -> list[Route]:
    """What this file answers.

    Args:
        optimisations: All of them.
        embed: One vector for each text. Raises RefusedError.
    """

    async def create(call: Call[wire.CreateOptimisation]) -> Reply:
        id = await optimisations.create(call.principal.app_id, order_of(call.request))
        return _reply(call, wire.OptimisationId(id))

    async def show(call: Call[wire.OptimisationId]) -> Reply:
        id = call.request.id
        return _reply(call, shown(id, await optimisations.get(id, call.principal.app_id)))

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


def order_of(asked: wire.CreateOptimisation) -> OptimisationOrder:
    """What is asked for, in either dialect."""
    return OptimisationOrder(
        content=asked.content,
        operations={str(each.opType): each.payload for each in asked.operations},
        model=asked.serviceName or "",
        task_model=asked.taskModel,
        dataset=asked.datasetId,
        scorer=asked.scorer,
        budget=asked.budget,
        seed=asked.seed,
    )


def shown(id: str, job: Job) -> wire.Optimisation:
    """An optimisation as both dialects show it."""
    spec, result = job.spec, job.result or {}
    # Why it failed; before that, what it waits for.
    message = "" if job.final else job.progress.note
    if job.error is not None and not job.result:
        message = job.error.message
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
        createTime=console_time(job.created_ms),
        modifyTime=console_time(job.finished_ms or job.created_ms),
        measured=bool(result.get("measured")),
        answers=result.get("answers", 0),
        search=result.get("search", []),
        message=message,
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
