"""Evaluations (specification D.14) on a real server with real workers: both dialects, our SDK and the official one."""

from __future__ import annotations

import io
import json
import re
import urllib.request
import zipfile
from collections.abc import Generator
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller

import yangfan
from yangfan import errors

WAIT_SECONDS = 60.0
SAMPLES = [
    {"prompt": "上海", "response": "上海"},
    {"prompt": "the red sail", "response": "a red sail"},
    {"prompt": "no answer is expected"},
]


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("evaluation") / "home") as server:
        yield server


@pytest.fixture(scope="module", name="client")
def client_fixture(server: Server) -> Generator[yangfan.Client]:
    with yangfan.Client(
        server.base_url,
        bearer=server.bearer,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        yield client


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(client: yangfan.Client) -> str:
    content = "\n".join(json.dumps(sample, ensure_ascii=False) for sample in SAMPLES)
    return client.files.upload(content.encode(), "evals", name="samples.jsonl").id


class Console:
    """Signed calls of the console."""

    def __init__(self, server: Server) -> None:
        self.caller = Caller(server)

    def v1(self, path: str, **body: Any) -> Any:
        path = f"/wenxinworkshop/modelrepo/eval/{path}"
        return self.caller.ask("POST", path, body, self.caller.signed("POST", path)).json

    def v2(self, action: str, **body: Any) -> Any:
        path = f"/v2/eval?Action={action}"
        return self.caller.ask("POST", path, body, self.caller.signed("POST", path))


@pytest.fixture(scope="module", name="console")
def console_fixture(server: Server) -> Console:
    return Console(server)


def test_models_are_graded_with_intervals_and_reasons(client: yangfan.Client, dataset: str):
    id = client.evaluations.create(
        "two prompts",
        dataset=dataset,
        models=["echo", {"modelId": "echo", "name": "wordy", "promptTemplate": "{input} 好"}],
        scorers=["exact", "rouge:l", "f1", "embedding_similarity"],
    )
    found = client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert (found.state, found.name) == ("Successed", "two prompts")
    report = client.evaluations.report(id)
    plain, wordy = report.models
    assert (report.samples, plain.answered, plain.failed) == (3, 3, 0)
    exact = plain.figures["exact"]
    assert (exact.value, exact.graded) == (0.5, 2)
    assert exact.ungradeable == {"the sample has no expected answer to compare with": 1}
    assert exact.low is not None
    assert exact.high is not None
    assert exact.low < 0.5 < exact.high
    assert wordy.figures["exact"].value == 0.0
    assert plain.figures["rouge_l"].value == pytest.approx((1 + 2 / 3) / 2)
    answers = client.evaluations.results(id)
    assert len(answers) == 6
    assert answers[3].answer == "上海 好"
    assert answers[2].scores["f1"] is None
    assert "no expected answer" in answers[2].reasons["f1"]
    assert id in [each.id for each in client.evaluations.list()]
    job = client.jobs.get(found.job_id)
    assert job.state == "succeeded"
    client.evaluations.delete(id)
    with pytest.raises(errors.NotFound, match="no evaluation"):
        client.evaluations.get(id)


def test_judge_without_a_verdict_leaves_answers_ungradeable_and_models_are_compared(
    client: yangfan.Client, dataset: str
):
    id = client.evaluations.create(
        "judged",
        dataset=dataset,
        models=["echo", {"modelId": "echo", "name": "b"}],
        scorers=[{"name": "judge", "label": "judge", "parameters": {"model": "echo"}}],
        pairwise={"model": "echo"},
    )
    client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    report = client.evaluations.report(id)
    figure = report.models[0].figures["judge"]
    assert (figure.value, figure.low, figure.graded) == (None, None, 0)
    assert sum(figure.ungradeable.values()) == 3
    assert report.strengths["echo"] == pytest.approx(0.0)
    assert report.pairs[0].get("value") is None


def test_model_that_refuses_is_told_apart(client: yangfan.Client, dataset: str):
    id = client.evaluations.create(
        "half",
        dataset=dataset,
        models=["echo", {"modelId": "echo", "name": "hot", "temperature": 9.0}],
        scorers=["exact"],
    )
    found = client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert found.state == "Successed"
    hot = client.evaluations.report(id).models[1]
    assert (hot.answered, hot.failed) == (0, 3)
    (reason,) = hot.figures["exact"].ungradeable
    assert reason.startswith("no answer: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["nobody"]}, "nobody"),
        ({"scorers": ["bleurt"]}, "no scorers named 'bleurt'"),
        ({"scorers": [{"name": "rouge", "parameters": {"variant": "9"}}]}, "scorer rouge"),
        ({"dataset": "ds-nobody"}, "ds-nobody"),
        ({"dataset": "file-nobody"}, "no file"),
        ({"models": [{"modelId": "echo", "promptTemplate": "x"}]}, "must contain {input}"),
        ({"models": ["echo"] * 6}, "1 to 5 models"),
        ({"scorers": []}, "needs evalMode"),
    ],
)
def test_order_that_is_wrong_is_refused(
    client: yangfan.Client, dataset: str, changes: dict[str, Any], message: str
):
    order: dict[str, Any] = {
        "dataset": dataset,
        "models": ["echo"],
        "scorers": ["exact"],
        **changes,
    }
    with pytest.raises((errors.Invalid, errors.NotFound), match=re.escape(message)):
        client.evaluations.create("wrong", **order)


def test_v1_evaluates_reports_exports_and_deletes(console: Console, dataset: str):
    conf = {"evalMode": "rule,model", "scoreModes": ["similarity", "accuracy"], "apiName": "echo"}
    made = console.v1(
        "create",
        name="v1",
        versionEvalInfo=[{"modelId": "am-x", "modelVersionId": "echo"}],
        datasetId=dataset,
        evalStandardConf=conf,
        computeResourceConf={"vmType": 1, "vmNumber": 8},
    )["result"]
    id = made["evalIdStr"]

    def detail() -> Any:
        return console.v1("detail", id=id)["result"]

    wait_until(lambda: detail()["state"] in {"Done", "Failed"}, "the end", WAIT_SECONDS)
    shown = detail()
    assert (shown["state"], shown["evaluationId"]) == ("Done", made["evalId"])
    assert shown["evalUnits"][0]["modelVersionId"] == "echo"
    assert "resultDatasetIdStr" in shown["evalStandardConf"]
    (unit,) = console.v1("report", id=made["evalId"])["result"]
    metric = unit["effectMetric"]
    assert metric["accuracy"] == 0.5
    assert metric["rouge_1"] == pytest.approx((1 + 2 / 3) / 2)
    assert metric["avgJudgeScore"] is None
    assert metric["scoreDistribution"] == {"-1": 3}
    listed = console.v1("result/list", id=id, pageSize=2, orderBy="rouge_1", order="desc")["result"]
    assert (listed["total"], listed["list"][0]["prediction"]) == (3, "上海")
    exported = console.v1(
        "result/export", id=id, exportType="local", exportOpt="total", exportContent=["prompt"]
    )["result"]
    info = console.v1("result/export/info", exportID=exported["exportIDStr"])["result"]
    assert info["state"] == "Done"
    with urllib.request.urlopen(info["downloadUrl"]) as reply:
        archive = zipfile.ZipFile(io.BytesIO(reply.read()))
    first = json.loads(archive.read("data.jsonl").splitlines()[0])[0]
    assert (first["Prompt问题"], first["预期回答"], first["ROUGE-1"]) == ("上海", "上海", 1.0)
    assert first["裁判员模型打分"] is None
    path = "/v2/evalexports/amemt-" + "0" * 32 + "-1"
    assert console.caller.ask("GET", path).status == 400
    assert console.v1("cancel", id=id)["error_code"]
    assert console.v1("delete", evalIds=[id])["result"] is True
    assert console.v1("detail", id=id)["error_code"]
    wrong = console.v1(
        "create",
        name="w",
        versionEvalInfo=[{"modelVersionId": "echo"}],
        datasetId=dataset,
        evalStandardConf={"evalMode": "vibes"},
    )
    assert "evalMode is made of rule, model and manual" in wrong["error_msg"]


def test_evaluation_by_people_waits_for_them_and_can_be_stopped(console: Console, dataset: str):
    order = {
        "taskName": "人工",
        "evalObjectType": "model",
        "evalObjectConfig": {
            "evalModelConfig": {"versionId": dataset, "evalModelConfigList": [{"modelId": "echo"}]}
        },
        "evalConfig": {
            "evalMode": "manual",
            "manualEvalConfig": {"dimensions": [{"dimension": "满意度"}]},
        },
    }
    id = console.v2("CreateEvalTask", **order).json["result"]

    def shown() -> Any:
        return console.v2("DescribeEvalTask", taskId=id).json["result"]

    wait_until(lambda: shown()["state"] == "RunningWithManualBegin", "people's turn", WAIT_SECONDS)
    assert console.v1("detail", id=id)["result"]["state"] == "DoingWithManualBegin"
    assert shown()["evalType"] == "manual"
    listed = console.v2("DescribeEvalTasks", evalType="manual", keyFilter="人").json["result"]
    assert [each["taskId"] for each in listed["evalList"]] == [id]
    assert console.v2("StopEvalTask", taskId=id).json["result"] is True
    assert shown()["state"] == "Stopped"
    assert console.v2("DeleteEvalTask", taskId=id).json["result"] is True
    assert console.v2("DescribeEvalTask", taskId=id).status == 404
