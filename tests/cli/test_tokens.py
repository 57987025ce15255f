"""`yangfan tokens` against a real server."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("arguments", "stdin", "count"),
    [
        (["one two三"], b"", 3),
        (["one two", "--model", "ernie-4.0-8k"], b"", 2),
        ([], "一二\n".encode(), 3),
        ([], b"", 0),
    ],
)
def test_count_is_all_that_is_said(
    yangfan: Command, arguments: list[str], stdin: bytes, count: int
):
    shown = yangfan.inside("tokens", *arguments, stdin=stdin)
    assert (shown.status, shown.out, shown.err) == (0, f"{count}\n", "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [([], b"\xff", "not UTF-8"), (["x", "-m", "none-such"], b"", "none-such")],
)
def test_mistake_is_said_clearly(yangfan: Command, arguments: list[str], stdin: bytes, said: str):
    shown = yangfan.inside("tokens", *arguments, stdin=stdin)
    assert (shown.status, shown.out) == (1, "")
    assert said in shown.err
