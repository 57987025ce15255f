"""v1: /wenxinworkshop/finetune (specification D.5), where a task is v2's job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from yangfan.errors import Invalid, NotFound
from yangfan.trainers.base import TrainOrder

if TYPE_CHECKING:
    from tests.server.tuning.conftest import Gym


async def begin(gym: Gym, **more: Any) -> tuple[Any, Any]:
    task = await gym.v1("createTask", name="n", baseTrainType="ERNIE-Speed", trainType="mine")
    body: dict[str, Any] = {
        "taskId": task["id"],
        "trainMode": "SFT",
        "peftType": "LoRA",
        "trainConfig": {"epoch": 2},
        "trainset": [{"type": 1, "id": "ds-1"}],
        "trainsetRate": 20,
    }
    return task, await gym.v1("createJob", **{**body, **more})


async def test_a_run_is_made_trained_shown_and_stopped(ready: Gym) -> None:
    task, job = await begin(ready)
    assert (task["description"], task["uuid"][:4], job["uuid"][:5]) == ("", "job-", "task-")
    name = {"taskId": task["id"], "jobId": job["id"]}
    shown = await ready.v1("jobDetail", **name)
    assert (shown["trainStatus"], shown["progress"], shown["startTime"]) == ("RUNNING", 0, "")
    work = await ready.claim()
    await ready.progress(work, 3, 10, loss=1.0)
    shown = await ready.v1("jobDetail", taskId=task["uuid"], jobId=job["uuid"])
    assert (shown["trainStatus"], shown["progress"]) == ("RUNNING", 30)
    assert (shown["taskName"], shown["trainMode"], shown["peftType"]) == ("n", "SFT", "LoRA")
    assert await ready.v1("stopJob", **name) is True
    await ready.leases.stop(work.id, work.fence)
    assert (await ready.v1("jobDetail", **name))["trainStatus"] == "STOP"
    assert await ready.v1("stopJob", **name) is False


@pytest.mark.parametrize(("peft", "scale"), [("ALL", "FullFineTuning"), ("LoRA", "LoRA")])
async def test_v1s_words_for_how_much_is_trained(ready: Gym, peft: str, scale: str) -> None:
    _, job = await begin(ready, peftType=peft)
    await ready.finish(await ready.claim())
    shown = await ready.show(job["uuid"])
    assert (shown["parameterScale"], shown["runStatus"]) == (scale, "Done")
    shown = await ready.v1("jobDetail", taskId=shown["jobId"], jobId=job["uuid"])
    assert (shown["trainStatus"], shown["progress"]) == ("FINISH", 100)


async def test_datasets_and_files_of_a_bucket_are_learnt_from_together(ready: Gym) -> None:
    await begin(ready, trainset=[{"id": "ds-1"}, {"type": 2, "bosPath": "/mine/faq/"}])
    platform, bucket = msgspec.convert((await ready.claim()).spec, TrainOrder).train
    assert (platform.uri, platform.name, bucket.uri) == ("", "faq:1", "bos:/mine/faq/")


async def test_a_failed_run_is_fail(ready: Gym) -> None:
    task, job = await begin(ready)
    await ready.fail(await ready.claim(), "x")
    shown = await ready.v1("jobDetail", taskId=task["id"], jobId=job["id"])
    assert (shown["trainStatus"], shown["finishTime"] != "") == ("FAIL", True)


async def test_a_task_trains_in_one_way(ready: Gym) -> None:
    ready.add_data("text", data_format="Text")
    texts = {"trainMode": "PostPretrain", "trainset": [{"id": "text"}]}
    task, job = await begin(ready, **texts)
    assert (await ready.show(job["uuid"]))["trainMode"] == "PostPretrain"
    with pytest.raises(Invalid, match="train with PostPretrain; make another task for SFT"):
        await ready.v1("createJob", taskId=task["id"], trainset=[{"id": "ds-1"}])


async def test_what_does_not_fit_is_refused(ready: Gym) -> None:
    for wrong in ({"type": 2, "bosPath": "/x"}, {"type": 2, "id": "ds-1"}, {"type": 1}):
        with pytest.raises(Invalid, match=r"trainset takes datasets .* or files of a bucket"):
            await begin(ready, trainset=[wrong])
    with pytest.raises(NotFound, match="there is no tuning job '99'"):
        await ready.v1("createJob", taskId=99, trainset=[{"id": "ds-1"}])
    _, job = await begin(ready)
    with pytest.raises(Invalid, match=r"belongs to the task job-.*, not to 999"):
        await ready.v1("jobDetail", taskId=999, jobId=job["id"])
