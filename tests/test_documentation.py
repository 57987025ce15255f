"""The pages for users: their code runs as it stands, their languages agree, their links lead somewhere."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
TIMEOUT_SECONDS = 60

PAGES = [
    ROOT / "README.md",
    ROOT / "docs/index.md",
    *(
        page
        for folder in ("tutorial", "how-to")
        for page in sorted((ROOT / "docs" / folder).glob("*.md"))
        if not page.name.endswith(".zh-CN.md")
    ),
]
"""The English pages for users."""

NOT_RUN = re.compile(r"\bmake\b|pip install|yangfan (serve|pull)|=\.\.\.|langchain")
"""Code that installs, downloads, stays up, shows a placeholder or needs a package that is not here."""

Ready = dict[str, str]


def code(page: Path, languages: str) -> list[tuple[str, str]]:
    """Language and text of each piece of code on a page."""
    return re.findall(rf"```({languages})\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """The ready file of a real server that echoes; `home` is its folder."""
    home = tmp_path_factory.mktemp("home")
    file = home / "ready.json"
    options = ("--model", "echo", "--port", "0", "--home", home, "--ready-file", file)
    server = subprocess.Popen(
        [BIN / "yangfan", "serve", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert server.stdout is not None
        printed = b""
        while b"is ready at" not in printed:
            line = server.stdout.readline()
            assert line, f"the server did not start: {printed.decode()}"
            printed += line
        yield {**json.loads(file.read_text("utf-8")), "home": str(home)}
    finally:
        server.terminate()
        server.communicate(timeout=TIMEOUT_SECONDS)


def script(page: Path) -> str:
    """The code of a page as one shell script, so that later pieces see what earlier ones export."""
    pieces = [
        f"python3 - <<'END_OF_PYTHON'\n{text}END_OF_PYTHON\n" if language == "python" else text
        for language, text in code(page, "sh|python")
        if not NOT_RUN.search(text)
    ]
    return "\n".join(pieces)


@pytest.mark.parametrize("page", [page for page in PAGES if script(page)], ids=name)
def test_the_code_of_a_page_runs_and_gets_answers(page: Path, ready: Ready, tmp_path: Path):
    (tmp_path / "ready.json").write_text(json.dumps(ready))
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(page)],
        cwd=tmp_path,
        env=_variables(ready),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert not re.search(r'"error|"code"', result.stdout), result.stdout


def _variables(ready: Ready) -> dict[str, str]:
    """What a reader has set by then: what the server printed, and where it runs."""
    printed = ("api_key", "secret_key", "access_key", "secret_access_key", "bearer", "base_url")
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": ready["home"],
        "YANGFAN_HOME": ready["home"],
        "YANGFAN_BASE_URL": ready["base_url"],
        "YANGFAN_ACCESS_KEY": ready["access_key"],
        "YANGFAN_SECRET_ACCESS_KEY": ready["secret_access_key"],
        **{key.upper(): ready[key] for key in printed},
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_page_has_a_chinese_twin_with_the_same_code(page: Path):
    twin = page.with_suffix(".zh-CN.md")
    assert _without_comments(page) == _without_comments(twin)
    assert f"]({page.name})" in twin.read_text("utf-8")
    assert f"]({twin.name})" in page.read_text("utf-8")


def _without_comments(page: Path) -> list[str]:
    return [
        re.sub(r"\s*#.*$", "", text, flags=re.M) for _, text in code(page, "sh|python|toml|json")
    ]


def test_links_between_pages_lead_somewhere():
    broken: list[str] = []
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        broken.extend(
            f"{name(page)}: {target}"
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose)
            if "://" not in target and not (page.parent / target).exists()
        )
    assert broken == []


def test_the_readme_names_the_test_command_that_exists():
    assert ("sh", "make test\n") in code(ROOT / "README.md", "sh")
    assert re.search(r"^test:", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)


def test_every_decision_has_its_parts_and_is_listed():
    folder = ROOT / "docs/decisions"
    listed = (folder / "README.md").read_text("utf-8")
    decisions = sorted(folder.glob("[0-9]*.md"))
    assert [page.name[:4] for page in decisions] == [
        f"{n:04}" for n in range(1, len(decisions) + 1)
    ]
    for page in decisions:
        text = page.read_text("utf-8")
        assert f"({page.name})" in listed
        for part in ("Context", "Decision", "Consequences", "Alternatives"):
            assert f"**{part}.**" in text, f"{page.name} lacks {part}"
