"""One key floods a real server in both dialects: it is refused at once, and another key's calls go through."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from tests.conftest import serving, wait_until
from tests.server.conftest import Caller, Reply
from tests.server.usage.conftest import Holder, granted

FLOOD = 40


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Generator[Caller]:
    """A server that answers one call at a time, each in about a fifth of a second."""
    environ = {
        "YANGFAN_SLOTS": "1",
        "YANGFAN_MAX_WAITING_PER_KEY": "8",
        "YANGFAN_ECHO_DELAY_SECONDS": "0.05",
    }
    with serving(tmp_path_factory.mktemp("busy"), environ=environ) as server:
        yield Caller(server)


def ask(holder: Holder, *, v1: bool) -> Reply:
    return holder.v1("echo") if v1 else holder.v2()


def said_no(reply: Reply) -> bool:
    return "error" in reply.json or "error_code" in reply.json


@pytest.mark.parametrize("v1", [False, True])
def test_flooding_key_is_refused_and_the_other_is_served(busy: Caller, v1: bool):
    greedy, modest = granted(busy), granted(busy)

    def full() -> bool:
        slots = busy.ask("GET", "/healthz").json["models"]["echo"]["slots"]
        return slots["busy"] == slots["total"] == 1

    with ThreadPoolExecutor(FLOOD) as pool:
        flood = [pool.submit(ask, greedy, v1=v1) for _ in range(FLOOD)]
        wait_until(full, "a full engine")
        polite = [ask(modest, v1=v1) for _ in range(3)]
        replies = [call.result() for call in flood]
    assert not any(map(said_no, polite))
    refused = [reply for reply in replies if said_no(reply)]
    assert len(refused) >= FLOOD // 2
    assert len(refused) < FLOOD
    for reply in refused:
        assert int(reply.headers["Retry-After"]) >= 1
        if v1:
            assert (reply.status, reply.json["error_code"]) == (200, 336100)
            assert "this key already has 8 calls waiting" in reply.json["error_msg"]
        else:
            assert (reply.status, reply.json["error"]["code"]) == (
                429,
                "cluster_rate_limit_exceeded",
            )


LOW: list[dict[str, Any]] = [
    {"preemptible": True},
    {"preemptable": True, "stream": True},
    {"model": "ernie-3.5-8k-preemptible"},
]


def test_preemptible_calls_wait_for_all_others(busy: Caller):
    holder = granted(busy)
    ended: list[str] = []
    long = [{"role": "user", "content": "hi " * 60}]

    def full() -> bool:
        return busy.ask("GET", "/healthz").json["models"]["echo"]["slots"]["busy"] == 1

    with ThreadPoolExecutor(8) as pool:

        def send(name: str, **body: Any) -> Future[None]:
            def call() -> None:
                reply = holder.v2(**body)
                assert reply.status == 200, reply.body
                ended.append(name)

            return pool.submit(call)

        calls = [send("first", messages=long)]
        wait_until(full, "a full engine")
        calls += [send("low", **body) for body in LOW]
        calls += [send("other") for _ in range(3)]
        for call in calls:
            call.result()
    assert ended == ["first"] + ["other"] * 3 + ["low"] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_preemptible_calls_without_a_turn_have_a_code_of_their_own(busy: Caller, stream: bool):
    holder = granted(busy)
    long = [{"role": "user", "content": "hi " * 60}]
    low: dict[str, Any] = {"model": "ernie-3.5-8k-preemptible", "stream": stream}

    def full() -> bool:
        return busy.ask("GET", "/healthz").json["models"]["echo"]["slots"]["busy"] == 1

    with ThreadPoolExecutor(24) as pool:
        first = pool.submit(holder.v2, messages=long)
        wait_until(full, "a full engine")
        replies = [pool.submit(holder.v2, **low) for _ in range(8)]
        wait_until(lambda: waiting(busy) == 8, "a full queue of the key")
        v1 = holder.v1("completions_preemptible", stream=stream)
        v2 = holder.v2(**low)
        assert first.result().status == 200
        assert {call.result().status for call in replies} == {200}
    assert (v1.status, v1.json["error_code"]) == (200, 336503)
    text = "rate limit reached for preemptible resource: this key already has 8 calls waiting"
    assert v1.json["error_msg"].startswith(text)
    error = v2.json["error"]
    assert (v2.status, error["code"]) == (429, "preemptible_rate_limit_exceeded")
    assert error["type"] == "rate_limit_exceeded"
    assert "without preemptible" in error["message"]
    for refused in (v1, v2):
        assert int(refused.headers["Retry-After"]) >= 1


def test_v1_preemptible_calls_wait_for_all_others(busy: Caller):
    holder = granted(busy)
    ended: list[str] = []
    long = [{"role": "user", "content": "hi " * 60}]

    def call(name: str, model: str, **fields: Any) -> None:
        reply = holder.v1(model, **fields)
        assert b"error_code" not in reply.body
        ended.append(name)

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call, "first", "echo", messages=long)]
        wait_until(
            lambda: busy.ask("GET", "/healthz").json["models"]["echo"]["slots"]["busy"] == 1,
            "a full engine",
        )
        names = ("completions_preemptible", "completions_pro_preemptible")
        calls += [pool.submit(call, "low", model) for model in names]
        calls.append(pool.submit(call, "low", "completions_preemptible", stream=True))
        wait_until(lambda: waiting(busy) == 3, "a queue")
        calls += [pool.submit(call, "other", "ernie_speed") for _ in range(3)]
        for one in calls:
            one.result()
    assert ended == ["first"] + ["other"] * 3 + ["low"] * 3


def waiting(caller: Caller) -> int:
    """Calls in the queue, as the metrics tell."""
    lines = caller.ask("GET", "/metrics").body.decode().splitlines()
    (line,) = (line for line in lines if line.startswith("yangfan_model_waiting{"))
    return int(float(line.split()[-1]))
