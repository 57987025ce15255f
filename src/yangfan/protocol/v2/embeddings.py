"""v2 embeddings: `POST /v2/embeddings`, OpenAI's shape (specification C.4)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.tokens import TokenId, TokenIds


class PicturedText(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A text, a picture (URL or data URI, at most 10 MB), or both, for one vector."""

    text: str | None = None
    image: str | None = None


class EmbeddingsRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a v2 embeddings call. Unknown and null fields are ignored."""

    model: Annotated[
        str | None, Meta(description="Service name, preset name or endpoint suffix. Required.")
    ] = None
    input: Annotated[
        str | list[str | TokenId | TokenIds | PicturedText] | PicturedText | None,
        Meta(
            description="Texts, none of them blank: at most 16, of tao-8k 1. A string is one text; a list of numbers is the token ids of one, of the served model's own vocabulary, read as they stand; lists of numbers are several such. One picture, alone or beside its text, for multimodal models, which run elsewhere. Required."
        ),
    ] = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None,
        Meta(
            description="float (default), or base64 of the little-endian 32-bit floats, which OpenAI's client asks for."
        ),
    ] = None
    dimensions: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Length of the vectors; only the model's own is accepted, unless it runs elsewhere and has several."
        ),
    ] = None
    user: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None


class Embedding(msgspec.Struct, kw_only=True):
    """The vector of one text, of length 1; `index` is the text's place in the request."""

    object: str = "embedding"
    embedding: list[float] | str
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
    model: str
    data: list[Embedding]
    usage: EmbeddingsUsage


EMBEDDINGS = Endpoint(
    name="v2.embeddings",
    dialect="v2",
    method="POST",
    path="/v2/embeddings",
    aliases=("/v1/embeddings", "/v2/v1/embeddings"),
    request=EmbeddingsRequest,
    reply=EmbeddingsReply,
    summary="Turn texts into vectors, Qianfan v2 (OpenAI's shape).",
    summary_zh="将文本转换为向量（千帆 v2，OpenAI 形式）。",
    spec="C.4",
)
