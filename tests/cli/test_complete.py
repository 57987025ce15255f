"""`yangfan complete` against a real server whose model repeats what it is told."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Command


@pytest.mark.parametrize("version", ["1", "2"])
def test_text_goes_on_on_stdout(yangfan: Command, version: str):
    shown = yangfan.inside("complete", "one two 三", "--version", version)
    assert (shown.status, shown.out, shown.err) == (0, "one two 三\n", "")


def test_pipe_is_the_prompt_without_its_last_line_feed(yangfan: Command):
    shown = yangfan("complete", stdin=b"def f():\n    return 1\n")
    assert (shown.status, shown.out) == (0, "def f():\n    return 1\n")


def test_options_reach_the_server(yangfan: Command):
    shown = yangfan.inside(
        "complete", "one two three four", "-m", "sqlcoder_7b", "--max-tokens", "3", "--stop",
        " three", "--stop", "x", "--seed", "1", "--temperature", "0.5", "--json",
    )  # fmt: skip
    result = json.loads(shown.out)
    assert result["text"] == "one two"
    assert result["info"]["served_model"] == "echo"
    assert result["usage"]["completion_tokens"] == 2


def test_several_texts_come_one_below_the_other(yangfan: Command):
    shown = yangfan.inside("complete", "one two", "-o", "n=2", "-o", "top_k=3")
    assert (shown.status, shown.out) == (0, "one two\none two\n"), shown.err


def test_program_in_a_terminal_is_not_steered_by_a_model(yangfan: Command):
    with yangfan.in_terminal("complete", "red: \x1b[31m!") as terminal:
        shown = terminal.rest()
    assert shown.status == 0
    assert "red: [31m!" in shown.out
    assert "\x1b" not in shown.out


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "said"),
    [
        (["complete"], b"", 2, "nothing to go on from"),
        (["complete", ""], b"", 2, "nothing to go on from"),
        (["complete"], b"\xff", 1, "not UTF-8"),
        (["complete", "x", "--version", "3"], b"", 2, "--version is 1 or 2"),
        (["complete", "x", "--temperature", "7"], b"", 1, "temperature"),
        (["complete", "x", "-m", "embedding-v1"], b"", 1, "embedding-v1"),
    ],
)
def test_mistake_is_said_clearly(
    yangfan: Command, arguments: list[str], stdin: bytes, status: int, said: str
):
    shown = yangfan.inside(*arguments, stdin=stdin)
    assert (shown.status, shown.out) == (status, "")
    assert said in shown.err
