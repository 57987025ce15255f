"""The command line as a whole: help without imports, exit statuses, one line for an error."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import NOBODY_LISTENS, Command

from yangfan.cli import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_in_the_table_is_the_first_line_of_the_command(name: str):
    command = getattr(importlib.import_module(f"yangfan.cli.{name}"), name)
    assert (inspect.getdoc(command) or "").splitlines()[0] == COMMANDS[name]


def test_table_has_every_command():
    assert list(COMMANDS) == [
        "serve",
        "chat",
        "complete",
        "tokens",
        "embed",
        "image",
        "rerank",
        "pull",
        "models",
        "services",
        "tuning",
        "data",
        "engines",
        "keys",
        "apps",
        "files",
        "batches",
        "plugins",
        "kb",
        "eval",
        "prompts",
        "memory",
        "jobs",
        "upstreams",
        "usage",
        "sign",
        "backup",
        "restore",
        "worker",
        "doctor",
        "version",
    ]


def test_help_lists_every_command_with_its_line(lonely: Command):
    shown = lonely.inside("--help")
    assert shown.status == 0
    flat = " ".join(shown.out.split())
    for name, summary in COMMANDS.items():
        assert f"{name} {summary.split(' / ')[0]}" in flat
        assert summary.split(" / ")[1] in flat


def test_help_imports_no_command_and_no_heavy_library():
    """Importing is what help costs; the clock of a shared machine is no judge of it."""
    program = (
        "import sys\n"
        "from yangfan.cli import main\n"
        "sys.argv = ['yangfan', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stderr.split())
    assert "yangfan.cli" in loaded
    heavy = {
        "rich",
        "httpx2",
        "msgspec",
        "asyncio",
        "sqlalchemy",
        "yangfan.client",
        "yangfan.server",
    }
    assert loaded & (heavy | {f"yangfan.cli.{name}" for name in COMMANDS}) == set()


def test_no_command_shows_help_and_is_wrong_usage(lonely: Command):
    shown = lonely.inside()
    assert shown.status == 2
    assert "Usage: " in shown.err
    assert "doctor" in shown.err


def test_unknown_command_is_wrong_usage_and_names_the_nearest(lonely: Command):
    shown = lonely.inside("model")
    assert (shown.status, shown.out) == (2, "")
    assert "'models'" in shown.err


def test_error_is_one_line_on_stderr_and_status_one(lonely: Command):
    shown = lonely("models", "list", "--base-url", NOBODY_LISTENS)
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.startswith(f"yangfan: cannot reach {NOBODY_LISTENS}")
    assert shown.err.count("\n") == 1


def test_terminal_without_chinese_shows_question_marks_and_no_traceback(lonely: Command):
    shown = lonely("--help", environ={"PYTHONIOENCODING": "latin-1"})
    assert (shown.status, shown.err) == (0, "")
    assert "?? Yangfan: the Qianfan platform" in shown.out


def test_version_names_the_package_python_and_the_engine_libraries(lonely: Command):
    shown = lonely.inside("version")
    assert shown.status == 0
    lines = dict(line.split(" ", 1) for line in shown.out.splitlines())
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["yangfan"] == importlib.metadata.version("yangfan")
    assert lines["platform"] == platform.platform()
    libraries = set(lines) - {"yangfan", "python", "platform"}
    # Each extra that brings an engine names what it needs, and nothing that only the server or its makers need is among them.
    assert {"xllamacpp", "torch", "transformers", "diffusers", "openvino-genai"} <= libraries
    assert not libraries & {"uvicorn", "pytest", "ruff", "opentelemetry-sdk", "asyncpg", "pyarrow"}
    for library in libraries:
        try:
            shown_version = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            shown_version = "not installed"
        assert lines[library] == shown_version


def test_a_reader_that_goes_away_gets_no_traceback(yangfan: Command):
    with yangfan.started("models", "list", "--all") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
        process.wait(20)
    assert b"Traceback" not in complaint


def test_module_and_entry_point_are_one(lonely: Command):
    script = Path(sys.executable).with_name("yangfan")
    done = subprocess.run(
        [script, "version"], capture_output=True, env=lonely.environ, timeout=60, check=True
    )
    assert done.stdout.decode() == lonely("version").out
