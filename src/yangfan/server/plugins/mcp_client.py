"""Somebody else's MCP server: asked for its tools, and to run one; over streamable HTTP through the guard, or as a program that the operator listed.

Each use is a short session of its own: initialize, one question, end. So nothing of a server is kept alive, and a broken one breaks one call.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import itertools
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from yangfan.computing import environment_of_strangers
from yangfan.errors import BadReply, FetchError, PluginFailed, SourceUnavailable
from yangfan.protocol import mcp, sse
from yangfan.server.plugins.operations import Told, clipped
from yangfan.server.plugins.tools import (
    MAX_DESCRIPTION_CHARS,
    MAX_SCHEMA_BYTES,
    MAX_TOOLS,
    Tool,
    tool_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from yangfan.egress import Egress, Response

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
MAX_PAGES: Final = 16
STOP_SECONDS: Final = 2.0

_messages = msgspec.json.Decoder(mcp.Message)


class Transport(Protocol):
    """The way to a server."""

    async def ask(self, message: Mapping[str, Any], request_id: int | None) -> mcp.Message | None:
        """Send a message; the answer to it if it has an id."""
        ...


class HTTPTransport:
    """Streamable HTTP: each message is a POST; its answer is JSON or a stream of events.

    Args:
        egress: The guard.
        url: Of the server.
        headers: Who asks.
        timeout_seconds: Of one message.
    """

    def __init__(
        self, egress: Egress, url: str, headers: Mapping[str, str], timeout_seconds: float
    ) -> None:
        self._egress = egress
        self._url = url
        self._own = dict(headers)
        self._timeout_seconds = timeout_seconds
        self._session: dict[str, str] = {}

    def agreed(self, version: str) -> None:
        """The version of all further messages."""
        self._session[mcp.PROTOCOL_HEADER] = version

    async def ask(self, message: Mapping[str, Any], request_id: int | None) -> mcp.Message | None:
        """Send a message; the answer to it if it has an id.

        Raises:
            FetchError: The guard refuses the address, or there is no usable answer.
        """
        headers = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            **self._session,
            **self._own,
        }
        async with self._egress.open(
            self._url,
            max_bytes=MAX_MESSAGE_BYTES,
            headers=headers,
            method="POST",
            content=msgspec.json.encode(message),
            timeout_seconds=self._timeout_seconds,
            private=self._own,
        ) as response:
            session = response.headers.get(mcp.SESSION_HEADER, "")
            if session and session.isascii() and session.isprintable():
                self._session[mcp.SESSION_HEADER] = session[:1024]
            if request_id is None:
                return None
            if response.status != 200:
                raise SourceUnavailable(f"the MCP server answered HTTP {response.status}")
            return await _answer_in(response, request_id)

    async def end(self) -> None:
        """Tell the server that the session is over, if it keeps one."""
        if mcp.SESSION_HEADER not in self._session:
            return
        with contextlib.suppress(FetchError):
            async with self._egress.open(
                self._url,
                max_bytes=MAX_MESSAGE_BYTES,
                headers={**self._session, **self._own},
                method="DELETE",
                timeout_seconds=STOP_SECONDS,
                private=self._own,
            ):
                pass


class ProcessTransport:
    """A program that speaks over its standard input and output, one message a line.

    Args:
        process: The program.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def agreed(self, version: str) -> None:
        """Nothing to say here."""

    async def ask(self, message: Mapping[str, Any], request_id: int | None) -> mcp.Message | None:
        """Send a message; the answer to it if it has an id.

        Raises:
            SourceUnavailable: The program ended, or wrote what is no message.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(message) + b"\n")
            await process.stdin.drain()
            while request_id is not None:
                line = await process.stdout.readline()
                if not line:
                    raise SourceUnavailable("the program of the MCP server ended without an answer")
                answer = _message(line)
                if answer is not None and answer.id == request_id and not answer.method:
                    return answer
        except (OSError, ValueError) as error:
            raise SourceUnavailable(f"the program of the MCP server: {error}") from error
        return None


class Session:
    """An open session with a server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._ids = itertools.count(1)

    async def begin(self) -> tuple[str, str]:
        """Shake hands; name of the server and version of the protocol.

        Raises:
            FetchError: There is no usable answer.
            BadReply: The server speaks a version that nobody here knows.
        """
        client = {"name": "yangfan", "version": importlib.metadata.version("yangfan")}
        result = await self.ask(
            "initialize",
            {"protocolVersion": mcp.VERSIONS[-1], "capabilities": {}, "clientInfo": client},
        )
        version = result.get("protocolVersion")
        if version not in mcp.VERSIONS:
            raise BadReply(f"the MCP server speaks {str(version)[:32]!r}, which is not known here")
        await self._transport.ask({"jsonrpc": "2.0", "method": "notifications/initialized"}, None)
        try:
            name = msgspec.convert(result.get("serverInfo", {}), mcp.Implementation).name
        except msgspec.ValidationError:
            name = ""
        return name[:200], str(version)

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a request.

        Raises:
            FetchError: There is no usable answer.
            PluginFailed: The server refuses.
        """
        number = next(self._ids)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)}
        answer = await self._transport.ask(message, number)
        if answer is None or (answer.result is None and answer.error is None):
            raise BadReply("the MCP server gave no answer")
        if answer.error is not None:
            raise PluginFailed(f"the MCP server refuses {method}: {answer.error.message[:500]}")
        return answer.result or {}


@contextlib.asynccontextmanager
async def over_http(
    egress: Egress, url: str, headers: Mapping[str, str], timeout_seconds: float
) -> AsyncGenerator[tuple[Session, str]]:
    """A session over HTTP, and the server's name. Raises as `Session.begin` does."""
    transport = HTTPTransport(egress, url, headers, timeout_seconds)
    session = Session(transport)
    try:
        name, version = await session.begin()
        transport.agreed(version)
        yield session, name
    finally:
        await transport.end()


@contextlib.asynccontextmanager
async def over_pipe(
    command: Sequence[str], timeout_seconds: float
) -> AsyncGenerator[tuple[Session, str]]:
    """A session with a program that ends with it. Raises as `Session.begin` does."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=MAX_MESSAGE_BYTES,
            start_new_session=True,
            env=environment_of_strangers(),
        )
    except OSError as error:
        raise SourceUnavailable(f"{command[0]} does not start: {error.strerror}") from None
    session = Session(ProcessTransport(process))
    try:
        async with asyncio.timeout(timeout_seconds):
            name, _ = await session.begin()
            yield session, name
    except TimeoutError:
        raise SourceUnavailable(f"the MCP server took longer than {timeout_seconds:g} s") from None
    finally:
        await _ended(process)


async def tools_of(session: Session) -> list[Tool]:
    """Every tool that a server lists.

    Raises:
        FetchError: There is no usable answer.
        PluginFailed: The server refuses.
        BadReply: Its list is none, or too long.
    """
    tools: dict[str, Tool] = {}
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        result = await session.ask("tools/list", {} if cursor is None else {"cursor": cursor})
        try:
            page = msgspec.convert(result, mcp.ToolPage)
        except msgspec.ValidationError as error:
            raise BadReply(f"the MCP server's list of tools is none: {error}") from None
        for listed in page.tools:
            if len(msgspec.json.encode(listed.input_schema)) > MAX_SCHEMA_BYTES:
                continue
            if len(tools) >= MAX_TOOLS:
                raise BadReply(f"the MCP server has more than {MAX_TOOLS} tools")
            name = tool_name(listed.name, tools)
            tools[name] = Tool(
                name=name,
                description=listed.description[:MAX_DESCRIPTION_CHARS],
                inputs=listed.input_schema or {"type": "object", "properties": {}},
                path=listed.name,
            )
        cursor = page.next_cursor
        if not cursor:
            break
    return list(tools.values())


async def call_tool(session: Session, tool: Tool, inputs: Mapping[str, Any]) -> Told:
    """What a tool gives.

    Raises:
        FetchError: There is no usable answer.
        PluginFailed: The server refuses.
        BadReply: What it gives is none.
    """
    result = await session.ask("tools/call", {"name": tool.path, "arguments": dict(inputs)})
    try:
        given = msgspec.convert(result, mcp.ToolResult)
    except msgspec.ValidationError as error:
        raise BadReply(f"what the MCP server's tool gives is none: {error}") from None
    pieces = [_piece(content) for content in given.content]
    if not any(pieces) and given.structured_content is not None:
        pieces = [msgspec.json.encode(given.structured_content).decode()]
    return Told(clipped("\n".join(filter(None, pieces))), failed=given.is_error)


def _piece(content: mcp.Content) -> str:
    if content.type == "text":
        return content.text
    if content.type == "resource" and isinstance(content.resource.get("text"), str):
        return content.resource["text"]
    return f"({content.type[:32]} {content.name or content.uri})".replace(" )", ")")


async def _answer_in(response: Response, request_id: int) -> mcp.Message:
    """The answer to a request out of a body or a stream, which may tell of other things before."""
    if response.headers.get("content-type", "").startswith(sse.CONTENT_TYPE):
        decoder = sse.Decoder(MAX_MESSAGE_BYTES)
        async for chunk in response.iter_bytes():
            for event in decoder.feed(chunk):
                found = _message(event.data) if event.data else None
                if found is not None and found.id == request_id and not found.method:
                    return found
        raise SourceUnavailable("the MCP server's stream ended without an answer")
    found = _message(await response.read())
    if found is None or found.id != request_id:
        raise SourceUnavailable("the MCP server's answer is no JSON-RPC message")
    return found


def _message(content: bytes) -> mcp.Message | None:
    try:
        return _messages.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        return None


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Close its input, which ends a well-behaved one; end the others, with all that they started."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, 9)
    await process.wait()
