"""`yangfan chat` with pictures, against a server whose model tells what it sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Command
from tests.server.drawing import data_uri, png


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    path.write_bytes(png())
    return path


@pytest.mark.parametrize("how", ["--stream", "--no-stream", "--json"])
def test_pictures_are_shown_before_the_question(yangfan: Command, file: Path, how: str):
    given = ["--image", str(file), "--image", data_uri(png(9, 9))]
    shown = yangfan.inside("chat", "what?", *given, "--model", "echo", how)
    assert shown.status == 0, shown.err
    text = json.loads(shown.out)["choices"][0]["text"] if how == "--json" else shown.out
    assert text.startswith(f"[image/png, {len(png())} bytes, ")
    assert text.count("[image/png, ") == 2
    assert text.rstrip().endswith("]what?")


def test_what_is_no_picture_is_told_on_one_line(yangfan: Command, tmp_path: Path):
    (tmp_path / "text.png").write_text("hello")
    for name, says in {"text.png": "no PNG, JPEG", "none.png": "cannot read"}.items():
        shown = yangfan.inside("chat", "what?", "--image", str(tmp_path / name))
        assert (shown.status, shown.err.count("\n")) == (1, 1)
        assert says in shown.err


def test_conversation_shows_a_picture_with_the_next_question(yangfan: Command, file: Path):
    with yangfan.in_terminal("chat", "--model", "echo") as terminal:
        terminal.expect("> ")
        terminal.type("/image\n")
        assert "Which one?" in terminal.expect("> ")
        terminal.type(f"/image {file}\n")
        terminal.expect("Added to the next question.*> ")
        terminal.type("what?\n")
        assert "[image/png, " in terminal.expect("> ")
        terminal.type("again\n")
        assert "[image/png, " not in terminal.expect("> ")
        terminal.type("/exit\n")
        assert terminal.rest().status == 0
