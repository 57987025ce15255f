"""The engine vocabulary and what OpenAI-shaped clouds speak, each into the other. Writing is plain, reading is liberal.

Sources: https://platform.openai.com/docs/api-reference/chat and specification C.2 to C.6 for Baidu's own v2 cloud.
"""

from __future__ import annotations

import base64
import re
import secrets
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

from yangfan import errors
from yangfan.engines.base import (
    Answer,
    ChatReply,
    ChatRequest,
    CompletionRequest,
    Delta,
    Finish,
    FunctionCall,
    ImageRequest,
    Message,
    Page,
    Sampling,
    Usage,
    Verdict,
)
from yangfan.engines.wire.calling import NAMED_FUNCTION
from yangfan.engines.wire.reasoning import ReasoningSplitter
from yangfan.errors import EngineFailed, RefusedError, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

Dialect = Literal["openai", "qianfan"]
"""openai: any server of that shape; qianfan: Baidu's v2 cloud, or another Yangfan."""


class Style(NamedTuple):
    """How to write to an upstream.

    Attributes:
        dialect: Its own; vllm: OpenAI's fields and vLLM's.
        longest: Its field for the longest answer.
        strict: Whether it refuses fields that OpenAI does not have.
    """

    dialect: Dialect | Literal["vllm"]
    longest: str
    strict: bool = False


VLLM_STYLE = Style("vllm", "max_tokens")
"""For the server that the vllm engine starts."""


def style_of(dialect: Dialect, base_url: str) -> Style:
    """OpenAI's own newer models refuse the old `max_tokens`, most other servers know nothing else."""
    openai = dialect == "openai" and urlsplit(base_url).hostname == "api.openai.com"
    new = dialect == "qianfan" or openai
    return Style(dialect, "max_completion_tokens" if new else "max_tokens", strict=openai)


_HAN = re.compile("[\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile(r"[^\s\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
MAX_LOG_CHARS = 500


def estimate_tokens(text: str) -> int:
    """Qianfan's documented rough rule, for models whose tokenizer is elsewhere: Han characters + 1.3 · words (B.10)."""
    return round(len(_HAN.findall(text)) + 1.3 * len(_WORD.findall(text)))


def estimate_prompt(request: CompletionRequest) -> int:
    """Tokens of what `request` goes on from: those that came as such need no estimate."""
    return len(request.prompt_ids) or estimate_tokens(request.prompt)


def estimate_messages(messages: Sequence[Message]) -> int:
    """Tokens of a conversation."""
    return estimate_tokens(text_of(messages))


def text_of(messages: Sequence[Message]) -> str:
    """All text of a conversation."""
    parts: list[str] = []
    for message in messages:
        content = message.content
        if isinstance(content, str):
            parts.append(content)
        else:
            parts += [part.text or "" for part in content or ()]
        parts += [f"{call.name} {call.arguments}" for call in message.function_calls]
    return "\n".join(parts)


# ---- out


def chat_body(model: str, request: ChatRequest, style: Style, *, stream: bool) -> bytes:
    """The JSON body that asks an upstream for `request`."""
    body = _generation(model, request.sampling, style, n=request.n, stream=stream)
    body["messages"] = [_message(message) for message in request.messages]
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters or {"type": "object", "properties": {}},
                },
            }
            for tool in request.tools
        ]
        choice = request.tool_choice
        if choice is not None and choice.startswith(NAMED_FUNCTION):
            name = choice.removeprefix(NAMED_FUNCTION)
            body["tool_choice"] = {"type": "function", "function": {"name": name}}
        elif choice is not None:
            body["tool_choice"] = choice
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        body["response_format"] = request.response_format
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    body.update(_thinking(request, style))
    _pass_on(body, request.passed, style)
    return msgspec.json.encode(body)


def _thinking(request: ChatRequest, style: Style) -> dict[str, Any]:
    """Whether to think and how long, in the upstream's own words."""
    wanted = {
        "enable_thinking": request.enable_thinking,
        "thinking_budget": request.thinking_budget,
    }
    said = {name: value for name, value in wanted.items() if value is not None}
    if not said:
        return {}
    if style.dialect == "vllm":  # its templates have the names; one that has none leaves them alone
        budget = {"thinking_token_budget": request.thinking_budget}
        return {"chat_template_kwargs": said, **(budget if "thinking_budget" in said else {})}
    if not style.strict:
        return said
    # OpenAI's own servers know degrees only.
    budget = request.thinking_budget
    if request.enable_thinking is False:
        return {"reasoning_effort": "minimal"}
    if budget is None:
        return {}
    return {"reasoning_effort": next(word for most, word in _EFFORTS if budget <= most)}


_EFFORTS = ((1024, "low"), (8192, "medium"), (float("inf"), "high"))
"""Most tokens of thoughts, and OpenAI's word for as much."""


def completion_body(model: str, request: CompletionRequest, style: Style, *, stream: bool) -> bytes:
    """The JSON body that asks an upstream to go on from a text."""
    body = _generation(model, request.sampling, style, n=request.n, stream=stream)
    body["prompt"] = request.prompt_ids or request.prompt
    if request.logprobs is not None:
        body["logprobs"] = request.logprobs
    if request.echo:
        body["echo"] = True
    _pass_on(body, request.passed, style)
    return msgspec.json.encode(body)


def images_body(model: str, request: ImageRequest, style: Style) -> bytes:
    """The JSON body that asks an upstream for pictures."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": request.prompt,
        "n": request.n,
        "size": f"{request.width}x{request.height}",
    }
    body |= _drawing(request, style)
    if style.dialect == "qianfan" and request.reference is not None:
        body["refer_image"] = _data_uri(request.reference)
    return msgspec.json.encode(body)


def edits_body(model: str, request: ImageRequest, style: Style) -> bytes:
    """The JSON body that asks an upstream to draw over a picture; `form_of` makes of it what servers of OpenAI's shape take."""
    assert request.reference is not None
    body: dict[str, Any] = {"model": model, "prompt": request.prompt, "n": request.n}
    if request.width:
        body["size"] = f"{request.width}x{request.height}"
    body |= _drawing(request, style)
    if style.dialect == "qianfan" and request.strength is not None:
        body["strength"] = request.strength
    body["image"] = _data_uri(request.reference)
    if request.mask is not None:
        body["mask"] = _data_uri(request.mask)
    return msgspec.json.encode(body)


def form_of(body: bytes) -> tuple[bytes, bytes]:
    """A body of `edits_body` as a form with files (multipart/form-data, RFC 7578): its content type, and itself."""
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, value in msgspec.json.decode(body, type=dict[str, Any]).items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        content = str(value).encode()
        if name in _FILES:
            kind, _, data = value.removeprefix("data:").partition(";base64,")
            head += f'; filename="{name}.{kind.removeprefix("image/")}"\r\nContent-Type: {kind}'
            content = base64.b64decode(data)
        parts += [head.encode(), b"\r\n\r\n", content, b"\r\n"]
    end = f"--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}".encode(), b"".join([*parts, end])


_FILES = frozenset({"image", "mask"})
_KINDS = {b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}


def _drawing(request: ImageRequest, style: Style) -> dict[str, Any]:
    """What the bodies of both calls for pictures say besides the picture itself."""
    if style.dialect != "qianfan":
        return {"response_format": "b64_json"}
    wanted: dict[str, Any] = {
        "negative_prompt": request.negative_prompt or None,
        "steps": request.steps,
        "guidance": request.guidance_scale,
        "seed": request.seed,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _data_uri(picture: bytes) -> str:
    kind = next((kind for head, kind in _KINDS.items() if picture.startswith(head)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


_PASSED = {
    "qianfan": frozenset({"user", "metadata", "web_search", "trace_number", "preemptible"}),
    "openai": frozenset({"user"}),
    "vllm": frozenset({"user"}),
}
"""Fields that an upstream may act on; OpenAI's servers refuse `metadata` unless they keep the answer."""


def _pass_on(body: dict[str, Any], passed: Mapping[str, Any], style: Style) -> None:
    body.update((key, value) for key, value in passed.items() if key in _PASSED[style.dialect])


def _generation(
    model: str, sampling: Sampling, style: Style, *, n: int, stream: bool
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        style.longest: sampling.max_output_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "logit_bias": sampling.logit_bias,
        "n": n if n > 1 else None,
    }
    if not style.strict:
        fields["top_k"] = sampling.top_k
    if style.dialect == "qianfan":
        ernie = model.casefold().startswith("ernie")
        fields["penalty_score" if ernie else "repetition_penalty"] = sampling.repetition_penalty
        fields["min_output_tokens"] = sampling.min_output_tokens
    elif not style.strict:
        # As vLLM, SGLang and their kin call them. v1's programs send a penalty that is none, which need not cost a refusal.
        penalty = sampling.repetition_penalty
        fields["repetition_penalty"] = None if penalty == 1 else penalty
        fields["min_tokens"] = sampling.min_output_tokens
    if stream:
        fields["stream"] = True
        fields["stream_options"] = {"include_usage": True}
        if style.dialect == "vllm" and n == 1:  # with more it counts each answer by itself
            fields["stream_options"]["continuous_usage_stats"] = True
    return {"model": model, **{key: value for key, value in fields.items() if value is not None}}


def _message(message: Message) -> dict[str, Any]:
    content: Any = message.content
    if content is not None and not isinstance(content, str):
        content = [
            {"type": "text", "text": part.text or ""}
            if part.image_url is None
            else {
                "type": "image_url",
                "image_url": {"url": part.image_url}
                | ({} if part.detail is None else {"detail": part.detail}),
            }
            for part in message.content or ()
            if not isinstance(part, str)
        ]
    written: dict[str, Any] = {"role": message.role, "content": content}
    if message.function_calls:
        written["tool_calls"] = [
            {
                "id": call.id or f"call_{position}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for position, call in enumerate(message.function_calls)
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    elif message.name is not None:
        written["name"] = message.name
    return written


# ---- in


class Failure(msgspec.Struct, omit_defaults=True):
    """Why there is no answer: what the child found, or what the upstream said (`status` is then its HTTP status)."""

    message: str
    status: int = 0
    code: str = ""
    retry_after_seconds: float | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    function: _Function = msgspec.field(default_factory=_Function)
    id: str | None = None
    index: int | None = None


class _Output(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Output | None = None
    delta: _Output | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """vLLM: the stop string or the token that ended the answer."""
    flag: int | None = None
    ban_round: int | None = None
    need_clear_history: bool | None = None
    logprobs: dict[str, Any] | None = None

    @property
    def verdict(self) -> Verdict | None:
        if not (self.flag or self.need_clear_history or self.ban_round is not None):
            return None
        return Verdict(self.flag or 0, self.ban_round, bool(self.need_clear_history))

    @property
    def output(self) -> _Output:
        if self.text is not None:
            return _Output(content=self.text)
        return self.delta or self.message or _Output()


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Thoughts(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Thoughts | None = None


class _Page(msgspec.Struct):
    url: str | None = None
    title: str | None = None
    index: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    search_results: list[_Page] | None = None
    error: msgspec.Raw | None = None
    yangfan_failure: Failure | None = None


_decode_completion = msgspec.json.Decoder(_Completion).decode


def read_completion(data: bytes) -> _Completion:
    """A whole reply or an event.

    Raises:
        RefusedError: It tells of an error.
        UpstreamFailed: It is none.
    """
    try:
        read = _decode_completion(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise UpstreamFailed(f"it sent something that is no completion: {error}") from error
    if read.yangfan_failure is not None:
        raise refusal_of(read.yangfan_failure)
    if read.error is not None and bytes(read.error) != b"null":
        raise refusal_of(failure_of(200, data))
    return read


def read_reply(data: bytes, prompt_tokens: int) -> ChatReply:
    """The answers in a whole reply; the prompt has about `prompt_tokens` where the upstream does not count."""
    read = read_completion(data)
    if not read.choices:
        raise UpstreamFailed("its reply has no answer")
    answers = tuple(_answer(choice) for choice in sorted(read.choices, key=lambda item: item.index))
    written = "\n".join(answer.reasoning + answer.text for answer in answers)
    estimate = Usage(prompt_tokens, estimate_tokens(written), estimated=True)
    return ChatReply(answers, _usage(read.usage) or estimate, _pages(read))


def _pages(read: _Completion) -> tuple[Page, ...]:
    return tuple(
        Page(position if page.index is None else page.index, page.url, page.title or "")
        for position, page in enumerate(read.search_results or (), start=1)
        if page.url
    )


class StreamReader:
    """Turns the events of one stream into deltas; a finish is held back until the usage behind it has come."""

    def __init__(self, answers: int, prompt_tokens: int) -> None:
        """Expect this many answers to a prompt of about so many tokens."""
        self._unfinished = set(range(answers))
        self._answers = answers
        self._calls: list[list[FunctionCall]] = [[] for _ in range(answers)]
        self._places: list[dict[int, int]] = [{} for _ in range(answers)]
        self._splitters = [ReasoningSplitter() for _ in range(answers)]
        self._held: list[Delta] = []
        self._prompt_tokens = prompt_tokens
        self._written = 0.0
        self._counted: Usage | None = None
        self._pages: tuple[Page, ...] = ()

    def read(self, data: bytes) -> list[Delta]:
        """The deltas that an event's data completes."""
        chunk = read_completion(data)
        self._counted = _usage(chunk.usage) or self._counted
        self._pages = _pages(chunk) or self._pages
        deltas: list[Delta] = []
        for choice in chunk.choices or ():
            if choice.index not in self._unfinished:
                if 0 <= choice.index < self._answers:
                    continue  # some servers send an empty piece behind the end
                raise UpstreamFailed("its stream has more answers than were asked for")
            delta = self._delta(choice)
            if delta is not None and delta.finish is not None:
                self._held.append(delta)
            elif delta is not None:
                deltas.append(delta)
        return deltas

    def end(self) -> list[Delta]:
        """The last deltas, once the stream is over. Raises UpstreamFailed when it broke off."""
        if self._unfinished:
            raise UpstreamFailed("its stream ended in the middle of the answer")
        usage = self._counted or self._estimate()
        self._held[-1] = msgspec.structs.replace(self._held[-1], usage=usage, pages=self._pages)
        return self._held

    def _estimate(self) -> Usage:
        return Usage(self._prompt_tokens, round(self._written), estimated=True)

    def _delta(self, choice: _Choice) -> Delta | None:
        output, index, last = choice.output, choice.index, choice.finish_reason is not None
        for call in output.tool_calls or ():
            self._add_call(index, call)
        text = output.content or ""
        thought = output.reasoning_content or output.reasoning or ""
        if choice.text is None:
            split, text = self._splitters[index].split(text, last=last)
            thought += split
        self._written += estimate_tokens(thought + text)
        verdict = choice.verdict
        if not last:
            if not (text or thought or choice.logprobs or verdict):
                return None
            usage = self._counted or self._estimate()
            return Delta(
                text, index, thought, logprobs=_logprobs(choice), usage=usage, verdict=verdict
            )
        self._unfinished.discard(index)
        calls = tuple(self._calls[index])
        return Delta(
            text,
            index,
            thought,
            calls,
            _logprobs(choice),
            _finish(choice, called=bool(calls)),
            verdict=verdict,
        )

    def _add_call(self, index: int, fragment: _Call) -> None:
        """OpenAI sends a call in fragments of its arguments, Qianfan whole, each perhaps with index 0 or none."""
        calls, places = self._calls[index], self._places[index]
        key = fragment.index if fragment.index is not None else -1
        place = places.get(key)
        begins = place is None or (
            bool(fragment.id) and bool(calls[place].id) and fragment.id != calls[place].id
        )
        arguments = _arguments(fragment)
        if begins:
            places[key] = len(calls)
            calls.append(FunctionCall(fragment.function.name or "", arguments, fragment.id or ""))
            return
        assert place is not None
        known = calls[place]
        calls[place] = FunctionCall(
            known.name or fragment.function.name or "",
            known.arguments + arguments,
            known.id or fragment.id or "",
        )


async def read_stream(
    events: AsyncGenerator[bytes], answers: int, prompt_tokens: int
) -> AsyncGenerator[Delta]:
    """The deltas of a stream of `answers` answers to a prompt of about so many tokens; closing it closes `events`."""
    reader = StreamReader(answers, prompt_tokens)
    try:
        async for data in events:
            if data.strip() == b"[DONE]":
                break
            for delta in reader.read(data):
                yield delta
        for delta in reader.end():
            yield delta
    finally:
        await events.aclose()


def _answer(choice: _Choice) -> Answer:
    output = choice.output
    calls = tuple(
        FunctionCall(call.function.name or "", _arguments(call), call.id or "")
        for call in output.tool_calls or ()
    )
    thought, text = output.reasoning_content or output.reasoning or "", output.content or ""
    if choice.text is None:
        split, text = ReasoningSplitter().split(text, last=True)
        thought += split
    finish = _finish(choice, called=bool(calls))
    return Answer(text, finish, choice.index, thought, calls, _logprobs(choice), choice.verdict)


def _arguments(call: _Call) -> str:
    arguments = call.function.arguments
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()


def _finish(choice: _Choice, *, called: bool) -> Finish:
    if (choice.flag or 0) >= 2 or choice.finish_reason == "content_filter":
        return Finish.CONTENT_FILTER
    if choice.finish_reason == "length":
        return Finish.LENGTH
    if called:
        return Finish.FUNCTION_CALL
    return Finish.STOP_STRING if isinstance(choice.stop_reason, str) else Finish.NATURAL


class _TextLogprobs(msgspec.Struct):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None


def _logprobs(choice: _Choice) -> dict[str, Any] | None:
    """Those of a completion are lists side by side; they become a chat's, an object for each token. The first token of a prompt has none."""
    if choice.logprobs is None or "token_logprobs" not in choice.logprobs:
        return choice.logprobs
    try:
        told = msgspec.convert(choice.logprobs, _TextLogprobs)
    except msgspec.ValidationError as error:
        raise UpstreamFailed(f"its log-probabilities make no sense: {error}") from error
    tops = told.top_logprobs or [None] * len(told.tokens)
    return {
        "content": [
            {
                "token": token,
                "logprob": chance,
                "top_logprobs": [
                    {"token": other, "logprob": its}
                    for other, its in sorted((top or {}).items(), key=_by_chance, reverse=True)
                ],
            }
            for token, chance, top in zip(told.tokens, told.token_logprobs, tops, strict=False)
        ]
    }


def _by_chance(item: tuple[str, float]) -> float:
    return item[1]


def _usage(counts: _Usage | None) -> Usage | None:
    if counts is None or not (counts.prompt_tokens or counts.completion_tokens):
        return None
    details = counts.prompt_tokens_details
    cached = details.cached_tokens if details is not None else 0
    thoughts = counts.completion_tokens_details
    return Usage(
        counts.prompt_tokens or 0,
        counts.completion_tokens or 0,
        cached or 0,
        reasoning_tokens=(thoughts.reasoning_tokens or 0) if thoughts is not None else 0,
    )


# ---- what went wrong


class _Detail(msgspec.Struct):
    message: str | None = None
    code: str | int | None = None
    type: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Detail | str | None = None
    message: str | None = None
    detail: Any = None


_decode_error = msgspec.json.Decoder(_ErrorBody).decode


def failure_of(status: int, body: bytes, retry_after: str | None = None) -> Failure:
    """What an upstream's refusal says."""
    seconds = (
        float(retry_after)
        if retry_after and re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after)
        else None
    )
    try:
        read = _decode_error(body)
    except (msgspec.DecodeError, ValueError):
        shown = "" if body.lstrip()[:1] == b"<" else body.decode("utf-8", "replace").strip()
        return Failure(shown[:MAX_LOG_CHARS] or "no reason given", status, "", seconds)
    detail = read.error
    if isinstance(detail, _Detail):
        code = "" if detail.code is None else str(detail.code)
        text = detail.message or detail.type or code
        return Failure(
            text[:MAX_LOG_CHARS] or "no reason given", status, code or detail.type or "", seconds
        )
    text = detail or read.message or (read.detail if isinstance(read.detail, str) else "")
    return Failure(text[:MAX_LOG_CHARS] or "no reason given", status, "", seconds)


def refusal_of(failure: Failure) -> RefusedError:
    """The exception that a failure means: the upstream's code decides, then its HTTP status."""
    name = _codes().get(failure.code)
    if name is None:
        name = _by_status(failure)
    kind = cast("type[RefusedError]", getattr(errors, name))
    text = failure.message
    if issubclass(kind, EngineFailed):
        if failure.status in {401, 402, 403} or failure.code in {
            "account_overdue",
            "insufficient_quota",
        }:
            text = (
                f"it refused this server's own key or account (HTTP status {failure.status}: {text}); whoever runs this server"
                " must renew the key of that upstream"
            )
        elif failure.status:
            text = f"it answered with HTTP status {failure.status}: {text}"
        return UpstreamFailed(text)
    return kind(text, retry_after_seconds=failure.retry_after_seconds)


def _by_status(failure: Failure) -> str:
    text, status = failure.message.casefold(), failure.status
    if status in {400, 413, 422} and any(
        sign in text
        for sign in ("context length", "context size", "too many tokens", "prompt tokens too long")
    ):
        return "ContextTooLong"
    if status == 429:
        return "RateLimited"
    if status == 503:
        return "Overloaded"
    if status == 404 and "model" in text:
        return "ModelNotFound"
    return "Invalid" if status in {400, 409, 413, 415, 422} else "UpstreamFailed"


def _codes() -> Mapping[str, str]:
    if not _CODES:
        raw = resources.files("yangfan.engines").joinpath("_upstream_errors.toml").read_bytes()
        _CODES.update(msgspec.toml.decode(raw, type=dict[str, dict[str, str]])["codes"])
    return _CODES


_CODES: dict[str, str] = {}
