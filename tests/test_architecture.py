"""The rules of ARCHITECTURE.md that a machine can check."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import yangfan.protocol
from yangfan import extensions
from yangfan.errors import YangfanError
from yangfan.protocol import openapi
from yangfan.protocol.endpoint import Endpoint

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src/yangfan"
BIN = Path(sys.executable).parent

HEAVY = (
    "yangfan.server",
    "yangfan.engines",
    "yangfan.hub",
    "yangfan.operators",
    "yangfan.scorers",
    "alembic",
    "numpy",
    "pyarrow",
    "rich",
    "sqlalchemy",
    "starlette",
    "torch",
    "transformers",
    "typer",
    "uvicorn",
    "xllamacpp",
)
"""What `import yangfan` must not load."""

READS_ENVIRONMENT = ("server/settings.py", "client/settings.py", "cli/", "engines/_vllm_guard.py")
"""Where the environment may be read; everything else is handed its settings. The guard runs in vLLM's own process."""

SIGNALS = {"yangfan.server.http.answering.ClientGone"}
"""Control flow inside one package, which no caller ever sees."""

ENVIRONMENT = {"environ", "environb", "getenv"}

SOURCES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if "migrations/versions" not in path.as_posix() and "__pycache__" not in path.parts
)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file; `from a import b` also names `a.b`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_import_of_yangfan_loads_neither_server_nor_engines_nor_command_line():
    program = (
        "import sys, yangfan; yangfan.Client; yangfan.AsyncClient; print('\\n'.join(sys.modules))"
    )
    result = run(sys.executable, "-I", "-c", program)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert "yangfan.client" in loaded
    assert sorted(loaded & set(HEAVY)) == []


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_environment_is_read_in_settings_and_command_line_only(path: Path):
    if names(path).startswith(READS_ENVIRONMENT):
        return
    handed_on = {id(value) for value in _unpacked(tree(path))}
    reads = [
        node.lineno
        for node in ast.walk(tree(path))
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ENVIRONMENT
            and id(node) not in handed_on
        )
        or (isinstance(node, ast.ImportFrom) and {alias.name for alias in node.names} & ENVIRONMENT)
    ]
    assert reads == []


def _unpacked(module: ast.Module) -> Iterator[ast.expr]:
    """What stands behind `**` in a dictionary: how the whole environment is handed on to a child process."""
    for node in ast.walk(module):
        if isinstance(node, ast.Dict):
            yield from (
                value for key, value in zip(node.keys, node.values, strict=True) if key is None
            )


def test_importing_every_module_changes_no_environment_and_prints_nothing():
    modules = [m for m in map(module_of, SOURCES) if not m.endswith(("__main__", "migrations.env"))]
    program = (
        "import importlib, os\n"
        "before = dict(os.environ)\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "assert dict(os.environ) == before\n"
    )
    result = run(sys.executable, "-W", "error", "-c", program)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_public_exception_has_the_one_root():
    strangers: list[str] = []
    for path in SOURCES:
        if path.name in {"__main__.py", "env.py"}:
            continue
        for name, value in vars(importlib.import_module(module_of(path))).items():
            if (
                inspect.isclass(value)
                and issubclass(value, Exception)
                and value.__module__.startswith("yangfan")
                and "._" not in f"{value.__module__}.{name}"
                and not issubclass(value, YangfanError)
                and f"{value.__module__}.{value.__name__}" not in SIGNALS
            ):
                strangers.append(f"{value.__module__}.{name}")
    assert strangers == []


def test_errors_are_drawn_in_the_tree_at_the_top_of_their_file():
    module = importlib.import_module("yangfan.errors")
    drawn = set(re.findall(r"(?:├──|└──) (\w+)", module.__doc__ or "")) | {"YangfanError"}
    defined = {name for name, value in vars(module).items() if inspect.isclass(value)}
    assert drawn == defined


@pytest.mark.parametrize(
    "package", ["yangfan.engines", "yangfan.hub.sources", "yangfan.operators", "yangfan.scorers"]
)
def test_an_extension_imports_no_sibling(package: str):
    folder = PACKAGE.joinpath(*package.split(".")[1:])
    own = set(extensions.names(package))
    for path in folder.rglob("*.py"):
        this = path.relative_to(folder).parts[0].removesuffix(".py")
        siblings = {f"{package}.{name}" for name in own - {this}}
        assert siblings.isdisjoint(imports(path)), path


def test_a_slice_is_used_through_its_door_only():
    """`server.<slice>` may import another slice, never a file of it; app.py alone builds from the inside."""
    server = PACKAGE / "server"
    slices = {
        path.parent.name
        for path in server.glob("*/__init__.py")
        if (path.parent / "logic.py").exists()
    }
    assert {"access", "chat", "models", "services"} <= slices
    wrong: list[str] = []
    for path in server.rglob("*.py"):
        home = path.relative_to(server).parts[0].removesuffix(".py")
        if home in {"app", "migrations"}:
            continue
        for name in imports(path):
            match = re.match(r"yangfan\.server\.(\w+)\.([a-z_0-9]+)", name)
            if (
                match
                and match[1] in slices - {home}
                and (server / match[1] / f"{match[2]}.py").exists()
            ):
                wrong.append(f"{names(path)} imports {name}")
    assert wrong == []


def test_the_import_rule_holds():
    result = run(BIN / "lint-imports", "--no-cache")
    assert result.returncode == 0, result.stdout


@pytest.mark.skipif(not (ROOT / "scripts/unasync.py").exists(), reason="no sync client yet")
def test_the_sync_client_is_current():
    result = run(sys.executable, "scripts/unasync.py", "--check")
    assert result.returncode == 0, result.stdout + result.stderr


def every_endpoint() -> dict[str, Endpoint[Any, Any]]:
    found: dict[str, Endpoint[Any, Any]] = {}
    for module in pkgutil.walk_packages(yangfan.protocol.__path__, "yangfan.protocol."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Endpoint):
                endpoint = cast("Endpoint[Any, Any]", value)
                found[endpoint.name] = endpoint
    return found


def test_every_endpoint_is_in_the_openapi_document():
    endpoints = every_endpoint()
    document = openapi.document(list(endpoints.values()), title="t", version="0", servers=["."])
    described = {
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    }
    assert described == set(endpoints)
    assert len(described) >= 9


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows what belongs to it")
@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_tree_in_the_readme_is_the_real_tree(readme: str):
    written = _written_tree((ROOT / readme).read_text("utf-8"))
    assert written["."] == _top_level()
    assert written["src/yangfan"] == _entries(PACKAGE)


def _written_tree(text: str) -> dict[str, set[str]]:
    """The annotated tree: one entry a line, two spaces deeper inside `src/yangfan/`."""
    block = text.split("<!-- tree -->")[1]
    entries: dict[str, set[str]] = {".": set(), "src/yangfan": set()}
    for line in block.splitlines():
        match = re.match(r"( *)([\w.-]+(?:/[\w.-]+)*/?)(?:  |$)", line)
        if match:
            folder = "src/yangfan" if match[1] else "."
            entries[folder].add(match[2].rstrip("/"))
    entries["."] = {entry.split("/")[0] for entry in entries["."]}
    return entries


def _top_level() -> set[str]:
    """What git has or would take, so that build outputs do not count; `.git*` files are not worth a line."""
    result = run("git", "ls-files", "--cached", "--others", "--exclude-standard")
    tops = {line.split("/")[0] for line in result.stdout.splitlines()}
    return {top for top in tops if not top.startswith(".git") and (ROOT / top).exists()}


def _entries(folder: Path) -> set[str]:
    return {
        path.name
        for path in folder.iterdir()
        if path.name != "__pycache__" and (path.is_file() or any(path.rglob("*.*")))
    }
