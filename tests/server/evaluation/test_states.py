"""Where evaluations and exports stand, in the words of both dialects (specification D.14)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from yangfan.server.evaluation import people, v1, v2
from yangfan.server.evaluation.logic import scorers_of, units_of
from yangfan.server.evaluation.types import Candidate, Evaluation, HumanScore, Order, Outcome

if TYPE_CHECKING:
    from yangfan.server.evaluation.types import State


class _Progress:
    def __init__(self, done: float, total: float | None, unit: str = "answers") -> None:
        self.done, self.total, self.unit, self.note = done, total, unit, "starting"


class _Job:
    """What is looked at of a job."""

    def __init__(self, state: str, desired: str = "run", done: float = 0, total: float = 4) -> None:
        self.state, self.desired, self.progress = state, desired, _Progress(done, total)
        self.checkpoint: dict[str, Any] = {}
        self.final = state in {"succeeded", "failed", "cancelled"}


def _comparing() -> _Job:
    job = _Job("running")
    job.progress.unit = "pairs"
    return job


def _evaluation(state: State, *names: str, outcome: Outcome | None = None) -> Evaluation:
    candidates = tuple(Candidate(id="m", name=name) for name in names)
    return Evaluation(
        number=1,
        id="ame-1",
        app_id="a",
        job_id="j",
        state=state,
        created_ms=0,
        order=Order(name="n", dataset="d", candidates=candidates, mode="manual"),
        outcome=outcome or Outcome(),
    )


@pytest.mark.parametrize(
    ("state", "job", "in_v1", "in_v2"),
    [
        ("queued", _Job("queued"), "Pending", "Queued"),
        ("queued", _Job("starting"), "Doing", "Running"),
        ("running", _Job("running", done=1), "Doing", "Running"),
        ("running", _Job("running", done=2), "Doing", "RunningWithMetricsCalculating"),
        ("running", _Job("running", done=4), "Doing", "RunningWithMetricsCalculating"),
        ("running", _comparing(), "Doing", "RunningWithMetricsCalculating"),
        ("running", _Job("running", "cancel"), "Stopping", "Stopping"),
        ("done", _Job("succeeded"), "Done", "Successed"),
        ("partly", None, "PartlyDone", "Successed"),
        ("failed", _Job("failed"), "Failed", "Failed"),
        ("stopped", None, "Stopped", "Stopped"),
        ("manual", None, "DoingWithManualBegin", "RunningWithManualBegin"),
    ],
)
def test_an_evaluation_stands_where_its_job_does(
    state: State, job: _Job | None, in_v1: str, in_v2: str
):
    evaluation, worker = _evaluation(state), cast("Any", job)
    assert v1.state_of(evaluation, worker) == in_v1
    assert v2.state_of(evaluation, worker) == in_v2


def test_each_model_stands_where_it_is():
    job, evaluation = _Job("running"), _evaluation("running", "a", "b", "c", "d")
    job.checkpoint = {
        "units": [
            {"state": "Done", "message": ""},
            {"state": "Failed", "message": "broken"},
            {"state": "Doing", "message": ""},
        ]
    }
    wanted = [("Done", ""), ("Failed", "broken"), ("Doing", "starting"), ("Pending", "")]
    found = units_of(evaluation, cast("Any", job))
    assert [(each.state, each.message) for each in found] == wanted
    listed = v1._detail(evaluation, cast("Any", job))["evalUnits"]  # pyright: ignore[reportPrivateUsage]
    assert [(each["state"], each["message"]) for each in listed] == wanted
    assert [each["evalUnitId"] for each in listed] == [f"ame-1-{place}" for place in range(4)]
    answered = [{"answered": 1}, {"answered": 0, "message": "broken"}, {"answered": 1}]
    ended = _evaluation("partly", "a", "b", "c", outcome=Outcome(candidates=answered))
    assert [each.state for each in units_of(ended, None)] == ["Done", "Failed", "Done"]
    for state, in_v2 in (("failed", "Failed"), ("stopped", "Stopped"), ("queued", "Pending")):
        shown = v2._task(_evaluation(cast("State", state), "a"), None)  # pyright: ignore[reportPrivateUsage]
        assert [each.state for each in shown.evalUnits] == [in_v2]


def test_people_score_two_prompts_of_one_model_apart():
    evaluation = _evaluation("manual", "a", "b", outcome=Outcome(samples=2))
    results: list[dict[str, Any]] = [
        {"id": f"r-{number}", "candidate": "m", "scores": {}} for number in range(4)
    ]
    scores = [
        HumanScore(result_id=f"r-{number}", dimension=people.DEFAULT_DIMENSION, value=number)
        for number in range(4)
    ]
    scored = people.scored(evaluation, results, scores)
    values = [people.figures_of(evaluation, place, scored)["manual:满意度"] for place in (0, 1)]
    assert [(each["value"], each["graded"]) for each in values] == [(0.5, 2), (2.5, 2)]


def test_a_judge_is_told_what_the_caller_says():
    prompt = {"templateContent": '{{src}} {tgt} {{prediction}} {{"a"}}', "maxScore": "10"}
    (judge,) = scorers_of("model", {}, {"apiName": "echo", "prompt": prompt})
    assert judge.parameters["template"] == '{src} {tgt} {prediction} {{"a"}}'
    assert (judge.parameters["min_score"], judge.parameters["max_score"]) == (0, 10)


async def test_exports_are_written_one_after_another_and_may_fail():
    exports, go = v1.Exports(), threading.Event()

    def fail() -> None:
        raise OSError("no space left")

    exports.begin("first", "a", lambda: cast("Any", go.wait(20)))
    exports.begin("second", "a", fail)
    assert exports.state_of("second") == "Pending"
    for _ in range(1000):
        if exports.state_of("first") == "Uploading":
            break
        await asyncio.sleep(0.005)
    assert (exports.state_of("first"), exports.state_of("second")) == ("Uploading", "Pending")
    go.set()
    for _ in range(1000):
        if exports.state_of("second") == "Fail":
            break
        await asyncio.sleep(0.005)
    assert (exports.state_of("first"), exports.state_of("second")) == ("", "Fail")
    exports.begin("third", "a", lambda: None)
    assert exports.state_of("second") == "Fail"
