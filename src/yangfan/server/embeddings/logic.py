"""What both dialects share: the limits on texts, and the way to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.errors import ContextTooLong, Invalid, QuotaExceeded, TokenRateLimited
from yangfan.server.chat import PICTURE_TOKENS, V2_PICTURE_BYTES
from yangfan.server.services import read_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.engines.base import EmbeddingsReply, TextOrIds
    from yangfan.server.chat import Pictures
    from yangfan.server.http.metering import Meter
    from yangfan.server.services import Services, Target

MAX_TEXTS = 16
"""Texts of one call, for names without a limit of their own."""

SPECIAL_TOKENS = 2
"""Begin and end of a text, which encoders add."""

SEND_TEXT = (
    "or send text (LangChain's OpenAIEmbeddings encodes for OpenAI's models and sends text with"
    " check_embedding_ctx_length=False)"
)


class Embeddings:
    """Turn texts into vectors with any served model that can.

    Args:
        services: What is served.
        pictures: Gets the picture that a call names.
    """

    def __init__(self, services: Services, pictures: Pictures) -> None:
        self._services = services
        self._pictures = pictures

    def target(self, name: str) -> Target:
        """What `name` means here. Raises ModelNotFound."""
        return self._services.resolve(name, "embeddings")

    async def answer(
        self,
        target: Target,
        texts: str | Sequence[TextOrIds] | None,
        meter: Meter,
        *,
        dimensions: int | None = None,
        low: bool = False,
    ) -> EmbeddingsReply:
        """One vector for each text, of so many `dimensions` if a server elsewhere can choose; a string is one text. A call that is `low` waits for all others.

        Raises:
            RateLimited: A limit has no room now.
            QuotaExceeded: The key's tokens are used up.
            Invalid: No text, a blank one, too many, one that is too long for the name that was called, or a token id that the model
                does not have.
            ContextTooLong: A text has more tokens than the model that answers takes.
            Overloaded: No room or no engine.
            EngineFailed: The engine died repeatedly.
        """
        given = [texts] if isinstance(texts, str) else texts or []
        if not all(isinstance(each, str) for each in given):
            meter.reserve(target, 1)  # the engine reads token ids only for a call that may come
        checked = await _checked(target, given)
        sizes = [_most_tokens(text) for text in checked]
        try:
            meter.reserve(target, sum(sizes))
        except (TokenRateLimited, QuotaExceeded):
            counts = [await _count(target, text) for text in checked]
            meter.reserve(target, sum(counts))
        await _check_tokens(target, checked, sizes)
        reply = await target.service.embed(
            checked, dimensions=dimensions, key=meter.key_id, low=low
        )
        meter.settle(reply.usage.prompt_tokens, 0)
        return reply

    async def with_picture(
        self, target: Target, text: str, picture: str, meter: Meter, *, low: bool = False
    ) -> EmbeddingsReply:
        """One vector for a picture and its text, which may be empty; raises as `answer` does, and for what is no picture."""
        if not target.service.remote:
            raise Invalid(
                f"{target.asked} reads no pictures here: no model that runs here turns them into vectors; leave image out",
                param="input",
            )
        if text:
            await _checked(target, [text])
        # Others' servers are asked only for a call that may come.
        meter.reserve(target, 1)
        (found,) = await self._pictures.get(
            [(picture, "input[0].image")], max_bytes=V2_PICTURE_BYTES
        )
        meter.reserve(target, len(text.encode("utf-8", "surrogatepass")) + PICTURE_TOKENS)
        reply = await target.service.embed_picture(text, found.data_uri, key=meter.key_id, low=low)
        meter.settle(reply.usage.prompt_tokens, 0)
        return reply


def _most_tokens(text: TextOrIds) -> int:
    if isinstance(text, str):
        return len(text.encode("utf-8", "surrogatepass")) + SPECIAL_TOKENS
    return len(text)


async def _count(target: Target, text: TextOrIds) -> int:
    return await target.service.count_text_tokens(text) if isinstance(text, str) else len(text)


async def _checked(target: Target, texts: Sequence[TextOrIds]) -> Sequence[TextOrIds]:
    if not texts:
        raise Invalid(
            "embeddings input can not be empty; send a list of texts, or one", param="input"
        )
    max_texts = target.max_inputs or MAX_TEXTS
    if len(texts) > max_texts:
        raise Invalid(
            f"embeddings max batch size is {max_texts}; {len(texts)} texts came, send them in several calls",
            param="input",
        )
    max_chars = target.max_input_chars
    for position, given in enumerate(texts):
        where = f"input[{position}]"
        if not isinstance(given, str):
            _check_context(target, given, where)
            text = await read_ids(target, given, where=where, param="input", remedy=SEND_TEXT)
        elif not (text := given).strip():
            raise Invalid(
                f"embeddings input can not be blank; {where} holds no text", param="input"
            )
        if max_chars is not None and len(text) > max_chars:
            raise Invalid(
                f"embeddings max length per batch size is {max_chars}; {where} has {len(text)} characters,"
                " shorten or split it",
                param="input",
            )
    return texts


def _check_context(target: Target, ids: tuple[int, ...], where: str) -> None:
    """Refuse more token ids than the model takes before all of them are looked at; only a server elsewhere knows how many it takes."""
    most = target.service.context_tokens
    if not target.service.remote and len(ids) > most:
        raise ContextTooLong(
            f"{where} has {len(ids)} tokens and {target.service.name} takes {most}; shorten or split it"
        )


async def _check_tokens(target: Target, texts: Sequence[TextOrIds], sizes: list[int]) -> None:
    """Hold the texts against the limit of the name that was called; the model holds them against its own."""
    max_tokens = target.max_input_tokens
    if max_tokens is None:
        return
    for position, (text, size) in enumerate(zip(texts, sizes, strict=True)):
        # A token holds at least one byte, so most texts need no exact count.
        if size > max_tokens and (tokens := await _count(target, text)) > max_tokens:
            raise Invalid(
                f"embeddings max tokens per batch size is {max_tokens}; input[{position}] has {tokens} tokens,"
                " shorten or split it",
                param="input",
            )
