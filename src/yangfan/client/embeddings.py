"""Embeddings in both dialects: texts to body, reply to our types (specification B.7, C.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from yangfan import errors
from yangfan.client.call import convert
from yangfan.client.dialect import UsageItem
from yangfan.client.types import JSON, EmbeddingsResult, ReplyInfo

if TYPE_CHECKING:
    from collections.abc import Sequence


def body(texts: str | Sequence[str], *, model: str, user: str | None, version: int) -> JSON:
    """Body of the call; one text is a list of one, because v1 clouds take lists only."""
    fields: JSON = {"input": [texts] if isinstance(texts, str) else list(texts)}
    if version == 2:
        fields["model"] = model
    if user is not None:
        fields["user_id" if version == 1 else "user"] = user
    return fields


def result(document: JSON, *, model: str, info: ReplyInfo) -> EmbeddingsResult:
    """Read an answer.

    Raises:
        BadReply: It has no vectors, or not one for each place.
    """
    answer = convert(document, _Answer)
    vectors = {item.index: tuple(item.embedding) for item in answer.data}
    if not vectors or vectors.keys() != set(range(len(answer.data))):
        raise errors.BadReply("the reply has not one vector for each text")
    return EmbeddingsResult(
        vectors=tuple(vectors[index] for index in range(len(vectors))),
        model=answer.model or model,
        usage=answer.usage.value() if answer.usage else None,
        info=info,
        raw=document,
    )


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


def _no_items() -> list[_Item]:
    return []


class _Answer(msgspec.Struct):
    model: str = ""
    data: list[_Item] = msgspec.field(default_factory=_no_items)
    usage: UsageItem | None = None
