"""Augmenting datasets through a server: both spellings, and the SDK."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import wait_until
from tests.server.conftest import Caller, Reply
from tests.server.processing.conftest import Shelf

from yangfan import Client, errors
from yangfan.datasets.formats import DataFormat

WAIT_SECONDS = 60.0


@pytest.fixture(autouse=True, scope="module")
def seeds(shelf: Shelf) -> None:
    shelf.put_prompts("seeds")
    shelf.put_texts("texts", ["plain"])
    shelf.empty("nothing", DataFormat.PROMPT_RESPONSE)


def enhance(caller: Caller, verb: str, body: dict[str, Any]) -> Reply:
    path = f"/wenxinworkshop/enhance/{verb}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


def action(caller: Caller, name: str, body: dict[str, Any]) -> Reply:
    path = f"/v2/dataprocessing?Action={name}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


def test_v1_task_runs_and_is_shown_listed_and_deleted(caller: Caller, shelf: Shelf) -> None:
    source, goal = shelf.version("seeds"), shelf.empty("v1-made", DataFormat.PROMPT_RESPONSE)
    body = {
        "name": "more of them",
        "isSelfInstruct": True,
        "sourceDatasetId": source.id,
        "destDatasetId": goal.id,
        "devApiId": "echo",
        "appId": 1,
        "numSeedFewshot": 3,
        "numInstancesToGenerate": 2,
        "similarityThreshold": 1.0,
    }
    assert enhance(caller, "create", body).json["result"] is True
    wanted = {"isSelfInstruct": True, "offset": 0, "pageSize": 10, "word": "more of"}
    listed = enhance(caller, "list", wanted).json["result"]
    assert listed["total"] == 1
    (item,) = listed["items"]
    assert item["destDatasetId"] == goal.id
    assert (item["projectType"], item["modelName"]) == (20, "echo")
    found: dict[str, Any] = {}

    def is_done() -> bool:
        found.update(enhance(caller, "detail", {"taskId": item["strId"]}).json["result"])
        return found["status"] == 3

    wait_until(is_done, "the end of the task", WAIT_SECONDS)
    assert (found["numSeedFewshot"], found["numInstancesToGenerate"]) == (3, 2)
    assert (found["similarityThreshold"], found["serviceName"]) == (1.0, "echo")
    assert found["entityCount"] == shelf.version(goal.id).rows
    assert enhance(caller, "delete", {"taskIds": [item["id"]]}).json["result"] == {"success": True}
    assert enhance(caller, "detail", {"taskId": item["id"]}).json["success"] is False


def test_v2_task_evolves_prompts_which_say_where_they_come_from(
    caller: Caller, shelf: Shelf
) -> None:
    made = action(
        caller,
        "CreateTextAugmentTask",
        {
            "taskName": "evolved",
            "srcDatasetVersionId": "seeds:1",
            "promptModel": "echo",
            "promptContext": "茶",
            "promptIteration": {"enable": False, "maxIterations": 1},
            "similarityThreshold": 1,
            "promptEvol": {"genType": "", "genWord": "", "addConstraint": 2, "direction": 1},
        },
    ).json["result"]
    found: dict[str, Any] = {}

    def is_done() -> bool:
        reply = action(caller, "DescribeTextAugmentTask", {"taskId": made["taskId"]})
        found.update(reply.json["result"])
        return found["status"] == "Succeeded"

    wait_until(is_done, "the end of the task", WAIT_SECONDS)
    assert (found["sampleCount"], found["askedCount"], found["progress"]) == (3, 6, 100)
    samples = shelf.samples(made["dstDatasetVersionId"])
    assert [sample.extra["provenance"]["method"] for sample in samples] == [
        "addConstraint",
        "addConstraint",
        "direction",
    ]
    assert all("与下列背景有关：茶" in sample.turns[0].prompt for sample in samples)
    wanted = {"filter": {"status": ["Succeeded"]}, "maxKeys": 100}
    listed = action(caller, "DescribeTextAugmentTasks", wanted).json["result"]["taskList"]
    assert made["taskId"] in {task["taskId"] for task in listed}
    wanted = {"filter": {"status": ["Failed"]}, "maxKeys": 100, "pageReverse": True}
    listed = action(caller, "DescribeTextAugmentTasks", wanted).json["result"]["taskList"]
    assert made["taskId"] not in {task["taskId"] for task in listed}
    gone = action(caller, "DeleteTextAugmentTask", {"taskId": made["taskId"]})
    assert gone.json["result"] is True
    assert action(caller, "DescribeTextAugmentTask", {"taskId": made["taskId"]}).status == 404


def test_the_sdk_makes_samples_in_rounds(client: Client, shelf: Shelf) -> None:
    task = client.augmentation.create(
        "seeds:1",
        "echo",
        evolution={"complexScene": 1},
        iterations=2,
        similarity_threshold=1.0,
        requests_per_minute=6000,
        idempotency_key="rounds",
    )
    again = client.augmentation.create(
        "seeds:1",
        "echo",
        evolution={"complexScene": 1},
        iterations=2,
        similarity_threshold=1.0,
        requests_per_minute=6000,
        idempotency_key="rounds",
    )
    assert again.id == task.id
    done = client.augmentation.wait(task.id, timeout_seconds=WAIT_SECONDS)
    assert (done.status, done.made, done.model, done.source) == ("Succeeded", 2, "echo", "seeds:1")
    second = shelf.samples(done.destination_id)[1].extra["provenance"]
    assert (second["iteration"], second["method"]) == (2, "complexScene")
    assert task.id in {item.id for item in client.augmentation.list()}
    client.augmentation.delete(task.id)
    with pytest.raises(errors.NotFound):
        client.augmentation.get(task.id)


def test_datasets_augment_waits_for_the_end(client: Client, shelf: Shelf) -> None:
    into = shelf.empty("short-way-made", DataFormat.PROMPT_RESPONSE).id
    done = client.datasets.augment(
        "seeds:1",
        "echo",
        into=into,
        evolution={"complexScene": 1},
        similarity_threshold=1.0,
    )
    assert (done.status, done.made, done.destination_id) == ("Succeeded", 1, into)
    assert len(shelf.samples(into)) == 1


def test_what_cannot_grow_is_refused(client: Client) -> None:
    with pytest.raises(errors.Invalid, match=r"can grow: PromptResponse, .*; texts:1 is Text"):
        client.augmentation.create("texts", "echo")
    with pytest.raises(errors.Invalid, match="nothing:1 has no samples"):
        client.augmentation.create("nothing", "echo")
    with pytest.raises(errors.NotFound, match="nobody"):
        client.augmentation.create("seeds", "nobody")
