"""What the wire says about work under way (specification D.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from yangfan.server.jobs import Job, Progress
from yangfan.server.models.types import Task, TaskState
from yangfan.server.models.v2 import status_of

JOB = Job(
    id="jb-1",
    kind="compress_model",
    spec={},
    subject="amv-1",
    account="",
    state="queued",
    desired="run",
    progress=Progress(),
    attempts=0,
    max_attempts=3,
    error=None,
    result=None,
    checkpoint={},
    saves=0,
    created_ms=0,
    started_ms=None,
    finished_ms=None,
    run_after_ms=0,
    fence=0,
    revision=0,
)


@pytest.mark.parametrize(
    ("task", "job", "said"),
    [
        ("running", {"state": "queued"}, "creating"),
        ("running", {"state": "starting"}, "creating"),
        ("running", {"state": "running"}, "running"),
        ("running", {"state": "paused"}, "running"),
        ("running", {"state": "running", "desired": "cancel"}, "stopping"),
        ("succeeded", None, "succeeded"),
        ("failed", None, "failed"),
        ("stopped", None, "stopped"),
    ],
)
def test_a_task_says_where_it_stands(task: str, job: dict[str, Any] | None, said: str) -> None:
    state = cast("TaskState", task)
    shown = Task(
        number=1, id="amva-1", kind="compress", state=state, source_id="amv-1", created_ms=0
    )
    assert status_of(shown, None if job is None else replace(JOB, **job)) == said
