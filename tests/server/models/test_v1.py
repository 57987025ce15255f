"""/wenxinworkshop/modelrepo on a real server whose jobs wait (specification D.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any

import pytest
from tests.conftest import serving
from tests.server.conftest import Caller

REPO = "/wenxinworkshop/modelrepo"


@pytest.fixture(scope="module", name="caller")
def caller_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Caller]:
    home = tmp_path_factory.mktemp("models")
    with serving(home, environ={"YANGFAN_JOBS_AT_ONCE": "0"}) as server:
        yield Caller(server)


def ask(caller: Caller, path: str, body: Any = None) -> Any:
    reply = caller.ask("POST", f"{REPO}/{path}", body, caller.signed("POST", f"{REPO}/{path}"))
    assert reply.status == 200, reply.body
    return reply.json


def v2(caller: Caller, action: str, **body: Any) -> Any:
    path = f"/v2/model?Action={action}"
    reply = caller.ask("POST", path, body, caller.signed("POST", path))
    assert reply.status == 200, reply.body
    return reply.json["result"]


def make(caller: Caller, name: str, set_type: str = "Text2Text", versions: int = 1) -> list[str]:
    set_id = v2(caller, "CreateCustomModelSet", modelSetName=name, modelType=set_type)["modelSetId"]
    made = [
        v2(
            caller,
            "CreateCustomModel",
            modelSetId=set_id,
            sourceType="Import",
            importMeta={"bucket": "b", "objectPath": "m"},
        )
        for _ in range(versions)
    ]
    for each in made:
        path = "/v2/jobs?Action=CancelJob"
        caller.ask("POST", path, {"id": each["jobId"]}, caller.signed("POST", path))
    return [set_id, *(each["modelId"] for each in made)]


def test_sets_and_versions_are_shown(caller: Caller):
    set_id, old, new = make(caller, "mine", versions=2)
    reply = ask(caller, "modelDetail", {"modelId": set_id})
    assert reply["log_id"]
    shown = reply["result"]
    assert (shown["modelIdStr"], shown["modelName"], shown["source"], shown["modelType"]) == (
        set_id,
        "mine",
        "UserCreate",
        0,
    )
    assert [each["modelVersionIdStr"] for each in shown["modelVersionList"]] == [new, old]
    assert ask(caller, "modelDetail", {"modelId": shown["modelId"]})["result"] == shown
    for reference in (old, shown["modelVersionList"][1]["modelVersionId"], "mine:1"):
        version = ask(caller, "modelVersionDetail", {"modelVersionId": reference})["result"]
        assert version["modelVersionIdStr"] == old
    assert (version["version"], version["state"], version["ioMode"]) == ("1", "Fail", "chat")
    assert version["error"] == "it was cancelled"
    assert version["sourceExtra"] == {
        "sourceType": "Import",
        "importModelVersionSourceExtra": {"bucket": "b", "object": "m", "source": "s3:b/m"},
    }
    assert (version["supportOptions"], version["deployResource"]) == ([], ["Private"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00", version["createTime"])
    assert "messages" in json.dumps(json.loads(version["params"]["input"]))
    preset = ask(caller, "modelVersionDetail", {"modelVersionId": "smollm2-135m-instruct"})
    assert (preset["result"]["ioLength"], preset["result"]["license"]) == ("8K", "Apache-2.0")
    assert preset["result"]["supportOptions"] == ["Deploy", "Evaluation", "APIDoc"]


def test_lists_page_filter_and_order(caller: Caller):
    for name, set_type in (
        ("list_a", "Text2Text"),
        ("list_b", "Text2Image"),
        ("list_c", "Industry"),
    ):
        make(caller, name, set_type, versions=0)

    def names(path: str, **body: Any) -> list[str]:
        return [each["modelName"] for each in ask(caller, path, body)["result"]]

    assert names("model/user/list", nameFilter="LIST_") == ["list_c", "list_b", "list_a"]
    assert names("model/user/list", nameFilter="list_", orderBy="create_time", order="asc") == [
        "list_a",
        "list_b",
        "list_c",
    ]
    assert names("model/user/list", nameFilter="list_", modelType=[1, 2]) == ["list_c", "list_b"]
    page = ask(caller, "model/user/list", {"nameFilter": "list_", "pageNo": 2, "pageSize": 2})
    assert ([each["modelName"] for each in page["result"]], page["totalCount"]) == (["list_a"], 3)
    assert "smollm2-135m-instruct" in names("model/preset/list", pageSize=100)
    assert names("model/preset/list", nameFilter="smollm2", ctxLength=["8K"]) == [
        "smollm2-135m-instruct"
    ]
    assert names("model/preset/list", nameFilter="smollm2", ctxLength=["32K"]) == []
    page = ask(caller, "model/preset/list", {"ctxLength": ["8K"], "pageNo": 2, "pageSize": 1})
    assert (len(page["result"]), page["totalCount"] > 1) == (1, True)
    vectors = ask(caller, "model/preset/list", {"modelType": [4], "pageSize": 100})["result"]
    assert {each["modelType"] for each in vectors} == {4}
    assert ask(caller, "model/preset/list")["result"]


def test_batches_are_deleted(caller: Caller):
    set_id, one, two = make(caller, "batch", versions=2)
    gone = ask(caller, "model/version/batchDelete", {"modelVersionIds": [one]})
    assert gone["result"] is True
    refusal = ask(caller, "model/version/batchDelete", {"modelVersionIds": [two, "amv-none"]})
    assert (refusal["error_code"], "there is no model version" in refusal["error_msg"]) == (3, True)
    assert sorted(refusal) == ["error_code", "error_msg", "log_id"]
    assert ask(caller, "modelVersionDetail", {"modelVersionId": two})["result"]
    assert ask(caller, "model/batchDelete", {"modelIDs": [set_id]})["result"] is True
    assert ask(caller, "modelDetail", {"modelId": set_id})["error_code"] == 3


def test_evaluable_models_are_listed(caller: Caller):
    bodies: list[dict[str, Any] | None] = [None, {}]
    for body in bodies:
        found = ask(caller, "eval/model/list", body)["result"]
        smol = next(each for each in found if each["modelName"] == "smollm2-135m-instruct")
        assert smol["source"] == "PlatformPreset"
        assert smol["modelVersionList"][0]["version"] == "1"
        assert all(each["modelName"] != "mine" for each in found)


def test_an_unknown_training_task_is_told(caller: Caller):
    meta = {"taskId": "job-x", "iterationId": "task-x", "step": 4}
    body: dict[str, Any] = {"isNewModel": True, "modelName": "fresh", "versionMeta": meta}
    refusal = ask(caller, "publishTrainModel", body)
    assert refusal["error_code"] == 3
    assert "there is no tuning task 'task-x'" in refusal["error_msg"]
    assert ask(caller, "modelDetail", {"modelId": "fresh"})["error_code"] == 3
    make(caller, "old", versions=0)
    refusal = ask(
        caller, "publishTrainModel", {"isNewModel": False, "modelId": "old", "versionMeta": meta}
    )
    assert "there is no tuning task 'task-x'" in refusal["error_msg"]


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        ("modelDetail", {}, 336001, "modelId"),
        ("modelDetail", {"modelId": 10**30}, 3, "there is no model set"),
        ("modelDetail", {"modelId": 10**15}, 3, "there is no model set"),
        ("modelDetail", {"modelId": [1]}, 336001, "modelId"),
        ("modelVersionDetail", {"modelVersionId": -1}, 3, "there is no model version"),
        ("model/user/list", {"pageNo": 0}, 336003, "pageNo"),
        ("model/user/list", {"pageSize": 100000}, 336003, "pageSize"),
        ("model/user/list", {"order": "up"}, 336003, "order"),
        ("model/batchDelete", {"modelIDs": []}, 336003, "modelIDs"),
        ("model/batchDelete", {"modelIDs": ["echo"]}, 336003, "echo belongs to the platform"),
        ("model/version/batchDelete", {"modelVersionIds": ["echo:1"]}, 336003, "belongs to the"),
        (
            "publishTrainModel",
            {"isNewModel": True, "versionMeta": {"taskId": 1, "iterationId": 2}},
            336003,
            "isNewModel true needs modelName",
        ),
        (
            "publishTrainModel",
            {"isNewModel": False, "versionMeta": {"taskId": 1, "iterationId": 2}},
            336003,
            "isNewModel false needs modelId",
        ),
        ("publishTrainModel", {"isNewModel": True}, 336001, "versionMeta"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    caller: Caller, path: str, body: dict[str, Any], code: int, message: str
):
    reply = ask(caller, path, body)
    assert (reply["error_code"], message in reply["error_msg"]) == (code, True), reply
