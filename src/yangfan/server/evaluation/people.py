"""What people say about answers: which scores are allowed, what they come to, and how far they are.

A score is one person's, for one answer and one dimension; the same person's next one takes its place. What several say about an answer
is averaged, and the figure over all answers has an interval like every other. An answer that nobody has scored is ungradeable, never 0.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid
from yangfan.scorers import base, figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yangfan.server.evaluation.types import Evaluation, HumanScore

DEFAULT_DIMENSION = "满意度"
"""What people score where an evaluation names nothing: Qianfan's own word, satisfaction."""

MIN_SCORE, MAX_SCORE = 0.0, 5.0
GOOD = 0.8
"""An answer is good from this share of the way from the least to the most on: 4 of 5. Our own line; the wire says nothing."""

_UNSCORED = base.ungradeable("nobody has scored it")


@dataclass(frozen=True, slots=True)
class Dimension:
    """What is scored, and between which numbers."""

    name: str
    low: float
    high: float

    @property
    def label(self) -> str:
        """Name of its figure."""
        return f"manual:{self.name}"


def dimensions(evaluation: Evaluation) -> list[Dimension]:
    """What people score; nothing in an evaluation that does without them."""
    if "manual" not in evaluation.order.mode:
        return []
    listed = evaluation.order.dimensions or ({"dimension": DEFAULT_DIMENSION},)
    return [_dimension(each) for each in listed]


def check_dimensions(listed: Iterable[Mapping[str, Any]]) -> None:
    """Refuse what cannot be scored.

    Raises:
        Invalid: One has no name, or no room between its least and its most.
    """
    seen: set[str] = set()
    for each in listed:
        try:
            found = _dimension(each)
        except (TypeError, ValueError):
            raise Invalid(
                "minScore and maxScore of a dimension must be numbers", param="dimensions"
            ) from None
        if not 1 <= len(found.name) <= 64 or found.name in seen or found.low >= found.high:
            raise Invalid(
                "each dimension needs a name of its own, of 1 to 64 characters, and a minScore below its maxScore",
                param="dimensions",
            )
        seen.add(found.name)


def check(evaluation: Evaluation, scores: Sequence[HumanScore], results: set[str]) -> None:
    """Refuse scores that belong to nothing.

    Raises:
        Invalid: There is no such answer or dimension, or the number is out of range.
    """
    known = {each.name: each for each in dimensions(evaluation)}
    for score in scores:
        if score.result_id not in results:
            raise Invalid(
                f"evaluation {evaluation.id} has no answer {score.result_id[:64]!r}; its results list their ids",
                param="resultId",
            )
        dimension = known.get(score.dimension)
        if dimension is None:
            raise Invalid(
                f"dimension must be one of {', '.join(known)}, got {score.dimension[:64]!r}",
                param="dimension",
            )
        if not dimension.low <= score.value <= dimension.high:
            raise Invalid(
                f"score of {dimension.name} must be from {dimension.low:g} to {dimension.high:g}, got {score.value:g}",
                param="score",
            )


def scored(
    evaluation: Evaluation, results: Sequence[dict[str, Any]], scores: Sequence[HumanScore]
) -> list[dict[str, Any]]:
    """Answers with what people say beside the other scores."""
    wanted = dimensions(evaluation)
    if not wanted:
        return [*results]
    given = _by_place(scores)
    found: list[dict[str, Any]] = []
    for result in results:
        own: dict[str, Any] = {}
        for dimension in wanted:
            here = given.get((result["id"], dimension.name), [])
            value = fmean(each.value for each in here) if here else None
            comments = "; ".join(each.comment for each in here if each.comment)
            own[dimension.label] = {
                "value": value,
                "reason": comments if here else _UNSCORED.reason,
            }
        found.append({**result, "scores": {**result["scores"], **own}})
    return found


def figures_of(
    evaluation: Evaluation, place: int, results: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The figures of the candidate in that place, out of answers that `scored` has been over."""
    found: dict[str, dict[str, Any]] = {}
    for dimension in dimensions(evaluation):
        values = [
            each["scores"][dimension.label]["value"]
            for each in results
            if evaluation.place_of(each) == place
        ]
        known = [value for value in values if value is not None]
        figure = figures.figure(
            None, [_UNSCORED if value is None else base.Score(value) for value in values]
        )
        line = dimension.low + GOOD * (dimension.high - dimension.low)
        found[dimension.label] = {
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "graded": figure.graded,
            "ungradeable": dict(figure.ungradeable),
            "distribution": {f"{value:g}": known.count(value) for value in sorted(set(known))},
            "good": sum(value >= line for value in known) / len(known) if known else None,
        }
    return found


def progress(evaluation: Evaluation, results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How far people are: wait, doing or done, and how many answers have all their scores; None where nobody is asked."""
    wanted = dimensions(evaluation)
    if not wanted:
        return None
    whole = partly = 0
    for each in results:
        values = [each["scores"][dimension.label]["value"] for dimension in wanted]
        whole += all(value is not None for value in values)
        partly += any(value is not None for value in values)
    done = evaluation.state in {"done", "partly"} or (bool(results) and whole == len(results))
    state = "done" if done else "doing" if partly else "wait"
    return {"state": state, "scored": whole, "total": len(results)}


def _dimension(given: Mapping[str, Any]) -> Dimension:
    low, high = given.get("minScore"), given.get("maxScore")
    return Dimension(
        str(given.get("dimension") or "").strip(),
        MIN_SCORE if low is None else float(low),
        MAX_SCORE if high is None else float(high),
    )


def _by_place(scores: Sequence[HumanScore]) -> Mapping[tuple[str, str], list[HumanScore]]:
    found: dict[tuple[str, str], list[HumanScore]] = defaultdict(list)
    for score in scores:
        found[score.result_id, score.dimension].append(score)
    return found
