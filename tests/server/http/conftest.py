"""A gateway of a test's own behind the real listener, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from yangfan.protocol.endpoint import Auth, Dialect, Endpoint
from yangfan.server.http import Call, Gateway, Principal, Reply, Route, Stream
from yangfan.server.http.listener import ReadLimits, bind, listener_for

WAIT_SECONDS = 5.0
MAX_BODY_BYTES = 10_000


class Question(msgspec.Struct):
    """What a test endpoint takes."""

    text: str = ""


class Answer(msgspec.Struct):
    """What a test endpoint gives."""

    text: str


Handle = Callable[[Call[Question]], Any]


def endpoint(
    path: str = "/v2/ask",
    *,
    name: str = "",
    dialect: Dialect = "v2",
    auth: Auth = "none",
    method: Any = "POST",
    action: str | None = None,
    aliases: tuple[str, ...] = (),
) -> Endpoint[Question, Answer]:
    """An endpoint that takes a Question."""
    return Endpoint(
        name=name or f"test{path}{action or ''}",
        dialect=dialect,
        method=method,
        path=path,
        request=Question,
        reply=Answer,
        stream=Answer,
        auth=auth,
        action=action,
        aliases=aliases,
    )


async def repeat(call: Call[Question]) -> Reply:
    """Answer with the question."""
    return Reply(Answer(call.request.text))


def streaming(events: Callable[[], AsyncIterator[Answer]]) -> Handle:
    """A handler that streams."""

    async def handle(call: Call[Question]) -> Stream:
        return Stream(events())

    return handle


@dataclass(frozen=True)
class Heard:
    """One answer: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection to the site."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes | str) -> None:
        self.writer.write(data if isinstance(data, bytes) else data.encode())

    def ask(
        self,
        path: str = "/v2/ask",
        body: str = "{}",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body.encode())}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", body]))

    async def hear(self, *, head_only: bool = False) -> Heard:
        """Read one answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            fields = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in fields}
            body = b""
            if head_only:
                pass
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                while chunk := await self.chunk():
                    body += chunk
        return Heard(int(head[0].split()[1]), headers, body)

    async def chunk(self) -> bytes:
        """Read the next chunk of a chunked body, b"" at its end."""
        async with asyncio.timeout(WAIT_SECONDS):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        return data

    async def rest(self) -> bytes:
        """Read until the other side closes."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.reader.read()


class Site:
    """A gateway that listens."""

    def __init__(self, port: int, lines: AsyncExitStack) -> None:
        self.port = port
        self._lines = lines

    async def connect(self) -> Line:
        """Open a connection, closed at the end of the test."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._lines.callback(writer.close)
        return Line(reader, writer)

    async def ask(self, *args: Any, **given: Any) -> Heard:
        """One request on a connection of its own."""
        line = await self.connect()
        line.ask(*args, **given)
        return await line.hear(head_only=given.get("method") == "HEAD")


def allow(_scope: object, _auth: Auth) -> Principal:
    """Let anybody in."""
    return Principal("key", "app", "bearer")


@asynccontextmanager
async def listening(app: Any, limits: ReadLimits | None = None) -> AsyncGenerator[Site]:
    """Serve an ASGI application with the real listener, without its loop that looks ten times a second whether to end."""
    socket = bind("127.0.0.1", 0)
    listener = listener_for(app, limits or ReadLimits(4096, 60.0))
    listener.config.load()
    listener.lifespan = listener.config.lifespan_class(listener.config)
    await listener.startup(sockets=[socket])
    try:
        async with AsyncExitStack() as lines:
            yield Site(socket.getsockname()[1], lines)
    finally:
        for server in listener.servers:
            server.close()
        async with asyncio.timeout(WAIT_SECONDS):
            while listener.server_state.connections or listener.server_state.tasks:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.001)


OpenSite = Callable[..., Any]


@pytest.fixture
async def open_site() -> AsyncGenerator[OpenSite]:
    """A function that serves routes until the test ends: `await open_site(routes, limits=…, **gateway_arguments)`."""
    async with AsyncExitStack() as sites:

        async def begin(
            routes: Iterable[Route], *, limits: ReadLimits | None = None, **given: Any
        ) -> Site:
            given.setdefault("authenticate", allow)
            given.setdefault("max_body_bytes", MAX_BODY_BYTES)
            return await sites.enter_async_context(listening(Gateway(routes, **given), limits))

        yield begin
