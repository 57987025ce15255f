"""Rerank in both dialects: texts to body, reply to our types (specification B.8, C.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from yangfan import errors
from yangfan.client.call import convert
from yangfan.client.dialect import UsageItem
from yangfan.client.types import JSON, RankedDocument, ReplyInfo, RerankResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.client.exchange import Answer


def body(
    query: str,
    documents: Sequence[str],
    *,
    model: str,
    top_n: int | None,
    user: str | None,
    version: int,
) -> JSON:
    """Body of the call."""
    fields: JSON = {"query": query, "documents": list(documents)}
    if version == 2:
        fields["model"] = model
    if top_n is not None:
        fields["top_n"] = top_n
    if user is not None:
        fields["user_id" if version == 1 else "user"] = user
    return fields


def result(answer: Answer, *, model: str, info: ReplyInfo) -> RerankResult:
    """Read an answer.

    Raises:
        BadReply: It has no results.
    """
    reply = convert(answer.document, _Reply)
    if not reply.results:
        raise errors.BadReply("the reply has no ranked documents")
    return RerankResult(
        results=tuple(
            RankedDocument(item.document, item.relevance_score, item.index)
            for item in reply.results
        ),
        model=reply.model or model,
        usage=reply.usage.value() if reply.usage else None,
        is_by_similarity="x-yangfan-rerank" in answer.headers,
        info=info,
        raw=answer.document,
    )


class _Item(msgspec.Struct):
    document: str
    relevance_score: float
    index: int


def _no_items() -> list[_Item]:
    return []


class _Reply(msgspec.Struct):
    model: str = ""
    results: list[_Item] = msgspec.field(default_factory=_no_items)
    usage: UsageItem | None = None
