"""Embeddings in both dialects: texts to body, reply to our types (specification B.7, C.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from yangfan import errors
from yangfan.client.call import convert
from yangfan.client.dialect import UsageItem
from yangfan.client.pictures import Image, address_of
from yangfan.client.types import JSON, EmbeddingsResult, ReplyInfo

Inputs: TypeAlias = (
    str | Sequence[str | Mapping[str, Image]] | Sequence[int] | Sequence[Sequence[int]]
)
"""One text, or several; in v2 also the token ids of one text, those of several, or one mapping with a `text`, an `image` (file, bytes or
address), or both, for multimodal models."""


def body(
    texts: Inputs, *, model: str, user: str | None, version: int, dimensions: int | None = None
) -> JSON:
    """Body of the call; one text is a list of one, because v1 clouds take lists only.

    Raises:
        ConfigurationError: A picture, token ids or dimensions in v1.
    """
    given = [texts] if isinstance(texts, str) else texts
    if version == 1 and any(not isinstance(text, str) for text in given):
        raise errors.ConfigurationError(
            "v1 takes texts alone: make the client with version=2 for pictures and token ids"
        )
    fields: JSON = {
        "input": [_pictured(each) if isinstance(each, Mapping) else each for each in given]
    }
    if version == 2:
        fields["model"] = model
    if dimensions is not None:
        if version == 1:
            raise errors.ConfigurationError(
                "dimensions is a field of v2: leave it out, or make the client with version=2"
            )
        fields["dimensions"] = dimensions
    if user is not None:
        fields["user_id" if version == 1 else "user"] = user
    return fields


def _pictured(given: Mapping[str, Image]) -> dict[str, Image]:
    return {name: address_of(value) if name == "image" else value for name, value in given.items()}


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
