"""What happens when an engine dies or a client leaves, with the real model under load."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import yangfan

if TYPE_CHECKING:
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

pytestmark = pytest.mark.model

SLOTS = 3
MODEL = "smollm2-135m-instruct"
NEVER_END = {"2": -100.0}
"""Token 2 ends an answer of this model; without it, an answer runs to its limit."""


@pytest.fixture
def server(
    start_server: Callable[..., Any], tmp_path: Path, model_cache: Path, model_path: Path
) -> Generator[Server]:
    """A server of its own, because its engine is going to be killed."""
    assert model_path.is_file()
    with start_server(
        tmp_path / "home",
        models=(MODEL,),
        options=("--slots", str(SLOTS)),
        environ={"YANGFAN_MODEL_STORE": str(model_cache)},
    ) as started:
        yield started


def _health(server: Server) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{server.base_url}/healthz", timeout=10) as reply:
            return json.load(reply)["models"][MODEL]
    except urllib.error.HTTPError as error:
        return json.load(error)["models"][MODEL]


def _engine_pids(server: Server) -> list[int]:
    children = Path(f"/proc/{server.pid}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    return [pid for pid in pids if b"llama_cpp" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_killing_the_engine_under_load_loses_only_what_was_being_streamed(
    server: Server, wait_until: Callable[..., None]
) -> None:
    begun = threading.Semaphore(0)

    def long_stream(version: int) -> str:
        credentials: dict[str, Any] = (
            {"bearer": server.bearer}
            if version == 2
            else {"api_key": server.api_key, "secret_key": server.secret_key}
        )
        with yangfan.Client(server.base_url, max_retries=0, **credentials) as client:
            endless: dict[str, Any] = {"logit_bias": NEVER_END} if version == 2 else {}
            try:
                with client.chat(
                    "Write a very long story about the sea, with many chapters.",
                    model=MODEL,
                    max_output_tokens=2000,
                    stream=True,
                    **endless,
                ) as stream:
                    for number, _ in enumerate(stream):
                        if number == 0:
                            begun.release()
            except yangfan.errors.EngineFailed as error:
                return type(error).__name__
            return "ended"

    def short_answer(streamed: bool) -> str:
        with yangfan.Client(server.base_url, bearer=server.bearer, max_retries=0) as client:
            if not streamed:
                return client.chat("Hello", model=MODEL, max_output_tokens=4).text
            with client.chat("Hello", model=MODEL, max_output_tokens=4, stream=True) as stream:
                return "".join(event.text for event in stream)

    with ThreadPoolExecutor(16) as threads:
        streams = [threads.submit(long_stream, version) for version in (1, 2, 2)]
        for _ in streams:
            assert begun.acquire(timeout=60)
        waiting = [threads.submit(short_answer, streamed) for streamed in (False, True) * 3]
        (engine,) = _engine_pids(server)
        os.kill(engine, signal.SIGKILL)
        outcomes = [stream.result(timeout=90) for stream in streams]
        answers = [answer.result(timeout=90) for answer in waiting]

    assert outcomes == ["EngineFailed"] * 3
    assert all(answers)
    wait_until(lambda: _health(server)["ready"], "the engine to be back", 30)
    assert _health(server)["restarts"] == 1
    assert _engine_pids(server) != [engine]
    assert short_answer(streamed=True)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_frees_its_slot(
    server: Server, wait_until: Callable[..., None], streamed: bool
) -> None:
    address = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Count to a thousand: 1, 2, 3,"}],
        "max_tokens": 4000,
        "logit_bias": NEVER_END,
        "stream": streamed,
    }
    headers = {"Authorization": f"Bearer {server.bearer}", "Content-Type": "application/json"}
    connection.request("POST", "/v2/chat/completions", json.dumps(body), headers)
    if streamed:
        assert connection.getresponse().readline().startswith(b"data: ")
    wait_until(lambda: _health(server)["slots"]["busy"] == 1, "the generation to run", 30)

    connection.close()

    wait_until(lambda: _health(server)["slots"]["busy"] == 0, "the slot to be free", 30)
    assert _health(server)["restarts"] == 0
