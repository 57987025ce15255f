"""Datasets and versions: what is made, found, shared, refused and collected."""

from __future__ import annotations

import os
import time

import pytest

from yangfan.datasets.formats import DataFormat, Sample
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import ShardWriter
from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.server.datasets import Datasets
from yangfan.server.datasets.logic import Filter

TEXT = DataFormat.TEXT


def rows(datasets: Datasets, *texts: str) -> Manifest:
    with ShardWriter(datasets.blobs, TEXT) as writer:
        for text in texts:
            writer.add(f"r-{text}", Sample(text=text))
        return writer.finish()


async def test_a_dataset_is_made_with_an_empty_first_version(datasets: Datasets) -> None:
    made = await datasets.create("poems", TEXT, "app-1", description="verses")
    assert (made.id[:3], made.group_id[:3], made.version, made.rows) == ("ds-", "dg-", 1, 0)
    assert (made.reference, made.state, made.published) == ("poems:1", "Unpublished", False)
    for reference in (made.id, made.number, str(made.number), "poems", "poems:1", made.group_id):
        assert (await datasets.version(reference)).id == made.id
    assert (await datasets.version("poems:latest")).id == made.id


@pytest.mark.parametrize(
    "reference", ["ds-none", "poems", "poems:2", "poems:x", 7, 10**12, "9" * 30]
)
async def test_what_is_not_there_is_said_with_where_to_look(
    datasets: Datasets, reference: str | int
) -> None:
    with pytest.raises(NotFound, match="DescribeDatasets and `yangfan data list` show"):
        await datasets.version(reference)


@pytest.mark.parametrize("name", ["", " ", "a:1", "x" * 101, "ds-1", "dg-1", "12", "a\nb", " a"])
async def test_names_that_could_be_taken_for_something_else_are_refused(
    datasets: Datasets, name: str
) -> None:
    with pytest.raises(Invalid, match="the name of a dataset has 1 to 100 characters"):
        await datasets.create(name, TEXT)


async def test_names_are_unique(datasets: Datasets) -> None:
    await datasets.create("poems", TEXT)
    other = await datasets.create("songs", TEXT)
    with pytest.raises(Conflict, match="there is a dataset called 'poems'"):
        await datasets.create("poems", DataFormat.PROMPT)
    with pytest.raises(Conflict, match="there is a dataset called 'poems'"):
        await datasets.rename(other.group_id, "poems")
    assert (await datasets.rename("songs", "lieder")).name == "lieder"
    assert (await datasets.version("lieder:1")).id == other.id


async def test_rows_come_into_a_version_behind_those_that_are_there(datasets: Datasets) -> None:
    made = await datasets.create("poems", TEXT)
    for text in ("a", "b"):
        async with datasets.database.write() as connection:
            await datasets.publish_rows(
                connection, made.id, rows(datasets, text), {"kind": "import"}
            )
    found = await datasets.version(made.id)
    assert (found.rows, found.annotated, found.characters, found.revision) == (2, 2, 2, 2)
    assert [item["kind"] for item in found.lineage] == ["import", "import"]
    async with datasets.database.write() as connection:
        await datasets.publish_rows(
            connection, made.id, rows(datasets, "c"), {"kind": "clean"}, append=False
        )
    assert (await datasets.version(made.id)).rows == 1
    with pytest.raises(Invalid, match="do not belong into poems:1"):
        async with datasets.database.write() as connection:
            await datasets.publish_rows(
                connection, made.id, Manifest.of(DataFormat.PROMPT), {}, append=False
            )


async def test_a_new_version_is_empty_or_shares_the_shards_of_an_earlier_one(
    datasets: Datasets,
) -> None:
    made = await datasets.create("poems", TEXT)
    async with datasets.database.write() as connection:
        await datasets.publish_rows(
            connection, made.id, rows(datasets, "a", "b"), {"kind": "import"}
        )
    empty = await datasets.create_version("poems")
    assert (empty.version, empty.rows) == (2, 0)
    shared = await datasets.create_version("poems", source="poems:1", description="more")
    assert (shared.version, shared.rows, shared.description) == (3, 2, "more")
    assert shared.manifest == (await datasets.version(made.id)).manifest
    assert shared.lineage[-1]["source"] == made.id
    other = await datasets.create("questions", DataFormat.PROMPT)
    with pytest.raises(Invalid, match="has the data format Text, the dataset has Prompt"):
        await datasets.create_version(other.group_id, source=made.id)
    assert [version.version for version in await datasets.versions("poems")] == [1, 2, 3]


async def test_one_job_at_a_time_changes_a_version(datasets: Datasets) -> None:
    made = await datasets.create("poems", TEXT)
    async with datasets.database.write() as connection:
        begun = await datasets.begin(connection, made.id, "import", "jb-1")
        assert begun.task("import").state == "running"
        with pytest.raises(Conflict, match=r"while its import is going on \(job jb-1\)"):
            await datasets.begin(connection, made.id, "clean", "jb-2")
        await datasets.begin(connection, made.id, "export", "jb-3")
        with pytest.raises(Conflict, match="another export"):
            await datasets.begin(connection, made.id, "export", "jb-4")
    with pytest.raises(Conflict, match="cancel job jb-"):
        await datasets.delete_version(made.id)
    async with datasets.database.write() as connection:
        await datasets.end(connection, made.id, "import", "failed", error="no file", error_code=3)
        await datasets.end(connection, made.id, "export", "succeeded")
        await datasets.end(connection, "ds-gone", "export", "succeeded")
    found = await datasets.version(made.id)
    assert (found.task("import").error, found.task("import").error_code) == ("no file", 3)
    assert found.task("export").ended_ms > 0
    assert found.task("clean").state == "none"


async def test_deleting_asks_who_would_miss_it(datasets: Datasets) -> None:
    made = await datasets.create("poems", TEXT)
    second = await datasets.create_version("poems")

    async def user_of(_connection: object, version: object) -> str | None:
        return "the tuning task-1" if getattr(version, "id", "") == second.id else None

    datasets.users.append(user_of)
    with pytest.raises(Conflict, match="the tuning task-1 uses it"):
        await datasets.delete("poems")
    assert await datasets.delete_version(made.id) == 1
    datasets.users.clear()
    assert await datasets.delete_version(second.id) == 0
    with pytest.raises(NotFound):
        await datasets.group("poems")


async def test_pages_of_datasets(datasets: Datasets) -> None:
    made = [await datasets.create(f"set {number}", TEXT) for number in range(3)]
    await datasets.create("other", DataFormat.PROMPT)
    found, following = await datasets.page(Filter("SET"), "", 2, newest_first=False)
    assert [group.name for group, _ in found] == ["set 0", "set 1"]
    assert following == made[2].group_id
    found, following = await datasets.page(Filter("SET"), following or "", 2, newest_first=False)
    assert ([group.name for group, _ in found], following) == (["set 2"], None)
    newest, _ = await datasets.page(Filter(data_format=TEXT), "", 9, newest_first=True)
    assert [group.name for group, version in newest if version] == ["set 2", "set 1", "set 0"]
    with pytest.raises(NotFound):
        await datasets.page(Filter(), "dg-none", 2, newest_first=False)


async def test_only_content_that_nobody_names_is_collected(datasets: Datasets) -> None:
    made = await datasets.create("poems", TEXT)
    kept, mentioned, lost = (rows(datasets, text) for text in ("kept", "mentioned", "lost"))
    async with datasets.database.write() as connection:
        await datasets.publish_rows(connection, made.id, kept, {"kind": "import"})
    old = time.time() - 9 * 24 * 3600
    for path in datasets.blobs.root.glob("??/*"):
        os.utime(path, (old, old))

    async def in_jobs() -> str:
        return mentioned.encode().decode()

    assert await datasets.collect(in_jobs) == (1, lost.size_bytes)
    assert datasets.blobs.has(mentioned.shards[0].sha256)
    assert datasets.blobs.has(kept.shards[0].sha256)
