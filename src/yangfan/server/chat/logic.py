"""What both dialects share: input limits, defaults, and the way to the service."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from yangfan.engines.base import Part
from yangfan.errors import Invalid, InvalidSystem
from yangfan.server.chat.memories import question_of, told
from yangfan.server.chat.pictures import read_facts
from yangfan.server.services import (
    booked,
    booked_stream,
    check_characters,
    check_tokens,
    reserve,
    surely_fits,
    with_defaults,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from yangfan.engines.base import ChatReply, ChatRequest, Delta, Message
    from yangfan.protocol.presets import PresetType
    from yangfan.server.chat.memories import Wanted
    from yangfan.server.chat.pictures import Picture, Pictures
    from yangfan.server.http import Meter
    from yangfan.server.memory import Memory
    from yangfan.server.services import Services, Target

DEFAULT_OUTPUT_TOKENS = 2048
"""Most tokens of an answer when neither the request nor a preset says."""

TEMPLATE_BYTES_PER_MESSAGE = 64
"""Upper bound of what a chat template adds around a message, in bytes, and so in tokens."""

PICTURE_TOKENS = 4096
"""Tokens reserved for a picture at least: more than models of a fixed size make of one (LLaVA 576, LLaVA-NeXT 2880)."""

MAX_PICTURE_TOKENS = 16384
"""What Qwen2-VL and its kin make of a large picture: one token for 28 x 28 pixels, at most so many."""


class Chat:
    """Chat with any served model.

    Args:
        services: What is served.
        memory: What can be put in front of a conversation.
        pictures: Gets the pictures that messages name.
        lenient: Whether every call is treated as one with a lenient key.
    """

    def __init__(
        self, services: Services, memory: Memory, pictures: Pictures, *, lenient: bool = False
    ) -> None:
        self.services = services
        self._memory = memory
        self.pictures = pictures
        self.lenient = lenient

    def target(self, name: str, wanted: PresetType = "chat") -> Target:
        """What `name` means here. Raises ModelNotFound."""
        return self.services.resolve(name, wanted)

    async def with_pictures(
        self, target: Target, request: ChatRequest, meter: Meter, *, max_bytes: int
    ) -> ChatRequest:
        """The request with every picture in it as a data URI of a checked file.

        Args:
            target: Who answers.
            request: Its parts may name pictures, by URL or data URI.
            meter: The call's: nothing is fetched for one that its limits refuse, or while others that fetch use them up.
            max_bytes: Most bytes of one picture.

        Raises:
            Invalid: The model reads no pictures; the message names those that do.
            InvalidImage: A picture is not to be had, none, too large or too small, or there are too many.
            ModelForbidden: The key may not use this model.
            RateLimited: A limit has no room now.
            QuotaExceeded: The key's tokens are used up.
        """
        named = _named_pictures(request.messages)
        if not named:
            return request
        if "vision" not in target.service.kinds:
            able = ", ".join(
                service.name for service in self.services.all if "vision" in service.kinds
            )
            raise Invalid(
                f"{target.asked} reads no pictures here; leave image_url parts out, or ask one that does: {able or 'none is served'}",
                param=named[0][1],
            )
        # Others' servers are asked only for a call that may come; what it really needs is reserved once that is known.
        meter.reserve(target, 1)
        found = iter(await self.pictures.get(named, max_bytes=max_bytes))
        messages = tuple(_with_pictures(message, found) for message in request.messages)
        return msgspec.structs.replace(request, messages=messages)

    async def remembering(
        self, request: ChatRequest, wanted: Sequence[Wanted], app_id: str
    ) -> ChatRequest:
        """The request with the words of these memories in front, which count as any other words of it.

        Raises:
            Invalid: The caller's application has no such memory.
        """
        said = [
            await self._memory.words(
                memory.kind,
                memory.id,
                app_id,
                param=memory.param,
                level=memory.level,
                question=question_of(request),
            )
            for memory in wanted
        ]
        return told(request, "\n\n".join(filter(None, said)))

    async def answer(
        self, target: Target, request: ChatRequest, meter: Meter, *, low: bool = False
    ) -> ChatReply:
        """Whole answers; of a call that is `low`, once no other call waits.

        Raises:
            Invalid: The input is too long, or the engine refuses the request.
            ModelForbidden: The key may not use this model.
            RateLimited: A limit has no room now.
            QuotaExceeded: The key's tokens are used up.
            Overloaded: No room or no engine.
            EngineFailed: The engine died repeatedly.
        """
        request = await self._prepared(target, request, meter)
        return await booked(meter, target.service.chat(request, key=meter.key_id, low=low))

    def stream(
        self, target: Target, request: ChatRequest, meter: Meter, *, low: bool = False
    ) -> AsyncGenerator[Delta]:
        """Answers as they come; raises as `answer` does. What was generated until a caller leaves is booked."""

        async def begin() -> AsyncGenerator[Delta]:
            prepared = await self._prepared(target, request, meter)
            return target.service.stream(prepared, key=meter.key_id, low=low)

        return booked_stream(meter, begin, answers=request.n)

    async def _prepared(self, target: Target, request: ChatRequest, meter: Meter) -> ChatRequest:
        prompt_tokens, more_tokens = _most_tokens(target, request.messages), 0
        if not surely_fits(target, prompt_tokens):
            prompt_tokens = await check_tokens(
                target,
                prompt_tokens,
                lambda: target.service.count_tokens(request.messages),
                remedy="drop or shorten messages",
            )
        if has_parts(request.messages):
            more_tokens = most_picture_tokens(request.messages)
        if request.tools:
            # How a template shows the tools is not known; a token of them holds at least a byte.
            more_tokens += sum(len(msgspec.json.encode(tool)) for tool in request.tools)
        context_tokens = target.service.context_tokens

        async def count() -> int:
            tokens = await target.service.count_tokens(request.messages)
            return min(tokens + more_tokens, context_tokens)

        sampling = await reserve(
            meter,
            target,
            with_defaults(target, request.sampling, output_tokens=DEFAULT_OUTPUT_TOKENS),
            prompt_tokens=min(prompt_tokens + more_tokens, context_tokens),
            count=count,
            answers=request.n,
            length_asked=request.sampling.max_output_tokens is not None,
        )
        return msgspec.structs.replace(request, sampling=sampling)


def _most_tokens(target: Target, messages: Sequence[Message]) -> int:
    """An upper bound of the prompt's tokens: each holds at least one byte, so most prompts need no exact count.

    Raises:
        InvalidSystem: The system message has more characters than the name takes.
        TooManyCharacters: All messages together have.
    """
    characters, most_tokens = 0, TEMPLATE_BYTES_PER_MESSAGE * (len(messages) + 1)
    for message in messages:
        content = message.content
        text = content if isinstance(content, str) else _text(message)
        characters += len(text)
        most_tokens += len(text.encode("utf-8", "surrogatepass"))
    highest = target.max_input_chars
    if highest is not None:
        if messages[0].role == "system" and len(_text(messages[0])) > highest:
            raise InvalidSystem(
                f"Invalid Argument, system is longer than {highest} characters; shorten it"
            )
        check_characters(
            target, characters, of="messages and system have", remedy="drop or shorten some"
        )
    return most_tokens


def _text(message: Message) -> str:
    content = message.content
    if content is None:
        return "".join(call.name + call.arguments for call in message.function_calls)
    if isinstance(content, str):
        return content
    return "".join(part.text or "" for part in content)


def has_parts(messages: Sequence[Message]) -> bool:
    """Whether any message has parts, of which some may be pictures."""
    for message in messages:  # noqa: SIM110 - a generator costs five times as much, and this is asked of every call
        if isinstance(message.content, tuple):
            return True
    return False


def _named_pictures(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Every address of a picture, with the field that holds it."""
    return [
        (part.image_url, f"messages[{position}].content[{place}].image_url.url")
        for position, message in enumerate(messages)
        if isinstance(message.content, tuple)
        for place, part in enumerate(message.content)
        if part.image_url is not None
    ]


def _with_pictures(message: Message, found: Iterator[Picture]) -> Message:
    if not isinstance(message.content, tuple):
        return message
    parts = tuple(
        part if part.image_url is None else Part(image_url=next(found).data_uri, detail=part.detail)
        for part in message.content
    )
    return msgspec.structs.replace(message, content=parts)


def most_picture_tokens(messages: Sequence[Message]) -> int:
    """An upper bound; what a picture really costs is known when the engine has read it."""
    return sum(map(_most_tokens_of, _named_pictures(messages)))


def _most_tokens_of(named: tuple[str, str]) -> int:
    # The size is in the first bytes; a JPEG with more in front of it is reserved for at its most.
    head = named[0].partition(",")[2][: 64 * 1024]
    facts = read_facts(base64.b64decode(head))
    if facts is None:
        return MAX_PICTURE_TOKENS
    tokens = -(-facts.width // 28) * -(-facts.height // 28)
    return min(max(tokens, PICTURE_TOKENS), MAX_PICTURE_TOKENS)
