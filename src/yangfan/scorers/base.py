"""What a scorer is: a module that is found by its file's name, and the function over a sample that it makes.

A module offers

* ``SUMMARY``: what it measures, in one line of each language, ``{"en": …, "zh": …}``;
* ``Parameters``: its arguments, a subclass of :class:`Parameters`;
* ``create(parameters, models) -> Scorer``.

Third parties add one with a file of the same shape and an entry point in the group ``yangfan.scorers``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from yangfan import extensions
from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGE = "yangfan.scorers"
MOST_REASON_CHARACTERS = 256
"""What a judge may say for its reason: the longest text that a schema of /v2/chat/completions may ask for."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of a scorer, none by default."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, and what it is held against.

    Attributes:
        answer: What the model said.
        references: What would have been right, any of them; none where nobody knows.
        prompt: What the model was asked.
    """

    answer: str
    references: tuple[str, ...] = ()
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """How good an answer is, or why nobody can say. Never NaN, and never 0 for want of a grade.

    Attributes:
        value: In the scorer's range; None where the answer cannot be graded.
        reason: Why it cannot be graded; or the judge's reason for the value.
        counts: What the scorer adds up over all samples, for metrics that are no mean.
    """

    value: float | None
    reason: str = ""
    counts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Hold what the class promises."""
        if self.value is None:
            assert self.reason, "what cannot be graded says why"
        else:
            assert math.isfinite(self.value), f"a score is a number, got {self.value}"

    @property
    def graded(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


def ungradeable(reason: str) -> Score:
    """No grade, and why."""
    return Score(None, reason)


NO_REFERENCE = ungradeable("the sample has no expected answer to compare with")


class Scorer(Protocol):
    """A metric."""

    def score(self, sample: Sample) -> Score:
        """Grade one answer. Whatever is wrong with it or with a judge makes it ungradeable; nothing is raised for it."""
        ...


class OverAll(Scorer, Protocol):
    """A metric whose value over many samples is no mean of theirs."""

    def over_all(self, counts: Sequence[float]) -> float:
        """The value from the sum of every sample's `Score.counts`."""
        ...


class Models(Protocol):
    """How scorers ask the platform's own services."""

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float | None = None,
    ) -> str:
        """The answer's text, fitting the JSON Schema if one is given.

        Raises:
            YangfanError: There is no answer.
        """
        ...

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text.

        Raises:
            YangfanError: There are none.
        """
        ...


def names() -> list[str]:
    """Names of all scorers."""
    return extensions.names(PACKAGE)


def summaries() -> dict[str, Mapping[str, str]]:
    """What each of them measures, in English and Chinese."""
    return {name: extensions.load(PACKAGE, name).SUMMARY for name in names()}


def create(name: str, parameters: Mapping[str, Any], models: Models | None = None) -> Scorer:
    """The scorer of that name.

    Args:
        name: Name of a file of this package.
        parameters: Its arguments.
        models: How it asks models, for those that do.

    Raises:
        UnknownExtension: There is none of that name; the message lists those there are.
        Invalid: An argument is wrong or missing.
    """
    module = extensions.load(PACKAGE, name)
    try:
        given = msgspec.convert(dict(parameters), module.Parameters)
    except msgspec.ValidationError as error:
        raise Invalid(f"scorer {name}: {error}", param=name) from None
    return module.create(given, models)


def best(scores: Sequence[Score]) -> Score:
    """The one against the reference that suits the answer best; ungradeable without any."""
    graded = [score for score in scores if score.value is not None]
    if not graded:
        return scores[0] if scores else NO_REFERENCE
    return max(graded, key=lambda score: score.value or 0.0)
