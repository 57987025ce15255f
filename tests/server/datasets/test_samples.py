"""Rows of a version: pages, windows, edits, annotations, differences and publishing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from yangfan.datasets.formats import DataFormat, Image, Sample, Turn
from yangfan.datasets.inspection import Measurer, measure_shard
from yangfan.datasets.shards import ShardWriter
from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.protocol.worker import StartedJob
from yangfan.server.datasets import Datasets, DatasetVersion, Publishing, Samples, store
from yangfan.server.datasets import publishing as publishing_module
from yangfan.server.datasets import samples as samples_module
from yangfan.server.datasets.samples import Window
from yangfan.server.datasets.wire import RELEASE
from yangfan.server.jobs import JobError, Jobs, Leases
from yangfan.worker.server import ServerLine
from yangfan.worker.task import Task
from yangfan.worker.works import publish_dataset

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")


async def filled(datasets: Datasets, count: int = 10) -> DatasetVersion:
    """A version of conversations, of which every third has no answer."""
    made = await datasets.create("talks", DataFormat.PROMPT_RESPONSE)
    with ShardWriter(datasets.blobs, DataFormat.PROMPT_RESPONSE, 4) as writer:
        for number in range(count):
            answers = () if number % 3 == 0 else (f"answer {number}",)
            labels = ["even"] if number % 2 == 0 else []
            sample = Sample(turns=(Turn(f"Question {number}", answers),))
            writer.add(f"r{number}", sample, labels, created_ms=1000 + number)
        manifest = writer.finish()
    async with datasets.database.write() as connection:
        return await datasets.publish_rows(connection, made.id, manifest, {"kind": "import"})


def ids(page: samples_module.Page) -> list[str]:
    return [item.row.row_id for item in page.items]


async def test_pages_go_through_all_rows_in_order(datasets: Datasets) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    page = await samples.page(version.id, 3, 4)
    assert (page.total, ids(page)) == (10, ["r3", "r4", "r5", "r6"])
    assert [item.annotated for item in page.items] == [False, True, True, False]
    assert ids(await samples.page("talks:1", 9, 5)) == ["r9"]
    assert ids(await samples.page("talks", 10, 5)) == []


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(annotated=False), ["r0", "r3", "r6", "r9"]),
        (Window(annotated=True, label="even"), ["r2", "r4", "r8"]),
        (Window(imported_ms=(1002, 1004)), ["r2", "r3", "r4"]),
        (Window(text="ANSWER 7"), ["r7"]),
        (Window(text="question", annotated=False, label="even"), ["r0", "r6"]),
        (Window(annotated_ms=(1, 10**15)), []),
        (Window(text="%_.*"), []),
    ],
)
async def test_a_window_has_only_what_was_asked_for(
    datasets: Datasets, window: Window, expected: list[str]
) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    page = await samples.page(version.id, 0, 30, window)
    assert (page.total, ids(page)) == (len(expected), expected)
    assert ids(await samples.page(version.id, 1, 2, window)) == expected[1:3]


async def test_edits_are_seen_at_once_and_counted(datasets: Datasets) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    _, item = await samples.annotate(
        version.id, "r3", content=[{"prompt": "Question 3", "response": [["now"]]}], labels=["new"]
    )
    assert item.row.sample.turns == (Turn("Question 3", ("now",)),)
    assert item.row.annotated_ms > 0
    assert await samples.delete(version.id, ["r0", "r1", "nobody"]) == ["nobody"]
    (new,) = await samples.add(version.id, [{"prompt": "More?", "response": "Yes"}])
    now = await datasets.version(version.id)
    assert (now.rows, now.annotated, now.edits) == (9, 7, 4)
    page = await samples.page(version.id, 0, 30)
    assert ids(page) == [*(f"r{number}" for number in range(2, 10)), new]
    assert (await samples.page(version.id, 0, 30, Window(annotated=True))).total == 7
    assert ids(await samples.page(version.id, 0, 30, Window(label="new"))) == ["r3"]
    assert ids(await samples.page(version.id, 0, 30, Window(text="yes"))) == [new]
    recent = Window(annotated_ms=(item.row.annotated_ms, item.row.annotated_ms))
    assert ids(await samples.page(version.id, 0, 30, recent)) == ["r3"]
    assert await samples.delete(version.id, [new, "r0"]) == ["r0"]
    assert (await datasets.version(version.id)).rows == 8


async def test_labels_alone_leave_what_a_row_says(datasets: Datasets) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    _, item = await samples.annotate(version.id, "r1", labels=["good", "good", "short"])
    assert item.row.labels == ("good", "short")
    assert item.row.sample == Sample(turns=(Turn("Question 1", ("answer 1",)),))
    # Those of the shards and of the edits: even, good, short.
    assert (await datasets.version(version.id)).labels == 3


async def test_what_cannot_be_said_is_refused_in_words(
    datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    with pytest.raises(NotFound, match="talks:1 has no row 'nobody'"):
        await samples.annotate(version.id, "nobody", labels=["a"])
    with pytest.raises(NotFound):
        await samples.get(version.id, "nobody")
    with pytest.raises(Invalid, match="content: turn 1: the field 'prompt' is missing"):
        await samples.annotate(version.id, "r1", content=[{"response": "a"}])
    with pytest.raises(Invalid, match="a label has 1 to 64 characters"):
        await samples.annotate(version.id, "r1", labels=[" "])
    with pytest.raises(Invalid, match="row 2: 'prompt' must be text, got a number"):
        await samples.add(version.id, [{"prompt": "a"}, {"prompt": 3}])
    assert (await datasets.version(version.id)).edits == 0
    monkeypatch.setattr(samples_module, "MAX_EDITS", 2)
    with pytest.raises(Conflict, match="2 are allowed; publish it and go on in a new version"):
        await samples.delete(version.id, ["r1", "r2", "r3"])


async def test_pictures_stay_with_a_row_that_is_annotated(datasets: Datasets) -> None:
    made = await datasets.create("pictures", DataFormat.PROMPT_IMAGE)
    with ShardWriter(datasets.blobs, DataFormat.PROMPT_IMAGE) as writer:
        writer.add("p", Sample(images=(Image("a.png", datasets.blobs.put(b"png"), 3),)))
        manifest = writer.finish()
    async with datasets.database.write() as connection:
        await datasets.publish_rows(connection, made.id, manifest, {"kind": "import"})
    _, item = await Samples(datasets).annotate(made.id, "p", content=[{"annotations": "a cat"}])
    assert item.row.sample.turns == (Turn("a cat"),)
    assert item.row.sample.images[0].name == "a.png"
    assert (await datasets.version(made.id)).annotated == 1


async def test_edits_at_the_same_time_are_all_kept(datasets: Datasets) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    await asyncio.gather(
        *(samples.annotate(version.id, f"r{number}", labels=[f"l{number}"]) for number in range(10))
    )
    page = await samples.page(version.id, 0, 30)
    assert [item.row.labels for item in page.items] == [(f"l{number}",) for number in range(10)]
    assert (await datasets.version(version.id)).edits == 10


async def test_a_published_version_never_changes_again(datasets: Datasets) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    publishing = Publishing(datasets, Jobs(datasets.database))
    await samples.delete(version.id, ["r5"])
    published = await publishing.publish(version.id)
    assert (published.state, published.rows, published.edits) == ("Published", 9, 0)
    assert published.manifest.rows == 9
    assert (await publishing.publish(version.id)).revision == published.revision
    shared = {shard.sha256 for shard in version.manifest.shards}
    assert len(shared & {shard.sha256 for shard in published.manifest.shards}) == 2
    for change in (
        samples.delete(version.id, ["r1"]),
        samples.annotate(version.id, "r1", labels=["a"]),
        samples.add(version.id, [{"prompt": "a"}]),
    ):
        with pytest.raises(Conflict, match="is published, so it never changes again; make a new"):
            await change
    async with datasets.database.write() as connection:
        with pytest.raises(Conflict, match="is published"):
            await datasets.publish_rows(connection, version.id, published.manifest, {})
        with pytest.raises(Conflict, match="is published"):
            await datasets.begin(connection, version.id, "import", "jb-1")


async def test_a_version_from_a_published_one_changes_without_touching_it(
    datasets: Datasets,
) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    publishing = Publishing(datasets, Jobs(datasets.database))
    await publishing.publish(version.id)
    second = await datasets.create_version("talks", source=version.id)
    await samples.delete(second.id, ["r0"])
    await samples.annotate(second.id, "r9", content=[{"prompt": "Question 9", "response": "a"}])
    (new,) = await samples.add(second.id, [{"prompt": "new"}])
    expected = {"r0": "removed", "r9": "changed", new: "added"}
    for _ in ("as edits", "in shards"):
        counts, found = await samples.differences(version.id, second.id, 0, 10)
        assert counts == {"added": 1, "removed": 1, "changed": 1}
        assert {item.row_id: item.kind for item in found} == expected
        await publishing.publish(second.id)
    assert (await samples.page(version.id, 0, 30)).total == 10
    counts, found = await samples.differences(version.id, second.id, 1, 1)
    assert len(found) == 1


async def test_an_empty_version_is_not_published(datasets: Datasets) -> None:
    made = await datasets.create("empty", DataFormat.TEXT)
    with pytest.raises(Invalid, match="has no rows; import some before you publish it"):
        await Publishing(datasets, Jobs(datasets.database)).publish(made.id)


async def test_many_edits_are_written_by_a_job_and_nobody_edits_meanwhile(
    datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing_module, "ROWS_AT_ONCE", 3)
    version, samples = await filled(datasets), Samples(datasets)
    jobs = Jobs(datasets.database)
    publishing = Publishing(datasets, jobs)
    await samples.delete(version.id, ["r5"])
    begun = await publishing.publish(version.id)
    assert begun.state == "Publishing"
    (job,) = await jobs.list(kind="publish_dataset")
    assert job.subject == version.id
    assert (await publishing.publish(version.id)).state == "Publishing"
    with pytest.raises(Conflict, match="while its release is going on"):
        await samples.delete(version.id, ["r1"])
    await jobs.cancel(job.id)
    failed = await datasets.version(version.id)
    assert failed.state == "Unpublished"
    assert failed.task("release").error == "it was cancelled"
    await samples.delete(version.id, ["r1"])


async def test_a_job_that_fails_leaves_the_version_open_and_says_why(
    datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing_module, "ROWS_AT_ONCE", 3)
    version, samples = await filled(datasets), Samples(datasets)
    jobs = Jobs(datasets.database)
    publishing, leases = Publishing(datasets, jobs), Leases(datasets.database, jobs)
    await samples.delete(version.id, ["r5"])
    await publishing.publish(version.id)
    (job,) = await leases.claim("x", 1)
    error = JobError("ConfigurationError", "no room")
    await leases.fail(job.id, job.fence, error, retryable=False)
    failed = await datasets.version(version.id)
    assert (failed.state, failed.task("release").error) == ("PublishFailed", "no room")
    assert RELEASE[failed.task("release").state] == 3
    await samples.delete(version.id, ["r1"])


async def test_the_work_of_a_job_publishes_a_version(
    datasets: Datasets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(publishing_module, "ROWS_AT_ONCE", 3)
    version, samples = await filled(datasets), Samples(datasets)
    jobs = Jobs(datasets.database)
    publishing, leases = Publishing(datasets, jobs), Leases(datasets.database, jobs)
    await samples.delete(version.id, ["r5"])
    begun = await publishing.publish(version.id)
    assert RELEASE[begun.task("release").state] == 1
    (job,) = await leases.claim("x", 1)
    await leases.start(job.id, job.fence)
    started = StartedJob(
        kind=job.kind,
        spec=job.spec,
        state={},
        saves=0,
        attempt=1,
        lease_seconds=30,
        desired="run",
        token="",
    )
    task = Task(job.id, started, tmp_path, cast(ServerLine, None))
    await leases.finish(job.id, job.fence, publish_dataset.run(task))
    published = await datasets.version(version.id)
    assert (published.state, published.rows, published.edits) == ("Published", 9, 0)
    assert ids(await samples.page(version.id, 4, 2)) == ["r4", "r6"]


async def test_versions_that_share_a_shard_share_what_was_measured(datasets: Datasets) -> None:
    version, samples = await filled(datasets), Samples(datasets)
    shard = version.manifest.shards[0]
    measured = measure_shard(datasets.blobs, version.manifest, shard, Measurer())
    async with datasets.database.write() as connection:
        await store.put_statistics(connection, {shard.sha256: measured})
    second = await datasets.create_version("talks", source=version.id)
    await samples.annotate(second.id, "r1", labels=["a"])
    page = await samples.page(second.id, 0, 5)
    words = [item.statistics and item.statistics["words"] for item in page.items]
    assert words == [1, None, 2, 1, None]
