"""v2: the Actions of /v2/finetuning (specification D.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.trainers.base import TrainOrder

if TYPE_CHECKING:
    from tests.server.tuning.conftest import Gym


async def test_a_run_is_made_trained_and_shown(ready: Gym) -> None:
    task_id = await ready.begin(hyper={"epoch": 5, "loraRank": 16})
    shown = await ready.show(task_id)
    assert shown["runStatus"] == "Waiting"
    assert (shown["runProgress"], shown["finishDate"]) == ("0%", "0000-00-00T00:00:00Z")
    assert shown["vdlLink"] == f"http://here:8000/v2/finetuning/{task_id}/report"
    assert (shown["hyperParameterConfig"]["epoch"], shown["metrics"]) == (5, {})

    job = await ready.claim()
    order = msgspec.convert(job.spec, TrainOrder)
    assert (job.kind, job.subject, order.mode, order.method) == ("train", task_id, "sft", "lora")
    assert (order.split_percent, order.seed, order.base_model) == (20, 42, "mine:1")
    assert {file.path for file in order.files} >= {"config.json", "model.safetensors"}
    assert order.hyper_parameters["lora_rank"] == 16
    assert (order.train[0].name, order.nodes) == ("faq:1", 1)

    await ready.progress(
        job, 5, 10, loss=2.0, learning_rate=1e-4, tokens_per_second=90.0, eta_seconds=7.5
    )
    ready.checkpoint(task_id, 5, 2.0)
    shown = await ready.show(task_id)
    assert (shown["runStatus"], shown["runProgress"]) == ("Running", "50%")
    assert shown["progress"] == {
        "step": 5,
        "totalSteps": 10,
        "etaSeconds": 7,
        "note": "",
        "last": {
            "step": 5,
            "epoch": 1.0,
            "loss": 2.0,
            "learningRate": 1e-4,
            "tokensPerSecond": 90.0,
            "more": {},
        },
    }
    assert shown["checkpointList"] == [{"step": 5, "loss": 2.0}]

    await ready.finish(job)
    shown = await ready.show(task_id)
    assert (shown["runStatus"], shown["runProgress"]) == ("Done", "100%")
    assert shown["metrics"] == {
        "BLEU-4": "16.56%",
        "ROUGE-1": "50.00%",
        "ROUGE-2": "25.00%",
        "ROUGE-L": "100.00%",
    }
    assert [each["step"] for each in shown["checkpointList"]] == [5, 10]
    assert shown["finishDate"] != "0000-00-00T00:00:00Z"
    rows = (await ready.act("DescribeFineTuningTaskMetrics", taskId=task_id))["rows"]
    assert [(row["step"], row["loss"]) for row in rows] == [(5, 2.0), (10, 1.5)]


async def test_a_failed_run_says_why(ready: Gym) -> None:
    task_id = await ready.begin()
    await ready.fail(await ready.claim(), "the loss is no number any more")
    shown = await ready.show(task_id)
    assert (shown["runStatus"], shown["failedReason"]) == (
        "Failed",
        "the loss is no number any more",
    )
    with pytest.raises(Conflict, match="is Failed and left nothing to publish: the loss is no"):
        await ready.tuning.artifact(task_id, None)


async def test_a_run_is_followed_to_its_end(ready: Gym) -> None:
    task_id = await ready.begin()
    events = ready.events(task_id)
    assert (await anext(events))["runStatus"] == "Waiting"
    job = await ready.claim()
    await ready.progress(job, 1, 10, loss=3.0)
    while (event := await anext(events))["progress"].get("last") is None:
        pass
    assert event["progress"]["last"]["loss"] == 3.0
    await ready.finish(job)
    assert [event["runStatus"] async for event in events][-1] == "Done"


async def test_a_run_stops_and_goes_on(ready: Gym) -> None:
    task_id = await ready.begin()
    job = await ready.claim()
    assert await ready.act("StopFineTuningTask", taskId=task_id) is True
    assert (await ready.show(task_id))["runStatus"] == "Running"
    ready.checkpoint(task_id, 3, 2.5)
    await ready.leases.stop(job.id, job.fence)
    shown = await ready.show(task_id)
    assert (shown["runStatus"], [each["step"] for each in shown["checkpointList"]]) == (
        "Stopped",
        [3],
    )
    assert await ready.act("StopFineTuningTask", taskId=task_id) is False
    assert await ready.act("StopFineTuningTask", taskId="task-none") is False
    assert await ready.act("ResumeFineTuningTask", taskId=task_id) is True
    assert (await ready.show(task_id))["runStatus"] == "Waiting"
    with pytest.raises(Conflict, match="is Waiting, and only a run that was stopped goes on"):
        await ready.act("ResumeFineTuningTask", taskId=task_id)
    await ready.finish(await ready.claim())
    assert (await ready.show(task_id))["runStatus"] == "Done"


async def test_what_is_deleted_is_gone_and_what_runs_is_not_deleted(ready: Gym) -> None:
    task_id = await ready.begin()
    job_id = (await ready.show(task_id))["jobId"]
    for action, name, id in (
        ("DeleteFineTuningTask", "taskId", task_id),
        ("DeleteFineTuningJob", "jobId", job_id),
    ):
        with pytest.raises(Conflict, match="is Waiting; stop it before you delete it"):
            await ready.act(action, **{name: id})
    ready.checkpoint(task_id, 3, 2.5)
    await ready.act("StopFineTuningTask", taskId=task_id)
    base = (await ready.show(task_id))["baseModelId"]
    assert await ready.tuning.user_of(base) == f"the tuning task {task_id}"
    assert await ready.act("DeleteFineTuningTask", taskId=task_id) is True
    assert not ready.tuning.output(task_id).exists()
    with pytest.raises(NotFound, match="there is no tuning task"):
        await ready.show(task_id)
    assert await ready.tuning.user_of(base) is None
    assert await ready.act("DeleteFineTuningJob", jobId=job_id) is True
    assert (await ready.act("DescribeFineTuningJobs"))["jobList"] == []


async def test_jobs_and_runs_are_listed_in_pages(ready: Gym) -> None:
    first, second = await ready.begin(), await ready.begin()
    page = await ready.act("DescribeFineTuningTasks", maxKeys=1)
    assert [task["taskId"] for task in page["taskList"]] == [first]
    assert page["pageInfo"]["isTruncated"] is True
    marker = page["pageInfo"]["nextMarker"]
    page = await ready.act("DescribeFineTuningTasks", marker=marker, maxKeys=1)
    assert [task["taskId"] for task in page["taskList"]] == [second]
    jobs = (await ready.act("DescribeFineTuningJobs", pageReverse=True, trainModel="SFT"))[
        "jobList"
    ]
    assert len(jobs) == 2
    assert (await ready.act("DescribeFineTuningJobs", trainMode="DPO"))["jobList"] == []
    line = (await ready.act("DescribeFineTuningTasks", jobId=jobs[0]["jobId"]))["taskList"]
    assert [task["taskId"] for task in line] == [second]
    for action in ("DescribeFineTuningJobs", "DescribeFineTuningTasks"):
        with pytest.raises(NotFound, match="there is no tuning"):
            await ready.act(action, marker="x-none")


async def test_what_can_be_tuned_is_listed_as_the_published_package_reads_it(ready: Gym) -> None:
    found = await ready.act("DescribeFineTuningSupportModels")
    by_name = {each["model"]: each for each in found}
    assert {"mine", "ERNIE-Speed-8K"} <= {*by_name}
    mine = by_name["mine"]
    assert (mine["modelType"], mine["baseModel"]) == ("text2text", "LlamaForCausalLM")
    modes = {mode["trainMode"]: mode for mode in mine["supportTrainMode"]}
    assert {*modes} == {"SFT", "PostPretrain", "DPO", "KTO", "RM", "RFT"}
    for mode in modes.values():
        for scale in mode["supportParameterScale"]:
            assert scale["parameterScale"] in {"FullFineTuning", "LoRA", "PromptTuning"}
            for parameter in scale["supportHyperParameterConfig"]:
                assert {
                    "key",
                    "name",
                    "description",
                    "type",
                    "checkType",
                    "checkValue",
                    "default",
                } == {*parameter}
                if parameter["key"] == "maxSeqLen":
                    assert parameter["checkValue"] == [64, 128, 256]


async def test_nothing_can_be_tuned_where_nothing_is_here(gym: Gym) -> None:
    assert await gym.act("DescribeFineTuningSupportModels") == []
    with pytest.raises(
        Invalid, match=r"no model is here that could be tuned as ERNIE-Speed-8K: import"
    ):
        await gym.act("CreateFineTuningJob", name="n", model="ERNIE-Speed-8K", trainMode="SFT")
    with pytest.raises(
        NotFound, match=r"no model 'x' can be tuned; there are: none\. Any model in"
    ):
        await gym.act("CreateFineTuningJob", name="n", model="x", trainMode="SFT")


async def test_a_gguf_file_can_be_trained_and_stands_behind_what_is_exact(ready: Gym) -> None:
    await ready.add_model("rounded", form="gguf")
    made = await ready.act("CreateFineTuningJob", name="n", model="rounded", trainMode="SFT")
    job = await ready.tuning.job(made["jobId"])
    assert (await ready.shop.registry.version(job.base_id)).name == "rounded:1"
    named = await ready.tuning.base("ERNIE-Speed-8K")
    assert named.name == "mine:1"  # though the other one is younger


async def test_a_name_of_qianfans_stands_for_the_model_that_is_here(ready: Gym) -> None:
    made = await ready.act("CreateFineTuningJob", name="n", model="ERNIE-Speed-8K", trainMode="SFT")
    job = await ready.tuning.job(made["jobId"])
    assert (await ready.shop.registry.version(job.base_id)).name == "mine:1"


async def test_a_model_that_draws_is_tuned_on_pictures(ready: Gym) -> None:
    await ready.add_model("painter", kind="images")
    found = {each["model"]: each for each in await ready.act("DescribeFineTuningSupportModels")}
    painter = found["painter"]
    assert painter["modelType"] == "text2image"
    (mode,) = painter["supportTrainMode"]
    (scale,) = mode["supportParameterScale"]
    assert (mode["trainMode"], scale["parameterScale"]) == ("SFT", "LoRA")
    keys = {each["key"] for each in scale["supportHyperParameterConfig"]}
    assert {"epoch", "learningRate", "loraRank"} <= keys
    assert not keys & {"maxSeqLen", "Packing", "loraTargetModules"}
    assert found["ERNIE-Speed-8K"]["modelId"] == found["mine"]["modelId"]

    with pytest.raises(Invalid, match="a model for images is trained with SFT, not with DPO"):
        await ready.act("CreateFineTuningJob", name="n", model="painter", trainMode="DPO")
    with pytest.raises(
        Invalid, match=r"a model for chat is trained with SFT or .*, not with Text2"
    ):
        await ready.act("CreateFineTuningJob", name="n", model="mine", trainMode="Text2Image")
    job = await ready.act("CreateFineTuningJob", name="n", model="painter", trainMode="SFT")
    assert job["jobId"]
    wanted: dict[str, Any] = {"jobId": job["jobId"], "parameterScale": "LoRA"}
    with pytest.raises(Invalid, match="learns from rows of the format PromptImage"):
        await ready.act("CreateFineTuningTask", **wanted, datasetConfig=data())
    ready.add_data("pictures", data_format="PromptImage")
    with pytest.raises(Invalid, match="nodeNum must be 1 for models that draw"):
        await ready.act(
            "CreateFineTuningTask",
            **wanted,
            datasetConfig=data(versions=[{"versionId": "pictures"}]),
            resourceConfig={"nodeNum": 2},
        )
    await ready.act(
        "CreateFineTuningTask",
        **wanted,
        datasetConfig=data(versions=[{"versionId": "pictures"}]),
    )
    order = msgspec.convert((await ready.claim()).spec, TrainOrder)
    assert (order.mode, order.method) == ("text_to_image", "lora")


async def test_what_cannot_be_tuned_is_refused_with_why(ready: Gym) -> None:
    await ready.add_model("beside", form="adapter")
    await ready.add_model("exported", form="openvino")
    await ready.add_model("vectors", kind="embeddings")
    for model, why in (
        ("beside", "beside:1 cannot be tuned: it is an adapter; train its base"),
        ("exported", "its format is openvino; import it in Hugging Face's form"),
        ("vectors", "vectors:1 cannot be tuned: it is for embeddings"),
        ("ernie-4.5-0.3b-pt", "it is not on this machine yet; `yangfan pull ernie-4.5-0.3b-pt`"),
    ):
        with pytest.raises(Invalid, match=why):
            await ready.act("CreateFineTuningJob", name="n", model=model, trainMode="SFT")
    with pytest.raises(Invalid, match=r"trainMode must be one of SFT, .*; got 'RLHF'"):
        await ready.act("CreateFineTuningJob", name="n", model="mine", trainMode="RLHF")
    with pytest.raises(Invalid, match="epoch must be from 1 to 50"):
        await ready.act(
            "CreateFineTuningJob",
            name="n",
            model="mine",
            trainMode="SFT",
            hyperParameterConfig={"epoch": 0},
        )


def data(**more: Any) -> dict[str, Any]:
    return {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}], "splitRatio": 20, **more}


@pytest.mark.parametrize(
    ("more", "text", "param"),
    [
        ({"datasetConfig": data(splitRatio=101)}, "splitRatio must be from 0 to 100 percent; got 101", "splitRatio"),
        ({"datasetConfig": data(sourceType="Afs")}, "sourceType must be Platform .* or Bos", "datasetConfig.sourceType"),
        ({"datasetConfig": data(sourceType="Bos", versions=[{}])}, "needs a versionBosUri in each", "datasetConfig.versions.versionBosUri"),
        ({"datasetConfig": data(sourceType="Bos", versions=[{"versionBosUri": "file:/etc/"}])}, "bos:/bucket/folder/", "datasetConfig.versions.versionBosUri"),
        ({"datasetConfig": data(versions=[{}])}, "needs a versionId in each", "datasetConfig.versions.versionId"),
        ({"datasetConfig": data(versions=[{"versionId": "draft"}])}, "faq:2 is not published", "datasetConfig.versions"),
        ({"datasetConfig": data(versions=[{"versionId": "text"}])}, "SFT learns from rows of the format PromptResponse or .* has Text", "datasetConfig.versions"),
        ({"datasetConfig": data(versions=[{"versionId": "empty"}])}, "has no rows", "datasetConfig.versions"),
        ({"corpusConfig": {"config": [{"proportion": "1:2", "corpusType": 1}]}}, "asks for a corpus of Baidu's", "corpusConfig"),
        ({"parameterScale": "PTuning"}, "parameterScale of SFT must be one of LoRA", "parameterScale"),
        ({"hyperParameterConfig": {"epoch": 0}}, "epoch must be from 1 to 50", "hyperParameterConfig.epoch"),
        ({"resourceConfig": {"nodeNum": 3}}, "nodeNum is 3, and runs can be on 2 here: name other machines", "resourceConfig.nodeNum"),
    ],
)  # fmt: skip
async def test_a_run_that_is_not_allowed_is_refused_before_it_is_queued(
    ready: Gym, more: dict[str, Any], text: str, param: str
) -> None:
    ready.add_data("draft", is_published=False)
    ready.add_data("text", data_format="Text")
    ready.add_data("empty", rows=0)
    with pytest.raises(Invalid, match=text) as caught:
        await ready.begin(**more)
    assert caught.value.param == param
    assert await ready.jobs.list() == ()


async def test_files_of_a_bucket_are_learnt_from(ready: Gym) -> None:
    versions = [{"versionBosUri": "bos:/mine/faq/", "samplingRate": 0.5}]
    task_id = await ready.begin(datasetConfig=data(sourceType="Bos", versions=versions))
    (source,) = msgspec.convert((await ready.claim()).spec, TrainOrder).train
    assert (source.uri, source.sampling_rate) == ("bos:/mine/faq/", 0.5)
    assert source.folder == str(ready.tuning.output(task_id) / "rows" / "0")
    assert source.formats == ("PromptResponse", "Role", "PromptSortedresponses")


async def test_a_run_may_be_on_several_machines(ready: Gym) -> None:
    task_id = await ready.begin(resourceConfig={"nodeNum": 2})
    assert (await ready.show(task_id))["resourceConfig"] == {"nodeNum": 2}
    assert msgspec.convert((await ready.claim()).spec, TrainOrder).nodes == 2


async def test_a_dataset_that_is_not_there_is_not_found(ready: Gym) -> None:
    with pytest.raises(NotFound, match="there is no dataset version 'ds-9'"):
        await ready.begin(datasetConfig=data(versions=[{"versionId": "ds-9"}]))


async def test_without_its_libraries_nothing_is_queued(ready: Gym) -> None:
    ready.lacking = 'pip install "yangfan[tuning]"'
    with pytest.raises(Conflict, match=r"not installed here: pip install \"yangfan\[tuning\]\""):
        await ready.begin()
    assert await ready.jobs.list() == ()


async def test_a_repeated_call_begins_nothing_new(ready: Gym) -> None:
    job = (await ready.act("CreateFineTuningJob", name="n", model="mine", trainMode="SFT"))["jobId"]
    body = {"jobId": job, "datasetConfig": data(), "idempotencyKey": "once"}
    first = await ready.act("CreateFineTuningTask", **body)
    assert await ready.act("CreateFineTuningTask", **body) == first
    assert len(await ready.jobs.list()) == 1


async def test_datasets_are_mixed_and_held_out_as_asked(ready: Gym) -> None:
    ready.add_data("ds-2")
    await ready.begin(
        datasetConfig=data(
            versions=[{"versionId": "ds-1", "samplingRate": 0.5}],
            evalVersions=[{"versionId": "ds-2"}],
        )
    )
    order = msgspec.convert((await ready.claim()).spec, TrainOrder)
    assert [(each.name, each.sampling_rate) for each in order.train] == [("faq:1", 0.5)]
    assert ([each.name for each in order.validation], order.split_percent) == (["faq:2"], 0)


async def done(gym: Gym, **more: Any) -> str:
    task_id = await gym.begin(**more)
    job = await gym.claim()
    gym.checkpoint(task_id, 5, 2.0)
    await gym.finish(job)
    return task_id


async def test_a_run_goes_on_from_another_ones_checkpoint(ready: Gym) -> None:
    before = await done(ready)
    with pytest.raises(Invalid, match=r"incrementCheckpointStep must be given, for .* 5, 10"):
        await ready.begin(incrementTaskId=before)
    with pytest.raises(Invalid, match="has no checkpoint at step 7; there are: 5, 10"):
        await ready.begin(incrementTaskId=before, incrementCheckpointStep=7)
    task_id = await ready.begin(incrementTaskId=before, incrementCheckpointStep=5)
    order = msgspec.convert((await ready.claim()).spec, TrainOrder)
    assert order.adapter.endswith(f"{before}/checkpoints/step-00000005")
    shown = await ready.show(task_id)
    assert (shown["incrementTaskId"], shown["incrementCheckpointStep"]) == (before, 5)


async def test_a_run_of_a_whole_model_goes_on_from_its_weights(ready: Gym) -> None:
    before = await ready.begin(parameterScale="FullFineTuning")
    job = await ready.claim()
    final = ready.tuning.output(before) / "final"
    final.mkdir(parents=True)
    (final / "model.safetensors").write_bytes(b"tuned")
    (final / "config.json").write_text("{}")
    await ready.finish(job)
    await ready.begin(incrementTaskId=before)
    order = msgspec.convert((await ready.claim()).spec, TrainOrder)
    assert order.adapter == ""
    assert {file.path for file in order.files} == {"model.safetensors", "config.json"}
    for file in order.files:
        assert ready.shop.files.has_blob(file.sha256, file.size_bytes)
    ready.shop.files.collect()
    assert ready.shop.files.has_blob(order.files[0].sha256)


async def test_a_run_goes_on_only_from_one_of_the_same_model_that_has_ended(ready: Gym) -> None:
    waiting = await ready.begin()
    with pytest.raises(Invalid, match="has not ended; go on from it when it has"):
        await ready.begin(incrementTaskId=waiting)
    with pytest.raises(
        Conflict, match="is Waiting; wait for its end, or stop it, before you publish"
    ):
        await ready.tuning.artifact(waiting, None)
    await ready.fail(await ready.claim(), "x")
    with pytest.raises(Invalid, match="left no checkpoint"):
        await ready.begin(incrementTaskId=waiting)
    with pytest.raises(NotFound, match="there is no tuning task 'task-none'"):
        await ready.begin(incrementTaskId="task-none")
    before = await done(ready)
    await ready.add_model("other")
    job = (await ready.act("CreateFineTuningJob", name="n", model="other", trainMode="SFT"))[
        "jobId"
    ]
    with pytest.raises(Invalid, match="trains mine, and this job other; both must train the same"):
        await ready.begin(jobId=job, incrementTaskId=before, incrementCheckpointStep=5)


async def test_what_a_run_left_is_told_to_the_registry(ready: Gym) -> None:
    task_id = await done(ready)
    artifact = await ready.tuning.artifact(task_id, 5)
    assert artifact.spec["trained"].endswith("step-00000005")
    assert (artifact.spec["method"], artifact.spec["split_percent"]) == ("lora", 20)
    assert artifact.origin["taskId"] == task_id
    assert artifact.parent_id == (await ready.show(task_id))["baseModelId"]
    last = await ready.tuning.artifact(task_id, None)
    assert last.spec["trained"].endswith("/final")
    with pytest.raises(Invalid, match="has no checkpoint at step 6"):
        await ready.tuning.artifact(task_id, 6)


async def test_a_report_is_fetched_once_it_is_written(ready: Gym) -> None:
    task_id = await ready.begin()
    with pytest.raises(NotFound, match="has no report yet: it is Waiting"):
        await ready.report(task_id)
    ready.tuning.output(task_id).mkdir(parents=True)
    (ready.tuning.output(task_id) / "report.html").write_text("<html>")
    found = await ready.report(task_id)
    assert (found.path.read_text(), found.name) == ("<html>", f"{task_id}.html")
