"""`yangfan tuning`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yangfan.cli import tuning
from yangfan.client.types import TuningMetric, TuningTask
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def task(**more: object) -> TuningTask:
    values: dict[str, object] = {
        "id": "task-1",
        "job_id": "job-1",
        "job_name": "n",
        "model": "mine",
        "base_id": "amv-1",
        "mode": "SFT",
        "scale": "LoRA",
        "status": "Running",
        "percent": 50,
        "step": 5,
        "total_steps": 10,
        "eta_seconds": 65,
        "note": "",
        "last": TuningMetric(5, loss=1.25, learning_rate=3e-4, tokens_per_second=90.4),
        "scores": {},
        "checkpoints": {},
        "hyper_parameters": {},
        "dataset": {},
        "created": "2026-11-26T08:00:00Z",
    }
    return TuningTask(**{**values, **more})  # pyright: ignore[reportArgumentType] - what differs is of the right type


def test_a_run_is_told_in_one_line() -> None:
    assert tuning.summary(task()) == (
        "task-1  Running  50 %  step 5/10  1:05 left  loss 1.2500  lr 0.0003  tokens/s 90"
    )
    loading = task(total_steps=None, note="loading\x1b[1m weights", last=None)
    assert tuning.summary(loading) == "task-1  Running  loading[1m weights"
    failed = task(status="Failed", total_steps=None, error="the loss\nis no number", last=None)
    assert tuning.summary(failed) == "task-1  Failed  the loss is no number"


def test_a_curve_falls_from_its_greatest_to_its_least_value() -> None:
    lines = tuning.plot([4.0, 3.0, 2.0, 1.0]).splitlines()
    assert len(lines) == tuning.PLOT_ROWS
    assert (lines[0][:9].strip(), lines[-1][:9].strip()) == ("4", "1")
    assert lines[0].endswith("│█   ")
    assert lines[-1].endswith("│███▁")


def test_a_long_curve_is_as_wide_as_the_plot_and_a_single_value_is_none() -> None:
    assert len(tuning.plot([*map(float, range(1000))]).splitlines()[0]) == 11 + tuning.PLOT_COLUMNS
    assert tuning.plot([1.0]) == ""
    assert len(tuning.plot([1.0, 1.0]).splitlines()) == tuning.PLOT_ROWS


def test_nothing_can_be_tuned_where_only_echo_is(yangfan: Command) -> None:
    assert yangfan.inside("tuning", "models", "--json").out.strip() == "[]"
    assert yangfan.inside("tuning", "list", "--json").out.strip() == "[]"
    refused = yangfan.inside("tuning", "create", "echo", "faq:1")
    assert refused.status == 1
    assert "cannot be tuned" in refused.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("show", "task-none"), "there is no tuning task 'task-none'"),
        (("stop", "task-none"), "task-none does not run"),
        (("rm", "job-none"), "there is no tuning job 'job-none'"),
        (("models", "x"), "no model 'x' can be tuned; see `yangfan tuning models`"),
        (("report", "task-none"), "there is no tuning task"),
        (("publish", "task-none", "mine"), "there is no tuning task"),
        (("create", "m", "faq:1=often"), "behind = stands how often each row is taken"),
        (("create", "m", "faq:1", "-p", "epoch"), "'epoch' must be KEY=VALUE, such as epoch=5"),
    ],
)
def test_what_goes_wrong_is_said(yangfan: Command, words: tuple[str, ...], text: str) -> None:
    told = yangfan.inside("tuning", *words)
    assert told.status == 1
    assert text in told.err


def test_rewards_are_scorers_with_arguments_and_a_reward_model() -> None:
    assert tuning.rewards_told([], None) is None
    assert tuning.rewards_told(["exact", 'regex={"pattern": "a=b"}'], "task-2") == {
        "rules": [
            {"scorer": "exact", "parameters": {}},
            {"scorer": "regex", "parameters": {"pattern": "a=b"}},
        ],
        "taskId": "task-2",
    }
    with pytest.raises(ConfigurationError, match="write the arguments as JSON"):
        tuning.rewards_told(["regex=yes"], None)
