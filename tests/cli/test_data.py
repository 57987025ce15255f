"""`yangfan data`: files cleaned without a server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command

RECIPE = """
clean: [remove_emoji]
filter:
  - name: filter_check_number_words
    args: {number_words_min_cutoff: 2}
"""


def files(tmp_path: Path) -> tuple[str, str, str]:
    file, recipe = tmp_path / "in.jsonl", tmp_path / "recipe.yaml"
    file.write_text('{"text": "some words😀"}\n{"text": "one"}\n', "utf-8")
    recipe.write_text(RECIPE, "utf-8")
    return str(file), str(tmp_path / "out.jsonl"), str(recipe)


def test_a_file_is_cleaned_and_what_was_done_is_told(yangfan: Command, tmp_path: Path) -> None:
    file, out, recipe = files(tmp_path)
    shown = yangfan.inside("data", "clean", "--recipe", recipe, file, out)
    assert shown.status == 0, shown.err
    assert shown.out.splitlines() == [
        "clean\tremove_emoji\t1\t0\t2",
        "filter\tfilter_check_number_words\t1\t1\t1",
    ]
    assert "2 rows read, 1 written" in shown.err
    assert Path(out).read_text("utf-8") == '{"text":"some words"}\n'
    again = yangfan.inside("data", "clean", "--recipe", recipe, file, out)
    assert (again.status, again.out) == (1, "")
    assert "--overwrite" in again.err
    told = yangfan.inside("data", "clean", "--recipe", recipe, file, out, "--overwrite", "--json")
    assert json.loads(told.out)["remaining_entity"] == 1


def test_a_preview_writes_nothing(yangfan: Command, tmp_path: Path) -> None:
    file, out, recipe = files(tmp_path)
    shown = yangfan.inside("data", "clean", "--recipe", recipe, file, "--preview", "9")
    assert shown.status == 0
    assert "after\tsome words" in shown.out
    assert "dropped by filter_check_number_words: words 1" in shown.out
    told = yangfan.inside("data", "clean", "--recipe", recipe, file, "--preview", "9", "--json")
    assert [sample["row"] for sample in json.loads(told.out)["samples"]] == [0, 1]
    assert not Path(out).exists()


def test_mistakes_say_what_to_do(yangfan: Command, tmp_path: Path) -> None:
    file, out, recipe = files(tmp_path)
    for arguments, said in (
        ([file], "name the file to write"),
        ([file, out + ".csv", "--recipe", recipe], "format"),
        ([file, out, "--recipe", recipe + ".none"], "cannot be read"),
        ([file, out, "--recipe", recipe, "--language", "xx"], "no language"),
    ):
        shown = yangfan.inside("data", "clean", *arguments)
        assert (shown.status, shown.out) == (1, "")
        assert said in shown.err


def test_another_field_is_taken(yangfan: Command, tmp_path: Path) -> None:
    file, out, recipe = files(tmp_path)
    shown = yangfan.inside("data", "clean", "--recipe", recipe, file, out, "--field", "body")
    assert shown.status == 0
    assert "0 written, 2 unreadable" in shown.err
    assert "there is no 'body'" in Path(f"{out}.dropped.jsonl").read_text("utf-8")


def test_operators_are_listed_with_their_arguments(yangfan: Command) -> None:
    shown = yangfan.inside("data", "operators")
    assert shown.status == 0
    assert "去除表情符号" in shown.out
    assert "\tspecial_characters_max_cutoff=0.3\tnumber | by_language 0..1" in shown.out
    told = json.loads(yangfan.inside("data", "operators", "--json").out)
    assert told[0]["stage"] == "clean"
    assert {"deduplication_simhash", "replace_ip"} <= {operator["name"] for operator in told}
