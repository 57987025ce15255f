"""Bridges: other people's APIs and MCP servers as tools, and a model that calls them, within its limits."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import qianfan
from tests.conftest import Server, serving, wait_until
from tests.server.plugins.world import DOCUMENT, KEY, World, a_world
from typer.testing import CliRunner

from yangfan import Client
from yangfan.cli import application
from yangfan.errors import Conflict, Invalid, InvalidPluginArgument, NotFound

PROGRAM = Path(__file__).with_name("mcp_program.py")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with a_world() as world:
        yield world


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, world: World) -> Generator[Server]:
    home = tmp_path_factory.mktemp("bridges-home")
    (home / "yangfan.toml").write_text(
        f"""
egress_allow = ["127.0.0.1"]
[upstreams.other]
base_url = "{world.url}/v1"
[mcp_programs]
sums = ["{sys.executable}", "{PROGRAM}"]
silent = ["{sys.executable}", "-c", ""]
absent = ["/nowhere/program"]
"""
    )
    with serving(home) as server:
        yield server


@pytest.fixture(scope="module")
def pets(client: Client, world: World) -> str:
    """A bridge to the API, and an application with it."""
    client.plugins.add_openapi("pets", url=f"{world.url}/openapi.json", secret=KEY)
    client.plugins.create("shop", ["pets"], model="caller")
    return "shop"


@pytest.fixture(scope="module")
def mcp_url() -> Iterator[str]:
    """The official package's server, over HTTP."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, PROGRAM, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:

        def is_up() -> bool:
            assert process.poll() is None
            with closing(socket.socket()) as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_until(is_up, "the MCP server to listen", 60)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def test_an_openapi_document_becomes_tools(client: Client, pets: str, world: World) -> None:
    (bridge,) = (each for each in client.plugins.bridges() if each.id == "pets")
    assert (bridge.title, bridge.address, bridge.auth, bridge.auth_name) == (
        "Pets",
        world.url + "/",
        "header",
        "X-Api-Key",
    )
    assert bridge.has_secret
    assert KEY not in repr(bridge)
    names = [tool.name for tool in bridge.tools]
    assert names == ["get_pet", "post_pets_id", "away", "picture"]
    assert bridge.left_out == ("POST /upload: its body is multipart/form-data",)
    answer = client.plugins.call_tool(
        "pets", "get_pet", {"id": "a/b ü", "fields": ["x", "y"], "X-Trace": "t-1"}
    )
    assert not answer.failed
    told = json.loads(answer.text)
    assert told["path"] == "/pets/a%2Fb%20%C3%BC"
    assert told["query"] == {"fields": ["x", "y"]}
    assert told["key"] == "…", "a key that comes back is not told"
    headers = world.asked[-1][2]
    assert (headers["x-api-key"], headers["x-trace"]) == (KEY, "t-1")
    changed = client.plugins.call_tool(
        "pets", "post_pets_id", {"id": "7", "body": {"name": None, "friends": [{"name": "Rex"}]}}
    )
    assert json.loads(json.loads(changed.text)["body"])["friends"] == [{"name": "Rex"}]
    assert "6 bytes of image/png" in client.plugins.call_tool("pets", "picture").text


def test_a_redirect_of_an_operation_is_checked_again(client: Client, pets: str) -> None:
    answer = client.plugins.call_tool("pets", "away")
    assert answer.failed
    assert "10.1.2.3 is not a public address" in answer.text


def test_inputs_are_checked(client: Client, pets: str) -> None:
    for tool, inputs, text in (
        ("get_pet", {}, '"id" is a required property'),
        ("get_pet", {"id": "1", "colour": 1}, "Additional properties"),
        ("get_pet", {"id": ".."}, "part of the path and cannot be"),
        ("get_pet", {"id": "1", "X-Trace": "a\r\nHost: b"}, "printable ASCII"),
        ("post_pets_id", {"id": "1", "body": {"name": "x", "age": 0}}, "body.age"),
    ):
        with pytest.raises(InvalidPluginArgument, match=text) as caught:
            client.plugins.call_tool("pets", tool, inputs)
        assert caught.value.code == "invalid_plugin_argument"
    with pytest.raises(Invalid, match="has no tool 'none'; it has get_pet"):
        client.plugins.call_tool("pets", "none")


def test_bridges_are_kept_changed_and_forgotten(
    client: Client, world: World, server: Server
) -> None:
    document = json.dumps({**DOCUMENT, "servers": [{"url": world.url}]})
    client.plugins.add_openapi("mine", document, secret="wrong")
    assert client.plugins.call_tool("mine", "get_pet", {"id": "1"}).text == "HTTP 401: who are you?"
    assert client.plugins.modify_bridge("mine", secret=KEY).has_secret
    assert not client.plugins.call_tool("mine", "get_pet", {"id": "1"}).failed
    assert b"key-of-the-house" not in b"".join(
        file.read_bytes() for file in server.home.glob("yangfan.db*")
    )
    assert "mine" in {each.id for each in client.plugins.installed()}
    smaller = {**json.loads(document), "paths": {"/away": DOCUMENT["paths"]["/away"]}}
    changed = client.plugins.modify_bridge("mine", document=json.dumps(smaller))
    assert [tool.name for tool in changed.tools] == ["away"]
    with pytest.raises(Conflict, match="take another id"):
        client.plugins.add_openapi("mine", document)
    with pytest.raises(Conflict, match="id of a plugin"):
        client.plugins.add_openapi("uuid-zhishiku", document)
    client.plugins.remove_bridge("mine")
    with pytest.raises(NotFound, match="no bridge 'mine'"):
        client.plugins.remove_bridge("mine")


def test_refusals_say_what_to_change(client: Client, world: World) -> None:
    openapi, mcp = client.plugins.add_openapi, client.plugins.add_mcp
    document = json.dumps(DOCUMENT)
    for make, text in (
        (lambda: openapi("x"), "give an OpenAPI document"),
        (lambda: openapi("x", document), "give baseUrl"),
        (lambda: openapi("x", document, base_url=world.url, auth="bearer"), "needs a secret"),
        (lambda: openapi("x", document, base_url=world.url, secret="a\nb"), "printable ASCII"),
        (
            lambda: openapi(
                "x", document, base_url=world.url, auth="header", auth_name="Host", secret="a"
            ),
            "a name that can be one",
        ),
        (lambda: openapi("x", url=f"{world.url}/none"), "answered HTTP 404"),
        (lambda: openapi("x", url="https://10.1/"), "not a public address"),
        (lambda: mcp("x"), "needs its url"),
        (lambda: mcp("x", f"{world.url}/none"), "its tools cannot be read"),
        (
            lambda: mcp("x", program="rm"),
            "is not allowed; mcp_programs in the settings lists: sums",
        ),
        (lambda: mcp("x", program="silent"), "ended without an answer"),
        (lambda: mcp("x", program="absent"), "does not start"),
    ):
        with pytest.raises(Invalid, match=text):
            make()


@pytest.mark.parametrize("way", ["http", "program"])
def test_an_mcp_server_becomes_tools(client: Client, mcp_url: str, way: str) -> None:
    name = f"sums-{way}"
    if way == "http":
        bridge = client.plugins.add_mcp(name, mcp_url)
    else:
        bridge = client.plugins.add_mcp(name, program="sums")
    assert (bridge.title, bridge.kind) == ("sums", "mcp" if way == "http" else "program")
    assert [tool.name for tool in bridge.tools] == ["add", "break_down"]
    assert client.plugins.call_tool(name, "add", {"a": 2, "b": 3}).text == "2 + 3 = 5"
    broken = client.plugins.call_tool(name, "break_down")
    assert broken.failed
    assert broken.text == "Error executing tool break_down"
    with pytest.raises(InvalidPluginArgument, match="add: a: "):
        client.plugins.call_tool(name, "add", {"a": "two", "b": 3})
    client.plugins.create(f"app-{way}", [name], model="caller")
    answer = client.plugins.ask(f"app-{way}", 'CALL add {"a": 20, "b": 22}')
    assert answer.text == "tool said: 20 + 22 = 42"


def test_a_model_calls_tools_and_verbose_shows_the_steps(client: Client, pets: str) -> None:
    shown = client.plugins.get(pets)
    assert (shown.mode, shown.max_steps, shown.max_tokens, shown.max_seconds) == (
        "tools",
        6,
        32000,
        120,
    )
    answer = client.plugins.ask(pets, 'CALL get_pet {"id": "7"}')
    assert answer.text.startswith('tool said: {"path":"/pets/7"')
    (step,) = answer.meta["steps"]
    assert (step["plugin_id"], step["tool"], step["inputs"], step["failed"]) == (
        "pets",
        "get_pet",
        '{"id": "7"}',
        False,
    )
    assert step["output"].startswith('{"path":"/pets/7"')
    assert answer.meta["plugin_id"] == "pets"
    assert answer.total_tokens == 100, "both answers of the model count"
    assert client.plugins.ask(pets, "hello").text == "heard: hello"
    assert client.plugins.ask(pets, "hello", verbose=False).meta == {}
    used = sum(each.requests for each in client.usage.list() if each.model == "caller")
    client.plugins.ask(pets, 'CALL get_pet {"id": "8"}')
    assert sum(each.requests for each in client.usage.list() if each.model == "caller") == used + 1


def test_the_model_hears_of_its_mistakes(client: Client, pets: str) -> None:
    for call, text in (
        ("CALL none {}", "there is no tool 'none'; there are: get_pet"),
        ("CALL get_pet {}", '"id" is a required property'),
        ("CALL get_pet nonsense", "are no JSON object"),
        ("CALL away {}", "10.1.2.3 is not a public address"),
    ):
        answer = client.plugins.ask(pets, call)
        assert text in answer.text
        assert answer.meta["steps"][0]["failed"] is True


@pytest.mark.parametrize(
    ("limit", "question", "text"),
    [
        ({"max_steps": 2}, 'LOOP get_pet {"id": "7"}', "The limit of 2 steps was reached"),
        ({"max_tokens": 120}, 'LOOP get_pet {"id": "7"}', "The limit of 120 tokens was reached"),
        ({"max_seconds": 1}, "STALL now", "The limit of 1 seconds was reached"),
        (
            {"max_steps": 1},
            "LOOP get_pet {} 请问这只宠物现在的情况怎么样啊朋友们大家好",
            "已达到 1 步的上限",
        ),
    ],
)
def test_each_limit_ends_the_loop_and_says_so(
    client: Client, pets: str, limit: dict[str, Any], question: str, text: str
) -> None:
    name = f"limited-{abs(hash((question, *limit.items()))):x}"
    client.plugins.create(name, ["pets"], model="caller", **limit)
    answer = client.plugins.ask(name, question)
    assert text in answer.text
    assert answer.finish_reason == "length"
    assert answer.meta["limit"] == next(iter(limit)).removeprefix("max_")
    assert answer.meta["response"]["retCode"] == 1
    client.plugins.delete(name)


def test_qianfans_client_sees_the_steps_in_a_stream(
    server: Server, pets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = qianfan.get_config()
    for name, value in (
        ("BASE_URL", server.base_url),
        ("AK", server.api_key),
        ("SK", server.secret_key),
        ("ACCESS_KEY", server.access_key),
        ("SECRET_KEY", server.secret_access_key),
    ):
        monkeypatch.setattr(config, name, value)
    plugin: Any = qianfan.Plugin(endpoint=pets)
    events: list[Any] = list(
        plugin.do('CALL get_pet {"id": "7"}', plugins=["pets"], stream=True, verbose=True)
    )
    assert events[0]["meta_info"]["step"]["tool"] == "get_pet"
    assert "".join(event["result"] for event in events).startswith("tool said: ")
    assert events[-1]["is_end"] is True
    assert events[-1]["usage"]["total_tokens"] == 100
    assert len(events[-1]["meta_info"]["steps"]) == 1


def test_modes_and_limits_are_checked(client: Client, pets: str) -> None:
    with pytest.raises(Invalid, match=r"takes no question.*use the mode tools"):
        client.plugins.create("wrong", ["pets"], mode="direct")
    with pytest.raises(Invalid, match="maxSteps"):
        client.plugins.create("wrong", ["pets"], max_steps=0)
    client.plugins.create("both", ["uuid-weatherforecast", "pets"], model="caller")
    assert client.plugins.get("both").mode == "tools"
    assert "weather_forecast" in client.plugins.ask("both", "CALL none {}").text
    assert client.plugins.modify("both", max_steps=3, prompt="Be brief.").max_steps == 3
    answer = client.plugins.ask("both", 'CALL weather_forecast {"query": "How is it?"}')
    assert "Name the city" in answer.text


def test_the_command_line(
    server: Server, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("YANGFAN_HOME", str(server.home))

    def run(*arguments: str) -> Any:
        words = ["plugins", *arguments]
        return CliRunner().invoke(application(words), words)

    document, key = tmp_path / "pets.json", tmp_path / "key"
    document.write_text(json.dumps(DOCUMENT))
    key.write_text(KEY + "\n")
    options = ("--server-url", world.url, "--secret-file", str(key))
    made = run("bridge", "cli-pets", "--openapi", str(document), *options)
    assert made.exit_code == 0, made.output
    assert "get_pet: Show a pet." in made.output
    assert "left out: POST /upload" in made.output
    assert "cli-pets" in run("list").output
    assert "get_pet" in run("show", "cli-pets").output
    assert run("unbridge", "cli-pets").exit_code == 0
    assert run("bridge", "x").exit_code != 0
