"""v2 rerank: `POST /v2/rerank`, and `/v2/rerankers` as the official SDKs spell it (specification C.4)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint


class RerankDocument(msgspec.Struct):
    """A text as Cohere's, Jina's and vLLM's clients send and read it."""

    text: str


class RerankRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a v2 rerank call. Unknown and null fields are ignored."""

    model: Annotated[
        str | None, Meta(description="Service name, preset name or endpoint suffix. Required.")
    ] = None
    query: Annotated[
        str | None,
        Meta(description="What is looked for, 1 to 1600 characters, cut at 400 tokens. Required."),
    ] = None
    documents: Annotated[
        list[str | RerankDocument] | None,
        Meta(
            description="1 to 64 texts of 1 to 4096 characters each, cut at 1024 tokens, or `{text}` each. Required."
        ),
    ] = None
    top_n: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many to return, at least 1. Default: all."),
    ] = None
    return_documents: Annotated[
        bool | None,
        Meta(
            description="Cohere's and Jina's: true gives back each document as `{text}`, false none. Default: as texts, which is Qianfan's way."
        ),
    ] = None
    user: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None


class RerankResult(msgspec.Struct, kw_only=True):
    """One document; `index` is its place in the request, a higher `relevance_score` is more relevant."""

    document: str | RerankDocument | UnsetType = UNSET
    relevance_score: float
    index: int


class RerankUsage(msgspec.Struct):
    """Tokens counted by the served model's tokenizer."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class RerankReply(msgspec.Struct, kw_only=True):
    """The documents, the most relevant first."""

    id: str
    object: str = "reranker_list"
    created: int
    model: str
    results: list[RerankResult]
    usage: RerankUsage


RERANK = Endpoint(
    name="v2.rerank",
    dialect="v2",
    method="POST",
    path="/v2/rerank",
    aliases=("/v2/rerankers", "/v1/rerank", "/v2/v1/rerank"),
    request=RerankRequest,
    reply=RerankReply,
    summary="Sort documents by how well they answer a query, Qianfan v2.",
    summary_zh="按与查询的相关性对文档排序（千帆 v2）。",
    spec="C.4",
)
