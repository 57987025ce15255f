"""Plugin applications as the platform thinks of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.engines.base import ChatRequest, Message, Sampling
    from yangfan.server.http import Meter
    from yangfan.server.plugins.tools import Tool
    from yangfan.server.services import Target

Mode = Literal["direct", "tools"]
BridgeKind = Literal["openapi", "mcp", "program"]


@dataclass(frozen=True, slots=True)
class Application:
    """A plugin application.

    Attributes:
        name: What stands in the path of its calls.
        app_id: The application that it belongs to.
        plugins: Those that it may use.
        model: The chat service that writes its answers; the first one that is served if "".
        prompt: What the model is told; one of ours if "".
        base_ids: Knowledge bases to answer from.
        mode: direct, where the first plugin is called with the question; tools, where the model calls what it needs.
        max_steps: Most answers of the model for one question, calls of tools among them.
        max_tokens: Most tokens of all these together.
        max_seconds: Longest time for all of it.
    """

    name: str
    app_id: str
    plugins: tuple[str, ...]
    model: str
    prompt: str
    base_ids: tuple[str, ...]
    created_ms: int
    mode: Mode = "direct"
    max_steps: int = 6
    max_tokens: int = 32_000
    max_seconds: int = 120


@dataclass(frozen=True, slots=True)
class Bridge:
    """Other people's tools, which applications use as they use plugins.

    Attributes:
        id: What applications name it by; unique within its application.
        app_id: The application that it belongs to.
        kind: openapi; mcp, over HTTP; or program, an MCP server that the operator listed.
        title: For people.
        description: For people.
        address: Base URL of the operations, URL of the MCP server, or name of the program.
        source_url: Where the document was fetched; "" if it was sent.
        auth: none, bearer, basic, header or query.
        auth_name: Of the header field or parameter.
        secret: The key. Never in the repr.
        tools: What models see.
        left_out: Operations that cannot be called, and why.
        read_ms: When its tools were last read.
    """

    id: str
    app_id: str
    kind: BridgeKind
    title: str
    description: str
    address: str
    source_url: str
    auth: str
    auth_name: str
    secret: str = field(repr=False)
    tools: tuple[Tool, ...]
    left_out: tuple[str, ...]
    created_ms: int
    read_ms: int


@dataclass(frozen=True, slots=True)
class Asking:
    """A question to a plugin application.

    Attributes:
        application: Which one.
        question: In words.
        file: Address of a file that came with it; "" if none did.
        file_name: What that is called; "" if nothing says.
        history: What was said before.
        variables: Values of the prompt's own variables.
        sampling: How answers are written.
        target: Who writes them.
        meter: Limits and usage of the call, over all its steps.
    """

    application: Application
    question: str
    file: str
    history: tuple[Message, ...]
    variables: Mapping[str, str]
    sampling: Sampling
    target: Target
    meter: Meter
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a plugin made of a question.

    Attributes:
        request: What the model is to be asked; None if the plugin answers itself.
        result: That answer.
        sources: Texts that an answer may rest on.
        meta: What the plugin was asked and answered, as `meta_info` shows it.
        target: Who is to be asked, where that is not the application's own model.
    """

    request: ChatRequest | None
    result: str = ""
    sources: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    target: Target | None = None
