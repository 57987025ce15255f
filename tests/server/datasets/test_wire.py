"""Datasets and samples over both dialects of a real server (specification D.7, D.8, D.11)."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Generator
from typing import Any

import pytest
from tests.conftest import serving, wait_until
from tests.server.conftest import Caller, Reply

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")


class Calls:
    """Calls about datasets."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def act(self, action: str, **body: Any) -> Reply:
        """One Action of v2."""
        path = f"/v2/dataset?Action={action}"
        return self.caller.ask("POST", path, body, self.caller.signed("POST", path))

    def result(self, action: str, **body: Any) -> Any:
        """The result of an Action that must succeed."""
        reply = self.act(action, **body)
        assert reply.status == 200, reply.body
        return reply.json["result"]

    def v1(self, path: str, **body: Any) -> Any:
        """The answer of one v1 call."""
        path = f"/wenxinworkshop/{path}"
        reply = self.caller.ask("POST", path, body, self.caller.signed("POST", path))
        assert reply.status == 200, reply.body
        return reply.json

    def filled(self, count: int = 5) -> dict[str, Any]:
        """A version of conversations."""
        made = self.result(
            "CreateDataset", datasetName=f"talks {uuid.uuid4()}", dataFormat="PromptResponse"
        )
        rows = [
            {"prompt": f"Question {number}", "response": f"Answer {number}"}
            for number in range(count)
        ]
        made["ids"] = self.result("CreateSamples", versionId=made["versionId"], samples=rows)[
            "sampleIds"
        ]
        return made


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Generator[Calls]:
    with serving(tmp_path_factory.mktemp("datasets")) as server:
        yield Calls(Caller(server))


def create_v1(calls: Calls, **more: Any) -> Any:
    body: dict[str, Any] = {
        "name": f"set {uuid.uuid4()}",
        "versionId": 1,
        "projectType": 20,
        "templateType": 2000,
        "dataType": 4,
        "storageType": "sysBos",
    }
    return calls.v1("dataset/create", **{**body, **more})


def test_v1_creates_and_shows_what_the_published_sdk_reads(calls: Calls) -> None:
    reply = create_v1(calls)
    assert (reply["status"], reply["success"]) == (200, True)
    made = reply["result"]
    assert re.fullmatch(r"ds-[0-9a-f]{16}", made["datasetId"])
    assert re.fullmatch(r"dg-[0-9a-f]{16}", made["groupPK"])
    assert made["storageInfo"].keys() >= {"storageId", "storagePath", "storageName", "region"}
    assert (made["importStatus"], made["releaseStatus"], made["versionId"]) == (-1, 0, 1)
    info = calls.v1("dataset/info", datasetId=made["datasetId"])["result"]
    version = info["versionInfo"]
    assert (info["groupPK"], version["datasetPK"]) == (made["groupPK"], made["datasetId"])
    assert (version["projectType"], version["templateType"], version["dataType"]) == (20, 2000, 4)
    assert (version["importStatus"], version["exportStatus"], version["entityCount"]) == (-1, -1, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", version["modifyTime"])
    by_number = calls.v1("dataset/info", datasetId=made["id"])["result"]
    assert by_number["versionInfo"]["datasetPK"] == made["datasetId"]
    states = calls.v1("dataset/statusList", datasetIds=[made["datasetId"], "ds-none"])["result"]
    assert [*states] == [made["datasetId"]]
    assert states[made["datasetId"]]["importStatus"] == -1
    assert calls.v1("dataset/delete", datasetId=made["datasetId"])["result"] == {"versionCount": 0}
    gone = calls.v1("dataset/info", datasetId=made["datasetId"])
    assert (gone["status"], gone["success"]) == (400, False)
    assert "there is no dataset version" in gone["message"]["global"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"templateType": 9}, "templateType must be one of 2000, 2001, 2002, 40100, 40200, 70500"),
        ({"projectType": 401}, "templateType 2000 goes with projectType 20 and dataType 4"),
        ({"templateType": 70500, "projectType": 705}, "projectType 705 and dataType 7"),
        ({"storageType": "usrBos"}, "needs storageId and rawStoragePath"),
        ({"name": "ds-1"}, "does not begin with ds-"),
    ],
)
def test_v1_says_what_is_wrong_with_a_new_dataset(
    calls: Calls, more: dict[str, Any], words: str
) -> None:
    reply = create_v1(calls, **more)
    assert (reply["status"], reply["success"]) == (400, False)
    assert words in reply["message"]["global"]


def test_v1_lists_annotates_and_deletes_samples(calls: Calls) -> None:
    made = calls.filled()
    version, first = made["versionId"], made["ids"][0]
    page = calls.v1("entity/list", datasetId=version, offset=1, pageSize=2)["result"]
    assert (page["totalAll"], page["total"]) == (5, 5)
    assert [item["id"] for item in page["items"]] == made["ids"][1:3]
    item = page["items"][0]
    assert item["textExtra"] == {"domainType": "", "taskType": ""}
    with urllib.request.urlopen(item["url"], timeout=10) as answer:
        assert answer.read().decode() == '[{"prompt":"Question 1","response":[["Answer 1"]]}]'
    for wrong in (
        item["url"][:-1] + "x",
        re.sub(r"expires=\d+", "expires=9999999999", item["url"]),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(wrong, timeout=10)
    content = [{"prompt": "Question 0", "response": [["Other"]]}]
    assert calls.v1("entity/annotate", id=first, datasetId=version, content=content)["result"]
    labels = ["good", {"name": "short"}]
    assert calls.v1("entity/annotate", id=first, datasetId=version, labels=labels)["result"]
    now = int(time.time())
    window = {"tabType": 1, "annoTime": [now - 60, now + 60], "labelId": "good"}
    (found,) = calls.v1("entity/list", datasetId=version, **window)["result"]["items"]
    assert (found["id"], [label["name"] for label in found["labels"]]) == (first, ["good", "short"])
    assert calls.v1("dataset/info", datasetId=version)["result"]["versionInfo"]["labelCount"] == 2
    states = calls.v1("dataset/statusList", datasetIds=[version])["result"]
    assert states[version]["labelCount"] == 2
    assert calls.v1("entity/list", datasetId=version, tabType=2)["result"]["total"] == 0
    none = calls.v1("entity/annotate", id=first, datasetId=version)
    assert "content or labels must be there" in none["message"]["global"]
    gone = calls.v1("entity/delete", id=[first, "nobody"], datasetId=version)["result"]
    assert gone == {"failedOnes": ["nobody"]}
    rest = calls.v1("entity/delete", id=[made["ids"][1]], datasetId=version)["result"]
    assert rest == {"failedOnes": None}
    too_many = calls.v1("entity/list", datasetId=version, pageSize=31)
    assert too_many["success"] is False


def test_v1_publishes_and_refuses_changes_afterwards(calls: Calls) -> None:
    made = calls.filled()
    version = made["versionId"]
    assert calls.v1("dataset/release", datasetId=version)["result"] is True
    info = calls.v1("dataset/info", datasetId=version)["result"]["versionInfo"]
    assert (info["releaseStatus"], info["entityCount"], info["annotatedEntityCount"]) == (2, 5, 5)
    refused = calls.v1("entity/delete", id=made["ids"][:1], datasetId=version)
    assert (refused["status"], refused["code"]) == (400, 336003)
    assert "is published, so it never changes again" in refused["message"]["global"]


def test_v2_keeps_versions_of_a_dataset(calls: Calls) -> None:
    made = calls.filled()
    dataset, name = made["datasetId"], made["datasetName"]
    assert (made["versionNumber"], made["importStatus"], made["publishStatus"]) == (
        1,
        "Created",
        "Unpublished",
    )
    published = calls.result("PublishDatasetVersion", versionId=made["versionId"])
    assert (published["publishStatus"], published["editCount"]) == ("Published", 0)
    second = calls.result(
        "CreateDatasetVersion",
        datasetId=dataset,
        description="more",
        sourceVersionId=f"{name}:1",
    )
    assert (second["versionNumber"], second["sampleCount"], second["description"]) == (2, 5, "more")
    empty = calls.result("CreateDatasetVersion", datasetId=dataset)
    assert (empty["versionNumber"], empty["sampleCount"]) == (3, 0)
    described = calls.result(
        "ModifyDatasetVersion", versionId=empty["versionId"], description="to be filled"
    )
    assert described["description"] == "to be filled"
    page = calls.result("DescribeDatasetVersions", datasetId=dataset, maxKeys=2)
    assert [item["versionNumber"] for item in page["versionList"]] == [1, 2]
    marker = page["pageInfo"]["nextMarker"]
    rest = calls.result("DescribeDatasetVersions", datasetId=dataset, marker=marker, maxKeys=2)
    assert [item["versionNumber"] for item in rest["versionList"]] == [3]
    assert rest["pageInfo"]["isTruncated"] is False
    wanted = {"publishStatusList": ["Published"]}
    (only,) = calls.result("DescribeDatasetVersions", datasetId=dataset, filter=wanted)[
        "versionList"
    ]
    assert only["versionId"] == made["versionId"]
    calls.result("DeleteSamples", versionId=second["versionId"], sampleIds=made["ids"][:1])
    calls.result(
        "AnnotateSample",
        versionId=second["versionId"],
        sampleId=made["ids"][1],
        content=[{"prompt": "Question 1", "response": "Other"}],
    )
    found = calls.result("CompareDatasetVersions", baseVersionId=f"{name}:1", versionId=f"{name}:2")
    assert (found["addedCount"], found["removedCount"], found["changedCount"]) == (0, 1, 1)
    assert {item["kind"] for item in found["differences"]} == {"removed", "changed"}
    (listed,) = calls.result("DescribeDatasets", filter={"datasetName": name})["datasetList"]
    assert (listed["datasetId"], listed["latestVersion"]["versionNumber"]) == (dataset, 3)
    other = f"renamed {uuid.uuid4()}"
    assert calls.result("ModifyDataset", datasetId=name, datasetName=other)["datasetName"] == other
    assert calls.result("DeleteDatasetVersion", versionId=f"{other}:3") is True
    assert calls.result("DeleteDataset", datasetId=dataset) is True
    gone = calls.act("DescribeDatasetVersion", versionId=made["versionId"])
    assert gone.status >= 400
    assert "there is no dataset version" in gone.json["message"]


@pytest.mark.parametrize(
    ("action", "body", "words"),
    [
        ("CreateDataset", {"datasetName": "a", "dataFormat": "Poem"}, "dataFormat must be one of"),
        (
            "CreateDataset",
            {"datasetName": "a", "dataFormat": "Text", "storageType": "BOS"},
            "needs a storagePath such as bos:/bucket/folder/",
        ),
        ("DescribeDatasets", {"marker": "dg-none"}, "there is no dataset 'dg-none'"),
        ("PublishDatasetVersion", {"versionId": "none:1"}, "there is no dataset version 'none:1'"),
        ("CreateDatasetVersion", {"datasetId": "none"}, "there is no dataset 'none'"),
    ],
)
def test_v2_says_what_is_wrong(calls: Calls, action: str, body: dict[str, Any], words: str) -> None:
    reply = calls.act(action, **body)
    assert 400 <= reply.status < 500
    assert words in reply.json["message"]


def test_v2_searches_samples_in_pages(calls: Calls) -> None:
    made = calls.filled(12)
    version = made["versionId"]
    page = calls.result("DescribeSamples", versionId=version, text="answer 1", maxKeys=2)
    assert (page["totalCount"], page["nextOffset"], page["dataFormat"]) == (3, 2, "PromptResponse")
    assert [item["content"][0]["prompt"] for item in page["samples"]] == [
        "Question 1",
        "Question 10",
    ]
    rest = calls.result("DescribeSamples", versionId=version, text="answer 1", offset=2)
    assert ("nextOffset" in rest, len(rest["samples"])) == (False, 1)
    bad = calls.act("CreateSamples", versionId=version, samples=[{"prompt": 1}])
    assert "row 1: 'prompt' must be text, got a number" in bad.json["message"]


def test_a_job_measures_a_version_once(calls: Calls) -> None:
    made = calls.filled(20)
    version = made["versionId"]
    empty = calls.act("DescribeDatasetInsight", versionId=version)
    assert "has no rows in shards; import some or publish it" in empty.json["message"]
    calls.result("PublishDatasetVersion", versionId=version)
    first = calls.result("DescribeDatasetInsight", versionId=version)
    assert (first["status"], first["jobId"][:3]) == ("Running", "jb-")

    def finished() -> bool:
        return calls.result("DescribeDatasetInsight", versionId=version)["status"] == "Finished"

    wait_until(finished, "the version to be measured", 60)
    found = calls.result("DescribeDatasetInsight", versionId=version)
    assert (found["rows"], found["duplicates"], found["jobId"]) == (20, 0, first["jobId"])
    assert found["nearDuplicates"] >= len(found["nearestDuplicates"]) >= 0
    assert found["measures"]["words"]["percentiles"]["50"] == 2
    assert sum(found["measures"]["characters"]["counts"]) == 20
    assert sum(found["languages"].values()) == 20
    page = calls.result("DescribeSamples", versionId=version, maxKeys=1)
    assert page["samples"][0]["statistics"]["words"] == 2
    (item,) = calls.v1("entity/list", datasetId=version, pageSize=1)["result"]["items"]
    assert item["textExtra"]["wordNum"] == 2
    assert item["textExtra"]["flaggedWordRatio"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"importTime": [0, 10**30]},
        {"annoTime": [1]},
        {"offset": -1},
        {"tabType": 7},
        {"labelId": "x" * 65},
        {"datasetId": -5},
        {"datasetId": 10**30},
    ],
)
def test_v1_refuses_what_no_window_has(calls: Calls, body: dict[str, Any]) -> None:
    reply = calls.v1("entity/list", **{"datasetId": "ds-none", **body})
    assert (reply["status"], reply["success"]) == (400, False)
    assert reply["code"] in {3, 336001, 336003}, reply
