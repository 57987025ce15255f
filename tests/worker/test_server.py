"""A worker's inference calls: on behalf of its job's account, behind live traffic, tried again where that may help."""

from __future__ import annotations

import json

import httpx2
import pytest
from tests.conftest import Server

from yangfan.errors import BearerInvalid, ConnectionFailed, Invalid, Overloaded, TokenInvalid
from yangfan.server.access.secrets import Vault, load_or_create_master_key
from yangfan.server.home import Home
from yangfan.server.jobs.tokens import JobMint
from yangfan.worker.server import ServerLine

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


def line(*answers: httpx2.Response | Exception) -> tuple[ServerLine, list[httpx2.Request]]:
    """A line to a server that gives these answers, and what it is asked."""
    asked: list[httpx2.Request] = []
    waiting = iter(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        found = next(waiting)
        if isinstance(found, Exception):
            raise found
        return found

    transport = httpx2.MockTransport(answer)
    return ServerLine("http://server", "token", patience_seconds=5.0, transport=transport), asked


def refusal(status: int, code: str) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"code": code, "message": "said so"}})


def test_a_busy_platform_is_asked_again_and_a_refusal_is_final():
    busy = refusal(429, "Offline_batch_reasoning_refused")
    server, asked = line(httpx2.ConnectError("no"), busy, httpx2.Response(200, json={"n": 1}))
    assert server.call("/v2/chat/completions", CHAT) == {"n": 1}
    assert [request.headers["authorization"] for request in asked] == ["Job token"] * 3
    assert json.loads(asked[0].content) == CHAT
    server, asked = line(refusal(400, "invalid_argument"))
    with pytest.raises(Invalid, match="said so"):
        server.call("/v2/chat/completions", CHAT)
    assert len(asked) == 1


def test_patience_ends():
    busy = refusal(429, "cluster_rate_limit_exceeded")
    hurried = ServerLine(
        "http://server", "t", patience_seconds=0.0, transport=httpx2.MockTransport(lambda _: busy)
    )
    with pytest.raises(Overloaded, match="said so"):
        hurried.call("/v2/chat/completions", CHAT)

    def broken(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no")

    dead = ServerLine(
        "http://server", "t", patience_seconds=0.0, transport=httpx2.MockTransport(broken)
    )
    with pytest.raises(ConnectionFailed, match="does not answer its worker"):
        dead.call("/v2/chat/completions", CHAT)


def test_a_worker_calls_for_its_jobs_account(echo_server: Server):
    mint = JobMint(Vault(load_or_create_master_key(Home(echo_server.home).master_key)).job_key)
    worker = ServerLine(echo_server.base_url, mint.issue("jb-0123456789abcdef", 1, "app-of-test"))
    answer = worker.call("/v2/chat/completions", CHAT)
    assert answer["choices"][0]["message"]["content"]
    with pytest.raises(Invalid, match="messages"):
        worker.call("/v2/chat/completions", {**CHAT, "messages": []})
    for token in ("job.jb-0123456789abcdef.1.1.00.00", "nonsense"):
        stranger = ServerLine(echo_server.base_url, token, patience_seconds=0.0)
        with pytest.raises((BearerInvalid, TokenInvalid)):
            stranger.call("/v2/chat/completions", CHAT)
        stranger.close()
    worker.close()
