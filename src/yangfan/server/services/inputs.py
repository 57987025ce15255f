"""Texts and token ids as OpenAI's bodies mix them: one text, several, the ids of one, or those of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.engines.base import TextOrIds
    from yangfan.server.services.service import Target


def texts_or_ids(given: str | Sequence[str | int | list[int]], *, param: str) -> list[TextOrIds]:
    """The inputs in a field that holds a text, texts, the ids of one text, or those of several.

    Args:
        given: What it holds.
        param: Its name.

    Raises:
        Invalid: It holds several kinds at once.
    """
    if isinstance(given, str):
        return [given]
    kinds = {type(each) for each in given}
    if len(kinds) > 1:
        raise Invalid(
            f"{param} holds texts, or token ids, or lists of token ids; here are several of these, send one kind",
            param=param,
        )
    if kinds == {int}:
        return [tuple(cast("Sequence[int]", given))]
    return [tuple(each) if isinstance(each, list) else cast("str", each) for each in given]


async def read_ids(
    target: Target, ids: Sequence[int], *, where: str, param: str, remedy: str = "or send text"
) -> str:
    """The text that token ids are, "" where only a server elsewhere could tell.

    Args:
        target: Whose vocabulary they are of.
        ids: As they came.
        where: Their place in the body: ``prompt[0]``.
        param: Its field.
        remedy: What to do besides encoding with the right tokenizer.

    Raises:
        Invalid: One is not in the vocabulary.
    """
    try:
        return await target.service.decode(ids) or ""
    except Invalid as error:
        raise Invalid(
            f"{where}: {error.message}; encode with this model's own tokenizer, {remedy}",
            param=param,
        ) from None
