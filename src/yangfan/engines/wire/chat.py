"""The engine vocabulary and OpenAI's chat completions (with llama.cpp's extensions), each into the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines.base import (
    Answer,
    ChatReply,
    ChatRequest,
    Delta,
    Finish,
    FunctionCall,
    Message,
    Part,
    Tool,
    Usage,
)
from yangfan.engines.wire.calling import NAMED_FUNCTION, chosen_tools
from yangfan.engines.wire.errors import refusal_from
from yangfan.engines.wire.generation import SHORT_CHARACTERS, generation_fields
from yangfan.engines.wire.reasoning import (
    CLOSING_TAG,
    OPENING_TAG,
    ReasoningSplitter,
    split_whole,
)
from yangfan.engines.wire.types import (
    ChatBody,
    ChatMessage,
    Choice,
    Completion,
    ContentPart,
    FunctionFragment,
    FunctionSpec,
    ImageURL,
    LoraScale,
    Output,
    Timings,
    ToolCall,
    ToolSpec,
    UsageCounts,
)
from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Completion)


def encode_request(
    model: str, request: ChatRequest, *, stream: bool, lora: list[LoraScale] | None = None
) -> bytes:
    """The JSON body that asks a child for `request`, with the adapters `lora`.

    Raises:
        Invalid: `tool_choice` names a function that is not among the tools.
    """
    fields = generation_fields(
        model,
        request.sampling,
        n=request.n,
        stream=stream,
        lora=lora,
        long=stream and _is_long(request),
    )
    fields["messages"] = encode_messages(request.messages)
    if request.tools:
        tools, fields["tool_choice"] = _choose_tools(request)
        fields["tools"] = [_encode_tool(tool) for tool in tools]
        fields["parallel_tool_calls"] = request.parallel_tool_calls if tools else None
    if request.response_format is not None:
        fields["response_format"] = request.response_format
    if request.logprobs:
        fields["logprobs"] = True
    if request.top_logprobs is not None:
        fields["top_logprobs"] = request.top_logprobs
    if request.enable_thinking is not None:
        fields["chat_template_kwargs"] = {"enable_thinking": request.enable_thinking}
    if request.thinking_budget is not None:
        fields |= _limit_thoughts(request.thinking_budget)
    return _encoder.encode(ChatBody(**fields))


def _limit_thoughts(tokens: int) -> dict[str, Any]:
    return {
        "reasoning_budget_tokens": tokens,
        "reasoning_budget_start_tag": OPENING_TAG,
        "reasoning_budget_end_tags": [CLOSING_TAG],
        "reasoning_budget_end_tag": CLOSING_TAG,
        "reasoning_budget_message": "",
    }


def _is_long(request: ChatRequest) -> bool:
    """Whether reading the prompt takes long enough for the caller to leave meanwhile."""
    if request.tools:
        return True
    characters = 0
    for message in request.messages:
        if not isinstance(message.content, str):
            return True
        characters += len(message.content)
    return characters > SHORT_CHARACTERS


def encode_messages(messages: Sequence[Message]) -> list[ChatMessage]:
    """The conversation as the child reads it."""
    return [
        ChatMessage(
            role=message.role,
            content=message.content
            if isinstance(message.content, str)
            else _encode_content(message.content),
            name=message.name,
            tool_calls=[
                ToolCall(
                    type="function",
                    id=call.id or f"call_{position}",
                    function=FunctionFragment(name=call.name, arguments=call.arguments),
                )
                for position, call in enumerate(message.function_calls)
            ]
            if message.function_calls
            else [],
            tool_call_id=message.tool_call_id,
        )
        for message in messages
    ]


def decode_reply(body: bytes, *, inside: bool = False) -> ChatReply:
    """The answers in a whole reply; `inside` means that the prompt ended inside a thought.

    Raises:
        EngineFailed: The body is not a chat completion.
    """
    completion = _decode(body)
    if completion.usage is None or not completion.choices:
        raise EngineFailed("the engine's reply has no answer or no usage")
    return ChatReply(
        answers=tuple(
            [_decode_answer(choice, completion, inside=inside) for choice in completion.choices]
        ),
        usage=_decode_usage(completion.usage),
    )


class DeltaReader:
    """Turns the events of one stream into deltas, in order.

    The last delta of the request carries its finish and the final usage, so a finish is held back until what follows it is known.
    """

    def __init__(self, answers: int, *, inside: bool = False) -> None:
        """Expect this many answers, each from `inside` a thought if the prompt has opened one."""
        self.done = False
        self._unfinished = set(range(answers))
        self._completion_tokens = [0] * answers
        self._reasoning_tokens = [0] * answers
        self._calls: dict[int, dict[int, FunctionCall]] = {}
        self._splitters = [ReasoningSplitter(inside=inside) for _ in range(answers)]
        self._held: Delta | None = None
        self._usage: Usage | None = None
        self._running_usage: Usage | None = None

    def read(self, data: bytes) -> list[Delta]:
        """The deltas that an event's data completes.

        Raises:
            RefusedError: The event reports an error, or is none of a chat completion.
        """
        if data == b"[DONE]":
            return [self._last()]
        chunk = _decode(data)
        if chunk.usage is not None:
            self._add_usage(chunk.usage)
        deltas: list[Delta] = []
        for choice in chunk.choices:
            if not 0 <= choice.index < len(self._completion_tokens):
                raise EngineFailed("the engine's stream has more answers than were asked for")
            if chunk.timings is not None:
                self._running_usage = self._count(choice.index, chunk.timings)
            delta = self._read_choice(choice, chunk)
            if delta is None:
                continue
            if delta.finish is not None:
                delta, self._held = self._held, delta
            if delta is not None:
                deltas.append(delta)
        return deltas

    def _read_choice(self, choice: Choice, chunk: Completion) -> Delta | None:
        output = choice.delta if choice.text is None else Output(content=choice.text)
        if output is None:
            raise EngineFailed("the engine's stream has a choice without a delta")
        if output.tool_calls:
            self._add_calls(choice.index, output.tool_calls)
        thought, text = self._split(choice, output)
        if thought:  # what came so far, the tag included, is a thought
            self._reasoning_tokens[choice.index] = self._completion_tokens[choice.index]
        if choice.finish_reason is None:
            if not (text or thought or choice.logprobs):
                return None  # the role, a piece of a function call, or what may become a tag
            return Delta(
                text=text,
                index=choice.index,
                reasoning=thought,
                logprobs=choice.logprobs,
                usage=self._running_usage,
            )
        self._unfinished.discard(choice.index)
        calls = tuple(self._calls.pop(choice.index, {}).values())
        return Delta(
            text=text,
            index=choice.index,
            reasoning=thought,
            function_calls=calls,
            logprobs=choice.logprobs,
            finish=_decode_finish(choice.finish_reason, chunk, called=bool(calls)),
            usage=self._running_usage,
        )

    def _split(self, choice: Choice, output: Output) -> tuple[str, str]:
        """Reasoning and answer; a completion has no reasoning."""
        text = output.content or ""
        if choice.text is not None:
            return "", text
        splitter = self._splitters[choice.index]
        thought, text = splitter.split(text, last=choice.finish_reason is not None)
        return (output.reasoning_content or "") + thought, text

    def _add_calls(self, index: int, fragments: list[ToolCall]) -> None:
        calls = self._calls.setdefault(index, {})
        for fragment in fragments:
            position = fragment.index or 0
            known = calls.get(position, FunctionCall(name="", arguments=""))
            calls[position] = FunctionCall(
                name=known.name + (fragment.function.name or ""),
                arguments=known.arguments + (fragment.function.arguments or ""),
                id=fragment.id or known.id,
            )

    def _count(self, index: int, timings: Timings) -> Usage:
        self._completion_tokens[index] = timings.predicted_n
        return Usage(
            prompt_tokens=timings.cache_n + timings.prompt_n,
            completion_tokens=sum(self._completion_tokens),
            cached_tokens=timings.cache_n,
            reasoning_tokens=sum(self._reasoning_tokens),
        )

    def _add_usage(self, counts: UsageCounts) -> None:
        """OpenAI sends one count for the request, llama.cpp one for each answer."""
        usage = _decode_usage(counts)
        if self._usage is not None:
            usage = msgspec.structs.replace(
                usage, completion_tokens=self._usage.completion_tokens + usage.completion_tokens
            )
        self._usage = usage

    def _last(self) -> Delta:
        usage = self._usage or self._running_usage
        if self._held is None or self._unfinished or usage is None:
            raise EngineFailed("the engine's stream ended without saying why or without its usage")
        self.done = True
        usage = msgspec.structs.replace(usage, reasoning_tokens=sum(self._reasoning_tokens))
        return msgspec.structs.replace(self._held, usage=usage)


async def read_deltas(
    events: AsyncGenerator[bytes], answers: int, *, inside: bool = False
) -> AsyncGenerator[Delta]:
    """The deltas of a stream of `answers` answers, from `inside` a thought if the prompt opened one; closing it closes `events`.

    Raises:
        EngineFailed: The stream ended early.
    """
    reader = DeltaReader(answers, inside=inside)
    try:
        async for data in events:
            for delta in reader.read(data):
                yield delta
    finally:
        await events.aclose()
    if not reader.done:
        raise EngineFailed("the engine's stream ended in the middle of the answer; try again")


async def gather_reply(deltas: AsyncIterator[Delta], answers: int) -> ChatReply:
    """A stream of `answers` answers as one whole reply."""
    received: list[list[Delta]] = [[] for _ in range(answers)]
    usage = Usage()
    async for delta in deltas:
        received[delta.index].append(delta)
        usage = delta.usage or usage
    return ChatReply(answers=tuple(map(_join, received)), usage=usage)


def _join(deltas: list[Delta]) -> Answer:
    tokens = [token for delta in deltas for token in (delta.logprobs or {}).get("content") or ()]
    last = deltas[-1]
    assert last.finish is not None
    return Answer(
        text="".join(delta.text for delta in deltas),
        finish=last.finish,
        index=last.index,
        reasoning="".join(delta.reasoning for delta in deltas),
        function_calls=last.function_calls,
        logprobs={"content": tokens} if tokens else None,
    )


def _choose_tools(request: ChatRequest) -> tuple[tuple[Tool, ...], str | None]:
    """Children know "none", "auto" and "required": one function is required by offering only that one."""
    choice = request.tool_choice
    if not request.tools:
        return (), None
    named = choice is not None and choice.startswith(NAMED_FUNCTION)
    return chosen_tools(request), "required" if named else choice


def _encode_tool(tool: Tool) -> ToolSpec:
    function = FunctionSpec(tool.name, tool.description, tool.parameters or None)
    return ToolSpec(type="function", function=function)


def _encode_content(content: tuple[Part, ...] | None) -> list[ContentPart] | None:
    if content is None:
        return None
    return [
        ContentPart(type="text", text=part.text or "")
        if part.image_url is None
        else ContentPart(type="image_url", image_url=ImageURL(part.image_url, part.detail))
        for part in content
    ]


def _decode(data: bytes) -> Completion:
    try:
        completion = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise EngineFailed(
            f"the engine sent something that is no chat completion: {error}"
        ) from error
    if completion.error is not None:
        code = completion.error.code
        raise refusal_from(completion.error, code if isinstance(code, int) else 500)
    return completion


def _decode_answer(choice: Choice, completion: Completion, *, inside: bool) -> Answer:
    message = choice.message or Output()
    calls = tuple(
        [
            FunctionCall(call.function.name or "", call.function.arguments or "", call.id or "")
            for call in message.tool_calls
        ]
    )
    thought, text = split_whole(message.content or "", inside=inside)
    return Answer(
        text=text,
        finish=_decode_finish(choice.finish_reason, completion, called=bool(calls)),
        index=choice.index,
        reasoning=(message.reasoning_content or "") + thought,
        function_calls=calls,
        logprobs=choice.logprobs,
    )


def _decode_finish(reason: str | None, completion: Completion, *, called: bool) -> Finish:
    match reason:
        case "stop" if called:
            return Finish.FUNCTION_CALL
        case "stop":
            stopped = completion.verbose is not None and completion.verbose.stop_type == "word"
            return Finish.STOP_STRING if stopped else Finish.NATURAL
        case "length":
            return Finish.LENGTH
        case "tool_calls":
            return Finish.FUNCTION_CALL
        case "content_filter":
            return Finish.CONTENT_FILTER
        case _:
            raise EngineFailed(f"the engine ended an answer for an unknown reason: {reason!r}")


def _decode_usage(counts: UsageCounts) -> Usage:
    details = counts.prompt_tokens_details
    return Usage(
        prompt_tokens=counts.prompt_tokens,
        completion_tokens=counts.completion_tokens,
        cached_tokens=details.cached_tokens if details is not None else 0,
    )
