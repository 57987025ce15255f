"""Count to a number, saving each step: the smallest work there is, for tests, demonstrations and measurements.

Spec: ``steps`` (how far), ``pause_seconds`` (before each step, 0), ``busy_seconds`` (of a processor, before each step, 0), ``fail_at`` (a step that cannot be done), ``fail_times`` (how many
attempts fail there; all by default). Result: ``steps`` and their ``sum``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from yangfan.worker.task import Task

SLICE_SECONDS = 0.05


def run(task: Task) -> dict[str, Any]:
    """Count.

    Raises:
        Invalid: `steps` is no whole number from 0.
        RuntimeError: The step `fail_at` is reached.
    """
    steps = task.spec.get("steps")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        raise Invalid(f"steps must be a whole number from 0, got {steps!r}", param="steps")
    done, total = task.state.get("done", 0), task.state.get("sum", 0)
    while done < steps:
        task.progress(done, steps, "steps")
        _rest(task, task.spec.get("pause_seconds", 0.0))
        _work(task.spec.get("busy_seconds", 0.0))
        done, total = done + 1, total + done + 1
        if done == task.spec.get("fail_at") and task.attempt <= task.spec.get("fail_times", 1000):
            raise RuntimeError(f"step {done} cannot be done")
        task.save({"done": done, "sum": total})
        task.log(f"step {done}")
    task.progress(done, steps, "steps")
    return {"steps": done, "sum": total}


def _rest(task: Task, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        task.check()
        time.sleep(min(SLICE_SECONDS, left))


def _work(seconds: float) -> None:
    """Keep a processor busy and tell nobody, as work does whose author forgot the others."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
