"""`client.evaluations`: evaluating models on datasets (v2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan import errors
from yangfan.client.evaluations import (
    Evaluation,
    EvaluationReport,
    HumanScore,
    ScoredAnswer,
    answer_of,
    evaluation_of,
    report_of,
)
from yangfan.protocol.v2 import evaluation as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client._async.session import AsyncSession
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint


class AsyncEvaluations:
    """Evaluations of the caller's application. Every call is signed: it needs access_key and secret_access_key."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session

    async def create(  # noqa: PLR0913 - what an evaluation is made of, one argument each
        self,
        name: str,
        *,
        dataset: str = "",
        models: Sequence[str | Mapping[str, Any]] = (),
        answers: Sequence[str | Mapping[str, Any]] = (),
        scorers: Sequence[str | Mapping[str, Any]] = (),
        pairwise: Mapping[str, Any] | None = None,
        dimensions: Sequence[str | Mapping[str, Any]] = (),
        result_dataset: str = "",
        description: str = "",
    ) -> str:
        """Have models evaluated; the evaluation's id.

        Args:
            name: What it is called.
            dataset: A dataset version (``ds-…``, ``NAME:VERSION``), or a file of `client.files` with lines `{prompt, response}`.
            models: Names or ids of model versions; or mappings with `modelId`, `promptTemplate` (with ``{input}``, or the name of a prompt template such
                as ``NAME@production`` with its other `variables`), `temperature`, `seed`, …. A version that no service serves runs on an engine of
                its own while it is asked; `engineOptions` are what that is told, as for a service (`force` runs one whose parity gate failed).
            answers: Instead of both: dataset versions with answers that are there, such as the results of another evaluation, each in the `completion`
                of a row with its prompt and expected response; names, or mappings with `inferDatasetId` and `name`.
            scorers: Names of scorers, or mappings with `name`, `label` and `parameters`.
            pairwise: Arguments of a judge that compares each two models' answers, such as ``{"model": "…"}``.
            dimensions: What people are to score: names, or mappings with `dimension`, `minScore` (0) and `maxScore` (5). The evaluation then waits
                for them in the state RunningWithManualBegin.
            result_dataset: Name of a dataset that is made of the answers; none by default.
            description: For people.

        Raises:
            Invalid: Something is not right.
            NotFound: There is no such dataset or model.
            Conflict: The dataset is not published, or a version cannot run here.
        """
        config: JSON = {"scorers": [_chosen(each) for each in scorers]}
        if pairwise is not None:
            config["pairwise"] = dict(pairwise)
        if dimensions:
            wanted = [
                {"dimension": each} if isinstance(each, str) else dict(each) for each in dimensions
            ]
            config |= {"evalMode": "manual", "manualEvalConfig": {"dimensions": wanted}}
        if result_dataset:
            config["resultDatasetName"] = result_dataset
        listed = [{"modelId": each} if isinstance(each, str) else dict(each) for each in models]
        objects: JSON = {"evalModelConfig": {"versionId": dataset, "evalModelConfigList": listed}}
        if answers:
            given = [
                {"inferDatasetId": each} if isinstance(each, str) else dict(each)
                for each in answers
            ]
            objects = {"evalInferDatasetConfig": {"evalInferDatasetConfigList": given}}
        body: JSON = {
            "taskName": name,
            "description": description,
            "evalObjectType": "inferDataset" if answers else "model",
            "evalObjectConfig": objects,
            "evalConfig": config,
        }
        return (await self._ask(wire.CREATE, body)).result

    async def list(self, *, limit: int = 100) -> tuple[Evaluation, ...]:
        """Evaluations, the newest first, at most so many."""
        found: list[Evaluation] = []
        body: JSON = {"maxKeys": min(100, limit), "pageReverse": True}
        while len(found) < limit:
            page = (await self._ask(wire.LIST, body)).result
            found += map(evaluation_of, page.evalList)
            if not isinstance(page.pageInfo.nextMarker, str):
                break
            body["marker"] = page.pageInfo.nextMarker
        return tuple(found[:limit])

    async def get(self, id: str) -> Evaluation:
        """An evaluation as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return evaluation_of((await self._ask(wire.SHOW, {"taskId": id})).result)

    async def report(self, id: str) -> EvaluationReport:
        """Its figures.

        Raises:
            NotFound: There is none of that id.
        """
        return report_of((await self._ask(wire.REPORT, {"taskId": id})).result)

    async def results(self, id: str) -> tuple[ScoredAnswer, ...]:
        """Every answer with its scores.

        Raises:
            NotFound: There is none of that id.
        """
        found: list[ScoredAnswer] = []
        while True:
            page = (await self._ask(wire.RESULTS, {"taskId": id, "offset": len(found)})).result
            found += map(answer_of, page.items)
            if not page.items or len(found) >= page.total:
                return tuple(found)

    async def score(self, id: str, scores: Sequence[HumanScore]) -> str:
        """Enter what people say about answers; how far they are: doing or done.

        Raises:
            NotFound: There is none of that id.
            Conflict: It does not wait for people.
            Invalid: A score belongs to no answer or dimension, or is out of range.
        """
        rows = [
            {
                "resultId": each.answer,
                "dimension": each.dimension,
                "score": each.score,
                "scorer": each.scorer,
                "comment": each.comment,
            }
            for each in scores
        ]
        return (await self._ask(wire.SCORE, {"taskId": id, "scores": rows})).result.state

    async def finish(self, id: str, *, impression: str = "") -> None:
        """Say that people are through; what they have not scored stays without a grade.

        Args:
            id: Which one.
            impression: What they say of it all, in words.

        Raises:
            NotFound: There is none of that id.
            Conflict: It does not wait for people.
        """
        await self._ask(wire.FINISH, {"taskId": id, "subjectiveImpression": impression})

    async def stop(self, id: str) -> None:
        """End it.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended.
        """
        await self._ask(wire.STOP, {"taskId": id})

    async def delete(self, id: str) -> None:
        """Forget one that has ended, and its answers.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended.
        """
        await self._ask(wire.DELETE, {"taskId": id})

    async def wait(
        self, id: str, *, poll_seconds: float = 1.0, timeout_seconds: float | None = None
    ) -> Evaluation:
        """Wait until it has ended, or people may score.

        Raises:
            NotFound: There is none of that id.
            DeadlineExceeded: It has not ended in time.
        """
        waited = 0.0
        while not (found := await self.get(id)).final:
            if timeout_seconds is not None and waited >= timeout_seconds:
                raise errors.DeadlineExceeded(f"evaluation {id} has not ended after {waited:g} s")
            await self._session.transport.sleep(poll_seconds)
            waited += poll_seconds
        return found

    async def _ask(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.management_call(endpoint, body)
        return await self._session.fetch(call, endpoint.reply)


def _chosen(scorer: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(scorer, str):
        name, _, variant = scorer.partition(":")
        label = scorer.replace(":", "_")
        return {
            "name": name,
            "label": label,
            "parameters": {"variant": variant} if variant else {},
        }
    return dict(scorer)
