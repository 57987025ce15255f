"""Calls made by damaging good ones byte by byte: bodies, headers, signatures, queries, forms. No 5xx, no silence, no growth."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.server.conftest import sign_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Server

SECONDS = 20.0
"""Longest wait for an answer."""

INTERESTING = (
    *(b"\x00", b"\xff", b"\xf0\x9f\x98\x80", b"\\ud800", b"\r\n", b"\n\n", b'"', b"\\", b"{", b"["),
    *(b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9" * 40, b"[" * 500, b'{"a":' * 500),
    *(
        b"%00",
        b"%",
        b"%zz",
        b"../",
        b";",
        b"\xe2\x80\xae",
        b"A" * 5000,
        b" " * 200,
        b"\x1f\x8b\x08",
    ),
)
"""Pieces that have broken parsers."""

V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
HI = [{"role": "user", "content": "hi 你好"}]
TOOL: dict[str, Any] = {
    "name": "f",
    "description": "d",
    "parameters": {"type": "object", "properties": {}},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a+$"}}}
SEEDS: tuple[tuple[str, object], ...] = (
    (f"{V1}/chat/ernie_speed", {"messages": HI, "temperature": 0.5, "stop": ["x"], "system": "s"}),
    (f"{V1}/chat/completions", {"messages": HI, "functions": [TOOL], "stream": True}),
    (f"{V1}/completions/sqlcoder_7b", {"prompt": "select", "max_output_tokens": 5}),
    (f"{V1}/embeddings/embedding-v1", {"input": ["a", "b"]}),
    (f"{V1}/reranker/bce_reranker_base", {"query": "q", "documents": ["a", "b"], "top_n": 1}),
    (f"{V1}/tokenizer/erniebot", {"prompt": "hi", "model": "ernie-3.5-8k"}),
    ("/v2/chat/completions", {"model": "echo", "messages": HI, "n": 2, "logit_bias": {"1": 2}}),
    (
        "/v2/chat/completions",
        {
            "model": "echo",
            "messages": HI,
            "tools": [{"type": "function", "function": TOOL}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        },
    ),
    ("/v2/chat/completions", {"model": "echo", "messages": HI, "stream": True}),
    ("/v2/completions", {"model": "echo", "prompt": ["a", "b"], "max_tokens": 5}),
    ("/v2/embeddings", {"model": "embedding-v1", "input": "a", "encoding_format": "base64"}),
    ("/v2/rerank", {"model": "bce-reranker-base", "query": "q", "documents": ["a"]}),
)
ACTIONS: tuple[tuple[str, object], ...] = (
    ("/v2/apikey?Action=DescribeApiKeys", {}),
    ("/v2/usage?Action=DescribeUsage", {"startDate": "2026-01-01"}),
    ("/v2/charge?Action=DescribeTPMResource", {"model": "echo"}),
    ("/v2/memory?Action=CreateSystemMemory", {"appId": "a", "description": "d"}),
    ("/v2/memory?Action=DescribeSystemMemories", {"maxKeys": 2, "marker": "0"}),
    (
        "/v2/promptTemplates?Action=CreatePromptTemplate",
        {"templateName": "a", "templateContent": "{one} {two}", "templateVariables": "one,two"},
    ),
    ("/v2/promptTemplates?Action=DescribePromptTemplate", {"templateId": "a@1", "one": "x"}),
    ("/wenxinworkshop/prompt/template/list", {"offset": 0, "pageSize": 2, "labelIds": []}),
)
FORM = b"grant_type=client_credentials&client_id=%s&client_secret=%s"


def damaged(chance: random.Random, data: bytes) -> bytes:
    """`data` with one to eight changes: bytes flipped, cut, doubled, moved, or a piece that breaks parsers put in."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(made) + 1)
        end = min(len(made), at + chance.randint(1, 16))
        match chance.randrange(6):
            case 0:
                made[at:at] = chance.choice(INTERESTING)
            case 1:
                del made[at:end]
            case 2:
                made[at:at] = made[at:end] * chance.randint(1, 8)
            case 3:
                made[at:end] = chance.choice(INTERESTING)
            case 4 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case _:
                made[at:end] = chance.randbytes(end - at)
    return bytes(made)


def fuzz_octets(server: Server, *, calls: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Make so many damaged calls; the same ones for the same seed but for keys and times.

    Returns:
        How many calls of each kind there were, and what was wrong, a line each.
    """
    chance, counts, wrong = random.Random(seed), Counter[str](), list[str]()
    kinds: tuple[tuple[str, Callable[[random.Random, Server], bytes]], ...] = (
        ("body", _body),
        ("header", _header),
        ("signature", _signature),
        ("query", _query),
        ("form", _form),
    )
    for _ in range(calls):
        kind, make = chance.choice(kinds)
        data = make(chance, server)
        counts[kind] += 1
        try:
            status = _status(server, data)
        except (OSError, HTTPException) as error:
            wrong.append(f"{kind}: {error!r} on {data[:1500]!r}")
            continue
        counts[f"{status // 100}xx"] += 1
        if status >= 500:
            wrong.append(f"{kind}: {status} on {data[:1500]!r}")
    return counts, wrong


def _status(server: Server, data: bytes) -> int:
    """Send bytes; the status of the answer, which is read to its end."""
    parts = urlsplit(server.base_url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), SECONDS) as connection:
        # A server that refuses before it has read all closes early; its answer is there to read.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        answer = HTTPResponse(connection)
        answer.begin()
        answer.read()
        return answer.status


def _request(path: bytes, headers: bytes, body: bytes) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\nContent-Length: %d\r\n%b\r\n%b"
        % (path, len(body), headers, body)
    )


def _bearer(server: Server) -> bytes:
    return f"Authorization: Bearer {server.bearer}\r\n".encode()


def _signed(server: Server, path: str) -> bytes:
    headers = sign_request(
        "POST",
        path,
        host="fuzz",
        access_key=server.access_key,
        secret=server.secret_access_key,
    )
    del headers["Host"]
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def _body(chance: random.Random, server: Server) -> bytes:
    if chance.random() < 0.2:
        path, body = chance.choice(ACTIONS)
        headers = _signed(server, path)
    else:
        path, body = chance.choice(SEEDS)
        headers = _bearer(server)
    text = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode()
    return _request(path.encode(), headers, damaged(chance, text))


def _header(chance: random.Random, server: Server) -> bytes:
    path, body = chance.choice(SEEDS)
    more = chance.choice((b"appid: app-12345678\r\n", b"Request_id: abc-1\r\n", b"Accept: */*\r\n"))
    headers = damaged(chance, _bearer(server) + more)
    return _request(path.encode(), headers, json.dumps(body).encode())


def _signature(chance: random.Random, server: Server) -> bytes:
    path, body = chance.choice(ACTIONS)
    return _request(
        path.encode(), damaged(chance, _signed(server, path)), json.dumps(body).encode()
    )


def _query(chance: random.Random, server: Server) -> bytes:
    if chance.random() < 0.5:
        path, body = chance.choice(ACTIONS)
        headers = _signed(server, path)
    else:
        path, body = chance.choice(SEEDS)
        path, headers = f"{path}?access_token=24.{'0' * 48}.2592000.1900000000.282335-1", b""
    head, _, query = path.encode().partition(b"?")
    return _request(head + b"?" + damaged(chance, query), headers, json.dumps(body).encode())


def _form(chance: random.Random, server: Server) -> bytes:
    form = damaged(chance, FORM % (server.api_key.encode(), server.secret_key.encode()))
    if chance.random() < 0.5:
        return _request(b"/oauth/2.0/token?" + form, b"", b"{}")
    headers = b"Content-Type: application/x-www-form-urlencoded\r\n"
    return _request(b"/oauth/2.0/token", headers, form)
