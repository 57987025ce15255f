"""v1 tokenizer: `POST /rpc/2.0/ai_custom/v1/wenxinworkshop/tokenizer/erniebot` (specification B.10)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX

DEFAULT_MODEL = "ernie-3.5-8k"
"""The official SDK's."""


class TokenizerRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a token count."""

    prompt: Annotated[str | None, Meta(description="The text to count. Required.")] = None
    model: Annotated[
        str | None, Meta(description="Whose tokens: any name of a model. Default ernie-3.5-8k.")
    ] = None


class TokenizerUsage(msgspec.Struct):
    """The count; both fields hold the same."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class TokenizerReply(msgspec.Struct, kw_only=True):
    """How many tokens the text has for the model that answers to the name."""

    id: str
    object: str = "tokenizer.erniebot"
    created: int
    usage: TokenizerUsage


TOKENIZER = Endpoint(
    name="v1.tokenizer",
    dialect="v1",
    method="POST",
    path=f"{PREFIX}/tokenizer/erniebot",
    request=TokenizerRequest,
    reply=TokenizerReply,
    summary="Count the tokens of a text.",
    summary_zh="计算文本的 Token 数。",
    spec="B.10",
)
