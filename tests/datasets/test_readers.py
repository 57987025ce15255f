"""Files of every format as rows: whole, in pieces, in every encoding, damaged, and made by somebody who means harm."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import xlsxwriter

from yangfan import extensions
from yangfan.datasets.readers.base import Flaw, Options, Reader
from yangfan.errors import ConfigurationError

READERS = "yangfan.datasets.readers"
TEXTS = [
    "你好，世界",
    "plain",
    'a "quoted" word',
    "two\nlines",
    "tab\there",
    "emoji 🙂",
    " spaces ",
]
ROWS = [{"prompt": text, "response": text[::-1]} for text in TEXTS]


def reader(file: Path, **options: Any) -> Reader:
    scratch = file.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    module = extensions.load(READERS, file.suffix[1:])
    return module.open(file, Options(**options), scratch)


def everything(file: Path, **options: Any) -> tuple[dict[int, Any], list[Flaw]]:
    rows: dict[int, Any] = {}
    flaws: list[Flaw] = []
    opened = reader(file, **options)
    done = 0
    for batch in opened.batches({}):
        rows |= dict(zip(batch.numbers, batch.rows, strict=True))
        flaws += batch.flaws
        assert done <= batch.done_bytes <= opened.total_bytes
        done = batch.done_bytes
        json.dumps(batch.place)
    return rows, flaws


def put(folder: Path, name: str, content: bytes | str) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def as_csv(rows: list[dict[str, str]], delimiter: str = ",") -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [delimiter.join(map(cell, row.values())) for row in rows]
    return "\n".join([delimiter.join(rows[0]), *lines, ""])


def write_xlsx(file: Path, rows: list[list[Any]]) -> Path:
    with xlsxwriter.Workbook(str(file)) as book:
        sheet = book.add_worksheet("data")
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return file


def write_parquet(file: Path, rows: list[dict[str, Any]], group: int = 1000) -> Path:
    parquet.write_table(arrow.Table.from_pylist(rows), file, row_group_size=group)
    return file


MAKERS: dict[str, Callable[[Path, list[dict[str, str]]], Path]] = {
    "jsonl": lambda folder, rows: put(
        folder, "a.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    ),
    "json": lambda folder, rows: put(folder, "a.json", json.dumps(rows, indent=1)),
    "csv": lambda folder, rows: put(folder, "a.csv", as_csv(rows)),
    "tsv": lambda folder, rows: put(folder, "a.tsv", as_csv(rows, "\t")),
    "xlsx": lambda folder, rows: write_xlsx(
        folder / "a.xlsx", [list(rows[0]), *(list(row.values()) for row in rows)]
    ),
    "parquet": lambda folder, rows: write_parquet(folder / "a.parquet", list(rows), 1300),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_rows_come_as_they_were_written(kind: str, tmp_path: Path) -> None:
    rows, flaws = everything(MAKERS[kind](tmp_path, ROWS))
    assert list(rows.values()) == ROWS
    assert flaws == []
    assert list(rows) == sorted(rows)


@pytest.mark.parametrize("kind", [*MAKERS, "txt"])
def test_a_reader_that_is_made_anew_goes_on_where_the_last_one_was(
    kind: str, tmp_path: Path
) -> None:
    texts = [f"number {number} {'x' * (number % 37)}" for number in range(5000)]
    rows = [{"prompt": text, "response": "r"} for text in texts]
    if kind == "txt":
        file, wanted = put(tmp_path, "a.txt", "\n".join(texts)), list[Any](texts)
    else:
        file, wanted = MAKERS[kind](tmp_path, rows), list[Any](rows)
    found: list[Any] = []
    numbers: list[int] = []
    place: dict[str, Any] = {}
    while True:
        batch = next(iter(reader(file).batches(json.loads(json.dumps(place)))), None)
        if batch is None:
            break
        found += batch.rows
        numbers += batch.numbers
        place = batch.place
    assert found == wanted
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le", "utf-16-be"],
)
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "txt"])
def test_the_encoding_is_found_out(kind: str, encoding: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"第{number}个问题，请回答 {number}"} for number in range(300)]
    rows.append({"prompt": "ascii alone"})
    texts = [row["prompt"] for row in rows]
    text = {
        "jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "json": json.dumps(rows, ensure_ascii=False),
        "csv": as_csv(rows),
        "txt": "\r\n".join(texts),
    }[kind]
    file = put(tmp_path, f"a.{kind}", text.encode(encoding))
    found, flaws = everything(file)
    assert flaws == []
    assert list(found.values()) == (texts if kind == "txt" else rows)


def test_an_encoding_may_be_named_and_lines_of_another_one_are_flaws(tmp_path: Path) -> None:
    file = put(tmp_path, "a.txt", "你好世界\n".encode("gbk") + "再见\n".encode() + b"ok\n")
    rows, flaws = everything(file, encoding="utf-8")
    assert rows == {2: "再见", 3: "ok"} or rows == {3: "ok"}
    assert flaws[0].number == 1
    assert "utf-8" in flaws[0].reason or "gb18030" in flaws[0].reason
    with pytest.raises(ConfigurationError, match=r"latin-1.*is not read here; there are"):
        reader(file, encoding="latin-1")


def test_a_long_ascii_beginning_hides_no_gbk(tmp_path: Path) -> None:
    file = put(tmp_path, "a.txt", b"ascii line\n" * 300_000 + "中文在后面\n".encode("gbk") * 40)
    rows, flaws = everything(file)
    assert flaws == []
    assert list(rows.values())[-1] == "中文在后面"


def test_bad_lines_of_jsonl_stop_nothing(tmp_path: Path) -> None:
    lines = [
        b'{"a": 1}',
        b"",
        b"no json",
        b'{"cut": ',
        b'{"half": "\\ud800"}',
        b"[" * 5000,
        b'{"a": "\xff"}',
        b'{"nan": NaN}',
        b'{"z": "\\u0000"}',
        b'{"a": 2}',
    ]
    rows, flaws = everything(put(tmp_path, "a.jsonl", b"\n".join(lines)))
    assert rows == {1: {"a": 1}, 9: {"z": "\0"}, 10: {"a": 2}}
    assert [flaw.number for flaw in flaws] == [3, 4, 5, 6, 7, 8]
    assert all(flaw.reason for flaw in flaws)
    assert flaws[0].source == "no json\n"
    assert "nested too deeply" in flaws[3].reason


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "txt"])
def test_a_line_that_never_ends_is_one_flaw_and_no_memory(kind: str, tmp_path: Path) -> None:
    row, end = {
        "jsonl": (b'{"prompt": "ok"}\n', b""),
        "json": (b'{"prompt": "ok"},', b'{"prompt": "ok"}]'),
        "csv": (b"ok\n", b""),
        "txt": (b"ok\n", b""),
    }[kind]
    head = {"json": b"[", "csv": b"prompt\n"}.get(kind, b"")
    long = b'{"prompt": "' + b"x" * 3_000_000 + b'"}' + (b"," if kind == "json" else b"\n")
    file = put(tmp_path, f"a.{kind}", head + row + long + row + end)
    rows, flaws = everything(file, max_row_bytes=100_000)
    assert len(rows) == (3 if kind == "json" else 2)
    (flaw,) = flaws
    assert "100000" in flaw.reason
    assert len(flaw.source) <= 2000


def test_elements_of_a_list_are_cut_out_wherever_they_are_cut(tmp_path: Path) -> None:
    values: list[Any] = [
        {"a": ["]", "}", {"b": '"\\"'}]},
        'text, with [brackets] and \\ "quotes"',
        17,
        None,
        [],
        {},
        {"long": "y" * 3_000_000},
        [[[["deep"]]]],
    ]
    generator = random.Random(7)
    values += [{"n": generator.random(), "s": "ü" * generator.randrange(50)} for _ in range(3000)]
    rows, flaws = everything(put(tmp_path, "a.json", json.dumps(values, ensure_ascii=False)))
    assert flaws == []
    assert list(rows.values()) == values


def test_a_list_with_bad_elements_or_no_end_gives_what_it_has(tmp_path: Path) -> None:
    rows, flaws = everything(put(tmp_path, "a.json", '[{"a": 1}, {bad}, tru, 3, {"b": 2}] 7'))
    assert rows == {1: {"a": 1}, 4: 3, 5: {"b": 2}}
    assert [flaw.number for flaw in flaws] == [2, 3, 6]
    rows, flaws = everything(put(tmp_path, "b.json", '[{"a": 1}, {"b": "no end'))
    assert rows == {1: {"a": 1}}
    assert "no end" in flaws[0].reason
    assert everything(put(tmp_path, "c.json", '{"a": 1}')) == ({1: {"a": 1}}, [])
    assert everything(put(tmp_path, "d.json", b"")) == ({}, [])


def test_json_lines_under_the_name_of_json_are_read_as_lines(tmp_path: Path) -> None:
    rows, flaws = everything(put(tmp_path, "a.json", '[{"a": 1}]\n[{"a": 2}]\nbad\n'))
    assert rows == {1: [{"a": 1}], 2: [{"a": 2}]}
    assert [flaw.number for flaw in flaws] == [3]


def test_a_quote_that_never_closes_swallows_no_rows(tmp_path: Path) -> None:
    lines = ["prompt,response", "one,1", 'two,"2', "three,3", 'four,"4"', "five,5,5", "", "six,6"]
    rows, flaws = everything(put(tmp_path, "a.csv", "\n".join(lines)))
    assert [row["prompt"] for row in rows.values()] == ["one", "three", "four", "six"]
    assert {flaw.number: flaw.source for flaw in flaws} == {3: 'two,"2\n', 6: "five,5,5"}
    assert "quote" in flaws[0].reason
    assert "3 fields, the heading has 2" in flaws[1].reason


def test_zero_bytes_are_flaws(tmp_path: Path) -> None:
    rows, flaws = everything(put(tmp_path, "a.txt", b"good\nb\0d\ngood\n" * 3))
    assert set(rows.values()) == {"good"}
    assert len(flaws) == 3
    assert "zero byte" in flaws[0].reason
    _, flaws = everything(put(tmp_path, "a.csv", b"a,b\n1,\0\n"))
    assert "zero byte" in flaws[0].reason


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must name the columns"),
        ("a,a\n1,2\n", "names the column 'a' twice"),
        ('"a\nb,c\n', "heading cannot be read"),
        (",".join(map(str, range(2000))), "1000 are allowed"),
    ],
)
def test_a_table_needs_a_heading(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        reader(put(tmp_path, "a.csv", content))


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
def test_a_column_that_is_not_there_is_told_with_those_that_are(kind: str, tmp_path: Path) -> None:
    file = MAKERS[kind](tmp_path, ROWS)
    with pytest.raises(ConfigurationError, match=r"no column 'question'; there are: prompt, resp"):
        reader(file, columns={"prompt": "question"})


def test_a_delimiter_may_be_given(tmp_path: Path) -> None:
    file = put(tmp_path, "a.csv", as_csv(ROWS, ";"))
    assert list(everything(file, delimiter=";")[0].values()) == ROWS
    with pytest.raises(ConfigurationError, match="one character"):
        reader(file, delimiter="||")


def test_a_whole_text_file_may_be_one_row(tmp_path: Path) -> None:
    file = put(tmp_path, "a.txt", "line one\n\nline two\n")
    assert everything(file, whole_files=True) == ({1: "line one\n\nline two\n"}, [])
    (flaw,) = everything(file, whole_files=True, max_row_bytes=8)[1]
    assert "8 are allowed" in flaw.reason


def test_cells_of_workbooks_become_texts(tmp_path: Path) -> None:
    cells = [["a", "b", "c"], [1, 2.5, True], ["", "", ""], ["x", "", "z"]]
    rows, flaws = everything(write_xlsx(tmp_path / "a.xlsx", cells))
    assert flaws == []
    assert rows == {2: {"a": "1", "b": "2.5", "c": "true"}, 4: {"a": "x", "c": "z"}}


def test_a_sheet_is_chosen_by_name(tmp_path: Path) -> None:
    file = MAKERS["xlsx"](tmp_path, ROWS)
    assert list(everything(file, sheet="data")[0].values()) == ROWS
    with pytest.raises(ConfigurationError, match="no sheet 'other'; there are: data"):
        reader(file, sheet="other")


def test_two_cells_far_apart_are_no_bomb(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(str(file)) as book:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "prompt")
        sheet.write(1_048_575, 16_383, "far")
    with pytest.raises(ConfigurationError, match="1048576 rows and 16384 columns: refused"):
        reader(file)


def test_a_workbook_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yangfan.datasets.readers.xlsx.MAX_UNPACKED_BYTES", 1_000_000)
    file = MAKERS["xlsx"](tmp_path, ROWS)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet9.xml", b" " * 5_000_000)
    with pytest.raises(ConfigurationError, match="unpacks to more than 1000000 bytes: refused"):
        reader(file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"<html>"])
def test_what_is_no_workbook_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no whole workbook"):
        reader(put(tmp_path, "a.xlsx", content))


def test_a_workbook_whose_parts_lie_at_impossible_places_is_refused(tmp_path: Path) -> None:
    whole = bytearray(MAKERS["xlsx"](tmp_path, ROWS).read_bytes())
    end = whole.rindex(b"PK\x05\x06")
    whole[end + 16 : end + 20] = b"\xff\xff\xff\x7f"  # the list of parts begins behind the end
    with pytest.raises(ConfigurationError, match="no whole workbook"):
        reader(put(tmp_path, "b.xlsx", bytes(whole)))


def test_a_damaged_workbook_is_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    whole = MAKERS["xlsx"](tmp_path, ROWS).read_bytes()
    generator = random.Random(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(generator.randrange(1, 8)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        try:
            rows, flaws = everything(put(tmp_path, "b.xlsx", bytes(damaged)))
        except ConfigurationError:
            continue
        assert len(rows) + len(flaws) <= len(ROWS)


def test_nested_values_of_parquet_come_as_json(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "x"}], "n": 1}, {"messages": None, "n": 2}]
    found, flaws = everything(write_parquet(tmp_path / "a.parquet", rows))
    assert flaws == []
    assert list(found.values()) == [rows[0], {"n": 2}]


def test_a_footer_that_lies_is_refused_or_counted(tmp_path: Path) -> None:
    rows = [{"prompt": f"text {number}", "response": "r" * 20} for number in range(3000)]
    whole = write_parquet(tmp_path / "a.parquet", list(rows)).read_bytes()
    with pytest.raises(ConfigurationError, match="no Parquet file"):
        reader(put(tmp_path, "b.parquet", whole[:-100]))
    generator = random.Random(5)
    read = 0
    for _ in range(120):
        damaged = bytearray(whole)
        for _ in range(generator.randrange(1, 5)):
            damaged[generator.randrange(len(damaged) - 8)] = generator.randrange(256)
        try:
            found, flaws = everything(put(tmp_path, "b.parquet", bytes(damaged)))
        except ConfigurationError:
            continue
        read += 1
        assert flaws or len(found) == 3000
    assert read


def test_a_row_group_that_cannot_be_read_is_counted_by_its_rows(tmp_path: Path) -> None:
    rows = [{"prompt": f"text {number} {random.Random(number).random()}"} for number in range(3000)]
    file = write_parquet(tmp_path / "a.parquet", list(rows))
    at = parquet.ParquetFile(file).metadata.row_group(1).column(0).data_page_offset
    damaged = bytearray(file.read_bytes())
    damaged[at : at + 64] = b"\xff" * 64
    found, flaws = everything(put(tmp_path, "b.parquet", bytes(damaged)))
    assert len(found) + sum(flaw.rows for flaw in flaws) == 3000
    assert len(found) >= 2000
    assert "row group 1" in flaws[0].reason
