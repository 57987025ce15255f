"""`yangfan memory` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Command

PAIRS = [["who?", "me"], ["where?", "here"]]
FILES = {
    "pairs.json": json.dumps(PAIRS),
    "pairs.jsonl": "\n".join(map(json.dumps, PAIRS)),
    "pairs.txt": "who?\nme\n\nwhere?\nhere\n",
    "qianfan.json": json.dumps(
        [[{"role": "user", "content": a}, {"role": "system", "content": b}] for a, b in PAIRS]
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_memory_is_made_filled_from_a_file_shown_and_deleted(
    yangfan: Command, tmp_path: Path, name: str
):
    memory_id = yangfan.inside("memory", "create", "cli", "--description", "about").out.strip()
    file = tmp_path / name
    file.write_text(FILES[name], "utf-8")
    assert yangfan.inside("memory", "set", memory_id, str(file)).status == 0
    shown = yangfan.inside("memory", "show", memory_id).out
    assert [line.split("\t") for line in shown.splitlines()] == PAIRS
    (item,) = (
        found
        for found in json.loads(yangfan.inside("memory", "list", "--json").out)
        if found["id"] == memory_id
    )
    assert (item["app_id"], item["description"]) == ("cli", "about")
    assert memory_id in yangfan.inside("memory", "list").out
    assert json.loads(yangfan.inside("memory", "show", memory_id, "--json").out)["pairs"]
    assert yangfan.inside("memory", "delete", memory_id).status == 0
    gone = yangfan.inside("memory", "show", memory_id)
    assert (gone.status, "no system memory" in gone.err) == (1, True)


@pytest.mark.parametrize("text", ["[1]", "{", '[["only one"]]'])
def test_file_without_pairs_is_refused(yangfan: Command, tmp_path: Path, text: str):
    file = tmp_path / "pairs.json"
    file.write_text(text, "utf-8")
    refused = yangfan.inside("memory", "set", "sm-any", str(file))
    assert (refused.status, "does not hold pairs" in refused.err) == (1, True)
