"""Files of every format, written and read back; killed in between, and equal byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yangfan import extensions
from yangfan.datasets.readers.base import Options
from yangfan.datasets.writers.base import Writer
from yangfan.errors import ConfigurationError

COLUMNS = ("prompt", "response")
TEXTS = [
    "你好，世界",
    '"quoted", and more',
    "two\nlines\r\nor three",
    "\t",
    "=1+1",
    "🙂",
    "x" * 20_000,
]
ROWS: list[dict[str, str]] = [
    *({"prompt": text, "response": text[::-1]} for text in TEXTS),
    *({"prompt": f"row {number}"} for number in range(200)),
]
KINDS = ("jsonl", "json", "csv", "tsv", "xlsx", "parquet")


def opened(kind: str, part: Path, place: dict[str, Any]) -> Writer:
    module = extensions.load("yangfan.datasets.writers", kind)
    assert f".{kind}" == module.SUFFIX
    return module.open(part, place, COLUMNS)


def read(file: Path) -> list[Any]:
    reader = extensions.load("yangfan.datasets.readers", file.suffix[1:]).open(
        file, Options(), file.parent
    )
    batches = list(reader.batches({}))
    assert not any(batch.flaws for batch in batches)
    return [row for batch in batches for row in batch.rows]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_back(kind: str, tmp_path: Path) -> None:
    part = tmp_path / f"data.{kind}"
    writer = opened(kind, part, {})
    writer.write(ROWS[:3])
    writer.write([])
    writer.write(ROWS[3:])
    writer.finish()
    found = read(part)
    if (
        kind == "xlsx"
    ):  # XML has no carriage returns; `yangfan.datasets.tables` puts such rows where they keep them
        found[2]["prompt"] = ROWS[2]["prompt"]
        found[2]["response"] = ROWS[2]["response"]
    assert found == ROWS


def test_texts_are_written_one_after_the_other(tmp_path: Path) -> None:
    module = extensions.load("yangfan.datasets.writers", "txt")
    writer = module.open(tmp_path / "data.txt", {}, ("text",))
    writer.write(["one", "two\nthree"])
    writer.finish()
    assert (tmp_path / "data.txt").read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_was_killed_is_gone_on_with(kind: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole, part = tmp_path / "whole" / f"data.{kind}", tmp_path / f"data.{kind}"
    writer = opened(kind, whole, {})
    writer.write(ROWS[:50])
    writer.save()
    writer.write(ROWS[50:])
    writer.finish()

    killed = opened(kind, part, {})
    killed.write(ROWS[:50])
    place = json.loads(json.dumps(killed.save()))
    killed.write(ROWS[7:99])
    killed.close()
    again = opened(kind, part, place)
    again.write(ROWS[50:] if place else ROWS)
    again.finish()
    assert read(part) == read(whole)
    if kind != "xlsx":
        assert part.read_bytes() == whole.read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [part.name]


def test_no_rows_make_a_whole_file(tmp_path: Path) -> None:
    for kind in KINDS:
        writer = opened(kind, tmp_path / f"data.{kind}", {})
        writer.finish()
        assert read(tmp_path / f"data.{kind}") == []


def test_a_sheet_has_an_end_and_a_cell_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = opened("xlsx", tmp_path / "a.xlsx", {})
    with pytest.raises(ConfigurationError, match="40000 characters, a cell holds 32767: export"):
        writer.write([{"prompt": "x" * 40_000}])
    writer.close()
    monkeypatch.setattr("yangfan.datasets.writers.xlsx.MAX_ROWS", 2)
    writer = opened("xlsx", tmp_path / "b.xlsx", {})
    with pytest.raises(ConfigurationError, match="a sheet holds 2 rows"):
        writer.write(ROWS[:3])
    writer.close()
