"""llama.cpp, through the xllamacpp wheel: any GGUF model, on CPU or GPU, with continuous batching.

The child process runs llama.cpp's own HTTP server on loopback behind a random key. Memory for attention (KV) is one pool that all slots
share, and each request reserves the most it may use before it starts, so a batch never fails for lack of room; who does not fit
waits, first come, first served.

What a request leaves open is llama.cpp's default: temperature 0.8, top_p 0.95, top_k 40, min_p 0.05, no penalties (they look at the last
64 tokens). A seed gives the same text again on an idle engine; beside other requests the batch changes the last bits of the logits.
`min_output_tokens` is not supported by llama.cpp and has no effect.

What a model can be asked for is read from its file: an encoder (BERT and its kin) or a file with a pooling type gives embeddings,
pooling type rank gives rerank, every other model chats. A text for embeddings may have 2048 tokens, fewer if the model takes fewer,
more if `context_tokens` says so: it is computed in one batch, whose memory grows with it.

Options (`EngineSpec.options`):
    kv_tokens: Most tokens in the KV pool (default 32768; SmolLM2-135M needs 23 KB for each).
    default_output_tokens: Limit of an answer whose request sets none (default 1024, as on Qianfan).
    gpu_layers: Layers to put on the GPU: 0 none (default), -1 all.
    prompt_cache_mib: Memory for prompts of earlier requests that left the pool (default 256, 0 for none).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from yangfan.engines._admission import Admission
from yangfan.engines._gguf import POOLING_NONE, Facts, NotGGUFError, read_facts
from yangfan.engines.base import Fit
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.calling import prepare, read_calls
from yangfan.engines.wire.chat import gather_reply
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from yangfan.engines.base import (
        ChatReply,
        ChatRequest,
        CompletionRequest,
        Delta,
        EmbeddingsReply,
        Engine,
        EngineSpec,
        Kind,
        Message,
        ModelFacts,
        RerankReply,
    )

RequestT = TypeVar("RequestT", "ChatRequest", "CompletionRequest")

TEMPLATE_TOKENS = 256
"""More than a chat template adds to a conversation: a default system text, the instructions for tools."""

TEMPLATE_TOKENS_PER_MESSAGE = 16
SPECIAL_TOKENS = 2
"""Begin and end, which some models put around every prompt."""

CONTROL_THREADS = 16
"""HTTP threads of the child besides one for each slot: an idle kept-alive connection occupies one, too."""

BATCH_TOKENS = 256
"""Prompt tokens read at a time: the running answers get their next token in between, and a caller that left is noticed."""

DEFAULT_TEXT_TOKENS = 2048
"""Longest text to embed or rerank, unless the model takes less or the spec says more."""

START_SECONDS = 60.0
START_SECONDS_PER_GIB = 20.0


class LlamaOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What `EngineSpec.options` may hold; the module's docstring explains each."""

    kv_tokens: int = 32768
    default_output_tokens: int = 1024
    gpu_layers: int = 0
    prompt_cache_mib: int = 256


class LlamaConfig(msgspec.Struct):
    """The line that the child reads."""

    api_key: str
    path: str
    context_tokens: int | None
    slots: int
    threads: int
    kv_tokens: int
    gpu_layers: int
    prompt_cache_mib: int


class LlamaReady(Ready):
    """The child's ready line, with the size of the pool."""

    kv_tokens: int


class TemplateAbilities(msgspec.Struct, frozen=True):
    """What llama.cpp found that the model's chat template can render."""

    supports_tools: bool = False


class LlamaProperties(msgspec.Struct):
    """Reply of GET /props."""

    chat_template_caps: TemplateAbilities = TemplateAbilities()


def create(spec: EngineSpec, workdir: Path) -> Engine:
    """Make the (not yet started) engine.

    Raises:
        ConfigurationError: There is no path, or an option is unknown or has the wrong type.
    """
    if spec.path is None:
        raise ConfigurationError(
            f"the llama_cpp engine needs the path of a GGUF file for {spec.model!r}"
        )
    try:
        options = msgspec.convert(dict(spec.options), LlamaOptions)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of the llama_cpp engine: {error}") from error
    return LlamaEngine(spec, options, Path(spec.path), workdir)


FORMATS = frozenset({"gguf"})
"""Model formats that it reads."""

RANK = 50
"""The embedded default: it runs every GGUF model, with continuous batching."""


def fit(model: ModelFacts) -> Fit:
    """It suits every GGUF model."""
    del model
    return Fit(RANK, "it runs gguf models, and its library is installed")


def missing() -> str | None:
    """None if xllamacpp is installed, otherwise how to install it."""
    if importlib.util.find_spec("xllamacpp") is None:
        return 'pip install "yangfan[llama]"'
    return None


class LlamaEngine(ChildEngine):
    """llama.cpp's server in a child process, with admission in front of it."""

    def __init__(self, spec: EngineSpec, options: LlamaOptions, path: Path, workdir: Path) -> None:
        """Describe the engine; nothing runs yet."""
        size_bytes = path.stat().st_size if path.is_file() else 0
        process = ChildProcess(
            f"the llama.cpp engine of {spec.model!r}",
            [sys.executable, "-m", __spec__.name],
            workdir,
            start_timeout_seconds=START_SECONDS + START_SECONDS_PER_GIB * size_bytes / 2**30,
        )
        config = LlamaConfig(
            api_key="",
            path=str(path.absolute()),
            context_tokens=spec.context_tokens,
            slots=spec.slots,
            threads=spec.threads or _usable_cpus(),
            kv_tokens=options.kv_tokens,
            gpu_layers=options.gpu_layers,
            prompt_cache_mib=options.prompt_cache_mib,
        )
        super().__init__(
            spec, process, msgspec.structs.asdict(config), LlamaReady, frozenset({_kind(path)})
        )
        self._default_output_tokens = options.default_output_tokens
        self._admission = Admission(tokens=0, slots=spec.slots)
        self._template_has_tools = False

    async def start(self) -> None:
        """Start the child and return when it can answer; EngineFailed with the tail of its log otherwise."""
        await super().start()
        properties = await self._control("/props", None, LlamaProperties)
        self._template_has_tools = properties.chat_template_caps.supports_tools

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers.

        They are gathered from a stream: for a whole reply the child would go on generating after its caller has left, and count
        the tokens of the first answer only.
        """
        async with aclosing(self.chat_stream(request)) as deltas:
            return await gather_reply(deltas, request.n)

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come. The generator must be closed (`aclosing`)."""
        request, reader = prepare(
            self._limit_output(request), template_has_tools=self._template_has_tools
        )
        admitted = self._admit(request, _most_prompt_tokens(request))
        generated = super().chat_stream(request)
        found = generated if reader is None else read_calls(generated, reader)
        async with admitted, aclosing(found) as deltas:
            async for delta in deltas:
                yield delta

    async def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        """Continue a text and yield as tokens come. The generator must be closed (`aclosing`)."""
        request = self._limit_output(request)
        admitted = self._admit(request, SPECIAL_TOKENS + _size_bytes(request.prompt))
        async with admitted, aclosing(super().complete_stream(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def embed(
        self, texts: Sequence[str], *, max_tokens: int | None = None
    ) -> EmbeddingsReply:
        """Turn each text into a vector; what a text has beyond `max_tokens` is left out."""
        async with self._admit_texts(texts):
            return await super().embed(texts, max_tokens=max_tokens)

    async def rerank(self, query: str, documents: Sequence[str]) -> RerankReply:
        """Tell how relevant each document is to `query`."""
        async with self._admit_texts([query + document for document in documents]):
            return await super().rerank(query, documents)

    def _became_ready(self, ready: Ready) -> None:
        super()._became_ready(ready)
        assert isinstance(ready, LlamaReady)
        self._admission = Admission(tokens=ready.kv_tokens, slots=self.spec.slots)

    def _limit_output(self, request: RequestT) -> RequestT:
        if request.sampling.max_output_tokens is not None:
            return request
        sampling = msgspec.structs.replace(
            request.sampling, max_output_tokens=self._default_output_tokens
        )
        return msgspec.structs.replace(request, sampling=sampling)

    def _admit(
        self, request: ChatRequest | CompletionRequest, prompt_tokens: int
    ) -> AbstractAsyncContextManager[None]:
        """Reserve the most tokens that `request` can come to hold: its prompt once, each answer in full."""
        answer_tokens = request.sampling.max_output_tokens or self._default_output_tokens
        prompt_tokens = min(prompt_tokens, self.context_tokens)
        answer_tokens = min(answer_tokens, self.context_tokens)
        tokens = min(prompt_tokens + request.n * answer_tokens, request.n * self.context_tokens)
        return self._admission.hold(tokens=tokens, slots=request.n)

    def _admit_texts(self, texts: Sequence[str]) -> AbstractAsyncContextManager[None]:
        tokens = sum(min(SPECIAL_TOKENS + _size_bytes(text), self.context_tokens) for text in texts)
        return self._admission.hold(tokens=tokens, slots=len(texts))


def _kind(path: Path) -> Kind:
    try:
        return read_facts(path).kind
    except (NotGGUFError, OSError):
        return "chat"  # the child says what is wrong with the file


def _most_prompt_tokens(request: ChatRequest) -> int:
    """An upper bound that needs no tokenizer: no token is shorter than a byte."""
    size = TEMPLATE_TOKENS + sum(map(_most_message_tokens, request.messages))
    if request.tools:
        size += len(msgspec.json.encode(request.tools))
    return size


def _most_message_tokens(message: Message) -> int:
    size = TEMPLATE_TOKENS_PER_MESSAGE
    if isinstance(message.content, str):
        size += _size_bytes(message.content)
    elif message.content is not None:
        size += sum(_size_bytes(part.text or "") for part in message.content)
    for call in message.function_calls:
        size += _size_bytes(call.name + call.arguments)
    return size


def _size_bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _usable_cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> None:
    """Run the child until its parent closes stdin."""
    link = ParentLink()
    config = msgspec.json.decode(link.config, type=LlamaConfig)
    try:
        facts = read_facts(Path(config.path))
    except (NotGGUFError, OSError) as error:
        raise SystemExit(str(error)) from None
    asked_tokens = config.context_tokens
    if asked_tokens is None and facts.kind != "chat":
        asked_tokens = DEFAULT_TEXT_TOKENS
    known = [tokens for tokens in (asked_tokens, facts.context_tokens) if tokens is not None]
    context_tokens = min(known, default=config.kv_tokens)
    kv_tokens = min(config.slots * context_tokens, config.kv_tokens)
    server = _start_server(config, facts, context_tokens=context_tokens, kv_tokens=kv_tokens)
    port = int(server.listening_address.rpartition(":")[2])
    context_tokens = min(context_tokens, kv_tokens)
    ready = LlamaReady(port=port, context_tokens=context_tokens, kv_tokens=kv_tokens)
    link.ready(msgspec.json.encode(ready))
    threading.Event().wait()


def _start_server(config: LlamaConfig, facts: Facts, *, context_tokens: int, kv_tokens: int) -> Any:
    xllamacpp = importlib.import_module("xllamacpp")  # it has no type stubs
    params = xllamacpp.CommonParams()
    params.model.path = config.path
    params.n_parallel = config.slots
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_ctx = kv_tokens
    params.kv_unified = True
    params.kv_unified_per_slot = context_tokens
    if facts.kind != "chat":
        params.embedding = True
        params.n_batch = params.n_ubatch = context_tokens  # no text may be cut in two
        poolings = xllamacpp.llama_pooling_type
        if facts.kind == "rerank":
            params.pooling_type = poolings.LLAMA_POOLING_TYPE_RANK
        elif facts.pooling_type in {None, POOLING_NONE}:
            params.pooling_type = poolings.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads
    params.n_gpu_layers = config.gpu_layers
    params.fit_params = config.gpu_layers != 0  # it loads the file twice
    params.cache_ram_mib = config.prompt_cache_mib
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config.api_key]
    params.n_threads_http = config.slots + CONTROL_THREADS
    params.endpoint_slots = True
    params.ui = False
    params.verbosity = 1  # errors
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        raise SystemExit(
            f"llama.cpp could not load {config.path}: the lines above say why. If the file is incomplete, get it again; if there "
            "is not enough memory, lower kv_tokens or slots, or take a smaller model."
        ) from None


if __name__ == "__main__":
    main()
