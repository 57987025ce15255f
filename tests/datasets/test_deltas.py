"""Edits on top of shards: read through, written down, and compared between versions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from yangfan.datasets.deltas import Delta, Edited, apply, compact, differences
from yangfan.datasets.formats import DataFormat, Sample
from yangfan.datasets.manifest import Manifest, Row
from yangfan.datasets.shards import BlobFolder, ShardWriter, read_rows

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")


def written(blobs: BlobFolder, count: int) -> Manifest:
    with ShardWriter(blobs, DataFormat.TEXT, 10) as writer:
        for number in range(count):
            writer.add(f"t-{number:010d}", Sample(text=f"row {number}"))
        return writer.finish()


def edits(seed: int, count: int) -> list[Delta]:
    """Some rows changed, some deleted, some new."""
    chance = random.Random(seed)
    found = [
        Delta(
            row_id=f"t-{place:010d}",
            place=place,
            sample=None if chance.random() < 0.5 else Sample(text=f"changed {place}"),
        )
        for place in sorted(chance.sample(range(count), 12))
    ]
    return [*found, *(Delta(row_id=f"new-{n}", sample=Sample(text=f"new {n}")) for n in range(5))]


@pytest.mark.parametrize("seed", range(5))
def test_every_page_is_what_applying_the_edits_gives(tmp_path: Path, seed: int) -> None:
    blobs = BlobFolder(tmp_path)
    manifest, deltas = written(blobs, 37), edits(seed, 37)
    plain = list(apply(read_rows(blobs, manifest), deltas))
    edited = Edited(blobs, manifest, deltas)
    assert edited.rows == len(plain)
    assert list(edited) == plain
    for offset in range(len(plain) + 2):
        for limit in (1, 3, 50):
            page = [row for _, row in edited.page(offset, limit)]
            assert page == plain[offset : offset + limit], (offset, limit)


def test_a_page_says_which_rows_stand_unchanged_in_the_shards(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    deltas = [
        Delta(row_id="t-0000000001", place=1),
        Delta(row_id="t-0000000002", place=2, sample=Sample(text="x")),
    ]
    edited = Edited(blobs, written(blobs, 5), deltas)
    assert [place for place, _ in edited.page()] == [0, None, 3, 4]


@pytest.mark.parametrize("seed", range(3))
def test_compacting_keeps_the_rows_and_the_shards_that_nobody_edited(
    tmp_path: Path, seed: int
) -> None:
    blobs = BlobFolder(tmp_path)
    manifest = written(blobs, 100)
    deltas = [delta for delta in edits(seed, 100) if delta.place is None or delta.place < 40]
    told: list[int] = []
    after = compact(blobs, manifest, deltas, told.append)
    assert list(read_rows(blobs, after)) == list(apply(read_rows(blobs, manifest), deltas))
    untouched = {shard.sha256 for shard in manifest.shards if shard.first_row >= 40}
    assert untouched <= {shard.sha256 for shard in after.shards}
    assert told[-1] == 100


def test_the_difference_between_versions_names_each_row(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    before = written(blobs, 100)
    deltas = [
        Delta(row_id="t-0000000001", place=1),
        Delta(row_id="t-0000000050", place=50, sample=Sample(text="other")),
        Delta(row_id="new", sample=Sample(text="new")),
    ]
    after = compact(blobs, before, deltas)
    found = {item.row_id: item for item in differences(blobs, before, after)}
    assert {key: item.kind for key, item in found.items()} == {
        "t-0000000001": "removed",
        "t-0000000050": "changed",
        "new": "added",
    }
    changed = found["t-0000000050"]
    assert (changed.before, changed.after) == (Sample(text="row 50"), Sample(text="other"))
    assert list(differences(blobs, after, after)) == []
    assert len(list(differences(blobs, Manifest.of(DataFormat.TEXT), after))) == 100


def test_moving_a_row_is_no_difference(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    rows = [Row(f"r{number}", Sample(text=str(number))) for number in range(5)]
    manifests: list[Manifest] = []
    for order in (rows, rows[::-1]):
        with ShardWriter(blobs, DataFormat.TEXT) as writer:
            for row in order:
                writer.add_row(row)
            manifests.append(writer.finish())
    assert list(differences(blobs, manifests[0], manifests[1])) == []
