"""The published packages, unchanged, through a bridge: their v1 and v2 calls are answered by another server's v2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages


@pytest.fixture(scope="module")
def bridge(
    start_server: Callable[..., AbstractContextManager[Any]],
    echo_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """A server without a model of its own."""
    folder = tmp_path_factory.mktemp("bridge")
    config = folder / "yangfan.toml"
    config.write_text(
        'models = []\negress_allow = ["127.0.0.1"]\n[upstreams.baidu]\ndialect = "qianfan"\n'
        f'base_url = "{echo_server.base_url}/v2"\nkey = "{echo_server.bearer}"\n'
    )
    with start_server(folder / "home", models=(), options=("--config", str(config))) as server:
        yield server


def _qianfan(programs: Any, server: Any, name: str, *arguments: str) -> Any:
    return programs.run(
        name,
        *arguments,
        environ={
            "QIANFAN_BASE_URL": server.base_url,
            "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
            "QIANFAN_IAM_BASE_URL": server.base_url,
            "QIANFAN_AK": server.api_key,
            "QIANFAN_SK": server.secret_key,
            "QIANFAN_DISABLE_CACHE": "true",
        },
    )


def test_qianfan_v1_chats_through_the_bridge(bridge: Server, programs: Programs) -> None:
    found = _qianfan(programs, bridge, "qianfan_chat", "1")
    assert found["sync"]["headers"]["x-yangfan-model"] == "ernie-speed-8k"
    assert found["sync"]["body"]["result"] == "Say hello. 你好 😀"
    for kind in ("stream", "async_stream"):
        assert "".join(event["result"] for event in found[kind]) == "Say hello. 你好 😀"
        assert [event["is_end"] for event in found[kind]] == [False] * (len(found[kind]) - 1) + [
            True
        ]
        assert found[kind][-1]["usage"] == found["sync"]["body"]["usage"]
    assert found["turns"]["result"] == "And again"
    assert found["error"]["code"] == 336003
    assert found["truncated"]["is_truncated"] is True


def test_qianfan_functions_become_tools_and_come_back(bridge: Server, programs: Programs) -> None:
    found = programs.run(
        "qianfan_functions",
        environ={
            "QIANFAN_BASE_URL": bridge.base_url,
            "QIANFAN_AK": bridge.api_key,
            "QIANFAN_SK": bridge.secret_key,
            "QIANFAN_DISABLE_CACHE": "true",
            "SEARCH": "with the SDK's own tool",
        },
    )
    assert found["search"] == {"summary": "北京天气", "reference": []}
    for answer in (found["whole"], found["stream"][-1], found["react"]):
        assert answer["function_call"]["name"] == "get_weather"
        json.loads(answer["function_call"]["arguments"])
    assert found["after"]["result"]


def test_openai_reads_tools_through_the_bridge(bridge: Server, programs: Programs) -> None:
    where = {"BASE_URL": f"{bridge.base_url}/v2", "API_KEY": bridge.bearer, "MODEL": "echo"}
    found = programs.run("openai_tools", environ=where)
    for kind in ("required", "named"):
        (call,) = found[kind]["message"]["tool_calls"]
        json.loads(call["function"]["arguments"])
    assert found["none"]["message"]["tool_calls"] is None
    assert found["stream"][-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert found["bad_schema"]["code"] == "invalid_argument"
