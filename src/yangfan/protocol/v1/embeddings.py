"""v1 embeddings: `POST /rpc/2.0/ai_custom/v1/wenxinworkshop/embeddings/{endpoint}` (specification B.7)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX


class EmbeddingsRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a v1 embeddings call. Unknown and null fields are ignored."""

    input: Annotated[
        str | list[str] | None,
        Meta(
            description="Texts, none of them blank: at most 16, of tao-8k 1. A string is one text. Required."
        ),
    ] = None
    user_id: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None


class Embedding(msgspec.Struct, kw_only=True):
    """The vector of one text, of length 1; `index` is the text's place in the request."""

    object: str = "embedding"
    embedding: list[float]
    index: int


class EmbeddingsUsage(msgspec.Struct):
    """Tokens counted by the served model's tokenizer."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class EmbeddingsReply(msgspec.Struct, kw_only=True):
    """The vectors, in the order of the texts."""

    id: str
    object: str = "embedding_list"
    created: int
    data: list[Embedding]
    usage: EmbeddingsUsage


EMBEDDINGS = Endpoint(
    name="v1.embeddings",
    dialect="v1",
    method="POST",
    path=f"{PREFIX}/embeddings/{{endpoint}}",
    request=EmbeddingsRequest,
    reply=EmbeddingsReply,
    summary="Turn texts into vectors, Qianfan v1.",
    summary_zh="将文本转换为向量（千帆 v1）。",
    spec="B.7",
)
