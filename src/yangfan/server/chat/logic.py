"""What both dialects share: input limits, defaults, and the way to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import ContextTooLong, InvalidSystem, TooManyCharacters

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from yangfan.engines.base import ChatReply, ChatRequest, Delta, Message
    from yangfan.server.services import Services, Target

DEFAULT_OUTPUT_TOKENS = 2048
"""Most tokens of an answer when neither the request nor a preset says."""

TEMPLATE_BYTES_PER_MESSAGE = 64
"""Upper bound of what a chat template adds around a message, in bytes, and so in tokens."""

Header = tuple[bytes, bytes]


class Chat:
    """Chat with any served model.

    Args:
        services: What is served.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def target(self, name: str) -> Target:
        """What `name` means here. Raises ModelNotFound."""
        return self._services.resolve(name)

    async def answer(self, target: Target, request: ChatRequest) -> ChatReply:
        """Whole answers.

        Raises:
            Invalid: The input is too long, or the engine refuses the request.
            Overloaded: No room or no engine.
            EngineFailed: The engine died repeatedly.
        """
        request = await self._prepared(target, request)
        return await target.service.chat(request)

    async def stream(self, target: Target, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Answers as they come; raises as `answer` does."""
        request = await self._prepared(target, request)
        async for delta in target.service.stream(request):
            yield delta

    async def _prepared(self, target: Target, request: ChatRequest) -> ChatRequest:
        await self._check_input(target, request.messages)
        sampling, preset = request.sampling, target.preset
        limit = sampling.max_output_tokens
        if limit is None:
            limit = preset.default_output_tokens if preset is not None else DEFAULT_OUTPUT_TOKENS
        limit = min(limit, target.service.context_tokens)
        changes: dict[str, float | int] = {"max_output_tokens": limit}
        if preset is not None and preset.family == "ernie":
            if sampling.temperature is None:
                changes["temperature"] = preset.default_temperature
            if sampling.top_p is None:
                changes["top_p"] = preset.default_top_p
        return msgspec.structs.replace(
            request, sampling=msgspec.structs.replace(sampling, **changes)
        )

    async def _check_input(self, target: Target, messages: Sequence[Message]) -> None:
        max_chars = target.preset.max_input_chars if target.preset is not None else None
        max_tokens = target.preset.max_input_tokens if target.preset is not None else None
        texts = [_text(message) for message in messages]
        if max_chars is not None:
            if messages[0].role == "system" and len(texts[0]) > max_chars:
                raise InvalidSystem(
                    f"Invalid Argument, system is longer than {max_chars} characters; shorten it"
                )
            total = sum(map(len, texts))
            if total > max_chars:
                raise TooManyCharacters(
                    f"the max input characters is {max_chars}; messages and system have {total}, drop or shorten some"
                )
        limit = min(max_tokens or target.service.context_tokens, target.service.context_tokens - 1)
        # A token holds at least one byte, so most prompts need no exact count.
        upper_bound = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        upper_bound += TEMPLATE_BYTES_PER_MESSAGE * (len(texts) + 1)
        if upper_bound <= limit:
            return
        tokens = await target.service.count_tokens(messages)
        if tokens > limit:
            raise ContextTooLong(
                f"Prompt tokens too long: {tokens} tokens, {target.asked} takes {limit}; drop or shorten messages"
            )


def answered_by(target: Target) -> tuple[Header, ...]:
    """The header that names the model that really answers."""
    return ((b"X-Yangfan-Model", target.service.name.encode("ascii", "replace")),)


def pieces(text: str, size_chars: int = 8192) -> list[str]:
    """Text cut so that no event's line passes the 64 KiB that some clients read at most."""
    if len(text) <= size_chars:
        return [text]
    return [text[start : start + size_chars] for start in range(0, len(text), size_chars)]


def _text(message: Message) -> str:
    content = message.content
    if content is None:
        return "".join(call.name + call.arguments for call in message.function_calls)
    if isinstance(content, str):
        return content
    return "".join(part.text or "" for part in content)
