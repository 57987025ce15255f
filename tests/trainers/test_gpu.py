"""Training on a GPU, where there is one: in bfloat16, bit by bit the same after a stop, and on several at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.trainers.conftest import TALKS, Bench
from tests.trainers.test_runs import curve, digests

from yangfan.trainers.pipeline import checkpoints, libraries
from yangfan.trainers.pipeline.launch import Machines, Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


def need(count: int) -> None:
    """Skip the test where there are fewer GPUs."""
    found = libraries.gpus() if libraries.missing() is None else 0
    if found < count:
        pytest.skip(f"{count} CUDA GPUs are needed, and {found} are here")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_in_bfloat16_learns_and_goes_on_bit_by_bit(bench: Bench, method: str):
    need(1)
    results: list[Any] = []
    for name in ("untouched", "stopped"):
        spec = bench.spec("sft", method, TALKS, name, TALKS[:3])
        spec = msgspec.structs.replace(spec, dtype="auto")
        if name == "stopped":
            bench.run_stopped(spec, 4)
        results.append(bench.run(spec))
    untouched, gone_on = results
    assert untouched.facts["device"].startswith("cuda")
    assert untouched.facts["dtype"] == "bfloat16"
    assert untouched.metrics[-1]["loss"] < untouched.metrics[0]["loss"]
    assert gone_on.facts["resumed_from"] == checkpoints.name_of(4)
    assert curve(gone_on) == curve(untouched)
    assert digests(gone_on.final) == digests(untouched.final)


def test_two_gpus_learn_what_one_learns(bench: Bench):
    need(2)
    losses: list[list[float]] = []
    for processes in (1, 2):
        spec = bench.spec("sft", "lora", TALKS, str(processes), TALKS[:2], epoch=2)
        with Trainer(spec, Machines(processes=processes)) as trainer:
            events = list(trainer.events())
        assert events[-1]["outcome"] == "done", events[-1]
        losses.append([event["row"]["loss"] for event in events if event["event"] == "progress"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
