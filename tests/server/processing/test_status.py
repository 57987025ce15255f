"""What both dialects call the states of a task, and where a task that is cancelled ends."""

from __future__ import annotations

import pytest
from tests.conftest import wait_until
from tests.server.conftest import Caller
from tests.server.processing.conftest import Shelf
from tests.server.processing.test_cleaning import RECIPE, WAIT_SECONDS, etl

from yangfan import Client, errors
from yangfan.server.processing import v1, v2
from yangfan.server.processing.types import Now, ProcessingTask, State

TASK = ProcessingTask(
    number=1,
    id="task-1",
    kind="augment",
    name="",
    account="",
    source_id="",
    source_name="",
    destination_id="",
    destination_name="",
    made_destination=False,
    rows=0,
    project_type=20,
    order={},
    job_id="",
    state="running",
    result={},
    error="",
    created_ms=0,
    finished_ms=0,
)


@pytest.mark.parametrize(
    ("state", "waiting", "cleaning", "made", "action"),
    [
        ("running", True, 1, 1, "Running"),
        ("running", False, 1, 2, "Running"),
        ("succeeded", False, 2, 3, "Succeeded"),
        ("stopped", False, 3, 4, "Stopped"),
        ("failed", False, 4, 4, "Failed"),
        ("paused", False, 5, 2, "Running"),
    ],
)
def test_states_are_called_as_the_specification_says(
    state: State, *, waiting: bool, cleaning: int, made: int, action: str
) -> None:
    now = Now(TASK, state, waiting, 0.0, 0, 0)
    assert v1.PROCESS[state] == cleaning
    assert v1.made_status(now) == made
    assert v2.AUGMENT_STATUS[state] == action


def test_a_cancelled_task_is_interrupted_and_its_version_is_free_again(
    caller: Caller, client: Client, shelf: Shelf
) -> None:
    shelf.put_texts("stopped", [f"text number {row} of many" for row in range(50)])
    task = client.cleaning.create("stopped:1", RECIPE)
    client.jobs.pause(task.job_id)
    try:
        client.jobs.cancel(task.job_id)
    except errors.Conflict:
        pytest.skip("it had ended by then")
    wait_until(lambda: client.cleaning.get(task.id).final, "the end", WAIT_SECONDS)
    found = client.cleaning.get(task.id)
    if found.status == "Stopped":
        detail = etl(caller, "detail", {"etlId": task.id}).json["result"]
        assert (detail["processStatus"], detail["result"]["RET_OK"]) == (3, False)
        assert shelf.version(task.destination_id).task("clean").state == "aborted"
