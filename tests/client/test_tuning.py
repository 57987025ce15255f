"""`client.tuning` of both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from yangfan import errors
from yangfan.client.types import TuningMetric

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

PAIR: dict[str, Any] = {"access_key": "ALTAK-id", "secret_access_key": "secret"}
LINE = {
    "taskId": "task-1",
    "jobId": "job-1",
    "jobName": "n",
    "jobDescription": "",
    "model": "mine",
    "trainMode": "SFT",
    "parameterScale": "LoRA",
    "runStatus": "Running",
    "createDate": "2026-11-26T08:00:00Z",
    "finishDate": "0000-00-00T00:00:00Z",
}
TASK = {
    **LINE,
    "runProgress": "51%",
    "vdlLink": "",
    "checkpointList": [{"step": 5, "loss": 2.0}, {"step": 10}],
    "datasetConfig": {},
    "hyperParameterConfig": {"epoch": 2},
    "baseModelId": "amv-1",
    "progress": {"step": 5, "totalSteps": 10, "last": {"step": 5, "loss": 2.0}},
    "workId": "jb-1",
}


def result(value: Any) -> dict[str, Any]:
    return {"requestId": "r-1", "result": value}


async def test_a_run_is_begun_with_its_job(connect: Connect, playback: Playback) -> None:
    playback.json(result({"jobId": "job-1"}))
    playback.json(result({"jobId": "job-1", "taskId": "task-1"}))
    playback.json(result(TASK))
    client = connect(**PAIR)
    task = await client.of(
        client.client.tuning.create(
            "mine", {"faq:1": 0.5}, split_percent=10, hyper_parameters={"epoch": 2}
        )
    )
    assert (task.id, task.status, task.percent, task.total_steps) == ("task-1", "Running", 51, 10)
    assert task.checkpoints == {5: 2.0, 10: None}
    assert task.last == TuningMetric(5, loss=2.0)
    assert (task.finished, task.ended) == (None, False)
    job, run, _ = playback.received
    assert (job.query, job.json()["trainMode"]) == ("Action=CreateFineTuningJob", "SFT")
    assert run.json() == {
        "jobId": "job-1",
        "hyperParameterConfig": {"epoch": 2},
        "datasetConfig": {
            "sourceType": "Platform",
            "versions": [{"versionId": "faq:1", "samplingRate": 0.5}],
            "splitRatio": 10,
        },
    }


async def test_a_run_is_added_to_a_job_that_is_there(connect: Connect, playback: Playback) -> None:
    playback.json(result({"jobId": "job-1", "taskId": "task-1"}))
    playback.json(result(TASK))
    client = connect(**PAIR)
    await client.of(
        client.client.tuning.create(
            "mine",
            "faq:1",
            job="job-1",
            after="task-0",
            after_step=5,
            eval_datasets=["held:1"],
            nodes=2,
        )
    )
    body = playback.received[0].json()
    assert (body["incrementTaskId"], body["incrementCheckpointStep"]) == ("task-0", 5)
    assert body["datasetConfig"]["evalVersions"] == [{"versionId": "held:1"}]
    assert body["resourceConfig"] == {"nodeNum": 2}


async def test_runs_are_listed_over_pages(connect: Connect, playback: Playback) -> None:
    page = {"marker": "", "maxKeys": 1, "isTruncated": True, "nextMarker": "task-0"}
    playback.json(result({"taskList": [LINE], "pageInfo": page}))
    last = {"marker": "task-0", "maxKeys": 1, "isTruncated": False}
    playback.json(result({"taskList": [{**LINE, "taskId": "task-0"}], "pageInfo": last}))
    client = connect(**PAIR)
    found = await client.of(client.client.tuning.list("job-1"))
    assert [each.id for each in found] == ["task-1", "task-0"]
    assert playback.received[1].json()["marker"] == "task-0"


async def test_a_run_is_watched_to_its_end(connect: Connect, playback: Playback) -> None:
    events = [
        {"task": TASK},
        {"task": {**TASK, "runStatus": "Done", "finishDate": "2026-11-26T09:00:00Z"}},
    ]
    playback.events(*events)
    client = connect(**PAIR)
    task = await client.of(client.client.tuning.wait("task-1"))
    assert (task.status, task.finished) == ("Done", "2026-11-26T09:00:00Z")


async def test_a_stream_of_something_else_is_a_bad_reply(
    connect: Connect, playback: Playback
) -> None:
    playback.events({"job": {}})
    client = connect(**PAIR)
    with pytest.raises(errors.BadReply, match="tells of no tuning task"):
        await client.of(client.client.tuning.wait("task-1"))


async def test_what_can_be_tuned_is_told_by_mode_and_scale(
    connect: Connect, playback: Playback
) -> None:
    parameter = {
        "key": "epoch",
        "name": "n",
        "description": "d",
        "type": "int",
        "checkType": "range",
        "checkValue": [1, 50],
        "default": 3,
    }
    scale = {"parameterScale": "LoRA", "supportHyperParameterConfig": [parameter]}
    mode = {"trainMode": "SFT", "supportParameterScale": [scale]}
    playback.json(
        result(
            [
                {
                    "model": "mine",
                    "baseModel": "Llama",
                    "modelId": "amv-1",
                    "supportTrainMode": [mode],
                }
            ]
        )
    )
    client = connect(**PAIR)
    (model,) = await client.of(client.client.tuning.models())
    (found,) = model.recipes["SFT", "LoRA"]
    assert (model.name, found.key, found.values, found.default) == ("mine", "epoch", (1, 50), 3)


async def test_a_report_comes_as_it_is(connect: Connect, playback: Playback) -> None:
    playback.raw(b"<html>", headers={"content-type": "text/html"})
    client = connect(**PAIR)
    assert await client.of(client.client.tuning.report("task-1")) == b"<html>"
    assert playback.received[0].path == "/v2/finetuning/task-1/report"
