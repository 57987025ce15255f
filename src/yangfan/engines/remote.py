"""The engine that asks somebody else: Baidu's v2 cloud, or any server of OpenAI's shape.

A child process of its own holds the key, the connections and TLS; it takes plain OpenAI bodies on loopback and sends them on over
https, through `yangfan.egress`. This side translates. One child serves every model of its upstream: `for_model` gives the others.

Options (`EngineSpec.options`):
    base_url: Such as ``https://qianfan.baidubce.com/v2``.
    dialect: openai or qianfan.
    secret: The upstream's key. It travels to the child by stdin.
    allow, proxy, ca_file: What `yangfan.egress` is told; `ca_file` names further certificates to trust.
    connect_timeout_seconds, first_byte_timeout_seconds, idle_timeout_seconds: 10, 120 and 120 by default.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import sys
import time
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from yangfan.egress import Egress
from yangfan.engines._remote_bodies import (
    Dialect,
    Failure,
    Style,
    chat_body,
    completion_body,
    edits_body,
    estimate_messages,
    estimate_prompt,
    estimate_tokens,
    failure_of,
    form_of,
    images_body,
    read_completion,
    read_reply,
    read_stream,
    refusal_of,
    style_of,
)
from yangfan.engines._upstream import Answer, LostError, NonsenseError, Upstream
from yangfan.engines.base import EmbeddingsReply, Fit, ImagesReply, RerankReply, Slots, Usage
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.engines.wire.listener import Exchange
from yangfan.errors import (
    ConfigurationError,
    EngineFailed,
    FetchError,
    RefusedError,
    UpstreamFailed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from yangfan.engines.base import (
        ChatReply,
        ChatRequest,
        CompletionRequest,
        Delta,
        EngineSpec,
        ImageRequest,
        Kind,
        Message,
        ModelFacts,
        TextOrIds,
    )
    from yangfan.engines.wire.pool import Pool

FORMATS: frozenset[str] = frozenset({"remote"})
UNKNOWN_CONTEXT_TOKENS = 10_000_000
"""The upstream decides how long a prompt may be, and says so."""

MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_IMAGE_BYTES = 20 * 1024 * 1024
_STREAM = "/stream"
_T = TypeVar("_T")
_CHAT, _COMPLETIONS, _EMBEDDINGS = "/chat/completions", "/completions", "/embeddings"
_RERANK, _RERANKERS, _MODELS = "/rerank", "/rerankers", "/models"
_IMAGES, _EDITS = "/images/generations", "/images/edits"


class RemoteOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `EngineSpec.options` may hold."""

    base_url: str
    dialect: Dialect = "openai"
    secret: str = ""
    allow: tuple[str, ...] = ()
    proxy: str | None = None
    ca_file: str | None = None
    connect_timeout_seconds: float = 10.0
    first_byte_timeout_seconds: float = 120.0
    idle_timeout_seconds: float = 120.0

    def __repr__(self) -> str:
        """No secrets."""
        return f"RemoteOptions({self.base_url!r})"


class RemoteConfig(RemoteOptions, kw_only=True):
    """The line that the child reads; `api_key` is what callers on loopback must present, `secret` what the upstream wants."""

    api_key: str
    slots: int = 256


class RemoteModel(msgspec.Struct, frozen=True):
    """A model that an upstream lists; `type` is empty where it does not say."""

    id: str
    type: str = ""


def create(spec: EngineSpec, workdir: Path) -> RemoteEngine:
    """Make the (not yet started) engine.

    Raises:
        ConfigurationError: An option is missing, unknown or has the wrong type.
    """
    try:
        options = msgspec.convert(dict(spec.options), RemoteOptions)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of the remote engine: {error}") from None
    process = ChildProcess(
        f"the engine of the upstream {spec.model!r}", [sys.executable, "-m", __spec__.name], workdir
    )
    public = msgspec.structs.replace(
        spec, options={key: value for key, value in spec.options.items() if key != "secret"}
    )
    config = {**msgspec.structs.asdict(options), "slots": spec.slots}
    return RemoteEngine(public, process, config, style_of(options.dialect, options.base_url))


def fit(model: ModelFacts) -> Fit:
    """It is the only way to somebody else's server."""
    del model
    return Fit(10, "asks the server that has the model")


def missing() -> str | None:
    """It can always run."""
    return None


class RemoteEngine(ChildEngine):
    """`yangfan.engines.base.Engine` over the child; every method says which upstream failed."""

    def __init__(
        self, spec: EngineSpec, process: ChildProcess, config: dict[str, Any], style: Style
    ) -> None:
        """Describe the engine; nothing runs yet."""
        super().__init__(spec, process, config)
        self.kinds: frozenset[Kind] = frozenset({"chat", "vision"})
        self.context_tokens = spec.context_tokens or UNKNOWN_CONTEXT_TOKENS
        self._style = style
        self._host = self
        self._name = spec.model
        self.tell: Callable[[str, float], None] = _tell_nobody
        """Told of each call that ended: "ok", "client_gone" or the error's class, and the seconds that it took."""

    def __repr__(self) -> str:
        """No secrets."""
        return f"RemoteEngine({self.spec.model!r})"

    def for_model(self, model: str, kinds: frozenset[Kind]) -> RemoteEngine:
        """Another model of the same upstream, over the same child."""
        other = RemoteEngine.__new__(RemoteEngine)
        other.__dict__.update(self.__dict__)
        other.spec = msgspec.structs.replace(self.spec, model=model)
        other.kinds = kinds
        return other

    @property
    def running(self) -> bool:
        """Whether the child is up."""
        return super().running if self._host is self else self._host.running

    async def models(self) -> list[RemoteModel]:
        """What the upstream lists."""
        reply = await self._post(_MODELS, b"{}")
        try:
            return msgspec.json.decode(reply, type=_ModelList).data
        except (msgspec.DecodeError, ValueError) as error:
            raise self._failed(f"its list of models makes no sense: {error}") from error

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers."""
        body = chat_body(self.spec.model, request, self._style, stream=False)
        reply = await self._post(_CHAT, body)
        return self._read(reply, estimate_messages(request.messages))

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come."""
        body = chat_body(self.spec.model, request, self._style, stream=True)
        async for delta in self._stream(
            _CHAT, body, request.n, estimate_messages(request.messages)
        ):
            yield delta

    async def complete(self, request: CompletionRequest) -> ChatReply:
        """Continue a text and return whole continuations."""
        body = completion_body(self.spec.model, request, self._style, stream=False)
        return self._read(await self._post(_COMPLETIONS, body), estimate_prompt(request))

    async def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        """Continue a text and yield as tokens come."""
        body = completion_body(self.spec.model, request, self._style, stream=True)
        async for delta in self._stream(_COMPLETIONS, body, request.n, estimate_prompt(request)):
            yield delta

    async def embed(
        self,
        texts: Sequence[TextOrIds],
        *,
        max_tokens: int | None = None,
        dimensions: int | None = None,
    ) -> EmbeddingsReply:
        """Turn each text into a vector. Where to cut a text only the upstream knows, so `max_tokens` is left to it."""
        del max_tokens
        sizes = [estimate_tokens(text) if isinstance(text, str) else len(text) for text in texts]
        return await self._embedded(list(texts), sum(sizes), dimensions)

    async def embed_picture(self, text: str, picture: str) -> EmbeddingsReply:
        """Turn a picture and its text into one vector, in the words of Baidu's cloud (specification C.4)."""
        if self._style.dialect != "qianfan":
            return await super().embed_picture(text, picture)
        return await self._embedded(
            [{**({"text": text} if text else {}), "image": picture}], estimate_tokens(text)
        )

    async def _embedded(
        self,
        inputs: list[TextOrIds] | list[dict[str, str]],
        estimate: int,
        dimensions: int | None = None,
    ) -> EmbeddingsReply:
        body: dict[str, object] = {"model": self.spec.model, "input": inputs}
        body["encoding_format"] = "float"
        if dimensions is not None:
            body["dimensions"] = dimensions
        found = self._decode(await self._post(_EMBEDDINGS, msgspec.json.encode(body)), _Vectors)
        vectors = _by_index((item.index, item.embedding) for item in found.data)
        if vectors.keys() != set(range(len(inputs))):
            raise self._failed(f"its reply has not one vector for each of {len(inputs)} texts")
        return EmbeddingsReply(
            tuple(vectors[index] for index in range(len(inputs))), found.counted(estimate)
        )

    async def rerank(self, query: str, documents: Sequence[str]) -> RerankReply:
        """Tell how relevant each document is to `query`."""
        body = msgspec.json.encode(
            {"model": self.spec.model, "query": query, "documents": list(documents)}
        )
        found = self._decode(await self._post(_RERANK, body), _Scores)
        scores = _by_index((item.index, item.relevance_score) for item in found.results)
        if scores.keys() != set(range(len(documents))):
            raise self._failed("its reply has not one score for each document")
        usage = found.counted(estimate_tokens(" ".join((query, *documents))))
        return RerankReply(tuple(scores[index] for index in range(len(documents))), usage)

    async def generate_images(self, request: ImageRequest) -> ImagesReply:
        """Draw pictures; those that come as addresses are fetched."""
        # Baidu's cloud takes a picture to start from beside the prompt, too; servers of OpenAI's shape only one to edit.
        of_openai = self._style.dialect != "qianfan"
        if request.edit or request.mask or (request.reference and of_openai):
            path, body = _EDITS, edits_body(self.spec.model, request, self._style)
        else:
            path, body = _IMAGES, images_body(self.spec.model, request, self._style)
        found = self._decode(await self._post(path, body), _Pictures)
        try:
            images = tuple(
                base64.b64decode(item.b64_json or "", validate=True) for item in found.data
            )
        except (binascii.Error, ValueError):
            raise self._failed("its pictures are not base64") from None
        if len(images) != request.n or not all(images):
            raise self._failed(f"its reply has {len(images)} pictures instead of {request.n}")
        seeds = tuple((request.seed or 0) + position for position in range(len(images)))
        return ImagesReply(images, seeds, found.counted(estimate_tokens(request.prompt)))

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """An estimate: the tokenizer is the upstream's."""
        return estimate_messages(messages)

    async def count_text_tokens(self, text: str) -> int:
        """An estimate: the tokenizer is the upstream's."""
        return estimate_tokens(text)

    async def decode(self, ids: Sequence[int]) -> str | None:
        """None: the vocabulary is the upstream's, which refuses what is not in it."""
        del ids

    async def slots(self) -> Slots:
        """Calls that the child has under way."""
        status, reply = await self._pooled().get("/slots")
        if status != 200:
            raise self._failed("its child process does not answer")
        return msgspec.json.decode(reply, type=Slots)

    def _pooled(self) -> Pool:
        return self._host._connected()  # noqa: SLF001 - another object of this class

    async def _post(self, path: str, body: bytes) -> bytes:
        with self._telling():
            status, reply = await self._pooled().post(path, body)
            if status != 200:
                raise self._refusal(status, reply)
            return reply

    @contextmanager
    def _telling(self) -> Generator[None]:
        began, outcome = time.perf_counter(), "ok"
        try:
            yield
        except RefusedError as error:
            outcome = type(error).__name__
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "client_gone"
            raise
        finally:
            self._host.tell(outcome, time.perf_counter() - began)

    async def _stream(
        self, path: str, body: bytes, answers: int, prompt_tokens: int
    ) -> AsyncGenerator[Delta]:
        events = self._pooled().stream(_STREAM + path, body, self._refusal)
        with self._telling():
            async with aclosing(read_stream(events, answers, prompt_tokens)) as deltas:
                async for delta in self._naming(deltas):
                    yield delta

    async def _naming(self, deltas: AsyncGenerator[Delta]) -> AsyncGenerator[Delta]:
        try:
            async for delta in deltas:
                yield delta
        except UpstreamFailed as error:
            raise self._named(error) from error

    def _read(self, reply: bytes, prompt_tokens: int) -> ChatReply:
        try:
            return read_reply(reply, prompt_tokens)
        except UpstreamFailed as error:
            raise self._named(error) from error

    def _decode(self, reply: bytes, kind: type[_T]) -> _T:
        try:
            read_error = msgspec.json.decode(reply, type=_Erring)
            if read_error.error is not None:
                read_completion(reply)
            return msgspec.json.decode(reply, type=kind)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._failed(f"its reply makes no sense: {error}") from error
        except UpstreamFailed as error:
            raise self._named(error) from error

    def _refusal(self, status: int, reply: bytes) -> RefusedError:
        try:
            failure = msgspec.json.decode(reply, type=Failure)
        except (msgspec.DecodeError, ValueError):
            return EngineFailed(f"the child of the upstream {self._name} answered with {status}")
        error = refusal_of(failure)
        return self._named(error) if isinstance(error, UpstreamFailed) else error

    def _named(self, error: UpstreamFailed) -> UpstreamFailed:
        prefix = f"the upstream {self._name} failed"
        if error.message.startswith(prefix):
            return error
        return UpstreamFailed(f"{prefix}: {error.message}")

    def _failed(self, text: str) -> UpstreamFailed:
        return self._named(UpstreamFailed(text))


def _tell_nobody(outcome: str, seconds: float) -> None:
    del outcome, seconds


def _by_index(items: Iterable[tuple[int | None, _T]]) -> dict[int, _T]:
    """Items by their index; some servers leave it out and mean the order."""
    return {
        position if index is None else index: item for position, (index, item) in enumerate(items)
    }


class _Erring(msgspec.Struct):
    error: Any = None


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Counted(msgspec.Struct, kw_only=True):
    usage: _Counts | None = None

    def counted(self, estimate: int) -> Usage:
        counts = self.usage or _Counts()
        counted = counts.prompt_tokens or counts.total_tokens
        if counted:
            return Usage(counted)
        return Usage(estimate, estimated=True)


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Vectors(_Counted):
    data: list[_Vector]


class _Score(msgspec.Struct):
    relevance_score: float
    index: int | None = None


class _Scores(_Counted):
    results: list[_Score]


class _Picture(msgspec.Struct, omit_defaults=True):
    b64_json: str | None = None
    url: str | None = None


class _Pictures(_Counted):
    data: list[_Picture]


class _ModelList(msgspec.Struct):
    data: list[RemoteModel]


class Bridge:
    """The child's service: sends the exchanges of all connections on."""

    def __init__(self, config: RemoteConfig) -> None:
        """Nothing is opened."""
        context: ssl.SSLContext | None = None
        if config.ca_file is not None:
            context = ssl.create_default_context(cafile=config.ca_file)
        self._egress = Egress(
            allow=config.allow,
            proxy=config.proxy,
            connect_timeout_seconds=config.connect_timeout_seconds,
            ssl_context=context,
        )
        self._upstream = Upstream(
            config.base_url,
            api_key=config.secret,
            headers={},
            connect=self._egress.connect,
            first_byte_timeout_seconds=config.first_byte_timeout_seconds,
            idle_timeout_seconds=config.idle_timeout_seconds,
        )
        self._edits_in_forms = config.dialect == "openai"
        self._secret = config.secret.encode()
        self._slots = config.slots
        self._busy = 0

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        if exchange.path == "/health":
            exchange.reply(200, b"{}")
        elif exchange.path == "/slots":
            exchange.reply(200, msgspec.json.encode(Slots(self._busy, self._slots)))
        else:
            exchange.spawn(self._forward(exchange))

    async def _forward(self, exchange: Exchange) -> None:
        self._busy += 1
        try:
            path = exchange.path
            if path.startswith(_STREAM):
                await self._forward_stream(exchange, path.removeprefix(_STREAM))
                return
            try:
                status, reply = await self._whole(path, exchange.body, exchange.traceparent)
            except _FAILURES as error:
                status, reply = 502, msgspec.json.encode(_failure(error))
            exchange.reply(status, reply)
        finally:
            self._busy -= 1

    async def _whole(self, path: str, body: bytes, traceparent: bytes) -> tuple[int, bytes]:
        sent, kind = None if path == _MODELS else body, b"application/json"
        if path == _EDITS and self._edits_in_forms:
            kind, sent = form_of(body)
        async with self._upstream.asking(path, sent, traceparent, kind) as answer:
            reply = await answer.body(MAX_REPLY_BYTES)
        if path == _RERANK and answer.status in {404, 405}:
            # Baidu documents /rerank, its SDKs call /rerankers, and servers have one or the other.
            return await self._whole(_RERANKERS, body, traceparent)
        if answer.status != 200:
            return answer.status, self._refused(answer, reply)
        reply = self._without_secret(reply)
        return 200, await self._with_pictures(reply) if path in {_IMAGES, _EDITS} else reply

    async def _forward_stream(self, exchange: Exchange, path: str) -> None:
        begun = done = False
        try:
            asked = self._upstream.asking(path, exchange.body, exchange.traceparent)
            async with asked as answer:
                if answer.status != 200:
                    reply = await answer.body(MAX_REPLY_BYTES)
                    exchange.reply(answer.status, self._refused(answer, reply))
                    return
                exchange.start_stream()
                begun = True
                if not answer.is_stream:  # it ignored `stream`: the whole reply is the only event
                    reply = await answer.body(MAX_REPLY_BYTES)
                    await exchange.send_event(self._without_secret(reply))
                else:
                    async with aclosing(answer.events()) as events:
                        async for event in events:
                            await exchange.send_event(self._without_secret(event))
                            done = done or event == b"[DONE]"
        except _FAILURES as error:
            failure = _failure(error)
            if not begun:
                exchange.reply(502, msgspec.json.encode(failure))
                return
            if not done:
                await exchange.send_event(msgspec.json.encode({"yangfan_failure": failure}))
        exchange.end_stream()

    def _refused(self, answer: Answer, reply: bytes) -> bytes:
        """The reason of a refusal."""
        status = answer.status
        if 300 <= status < 400:
            failure = Failure("it redirects to another address; give that as base_url", status)
        else:
            reply = self._without_secret(reply)
            failure = failure_of(status, reply, answer.headers.get("retry-after"))
        return msgspec.json.encode(failure)

    def _without_secret(self, data: bytes) -> bytes:
        """A server that repeats the key in what it says does not get it past here."""
        secret = self._secret
        return data.replace(secret, b"***") if secret and secret in data else data

    async def _with_pictures(self, reply: bytes) -> bytes:
        """`reply` with the pictures that it only gives the addresses of."""
        try:
            found = msgspec.json.decode(reply, type=_Pictures)
        except (msgspec.DecodeError, ValueError):
            return reply
        for item in found.data:
            if item.b64_json is None and item.url is not None:
                async with self._egress.open(item.url, max_bytes=MAX_IMAGE_BYTES) as response:
                    picture = await response.read()
                item.b64_json, item.url = base64.b64encode(picture).decode("ascii"), None
        return msgspec.json.encode(found)


_FAILURES = (FetchError, TimeoutError, LostError, NonsenseError)


def _failure(error: Exception) -> Failure:
    if isinstance(error, FetchError):
        return Failure(error.message)
    return Failure("it took too long to answer" if isinstance(error, TimeoutError) else str(error))


async def _serve(link: ParentLink, config: RemoteConfig) -> None:
    loop = asyncio.get_running_loop()
    bridge = Bridge(config)
    server = await loop.create_server(
        lambda: Exchange(bridge.answer, config.api_key), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    link.ready(msgspec.json.encode(Ready(port=port, context_tokens=UNKNOWN_CONTEXT_TOKENS)))
    await server.serve_forever()


def main() -> None:
    """Run the child."""
    link = ParentLink()
    config = msgspec.json.decode(link.config, type=RemoteConfig)
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
