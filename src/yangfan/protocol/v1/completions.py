"""v1 completions: `POST /rpc/2.0/ai_custom/v1/wenxinworkshop/completions/{endpoint}` (specification B.6).

A completion goes on where the prompt ends: no roles, no template. Any model that chats can do it. Unknown and null fields are
ignored, because the official SDKs send both.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX, Usage
from yangfan.protocol.v1.sampling import Writing


class CompletionRequest(Writing, kw_only=True, omit_defaults=True):
    """Body of a v1 completions call."""

    prompt: Annotated[
        str | None,
        Meta(description="The text to go on from; 4800 characters for the 7B presets. Required."),
    ] = None
    system: Annotated[
        str | None,
        Meta(description="Put in front of the prompt, on a line of its own; counts as input."),
    ] = None
    response_format: Annotated[
        Literal["text", "json_object"] | None,
        Meta(description="text; json_object is for chat and refused here."),
    ] = None
    disable_search: Annotated[
        bool | None, Meta(description="Ignored, as the next one: completions search nothing.")
    ] = None
    enable_citation: bool | None = None


class CompletionReply(msgspec.Struct, kw_only=True):
    """A v1 completion. `is_safe` is 1 unless the model runs elsewhere and its server says otherwise: nothing here judges texts."""

    id: str
    object: str = "completion"
    created: int
    result: str
    is_truncated: bool = False
    is_safe: int = 1
    finish_reason: str
    usage: Usage


class CompletionEvent(msgspec.Struct, kw_only=True):
    """One event of a v1 stream; `result` is what is new. The last has `is_end` true; there is no [DONE]."""

    id: str
    object: str = "completion"
    created: int
    sentence_id: int
    is_end: bool
    is_truncated: bool = False
    result: str = ""
    is_safe: int = 1
    finish_reason: str | msgspec.UnsetType = msgspec.UNSET
    usage: Usage


COMPLETIONS = Endpoint(
    name="v1.completions",
    dialect="v1",
    method="POST",
    path=f"{PREFIX}/completions/{{endpoint}}",
    request=CompletionRequest,
    reply=CompletionReply,
    stream=CompletionEvent,
    summary="Go on from a text, Qianfan v1.",
    summary_zh="续写文本（千帆 v1）。",
    spec="B.6",
)
