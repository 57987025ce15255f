"""Where evaluations and exports stand, in the words of both dialects (specification D.14)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from yangfan.server.evaluation import v1, v2
from yangfan.server.evaluation.types import Evaluation, Order

if TYPE_CHECKING:
    from yangfan.server.evaluation.types import State


class _Progress:
    def __init__(self, done: float, total: float | None) -> None:
        self.done, self.total = done, total


class _Job:
    """What is looked at of a job."""

    def __init__(self, state: str, desired: str = "run", done: float = 0, total: float = 4) -> None:
        self.state, self.desired, self.progress = state, desired, _Progress(done, total)
        self.final = state in {"succeeded", "failed", "cancelled"}


def _evaluation(state: State) -> Evaluation:
    order = Order(name="n", dataset="d", candidates=())
    return Evaluation(
        number=1, id="ame-1", app_id="a", job_id="j", state=state, created_ms=0, order=order
    )


@pytest.mark.parametrize(
    ("state", "job", "in_v1", "in_v2"),
    [
        ("queued", _Job("queued"), "Pending", "Queued"),
        ("queued", _Job("starting"), "Doing", "Running"),
        ("running", _Job("running", done=1), "Doing", "Running"),
        ("running", _Job("running", done=4), "Doing", "RunningWithMetricsCalculating"),
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


async def test_exports_are_written_one_after_another_and_may_fail():
    exports, go = v1.Exports(), threading.Event()

    def fail() -> None:
        raise OSError("no space left")

    exports.begin("first", lambda: cast("Any", go.wait(20)))
    exports.begin("second", fail)
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
    exports.begin("third", lambda: None)
    assert exports.state_of("second") == "Fail"
