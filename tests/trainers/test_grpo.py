"""Learning from one's own answers: rewards rise, a run goes on bit by bit, and a trained reward model can be what rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.trainers.conftest import PAIRS, Bench, Sample
from tests.trainers.test_runs import curve, digests

from yangfan.engines.wire.types import ChatMessage
from yangfan.errors import Invalid
from yangfan.trainers.base import Reward
from yangfan.trainers.pipeline import checkpoints
from yangfan.trainers.pipeline.rewards import Rewards
from yangfan.trainers.pipeline.tokens import Words

ASKED: list[Sample] = [{"turns": [{"prompt": f"Say {n}"}]} for n in range(4)]
SMALL: dict[str, Any] = {"num_generations": 4, "max_completion_length": 8, "epoch": 8}
BEGINS_WITH_T = [{"scorer": "regex", "parameters": {"pattern": "T"}}]
"""The small model says yes to everything of this kind, and knows texts that begin otherwise."""


def rewards(result: Any) -> list[float]:
    return [row["more"]["reward"] for row in result.metrics]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_answers_that_a_rule_rewards_become_what_is_said_bit_by_bit(bench: Bench, method: str):
    rate = {"lora": 1e-2, "full": 1e-3}[method]
    settings = {**SMALL, "beta": 0.02, "rewards": BEGINS_WITH_T, "learning_rate": rate}
    untouched = bench.run(bench.spec("grpo", method, ASKED, "a", ASKED[:1], **settings))
    found = rewards(untouched)
    assert found[0] < 0.3
    assert max(found[-3:]) > 0.7
    assert untouched.metrics[0]["more"]["distance"] == 0  # the first answers are the first model's
    assert untouched.metrics[-1]["more"]["distance"] > 0
    assert "eval_reward" in untouched.metrics[-1]["more"]
    spec = bench.spec("grpo", method, ASKED, "b", ASKED[:1], **settings)
    bench.run_stopped(spec, 4)
    gone_on = bench.run(spec)
    assert gone_on.facts["resumed_from"] == checkpoints.name_of(4)
    assert curve(gone_on) == curve(untouched)
    assert digests(gone_on.final) == digests(untouched.final)


@pytest.mark.filterwarnings("ignore")  # the libraries warn of each other
def test_a_model_that_was_trained_to_score_rewards(bench: Bench):
    judge = bench.run(bench.spec("reward", "lora", PAIRS, "rm", epoch=6))
    given: dict[str, Any] = {"model": str(bench.base), "adapter": judge.final}
    words = Words(bench.base)
    scored = Rewards([Reward(**given, weight=2.0)], words)
    scored.load("cpu")
    asked = [ChatMessage("user", "Say 3")]
    better, worse, empty = scored.of(asked, ["yes 3", "no no 3", ""], ())
    assert better > worse
    assert empty == pytest.approx(empty)  # nothing said is scored, too
    settings: dict[str, Any] = {**SMALL, "epoch": 1, "rewards": [given]}
    result = bench.run(bench.spec("grpo", "lora", ASKED, **settings))
    assert result.facts["steps"] == 1
    assert result.metrics[0]["more"]["reward_spread"] > 0


def test_rules_add_up_and_hold_answers_against_the_row(bench: Bench):
    rules = [
        Reward(scorer="exact"),
        Reward(scorer="json_validity", weight=0.5),
        Reward(scorer="regex", parameters={"pattern": r"^\d+$"}, weight=-1.0),
    ]
    found = Rewards(rules, Words(bench.base))
    asked = [ChatMessage("user", "A number?")]
    assert found.of(asked, ["7", "8", "seven"], ("7",)) == [0.5, -0.5, 0.0]
    assert found.of(asked, ["7"], ()) == [-0.5]  # nobody says what would be right


@pytest.mark.parametrize(
    ("samples", "hyper", "text"),
    [
        (ASKED, {"rewards": []}, "nothing says what an answer is worth"),
        (ASKED, {"rewards": [{"scorer": "regex", "parameters": {"x": 1}}]}, "scorer regex"),
        (ASKED, {"rewards": BEGINS_WITH_T, "max_seq_len": 8}, "every prompt is longer"),
        ([{"text": "no question"}], {"rewards": BEGINS_WITH_T}, "holds no conversation"),
        (
            [{"messages": [{"role": "assistant", "content": "yes"}]}],
            {"rewards": BEGINS_WITH_T},
            "an answer and no question",
        ),
    ],
)
def test_what_cannot_be_rewarded_is_refused(
    bench: Bench, samples: list[Sample], hyper: dict[str, Any], text: str
):
    with pytest.raises(Invalid, match=text):
        bench.run(bench.spec("grpo", "lora", samples, **hyper))
    assert not Path(bench.folder, "run", "out", "checkpoints").exists()
