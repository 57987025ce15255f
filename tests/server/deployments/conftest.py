"""A real server whose services are echo engines, and the Actions on them."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller, Reply
from tests.server.deployments.platform import Platform, without_a_server

WAIT_SECONDS = 60.0
"""For engines to come up: processes, on a machine that has other things to do."""

MEMORY_BYTES = 1_000_000_000
ENGINE_BYTES = 100_000_000


class Console:
    """Signed Actions of /v2/service, and calls to what they made."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.caller = Caller(server)

    def ask(self, action: str, **body: Any) -> Reply:
        """One Action, however it ends."""
        path = f"/v2/service?Action={action}"
        return self.caller.ask("POST", path, body, self.caller.signed("POST", path))

    def act(self, action: str, **body: Any) -> Any:
        """The result of an Action that must succeed."""
        reply = self.ask(action, **body)
        assert reply.status == 200, reply.body
        return reply.json["result"]

    def v1(self, path: str, **body: Any) -> Any:
        """The reply of /wenxinworkshop/service/PATH."""
        path = f"/wenxinworkshop/service/{path}"
        return self.caller.ask("POST", path, body, self.caller.signed("POST", path)).json

    def create(self, suffix: str, *, model: str = "echo", wait: bool = True, **more: Any) -> str:
        """Make a service; its id, once it serves."""
        more.setdefault("memoryBytes", ENGINE_BYTES)
        made = self.act("CreateService", modelId=model, urlSuffix=suffix, **more)
        if wait:
            self.wait(suffix, "Serving")
        return made["serviceId"]

    def show(self, suffix: str) -> Any:
        """The service of a suffix."""
        return self.act("DescribeService", serviceId=suffix)

    def wait(self, suffix: str, status: str) -> Any:
        """Wait until a service has a status."""
        wait_until(
            lambda: self.show(suffix)["runStatus"] == status, f"{suffix} {status}", WAIT_SECONDS
        )
        return self.show(suffix)

    def until(self, suffix: str, condition: Callable[[Any], object]) -> Any:
        """Wait until something is true of a service."""
        wait_until(lambda: condition(self.show(suffix)), f"{suffix}", WAIT_SECONDS)
        return self.show(suffix)

    def events(self, suffix: str) -> list[str]:
        """The kinds of what happened to a service."""
        found = self.act("DescribeServiceEvents", serviceId=suffix)["eventList"]
        return [event["kind"] for event in found]

    def chat(self, suffix: str, text: str = "hi", **more: Any) -> Reply:
        """A v2 chat call."""
        body = {"model": suffix, "messages": [{"role": "user", "content": text}]}
        return self.caller.v2({**body, **more})

    def says(self, suffix: str, text: str = "hi") -> str:
        """The answer to a v2 chat call that must succeed."""
        reply = self.chat(suffix, text)
        assert reply.status == 200, reply.body
        return reply.json["choices"][0]["message"]["content"]


class Load:
    """Calls that never pause, of whole replies and of streams in turns, from several callers, and how they ended.

    Args:
        console: Where they go.
        suffix: The service.
        callers: How many.
        more: Further fields of every call.
    """

    def __init__(self, console: Console, suffix: str, callers: int = 3, **more: Any) -> None:
        self._console, self._suffix, self._more = console, suffix, more
        self._ending = threading.Event()
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._call, args=(number,)) for number in range(callers)
        ]

    def _call(self, number: int) -> None:
        turn = number
        while not self._ending.is_set():
            turn += 1
            try:
                if turn % 2:
                    reply = self._console.chat(self._suffix, **self._more)
                    if reply.status != 200:
                        self.failures.append(reply.body.decode())
                        continue
                    self.answers.append(reply.json["choices"][0]["message"]["content"])
                else:
                    self.answers.append(self._streamed())
            except Exception as error:  # noqa: BLE001 - every failure counts
                self.failures.append(repr(error))

    def _streamed(self) -> str:
        body = {
            "model": self._suffix,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            **self._more,
        }
        text, ended = "", False
        for event in self._console.caller.stream("/v2/chat/completions", body):
            if "error" in event:
                raise RuntimeError(str(event))
            for choice in event["choices"]:
                text += choice["delta"].get("content") or ""
                ended = choice["finish_reason"] is not None
        assert ended
        return text

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, answer: str, count: int = 5) -> None:
        """Wait until an answer came so often."""
        before = self.answers.count(answer)
        wait_until(
            lambda: self.answers.count(answer) >= before + count,
            f"answers {answer!r}",
            WAIT_SECONDS,
        )


@contextmanager
def under_load(console: Console, suffix: str, callers: int = 3, **more: Any) -> Generator[Load]:
    """Calls go on during the block."""
    load = Load(console, suffix, callers, **more)
    load.start()
    try:
        yield load
    finally:
        load.stop()


LIMITS: Mapping[str, str] = {
    "YANGFAN_SERVICES_MEMORY_BYTES": str(MEMORY_BYTES),
    "YANGFAN_FIRST_BYTE_TIMEOUT_SECONDS": "30",
}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Generator[Console]:
    """A server with echo, whose services may have 1 GB; at the end nothing went wrong in it."""
    with serving(tmp_path_factory.mktemp("services"), environ=LIMITS) as server:
        yield Console(server)
        log = (server.home / "logs" / "server.log").read_text("utf-8")
        assert "handler failed" not in log
        assert "Traceback" not in log, log[-5000:]


def engines_of(console: Console, service_id: str) -> list[int]:
    """The processes that work for a service: each has a folder of its own."""
    folder = str(console.server.home / "engines" / "services" / service_id)
    server = console.server.pid
    found: list[int] = []
    for word in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        with suppress(OSError):
            if str(Path(f"/proc/{word}/cwd").readlink()).startswith(folder):
                found.append(int(word))
    return found


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncGenerator[Platform]:
    """Services without a server."""
    async with without_a_server(tmp_path) as platform:
        yield platform
