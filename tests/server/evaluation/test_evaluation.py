"""Evaluations (specification D.14) on a real server with real workers: both dialects, our SDK and the official one."""

from __future__ import annotations

import io
import json
import re
import urllib.request
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller

import yangfan
from yangfan import errors
from yangfan.client.evaluations import HumanScore

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
    assert report.strengths == {"echo": pytest.approx(0.0), "b": pytest.approx(0.0)}
    assert [(pair["a"], pair["b"]) for pair in report.pairs] == [("echo", "b")]
    assert [each.name for each in client.evaluations.results(id)[::3]] == ["echo", "b"]
    assert report.pairs[0].get("value") is None


def test_model_that_refuses_is_told_apart(client: yangfan.Client, console: Console, dataset: str):
    hottest: dict[str, Any] = {"modelId": "echo", "name": "hot", "temperature": 9.0}
    only = client.evaluations.create("none", dataset=dataset, models=[hottest], scorers=["exact"])
    failed = client.evaluations.wait(only, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert failed.state == "Failed"
    assert console.v1("detail", id=only)["result"]["state"] == "Failed"
    id = client.evaluations.create(
        "half",
        dataset=dataset,
        models=["echo", hottest],
        scorers=["exact"],
    )
    found = client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert found.state == "Successed"
    hot = client.evaluations.report(id).models[1]
    assert (hot.answered, hot.failed) == (0, 3)
    (reason,) = hot.figures["exact"].ungradeable
    assert reason.startswith("no answer: ")
    assert console.v1("detail", id=id)["result"]["state"] == "PartlyDone"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["nobody"]}, "nobody"),
        ({"scorers": ["bleurt"]}, "no scorers named 'bleurt'"),
        ({"scorers": [{"name": "rouge", "parameters": {"variant": "9"}}]}, "scorer rouge"),
        (
            {"scorers": [{"name": "embedding_similarity", "parameters": {"model": "x"}}]},
            "model 'x'",
        ),
        ({"dataset": "ds-nobody"}, "ds-nobody"),
        ({"dataset": "file-nobody"}, "no file"),
        ({"models": [{"modelId": "echo", "promptTemplate": "x"}]}, "must contain {input}, or name"),
        ({"models": [{"modelId": "echo", "promptTemplate": "x\ny"}]}, "must contain {input}"),
        ({"models": [{"modelId": "echo", "templateId": "nobody@3"}]}, "nobody"),
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


def test_prompt_of_a_model_is_a_template_by_its_name_and_label(
    client: yangfan.Client, dataset: str
):
    made = client.prompts.create("shout", "{{input}}{{mark}}", identifier="{{}}")
    client.prompts.label("shout", "production")
    client.prompts.create("still", "Say nothing.")
    client.prompts.update("shout", text="{{mark}}{{input}}")
    models = [
        {"modelId": "echo", "promptTemplate": "shout@production", "variables": {"mark": "!"}},
        {"modelId": "echo", "name": "named", "templateId": made.id, "variables": {"mark": "?"}},
    ]
    id = client.evaluations.create("templates", dataset=dataset, models=models, scorers=["exact"])
    client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    report = client.evaluations.report(id)
    assert [model.name for model in report.models] == ["echo shout@1", "named"]
    assert [model.prompt for model in report.models] == ["shout@1", "shout@2"]
    answers = [answer.answer for answer in client.evaluations.results(id)]
    assert (answers[0], answers[3]) == ("上海!", "?上海")
    for wrong, said in (
        ([{**models[0], "variables": {}}], "has the variables mark, too"),
        ([{"modelId": "echo", "promptTemplate": "shout@staging"}], "staging"),
        ([{"modelId": "echo", "promptTemplate": "still"}], "has no variable input"),
    ):
        with pytest.raises((errors.Invalid, errors.NotFound), match=said):
            client.evaluations.create("wrong", dataset=dataset, models=wrong, scorers=["exact"])


def test_registered_model_that_is_served_has_its_name(
    client: yangfan.Client, console: Console, dataset: str
):
    served = client.models.version("echo")
    conf = {"evalMode": "rule", "scoreModes": ["accuracy"]}
    id = console.v1(
        "create",
        name="named",
        versionEvalInfo=[{"modelVersionId": served.id}],
        datasetId=dataset,
        evalStandardConf=conf,
    )["result"]["evalIdStr"]
    client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    (reported,) = console.v1("report", id=id)["result"]
    names = ("modelName", "modelVersion", "modelId", "modelVersionId")
    wanted = ["echo", "1", served.set_id, served.id]
    assert [reported[name] for name in names] == wanted
    (unit,) = console.v1("detail", id=id)["result"]["evalUnits"]
    assert [unit[name] for name in names] == wanted
    assert client.evaluations.report(id).models[0].name == "echo:1"


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
    for ranges, count in (
        ({"rouge_1": {"start": 0.5, "end": 0.9}}, 1),
        ({"rouge_1": {"start": 0.5}}, 2),
        ({"judgeScore": {"start": -1, "end": -1}}, 3),
        ({"judgeScore": {"start": 0}}, 0),
        ({"evalUnitId": [shown["evalUnits"][0]["evalUnitId"]]}, 3),
        ({"evalUnitId": ["another"]}, 0),
    ):
        assert console.v1("result/list", id=id, **ranges)["result"]["total"] == count
    exported = console.v1("result/export", id=id, exportType="local", exportOpt="total")["result"]

    def info_of(export: int | str) -> Any:
        return console.v1("result/export/info", exportID=export)["result"]

    def shown_export() -> Any:
        return info_of(exported["exportIDStr"])

    wait_until(lambda: shown_export()["state"] == "Done", "the export", WAIT_SECONDS)
    info = shown_export()
    with urllib.request.urlopen(info["downloadUrl"]) as reply:
        archive = zipfile.ZipFile(io.BytesIO(reply.read()))
    first = json.loads(archive.read("data.jsonl").splitlines()[0])[0]
    assert (first["Prompt问题"], first["预期回答"], first["ROUGE-1"]) == ("上海", "上海", 1.0)
    assert first["裁判员模型打分"] is None
    part = console.v1("result/export", id=id, exportContent=["prompt", "metrics"])["result"]
    wait_until(lambda: info_of(part["exportID"])["state"] == "Done", "it", WAIT_SECONDS)
    with urllib.request.urlopen(info_of(part["exportID"])["downloadUrl"]) as reply:
        archive = zipfile.ZipFile(io.BytesIO(reply.read()))
    line = json.loads(archive.read("data.jsonl").splitlines()[0])[0]
    assert ("Prompt问题" in line, "模型结果" in line, "ROUGE-1" in line) == (True, False, True)
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
    for prompt, message in (
        ({"templateContent": "Grade {{src}}"}, "must contain {prediction}"),
        ({"maxScore": "many"}, "maxScore of the judge must be a whole number"),
        ({"minScore": 9, "maxScore": 5}, "min_score must be below max_score"),
        (["no"], "prompt of the judge must be an object"),
    ):
        refused = console.v1(
            "create",
            name="w",
            versionEvalInfo=[{"modelVersionId": "echo"}],
            datasetId=dataset,
            evalStandardConf={"evalMode": "model", "apiName": "echo", "prompt": prompt},
        )
        assert message in refused["error_msg"]


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
    assert console.v2("ScoreEvalTaskResults", taskId=id, scores=[]).status == 400
    assert console.v2("StopEvalTask", taskId=id).json["result"] is True
    assert shown()["state"] == "Stopped"
    assert console.v1("detail", id=id)["result"]["state"] == "Stopped"
    assert console.v2("DeleteEvalTask", taskId=id).json["result"] is True
    assert console.v2("DescribeEvalTask", taskId=id).status == 404


def test_people_score_answers_and_their_figures_have_intervals(
    client: yangfan.Client, console: Console, dataset: str
):
    quality = {"dimension": "quality", "minScore": 1, "maxScore": 10}
    id = client.evaluations.create(
        "people", dataset=dataset, models=["echo"], dimensions=["满意度", quality]
    )
    found = client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert found.state == "RunningWithManualBegin"
    report = client.evaluations.report(id)
    assert (report.manual, report.scored, report.to_score) == ("wait", 0, 3)
    empty = report.models[0].figures["manual:满意度"]
    assert (empty.value, empty.low, empty.ungradeable) == (None, None, {"nobody has scored it": 3})
    answers = [each.id for each in client.evaluations.results(id)]
    state = client.evaluations.score(
        id,
        [
            HumanScore(answers[0], 5, comment="right"),
            HumanScore(answers[0], 4, scorer="second"),
            HumanScore(answers[1], 1),
        ],
    )
    assert state == "doing"
    assert client.evaluations.score(id, [HumanScore(answers[1], 2)]) == "doing"
    report = client.evaluations.report(id)
    figure = report.models[0].figures["manual:满意度"]
    assert (figure.value, figure.graded, report.scored) == (pytest.approx(3.25), 2, 0)
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < 3.25 < figure.high
    first = client.evaluations.results(id)[0]
    assert (first.scores["manual:满意度"], first.reasons["manual:满意度"]) == (4.5, "right")
    for wrong, said in (
        (HumanScore("r-99", 1), "has no answer 'r-99'"),
        (HumanScore(answers[0], 6), "must be from 0 to 5, got 6"),
        (HumanScore(answers[0], 0.5, "quality"), "must be from 1 to 10, got 0.5"),
        (HumanScore(answers[0], 1, "taste"), "dimension must be one of 满意度, quality"),
    ):
        with pytest.raises(errors.Invalid, match=said):
            client.evaluations.score(id, [wrong])
    told = console.v1(
        "result/score",
        id=id,
        scores=[{"resultId": each, "dimension": "quality", "score": 9} for each in answers],
    )["result"]
    assert told == {"state": "doing", "scored": 2, "total": 3}
    listed = console.v1("result/list", id=id)["result"]["list"]
    assert listed[0]["manualScores"] == {"满意度": 4.5, "quality": 9.0}
    assert console.v1("result/finish", id=id, subjectiveImpression="fair")["result"] is True
    assert console.v1("detail", id=id)["result"]["state"] == "Done"
    assert client.evaluations.get(id).state == "Successed"
    metric = console.v1("report", id=id)["result"][0]["effectMetric"]
    assert (metric["manualAvgScore"], metric["goodCaseProportion"]) == (3.25, 0.5)
    assert metric["subjectiveImpression"] == "fair"
    assert metric["manualScoreDistribution"] == [
        {"dimension": "满意度", "scoreDistribution": {"2": 1, "4.5": 1}},
        {"dimension": "quality", "scoreDistribution": {"9": 3}},
    ]
    assert metric["intervals"]["manual:quality"]["ungradeable"] == {}
    report = client.evaluations.report(id)
    assert (report.manual, report.impression) == ("done", "fair")
    with pytest.raises(errors.Conflict, match="people score one that is in"):
        client.evaluations.score(id, [HumanScore(answers[2], 1)])
    with pytest.raises(errors.Conflict, match="the evaluation is done"):
        client.evaluations.finish(id)
    client.evaluations.delete(id)


@pytest.mark.parametrize(
    "dimensions",
    [[""], ["a", "a"], [{"dimension": "a", "minScore": 5}], [{"dimension": "a", "maxScore": "x"}]],
)
def test_dimensions_that_cannot_be_scored_are_refused(
    client: yangfan.Client, dataset: str, dimensions: list[Any]
):
    with pytest.raises(errors.Invalid, match="dimension"):
        client.evaluations.create("no", dataset=dataset, models=["echo"], dimensions=dimensions)


def test_answers_become_a_dataset_version_that_can_be_exported(
    client: yangfan.Client, console: Console, tmp_path: Path
):
    pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    client.datasets.create("asked", "PromptResponse")
    client.datasets.add("asked", [{"prompt": "上海", "response": "上海"}, {"prompt": "b"}])
    open_version: dict[str, Any] = {"dataset": "asked:1", "models": ["echo"], "scorers": ["exact"]}
    with pytest.raises(errors.Conflict, match="asked:1 is not published"):
        client.evaluations.create("early", **open_version)
    client.datasets.publish("asked")
    id = client.evaluations.create("kept", result_dataset="kept answers", **open_version)
    found = client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert client.datasets.get("kept answers:1").id == found.result_dataset
    out = tmp_path / "rows.jsonl"
    client.datasets.download(client.datasets.export(found.result_dataset, archive=False), out)
    first, second = map(json.loads, out.read_text("utf-8").splitlines())
    assert (first["prompt"], first["response"], first["completion"]) == ("上海", [["上海"]], "上海")
    assert first["scores"] == {"exact": 1.0}
    assert "no expected answer" in second["scores"]["exact"]
    again = client.evaluations.create("kept", result_dataset="kept answers", **open_version)
    other = client.evaluations.wait(again, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    assert client.datasets.get(other.result_dataset).name == f"kept answers {again}"
    # Answers that are there are graded without a model.
    again = client.evaluations.create(
        "later",
        answers=[found.result_dataset, {"inferDatasetId": other.result_dataset, "name": "other"}],
        scorers=["exact", "f1"],
    )
    client.evaluations.wait(again, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    later = client.evaluations.report(again)
    assert [model.name for model in later.models] == [found.result_dataset, "other"]
    assert [model.figures["exact"].value for model in later.models] == [1.0, 1.0]
    assert [each.answer for each in client.evaluations.results(again)] == ["上海", "b"] * 2
    with pytest.raises(errors.Invalid, match="name of a dataset"):
        client.evaluations.create("bad", result_dataset="a:b", **open_version)
    client.datasets.create("gathered", "PromptResponse")
    into = client.datasets.get("gathered")
    conf: dict[str, Any] = {"evalMode": "rule", "resultDatasetIdStr": into.id}
    order: dict[str, Any] = {
        "name": "into",
        "versionEvalInfo": [{"modelVersionId": "echo"}],
        "datasetId": client.datasets.get("asked:1").id,
    }
    made = console.v1("create", **order, evalStandardConf=conf)["result"]["evalIdStr"]
    client.evaluations.wait(made, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)
    shown = console.v1("detail", id=made)["result"]["evalStandardConf"]
    assert shown["resultDatasetIdStr"] == into.id
    assert client.datasets.get(into.id).samples == 2
    conf["resultDatasetIdStr"] = order["datasetId"]
    refused = console.v1("create", **order, evalStandardConf=conf)
    assert "results go into an open dataset version" in refused["error_msg"]
