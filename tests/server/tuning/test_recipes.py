"""The hyper-parameters: what the data says, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from yangfan.errors import Invalid
from yangfan.server.tuning import recipes
from yangfan.trainers.base import HyperParameters, Mode

RECIPES = recipes.load()
PAIRS = [(name, scale) for name, mode in RECIPES.modes.items() for scale in mode.scales]


@pytest.mark.parametrize(("mode", "scale"), PAIRS)
def test_the_defaults_of_every_recipe_are_allowed_and_trainers_take_them(
    mode: str, scale: recipes.Scale
) -> None:
    found = RECIPES.check(mode, scale, {}, 512)
    assert RECIPES.check(mode, scale, found, 512) == found
    assert found.get("maxSeqLen", 0) <= 512  # pictures have no length in tokens
    trainer = recipes.for_trainer(found)
    trainer.pop("seed")
    msgspec.convert(trainer, HyperParameters, strict=False)


@pytest.mark.parametrize(("mode", "scale"), PAIRS)
def test_every_bound_of_a_recipe_is_one_that_trainers_take(mode: str, scale: recipes.Scale) -> None:
    for key, parameter in RECIPES.recipe(mode, scale).items():
        assert parameter.name
        assert parameter.description
        for value in parameter.values:
            chosen = [value] if parameter.check == "mult_choice" else value
            given = recipes.for_trainer({key: chosen})
            if "seed" not in given:
                msgspec.convert(given, HyperParameters, strict=False)


def test_every_mode_is_one_that_trainers_know() -> None:
    assert {mode.trainer for mode in RECIPES.modes.values()} <= {*Mode.__args__}
    used = {key for keys in RECIPES.groups.values() for key in keys}
    assert used == {*RECIPES.parameters}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"epochs": 3}, "epochs is no hyper-parameter of SFT with LoRA; there are: epoch, "),
        ({"epoch": 51}, "epoch must be from 1 to 50; got 51"),
        ({"epoch": 1.5}, "epoch must be a whole number; got '1.5'"),
        ({"epoch": True}, "epoch must be a whole number"),
        ({"learningRate": "fast"}, "learningRate must be a number; got 'fast'"),
        ({"learningRate": float("nan")}, "learningRate must be from"),
        ({"maxSeqLen": 4096}, "maxSeqLen must be one of 64, 128, 256; got 4096"),
        ({"loraRank": 3}, "loraRank must be one of 1, 2, 4, 8"),
        ({"schedulerName": "magic"}, "schedulerName must be one of linear, cosine"),
        ({"Packing": 1}, "Packing must be true or false"),
        ({"loraTargetModules": "q_proj"}, "loraTargetModules must be a list, some of q_proj"),
        ({"loraTargetModules": ["x"]}, r"loraTargetModules must be some of q_proj.*; got \['x'\]"),
        ({"loraTargetModules": []}, "loraTargetModules must be some of"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(given: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid, match=text) as caught:
        RECIPES.check("SFT", "LoRA", given, 256)
    assert caught.value.param == f"hyperParameterConfig.{next(iter(given))}"


def test_what_is_given_wins_and_what_is_null_is_not_given() -> None:
    given: dict[str, Any] = {"epoch": 2.0, "loraAllLinear": True, "batchSize": None}
    found = RECIPES.check("SFT", "LoRA", {**given, "loraTargetModules": ["q_proj"]})
    assert (found["epoch"], found["loraAllLinear"], found["batchSize"]) == (2, "True", 4)
    assert found["loraTargetModules"] == ["q_proj"]


def test_an_unknown_mode_or_scale_is_refused_with_what_there_is() -> None:
    with pytest.raises(Invalid, match=r"trainMode must be one of SFT, .*PostPretrain, DPO"):
        RECIPES.mode("RLHF")
    with pytest.raises(Invalid, match="parameterScale of DPO must be one of LoRA, FullFineTuning"):
        RECIPES.scale("DPO", "PromptTuning")
