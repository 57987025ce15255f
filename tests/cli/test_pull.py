from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from yangfan.cli import main
from yangfan.hub import catalogue
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YANGFAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"GGUF" + bytes(1000))
    return file


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``yangfan pull`` in this process; returns exit status, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["yangfan", "pull", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_a_pulled_model_is_in_the_store_and_its_path_is_printed(
    run: Run, home: Path, model_file: Path
) -> None:
    code, out, err = run(f"file:{model_file}", "--name", "my-model", "--kind", "embeddings")
    assert code == 0, err
    model = ModelStore(home).get("my-model")
    assert model is not None
    assert model.kind == "embeddings"
    assert out == f"my-model: {model.path}\n"


def test_home_is_an_option_too(run: Run, home: Path, model_file: Path, tmp_path: Path) -> None:
    assert run(f"file:{model_file}", "--home", str(tmp_path / "other"))[0] == 0
    assert ModelStore(tmp_path / "other").get("mine") is not None
    assert not home.exists()


def test_verify_repairs_damage(run: Run, home: Path, model_file: Path) -> None:
    run(f"file:{model_file}")
    model = ModelStore(home).get("mine")
    assert model is not None
    model.path.chmod(0o600)
    model.path.write_bytes(b"GGUF" + b"\1" * 1000)
    assert run(f"file:{model_file}", "--verify")[0] == 0
    assert model.path.read_bytes() == model_file.read_bytes()


def test_the_catalogue_is_listed_with_what_is_here(run: Run, home: Path, model_file: Path) -> None:
    run(f"file:{model_file}")
    code, out, _ = run("--list")
    assert code == 0
    rows = {row.split("\t")[0]: row.split("\t") for row in out.splitlines()}
    assert rows.keys() == {*catalogue.load().names, "mine"}
    assert rows["mine"] == ["mine", "chat", "gguf", "1.0 kB", "unknown", "yes"]
    assert rows["bge-m3"] == ["bge-m3", "embeddings", "gguf", "~634.6 MB", "MIT", "no"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "--list"),
        (("nonsense",), "smollm2-135m-instruct"),
        (("ftp:x/y",), "modelscope"),
        (("s3:x/y",), "cannot be the name of a bucket"),
        (("hf:x",), "names no repository"),
        (("file:/nowhere/x.gguf",), "cannot be read"),
        (("https://127.0.0.1/x.gguf",), "egress_allow"),
        (("qwen3-4b", "--allow", "a/b"), "CIDR"),
        (("qwen3-4b", "--proxy", "nothing"), "proxy must be an http"),
        (("qwen3-4b", "--name", "../x"), "cannot be the name"),
    ],
)
def test_a_mistake_gets_one_clear_line(
    run: Run, home: Path, arguments: tuple[str, ...], text: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("yangfan: ")
    assert text in lines[0]


def test_allow_takes_the_form_of_the_environment_variable(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YANGFAN_EGRESS_ALLOW", "10.0.0.0/8,127.0.0.1")
    _, _, err = run("https://127.0.0.1:1/x.gguf")
    assert "could not be read" in err


def test_the_command_is_cheap_to_import() -> None:
    script = "import sys, yangfan.cli.pull; print({'httpx2', 'rich.progress', 'yangfan.hub'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"
