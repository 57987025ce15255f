"""What both dialects share: limits, the order of the documents, and what stands in where no reranker is served."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yangfan.engines.base import RerankReply
from yangfan.errors import Invalid
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.engines.base import Usage
    from yangfan.server.http.metering import Meter
    from yangfan.server.models import InputLimits
    from yangfan.server.services import Services, Target

MAX_QUERY_CHARS = 1600
MAX_DOCUMENT_CHARS = 4096
MAX_DOCUMENTS = 64
MAX_QUERY_TOKENS, MAX_DOCUMENT_TOKENS = 400, 1024
"""What a query or a document has beyond is left out."""

SPECIAL_TOKENS = 4
"""Begin, end and what stands between a query and a document."""

Header = tuple[bytes, bytes]

BY_SIMILARITY: Header = (b"X-Yangfan-Rerank", b"embedding-similarity")
"""Says that no reranker answered."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document, how relevant it is, and its place in the request."""

    document: str
    score: float
    index: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """The documents, the most relevant first, and the tokens that it took."""

    results: tuple[Ranked, ...]
    usage: Usage


class Rerank:
    """Sort documents with any served model that can.

    Where no reranker is served, documents are sorted by the similarity of their embeddings with the query's: the cosine, from -1
    to 1. Texts about the same thing come first then, whether or not they answer the query.

    Args:
        services: What is served.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def target(self, name: str) -> Target:
        """What `name` means here. Raises ModelNotFound."""
        return self._services.resolve(name, "reranker")

    async def answer(
        self,
        target: Target,
        query: str | None,
        documents: Sequence[str] | None,
        top_n: int | None,
        meter: Meter,
        *,
        low: bool = False,
    ) -> Ranking:
        """The `top_n` most relevant documents, all of them if it is None; equal ones stay in order. A call that is `low` waits for all others.

        Raises:
            Invalid: Query or documents are missing, blank, too many or too long.
            Overloaded: No room or no engine.
            EngineFailed: The engine died repeatedly.
        """
        limits = target.service.limits
        query, documents = _checked_query(query), _checked_documents(documents, limits)
        meter.reserve(target, _most_tokens(target, query, documents))
        cut_query, cut_documents = await _cut(target, query, documents)
        if "rerank" in target.service.kinds:
            reply = await target.service.rerank(cut_query, cut_documents, key=meter.key_id, low=low)
        else:
            reply = await _by_similarity(target, cut_query, cut_documents, meter.key_id, low=low)
        meter.settle(reply.usage.prompt_tokens, 0)
        ranked = [
            Ranked(document, score, index)
            for index, (document, score) in enumerate(zip(documents, reply.scores, strict=True))
        ]
        ranked.sort(key=lambda result: -result.score)
        return Ranking(tuple(ranked[:top_n]), reply.usage)


def ranked_by(target: Target, ranking: Ranking) -> tuple[Header, ...]:
    """The headers that name the model that really answers, and say if it is no reranker."""
    named = answered_by(target, estimated=ranking.usage.estimated)
    return named if "rerank" in target.service.kinds else (*named, BY_SIMILARITY)


async def _cut(target: Target, query: str, documents: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The texts without what Qianfan leaves out of them, nor what the model that answers cannot read.

    Somebody else's server has the tokenizer of its models, and cuts for itself.
    """
    service = target.service
    if service.remote:
        return query, documents
    query = await _shortened(target, query, min(MAX_QUERY_TOKENS, service.context_tokens))
    most = min(MAX_DOCUMENT_TOKENS, service.context_tokens)
    if "rerank" in service.kinds:  # it reads the query beside each document
        taken = await service.count_text_tokens(query) + SPECIAL_TOKENS
        most = max(min(most, service.context_tokens - taken), SPECIAL_TOKENS)
    cut = [_shortened(target, document, most) for document in documents]
    return query, await asyncio.gather(*cut)


async def _shortened(target: Target, text: str, most_tokens: int) -> str:
    """The longest beginning of `text` with at most so many tokens."""
    # A token holds at least one byte, so most texts need no count.
    if len(text.encode("utf-8", "surrogatepass")) + SPECIAL_TOKENS <= most_tokens:
        return text
    count = target.service.count_text_tokens
    if await count(text) <= most_tokens:
        return text
    fits, too_long = 1, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if await count(text[:middle]) <= most_tokens:
            fits = middle
        else:
            too_long = middle
    return text[:fits]


async def _by_similarity(
    target: Target, query: str, documents: Sequence[str], key: str, *, low: bool
) -> RerankReply:
    max_tokens = min(MAX_DOCUMENT_TOKENS, target.service.context_tokens)
    reply = await target.service.embed([query, *documents], max_tokens=max_tokens, key=key, low=low)
    sought, *found = reply.vectors
    scores = tuple(sum(map(float.__mul__, sought, vector)) for vector in found)
    return RerankReply(scores, reply.usage)


def _checked_query(query: str | None) -> str:
    if not query or not query.strip():
        raise Invalid("query can not be empty; say what is looked for", param="query")
    if len(query) > MAX_QUERY_CHARS:
        raise Invalid(
            f"query max length is {MAX_QUERY_CHARS} characters; it has {len(query)}, shorten it",
            param="query",
        )
    return query


def _checked_documents(documents: Sequence[str] | None, limits: InputLimits) -> Sequence[str]:
    most, most_chars = (
        limits.max_inputs or MAX_DOCUMENTS,
        limits.max_input_chars or MAX_DOCUMENT_CHARS,
    )
    if not documents:
        raise Invalid(f"documents can not be empty; send 1 to {most} texts", param="documents")
    if len(documents) > most:
        raise Invalid(
            f"documents max size is {most}; {len(documents)} came, send them in several calls",
            param="documents",
        )
    for position, document in enumerate(documents):
        if not document.strip():
            raise Invalid(
                f"documents can not be blank; documents[{position}] holds no text",
                param="documents",
            )
        if len(document) > most_chars:
            raise Invalid(
                f"document max length is {most_chars} characters; documents[{position}] has {len(document)},"
                " shorten or split it",
                param="documents",
            )
    return documents


def _most_tokens(target: Target, query: str, documents: Sequence[str]) -> int:
    """An upper bound that needs no tokenizer: a token holds at least one byte. A reranker reads the query with each document."""
    sizes = [len(text.encode("utf-8", "surrogatepass")) for text in (query, *documents)]
    reads = len(documents) if "rerank" in target.service.kinds else 1
    bound = sizes[0] * reads + sum(sizes[1:]) + SPECIAL_TOKENS * (len(documents) + 1)
    return min(bound, target.service.context_tokens * (len(documents) + 1))
