"""Shards: rows in, rows out; what is shared, found, paged and collected."""

from __future__ import annotations

import errno
import os
import time
from itertools import islice
from pathlib import Path

import pytest

from yangfan.datasets import shards
from yangfan.datasets.formats import DataFormat, Image, Sample, Turn
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import (
    BlobFolder,
    RowIds,
    ShardWriter,
    find_rows,
    read_batches,
    read_rows,
)
from yangfan.errors import ConfigurationError, Invalid

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")


def text(number: int) -> Sample:
    return Sample(text=f"row {number}")


def written(blobs: BlobFolder, count: int, first: int = 0, rows_per_shard: int = 40) -> Manifest:
    with ShardWriter(blobs, DataFormat.TEXT, rows_per_shard) as writer:
        ids = RowIds("t", first)
        for number in range(first, first + count):
            writer.add(ids(), text(number))
        return writer.finish()


def test_rows_come_back_in_order_with_what_was_said_about_them(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    with ShardWriter(blobs, DataFormat.PROMPT_RESPONSE, created_ms=7) as writer:
        writer.add("a", Sample(turns=(Turn("q", ("a",)),)), ["good"], annotated_ms=9)
        writer.add("b", Sample(turns=(Turn("q"),)))
        manifest = writer.finish()
    first, second = read_rows(blobs, manifest)
    assert (first.row_id, first.labels, first.created_ms, first.annotated_ms) == (
        "a",
        ("good",),
        7,
        9,
    )
    assert second.sample == Sample(turns=(Turn("q"),))
    assert (manifest.rows, manifest.annotated, manifest.characters) == (2, 1, 4)
    assert Manifest.decode(manifest.encode()) == manifest


def test_any_page_is_read_without_opening_the_shards_before_it(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    manifest = written(blobs, 100)
    assert [shard.rows for shard in manifest.shards] == [40, 40, 20]
    assert [shard.first_row for shard in manifest.shards] == [0, 40, 80]
    blobs.path(manifest.shards[0].sha256).unlink()
    found = [row.sample.text for row in read_rows(blobs, manifest, 78, 4)]
    assert found == ["row 78", "row 79", "row 80", "row 81"]
    assert [row.row_id for row in read_rows(blobs, manifest, 99, 10)] == ["t-0000000099"]
    assert list(read_rows(blobs, manifest, 100, 10)) == []
    with pytest.raises(ConfigurationError, match="no longer on this machine"):
        next(read_rows(blobs, manifest))


def test_batches_have_the_columns_asked_for(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    manifest = written(blobs, 100)
    batches = list(read_batches(blobs, manifest, ["text", "row_id"], 10, 50))
    assert sum(batch.num_rows for batch in batches) == 50
    assert batches[0].schema.names == ["text", "row_id"]
    assert batches[0].column(0)[0].as_py() == "row 10"


def test_the_same_rows_are_the_same_shards_and_a_writer_goes_on_where_another_was_killed(
    tmp_path: Path,
) -> None:
    blobs = BlobFolder(tmp_path)
    whole = written(blobs, 100)
    writer = ShardWriter(blobs, DataFormat.TEXT, 40)
    for number in range(40):
        writer.add(f"t-{number:010d}", text(number))
    state = writer.state
    writer.add("t-lost", text(0))
    again = ShardWriter(blobs, DataFormat.TEXT, 40, state)
    assert again.rows == 40
    for number in range(40, 100):
        again.add(f"t-{number:010d}", text(number))
    assert again.finish() == whole
    writer.close()
    assert list((tmp_path / "parts").iterdir()) == []


def test_rows_are_found_by_their_ids(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    manifest = written(blobs, 100)
    found = find_rows(blobs, manifest, ["t-0000000005", "t-0000000085", "nobody"])
    assert {key: (place, row.sample.text) for key, (place, row) in found.items()} == {
        "t-0000000005": (5, "row 5"),
        "t-0000000085": (85, "row 85"),
    }


def test_a_version_goes_on_behind_another(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    both = written(blobs, 50).extended(written(blobs, 50, first=50))
    assert [row.sample.text for row in islice(read_rows(blobs, both), 48, 52)] == [
        "row 48",
        "row 49",
        "row 50",
        "row 51",
    ]
    with pytest.raises(Invalid, match="cannot be put behind rows of Text"):
        both.extended(Manifest.of(DataFormat.PROMPT))


def test_only_what_is_old_and_nobody_uses_is_collected(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    kept, dropped = written(blobs, 10), written(blobs, 10, first=90)
    picture = blobs.put(b"picture")
    with ShardWriter(blobs, DataFormat.PROMPT_IMAGE) as writer:
        writer.add("p", Sample(images=(Image("a.png", picture),)))
        pictures = writer.finish()
    used = shards.used_blobs(blobs, kept) | shards.used_blobs(blobs, pictures)
    assert picture in used
    assert blobs.collect(used, older_than_seconds=3600) == (0, 0)
    old = time.time() - 7200
    for path in tmp_path.glob("??/*"):
        os.utime(path, (old, old))
    assert blobs.collect(used, older_than_seconds=3600) == (1, dropped.size_bytes)
    assert blobs.read(picture) == b"picture"
    assert len(list(read_rows(blobs, kept))) == 10
    blobs.put(b"picture")
    assert blobs.path(picture).stat().st_mtime > old


def test_a_name_that_is_no_hash_never_leaves_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no sha256"):
        BlobFolder(tmp_path).path("../../etc/passwd")


def test_long_rows_do_not_pile_up_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "GROUP_BYTES", 1000)
    monkeypatch.setattr(shards, "SHARD_BYTES", 5000)
    manifest = written(BlobFolder(tmp_path), 1000, rows_per_shard=10_000)
    assert len(manifest.shards) > 1
    assert manifest.rows == 1000


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(shards.arrow("pyarrow.parquet").ParquetWriter, "write_table", full)
    # A row group is packed while the next one is read: it is said one later at most.
    with pytest.raises(ConfigurationError, match="no space on the disk"):
        written(BlobFolder(tmp_path), 40, rows_per_shard=20)
    assert not [*(tmp_path / shards.PARTS).iterdir()]
