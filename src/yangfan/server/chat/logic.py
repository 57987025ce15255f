"""What both dialects share: input limits, defaults, and the way to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import InvalidSystem
from yangfan.server.services import check_characters, check_tokens, with_defaults

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from yangfan.engines.base import ChatReply, ChatRequest, Delta, Message
    from yangfan.server.services import Services, Target

DEFAULT_OUTPUT_TOKENS = 2048
"""Most tokens of an answer when neither the request nor a preset says."""

TEMPLATE_BYTES_PER_MESSAGE = 64
"""Upper bound of what a chat template adds around a message, in bytes, and so in tokens."""


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
        sampling = with_defaults(target, request.sampling, output_tokens=DEFAULT_OUTPUT_TOKENS)
        return msgspec.structs.replace(request, sampling=sampling)

    async def _check_input(self, target: Target, messages: Sequence[Message]) -> None:
        highest = target.preset.max_input_chars if target.preset is not None else None
        texts = [_text(message) for message in messages]
        if highest is not None and messages[0].role == "system" and len(texts[0]) > highest:
            raise InvalidSystem(
                f"Invalid Argument, system is longer than {highest} characters; shorten it"
            )
        check_characters(
            target,
            sum(map(len, texts)),
            of="messages and system have",
            remedy="drop or shorten some",
        )
        # A token holds at least one byte, so most prompts need no exact count.
        upper_bound = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        upper_bound += TEMPLATE_BYTES_PER_MESSAGE * (len(texts) + 1)
        await check_tokens(
            target,
            upper_bound,
            lambda: target.service.count_tokens(messages),
            remedy="drop or shorten messages",
        )


def _text(message: Message) -> str:
    content = message.content
    if content is None:
        return "".join(call.name + call.arguments for call in message.function_calls)
    if isinstance(content, str):
        return content
    return "".join(part.text or "" for part in content)
