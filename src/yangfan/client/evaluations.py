"""The nouns of `client.evaluations`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.protocol.v2 import evaluation as wire
    from yangfan.protocol.v2.evaluation import EvalState

FINAL = frozenset({"Successed", "Failed", "Stopped", "RunningWithManualBegin"})


@dataclass(frozen=True, slots=True)
class EvaluationUnit:
    """How far a model of an evaluation is.

    Attributes:
        id: What the caller called it.
        state: Pending, Doing, Done, Failed or Stopped.
        message: What it waits for, or why it has no answers.
    """

    id: str
    name: str
    state: Literal["Pending", "Doing", "Done", "Failed", "Stopped"]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation.

    Attributes:
        id: ``ame-…``.
        state: As Qianfan spells it: Queued, Running, RunningWithMetricsCalculating, RunningWithManualBegin, Successed, Stopping, Failed, Stopped.
        message: Why it failed.
        job_id: What works on it.
        result_dataset: The dataset version that was made of the answers; "" for none.
        models: How far each model is.
    """

    id: str
    name: str
    state: EvalState
    created: str
    message: str
    job_id: str
    result_dataset: str = ""
    models: tuple[EvaluationUnit, ...] = ()

    @property
    def final(self) -> bool:
        """Whether the platform has done its part."""
        return self.state in FINAL


@dataclass(frozen=True, slots=True)
class EvaluationFigure:
    """What a scorer says over all samples.

    Attributes:
        value: Over those that are graded; None if none is.
        low: Lower end of the interval that holds the true value 95 times of a hundred; `high` the upper one.
        graded: How many samples have a grade.
        ungradeable: How many have none, by reason.
    """

    value: float | None
    low: float | None
    high: float | None
    graded: int
    ungradeable: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """One model's part of a report.

    Attributes:
        prompt: The prompt template that it was asked with, ``NAME@VERSION``; "" for none.
    """

    id: str
    name: str
    answered: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    figures: Mapping[str, EvaluationFigure]
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The figures of an evaluation.

    Attributes:
        strengths: Bradley-Terry strengths where models were compared, as logarithms with mean 0.
        manual: How far people are where they are asked: wait, doing or done; "" where nobody is asked.
        scored: Answers that have all their scores from people, of `to_score`.
        impression: What people say of it all.
    """

    id: str
    state: EvalState
    samples: int
    models: tuple[EvaluatedModel, ...]
    strengths: Mapping[str, float] = field(default_factory=dict[str, float])
    pairs: tuple[Mapping[str, Any], ...] = ()
    manual: Literal["", "wait", "doing", "done"] = ""
    scored: int = 0
    to_score: int = 0
    impression: str = ""


@dataclass(frozen=True, slots=True)
class HumanScore:
    """What a person says about an answer.

    Attributes:
        answer: Its id, as `results` has it.
        score: How good it is, in the range of the dimension.
        dimension: What is scored.
        scorer: Who says so, where there are several; the same one's next score takes its place.
        comment: Why.
    """

    answer: str
    score: float
    dimension: str = "满意度"
    scorer: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer with its scores; one that has no value has a reason.

    Attributes:
        name: Of the model in the evaluation, which tells two prompts of one model apart.
    """

    id: str
    model: str
    row_id: str
    prompt: str
    references: tuple[str, ...]
    answer: str
    error: str
    scores: Mapping[str, float | None]
    reasons: Mapping[str, str]
    name: str = ""


def evaluation_of(item: wire.EvalTask) -> Evaluation:
    """What the wire says."""
    message = item.message if isinstance(item.message, str) else ""
    dataset = item.resultDatasetId if isinstance(item.resultDatasetId, str) else ""
    return Evaluation(
        item.taskId,
        item.taskName,
        item.state,
        item.createTime,
        message,
        item.jobId,
        dataset,
        tuple(
            EvaluationUnit(each.modelId, each.name, each.state, each.message)
            for each in item.evalUnits
        ),
    )


def report_of(item: wire.EvalReport) -> EvaluationReport:
    """What the wire says."""
    comparison, manual = item.comparison or {}, item.manual
    return EvaluationReport(
        item.taskId,
        item.state,
        item.samples,
        tuple(map(_model, item.candidates)),
        comparison.get("strengths", {}),
        tuple(comparison.get("pairs", [])),
        "" if manual is None else manual.state,
        0 if manual is None else manual.scored,
        0 if manual is None else manual.total,
        item.subjectiveImpression,
    )


def answer_of(item: Mapping[str, Any]) -> ScoredAnswer:
    """What the wire says."""
    scores: Mapping[str, Any] = item["scores"]
    return ScoredAnswer(
        item["id"],
        item["candidate"],
        item["row_id"],
        item["prompt"],
        tuple(item["references"]),
        item["answer"],
        item["error"],
        {name: each.get("value") for name, each in scores.items()},
        {name: each["reason"] for name, each in scores.items() if each.get("reason")},
        item.get("name", ""),
    )


def paired(
    one: Sequence[ScoredAnswer], other: Sequence[ScoredAnswer]
) -> list[tuple[ScoredAnswer, ScoredAnswer]]:
    """Answers of two evaluations to the same samples: by sample and question, and by place among a sample's models."""
    waiting: dict[tuple[str, str], list[ScoredAnswer]] = {}
    for answer in other:
        waiting.setdefault((answer.row_id, answer.prompt), []).append(answer)
    found: list[tuple[ScoredAnswer, ScoredAnswer]] = []
    for answer in one:
        there = waiting.get((answer.row_id, answer.prompt))
        if there:
            found.append((answer, there.pop(0)))
    return found


def _model(candidate: Mapping[str, Any]) -> EvaluatedModel:
    return EvaluatedModel(
        candidate["id"],
        candidate["name"],
        candidate["answered"],
        candidate["failed"],
        candidate["prompt_tokens"],
        candidate["completion_tokens"],
        {
            name: EvaluationFigure(
                each.get("value"),
                each.get("low"),
                each.get("high"),
                each["graded"],
                each["ungradeable"],
            )
            for name, each in candidate["figures"].items()
        },
        candidate.get("prompt", ""),
    )
