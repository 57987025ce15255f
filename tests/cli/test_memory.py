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


def test_user_memory_is_made_filled_added_to_shown_and_deleted(yangfan: Command, tmp_path: Path):
    memory_id = yangfan.inside("memory", "create", "cli", "--user").out.strip()
    assert memory_id.startswith("um-")
    file = tmp_path / "pairs.json"
    file.write_text(FILES["pairs.json"], "utf-8")
    assert yangfan.inside("memory", "set", memory_id, str(file)).status == 0
    assert yangfan.inside("memory", "set", memory_id, str(file), "--keep").status == 0
    shown = yangfan.inside("memory", "show", memory_id).out
    rows = [line.split("\t") for line in shown.splitlines()]
    assert [row[1:] for row in rows] == PAIRS * 2
    listed = json.loads(yangfan.inside("memory", "list", "--user", "--json").out)
    assert [item["app_id"] for item in listed if item["id"] == memory_id] == ["cli"]
    assert memory_id not in yangfan.inside("memory", "list").out
    assert yangfan.inside("memory", "delete", memory_id, "--pair", rows[0][0]).status == 0
    pairs = json.loads(yangfan.inside("memory", "show", memory_id, "--json").out)["pairs"]
    assert [pair["id"] for pair in pairs] == [row[0] for row in rows[1:]]
    assert yangfan.inside("memory", "delete", memory_id).status == 0
    gone = yangfan.inside("memory", "show", memory_id)
    assert (gone.status, "memory list --user" in gone.err) == (1, True)


def test_what_only_user_memories_have_is_refused_for_a_system_memory(
    yangfan: Command, tmp_path: Path
):
    file = tmp_path / "pairs.json"
    file.write_text(FILES["pairs.json"], "utf-8")
    kept = yangfan.inside("memory", "set", "sm-any", str(file), "--keep")
    assert (kept.status, "for user memories" in kept.err) == (1, True)
    cut = yangfan.inside("memory", "delete", "sm-any", "--pair", "mc-1")
    assert (cut.status, "have no ids" in cut.err) == (1, True)
