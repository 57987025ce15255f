"""`yangfan prompts` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Command


def test_template_lives_from_create_to_rm(yangfan: Command, tmp_path: Path):
    made = yangfan.inside("prompts", "create", "cli whole", "Greet {guest}.", "--note", "first")
    assert (made.status, made.out.startswith("pt-")) == (0, True), made.err
    assert yangfan.inside("prompts", "label", "cli whole", "production").status == 0
    text = tmp_path / "text.txt"
    text.write_text("Hail {guest}!", "utf-8")
    updated = yangfan.inside("prompts", "update", "cli whole", "-f", str(text), "-n", "shorter")
    assert "at version 2" in updated.err
    rendered = yangfan.inside("prompts", "render", "cli whole@production", "guest=Jin = 1")
    assert rendered.out == "Greet Jin = 1.\n"
    (tmp_path / "guest.txt").write_text("{guest}", "utf-8")
    from_file = yangfan.inside(
        "prompts", "render", "cli whole", f"guest=@{tmp_path / 'guest.txt'}", "--json"
    )
    assert json.loads(from_file.out) == {
        "text": "Hail {guest}!",
        "negative_text": "",
        "name": "cli whole",
        "version": 2,
        "options": {},
    }
    missing = yangfan.inside("prompts", "render", "cli whole")
    assert (missing.status, "has no value for guest" in missing.err) == (1, True)
    assert yangfan.inside("prompts", "show", "cli whole@1").out == "Greet {guest}.\n"
    assert json.loads(yangfan.inside("prompts", "show", "cli whole", "--json").out)["version"] == 2
    versions = yangfan.inside("prompts", "show", "cli whole", "--versions").out.splitlines()
    assert [line.split("\t")[:2] for line in versions] == [["1", "production"], ["2", ""]]
    as_json = yangfan.inside("prompts", "show", "cli whole", "--versions", "--json")
    assert [item["note"] for item in json.loads(as_json.out)] == ["first", "shorter"]
    changed = yangfan.inside("prompts", "diff", "cli whole@1").out
    assert "-Greet {guest}.\n+Hail {guest}!" in changed
    assert yangfan.inside("prompts", "diff", "cli whole@2", "cli whole").out == ""
    assert "at version 3" in yangfan.inside("prompts", "rollback", "cli whole", "1").err
    assert yangfan.inside("prompts", "label", "cli whole", "production", "--remove").status == 0
    listed = yangfan.inside("prompts", "list", "cli wh").out.split("\t")
    assert listed[1:4] == ["cli whole", "3", "guest"]
    assert yangfan.inside("prompts", "rm", "cli whole").status == 0
    gone = yangfan.inside("prompts", "show", "cli whole")
    assert (gone.status, "no template 'cli whole'" in gone.err) == (1, True)


def test_templates_go_to_files_and_come_back(yangfan: Command, tmp_path: Path):
    for name in ("cli/one", "cli one", "cli two"):
        yangfan.inside("prompts", "create", name, f"{name} {{what}}\nsecond line", "--tag", "中文")
    folder = tmp_path / "prompts"
    done = yangfan.inside("prompts", "export", "cli/one", "cli one", "cli two", "-d", str(folder))
    assert done.status == 0, done.err
    files = sorted(path.name for path in folder.iterdir())
    assert (len(files), "cli-two.yaml" in files) == (3, True)
    same = yangfan.inside("prompts", "import", str(folder), "--json")
    assert [item["version"] for item in json.loads(same.out)] == [1, 1, 1]
    file = folder / "cli-two.yaml"
    file.write_text(file.read_text("utf-8").replace("second", "new"), "utf-8")
    done = yangfan.inside("prompts", "import", str(file), "--label", "production")
    assert done.out == "cli two\t2\n"
    shown = yangfan.inside("prompts", "show", "cli two@production").out
    assert shown == "cli two {what}\nnew line\n"
    text = yangfan.inside("prompts", "export", "翻译").out
    assert text.startswith("name: 翻译\nframework: crispe\n")
    copied = yangfan.inside(
        "prompts", "import", "-", stdin=text.replace("翻译", "我的翻译", 1).encode()
    )
    assert copied.out == "我的翻译\t1\n", copied.err
    yangfan.inside("prompts", "rm", "cli/one", "cli one", "cli two", "我的翻译")


def test_picture_template_shows_its_negative_text(yangfan: Command):
    create = ("prompts", "create", "cli picture", "a [[thing]]", "--identifier", "[[]]")
    done = yangfan.inside(*create, "--image", "--negative", "no [[bad]]", "--framework", "basic")
    assert done.status == 0, done.err
    rendered = yangfan.inside("prompts", "render", "cli picture", "thing=cat", "bad=text")
    assert (rendered.out, rendered.err) == ("a cat\n", "negative / 反向: no text\n")
    assert "no [[bad]]" in yangfan.inside("prompts", "show", "cli picture").out
    yangfan.inside("prompts", "rm", "cli picture")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "x"), "give the text of the template, or a file with -f; one of the two"),
        (("create", "x", "y", "--identifier", "<>"), "--identifier must be one of {} {{}} []"),
        (("create", "x", "y", "--framework", "z"), "--framework must be one of none, basic"),
        (("create", "a@b", "y"), "without @, behind which a version is named"),
        (("render", "翻译", "text"), "'text' is no NAME=VALUE; write the variable's name"),
        (("render", "翻译", "text=@/none"), "cannot read /none"),
        (("update", "翻译", "x"), "make your own from it"),
        (("import", "/none.yaml"), "cannot read /none.yaml"),
        (("export", "翻译", "Translation"), "2 templates do not go into one file; name one, or"),
    ],
)
def test_what_cannot_be_done_is_said(yangfan: Command, arguments: tuple[str, ...], says: str):
    refused = yangfan.inside("prompts", *arguments)
    assert (refused.status, says in refused.err) == (1, True), refused.err


def test_folder_without_files_is_said(yangfan: Command, tmp_path: Path):
    refused = yangfan.inside("prompts", "import", str(tmp_path))
    assert (refused.status, "no .yaml file" in refused.err) == (1, True)


def test_prompt_is_optimised_and_kept(yangfan: Command, tmp_path: Path):
    yangfan.inside("prompts", "create", "cli better", "{input}")
    samples = tmp_path / "samples.jsonl"
    samples.write_text('{"prompt": "sail", "response": "sail"}\n')
    measured = ("--data", str(samples), "--scorer", "exact")
    done = yangfan.inside("prompts", "optimize", "cli better", "-m", "echo", *measured, "--save")
    assert done.status == 0, done.err
    assert done.out == "0\t-\tgiven\t1.0000\t0.2065 to 1.0000\tbest\n\n{input}\n"
    text = tmp_path / "text.txt"
    text.write_text("Say {what}", "utf-8")
    unmeasured = yangfan.inside("prompts", "optimize", "-f", str(text), "-m", "echo", "--json")
    found = json.loads(unmeasured.out)
    assert (found["state"], found["measured"]) == ("done", False)
    kept = yangfan.inside("prompts", "optimize", "cli better", "-m", "echo", "--save")
    assert "at version 2" in kept.err
    assert "Nobody measured it" in kept.err
    wrong = yangfan.inside("prompts", "optimize", "-f", str(text), "--save")
    assert (wrong.status, "--save needs" in wrong.err) == (1, True)
