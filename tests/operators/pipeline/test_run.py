"""A recipe over files: every format, every row accounted for, and going on after a stop as if there had been none."""

import csv
import importlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.operators.test_filters import texts_made_up

from yangfan.errors import ConfigurationError
from yangfan.operators.pipeline import recipe as recipes
from yangfan.operators.pipeline import run as runs
from yangfan.operators.pipeline.chain import Chain
from yangfan.operators.pipeline.recipe import Recipe, Stages, Step

# They come without types.
arrow: Any = importlib.import_module("pyarrow")
parquet: Any = importlib.import_module("pyarrow.parquet")

SMALL = Recipe(
    Stages(
        clean=["remove_emoji", "replace_uniform_whitespace"],
        filter=[Step("filter_check_number_words", {"number_words_min_cutoff": 2})],
        deduplication=["deduplication_simhash"],
        desensitization=["replace_emails"],
    )
)
HOSTILE_LINES = [
    b'{"text": "good text with a\\ud800 lone surrogate", "n": 1}',
    b'{"text": null}',
    b'{"text": 5}',
    b'{"text": ["a"]}',
    b'{"other": "no text in here"}',
    b"",
    b"not json at all",
    b'{"text": "\xff\xfe invalid bytes in here"}',
    b"[" * 100_000,
    b'{"text": "' + b"x " * 40_000 + b'"}',
    b'[{"text": "a list of one object"}]',
    b'"just a string of words"',
    b'{"text": "kept as it is, to the digit", "n": 1.10, "big": 123456789012345678901234567890, "n": 2}',
    b'{"text": "nul \\u0000 and \\t tab"}',
]


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def run(
    tmp_path: Path, name: str, content: bytes, recipe: Recipe = SMALL
) -> tuple[Path, runs.Report, list[Any]]:
    file, out = tmp_path / f"in{name}", tmp_path / f"out{name}"
    file.write_bytes(content)
    report = runs.Run(recipe, file, out)()
    assert not out.with_name(f"{out.name}.work").exists()
    dropped = lines(out.with_name(f"{out.name}.dropped.jsonl"))
    assert report.entity_count == report.remaining_entity + len(dropped)
    return out, report, dropped


def test_hostile_lines_stop_nothing_and_none_is_lost(tmp_path: Path) -> None:
    recipe = Recipe(SMALL.operations, max_row_bytes=1 << 16)
    out, report, dropped = run(tmp_path, ".jsonl", b"\n".join(HOSTILE_LINES), recipe)
    assert report.entity_count == len(HOSTILE_LINES)
    reasons = {line["row"]: (line["operator"], line["reason"]) for line in dropped}
    assert reasons == {
        1: ("read", "'text' is null, not a text"),
        2: ("read", "'text' is a number, not a text"),
        3: ("read", "'text' is a list, not a text"),
        4: ("read", "there is no 'text'"),
        5: ("read", "the line is empty"),
        6: ("read", "the line is no JSON"),
        8: ("read", "the row is longer than 65536 bytes"),
        9: ("read", "the row is longer than 65536 bytes"),
    }
    written = out.read_bytes().splitlines()
    assert json.loads(written[0]) == {"text": "good text with a\ufffd lone surrogate", "n": 1}
    assert json.loads(written[2]) == [{"text": "a list of one object"}]
    assert json.loads(written[3]) == "just a string of words"
    # What no operator changed is as it was.
    assert written[4] == HOSTILE_LINES[12]
    assert out.read_bytes().decode("utf-8")


def test_every_drop_names_its_operator_its_value_and_the_row(tmp_path: Path) -> None:
    rows = [
        {"text": "mail a@b.com 😀 now", "id": 1},
        {"text": "one", "id": 2},
        {"text": "mail a@b.com  now", "id": 3},
    ]
    out, report, dropped = run(tmp_path, ".jsonl", "\n".join(map(json.dumps, rows)).encode())
    assert lines(out) == [{"text": "mail [EMAIL]  now", "id": 1}]
    assert dropped == [
        {
            "row": 1,
            "operator": "filter_check_number_words",
            "value": 1.0,
            "reason": "words 1",
            "source": rows[1],
        },
        {
            "row": 2,
            "operator": "deduplication_simhash",
            "value": 0.0,
            "reason": "0 of 64 bits from an earlier text",
            "source": rows[2],
        },
    ]
    counts = {
        tally.name: (tally.entity_match_count, tally.drop_count, tally.remaining_count)
        for stage in report.pipeline_stage_result.values()
        for tally in stage.each_operator_result
    }
    assert counts == {
        "remove_emoji": (1, 0, 3),
        "replace_uniform_whitespace": (0, 0, 3),
        "filter_check_number_words": (1, 1, 2),
        "deduplication_simhash": (1, 1, 1),
        "replace_emails": (1, 0, 1),
    }
    assert list(report.pipeline_stage_result) == [
        "clean",
        "filter",
        "deduplication",
        "desensitization",
    ]
    saved = json.loads((tmp_path / "out.jsonl.report.json").read_text("utf-8"))
    assert saved["remaining_entity"] == 1


def test_csv_with_lines_in_fields_and_rows_that_are_broken(tmp_path: Path) -> None:
    content = (
        '\ufeffid,text,note\n1,"two\nlines, quoted ""words""",x\n2,one,y\n3\n4,"plain words, a@b.com",z\n'
        '5,"never closed,q\n6,after that one,w\n'
    ).encode()
    out, report, dropped = run(tmp_path, ".csv", content)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["id", "text", "note"],
        ["1", 'two\nlines, quoted "words"', "x"],
        ["4", "plain words, [EMAIL]", "z"],
        ["6", "after that one", "w"],
    ]
    assert report.unreadable_entity == 2
    assert dropped[0]["source"] == {"id": "2", "text": "one", "note": "y"}
    assert dropped[1]["reason"] == "the row has 1 fields of 3"
    assert dropped[2]["source"] == '5,"never closed,q\n'


def test_tsv_and_text(tmp_path: Path) -> None:
    out, _, _ = run(tmp_path, ".tsv", "text\tn\nsome words😀\t1\n".encode())
    assert out.read_bytes() == b"text\tn\nsome words\t1\n"
    out, report, _ = run(
        tmp_path, ".txt", "\ufeff第一行文本\r\n\n第二行😀数据\nlast line here".encode()
    )
    assert out.read_text("utf-8") == "第一行文本\n第二行数据\nlast line here\n"
    assert report.entity_count == 4


def test_parquet_keeps_its_columns_and_tells_nulls(tmp_path: Path) -> None:
    file, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table = arrow.table(
        {
            "id": arrow.array([1, 2, 3, 4], arrow.int16()),
            "text": ["some words😀", None, "one", "other words"],
            "tags": [["a"], [], None, ["b", "c"]],
        }
    )
    parquet.write_table(table, file, row_group_size=2)
    report = runs.Run(SMALL, file, out)()
    assert parquet.read_table(out).to_pylist() == [
        {"id": 1, "text": "some words", "tags": ["a"]},
        {"id": 4, "text": "other words", "tags": ["b", "c"]},
    ]
    assert parquet.read_schema(out).equals(table.schema)
    assert report.unreadable_entity == 1
    dropped = lines(tmp_path / "out.parquet.dropped.jsonl")
    assert [(line["row"], line["operator"], line["source"]) for line in dropped] == [
        (1, "read", None),
        (2, "filter_check_number_words", "one"),
    ]


class Stop(Exception):
    """The caller has had enough."""


def made_up(file: Path, rows: int) -> None:
    """A file with near-duplicates far apart and a bad row here and there."""
    texts = texts_made_up(rows, seed=13)
    made = random.Random(1)
    with file.open("w", encoding="utf-8") as opened:
        for row, text in enumerate(texts):
            opened.write(
                "bad\n" if made.random() < 0.01 else json.dumps({"text": text, "row": row}) + "\n"
            )


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_a_run_that_is_stopped_again_and_again_ends_like_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr("yangfan.operators.pipeline.rows.ROWS", 50)
    monkeypatch.setattr("yangfan.operators.pipeline.parquet.ROWS", 50)
    monkeypatch.setattr("yangfan.operators.pipeline.chain.GROUP", 2)
    file = tmp_path / f"in{suffix}"
    texts = texts_made_up(1500, seed=13)
    if suffix == ".jsonl":
        made_up(file, 1500)
    elif suffix == ".csv":
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows(
                [["text", "n"], *([text, str(row)] for row, text in enumerate(texts))]
            )
    else:
        parquet.write_table(arrow.table({"text": texts}), file, row_group_size=400)
    whole, pieces = tmp_path / f"whole{suffix}", tmp_path / f"pieces{suffix}"
    expected = runs.Run(SMALL, file, whole)()

    starts = 0
    while not pieces.exists():
        batches = 0

        def stop(progress: runs.Progress) -> None:
            del progress
            nonlocal batches
            batches += 1
            if batches == 3:
                raise Stop

        starts += 1
        try:
            report = runs.Run(SMALL, file, pieces, stop)()
        except Stop:
            continue
        assert report.pipeline_stage_result == expected.pipeline_stage_result
        assert report.entity_count == expected.entity_count
    assert starts > 3
    if suffix == ".parquet":
        assert parquet.read_table(pieces).equals(parquet.read_table(whole))
    else:
        assert pieces.read_bytes() == whole.read_bytes()
    names = [path.with_name(f"{path.name}.dropped.jsonl") for path in (whole, pieces)]
    assert names[0].read_bytes() == names[1].read_bytes()


KILLED = """
import sys, time
from pathlib import Path
from yangfan.operators.pipeline import chain, run as runs, rows, recipe
runs.SAVE_EVERY_SECONDS = 0.0
rows.ROWS = 25
chain.GROUP = 2
def slowly(progress):
    time.sleep(0.01)
    print(progress.rows, flush=True)
runs.Run(recipe.read(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), slowly)()
"""


def test_a_run_that_is_killed_goes_on_to_the_same_end(tmp_path: Path) -> None:
    file, whole, pieces = tmp_path / "in.jsonl", tmp_path / "whole.jsonl", tmp_path / "pieces.jsonl"
    recipe = tmp_path / "recipe.json"
    recipe.write_text(
        json.dumps(
            {"filter": ["filter_check_number_words"], "deduplication": ["deduplication_simhash"]}
        ),
        "utf-8",
    )
    made_up(file, 1500)
    runs.Run(recipes.read(recipe), file, whole)()
    made = random.Random(4)
    kills = 0
    while not pieces.exists():
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, recipe, file, pieces], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(made.randrange(2, 14)):
            child.stdout.readline()
        # Anywhere between two rows that it tells.
        time.sleep(made.random() * 0.02)
        child.send_signal(signal.SIGKILL)
        kills += child.wait(30) != 0
        child.stdout.close()
    assert kills >= 2
    assert pieces.read_bytes() == whole.read_bytes()
    assert (tmp_path / "pieces.jsonl.dropped.jsonl").read_bytes() == (
        tmp_path / "whole.jsonl.dropped.jsonl"
    ).read_bytes()


def test_a_stop_between_the_end_and_the_last_breath_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"text": "some words"}\n{"text": "x"}\n', "utf-8")

    def stopped(path: Path, content: bytes) -> None:
        if path.name == "out.jsonl.report.json":
            raise Stop
        replace(path, content)

    replace = runs.replace_file
    monkeypatch.setattr(runs, "replace_file", stopped)
    with pytest.raises(Stop):
        runs.Run(SMALL, file, out)()
    monkeypatch.setattr(runs, "replace_file", replace)
    assert runs.Run(SMALL, file, out)().remaining_entity == 1
    assert lines(out) == [{"text": "some words"}]
    assert len(lines(tmp_path / "out.jsonl.dropped.jsonl")) == 1


def test_another_recipe_does_not_go_on(tmp_path: Path) -> None:
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"text": "some words"}\n', "utf-8")

    def stop(progress: runs.Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        runs.Run(SMALL, file, out, stop)()
    other = runs.Run(Recipe(Stages(clean=["remove_emoji"])), file, out)
    with pytest.raises(ConfigurationError, match="--restart"):
        other()
    (tmp_path / "out.jsonl.work" / "checkpoint.json").write_text("{", "utf-8")
    with pytest.raises(ConfigurationError, match="damaged"):
        other()
    other.forget()
    assert other().remaining_entity == 1


def test_the_place_of_the_output_is_checked_first(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("", "utf-8")
    for out, said in (
        (tmp_path / "out.csv", "format"),
        (tmp_path / "no" / "out.jsonl", "no folder"),
        (file, "must not be the input"),
        (tmp_path / "out", "known by its name"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            runs.Run(SMALL, file, out)
    with pytest.raises(ConfigurationError, match="there is no file"):
        runs.Run(SMALL, tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    table = tmp_path / "in.csv"
    table.write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ConfigurationError, match="there are: a, b"):
        runs.Run(SMALL, table, tmp_path / "out.csv")
    broken = tmp_path / "in.parquet"
    broken.write_bytes(b"PAR1 no")
    with pytest.raises(ConfigurationError, match="no Parquet"):
        runs.Run(SMALL, broken, tmp_path / "out.parquet")


def test_an_empty_file_gives_an_empty_file(tmp_path: Path) -> None:
    out, report, dropped = run(tmp_path, ".jsonl", b"")
    assert (out.read_bytes(), report.entity_count, dropped) == (b"", 0, [])


def test_a_preview_shows_before_and_after_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(
        '{"text": "some words😀"}\nbad\n{"text": "one"}\n{"text": "same words"}\n' * 2, "utf-8"
    )
    preview = runs.preview(SMALL, file, 4)
    assert [(one.row, one.before, one.after, one.operator) for one in preview.samples] == [
        (0, "some words😀", "some words", ""),
        (1, "", None, "read"),
        (2, "one", None, "filter_check_number_words"),
    ]
    assert preview.report.entity_count == 4
    assert list(tmp_path.iterdir()) == [file]


WIRE: dict[str, Any] = {
    "operationsV2": {
        "clean": [
            {"name": "remove_emoji", "args": {}},
            {"name": "save_pipeline_clean", "args": {}},
        ],
        "filter": [
            {
                "name": "filter_check_special_characters",
                "args": {"special_characters_max_cutoff": 0.3},
            }
        ],
    }
}


def test_recipes_are_spelled_as_on_the_wire_or_short(tmp_path: Path) -> None:
    wire, short = tmp_path / "wire.json", tmp_path / "short.yaml"
    wire.write_text(json.dumps(WIRE), "utf-8")
    short.write_text(
        "clean: [remove_emoji]\nfilter:\n  - name: filter_check_special_characters\n"
        "    args: {special_characters_max_cutoff: 0.3}\n",
        "utf-8",
    )
    assert [
        [(stage, step.name) for stage, step in recipes.read(file).steps()] for file in (wire, short)
    ] == [[("clean", "remove_emoji"), ("filter", "filter_check_special_characters")]] * 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("clean: [", "not YAML"),
        ("", "Expected"),
        ("- a", "Expected"),
        ("operations: {}", "operations"),
        ("clean: [{name: remove_emoji, arguments: {}}]", "arguments"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        ("max_row_bytes: 1", "max_row_bytes"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(
    tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(content, "utf-8")
    with pytest.raises(ConfigurationError, match=said):
        recipes.read(file)


def test_an_operator_in_the_wrong_stage_is_told_its_own() -> None:
    with pytest.raises(ConfigurationError, match="its stage is clean"):
        Chain(Recipe(Stages(filter=["remove_emoji"])))


@pytest.mark.parametrize("size", [1, 7, 300])
def test_batches_do_not_matter(size: int) -> None:
    texts = texts_made_up(300, seed=21)
    everything = recipes.everything()
    whole = Chain(everything)(texts)
    chain = Chain(everything)
    kept: list[str] = []
    drops: list[tuple[int, str, float | None]] = []
    for start in range(0, len(texts), size):
        cleaned = chain(texts[start : start + size])
        kept += cleaned.texts
        drops += [(start + drop.position, drop.operator, drop.value) for drop in cleaned.drops]
    chain.close()
    assert kept == whole.texts
    assert [(row, name) for row, name, _ in drops] == [
        (drop.position, drop.operator) for drop in whole.drops
    ]
    assert [value for _, _, value in drops] == pytest.approx(
        [drop.value for drop in whole.drops], abs=1e-9
    )


def test_the_order_of_rows_does_not_matter_but_to_duplicates() -> None:
    texts = texts_made_up(300, seed=22)
    everything = recipes.everything()
    stages = {
        stage: getattr(everything.operations, stage)
        for stage in ("clean", "filter", "desensitization")
    }
    recipe = Recipe(Stages(**stages))
    shuffled = list(range(len(texts)))
    random.Random(3).shuffle(shuffled)
    plain = Chain(recipe)(texts)
    mixed = Chain(recipe)([texts[row] for row in shuffled])
    kept: dict[int, str] = dict(
        zip((shuffled[int(position)] for position in mixed.positions), mixed.texts, strict=True)
    )
    assert kept == dict(zip(plain.positions.tolist(), plain.texts, strict=True))


def test_cleaning_twice_changes_nothing_more() -> None:
    texts = texts_made_up(300, seed=23)
    everything = recipes.everything()
    once = Chain(everything)(texts)
    twice = Chain(everything)(once.texts)
    assert twice.texts == once.texts
    assert not twice.drops


def test_a_batch_of_which_nothing_is_left_goes_through() -> None:
    filters = ["filter_check_number_words", "filter_check_character_repetition_removal"]
    operations = Stages(
        filter=[Step(name) for name in filters],
        deduplication=[Step("deduplication_simhash")],
        desensitization=[Step("replace_emails")],
    )
    chain = Chain(Recipe(operations, language="zh"))
    cleaned = chain(["。", ""])
    assert cleaned.texts == []
    assert [drop.operator for drop in cleaned.drops] == [filters[0]] * 2
    assert [tally.remaining_count for tally in chain.tallies] == [0] * 4
