"""What is measured of rows, and what a version looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from yangfan.datasets import inspection
from yangfan.datasets.formats import DataFormat, Sample
from yangfan.datasets.inspection import Measurer, insight_of, measure_shard, statistics_of
from yangfan.datasets.shards import BlobFolder, ShardWriter
from yangfan.operators import base

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")

TEXTS = (
    "The weather is fine today, so we go for a long walk by the river.",
    "今天天气很好，我们一起去河边散步吧。",
    "the the the the the the the the the the",
    "!!! ??? ### $$$",
    "The weather is fine today, so we go for a long walk by the river.",
)


def test_a_row_is_measured_as_the_operators_measure_it(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    with ShardWriter(blobs, DataFormat.TEXT, 3) as writer:
        for number, text in enumerate(TEXTS):
            writer.add(f"r{number}", Sample(text=text))
        manifest = writer.finish()
    measurer = Measurer()
    assert measurer.missing == {}
    told: list[int] = []
    made = {
        shard.sha256: measure_shard(blobs, manifest, shard, measurer, told.append)
        for shard in manifest.shards
    }
    assert told == [3, 2]
    found = statistics_of(blobs, manifest, made, range(5))
    from yangfan.operators._texts import Texts

    for name, operator in inspection.MEASURES.items():
        by_operator = base.create(operator, {}, base.Common())(Texts(TEXTS)).values
        assert by_operator is not None
        assert [found[place][name] for place in range(5)] == pytest.approx(list(by_operator))
    assert [found[place]["language"] for place in range(4)] == ["en", "zh", "en", ""]
    insight = insight_of(blobs, manifest, made, {})
    assert (insight.rows, insight.duplicates, insight.largest_duplicates) == (5, 1, ((2, 0),))
    assert insight.languages == {"en": 3, "zh": 1, "": 1}
    assert insight.measures["characters"].maximum == len(TEXTS[0])
    assert all(sum(spread.histogram.counts) == 5 for spread in insight.measures.values())
    assert statistics_of(blobs, manifest, {}, [0]) == {}


def test_near_duplicates_are_those_that_deduplication_takes_out(tmp_path: Path) -> None:
    from yangfan.operators._texts import Texts

    said = "The garden behind the harbour has an old copper engine, and nobody knows who left it there. "
    texts = [f"{said * 6}{number % 7}" for number in range(30)]
    texts += [f"{text} {number}" for number, text in enumerate(TEXTS)]
    blobs = BlobFolder(tmp_path)
    with ShardWriter(blobs, DataFormat.TEXT, 9) as writer:
        for number, text in enumerate(texts):
            writer.add(f"r{number:02d}", Sample(text=text))
        manifest = writer.finish()
    measurer = Measurer()
    made = {
        shard.sha256: measure_shard(blobs, manifest, shard, measurer) for shard in manifest.shards
    }
    assert all(inspection.is_whole(blobs, sha256) for sha256 in made.values())
    insight = insight_of(blobs, manifest, made, {}, 1 << 16)
    outcome = base.create("deduplication_simhash", {}, base.Common())(Texts(texts))
    assert outcome.keep is not None
    assert outcome.values is not None
    assert insight.near_duplicates == (~outcome.keep).sum()
    assert insight.near_duplicates is not None
    assert insight.near_duplicates > insight.duplicates
    assert insight.nearest_duplicates == tuple(
        (row, int(value))
        for row, (keep, value) in enumerate(
            zip(outcome.keep.tolist(), outcome.values.tolist(), strict=True)
        )
        if not keep and value
    )


def test_what_was_measured_before_there_were_simhashes_is_measured_again(tmp_path: Path) -> None:
    pa, pq = inspection.arrow(), inspection.arrow("pyarrow.parquet")
    blobs = BlobFolder(tmp_path)
    part = blobs.part(".parquet")
    pq.write_table(pa.table({name: [1.0] for name in inspection.COLUMNS[:-1]}), part)
    assert not inspection.is_whole(blobs, blobs.adopt(part))
    assert not inspection.is_whole(blobs, "0" * 64)


def test_a_measure_that_cannot_be_made_is_missing_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "MEASURES", {"words": "filter_check_number_words"})
    measurer = Measurer()
    absent = [name for name in inspection.COLUMNS[:7] if name != "words"]
    measurer.missing |= dict.fromkeys(absent, "needs something")
    blobs = BlobFolder(tmp_path)
    with ShardWriter(blobs, DataFormat.TEXT) as writer:
        writer.add("r", Sample(text="a b c"))
        manifest = writer.finish()
    made = {
        shard.sha256: measure_shard(blobs, manifest, shard, measurer) for shard in manifest.shards
    }
    assert statistics_of(blobs, manifest, made, [0])[0]["perplexity"] is None
    insight = insight_of(blobs, manifest, made, measurer.missing)
    assert insight.missing["perplexity"] == "needs something"
    assert insight.languages == {"en": 1}
    assert "perplexity" not in insight.measures
