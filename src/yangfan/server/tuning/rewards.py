"""What answers are worth in a run of the mode RFT: a caller's `rewardConfig` as an order's reward rules and reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Conflict, Invalid, UnknownExtension
from yangfan.scorers import base as scorers
from yangfan.server.tuning import recipes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.models import Version
    from yangfan.server.tuning.types import View

RULES = ("exact", "regex", "json_validity", "f1", "rouge", "bleu_4", "accuracy")
"""Scorers that grade one answer by itself or by the row's own, and ask no model."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A scorer, its arguments, and what its grade is multiplied by."""

    scorer: str
    parameters: dict[str, Any] = {}
    weight: float = 1.0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """`rewardConfig` as it was sent."""

    rules: tuple[Rule, ...] = ()
    taskId: str | int | None = None  # noqa: N815 - the wire's spelling
    checkpointStep: int | None = None  # noqa: N815 - the wire's spelling
    weight: float = 1.0


def wanted(given: Mapping[str, Any] | None, trainer: str) -> Wanted:
    """What a call says, held against the way of training.

    Raises:
        Invalid: Something in it is not allowed, or it is there where nothing is rewarded, or lacking where something is.
    """
    if given is None:
        if trainer == "grpo":
            raise _refusal(
                f"RFT needs rewardConfig, which says what an answer is worth: rules ({', '.join(RULES)}), or the taskId of a run of the"
                " mode RM",
            )
        return Wanted()
    if trainer != "grpo":
        raise _refusal("only RFT learns by rewards; leave rewardConfig out, or take the mode RFT")
    try:
        found = msgspec.convert(given, Wanted)
    except msgspec.ValidationError as error:
        raise _refusal(f"rewardConfig: {error}") from None
    if not found.rules and found.taskId is None:
        raise _refusal("rewardConfig names neither rules nor the taskId of a reward model")
    for rule in found.rules:
        if rule.scorer not in RULES:
            raise _refusal(
                f"the scorer {rule.scorer[:80]!r} cannot reward an answer; there are: {', '.join(RULES)}",
                "rules.scorer",
            )
        try:
            scorers.create(rule.scorer, rule.parameters)
        except (Invalid, UnknownExtension) as error:
            raise _refusal(error.message, "rules.parameters") from None
    return found


def require_reward_model(view: View) -> None:
    """Check that a run left a reward model.

    Raises:
        Invalid: It trains otherwise.
        Conflict: It has not ended well.
    """
    if view.job.mode != "RM":
        raise _refusal(
            f"{view.task.id} trains {view.job.mode}; only a run of the mode RM leaves a model that scores",
            "taskId",
        )
    if view.status != "Done":
        raise Conflict(
            f"the reward model {view.task.id} is {view.status or 'new'}; wait for its end"
        )


def reward_model(view: View, base: Version, folder: str, weight: float) -> dict[str, Any]:
    """A reward model in the words of `yangfan.trainers.base.RewardModel`."""
    told = {} if view.work is None else view.work.spec
    return {
        "files": told.get("files") or [msgspec.to_builtins(file) for file in base.files],
        "method": recipes.METHODS[view.task.scale],
        "trained": folder,
        "weight": weight,
    }


def rules(found: Wanted) -> list[dict[str, Any]]:
    """Rules in the words of `yangfan.trainers.base.Reward`."""
    return [msgspec.to_builtins(rule) for rule in found.rules]


def _refusal(message: str, field: str = "") -> Invalid:
    return Invalid(message, param=f"rewardConfig.{field}" if field else "rewardConfig")
