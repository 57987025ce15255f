"""Plugin applications as the SDK shows them. Pure: both clients use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.protocol.v1.plugins import PluginReply
    from yangfan.protocol.v2 import plugins as wire


@dataclass(frozen=True, slots=True)
class PluginApplication:
    """A plugin application: its name, its plugins, who writes its answers, what that is told, and what it answers from."""

    name: str
    plugins: tuple[str, ...]
    model: str
    prompt: str
    knowledge_base_ids: tuple[str, ...]
    created: str


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


def application_of(item: wire.PluginApplication) -> PluginApplication:
    """An application off the wire."""
    return PluginApplication(
        item.name,
        tuple(item.plugins),
        item.model,
        item.prompt,
        tuple(item.knowledgeBaseIds),
        item.createTime,
    )


def answer_of(reply: PluginReply) -> PluginAnswer:
    """An answer off the wire."""
    meta = {} if reply.meta_info is UNSET else reply.meta_info
    return PluginAnswer(reply.result, reply.finish_reason, meta, reply.usage.total_tokens)
