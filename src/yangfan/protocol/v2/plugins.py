"""`POST /v2/plugin?Action=…`: plugin applications, which `…/plugin/{name}/` answers. An extension of ours in the shape of Qianfan's Actions."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Actions
from yangfan.protocol.v2.keys import ActionReply

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class CreatePluginApplication(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A new application."""

    name: Name
    """What stands in the path of its calls."""
    plugins: Annotated[list[str], Meta(min_length=1, max_length=8)]
    """uuid-zhishiku, uuid-weatherforecast."""
    model: str = ""
    """The chat service that writes its answers; the first one that is served by default."""
    prompt: Annotated[str, Meta(max_length=8000)] = ""
    """What the model is told, with ``{context}`` and ``{question}`` in it and further variables; one of ours by default."""
    knowledgeBaseIds: Annotated[list[str], Meta(max_length=20)] = []  # noqa: N815 - the wire's spelling


class ModifyPluginApplication(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to change; what is absent stays."""

    name: Name
    plugins: Annotated[list[str], Meta(min_length=1, max_length=8)] | None = None
    model: str | None = None
    prompt: Annotated[str, Meta(max_length=8000)] | None = None
    knowledgeBaseIds: Annotated[list[str], Meta(max_length=20)] | None = None  # noqa: N815 - the wire's spelling


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
    createTime: str  # noqa: N815 - the wire's spelling


class PluginApplications(msgspec.Struct):
    """All of them, the oldest first."""

    items: list[PluginApplication]


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
