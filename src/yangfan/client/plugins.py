"""Plugin applications as the SDK shows them. Pure: both clients use it."""

from __future__ import annotations

import base64
import mimetypes
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.protocol.v1.erniebot import ErniePluginReply
    from yangfan.protocol.v1.plugins import PluginReply
    from yangfan.protocol.v2 import plugins as wire


@dataclass(frozen=True, slots=True)
class PluginTool:
    """What a model sees of a plugin: one function of it, with the JSON Schema of its inputs."""

    name: str
    description: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin that applications may use.

    Attributes:
        id: What applications name it by.
        version: Its own.
        origin: What brought it: yangfan, or the name of a package.
        state: ready; missing, where a package has to be installed; or broken.
        problem: What to do about it, "" if nothing.
        name: For people, by language (zh, en).
        description: Likewise.
        tools: What a model sees of it.
        question: The input that takes a question as it is asked; "" where a model decides when to call it.
        permissions: What it may do: network, knowledge, chat.
        settings: What the operator may choose for it, with descriptions.
    """

    id: str
    version: str
    origin: str
    state: str
    problem: str
    name: Mapping[str, str]
    description: Mapping[str, str]
    tools: tuple[PluginTool, ...]
    question: str
    permissions: tuple[str, ...]
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PluginApplication:
    """A plugin application.

    Attributes:
        name: What stands in the path of its calls.
        plugins: Ids of its plugins and bridges.
        model: The chat service that writes its answers; the first one that is served if "".
        prompt: What the model is told.
        knowledge_base_ids: What it answers from.
        created: When it was made.
        mode: direct, where the first plugin is called with the question; tools, where the model calls what it needs.
        max_steps: Most answers of the model for one question.
        max_tokens: Most tokens of all these together.
        max_seconds: Longest time for all of it.
    """

    name: str
    plugins: tuple[str, ...]
    model: str
    prompt: str
    knowledge_base_ids: tuple[str, ...]
    created: str
    mode: str
    max_steps: int
    max_tokens: int
    max_seconds: int


@dataclass(frozen=True, slots=True)
class Bridge:
    """Other people's tools, which applications use as they use plugins.

    Attributes:
        id: What applications name it by.
        kind: openapi, mcp, or program (an MCP server that the operator listed).
        title: As the other side calls itself.
        description: Likewise.
        address: Where its tools are.
        auth: How it is shown who asks: none, bearer, basic, header, query.
        auth_name: Of the header field or parameter.
        has_secret: Whether a key is kept for it.
        tools: What models see.
        left_out: Operations that cannot be called from here, and why.
        created: When it was made.
        read: When its tools were last read.
    """

    id: str
    kind: str
    title: str
    description: str
    address: str
    auth: str
    auth_name: str
    has_secret: bool
    tools: tuple[PluginTool, ...]
    left_out: tuple[str, ...]
    created: str
    read: str


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool gave, as a model would be told."""

    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class PluginAnswer:
    """An answer.

    Attributes:
        text: What it says.
        finish_reason: Why it ends there.
        meta: What the plugin was asked and found, with `citations` of the answer's sentences; {} unless it was asked for.
        total_tokens: Of the model that wrote it.
    """

    text: str
    finish_reason: str
    meta: Mapping[str, Any]
    total_tokens: int


def info_of(item: wire.PluginFacts) -> PluginInfo:
    """A plugin off the wire."""
    return PluginInfo(
        id=item.id,
        version=item.version,
        origin=item.origin,
        state=item.state,
        problem=item.problem,
        name={"zh": item.name.zh, "en": item.name.en},
        description={"zh": item.description.zh, "en": item.description.en},
        tools=tuple(PluginTool(each.name, each.description, each.inputs) for each in item.tools),
        question=item.question,
        permissions=tuple(item.permissions),
        settings={each.name: each.description for each in item.settings},
    )


@dataclass(frozen=True, slots=True)
class PluginUse:
    """What ERNIE plugins answered.

    Attributes:
        text: The answer.
        finish_reason: Why it ends there.
        plugin: Which of them worked; "" if none had anything to do.
        request: What it was asked.
        response: What it found: of eChart the ECharts `option` and the picture `svg`.
        total_tokens: Of the model, those that the plugin used among them.
    """

    text: str
    finish_reason: str
    plugin: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    total_tokens: int


def use_of(reply: ErniePluginReply) -> PluginUse:
    """An answer of ERNIE plugins off the wire."""
    name, request, response = "", dict[str, Any](), dict[str, Any]()
    for info in reply.plugin_info:
        name = info.plugin_name
        request = msgspec.json.decode(info.plugin_req)
        response = msgspec.json.decode(info.plugin_resp)
    return PluginUse(
        reply.result, reply.finish_reason, name, request, response, reply.usage.total_tokens
    )


def message_of(question: str, plugin: str, file: File | None) -> str:
    """A question with its file, as ERNIE plugins take them."""
    if file is None:
        return question
    name = Path(file).name if isinstance(file, PathLike) else ""
    tag = "img" if plugin == "ImageAI" else "file"
    return f"<{tag}>{name}</{tag}><url>{address_of(file)}</url>{question}"


File: TypeAlias = bytes | PathLike[str] | str
"""A file that a question is about: its bytes, its path, or as text its URL or data URI."""


def address_of(file: File) -> str:
    """The address of a file: that of a text as it is, others as a data URI with the file's name.

    Raises:
        ConfigurationError: It cannot be read.
    """
    if isinstance(file, str):
        return file
    name = ""
    if isinstance(file, bytes):
        data = file
    else:
        path = Path(file)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
        name = f";name={quote(path.name)}"
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind}{name};base64,{base64.b64encode(data).decode('ascii')}"


def application_of(item: wire.PluginApplication) -> PluginApplication:
    """An application off the wire."""
    return PluginApplication(
        item.name,
        tuple(item.plugins),
        item.model,
        item.prompt,
        tuple(item.knowledgeBaseIds),
        item.createTime,
        item.mode,
        item.maxSteps,
        item.maxTokens,
        item.maxSeconds,
    )


def bridge_of(item: wire.Bridge) -> Bridge:
    """A bridge off the wire."""
    return Bridge(
        id=item.id,
        kind=item.kind,
        title=item.title,
        description=item.description,
        address=item.address,
        auth=item.auth,
        auth_name=item.authName,
        has_secret=item.hasSecret,
        tools=tuple(PluginTool(each.name, each.description, each.inputs) for each in item.tools),
        left_out=tuple(item.leftOut),
        created=item.createTime,
        read=item.readTime,
    )


def answer_of(reply: PluginReply) -> PluginAnswer:
    """An answer off the wire."""
    meta = {} if reply.meta_info is UNSET else reply.meta_info
    return PluginAnswer(reply.result, reply.finish_reason, meta, reply.usage.total_tokens)
