"""`GET /v2/plugins`: the plugins that there are. `POST /v2/plugin?Action=…`: plugin applications, which `…/plugin/{name}/` answers.

Extensions of ours, in the shapes of OpenAI's lists and of Qianfan's Actions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Actions, Endpoint
from yangfan.protocol.v2.keys import ActionReply

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]

Mode = Literal["direct", "tools"]
Steps = Annotated[int, Meta(ge=1, le=50)]
Tokens = Annotated[int, Meta(ge=100, le=10_000_000)]
Seconds = Annotated[int, Meta(ge=1, le=600)]
BridgeId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class CreatePluginApplication(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A new application."""

    name: Name
    """What stands in the path of its calls."""
    plugins: Annotated[list[str], Meta(min_length=1, max_length=8)]
    """Ids of plugins; `GET /v2/plugins` lists them."""
    model: str = ""
    """The chat service that writes its answers; the first one that is served by default."""
    prompt: Annotated[str, Meta(max_length=8000)] = ""
    """What the model is told, with ``{context}`` and ``{question}`` in it and further variables; one of ours by default."""
    knowledgeBaseIds: Annotated[list[str], Meta(max_length=20)] = []  # noqa: N815 - the wire's spelling
    mode: Mode | None = None
    """direct calls the first plugin with the question; tools lets the model call what it needs. By default what the plugins allow."""
    maxSteps: Steps | None = None  # noqa: N815 - the wire's spelling
    """Most answers of the model for one question, calls of tools among them; 6 by default."""
    maxTokens: Tokens | None = None  # noqa: N815 - the wire's spelling
    """Most tokens of all these together; 32000 by default."""
    maxSeconds: Seconds | None = None  # noqa: N815 - the wire's spelling
    """Longest time for all of it; 120 by default."""


class ModifyPluginApplication(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to change; what is absent stays."""

    name: Name
    plugins: Annotated[list[str], Meta(min_length=1, max_length=8)] | None = None
    model: str | None = None
    prompt: Annotated[str, Meta(max_length=8000)] | None = None
    knowledgeBaseIds: Annotated[list[str], Meta(max_length=20)] | None = None  # noqa: N815 - the wire's spelling
    mode: Mode | None = None
    maxSteps: Steps | None = None  # noqa: N815 - the wire's spelling
    maxTokens: Tokens | None = None  # noqa: N815 - the wire's spelling
    maxSeconds: Seconds | None = None  # noqa: N815 - the wire's spelling


class NamedPluginApplication(msgspec.Struct):
    """Which one."""

    name: Name


class DescribePluginApplications(msgspec.Struct):
    """All of the caller's application."""


class PluginApplication(msgspec.Struct, kw_only=True):
    """A plugin application."""

    name: str
    plugins: list[str]
    model: str
    prompt: str
    knowledgeBaseIds: list[str]  # noqa: N815 - the wire's spelling
    mode: Mode = "direct"
    maxSteps: int = 6  # noqa: N815 - the wire's spelling
    maxTokens: int = 32_000  # noqa: N815 - the wire's spelling
    maxSeconds: int = 120  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling


class PluginApplications(msgspec.Struct):
    """All of them, the oldest first."""

    items: list[PluginApplication]


class CreateBridge(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Other people's tools, to be used as plugins: the operations of an OpenAPI document, or the tools of an MCP server."""

    id: BridgeId
    """What applications name it by."""
    kind: Literal["openapi", "mcp", "program"]
    """program is an MCP server that the operator lists in the setting mcp_programs."""
    document: str = ""
    """An OpenAPI 3 document, in JSON or YAML."""
    url: Annotated[str, Meta(max_length=2048)] = ""
    """Of the document instead, or of the MCP server (streamable HTTP)."""
    program: Annotated[str, Meta(max_length=64)] = ""
    baseUrl: Annotated[str, Meta(max_length=2048)] = ""  # noqa: N815 - the wire's spelling
    """Where operations are, where the document does not say."""
    auth: Literal["", "none", "bearer", "basic", "header", "query"] = ""
    """How to show who asks; what the document says by default. basic takes user:password as its secret."""
    authName: Annotated[str, Meta(max_length=64)] = ""  # noqa: N815 - the wire's spelling
    """Of the header field or query parameter."""
    secret: Annotated[str, Meta(max_length=4096)] = ""
    """The key; kept encrypted, never shown."""
    title: Annotated[str, Meta(max_length=200)] = ""


class ModifyBridge(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Another key or document; its tools are read again in any case."""

    id: BridgeId
    secret: Annotated[str, Meta(max_length=4096)] | None = None
    document: str | None = None


class NamedBridge(msgspec.Struct):
    """Which one."""

    id: BridgeId


class DescribeBridges(msgspec.Struct):
    """All of the caller's application."""


class CallTool(msgspec.Struct, kw_only=True):
    """A tool of a bridge, to be called as a model would."""

    tool: Annotated[str, Meta(max_length=64)]
    inputs: dict[str, Any] = {}


class ToolAnswer(msgspec.Struct, kw_only=True):
    """What a model would be told."""

    text: str
    failed: bool


class Bridge(msgspec.Struct, kw_only=True):
    """A bridge."""

    id: str
    kind: Literal["openapi", "mcp", "program"]
    title: str
    description: str
    address: str
    auth: str
    authName: str  # noqa: N815 - the wire's spelling
    hasSecret: bool  # noqa: N815 - the wire's spelling
    tools: list[PluginTool]
    leftOut: list[str]  # noqa: N815 - the wire's spelling
    """Operations that cannot be called from here, and why."""
    createTime: str  # noqa: N815 - the wire's spelling
    readTime: str  # noqa: N815 - the wire's spelling


class BridgeList(msgspec.Struct):
    """All of them, the oldest first."""

    items: list[Bridge]


class PluginTexts(msgspec.Struct):
    """A text for people."""

    zh: str
    en: str


class PluginTool(msgspec.Struct):
    """What a model sees of a plugin: one function of it."""

    name: str
    description: str
    inputs: dict[str, Any]
    """JSON Schema of an object."""


class PluginSetting(msgspec.Struct):
    """A value that the operator may choose in the table [plugins.ID] of the settings file."""

    name: str
    description: str
    secret: bool


class PluginFacts(msgspec.Struct, kw_only=True):
    """A plugin."""

    id: str
    object: str = "plugin"
    version: str
    origin: str
    """What brought it: yangfan, or the name of a package."""
    state: Literal["ready", "missing", "broken"]
    """Whether it can be called, lacks a package, or cannot be read."""
    problem: str = ""
    """What to do about it."""
    name: PluginTexts
    description: PluginTexts
    tools: list[PluginTool]
    question: str = ""
    """The input that takes a question as it is asked; without one, a model decides when to call the plugin."""
    permissions: list[str]
    settings: list[PluginSetting] = []


class PluginList(msgspec.Struct, kw_only=True):
    """All of them, those of this platform first."""

    object: str = "list"
    data: list[PluginFacts]


INSTALLED: Endpoint[None, PluginList] = Endpoint(
    name="v2.plugins.installed",
    dialect="v2",
    method="GET",
    path="/v2/plugins",
    request=None,
    reply=PluginList,
    summary="List the plugins that applications may use.",
    summary_zh="列出应用可以使用的插件。",
    spec="B.11",
)
INSTALLED_ONE: Endpoint[None, PluginFacts] = Endpoint(
    name="v2.plugins.describe",
    dialect="v2",
    method="GET",
    path="/v2/plugins/{plugin}",
    request=None,
    reply=PluginFacts,
    summary="Show a plugin: what it does, what it takes, what it may do.",
    summary_zh="查询一个插件：用途、输入与权限。",
    spec="B.11",
)

CALL: Endpoint[CallTool, ToolAnswer] = Endpoint(
    name="v2.plugins.call",
    dialect="v2",
    method="POST",
    path="/v2/plugins/{plugin}",
    request=CallTool,
    reply=ToolAnswer,
    asks_models=False,
    summary="Call a tool of a bridge, as a model would.",
    summary_zh="像模型那样调用桥接中的一个工具。",
    spec="B.11",
)

_action = Actions("v2.plugins", "/v2/plugin", "B.11")

CREATE = _action(
    "create",
    "CreatePluginApplication",
    CreatePluginApplication,
    ActionReply[PluginApplication],
    "Make a plugin application.",
    "创建插件应用。",
)
LIST = _action(
    "list",
    "DescribePluginApplications",
    DescribePluginApplications,
    ActionReply[PluginApplications],
    "List the plugin applications.",
    "查询插件应用列表。",
)
SHOW = _action(
    "get",
    "DescribePluginApplication",
    NamedPluginApplication,
    ActionReply[PluginApplication],
    "Show a plugin application.",
    "查询插件应用详情。",
)
MODIFY = _action(
    "modify",
    "ModifyPluginApplication",
    ModifyPluginApplication,
    ActionReply[PluginApplication],
    "Change a plugin application.",
    "修改插件应用。",
)
DELETE = _action(
    "delete",
    "DeletePluginApplication",
    NamedPluginApplication,
    ActionReply[bool],
    "Delete a plugin application.",
    "删除插件应用。",
)
CREATE_BRIDGE = _action(
    "bridges.create",
    "CreateBridge",
    CreateBridge,
    ActionReply[Bridge],
    "Make tools of an OpenAPI document or an MCP server.",
    "把 OpenAPI 文档或 MCP 服务的能力变成工具。",
)
LIST_BRIDGES = _action(
    "bridges.list",
    "DescribeBridges",
    DescribeBridges,
    ActionReply[BridgeList],
    "List the bridges to other people's tools.",
    "查询工具桥接列表。",
)
MODIFY_BRIDGE = _action(
    "bridges.modify",
    "ModifyBridge",
    ModifyBridge,
    ActionReply[Bridge],
    "Give a bridge another key or document, and read its tools again.",
    "更换桥接的密钥或文档，并重新读取工具。",
)
DELETE_BRIDGE = _action(
    "bridges.delete",
    "DeleteBridge",
    NamedBridge,
    ActionReply[bool],
    "Forget a bridge and its key.",
    "删除桥接及其密钥。",
)
