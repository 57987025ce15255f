"""The engine without a model: it answers with what it was told. For tests, demos, tutorials and benchmarks.

What it does, exactly:

* The answer is the text of the last user message (of the last message, if there is no user's). A picture counts as what
  its data URI is: ``[image/png, 67 bytes, 4a5c0a58]``, the last being the first 4 bytes of the SHA-256 of the file.
* `response_format` other than text wraps it: ``{"echo": "…"}``. `tool_choice` "required" or a function's name turns it into a call
  of that function (of the first tool) with the arguments ``{"echo": "…"}``.
* A token is one CJK character or emoji, one word with the white space character before it, or one white space character left over
  (`tokenize`; joining the tokens gives the text). The prompt is ``role: text`` and a line feed for each message.
* A completion goes on by repeating its prompt, token for token, and then ends.
* Token ids, of a prompt or of a text to embed, are code points of Unicode, each a token of its own; half a surrogate pair reads U+FFFD.
* `max_output_tokens`, `stop`, `n` and log-probabilities (always 0.0, a prompt's, too) work; temperature, penalties, seed and the like change
  nothing.
* Embeddings are the hashed character n-grams of `_ngrams`: like texts have like vectors. Rerank scores by their cosines.
* A picture is a square in a colour of the seed on a ground in a colour of the prompt; everything but size, n and seed changes nothing.
* A prompt that leaves no token of the context for an answer is refused as too long.
* More requests than slots wait, first come, first served; a client that leaves frees its slot.

Options (`EngineSpec.options`):
    delay_seconds: Time that each token takes (default 0). Whole replies take as long as streams.
    prefix: Text in front of every answer to a conversation (default none): tells two services apart.
    start_seconds: Time that it takes to become ready (default 0), as a large model does.
    start_fails: Whether it ends instead of becoming ready, as a broken model does.
    fail_every: Every so many generations one fails (default 0: none; 1: each), as an engine that is short of memory does.

It is a child process like every engine: ``python -m yangfan.engines.echo`` reads one line of JSON (`EchoConfig`) from stdin, writes
``{"port": …, "context_tokens": …}`` to stdout, and then speaks OpenAI's chats and completions on 127.0.0.1 until stdin closes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from yangfan.engines._ngrams import cosine, vector_of
from yangfan.engines._png import square_on_ground
from yangfan.engines.base import Fit
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.embeddings import (
    EmbeddingItem,
    EmbeddingsResult,
    RerankBody,
    RerankItem,
    RerankResult,
)
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.engines.wire.errors import ErrorBody, ErrorDetail
from yangfan.engines.wire.images import ImageItem, ImagesBody, ImagesResult
from yangfan.engines.wire.listener import Exchange
from yangfan.engines.wire.types import (
    ChatBody,
    ChatMessage,
    Choice,
    Completion,
    CompletionBody,
    DetokenizeBody,
    Detokenized,
    FunctionFragment,
    GenerationBody,
    Output,
    Prompt,
    SlotState,
    TemplateBody,
    Timings,
    TokenizeBody,
    ToolCall,
    UsageCounts,
    Verbose,
)
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from yangfan.engines.base import Engine, EngineSpec, Kind, ModelFacts

DEFAULT_CONTEXT_TOKENS = 8192

# Kana, Hangul and Han with their punctuation; emoji and pictographs.
_WIDE = "\u2600-\u27bf\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U0001f000-\U0001faff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_WIDE}]|\s?[^\s{_WIDE}]+|\s")


class EchoOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What `EngineSpec.options` may hold."""

    delay_seconds: Annotated[float, Meta(ge=0)] = 0.0
    prefix: str = ""
    start_seconds: Annotated[float, Meta(ge=0)] = 0.0
    start_fails: bool = False
    fail_every: Annotated[int, Meta(ge=0)] = 0


class EchoConfig(msgspec.Struct):
    """The line that the child reads. `port` 0 picks a free one."""

    api_key: str
    model: str = "echo"
    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    slots: int = 16
    delay_seconds: float = 0.0
    port: int = 0
    prefix: str = ""
    start_seconds: float = 0.0
    start_fails: bool = False
    fail_every: int = 0


def create(spec: EngineSpec, workdir: Path) -> Engine:
    """Make the (not yet started) engine.

    Raises:
        ConfigurationError: An option is unknown or has the wrong type.
    """
    try:
        options = msgspec.convert(dict(spec.options), EchoOptions)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of the echo engine: {error}") from error
    config = EchoConfig(
        api_key="",
        model=spec.model,
        context_tokens=spec.context_tokens or DEFAULT_CONTEXT_TOKENS,
        slots=spec.slots,
        **msgspec.structs.asdict(options),
    )
    process = ChildProcess(
        f"the echo engine of {spec.model!r}", [sys.executable, "-m", __spec__.name], workdir
    )
    kinds: frozenset[Kind] = frozenset({"chat", "vision", "embeddings", "rerank", "images"})
    return EchoEngine(spec, process, msgspec.structs.asdict(config), kinds=kinds)


FORMATS: frozenset[str] = frozenset()
"""It reads no model."""


def fit(model: ModelFacts) -> Fit:
    """It suits no model: it repeats what it is told."""
    del model
    return Fit(None, "reads no models")


def missing() -> str | None:
    """It can always run."""
    return None


def tokenize(text: str) -> list[str]:
    """The tokens of `text`; joined they are `text` again."""
    return _TOKEN.findall(text)


def spell(ids: Iterable[int]) -> list[str]:
    """The tokens that ids are: code points. Raises ValueError for what is none."""
    return ["\ufffd" if 0xD800 <= token < 0xE000 else chr(token) for token in ids]


class EchoEmbeddingsBody(msgspec.Struct):
    """Body of POST /v1/embeddings: each text whole, in its tokens or in ids."""

    input: list[str | list[str | int]]


class EchoEngine(ChildEngine):
    """The echo in a child process."""

    SCORES_PROMPTS = True


class EchoCompletion(Completion):
    """A completion with the fields that strict OpenAI clients ask for."""

    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""


class Plan(msgspec.Struct):
    """What a request will be answered with, and why that ends: known before the first token is sent."""

    prompt_tokens: int
    tokens: list[str]
    finish_reason: str
    stop_type: str
    call: ToolCall | None = None
    read: list[str] = []
    """Tokens of a prompt whose log-probabilities are told."""


def make_plan(body: ChatBody, context_tokens: int, prefix: str = "") -> Plan | ErrorDetail:
    """Decide the whole answer."""
    prompt_tokens = len(tokenize(render(body.messages)))
    if prompt_tokens >= context_tokens:
        return _too_long(prompt_tokens, context_tokens)
    text = prefix + _last_user_text(body.messages)
    if body.tools and body.tool_choice == "required":
        return _plan_call(body, text, prompt_tokens)
    if body.response_format is not None and body.response_format.get("type") != "text":
        text = _echo_json(text)
    return _plan_text(body, text, prompt_tokens, context_tokens)


def make_completion_plan(body: CompletionBody, context_tokens: int) -> Plan | ErrorDetail:
    """Decide the whole continuation."""
    read = tokenize(body.prompt) if isinstance(body.prompt, str) else spell(body.prompt)
    if len(read) >= context_tokens:
        return _too_long(len(read), context_tokens)
    plan = _plan_text(body, "".join(read), len(read), context_tokens)
    if body.echo:
        plan.read = read
    return plan


def _too_long(prompt_tokens: int, context_tokens: int) -> ErrorDetail:
    return ErrorDetail(
        code=400,
        message=f"request ({prompt_tokens} tokens) exceeds the available context size ({context_tokens} tokens)",
        type="exceed_context_size_error",
        n_prompt_tokens=prompt_tokens,
        n_ctx=context_tokens,
    )


def _plan_text(body: GenerationBody, text: str, prompt_tokens: int, context_tokens: int) -> Plan:
    cuts = [cut for cut in (text.find(stop) for stop in body.stop if stop) if cut >= 0]
    if cuts:
        text = text[: min(cuts)]
    tokens = tokenize(text)
    room = context_tokens - prompt_tokens
    limit = min(room, body.max_tokens if body.max_tokens is not None else room)
    if len(tokens) > limit:
        return Plan(prompt_tokens, tokens[:limit], "length", "limit")
    return Plan(prompt_tokens, tokens, "stop", "word" if cuts else "eos")


def render(messages: list[ChatMessage]) -> str:
    """The chat template."""
    return "".join(f"{message.role}: {_text(message)}\n" for message in messages)


def _plan_call(body: ChatBody, text: str, prompt_tokens: int) -> Plan:
    arguments = _echo_json(text)
    function = FunctionFragment(name=body.tools[0].function.name, arguments=arguments)
    call = ToolCall(type="function", id="call_0", index=0, function=function)
    return Plan(prompt_tokens, tokenize(arguments), "tool_calls", "eos", call)


def _echo_json(text: str) -> str:
    return msgspec.json.encode({"echo": text}).decode()


def _last_user_text(messages: list[ChatMessage]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            return _text(message)
    return _text(messages[-1]) if messages else ""


def _text(message: ChatMessage) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    return "".join(
        part.text or "" if part.image_url is None else _seen(part.image_url.url)
        for part in message.content
    )


def _seen(uri: str) -> str:
    """What a picture is, from the outside. Raises ValueError for anything but a data URI: nothing is fetched here."""
    head, comma, text = uri.partition(";base64,")
    if not comma or not head.startswith("data:"):
        raise ValueError("a picture must come as a data URI")
    data = base64.b64decode(text, validate=True)
    digest = hashlib.sha256(data).hexdigest()[:8]
    return f"[{head.removeprefix('data:')}, {len(data)} bytes, {digest}]"


class Echo:
    """The child's service: answers the exchanges of all connections."""

    def __init__(self, config: EchoConfig) -> None:
        """All slots are free."""
        self._config = config
        self._slots = asyncio.Semaphore(config.slots)
        self._busy = self._generations = 0
        self._ids = itertools.count(1)
        self._encode = msgspec.json.Encoder().encode
        self._decode_chat = msgspec.json.Decoder(ChatBody).decode
        self._decode_completion = msgspec.json.Decoder(CompletionBody).decode
        self._routes = {
            "/v1/chat/completions": self._chat,
            "/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/completions": self._complete,
            "/v1/embeddings": self._embed,
            "/v1/rerank": self._rerank,
            "/v1/images/generations": self._draw,
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
            "/apply-template": self._apply_template,
            "/slots": self._report_slots,
            "/health": self._report_health,
        }

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        handle = self._routes.get(exchange.path)
        try:
            if handle is None:
                self._refuse(exchange, 404, f"no such path: {exchange.path}")
            else:
                handle(exchange)
        except (msgspec.DecodeError, ValueError) as error:
            self._refuse(exchange, 400, str(error))

    def _chat(self, exchange: Exchange) -> None:
        body = self._decode_chat(exchange.body)
        self._generate(
            exchange, body, make_plan(body, self._config.context_tokens, self._config.prefix)
        )

    def _complete(self, exchange: Exchange) -> None:
        body = self._decode_completion(exchange.body)
        self._generate(exchange, body, make_completion_plan(body, self._config.context_tokens))

    def _generate(self, exchange: Exchange, body: GenerationBody, plan: Plan | ErrorDetail) -> None:
        self._generations += 1
        if self._config.fail_every and self._generations % self._config.fail_every == 0:
            self._refuse(exchange, 500, "told to fail by the option fail_every")
        elif not 1 <= body.n <= self._config.slots:
            self._refuse(exchange, 400, f"n must be between 1 and {self._config.slots}")
        elif isinstance(plan, ErrorDetail):
            exchange.reply(400, self._encode(ErrorBody(plan)))
        elif body.stream:
            exchange.spawn(self._stream(exchange, body, plan))
        elif self._config.delay_seconds > 0 or self._slots.locked():
            exchange.spawn(self._reply_later(exchange, body, plan))
        else:
            exchange.reply(200, self._whole(body, plan))

    async def _reply_later(self, exchange: Exchange, body: GenerationBody, plan: Plan) -> None:
        async with self._slots:
            self._busy += 1
            try:
                await asyncio.sleep(self._config.delay_seconds * len(plan.tokens))
            finally:
                self._busy -= 1
        exchange.reply(200, self._whole(body, plan))

    async def _stream(self, exchange: Exchange, body: GenerationBody, plan: Plan) -> None:
        async with self._slots:
            self._busy += 1
            try:
                await self._send_chunks(exchange, body, plan)
            finally:
                self._busy -= 1
        exchange.end_stream()

    async def _send_chunks(self, exchange: Exchange, body: GenerationBody, plan: Plan) -> None:
        chunk = self._completion(body, "chat.completion.chunk")

        async def send(choice: Choice) -> None:
            chunk.choices = [choice]
            await exchange.send_event(self._encode(chunk))

        indexes = range(body.n)
        exchange.start_stream()
        for index in indexes if isinstance(body, ChatBody) else ():
            await send(Choice(index, delta=Output(role="assistant")))
        for index in indexes if plan.read else ():
            await send(Choice(index, text="", logprobs=_read(plan.read)))
        for count, token in enumerate(plan.tokens, 1):
            await asyncio.sleep(self._config.delay_seconds)
            if body.timings_per_token:
                chunk.timings = Timings(prompt_n=plan.prompt_tokens, predicted_n=count)
            for index in indexes if plan.call is None else ():
                await send(_piece(body, index, token))
        if body.verbose:
            chunk.verbose = Verbose(plan.stop_type)
        for index in indexes:
            if plan.call is not None:
                await send(Choice(index, delta=Output(tool_calls=[plan.call])))
            last = _piece(body, index, "")
            last.finish_reason = plan.finish_reason
            await send(last)
        if body.stream_options is not None and body.stream_options.include_usage:
            chunk.choices, chunk.verbose = [], None
            chunk.usage = _usage(body, plan)
            await exchange.send_event(self._encode(chunk))
        await exchange.send_event(b"[DONE]")

    def _whole(self, body: GenerationBody, plan: Plan) -> bytes:
        completion = self._completion(body, "chat.completion")
        completion.choices = [_answer(body, index, plan) for index in range(body.n)]
        completion.usage = _usage(body, plan)
        completion.verbose = Verbose(plan.stop_type) if body.verbose else None
        return self._encode(completion)

    def _completion(self, body: GenerationBody, chat_object: str) -> EchoCompletion:
        is_chat = isinstance(body, ChatBody)
        return EchoCompletion(
            id=f"{'chatcmpl' if is_chat else 'cmpl'}-{next(self._ids)}",
            object=chat_object if is_chat else "text_completion",
            created=int(time.time()),
            model=self._config.model,
        )

    def _embed(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=EchoEmbeddingsBody)
        texts = ["".join(map(_spelt, text)) for text in body.input]
        counts = [len(text if isinstance(text, list) else tokenize(text)) for text in body.input]
        if max(counts) > self._config.context_tokens:
            detail = _too_long(max(counts), self._config.context_tokens)
            exchange.reply(400, self._encode(ErrorBody(detail)))
            return
        items = [EmbeddingItem(index, vector_of(text)) for index, text in enumerate(texts)]
        result = EmbeddingsResult(items, UsageCounts(sum(counts), 0, sum(counts)))
        exchange.reply(200, self._encode(result))

    def _rerank(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=RerankBody)
        query = vector_of(body.query)
        items = [
            RerankItem(index, cosine(query, vector_of(document)))
            for index, document in enumerate(body.documents)
        ]
        tokens = sum(len(tokenize(text)) for text in (body.query, *body.documents))
        exchange.reply(200, self._encode(RerankResult(items, UsageCounts(tokens, 0, tokens))))

    def _draw(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=ImagesBody)
        first = secrets.randbits(32) if body.seed is None else body.seed
        items: list[ImageItem] = []
        for seed in ((first + index) % 2**32 for index in range(body.n)):
            picture = square_on_ground(
                body.width, body.height, _colour(f"seed {seed}"), _colour(body.prompt)
            )
            items.append(ImageItem(base64.b64encode(picture).decode("ascii"), seed))
        tokens = len(tokenize(body.prompt))
        exchange.reply(200, self._encode(ImagesResult(items, UsageCounts(tokens, 0, tokens))))

    def _tokenize(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=TokenizeBody)
        exchange.reply(200, self._encode({"tokens": tokenize(body.content)}))

    def _detokenize(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=DetokenizeBody)
        exchange.reply(200, self._encode(Detokenized("".join(spell(body.tokens)))))

    def _apply_template(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=TemplateBody)
        exchange.reply(200, self._encode(Prompt(render(body.messages))))

    def _report_slots(self, exchange: Exchange) -> None:
        states = [
            SlotState(
                id=number, n_ctx=self._config.context_tokens, is_processing=number < self._busy
            )
            for number in range(self._config.slots)
        ]
        exchange.reply(200, self._encode(states))

    def _report_health(self, exchange: Exchange) -> None:
        exchange.reply(200, b'{"status":"ok"}')

    def _refuse(self, exchange: Exchange, status: int, message: str) -> None:
        detail = ErrorDetail(code=status, message=message, type="invalid_request_error")
        exchange.reply(status, self._encode(ErrorBody(detail)))


def _spelt(token: str | int) -> str:
    return token if isinstance(token, str) else spell([token])[0]


def _colour(text: str) -> tuple[int, int, int]:
    red, green, blue = hashlib.sha256(text.encode("utf-8", "replace")).digest()[:3]
    return red, green, blue


def _piece(body: GenerationBody, index: int, text: str) -> Choice:
    """The next piece of an answer; without text it only carries the end."""
    logprobs = _logprobs([text]) if text and _wants_logprobs(body) else None
    if isinstance(body, ChatBody):
        return Choice(index, delta=Output(content=text or None), logprobs=logprobs)
    return Choice(index, text=text, logprobs=logprobs)


def _answer(body: GenerationBody, index: int, plan: Plan) -> Choice:
    text = "".join(plan.tokens)
    choice = Choice(index, finish_reason=plan.finish_reason)
    choice.logprobs = _logprobs(plan.tokens) if _wants_logprobs(body) else None
    if not isinstance(body, ChatBody):
        choice.text = text
    elif plan.call is None:
        choice.message = Output(role="assistant", content=text)
    else:
        choice.message = Output(role="assistant", tool_calls=[plan.call])
    return choice


def _wants_logprobs(body: GenerationBody) -> bool:
    return isinstance(body, ChatBody | CompletionBody) and bool(body.logprobs)


def _usage(body: GenerationBody, plan: Plan) -> UsageCounts:
    completion_tokens = len(plan.tokens) * body.n
    return UsageCounts(
        plan.prompt_tokens, completion_tokens, plan.prompt_tokens + completion_tokens
    )


def _read(tokens: list[str]) -> dict[str, Any]:
    """The log-probabilities of a prompt: nothing goes before its first token."""
    told = _logprobs(tokens)
    for token in told["content"][1:]:
        token["top_logprobs"] = [{"token": token["token"], "logprob": 0.0}]
    told["content"][0]["logprob"] = None
    return told


def _logprobs(tokens: list[str]) -> dict[str, Any]:
    content = [
        {"token": token, "bytes": list(token.encode()), "logprob": 0.0, "top_logprobs": []}
        for token in tokens
    ]
    return {"content": content}


async def _serve(link: ParentLink, config: EchoConfig) -> None:
    await asyncio.sleep(config.start_seconds)
    if config.start_fails:
        raise SystemExit("told to fail by the option start_fails")
    loop = asyncio.get_running_loop()
    echo = Echo(config)
    server = await loop.create_server(
        lambda: Exchange(echo.answer, config.api_key), "127.0.0.1", config.port
    )
    port = server.sockets[0].getsockname()[1]
    ready = Ready(port, config.context_tokens, vocabulary_tokens=sys.maxunicode + 1)
    link.ready(msgspec.json.encode(ready))
    await server.serve_forever()


def main() -> None:
    """Run the child."""
    link = ParentLink()
    config = msgspec.json.decode(link.config, type=EchoConfig)
    with asyncio.Runner(loop_factory=_fast_loop_factory()) as runner:
        runner.run(_serve(link, config))


def _fast_loop_factory() -> Any:
    try:
        import uvloop  # absent on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
