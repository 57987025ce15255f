"""Embeddings and rerank as they travel between us and a child: OpenAI's shape, and Jina's with llama.cpp's extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from yangfan.engines.base import EmbeddingsReply, RerankReply, Usage
from yangfan.engines.wire.types import UsageCounts
from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

_ResultT = TypeVar("_ResultT")

TextOrTokens = str | list[msgspec.Raw] | tuple[int, ...]
"""A text, its tokens as the child's /tokenize spells them, or its tokens as the caller does."""


class EmbeddingsBody(msgspec.Struct):
    """Body of POST /v1/embeddings, as it is written."""

    model: str
    input: list[TextOrTokens]


class EmbeddingItem(msgspec.Struct):
    """The vector of the text at `index`."""

    index: int
    embedding: list[float]


class EmbeddingsResult(msgspec.Struct):
    """Reply of POST /v1/embeddings."""

    data: list[EmbeddingItem]
    usage: UsageCounts


class RerankBody(msgspec.Struct):
    """Body of POST /v1/rerank."""

    model: str
    query: str
    documents: list[str]


class RerankItem(msgspec.Struct):
    """The score of the document at `index`."""

    index: int
    relevance_score: float


class RerankResult(msgspec.Struct):
    """Reply of POST /v1/rerank."""

    results: list[RerankItem]
    usage: UsageCounts


def embeddings_of(body: bytes, texts: int) -> EmbeddingsReply:
    """The vectors of so many texts, in order.

    Raises:
        EngineFailed: The body is not that.
    """
    result = _decode(body, _embeddings)
    by_index = {item.index: item.embedding for item in result.data}
    if by_index.keys() != set(range(texts)):
        raise EngineFailed(f"the engine's reply has not one vector for each of {texts} texts")
    return EmbeddingsReply(
        tuple(by_index[index] for index in range(texts)), Usage(result.usage.prompt_tokens)
    )


def scores_of(body: bytes, documents: Sequence[str]) -> RerankReply:
    """The scores of the documents, in their order.

    Raises:
        EngineFailed: The body is not that.
    """
    result = _decode(body, _rerank)
    by_index = {item.index: item.relevance_score for item in result.results}
    if by_index.keys() != set(range(len(documents))):
        raise EngineFailed("the engine's reply has not one score for each document")
    return RerankReply(
        tuple(by_index[index] for index in range(len(documents))),
        Usage(result.usage.prompt_tokens),
    )


_embeddings = msgspec.json.Decoder(EmbeddingsResult)
_rerank = msgspec.json.Decoder(RerankResult)


def _decode(body: bytes, decoder: msgspec.json.Decoder[_ResultT]) -> _ResultT:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise EngineFailed(f"the engine's reply makes no sense: {error}") from error
