from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner, Result

from yangfan.cli.pull import pull
from yangfan.hub import catalogue
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YANGFAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"GGUF" + bytes(1000))
    return file


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("pull")(pull)
    return CliRunner().invoke(app, arguments)


def test_a_pulled_model_is_in_the_store_and_its_path_is_printed(
    home: Path, model_file: Path
) -> None:
    result = run(f"file:{model_file}", "--name", "my-model", "--kind", "embeddings")
    assert result.exit_code == 0, result.output
    model = ModelStore(home).get("my-model")
    assert model is not None
    assert model.kind == "embeddings"
    assert result.stdout == f"my-model: {model.path}\n"


def test_home_is_an_option_too(home: Path, model_file: Path, tmp_path: Path) -> None:
    assert run(f"file:{model_file}", "--home", str(tmp_path / "other")).exit_code == 0
    assert ModelStore(tmp_path / "other").get("mine") is not None
    assert not home.exists()


def test_verify_repairs_damage(home: Path, model_file: Path) -> None:
    run(f"file:{model_file}")
    model = ModelStore(home).get("mine")
    assert model is not None
    model.path.chmod(0o600)
    model.path.write_bytes(b"GGUF" + b"\1" * 1000)
    assert run(f"file:{model_file}", "--verify").exit_code == 0
    assert model.path.read_bytes() == model_file.read_bytes()


def test_the_catalogue_is_listed_with_what_is_here(home: Path, model_file: Path) -> None:
    run(f"file:{model_file}")
    result = run("--list")
    assert result.exit_code == 0
    rows = {row.split()[0]: row.split() for row in result.stdout.splitlines() if row.split()}
    assert set(catalogue.load().names) | {"mine"} <= rows.keys()
    assert rows["mine"][-1] == "yes"
    assert rows["bge-m3"][-1] == "MIT"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "--list"),
        (("nonsense",), "smollm2-135m-instruct"),
        (("s3:x/y",), "modelscope"),
        (("hf:x",), "names no repository"),
        (("file:/nowhere/x.gguf",), "cannot be read"),
        (("https://127.0.0.1/x.gguf",), "egress_allow"),
        (("qwen3-4b", "--allow", "a/b"), "CIDR"),
        (("qwen3-4b", "--proxy", "nothing"), "proxy must be an http"),
        (("qwen3-4b", "--name", "../x"), "cannot be the name"),
    ],
)
def test_a_mistake_gets_one_clear_line(home: Path, arguments: tuple[str, ...], text: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("yangfan: ")
    assert text in lines[0]


def test_allow_takes_the_form_of_the_environment_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YANGFAN_EGRESS_ALLOW", "10.0.0.0/8,127.0.0.1")
    result = run("https://127.0.0.1:1/x.gguf")
    assert "could not be read" in result.stderr


def test_the_command_is_cheap_to_import() -> None:
    script = "import sys, yangfan.cli.pull; print({'httpx2', 'rich.progress', 'yangfan.hub'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"
