"""`yangfan engines`: what can run here, and what can be built."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from yangfan import extensions

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def test_list_names_every_engine_with_its_formats(lonely: Command) -> None:
    shown = lonely.inside("engines", "list", "--json")
    cards = {card["name"]: card for card in json.loads(shown.out)}
    assert list(cards) == extensions.names("yangfan.engines")
    assert all(card["installed"] or card["install"] for card in cards.values())
    llama = cards["llama_cpp"]
    assert llama["formats"] == ["gguf"]
    assert "yangfan engines build llama_cpp" in llama["build"]
    rows = lonely("engines", "list").out.splitlines()
    assert [row.split("\t")[0] for row in rows] == list(cards)


def test_an_engine_without_a_build_says_which_have_one(lonely: Command) -> None:
    shown = lonely.inside("engines", "build", "echo")
    assert shown.status == 1
    assert "nothing to build; engines that have: llama_cpp" in shown.err


def test_an_unknown_engine_is_told_the_names(lonely: Command) -> None:
    shown = lonely.inside("engines", "build", "steam")
    assert shown.status == 1
    assert "llama_cpp" in shown.err


def test_show_tells_which_program_runs_a_model(lonely: Command) -> None:
    shown = lonely.inside("models", "show", "smollm2-135m-instruct", "--json")
    assert "yangfan engines build llama_cpp" in json.loads(shown.out)["program"]
