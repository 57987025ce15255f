"""v1 plugin applications: `POST …/plugin/{endpoint}/` (specification B.11)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX, Usage
from yangfan.protocol.v1.sampling import Drawing

KNOWLEDGE_BASE = "uuid-zhishiku"
IMAGE_QUESTIONS = "uuid-chatocr"
WEATHER = "uuid-weatherforecast"


class PluginTurn(msgspec.Struct):
    """One turn of what was said before."""

    role: str
    content: str


class PluginSampling(Drawing, kw_only=True, omit_defaults=True):
    """How the model writes its answer."""


class PluginRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a call of a plugin application."""

    query: Annotated[
        str | None, Meta(description="The question, at most 1000 characters. Required.")
    ] = None
    plugins: Annotated[
        list[str] | None,
        Meta(description="Which of the application's plugins to use; all of them by default."),
    ] = None
    fileurl: str | None = None
    stream: bool | None = None
    verbose: Annotated[
        bool | None, Meta(description="Whether to give what the plugin was asked and answered.")
    ] = None
    llm: PluginSampling | None = None
    input_variables: dict[str, Any] | None = None
    history: list[PluginTurn] | None = None
    user_id: str | None = None


class PluginReply(msgspec.Struct, kw_only=True):
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
    usage: Usage
    meta_info: dict[str, Any] | UnsetType = UNSET


class PluginEvent(msgspec.Struct, kw_only=True):
    """A piece of an answer; the last one says so, and has `meta_info` if that was wanted."""

    log_id: int
    id: str
    object: str = "chat.completion"
    created: int
    sentence_id: int
    is_end: bool
    result: str
    is_truncated: bool = False
    need_clear_history: bool = False
    ban_round: int = 0
    finish_reason: str | UnsetType = UNSET
    usage: Usage
    meta_info: dict[str, Any] | UnsetType = UNSET


PLUGIN = Endpoint[PluginRequest, PluginReply](
    name="v1.plugin",
    dialect="v1",
    method="POST",
    path=f"{PREFIX}/plugin/{{endpoint}}/",
    request=PluginRequest,
    reply=PluginReply,
    stream=PluginEvent,
    summary="Ask a plugin application: an answer from a knowledge base, or about the weather.",
    summary_zh="调用插件应用：基于知识库或天气数据回答。",
    spec="B.11",
)
