"""Many callers at once, callers that leave, engines that fail, and kill -9: limits hold and the ledger adds up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller, Reply
from tests.server.usage.conftest import V2_CHAT, Grant, Holder, granted, used

CLIENTS = 64
QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "a b c d e f g h i j"}],
    "max_tokens": 5,
}
CALL_TOKENS = 12 + 5
"""The prompt to the echo model and the longest answer: exactly what a call reserves and uses."""


def all_at_once(call: Callable[[], Reply]) -> list[Reply]:
    """What 64 callers get who start together."""
    gate = threading.Barrier(CLIENTS)

    def one(_number: int) -> Reply:
        gate.wait()
        return call()

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(one, range(CLIENTS)))


def tokens_of(replies: list[Reply]) -> int:
    return sum(reply.json["usage"]["total_tokens"] for reply in replies if reply.status == 200)


@pytest.mark.parametrize("limit", ["dailyTokens", "totalTokens"])
@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_many_callers_never_use_one_token_more_than_the_quota(
    grant: Grant, limit: str, dialect: str
):
    quota = 10 * CALL_TOKENS + 3
    holder = grant(**{limit: quota})
    messages = QUESTION["messages"]
    if dialect == "v1":
        replies = all_at_once(lambda: holder.v1("echo", messages=messages, max_output_tokens=5))
        refused = [reply for reply in replies if "error_code" in reply.json]
    else:
        replies = all_at_once(lambda: holder.v2(**QUESTION))
        refused = [reply for reply in replies if reply.status == 403]
    served = [reply for reply in replies if reply not in refused]
    assert len(served) == 10
    assert tokens_of(served) == 10 * CALL_TOKENS
    assert holder.used() == {"requests": 10, "totalTokens": 10 * CALL_TOKENS}


def test_many_callers_never_use_more_than_the_limits_of_a_minute(grant: Grant):
    holder, started = grant(rpm=30, tpm=200), time.monotonic()
    replies = all_at_once(lambda: holder.v2(**QUESTION))
    minutes = (time.monotonic() - started) / 60
    assert {reply.status for reply in replies} == {200, 429}
    assert CALL_TOKENS * 11 <= tokens_of(replies) <= 200 * (1 + minutes)


# Callers that leave, engines that fail


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Generator[Caller]:
    """A server whose model takes a twentieth of a second for each token."""
    home = tmp_path_factory.mktemp("slow")
    environ = {"YANGFAN_ECHO_DELAY_SECONDS": "0.05", "YANGFAN_MODEL_TPM": "100000"}
    with serving(home, environ=environ) as server:
        yield Caller(server)


LONG = {"model": "echo", "messages": [{"role": "user", "content": "word " * 100}], "stream": True}


def begin(holder: Holder, **body: Any) -> Any:
    """A call that has been sent; the answer is still to come."""
    import http.client
    import json

    connection = http.client.HTTPConnection(holder.caller.host, holder.caller.port, timeout=10)
    headers = {"Authorization": f"Bearer {holder.secret}"}
    connection.request("POST", V2_CHAT, json.dumps({**LONG, **body}), headers)
    return connection


def test_caller_that_leaves_a_stream_pays_for_what_was_generated(slow: Caller):
    holder = granted(slow, totalTokens=10_000)
    with closing(begin(holder)) as connection, connection.getresponse() as response:
        for _ in range(5):
            response.readline()
    wait_until(lambda: holder.used()["requests"] == 1, "the call to be booked")
    tokens = holder.used()["totalTokens"]
    assert 101 < tokens < 150, "the prompt and a few tokens, not a hundred"
    assert holder.v2(max_tokens=10_000 - tokens - 3).status == 200, "all the rest can be reserved"


def test_caller_that_leaves_before_a_whole_answer_frees_what_was_reserved(slow: Caller):
    holder = granted(slow, totalTokens=1000)
    with closing(begin(holder, stream=False, max_tokens=500)):
        wait_until(lambda: holder.v2(max_tokens=900).status == 403, "the tokens to be held")
    wait_until(lambda: holder.v2(max_tokens=900).status == 200, "the tokens to be free again")


# kill -9


def test_usage_adds_up_after_kill_9_in_the_middle_of_calls(tmp_path: Path):
    home, told = tmp_path / "home", list[int]()
    with serving(home) as server:
        caller = Caller(server)
        holder = granted(caller, totalTokens=10_000)

        def call_until_killed() -> None:
            while True:
                try:
                    reply = holder.v2(**QUESTION)
                except OSError:
                    return
                told.append(reply.json["usage"]["total_tokens"])

        callers = [threading.Thread(target=call_until_killed) for _ in range(8)]
        for thread in callers:
            thread.start()
        wait_until(lambda: len(told) > 200, "some calls to be answered", 30.0)
        kill(server)
        for thread in callers:
            thread.join(20.0)
    with serving(home) as server:
        caller = Caller(server)
        counted = used(caller, holder.key_id)
        assert sum(told) <= counted["totalTokens"] <= sum(told) + 8 * CALL_TOKENS
        assert len(told) <= counted["requests"] <= len(told) + 8
        again = Holder(caller, holder.key_id, holder.secret)
        left = 10_000 - counted["totalTokens"]
        assert again.v2(max_tokens=left).status == 403, "the quota remembers as well"
        kill(server)
    with serving(home) as server:
        assert used(Caller(server), holder.key_id) == counted, "and nothing is counted twice"


def kill(server: Server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(10.0)
