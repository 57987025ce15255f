"""`yangfan models`: of a server, of the catalogue, of the store."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from yangfan.engines.base import ModelFacts
from yangfan.engines.choice import choose
from yangfan.hub import catalogue
from yangfan.hub.store import Manifest, ModelStore, StoredFile

EMBEDDED = "smollm2-135m-instruct"


@pytest.fixture
def stored(lonely: Command) -> Path:
    """A model of one's own in the store; returns its file."""
    store, content = ModelStore(lonely.home), b"GGUF and so on"
    digest = hashlib.sha256(content).hexdigest()
    part = store.partial_folder("my-own") / "part"
    part.write_bytes(content)
    store.adopt(part, digest)
    manifest = Manifest(
        name="my-own",
        kind="chat",
        format="gguf",
        licence="MIT",
        source="file:/somewhere/my-own.gguf",
        revision="",
        files=(StoredFile("my-own.gguf", digest, len(content)),),
        created=datetime.now(UTC),
    )
    return store.publish(manifest).path


def test_list_shows_what_is_served_and_counts_the_rest(yangfan: Command):
    shown = yangfan("models", "list")
    assert (shown.status, shown.out) == (0, "echo\techo\n")
    assert shown.err.startswith("echo also answers to ")


def test_list_of_all_begins_with_what_is_served(yangfan: Command):
    shown = yangfan.inside("models", "list", "--all")
    rows = [line.split("\t") for line in shown.out.splitlines()]
    assert rows[0] == ["echo", "echo"]
    assert ["ernie-speed-8k", "echo"] in rows
    assert shown.err == ""
    as_json = json.loads(yangfan.inside("models", "list", "--json").out)
    assert [[item["id"], item["served_by"]] for item in as_json] == rows


def test_catalogue_needs_no_server_and_tells_what_is_here(lonely: Command, stored: Path):
    shown = lonely("models", "catalogue")
    assert (shown.status, shown.err) == (0, "")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in shown.out.splitlines()}
    assert list(rows) == [*catalogue.load().names, "my-own"]
    assert rows[EMBEDDED] == ["chat", "gguf", "98.4 MB", "Apache-2.0", "no"]
    assert rows["my-own"] == ["chat", "gguf", "14 B", "MIT", "yes"]


def test_catalogue_in_a_terminal_has_a_heading(lonely: Command):
    with lonely.in_terminal("models", "catalogue", environ={"NO_COLOR": "1"}) as terminal:
        shown = terminal.rest()
    assert shown.status == 0
    assert shown.out.split()[:6] == ["name", "kind", "format", "size", "licence", "here"]
    assert "\x1b[3" not in shown.out


def test_show_names_file_licence_and_engine(lonely: Command, stored: Path):
    shown = lonely.inside("models", "show", "my-own")
    rows = dict(line.split("\t") for line in shown.out.splitlines())
    assert shown.status == 0
    assert rows["licence"] == "MIT"
    assert rows["path"] == str(stored)
    assert rows["sha256"] == f"{hashlib.sha256(stored.read_bytes()).hexdigest()} my-own.gguf"
    assert rows["engine"].startswith("llama_cpp: ")


def test_show_as_json_of_a_model_that_is_not_here(lonely: Command):
    card = json.loads(lonely.inside("models", "show", EMBEDDED, "--json").out)
    entry = catalogue.load().find(EMBEDDED)
    assert entry is not None
    assert card["path"] is None
    assert card["size_bytes"] == entry.size_bytes
    assert card["files"][0]["sha256"] == entry.files[0].sha256


def test_show_follows_the_folder_that_the_server_is_told(lonely: Command, stored: Path):
    elsewhere = {"YANGFAN_HOME": "/nowhere", "YANGFAN_MODEL_STORE": str(lonely.home)}
    assert lonely.inside("models", "show", "my-own", environ=elsewhere).status == 0


def test_unknown_model_lists_those_there_are(lonely: Command):
    shown = lonely.inside("models", "show", "no-such-model")
    assert (shown.status, shown.out) == (1, "")
    assert EMBEDDED in shown.err


def test_format_without_an_engine_says_which_engines_there_are():
    engine, reason, *_ = choose(ModelFacts("onnx"))
    assert engine is None
    assert "echo" in reason
    assert "llama_cpp" in reason
