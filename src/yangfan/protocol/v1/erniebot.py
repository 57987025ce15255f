"""v1 ERNIE plugins: `POST …/erniebot/plugins` and, with named events, `POST …/erniebot/plugin` (specification B.11)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX

RUNNING, DONE = "1", "2"
"""States of a plugin's work."""


class ErnieMessage(msgspec.Struct):
    """What was said; a file stands in it as ``<img>NAME</img><url>ADDRESS</url>`` or ``<file>NAME</file><url>ADDRESS</url>``."""

    role: str
    content: str


class ErniePluginRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a call of ERNIE plugins."""

    messages: Annotated[
        list[ErnieMessage] | None,
        Meta(
            description="user and assistant in turn, the last one of at most 4800 characters. Required."
        ),
    ] = None
    plugins: Annotated[
        list[str] | None, Meta(description="One to three of eChart, ImageAI, ChatFile. Required.")
    ] = None
    stream: bool | None = None
    user_id: str | None = None
    extra_data: Annotated[Any, Meta(description="Sent by the official SDKs, ignored.")] = None


class PluginInfo(msgspec.Struct, kw_only=True):
    """What a plugin was asked and answered."""

    plugin_id: str
    plugin_name: str
    plugin_req: str
    """JSON."""
    plugin_resp: str
    """JSON; "" while it works."""
    status: str
    """1 working, 2 done."""
    api_id: str


class PluginMeta(msgspec.Struct, kw_only=True):
    """Who a plugin is."""

    pluginMameForModel: str  # noqa: N815 - the wire's spelling
    pluginNameForHuman: str  # noqa: N815 - the wire's spelling
    operationId: str  # noqa: N815 - the wire's spelling
    pluginVersion: str  # noqa: N815 - the wire's spelling
    pluginId: str  # noqa: N815 - the wire's spelling
    apiId: str  # noqa: N815 - the wire's spelling
    logoUrl: str = ""  # noqa: N815 - the wire's spelling
    uiMeta: dict[str, Any] = {}  # noqa: N815 - the wire's spelling
    descriptionForHuman: str = ""  # noqa: N815 - the wire's spelling


class PluginTokens(msgspec.Struct, kw_only=True):
    """Tokens that a plugin used of a model."""

    name: str
    parse_tokens: int = 0
    abstract_tokens: int = 0
    search_tokens: int = 0
    total_tokens: int = 0


class ErnieUsage(msgspec.Struct, kw_only=True):
    """Tokens, those of plugins among them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    plugins: list[PluginTokens] = []
    estimated: bool | UnsetType = UNSET


class ErniePluginReply(msgspec.Struct, kw_only=True):
    """A whole answer."""

    log_id: int
    id: str
    object: str = "chat.completion"
    created: int
    result: str
    is_truncated: bool = False
    need_clear_history: bool = False
    ban_round: int = 0
    finish_reason: str = "normal"
    usage: ErnieUsage
    plugin_info: list[PluginInfo]
    plugin_metas: list[PluginMeta]


class ErniePluginEvent(msgspec.Struct, kw_only=True):
    """An event. `/erniebot/plugin` names them: pluginMeta, plugin, chat; `/erniebot/plugins` does not."""

    event_name: ClassVar[str] = ""

    log_id: int
    id: str
    object: str = "chat.completion"
    created: int
    sentence_id: int | UnsetType = UNSET
    is_end: bool | UnsetType = UNSET
    result: str | UnsetType = UNSET
    is_truncated: bool | UnsetType = UNSET
    need_clear_history: bool | UnsetType = UNSET
    ban_round: int | UnsetType = UNSET
    finish_reason: str | UnsetType = UNSET
    usage: ErnieUsage | UnsetType = UNSET
    plugin_info: list[PluginInfo] | UnsetType = UNSET
    plugin_metas: list[PluginMeta] | UnsetType = UNSET


class MetaEvent(ErniePluginEvent, kw_only=True):
    """Which plugins there are."""

    event_name: ClassVar[str] = "pluginMeta"


class InfoEvent(ErniePluginEvent, kw_only=True):
    """How far a plugin is; these have a `sentence_id` of their own."""

    event_name: ClassVar[str] = "plugin"


class ChatEvent(ErniePluginEvent, kw_only=True):
    """A piece of the answer."""

    event_name: ClassVar[str] = "chat"


def _endpoint(name: str, path: str, summary: str, summary_zh: str) -> Endpoint[Any, Any]:
    return Endpoint[ErniePluginRequest, ErniePluginReply](
        name=name,
        dialect="v1",
        method="POST",
        path=f"{PREFIX}/erniebot/{path}",
        request=ErniePluginRequest,
        reply=ErniePluginReply,
        stream=ErniePluginEvent,
        summary=summary,
        summary_zh=summary_zh,
        spec="B.11",
    )


ERNIE_PLUGINS = _endpoint(
    "v1.erniebot_plugins",
    "plugins",
    "Ask with ERNIE plugins: charts, pictures, files.",
    "调用一言插件：图表、图片、文档。",
)
ERNIE_PLUGIN = _endpoint(
    "v1.erniebot_plugin",
    "plugin",
    "Ask with ERNIE plugins; streams have named events.",
    "调用一言插件（V2，流式事件带名称）。",
)
