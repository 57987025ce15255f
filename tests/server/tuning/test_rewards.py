"""RFT: what an answer is worth is checked before anything is queued, and what a run reads is not deleted while it runs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.server.tuning.conftest import Gym

from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.trainers.base import TrainOrder, hyper_parameters

RULES = {"rules": [{"scorer": "exact"}, {"scorer": "regex", "parameters": {"pattern": "yes"}}]}


async def reward_model(gym: Gym) -> str:
    """A run of the mode RM that is done."""
    gym.add_data("pairs", data_format="DPO_PromptChosenRejected")
    versions = {"sourceType": "Platform", "versions": [{"versionId": "pairs"}], "splitRatio": 0}
    task = await gym.begin(mode="RM", datasetConfig=versions)
    gym.checkpoint(task, 5, 0.5)
    await gym.finish(await gym.claim())
    return task


async def test_rules_reach_the_trainer_and_are_shown(ready: Gym) -> None:
    task = await ready.begin(mode="RFT", rewardConfig=RULES, hyper={"numGenerations": 6})
    order = msgspec.convert((await ready.claim()).spec, TrainOrder)
    assert (order.mode, order.method, order.reward_model) == ("grpo", "lora", None)
    hyper = hyper_parameters(order.hyper_parameters)
    assert [(one.scorer, one.parameters) for one in hyper.rewards] == [
        ("exact", {}),
        ("regex", {"pattern": "yes"}),
    ]
    assert (hyper.num_generations, hyper.beta, hyper.learning_rate) == (6, 0.04, 5e-5)
    shown = await ready.show(task)
    assert (shown["trainMode"], shown["rewardConfig"]["rules"][0]["scorer"]) == ("RFT", "exact")


async def test_v1_takes_rewards_too(ready: Gym) -> None:
    made = await ready.v1("createTask", name="n", baseTrainType="mine", trainType="mine")
    wanted: dict[str, Any] = {
        "taskId": made["id"],
        "baseTrainType": "mine",
        "trainType": "mine",
        "trainMode": "RFT",
        "peftType": "LoRA",
        "trainConfig": {"epoch": 1},
        "trainset": [{"type": 1, "id": "ds-1"}],
    }
    with pytest.raises(Invalid, match="RFT needs rewardConfig"):
        await ready.v1("createJob", **wanted)
    with pytest.raises(Invalid, match="rewardConfig: Expected `array`"):
        await ready.v1("createJob", **wanted, rewardConfig={"rules": 1})
    await ready.v1("createJob", **wanted, rewardConfig=RULES)
    order = msgspec.convert((await ready.claim()).spec, TrainOrder)
    assert len(order.hyper_parameters["rewards"]) == 2


async def test_a_reward_model_is_a_run_of_ours_and_stays_while_it_is_learnt_by(ready: Gym) -> None:
    model = await reward_model(ready)
    task = await ready.begin(mode="RFT", rewardConfig={"taskId": model, "weight": 2})
    first = await ready.claim()
    order = msgspec.convert(first.spec, TrainOrder)
    assert order.reward_model is not None
    assert order.reward_model.trained == str(ready.tuning.output(model) / "final")
    assert (order.reward_model.method, order.reward_model.weight) == ("lora", 2.0)
    assert order.reward_model.files == order.files
    with pytest.raises(Conflict, match=f"{model} is in use: the tuning task {task} learns by it"):
        await ready.act("DeleteFineTuningTask", taskId=model)
    await ready.begin(mode="RFT", rewardConfig={"taskId": model, "checkpointStep": 5, **RULES})
    second = await ready.claim()
    again = msgspec.convert(second.spec, TrainOrder)
    assert again.reward_model is not None
    assert again.reward_model.trained.endswith("step-00000005")
    for running in (first, second):
        await ready.fail(running, "x")
    await ready.act("DeleteFineTuningTask", taskId=model)


@pytest.mark.parametrize(
    ("mode", "given", "text", "param"),
    [
        ("RFT", None, r"RFT needs rewardConfig.*exact, regex.*mode RM", "rewardConfig"),
        ("SFT", RULES, "only RFT learns by rewards", "rewardConfig"),
        ("RFT", {}, "neither rules nor the taskId", "rewardConfig"),
        ("RFT", {"rules": [{"scorer": "judge"}]}, "there are: exact", "rewardConfig.rules.scorer"),
        (
            "RFT",
            {"rules": [{"scorer": "exact", "parameters": {"x": 1}}]},
            "scorer exact: Object contains unknown field `x`",
            "rewardConfig.rules.parameters",
        ),
    ],
)
async def test_what_rewards_nothing_is_refused_before_it_is_queued(
    ready: Gym, mode: str, given: dict[str, Any] | None, text: str, param: str
) -> None:
    with pytest.raises(Invalid, match=text) as caught:
        await ready.begin(mode=mode, **({} if given is None else {"rewardConfig": given}))
    assert caught.value.param == param
    assert await ready.jobs.list() == ()


async def test_another_run_is_no_reward_model(ready: Gym) -> None:
    waiting = await ready.begin()
    with pytest.raises(Invalid, match=f"{waiting} trains SFT; only a run of the mode RM"):
        await ready.begin(mode="RFT", rewardConfig={"taskId": waiting})
    with pytest.raises(NotFound, match="no tuning task 'task-none'"):
        await ready.begin(mode="RFT", rewardConfig={"taskId": "task-none"})
    ready.add_data("pairs", data_format="DPO_PromptChosenRejected")
    versions = {"sourceType": "Platform", "versions": [{"versionId": "pairs"}], "splitRatio": 0}
    unready = await ready.begin(mode="RM", datasetConfig=versions)
    with pytest.raises(Conflict, match=f"the reward model {unready} is Waiting"):
        await ready.begin(mode="RFT", rewardConfig={"taskId": unready})


async def test_what_a_run_reads_is_in_use_until_it_has_ended(ready: Gym) -> None:
    task = await ready.begin()
    async with ready.shop.database.read() as connection:
        found = await ready.tuning.user_of_part("ds-1", connection)
        assert found == f"the tuning task {task}"
        assert await ready.tuning.user_of_part("ds-2", connection) is None
    await ready.fail(await ready.claim(), "x")
    async with ready.shop.database.read() as connection:
        assert await ready.tuning.user_of_part("ds-1", connection) is None
