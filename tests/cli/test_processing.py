"""`yangfan data`: datasets cleaned and made larger by a server."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from yangfan import Client

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")

RECIPE = "clean: [remove_emoji]\nfilter: [filter_check_number_words]\ndesensitization: [replace_emails]\n"


def filled(yangfan: Command) -> str:
    """A published dataset of conversations, and its name."""
    server = json.loads((yangfan.home / "server.json").read_text("utf-8"))
    name = f"cli-{uuid.uuid4()}"
    with Client(
        server["base_url"],
        access_key=server["access_key"],
        secret_access_key=server["secret_access_key"],
    ) as client:
        client.datasets.create(name, "PromptResponse")
        rows = [("Mail a@b.com 😀", "It is sent."), ("😀", "Nothing is left."), ("two", "words")]
        client.datasets.add(name, [{"prompt": asked, "response": told} for asked, told in rows])
        client.datasets.publish(name)
    return name


def test_a_dataset_is_previewed_cleaned_explained_and_taken_back(
    yangfan: Command, tmp_path: Path
) -> None:
    name = filled(yangfan)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE, "utf-8")
    clean = ("data", "clean", f"{name}:1", "--recipe", str(recipe))
    preview = yangfan.inside(*clean, "--preview", "10")
    assert (preview.status, "Mail [EMAIL]" in preview.out) == (0, True), preview.err
    assert "dropped by remove_emoji: nothing is left of one of its texts" in preview.out
    done = yangfan.inside(*clean, "--watch")
    assert done.status == 0, done.err
    task = next(line for line in done.out.splitlines() if line.startswith("task-"))
    assert f"{name}:1 into {name}:2, 2 of 3 rows" in done.err
    head = yangfan.inside("data", "head", f"{name}:2", "--json")
    assert "Mail [EMAIL] " in json.dumps(json.loads(head.out))
    shown = json.loads(yangfan.inside("data", "cleaned", task, "--json").out)
    assert (shown["status"], shown["remaining"]) == ("Succeeded", 2)
    (gone,) = yangfan.inside("data", "cleaned", task, "--rows", "dropped").out.splitlines()
    assert json.loads(gone)["operators"] == ["remove_emoji"]
    assert task in yangfan.inside("data", "cleaned").out
    for verb in ("pause", "resume"):
        late = yangfan.inside("data", verb, task)
        assert (late.status, "has succeeded already" in late.err) == (1, True)
    assert yangfan.inside("data", "undo", task).status == 0
    assert yangfan.inside("data", "show", f"{name}:2").status == 1


def test_a_cleaning_is_held_and_goes_on(yangfan: Command, tmp_path: Path) -> None:
    name = filled(yangfan)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE, "utf-8")
    begun = yangfan.inside("data", "clean", f"{name}:1", "--recipe", str(recipe), "--json")
    task = json.loads(begun.out)["id"]
    held = yangfan.inside("data", "pause", task)
    if held.status == 0:  # it may have ended before
        assert held.out.startswith(task)
        again = yangfan.inside("data", "resume", task, "--watch")
        assert again.status == 0 or "already" in again.err, again.err
    shown = json.loads(yangfan.inside("data", "cleaned", task, "--json").out)
    assert shown["status"] in {"Succeeded", "Running", "Paused"}


def test_a_model_makes_more_samples(yangfan: Command) -> None:
    name = filled(yangfan)
    more = ("--evolve", "complexScene=1", "--threshold", "1", "--watch", "--json")
    done = yangfan.inside("data", "augment", f"{name}:1", "--model", "echo", *more)
    assert done.status == 0, done.err
    assert json.loads(done.out.splitlines()[-1] if "\n{" in done.out else done.out)["made"] == 1
    wrong = yangfan.inside("data", "augment", f"{name}:1", "--model", "echo", "--evolve", "more")
    assert (wrong.status, "STRATEGY=COUNT" in wrong.err) == (1, True)
