"""The Actions of /v2/model, uploads and downloads, on a real server whose jobs wait (specification D.2)."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Generator
from typing import Any

import pytest
from tests.conftest import serving
from tests.server.conftest import Caller, Reply

MODEL = "/v2/model"


@pytest.fixture(scope="module", name="caller")
def caller_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Caller]:
    waiting = {"YANGFAN_JOBS_AT_ONCE": "0", "YANGFAN_MAX_UPLOAD_BYTES": "2048"}
    with serving(tmp_path_factory.mktemp("models"), environ=waiting) as server:
        yield Caller(server)


def act(caller: Caller, action: str, body: Any) -> Reply:
    path = f"{MODEL}?Action={action}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


def result(caller: Caller, action: str, **body: Any) -> Any:
    reply = act(caller, action, body)
    assert reply.status == 200, reply.body
    return reply.json["result"]


def refused(caller: Caller, action: str, **body: Any) -> tuple[int, str, str]:
    reply = act(caller, action, body)
    return reply.status, reply.json["code"], reply.json["message"]


def make_set(caller: Caller, name: str, **more: Any) -> str:
    wanted = {"modelSetName": name, "modelType": "Text2Text", **more}
    return result(caller, "CreateCustomModelSet", **wanted)["modelSetId"]


def import_into(caller: Caller, set_id: str, **meta: Any) -> dict[str, Any]:
    return result(
        caller,
        "CreateCustomModel",
        modelSetId=set_id,
        sourceType="Import",
        importMeta=meta or {"source": "hf:a/b"},
    )


def test_sets_are_made_paged_shown_and_deleted(caller: Caller):
    ids = [make_set(caller, f"set{n}", labels=["客服"]) for n in range(3)]
    assert all(re.fullmatch(r"am-[0-9a-f]{12}", set_id) for set_id in ids)
    page = result(caller, "DescribeCustomModelSets", marker=ids[0], maxKeys=2)
    assert page["pageInfo"] == {
        "marker": ids[0],
        "maxKeys": 2,
        "isTruncated": True,
        "nextMarker": ids[2],
    }
    first = page["customModelSetList"][0]
    assert (first["modelSetId"], first["labels"], first["modelIds"]) == (ids[0], ["客服"], [])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00", first["createTime"])
    last = result(caller, "DescribeCustomModelSets", marker=ids[2], pageReverse=True, maxKeys=1000)
    assert [each["modelSetId"] for each in last["customModelSetList"]][:3] == ids[::-1]
    assert last["pageInfo"]["maxKeys"] == 100
    for asked in ({"modelSetId": ids[1]}, {"modelSetName": "set1"}):
        shown = result(caller, "DescribeModelSet", **asked)
        assert (shown["modelSetId"], shown["source"], shown["modelIds"]) == (
            ids[1],
            "UserCreate",
            [],
        )
    assert refused(caller, "CreateCustomModelSet", modelSetName="set1", modelType="Text2Text") == (
        409,
        "OperationNotAllowed",
        "there is a model set named set1; choose another name, or add a version to it",
    )
    for set_id in ids:
        assert result(caller, "DeleteModelSet", modelSetId=set_id) is True
    assert refused(caller, "DescribeModelSet", modelSetId=ids[0])[:2] == (404, "ResourceNotFound")


def test_the_platforms_sets_are_listed(caller: Caller):
    page = result(caller, "DescribeSystemModelSets", maxKeys=100)
    found = {each["modelSetName"]: each for each in page["systemModelSetList"]}
    smol = found["smollm2-135m-instruct"]
    assert (smol["modelCount"], smol["modelNames"]) == (1, ["smollm2-135m-instruct:1"])
    assert found["bge-large-zh-v1.5"]["modelType"] == "TextRepresentation"
    shown = result(caller, "DescribeSystemModel", modelId=smol["modelIds"][0])
    assert "sourceInfo" not in shown
    assert (shown["status"], shown["modelApplicationType"]) == ("Ready", "chat")
    assert shown["tokenLimitations"]["trivial"]["inputTokens"] == 8192
    assert (shown["licence"], shown["isSupportModelComp"]) == ("Apache-2.0", False)
    both = result(caller, "DescribeModel", modelId="smollm2-135m-instruct:1")
    assert both["sourceInfo"]["sourceType"] == "PlatformPreset"


def test_a_version_is_imported_shown_described_and_deleted(caller: Caller):
    set_id = make_set(caller, "imports")
    made = import_into(
        caller,
        set_id,
        bucket="models",
        objectPath="/llama/",
        modelFormat="HuggingFace.Transformers",
        modelApplicationType="chat",
    )
    assert re.fullmatch(r"amv-[0-9a-f]{12}", made["modelId"])
    shown = result(caller, "DescribeModel", modelId=made["modelId"])
    assert (shown["status"], shown["modelName"], shown["jobId"]) == (
        "Creating",
        "imports:1",
        made["jobId"],
    )
    assert "description" not in shown
    assert shown["sourceInfo"] == {
        "sourceType": "Import",
        "bosPath": "bos:/models/llama",
        "source": "s3:models/llama",
    }
    assert shown["progress"]["done"] == 0
    assert result(caller, "ModifyModel", modelId="imports:1", description="base") is True
    assert result(caller, "DescribeModel", modelId="imports:1")["description"] == "base"
    status, code, message = refused(caller, "DeleteModel", modelId=made["modelId"])
    assert (status, code) == (409, "OperationNotAllowed")
    assert message == f"imports:1 is being made by the job {made['jobId']}; cancel that first"
    path = "/v2/jobs?Action=CancelJob"
    cancelled = caller.ask("POST", path, {"id": made["jobId"]}, caller.signed("POST", path))
    assert cancelled.status == 200, cancelled.body
    shown = result(caller, "DescribeModel", modelId=made["modelId"])
    assert (shown["status"], shown["error"]) == ("Fail", "it was cancelled")
    assert result(caller, "DeleteModel", modelId=made["modelId"]) is True
    assert refused(caller, "DescribeModel", modelId=made["modelId"])[0] == 404


def test_what_was_said_at_the_import_is_kept(caller: Caller):
    conf = {"latestQuestionTemplate": "Q: {question}", "promptTemplate": "{input}"}
    set_id = make_set(caller, "confs")
    kept = {
        "transformerVersion": "4.36.2",
        "vllmVersion": "0.4.0",
        "baseModel": "HuggingFace",
        "autoPromptConcat": False,
        "compressConf": {"strategy": "greedySearch"},
    }
    made = import_into(caller, set_id, source="hf:a/b", chatConf=conf, **kept)
    told = result(caller, "DescribeModelCustomAdvancedConf", modelId=made["modelId"])
    assert {name: told["chatConf"][name] for name in conf} == conf
    assert {name: told[name] for name in kept} == kept
    assert result(caller, "DescribeModel", modelId=made["modelId"])["model"] == "HuggingFace"
    body = {"modelSetId": set_id, "sourceType": "Import"}
    wrong = {"source": "hf:a/b", "chatConf": {"latestQuestionTemplate": "no place"}}
    status, _, message = refused(caller, "CreateCustomModel", **body, importMeta=wrong)
    assert status == 400
    assert "latestQuestionTemplate must hold {question} once" in message
    both = {"source": "hf:a/b", "chatConf": conf, "customSpec": {"displayName": "mine"}}
    status, _, message = refused(caller, "CreateCustomModel", **body, importMeta=both)
    assert (status, "both chatConf and customSpec; give one" in message) == (400, True)


def test_the_platform_tells_what_can_run_a_model(caller: Caller):
    told = result(
        caller,
        "DescribeModelSystemAdvancedConf",
        modelApplicationType="chat",
        modelFormat="GGUF",
    )
    assert "llama_cpp" in told["engines"]
    assert told["llamaCppVersions"] == [importlib.metadata.version("xllamacpp")]
    assert told["chatConf"]["promptTemplate"] == "{input}"


def test_a_repeated_call_with_one_key_makes_one_version(caller: Caller):
    body = {
        "modelSetId": make_set(caller, "once"),
        "sourceType": "Import",
        "importMeta": {"source": "hf:a/b"},
        "idempotencyKey": "k",
    }
    first, second = (result(caller, "CreateCustomModel", **body) for _ in range(2))
    assert first == second


def test_versions_page_and_labels_move(caller: Caller):
    set_id = make_set(caller, "many")
    ids = [import_into(caller, set_id)["modelId"] for _ in range(3)]
    page = result(caller, "DescribeModels", modelSetId="many", maxKeys=2, pageReverse=True)
    assert [each["modelName"] for each in page["modelList"]] == ["many:3", "many:2"]
    assert page["pageInfo"]["nextMarker"] == ids[0]
    assert result(caller, "DescribeModels", modelSetId="many", status="Ready")["modelList"] == []
    shown = result(caller, "DescribeModelSet", modelSetId=set_id)
    assert (shown["modelIds"], shown["versionLabels"]) == (ids[::-1], {})
    label = {"modelSetId": set_id, "label": "production"}
    refusal = refused(caller, "SetModelLabel", **label, modelId=ids[0])
    assert refusal == (
        409,
        "OperationNotAllowed",
        "many:1 is Creating; label it when it is Ready",
    )
    assert refused(caller, "DeleteModelLabel", **label)[:2] == (404, "ResourceNotFound")


def test_an_export_is_begun_shown_and_fetched(caller: Caller):
    status, code, message = refused(caller, "CreateModelExportTask", modelId="echo:1")
    assert (status, code) == (409, "OperationNotAllowed")
    assert "`yangfan pull echo` fetches its files" in message
    assert refused(caller, "DescribeModelExportTask", modelId="echo:1")[0] == 404
    path = f"{MODEL}/export/amve-0"
    reply = caller.ask("GET", path, None, caller.signed("GET", path))
    assert (reply.status, reply.json["code"]) == (404, "ResourceNotFound")
    assert caller.ask("GET", path).status == 403


def test_a_compression_is_begun_listed_cancelled_and_forgotten(caller: Caller):
    body = {
        "name": "c",
        "sourceModelId": "echo:1",
        "modelSetId": make_set(caller, "small"),
        "config": {"strategy": "Quantization", "weight": "W4A16C16"},
    }
    assert refused(caller, "CreateModelCompTask", **body)[:2] == (409, "OperationNotAllowed")
    assert result(caller, "DescribeModelCompTasks")["modelCompTaskList"] == []
    for action in ("DescribeModelCompTask", "CancelModelCompTask", "DeleteModelCompTask"):
        status, _, message = refused(caller, action, modelCompTaskId="amva-0")
        assert (status, message) == (404, "there is no compression task 'amva-0'")


def send(caller: Caller, upload: str, query: str, content: bytes) -> Reply:
    path = f"{MODEL}/upload/{upload}?{query}"
    return caller.ask("POST", path, content, caller.signed("POST", path))


def test_files_are_sent_in_pieces(caller: Caller):
    upload = result(caller, "CreateModelUpload")
    assert (upload["maxBytes"], upload["files"]) == (2048, [])
    upload_id = upload["uploadId"]
    reply = send(caller, upload_id, "path=config.json&offset=0", b"{")
    assert reply.json["result"] == {"path": "config.json", "sizeBytes": 1}
    assert send(caller, upload_id, "path=config.json&offset=1", b"}").status == 200
    shown = result(caller, "DescribeModelUpload", uploadId=upload_id)
    assert shown["files"] == [{"path": "config.json", "sizeBytes": 2}]
    made = import_into(caller, make_set(caller, "sent"), source=f"upload:{upload_id}")
    assert made["jobId"].startswith("jb-")
    assert result(caller, "DeleteModelUpload", uploadId=upload_id) is True
    assert refused(caller, "DescribeModelUpload", uploadId=upload_id)[0] == 404


@pytest.mark.parametrize(
    ("query", "content", "status", "message"),
    [
        ("path=../x&offset=0", b"x", 400, r"cannot be stored safely: '\.\./x'"),
        ("offset=0", b"x", 400, "cannot be stored safely: ''"),
        ("path=a&offset=x", b"x", 400, "offset is how many bytes of the file are here already"),
        ("path=a&offset=7", b"x", 409, "a has 0 bytes here, not 7; go on from offset=0"),
        ("path=a", b"x" * 2049, 400, "an upload has at most 2048 bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    caller: Caller, query: str, content: bytes, status: int, message: str
):
    upload_id = result(caller, "CreateModelUpload")["uploadId"]
    reply = send(caller, upload_id, query, content)
    assert reply.status == status, reply.body
    assert re.search(message, reply.json["message"])


def test_an_upload_needs_a_signature(caller: Caller):
    reply = caller.ask("POST", f"{MODEL}/upload/up-x?path=a", b"x")
    assert reply.status == 403


@pytest.mark.parametrize(
    ("action", "body", "status", "message"),
    [
        ("CreateCustomModelSet", {"modelSetName": "a:b", "modelType": "Text2Text"}, 400, "1 to 64"),
        ("CreateCustomModelSet", {"modelSetName": "ab", "modelType": "X"}, 400, "modelType"),
        ("CreateCustomModelSet", {"modelType": "Text2Text"}, 400, "modelSetName"),
        ("DescribeCustomModelSets", {"maxKeys": 0}, 400, "maxKeys"),
        ("DescribeCustomModelSets", {"marker": "am-no"}, 404, "marker: there is no model set"),
        ("DescribeModelSet", {}, 400, "say which set: modelSetId or modelSetName"),
        ("DeleteModelSet", {"modelSetId": "echo"}, 409, "echo belongs to the platform and stays"),
        ("DescribeSystemModel", {"modelId": "bad:1"}, 404, "there is no model set 'bad'"),
        (
            "CreateCustomModel",
            {"modelSetId": "bad", "sourceType": "Import"},
            400,
            "sourceType Import needs importMeta",
        ),
        (
            "CreateCustomModel",
            {"modelSetId": "bad", "sourceType": "Train"},
            400,
            "sourceType Train needs trainMeta",
        ),
        (
            "CreateCustomModel",
            {"modelSetId": "bad", "sourceType": "Import", "importMeta": {}},
            400,
            "importMeta needs bucket and objectPath, or source",
        ),
        (
            "CreateCustomModel",
            {
                "modelSetId": "bad",
                "sourceType": "Import",
                "importMeta": {"source": "hf:a/b", "bucket": "x"},
            },
            400,
            "importMeta has both a source and a bucket",
        ),
        (
            "CreateCustomModel",
            {"modelSetId": "echo", "sourceType": "Import", "importMeta": {"source": "hf:a/b"}},
            409,
            "echo belongs to the platform; add the version to a set of your own",
        ),
        (
            "CreateCustomModel",
            {"modelSetId": "bad", "sourceType": "Copy"},
            400,
            "sourceType",
        ),
        (
            "CreateModelExportTask",
            {"modelId": "echo:1", "form": "tar"},
            400,
            "form",
        ),
        ("DescribeModels", {"modelSetId": "echo", "marker": "amv-no"}, 404, "no model version"),
        ("DescribeModels", {"modelSetId": "echo", "status": "Lost"}, 400, "status"),
        ("DescribeModelSystemAdvancedConf", {"modelApplicationType": "tv"}, 400, "modelAppl"),
        ("SetModelLabel", {"modelSetId": "echo", "label": "", "modelId": "echo:1"}, 400, "label"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    caller: Caller, action: str, body: dict[str, Any], status: int, message: str
):
    found, _, told = refused(caller, action, **body)
    assert (found, message in told) == (status, True), told


def test_a_training_task_that_is_not_there_is_told(caller: Caller):
    body = {"modelSetId": make_set(caller, "trained"), "sourceType": "Train"}
    status, _, message = refused(
        caller, "CreateCustomModel", **body, trainMeta={"taskId": "task-x", "step": 50}
    )
    assert status == 404
    assert message.startswith("there is no tuning task 'task-x'; DescribeFineTuningTasks lists")


def test_the_actions_need_a_signature(caller: Caller):
    path = f"{MODEL}?Action=DescribeCustomModelSets"
    assert caller.ask("POST", path, {}).status == 403


def test_a_file_may_be_larger_than_any_json_body(tmp_path_factory: pytest.TempPathFactory):
    small = {"YANGFAN_JOBS_AT_ONCE": "0", "YANGFAN_MAX_BODY_BYTES": "4096"}
    with serving(tmp_path_factory.mktemp("large"), environ=small) as server:
        caller = Caller(server)
        upload_id = result(caller, "CreateModelUpload")["uploadId"]
        content = bytes(range(256)) * 40_000
        reply = send(caller, upload_id, "path=model.safetensors&offset=0", content)
        assert reply.json["result"]["sizeBytes"] == len(content)
        kept = server.home / "uploads" / upload_id / "model.safetensors"
        assert kept.read_bytes() == content
        assert act(caller, "CreateCustomModelSet", {"modelSetName": "x" * 5000}).status == 400
