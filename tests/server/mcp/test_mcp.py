"""This platform as an MCP server, asked by the official client, unchanged; and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client as MCPClient
from mcp.client.streamable_http import streamable_http_client
from tests.conftest import EMBEDDINGS_MODEL, Server, serving, wait_until

from yangfan import Client

WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, model_cache: Path, minilm_folder: Path
) -> Generator[Server]:
    del minilm_folder
    environ = {"YANGFAN_MODEL_STORE": str(model_cache)}
    home = tmp_path_factory.mktemp("mcp-home")
    with serving(home, models=("echo", EMBEDDINGS_MODEL), environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def base_id(server: Server) -> str:
    with Client(server.base_url, bearer=server.bearer, version=2) as client:
        base = client.knowledge.create("handbook", description="Rules of the house.")
        client.knowledge.add_texts(
            base.id, {"leave.md": "# Leave\n\nEverybody has fifteen days of paid leave."}
        )
        wait_until(
            lambda: all(each.state == "ready" for each in client.knowledge.documents(base.id)),
            "the document to be read",
            WAIT_SECONDS,
        )
        return base.id


def text_of(result: Any) -> str:
    (content,) = result.content
    return content.text


async def test_the_official_client(server: Server, base_id: str) -> None:
    headers = {"Authorization": f"Bearer {server.bearer}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{server.base_url}/mcp", http_client=http)
        async with MCPClient(transport) as client:
            assert client.session.protocol_version == "2025-11-25"
            listed = await client.list_tools()
            assert [tool.name for tool in listed.tools] == [
                "list_knowledge_bases",
                "search_knowledge_bases",
                "ask_knowledge_bases",
                "list_services",
                "chat",
            ]
            bases = json.loads(text_of(await client.call_tool("list_knowledge_bases", {})))
            assert bases == [
                {
                    "id": base_id,
                    "name": "handbook",
                    "description": "Rules of the house.",
                    "passages": 1,
                }
            ]
            found = json.loads(
                text_of(
                    await client.call_tool("search_knowledge_bases", {"query": "days of leave?"})
                )
            )
            assert found[0]["text"] == "Everybody has fifteen days of paid leave."
            assert (found[0]["document"], found[0]["headings"]) == ("leave.md", "Leave")
            answer = await client.call_tool(
                "ask_knowledge_bases",
                {
                    "question": "How many days of paid leave?",
                    "knowledge_base_ids": [base_id],
                    "model": "echo",
                },
            )
            assert "fifteen days" in text_of(answer), "echo says what it was told"
            assert "<- Everybody has fifteen days of paid leave." in text_of(answer)
            nothing = await client.call_tool(
                "ask_knowledge_bases", {"question": "Lagrangian of quantum chromodynamics"}
            )
            assert "nothing on this question" in text_of(nothing)
            services = json.loads(text_of(await client.call_tool("list_services", {})))
            assert {"name": "all-minilm-l6-v2", "kinds": ["embeddings"]} in services
            said = await client.call_tool(
                "chat", {"message": "good morning", "model": "echo", "max_output_tokens": 50}
            )
            assert "good morning" in text_of(said)
            for name, inputs, told in (
                ("chat", {}, "required property"),
                ("chat", {"message": "x", "model": "none"}, "none"),
                ("search_knowledge_bases", {"query": "x", "top": 0}, "top"),
                (
                    "search_knowledge_bases",
                    {"query": "x", "knowledge_base_ids": ["kb-none"]},
                    "no knowledge base",
                ),
            ):
                refused = await client.call_tool(name, inputs)
                assert refused.is_error
                assert told in text_of(refused)


def ask(server: Server, body: Any, **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Authorization": f"Bearer {server.bearer}", **headers}
    return httpx2.post(f"{server.base_url}/mcp", content=content, headers=sent)


def request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def test_messages_that_are_none(server: Server) -> None:
    for body, code in (
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 100_000, -32700),
        (b"\xff", -32700),
        ([request("ping")], -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, -32600),
        (request("tools/none"), -32601),
        (request("server/discover"), -32601),
        (request("tools/call"), -32602),
        (request("tools/call", name="none"), -32602),
        (request("tools/call", name="chat", arguments=[1]), -32602),
    ):
        reply = ask(server, body)
        assert reply.status_code == 200
        assert reply.json()["error"]["code"] == code, body
    assert ask(server, request("ping")).json() == {"jsonrpc": "2.0", "id": 7, "result": {}}
    old = ask(server, request("initialize", protocolVersion="2024-11-05")).json()["result"]
    assert old["protocolVersion"] == "2024-11-05"
    new = ask(server, request("initialize", protocolVersion="2099-01-01")).json()["result"]
    assert new["protocolVersion"] == "2025-11-25"
    assert ask(server, b" " * 1_100_000).status_code == 413


def test_notifications_are_taken_and_strangers_are_not(server: Server) -> None:
    taken = ask(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (taken.status_code, taken.content) == (202, b"")
    assert ask(server, request("ping"), Authorization="Bearer nobody").status_code == 401
    assert ask(server, request("ping"), Origin="https://elsewhere.example").status_code in {
        401,
        403,
    }
    assert ask(server, request("ping"), Origin=server.base_url).status_code == 200
    assert httpx2.get(f"{server.base_url}/mcp").status_code == 405
