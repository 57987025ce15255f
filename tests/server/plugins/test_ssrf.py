"""The table of tests/ssrf.toml on every way on which a plugin, a tool, a document or a picture is fetched: all of it refused, nothing connected to."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import httpcore2
import pytest

from yangfan.egress import Egress, resolve
from yangfan.errors import FetchError, Invalid, InvalidImage, PluginFailed
from yangfan.plugins import base
from yangfan.plugins.base import Host
from yangfan.plugins.weather import plugin as weather
from yangfan.server.chat import Pictures
from yangfan.server.knowledge.pages import fetch as fetch_page
from yangfan.server.plugins.bridge_store import BridgeStore
from yangfan.server.plugins.bridges import Bridges, Wanted
from yangfan.server.plugins.hosting import Means, PluginHost
from yangfan.server.plugins.tools import Tool
from yangfan.server.plugins.types import Bridge

TABLE = tomllib.loads((Path(__file__).parents[2] / "ssrf.toml").read_text("utf-8"))
NAMES: Mapping[str, list[str]] = TABLE["names"]
URLS = [
    *TABLE["urls"],
    *(f"https://{name}/" for name in NAMES),
    *(
        f"https://[{address}]/" if ":" in address else f"https://{address}/"
        for address in TABLE["addresses"]
        if "%" not in address
    ),
]

Way = Callable[[str], Awaitable[object]]


async def resolved(host: str, port: int) -> Sequence[str]:
    """The table's names, and numbers in whatever spelling the operating system knows."""
    return NAMES[host] if host in NAMES else await resolve(host, port)


class NoStore:
    """Keeps nothing."""

    async def all(self, app_id: str) -> list[Bridge]:
        return []

    async def get(self, app_id: str, bridge_id: str) -> None:
        return None


class Asked:
    """An application's question, as far as a host looks at it."""

    variables: Mapping[str, str] = {}
    file_name = ""

    class application:  # noqa: N801 - stands for an attribute
        prompt = ""
        base_ids = ()

    class target:  # noqa: N801 - likewise
        class service:  # noqa: N801 - likewise
            context_tokens = 4096


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that something tried to connect to."""
    tried: list[str] = []

    class Backend(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(self, host: str, *args: Any, **options: Any) -> Any:
            tried.append(host)
            raise httpcore2.ConnectError("nobody may get here")

    monkeypatch.setattr(httpcore2, "AnyIOBackend", Backend)
    return tried


def bridge(kind: Any, address: str) -> Bridge:
    return Bridge(
        id="b",
        app_id="a",
        kind=kind,
        title="",
        description="",
        address=address,
        source_url="",
        auth="none",
        auth_name="",
        secret="",
        tools=(),
        left_out=(),
        created_ms=0,
        read_ms=0,
    )


def ways(egress: Egress, folder: Path) -> dict[str, Way]:
    store = cast("BridgeStore", NoStore())
    bridges = Bridges(store, egress, {}, [])
    tool = Tool(name="t", description="", inputs={"type": "object"}, method="GET", path="/x")
    pictures = Pictures(egress, max_total_bytes=1000)
    plugins, _ = base.installed()
    manifest = plugins["uuid-weatherforecast"].manifest

    def host(base_url: str) -> PluginHost:
        means = Means(egress, cast("Any", None), pictures)
        return PluginHost(
            manifest,
            {"base_url": base_url, "key": ""},
            cast("Any", Asked()),
            means=means,
            ask=cast("Any", None),
            seeing=None,
            kept={},
        )

    async def forecast(url: str) -> object:
        outcome = await weather.call({"query": "weather in London"}, cast("Host", host(url)))
        assert outcome.response["retCode"] == 2, "the provider was not reached"
        raise FetchError(outcome.answer)

    return {
        "guard": lambda url: _read(egress, url),
        "plugin": lambda url: host("").fetch(url, max_bytes=10, timeout_seconds=5),
        "weather": forecast,
        "picture of a plugin": lambda url: host("").picture(url, param="fileurl"),
        "picture of a message": lambda url: pictures.get([(url, "p")], max_bytes=1000),
        "page": lambda url: fetch_page(egress, url, folder / "page"),
        "document": lambda url: bridges.create("a", Wanted("b", "openapi", url=url)),
        "server": lambda url: bridges.create("a", Wanted("b", "mcp", url=url)),
        "operation": lambda url: bridges.call(bridge("openapi", url), tool, {}),
        "tool of a server": lambda url: bridges.call(bridge("mcp", url), tool, {}),
    }


async def _read(egress: Egress, url: str) -> None:
    async with egress.open(url, max_bytes=10) as response:
        await response.read()


@pytest.mark.parametrize("way", ways(Egress(), Path()))
async def test_the_whole_table_is_refused(way: str, connected: list[str], tmp_path: Path) -> None:
    """Addresses that are data, not places, are taken as pictures; nothing is fetched for them either."""
    ask = ways(Egress(resolve=resolved), tmp_path)[way]
    reached: list[str] = []
    for url in URLS:
        try:
            async with asyncio.timeout(10):
                await ask(url)
        except (FetchError, PluginFailed, Invalid, InvalidImage):
            continue
        reached.append(url)
    assert reached == []
    assert connected == []


async def test_a_name_that_changes_its_answer_is_looked_up_once(
    connected: list[str], tmp_path: Path
) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    for way in ("plugin", "page", "document", "operation", "server"):
        asked.clear()
        connected.clear()
        with pytest.raises((FetchError, Invalid, PluginFailed)):
            await ways(Egress(resolve=rebinding), tmp_path)[way]("https://rebind.example/")
        assert asked == ["rebind.example"], way
        assert connected == ["93.184.216.34"], way
