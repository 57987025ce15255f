"""`yangfan models` for the registry of a server whose jobs wait."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.cli.conftest import Command
from tests.conftest import serving

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[Command]:
    home = tmp_path_factory.mktemp("registry")
    with serving(home, environ={"YANGFAN_JOBS_AT_ONCE": "0"}):
        yield Command(home, tmp_path_factory.mktemp("user"))


def test_an_import_makes_its_set_and_is_listed_and_shown(registry: Command):
    made = registry.inside("models", "import", "hf:Qwen/Qwen3-0.6B@main", "--description", "small")
    assert made.status == 0, made.err
    assert made.out.startswith("Qwen3-0.6B:1: amv-")
    assert made.out.rstrip().rpartition(", job ")[2].startswith("jb-")
    assert "Qwen3-0.6B\tam-" in registry.inside("models", "list", "--sets").out
    listed = registry.inside("models", "list", "Qwen3-0.6B").out.split("\t")
    assert (listed[0], listed[2], listed[3]) == ("Qwen3-0.6B:1", "Creating", "Import")
    shown = registry.inside("models", "show", "Qwen3-0.6B:1")
    assert "status\tCreating" in shown.out
    assert "from\tImport hf:Qwen/Qwen3-0.6B@main" in shown.out
    assert "description\tsmall" in shown.out
    version = json.loads(registry.inside("models", "show", "Qwen3-0.6B:1", "--json").out)
    assert (version["name"], version["status"]) == ("Qwen3-0.6B:1", "Creating")
    as_json = json.loads(registry.inside("models", "list", "Qwen3-0.6B", "--json").out)
    assert as_json[0]["id"] == version["id"]
    assert json.loads(registry.inside("models", "list", "--presets", "--json").out)[0]["name"] == (
        "echo"
    )


def test_a_local_folder_is_named_or_sent(registry: Command, tmp_path: Path):
    folder = tmp_path / "My Model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / ".hidden").write_text("no")
    named = registry.inside("models", "import", str(folder), "--json")
    assert json.loads(named.out)["source"] == str(folder)
    sent = registry.inside("models", "import", str(folder), "--set", "sent", "--upload", "--json")
    version = json.loads(sent.out)
    assert version["name"] == "sent:1"
    upload = version["source"].removeprefix("upload:")
    files = registry.home / "uploads" / upload
    assert [path.name for path in files.rglob("*")] == ["config.json"]
    assert sent.err == "config.json: 100 %\n"


def test_a_set_is_made_and_a_version_described(registry: Command):
    made = registry.inside(
        *("models", "create-set", "mine", "--type", "TextRepresentation", "--tag", "a"),
        *("--tag", "b", "--description", "d", "--json"),
    )
    told = json.loads(made.out)
    assert (told["name"], told["type"], told["tags"]) == ("mine", "TextRepresentation", ["a", "b"])
    again = registry.inside("models", "create-set", "mine")
    assert (again.status, "mine" in again.err) == (1, True)
    imported = registry.inside("models", "import", "hf:a/f", "--format", "GGUF")
    assert imported.status == 0, imported.err
    assert registry.inside("models", "describe", "f:1", "of mine").status == 0
    assert "description\tof mine" in registry.inside("models", "show", "f:1").out
    conf = json.loads(registry.inside("models", "conf", "f:1").out)
    assert conf["modelFormat"] == "GGUF"
    assert json.loads(registry.inside("models", "conf", "--format", "GGUF").out)


def test_files_are_sent_shown_and_thrown_away(registry: Command, tmp_path: Path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    upload = registry.inside("models", "upload", str(tmp_path / "m.gguf")).out.strip()
    assert re.fullmatch(r"upload:\S+", upload)
    assert registry.inside("models", "upload", upload).out == "m.gguf\t4 B\n"
    assert registry.inside("models", "upload", upload, "--delete").status == 0
    gone = registry.inside("models", "upload", upload)
    assert (gone.status, "upload" in gone.err) == (1, True)
    nothing = registry.inside("models", "upload", str(tmp_path), "--delete")
    assert (nothing.status, "name it, upload:" in nothing.err) == (1, True)


def test_compressions_are_listed(registry: Command):
    assert json.loads(registry.inside("models", "compressions", "--json").out) == []
    none = registry.inside("models", "compressions", "--cancel", "amva-none")
    assert (none.status, "amva-none" in none.err) == (1, True)
    none = registry.inside("models", "compressions", "--delete", "amva-none")
    assert (none.status, "amva-none" in none.err) == (1, True)


def test_a_watched_import_that_is_cancelled_says_so(registry: Command):
    made = json.loads(registry.inside("models", "import", "hf:a/b", "--json").out)
    assert registry.inside("jobs", "cancel", made["job_id"]).status == 0
    shown = registry.inside("models", "show", "b:1")
    assert "error\tit was cancelled" in shown.out
    assert registry.inside("models", "rm", "b:1").status == 0
    gone = registry.inside("models", "rm", "b:1")
    assert (gone.status, "b has no version '1'" in gone.err) == (1, True)


def test_removing_asks_for_a_version_or_for_all(registry: Command):
    registry.inside("models", "import", "hf:a/c")
    vague = registry.inside("models", "rm", "c")
    assert (vague.status, "say which version, such as c:1, or add --all" in vague.err) == (1, True)
    busy = registry.inside("models", "rm", "c", "--all")
    assert (busy.status, "c:1 is being made by the job" in busy.err) == (1, True)


def test_labels_are_listed_and_refused(registry: Command):
    registry.inside("models", "import", "hf:a/d")
    assert registry.inside("models", "label", "d").out == ""
    early = registry.inside("models", "label", "d:1", "production")
    assert (early.status, "d:1 is Creating; label it when it is Ready" in early.err) == (1, True)
    none = registry.inside("models", "label", "d", "production", "--delete")
    assert (none.status, "d has no label 'production'" in none.err) == (1, True)
    assert json.loads(registry.inside("models", "label", "d", "--json").out) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "nothing-here"), "'nothing-here' is no address of a model"),
        (("import", "hf:///"), "tells no name; say one with --set"),
        (("import", "hf:a/b", "--set", "echo"), "echo belongs to the platform"),
        (("compress", "echo:1"), "echo:1 cannot be compressed: it belongs to the platform"),
        (("compress", "nobody"), "there is no model set 'nobody'"),
        (("export", "echo:1"), "`yangfan pull echo` fetches its files"),
        (("export", "echo:1", "--to", "x.zip", "--form", "folder"), "--to fetches zip files only"),
        (("list", "nobody"), "there is no model set 'nobody'"),
        (("show", "echo@canary"), "echo has no label 'canary'; there are: none"),
    ],
)
def test_what_cannot_be_is_told(registry: Command, arguments: tuple[str, ...], message: str):
    told = registry.inside("models", *arguments)
    assert (told.status, message in told.err) == (1, True), told.err


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Generator[Command]:
    """A server that works on its jobs."""
    home = tmp_path_factory.mktemp("working")
    with serving(home):
        yield Command(home, tmp_path_factory.mktemp("user"))


@pytest.mark.model
def test_a_model_is_imported_labelled_exported_and_removed(
    working: Command, model_path: Path, tmp_path: Path
):
    made = working("models", "import", str(model_path), "--set", "smol", "--watch")
    assert made.status == 0, made.err
    assert re.fullmatch(r"smol:1: amv-[0-9a-f]{12}, Ready\n", made.out)
    assert "import_model  succeeded" in made.err
    shown = working.inside("models", "show", "smol:1").out
    assert f"sha256\t{SHA256} {model_path.name}" in shown
    assert "licence\tapache-2.0" in shown
    assert "context tokens\t8,192" in shown
    assert working.inside("models", "label", "smol:1", "production").status == 0
    assert "amv-" in working.inside("models", "label", "smol").out
    target = tmp_path / "smol.zip"
    exported = working("models", "export", "smol@production", "--to", str(target))
    assert exported.status == 0, exported.err
    with zipfile.ZipFile(target) as archive:
        data = archive.read(model_path.name)
    assert hashlib.sha256(data).hexdigest() == SHA256
    assert working.inside("models", "rm", "smol", "--all").status == 0
    assert list((working.home / "blobs").iterdir()) == []


@pytest.mark.model
def test_an_import_that_fails_says_why(working: Command, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    failed = working("models", "import", str(tmp_path), "--set", "broken", "--watch")
    assert failed.status == 1
    assert re.search(r"broken:1: amv-[0-9a-f]{12}, Fail", failed.out)
    assert "import_model  failed" in failed.err
