"""Plugins of third parties: the worked example, installed as its readers install it, and plugins that misbehave."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.conftest import Server, serving

from yangfan import Client
from yangfan.errors import EngineFailed, Invalid, PluginFailed

ROOT = Path(__file__).resolve().parents[3]

MANIFEST = """
id = "{name}"
version = "1.0.0"
tool = "{name}"
told = "Does what a test wants."
question = "text"
timeout_seconds = 0.5
[name]
zh = "测试"
en = "Test"
[description]
zh = "测试"
en = "Test"
[inputs]
type = "object"
required = ["text"]
[inputs.properties.text]
type = "string"
pattern = "^[^#]*$"
"""

CODE = """
import asyncio
from yangfan.plugins.base import Outcome

async def call(inputs, host):
    match inputs["text"]:
        case "raise":
            raise ZeroDivisionError("secret-of-the-author")
        case "sleep":
            await asyncio.sleep(60)
        case "fetch":
            await host.fetch("https://example.com", max_bytes=10, timeout_seconds=1)
        case "search":
            await host.search("x")
        case "chat":
            await host.chat([])
        case "nothing":
            return None
    return Outcome("found: " + inputs["text"])
"""


def package(site: Path, name: str, manifest: str, code: str = CODE) -> None:
    """A package with an entry point, as pip leaves it."""
    module = f"yangfan_{name}"
    (site / module).mkdir()
    (site / module / "__init__.py").write_text(
        "raise SystemExit('nobody imports this at the start')\n" if not code else ""
    )
    (site / module / "plugin.toml").write_text(manifest, "utf-8")
    (site / module / "plugin.py").write_text(code)
    facts = site / f"{module}-1.0.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0.0\n")
    (facts / "entry_points.txt").write_text(f"[yangfan.plugins]\n{name} = {module}\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    site = tmp_path_factory.mktemp("site")
    source = ROOT / "examples" / "plugin_glossary"
    copy = tmp_path_factory.mktemp("source")
    for file in source.rglob("*"):
        if file.suffix in {".py", ".toml"}:
            target = copy / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, *install, "--disable-pip-version-check", "--target", str(site), str(copy)],
        check=True,
        timeout=120,
    )
    package(site, "wild", MANIFEST.format(name="wild"))
    package(site, "torn", MANIFEST.format(name="torn").replace('version = "1.0.0"', ""), "")
    package(site, "usurper", MANIFEST.format(name="uuid-zhishiku"), "")
    needy = MANIFEST.format(name="needy") + '[needs]\nmodules = ["nowhere_to_be_found"]\n'
    package(site, "needy", needy, "")
    home = tmp_path_factory.mktemp("example-home")
    (home / "own.toml").write_text('"north star" = "The number of paying schools."\n')
    (home / "yangfan.toml").write_text(f'[plugins.glossary]\nfile = "{home / "own.toml"}"\n')
    with serving(home, environ={"PYTHONPATH": str(site)}) as server:
        yield server


@pytest.fixture(scope="module")
def client(client: Client) -> Client:
    client.plugins.create("house", ["glossary", "wild"], model="echo")
    return client


def test_the_example_is_listed_and_answers(client: Client) -> None:
    shown = client.plugins.describe("glossary")
    assert (shown.origin, shown.state, shown.question) == (
        "yangfan-plugin-glossary",
        "ready",
        "text",
    )
    assert "file" in shown.settings
    answer = client.plugins.ask("house", "Where is our North Star?")
    assert "The number of paying schools." in answer.text, "echo says what it was told"
    assert answer.meta["plugin_id"] == "glossary"
    assert answer.meta["response"]["terms"] == ["north star"]
    assert answer.meta["citations"][0]["source"] == "The number of paying schools."
    nothing = client.plugins.ask("house", "What is a duck?")
    assert "No term of the glossary" in nothing.text
    assert nothing.total_tokens == 0


def test_a_plugin_that_cannot_be_used_is_listed_with_the_reason(client: Client) -> None:
    found = {each.id: each for each in client.plugins.installed()}
    assert found["torn"].state == "broken"
    assert "plugin.toml: Object missing required field `version`" in found["torn"].problem
    assert (
        "the id uuid-zhishiku belongs to yangfan.plugins.knowledge_base" in found["usurper"].problem
    )
    assert found["uuid-zhishiku"].origin == "yangfan"
    assert (found["needy"].state, found["needy"].problem) == (
        "missing",
        "pip install nowhere_to_be_found",
    )
    for name, text in (("torn", "there is no plugin"), ("needy", "needs: pip install")):
        with pytest.raises(Invalid, match=text):
            client.plugins.create("wrong", [name])


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("raise", r"wild failed \(ZeroDivisionError\)"),
        ("sleep", r"wild took longer than 0\.5 s"),
        ("fetch", "wild may not use network"),
        ("search", "wild may not use knowledge"),
        ("chat", "wild may not use chat"),
        ("nothing", "gave back a NoneType, not an Outcome"),
    ],
)
def test_a_plugin_that_fails_says_so(client: Client, question: str, text: str) -> None:
    with pytest.raises(EngineFailed, match=text) as caught:
        client.plugins.ask("house", question, plugins=["wild"])
    assert isinstance(caught.value, PluginFailed)
    assert caught.value.code == 336303
    assert "secret-of-the-author" not in caught.value.message


def test_inputs_are_checked_before_the_plugin_sees_them(client: Client) -> None:
    with pytest.raises(Invalid, match=r"wild: text: .*does not match"):
        client.plugins.ask("house", "a#b", plugins=["wild"])
    assert "found: fine" in client.plugins.ask("house", "fine", plugins=["wild"]).text
