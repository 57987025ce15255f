"""The Model Context Protocol as far as both sides here speak it: JSON-RPC messages and the versions of the handshake.

https://modelcontextprotocol.io/specification/2025-11-25
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from yangfan.protocol.endpoint import Endpoint

VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions with the handshake `initialize`, oldest first. Newer ones fall back to it."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602

PROTOCOL_HEADER: Final = "mcp-protocol-version"
SESSION_HEADER: Final = "mcp-session-id"


class Fault(msgspec.Struct, omit_defaults=True):
    """Why a request was not answered."""

    code: int
    message: str
    data: Any = None


class Message(msgspec.Struct, omit_defaults=True):
    """A request (method and id), a notification (method alone), a result or an error (id alone)."""

    jsonrpc: str
    id: int | str | None = None
    method: str = ""
    params: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    result: dict[str, Any] | None = None
    error: Fault | None = None


class Answer(msgspec.Struct, kw_only=True):
    """What answers a request."""

    jsonrpc: str = "2.0"
    id: int | str | None
    result: Any = msgspec.UNSET
    error: Fault | msgspec.UnsetType = msgspec.UNSET


class Implementation(msgspec.Struct, omit_defaults=True):
    """Who a client or a server is."""

    name: str = ""
    version: str = ""


class ListedTool(msgspec.Struct, rename="camel", omit_defaults=True):
    """A tool as a server lists it."""

    name: str
    description: str = ""
    input_schema: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ToolPage(msgspec.Struct, rename="camel", omit_defaults=True):
    """A page of tools."""

    tools: list[ListedTool] = []
    next_cursor: str | None = None


class ToolCall(msgspec.Struct):
    """Parameters of `tools/call`."""

    name: str
    arguments: dict[str, Any] | None = None


class Content(msgspec.Struct, omit_defaults=True):
    """A piece of what a tool gives: text, or something that is told of only."""

    type: str
    text: str = ""
    uri: str = ""
    name: str = ""
    resource: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ToolResult(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a tool gives."""

    content: list[Content] = []
    structured_content: Any = None
    is_error: bool = False


MCP: Endpoint[bytes, Answer] = Endpoint(
    name="mcp",
    dialect="v2",
    method="POST",
    path="/mcp",
    request=bytes,
    reply=Answer,
    summary="Model Context Protocol (streamable HTTP): knowledge bases and services as tools.",
    summary_zh="Model Context Protocol（streamable HTTP）：把知识库与服务作为工具提供。",
    spec="ours",
)
