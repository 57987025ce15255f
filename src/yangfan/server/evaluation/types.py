"""The nouns of evaluations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["queued", "running", "manual", "done", "partly", "failed", "stopped"]
"""``queued → running → manual | done | partly | failed | stopped``; manual: people may score."""

FINAL: tuple[State, ...] = ("manual", "done", "partly", "failed", "stopped")


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model, or answers that are in the dataset already.

    Attributes:
        id: What the caller called it: id of a model version, or a name.
        name: For people.
        model: Name by which it is called; "" for answers that are there.
        template: Prompt with `{input}`; "" for the sample as it is.
        prompt: The prompt template that `template` is the text of, ``NAME@VERSION``; as it comes, any reference to one, or "".
        variables: Values of that template's variables but `input`.
        title: Name of the model in the registry; "" if it is not there. `version` and `set_id` go with it.
        options: What an engine of its own is told, where it has one for the time of the evaluation.
        dataset: Version with answers that are there, one in each row's `completion`; "" where a model is asked.
    """

    id: str
    name: str
    model: str = ""
    template: str = ""
    parameters: dict[str, Any] = {}
    prompt: str = ""
    variables: dict[str, str] = {}
    title: str = ""
    version: str = ""
    set_id: str = ""
    options: dict[str, Any] = {}
    dataset: str = ""


class Chosen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A scorer, its arguments, and the name of its figures."""

    name: str
    label: str
    parameters: dict[str, Any] = {}


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for.

    Attributes:
        dataset: Id of a dataset version, or of a file.
        mode: Of rule, model and manual, joined by commas.
        dimensions: What people score.
        results: Name of the dataset that is made of the answers, "" for one after the evaluation; None for none.
        result_dataset: An open dataset version that they go into instead.
        shown: The call as it came, to be shown again.
        borrowed: Model versions that no service serves, by the names under which they are asked: `version`, `title`, `options`.
    """

    name: str
    description: str = ""
    dataset: str
    candidates: tuple[Candidate, ...]
    scorers: tuple[Chosen, ...] = ()
    pairwise: dict[str, Any] | None = None
    mode: str = ""
    dimensions: tuple[dict[str, Any], ...] = ()
    results: str | None = None
    result_dataset: str = ""
    shown: dict[str, Any] = {}
    borrowed: dict[str, dict[str, Any]] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came out: what the work returns, or why it failed.

    Attributes:
        manifest: Rows of the dataset of results, until they are in one.
        result_dataset: Id of the version that has them.
        impression: What people say of it all, in words.
    """

    samples: int = 0
    candidates: list[dict[str, Any]] = []
    comparison: dict[str, Any] | None = None
    message: str = ""
    manifest: dict[str, Any] | None = None
    result_dataset: str = ""
    impression: str = ""


class Unit(msgspec.Struct, frozen=True):
    """How far a candidate is: Pending, Doing, Done or Failed; where the evaluation ended before, nothing is said."""

    state: Literal["Pending", "Doing", "Done", "Failed", ""] = ""
    message: str = ""


class HumanScore(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says about an answer.

    Attributes:
        result_id: Of the answer.
        dimension: What is scored.
        value: How good it is, to a thousandth.
        scorer: Who says so; "" where there is only one.
        comment: Why.
    """

    result_id: str
    dimension: str
    value: float
    scorer: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimisationOrder:
    """What is asked of an optimisation of a prompt.

    Attributes:
        content: The prompt.
        operations: opType to payload (specification D.13).
        model: Who rewrites; "" for the default.
        task_model: Who answers; "" for the same.
        dataset: Id of a dataset version, or of a file; "" for none.
        budget: Answers that may be asked for; 0 for as many as the rounds need.
        seed: Of every draw.
    """

    content: str
    operations: dict[str, int]
    model: str = ""
    task_model: str = ""
    dataset: str = ""
    scorer: str = "f1"
    budget: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """An evaluation.

    Attributes:
        number: Its integer id.
        id: ``ame-…``.
        app_id: Application of the key that made it; nobody else sees it.
        job_id: What works on it.
        created_ms: When it was made, ms since the epoch.
    """

    number: int
    id: str
    app_id: str
    job_id: str
    state: State
    created_ms: int
    order: Order
    outcome: Outcome = field(default_factory=Outcome)

    def place_of(self, result: Mapping[str, Any]) -> int:
        """Which of its candidates gave an answer: several may be one model with several prompts, so no id of theirs tells."""
        return int(result["id"].removeprefix("r-")) // max(self.outcome.samples, 1)
