"""Cleaning datasets through a server: both spellings, the SDK, steering and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import wait_until
from tests.server.conftest import Caller, Reply
from tests.server.processing.conftest import Shelf

from yangfan import Client, errors
from yangfan.datasets.formats import DataFormat, Sample, Turn

TEXTS = [
    "Mail <b>zhang@example.com</b> about the river and the bridge 😀",
    "The garden behind the harbour has an old copper engine.",
    "The garden behind the harbour has an old copper engine!",
    "哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈",
    "A letter came from the market in the forest today.",
]
RECIPE: dict[str, Any] = {
    "clean": ["remove_emoji", "remove_web_identifiers"],
    "filter": [
        {
            "name": "filter_check_character_repetition_removal",
            "args": {"default_character_repetition_max_cutoff": 0.2},
        }
    ],
    "deduplication": [{"name": "deduplication_simhash", "args": {"distance": 4}}],
    "desensitization": ["replace_emails"],
}
WIRE_RECIPE: dict[str, Any] = {
    stage: [{"name": step, "args": {}} if isinstance(step, str) else step for step in steps]
    for stage, steps in RECIPE.items()
}
WAIT_SECONDS = 60.0


def etl(caller: Caller, verb: str, body: dict[str, Any]) -> Reply:
    path = f"/wenxinworkshop/etl/{verb}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


def action(caller: Caller, name: str, body: dict[str, Any]) -> Reply:
    path = f"/v2/dataprocessing?Action={name}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


def test_v1_task_runs_to_its_counts_and_is_listed_and_deleted(caller: Caller, shelf: Shelf) -> None:
    source, goal = shelf.put_texts("v1-source", TEXTS), shelf.empty("v1-goal")
    created = etl(
        caller,
        "create",
        {
            "etlTaskName": "tidy",
            "sourceDatasetId": source.id,
            "destDatasetId": goal.id,
            "entityType": 2,
            "operationsV2": WIRE_RECIPE,
        },
    ).json
    assert (created["status"], created["success"]) == (200, True)
    task_id = created["result"]
    assert task_id.startswith("task-")
    found: dict[str, Any] = {}

    def is_done() -> bool:
        reply = etl(caller, "detail", {"etlId": task_id}).json
        assert reply["success"] is True
        found.update(reply["result"])
        assert found["processStatus"] in {1, 2}
        return found["processStatus"] == 2

    wait_until(is_done, "the end of the task", WAIT_SECONDS)
    assert found["destDatasetStrId"] == goal.id
    assert (found["sourceDatasetName"], found["entityCount"]) == ("v1-source:1", len(TEXTS))
    assert [step["name"] for step in found["operationsV2"]["clean"]] == [
        "remove_emoji",
        "remove_web_identifiers",
        "save_pipeline_clean",
    ]
    stages = found["result"]["pipeline_stage_result"]
    counts = {
        item["name"]: (item["remaining_count"], item["drop_count"])
        for stage in stages.values()
        for item in stage["each_operator_result"]
    }
    assert counts["filter_check_character_repetition_removal"] == (4, 1)
    assert counts["deduplication_simhash"] == (3, 1)
    assert (found["result"]["RET_OK"], found["result"]["remaining_entity"]) == (True, 3)
    assert len(found["createTime"]) == len("2026-11-27 12:00:00")
    listed = etl(caller, "list", {"offset": 0, "pageSize": 10}).json["result"]
    assert listed["total"] >= 1
    item = next(item for item in listed["items"] if item["etlStrId"] == task_id)
    assert item["operatorNameList"][0] == "remove_emoji"
    assert item["processStatus"] == 2
    texts = [sample.text for sample in shelf.samples(goal.id)]
    assert texts == ["Mail [EMAIL] about the river and the bridge ", TEXTS[1], TEXTS[4]]
    version = shelf.version(goal.id)
    assert version.task("clean").state == "succeeded"
    assert version.lineage[-1]["source"] == source.id
    assert shelf.samples(source.id)[0].text == TEXTS[0]
    assert etl(caller, "delete", {"etlIds": [task_id]}).json["result"] is True
    gone = etl(caller, "detail", {"etlId": task_id}).json
    assert (gone["status"], gone["success"]) == (400, False)
    assert task_id in gone["message"]["global"]
    assert shelf.version(goal.id).rows == 3


def test_the_sdk_cleans_into_a_new_version_tells_reasons_and_takes_it_back(
    client: Client, shelf: Shelf
) -> None:
    source = shelf.put_texts("sdk", TEXTS)
    preview = client.cleaning.preview("sdk:1", RECIPE, rows=4)
    assert (preview.rows, preview.remaining) == (4, 2)
    assert [(row.row, row.after is None) for row in preview.samples] == [
        (0, False),
        (2, True),
        (3, True),
    ]
    assert shelf.version("sdk").id == source.id
    task = client.cleaning.create("sdk:1", RECIPE, name="tidy", idempotency_key="once")
    again = client.cleaning.create("sdk:1", RECIPE, name="tidy", idempotency_key="once")
    assert again.id == task.id
    done = client.cleaning.wait(task.id, timeout_seconds=WAIT_SECONDS)
    assert (done.status, done.progress, done.source, done.destination) == (
        "Succeeded",
        100,
        "sdk:1",
        "sdk:2",
    )
    assert (done.rows, done.remaining) == (5, 3)
    assert {item.name: item.dropped for item in done.operators if item.dropped} == {
        "filter_check_character_repetition_removal": 1,
        "deduplication_simhash": 1,
    }
    rows = list(client.cleaning.rows(task.id))
    assert [(row.row, row.row_id, row.operators) for row in rows] == [
        (2, "sdk-0002", ("deduplication_simhash",)),
        (3, "sdk-0003", ("filter_check_character_repetition_removal",)),
    ]
    assert (rows[1].text, rows[1].value) == (TEXTS[3], pytest.approx(1.0, abs=0.5))
    assert rows[1].reason
    changed = list(client.cleaning.rows(task.id, "changed"))
    assert [(row.row_id, row.operators) for row in changed] == [
        ("sdk-0000", ("remove_emoji", "remove_web_identifiers", "replace_emails"))
    ]
    assert task.id in {item.id for item in client.cleaning.list()}
    client.cleaning.undo(task.id)
    assert shelf.version("sdk").id == source.id
    with pytest.raises(errors.NotFound):
        client.cleaning.get(task.id)


def test_datasets_clean_waits_for_the_end_and_says_why_there_is_none(
    client: Client, shelf: Shelf
) -> None:
    shelf.put_texts("short-way", TEXTS)
    done = client.datasets.clean("short-way", RECIPE)
    assert (done.status, done.destination, done.remaining) == ("Succeeded", "short-way:2", 3)
    into = shelf.empty("short-way-goal").id
    begun = client.datasets.clean("short-way:1", RECIPE, into=into, wait=False)
    assert begun.destination_id == into
    assert client.cleaning.wait(begun.id, timeout_seconds=WAIT_SECONDS).remaining == 3
    folder = shelf.server.home / "operators"
    folder.mkdir(exist_ok=True)
    (folder / "refuses.py").write_text(
        "from yangfan.operators import base\n"
        'STAGE, SUMMARY = "clean", {"en": "", "zh": ""}\n'
        "class Parameters(base.Parameters, frozen=True):\n    pass\n"
        "class Refuses(base.Cleaner):\n    def change(self, texts):\n        raise ValueError('no')\n"
        "def create(parameters, common):\n    return Refuses()\n",
        "utf-8",
    )
    with pytest.raises(errors.Conflict, match=r"into short-way:3 has failed: .*refuses failed"):
        client.datasets.clean("short-way:1", {"clean": ["refuses"]})


def test_a_task_that_waits_is_paused_resumed_and_deleted(client: Client, shelf: Shelf) -> None:
    shelf.put_texts("steered", [f"text number {row} of the steered ones" for row in range(400)])
    task = client.cleaning.create("steered:1", RECIPE)
    assert client.cleaning.pause(task.id).status in {"Paused", "Running"}
    wait_until(
        lambda: client.cleaning.get(task.id).status in {"Paused", "Succeeded"},
        "a pause",
        WAIT_SECONDS,
    )
    if client.cleaning.get(task.id).status == "Paused":
        with pytest.raises(errors.Conflict, match="has not ended"):
            client.cleaning.undo(task.id)
        with pytest.raises(errors.Conflict, match="has not ended"):
            list(client.cleaning.rows(task.id))
        assert client.cleaning.resume(task.id).status == "Running"
    done = client.cleaning.wait(task.id, timeout_seconds=WAIT_SECONDS)
    assert done.status == "Succeeded"
    with pytest.raises(errors.Conflict, match="succeeded already"):
        client.cleaning.pause(task.id)
    another = client.cleaning.create("steered:1", RECIPE)
    client.cleaning.delete(another.id)
    with pytest.raises(errors.NotFound):
        client.cleaning.get(another.id)
    assert shelf.version(another.destination_id).task("clean").state == "aborted"


def test_conversations_are_cleaned_text_by_text(
    caller: Caller, client: Client, shelf: Shelf
) -> None:
    said = ((0, 4), (1, 4), (3, 3))
    turns = [(Turn(f"{TEXTS[asked]} <br>", (TEXTS[told],)),) for asked, told in said]
    source = shelf.put("talks", [Sample(turns=turn) for turn in turns], DataFormat.PROMPT_RESPONSE)
    preview = client.cleaning.preview("talks:1", RECIPE)
    assert [(row.row, row.after is None) for row in preview.samples] == [
        (0, False),
        (1, False),
        (2, True),
    ]
    assert preview.samples[1].before == f"{TEXTS[1]} <br>\n{TEXTS[4]}"
    assert preview.samples[1].after == f"{TEXTS[1]} \n{TEXTS[4]}"
    goal = shelf.empty("talks-clean", DataFormat.PROMPT_RESPONSE)
    body = {
        "etlTaskName": "talks",
        "sourceDatasetId": source.id,
        "destDatasetId": goal.id,
        "entityType": 2,
        "operationsV2": WIRE_RECIPE,
    }
    task_id = etl(caller, "create", body).json["result"]
    assert client.cleaning.wait(task_id, timeout_seconds=WAIT_SECONDS).status == "Succeeded"
    assert shelf.samples(goal.id) == [
        Sample(turns=(Turn("Mail [EMAIL] about the river and the bridge  ", (TEXTS[4],)),)),
        Sample(turns=(Turn(f"{TEXTS[1]} ", (TEXTS[4],)),)),
    ]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"clean": []}, "names no operator"),
        ({"clean": ["polish"]}, "no operators named 'polish'"),
        ({"filter": ["remove_emoji"]}, "stands under filter; its stage is clean"),
        (
            {"deduplication": [{"name": "deduplication_simhash", "args": {"distance": 9}}]},
            "its arguments are: distance",
        ),
        ({"operationsV2": {"scrub": [{"name": "remove_emoji"}]}}, "scrub"),
        ({"operationsV2": {}, "custom": {"on_failure": "hope"}}, "hope"),
        ({"steps": []}, "a recipe has operationsV2"),
    ],
)
def test_a_recipe_that_is_not_right_is_refused(
    client: Client, shelf: Shelf, recipe: dict[str, Any], said: str
) -> None:
    del shelf
    with pytest.raises(errors.Invalid, match=said):
        client.cleaning.create("refused:1", recipe)


@pytest.fixture(autouse=True, scope="module")
def refused(shelf: Shelf) -> None:
    """Datasets that the refusals name."""
    shelf.put_texts("refused", TEXTS)
    shelf.put_prompts("prompts")


def test_versions_that_do_not_fit_are_refused(client: Client, shelf: Shelf) -> None:
    shelf.put_texts("full", TEXTS)
    with pytest.raises(errors.Invalid, match="the same version"):
        client.cleaning.create("refused:1", RECIPE, into="refused:1")
    with pytest.raises(errors.Invalid, match="make a dataset of the same format"):
        client.cleaning.create("refused:1", RECIPE, into="prompts")
    with pytest.raises(errors.Conflict, match="has rows already"):
        client.cleaning.create("refused:1", RECIPE, into="full")
    with pytest.raises(errors.NotFound, match="nowhere"):
        client.cleaning.create("nowhere:1", RECIPE)
    with pytest.raises(errors.NotFound, match="task-none"):
        client.cleaning.get("task-none")


def test_a_failed_task_says_why_and_its_destination_stays_empty(
    client: Client, caller: Caller, shelf: Shelf
) -> None:
    folder = shelf.server.home / "operators"
    folder.mkdir(exist_ok=True)
    (folder / "crashes.py").write_text(
        "import os\n"
        "from yangfan.operators import base\n"
        'STAGE, SUMMARY = "clean", {"en": "", "zh": ""}\n'
        "class Parameters(base.Parameters, frozen=True):\n    pass\n"
        "class Crashes(base.Cleaner):\n    def change(self, texts):\n        os._exit(9)\n"
        "def create(parameters, common):\n    return Crashes()\n",
        "utf-8",
    )
    with pytest.raises(errors.Invalid, match="the operator crashes failed: it ended with status 9"):
        client.cleaning.preview("refused:1", {"clean": ["crashes"]})
    task = client.cleaning.create("refused:1", {"clean": ["crashes"]})
    done = client.cleaning.wait(task.id, timeout_seconds=WAIT_SECONDS)
    assert done.status == "Failed"
    assert "the operator crashes failed: it ended with status 9" in done.error
    found = etl(caller, "detail", {"etlId": task.id}).json["result"]
    assert (found["processStatus"], found["result"]["RET_OK"]) == (4, False)
    assert "crashes" in found["result"]["failReason"]
    assert shelf.version(task.destination_id).rows == 0
    skipped = client.cleaning.create(
        "refused:1",
        {
            "operationsV2": {"clean": ["crashes", "remove_emoji"]},
            "custom": {"on_failure": "skip"},
        },
    )
    done = client.cleaning.wait(skipped.id, timeout_seconds=WAIT_SECONDS)
    assert [(item.name, item.failed) for item in done.operators] == [
        ("crashes", 5),
        ("remove_emoji", 0),
    ]


def test_pages_of_tasks_follow_one_another(caller: Caller, client: Client) -> None:
    for _ in range(3):
        task = client.cleaning.create("refused:1", {"clean": ["remove_emoji"]})
        client.cleaning.wait(task.id, timeout_seconds=WAIT_SECONDS)
    seen: list[str] = []
    marker = ""
    while True:
        body: dict[str, Any] = {"maxKeys": 2} | ({"marker": marker} if marker else {})
        page = action(caller, "DescribeTextCleanTasks", body).json["result"]
        seen += [item["taskId"] for item in page["taskList"]]
        if not page["pageInfo"]["isTruncated"]:
            break
        marker = page["pageInfo"]["nextMarker"]
    assert len(seen) == len(set(seen)) >= 3
