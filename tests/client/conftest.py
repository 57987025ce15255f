"""A real HTTP server that plays back documented replies, and both clients behind one face."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from yangfan import AsyncClient, ChatEvent, Client, YangfanError

if TYPE_CHECKING:
    from yangfan.client._async.stream import AsyncChatStream
    from yangfan.client._sync.stream import ChatStream

WAIT_SECONDS = 5.0
EVENT_STREAM = {"content-type": "text/event-stream"}

V1_ANSWER: dict[str, Any] = {
    "id": "as-0123456789",
    "object": "chat.completion",
    "created": 1700000000,
    "result": "因为 1+1=2。",
    "is_truncated": False,
    "need_clear_history": False,
    "finish_reason": "normal",
    "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
}
V2_ANSWER: dict[str, Any] = {
    "id": "as-0123456789",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "ernie_speed",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "因为 1+1=2。"},
            "finish_reason": "normal",
            "flag": 0,
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
}


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def parameter(self, name: str) -> str | None:
        """The value of a query parameter."""
        return next(iter(parse_qs(self.query).get(name, [])), None)

    def json(self) -> dict[str, Any]:
        """The decoded body."""
        return json.loads(self.body)


@dataclass
class Play:
    """A reply to send: `chunks` go out one by one; an event among them is waited for first."""

    chunks: Sequence[bytes | threading.Event]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    is_cut: bool = False
    waits_for_caller_to_leave: bool = False


class Playback:
    """The server. Replies are played in the order in which they were queued; token requests are answered out of turn."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.gate = threading.Event()
        """Waited for where it stands among the chunks; set at the end of the test."""
        self.caller_left = threading.Event()
        """Set when a caller closes its connection in the middle of an endless reply."""
        self.tokens_issued = 0
        self.expired_tokens: set[str] = set()
        """Calls with one of these access tokens are refused, out of turn."""
        self._queue: queue.SimpleQueue[Play] = queue.SimpleQueue()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"playback": self}))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def calls(self) -> list[Received]:
        """What arrived, token requests left out."""
        return [call for call in self.received if not _is_token_path(call.path)]

    def json(
        self, *documents: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Queue one JSON reply for each document."""
        for document in documents:
            body = json.dumps(document, ensure_ascii=False).encode()
            self.raw(
                body, status=status, headers={"content-type": "application/json", **(headers or {})}
            )

    def raw(
        self,
        *chunks: bytes | threading.Event,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        is_cut: bool = False,
    ) -> None:
        """Queue a reply; status 0 closes the connection instead. `is_cut`: close it before the end."""
        self._queue.put(Play(chunks, status, headers or {}, is_cut))

    def events(
        self,
        *documents: object,
        done: bool = False,
        is_cut: bool = False,
        wait_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Queue a stream of events. `done`: end it as v2 does. `wait_after`: wait for the gate after that many."""
        chunks: list[bytes | threading.Event] = [
            f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()
            for document in documents
        ]
        if done:
            chunks.append(b"data: [DONE]\n\n")
        if wait_after is not None:
            chunks.insert(wait_after, self.gate)
        self.raw(*chunks, is_cut=is_cut, headers={**EVENT_STREAM, **(headers or {})})

    def endless_events(self, *documents: object) -> None:
        """Queue a stream that goes silent after `documents` until the caller leaves."""
        self.events(*documents)
        play = self._queue.get_nowait()
        play.waits_for_caller_to_leave = True
        self._queue.put(play)

    def take(self, received: Received) -> Play:
        """The reply to a request."""
        self.received.append(received)
        if received.path == "/oauth/2.0/token":
            self.tokens_issued += 1
            token = {
                "access_token": f"24.token-{self.tokens_issued}",
                "expires_in": 2592000,
                "refresh_token": "25.r",
                "session_key": "k",
                "session_secret": "s",
                "scope": "public",
            }
            return _json_play(token)
        if received.path == "/v1/BCE-BEARER/token":
            self.tokens_issued += 1
            token = {
                "userId": "u" * 32,
                "token": f"bce-v3/ALTAK-short/{self.tokens_issued}",
                "status": "enable",
                "createTime": "2026-11-22T08:00:00.000Z",
                "expireTime": "2126-11-22T08:00:00.000Z",
            }
            return _json_play(token)
        if received.parameter("access_token") in self.expired_tokens:
            return _json_play({"error_code": 111, "error_msg": "Access token expired"})
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return _json_play({"error": {"code": "test", "message": "nothing left to play"}}, 418)


def _is_token_path(path: str) -> bool:
    return path in {"/oauth/2.0/token", "/v1/BCE-BEARER/token"}


def _json_play(document: object, status: int = 200) -> Play:
    return Play([json.dumps(document).encode()], status, {"content-type": "application/json"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a caller leaves."""


class _Handler(BaseHTTPRequestHandler):
    playback: ClassVar[Playback]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        received = Received(self.command, parts.path, parts.query, self.headers.items(), body)
        play = self.playback.take(received)
        try:
            self._play(play)
        except OSError:
            self.close_connection = True

    def _play(self, play: Play) -> None:
        if play.status == 0:
            self.close_connection = True
            return
        self.send_response(play.status)
        for name, value in play.headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in play.chunks:
            if isinstance(chunk, threading.Event):
                chunk.wait(WAIT_SECONDS)
            else:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if play.is_cut:
            self.close_connection = True
        elif play.waits_for_caller_to_leave:
            self.connection.settimeout(WAIT_SECONDS)
            # A caller that leaves bytes unread resets the connection instead of ending it.
            with contextlib.suppress(ConnectionResetError):
                self.connection.recv(1)
            self.playback.caller_left.set()
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


class Both:
    """One client, sync or async, driven the same way."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client
        self.waits: list[float] = []
        transport = cast("Any", client)._session.transport
        transport.sleep = self._sleep if isinstance(client, Client) else self._async_sleep

    async def of(self, value: Any) -> Any:
        """What a call of either client returns."""
        return await value if inspect.isawaitable(value) else value

    async def chat(
        self, messages: Any = "1加1为什么等于2?", *, model: str = "ernie_speed", **options: Any
    ) -> Any:
        """`client.chat(…)`."""
        return await self.of(self.client.chat(messages, model=model, **options))

    async def events_until_failure(
        self, stream: ChatStream | AsyncChatStream
    ) -> tuple[list[ChatEvent], YangfanError | None]:
        """The events of a stream and the error that it ended with."""
        seen: list[ChatEvent] = []
        try:
            if hasattr(stream, "__aiter__"):
                async for event in cast("AsyncChatStream", stream):
                    seen.append(event)  # noqa: PERF401 - what came before the error is wanted
            else:
                for event in cast("ChatStream", stream):
                    seen.append(event)  # noqa: PERF402 - as above
        except YangfanError as error:
            return seen, error
        return seen, None

    async def events(self, stream: ChatStream | AsyncChatStream) -> list[ChatEvent]:
        """Every event of a stream."""
        if hasattr(stream, "__aiter__"):
            return [event async for event in cast("AsyncChatStream", stream)]
        return list(cast("ChatStream", stream))

    async def close(self) -> None:
        await self.of(self.client.close())

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def _async_sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


Connect = Callable[..., Both]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine's reaches the client."""
    for name in list(os.environ):
        if name.startswith(("YANGFAN_", "QIANFAN_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def playback() -> Generator[Playback]:
    """The server, with nothing to play yet."""
    server = Playback()
    yield server
    server.close()


@pytest.fixture
def v1_answer() -> dict[str, Any]:
    """A documented v1 reply."""
    return json.loads(json.dumps(V1_ANSWER))


@pytest.fixture
def v2_answer() -> dict[str, Any]:
    """A documented v2 reply."""
    return json.loads(json.dumps(V2_ANSWER))


@pytest.fixture(params=["sync", "async"])
async def connect(request: pytest.FixtureRequest, playback: Playback) -> AsyncGenerator[Connect]:
    """Make a client at the playback server; closed at the end."""
    kind = Client if request.param == "sync" else AsyncClient
    made: list[Both] = []

    def make(base_url: str | None = playback.url, **arguments: Any) -> Both:
        both = Both(kind(base_url, **arguments))
        made.append(both)
        return both

    yield make
    for both in made:
        await both.close()
