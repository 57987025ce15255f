"""The vocabulary of inference and what an engine must be able to do.

Both wire dialects map to these nouns and every engine maps from them, so neither side knows the other. The values are
immutable msgspec Structs rather than dataclasses: one is made per token on the hot path, and a Struct costs a fifth
(docs/decisions/0007-structs-in-the-engine-vocabulary.md).
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec


class Part(msgspec.Struct, frozen=True):
    """One piece of a multi-part message: text, or an image by URL or data URI."""

    text: str | None = None
    image_url: str | None = None
    detail: str | None = None


class FunctionCall(msgspec.Struct, frozen=True):
    """The model's wish to call a function: `arguments` is JSON text, `thoughts` ERNIE's reasoning about it."""

    name: str
    arguments: str
    id: str = ""
    thoughts: str = ""


class Message(msgspec.Struct, frozen=True):
    """One turn. `role` is system, user, assistant or tool; `content` is text, parts, or None beside function calls."""

    role: str
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    function_calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON Schema object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])


TextOrIds: TypeAlias = str | tuple[int, ...]
"""A text, or its tokens as ids of the model's own vocabulary, which are read as they stand: nothing is put around them."""


class Sampling(msgspec.Struct, frozen=True):
    """How to pick tokens. None means: the model's own default.

    Ranges: temperature >= 0 (0 is greedy), 0 <= top_p <= 1, top_k >= 1, repetition_penalty > 0 (1 is none; v1 calls it
    penalty_score), frequency_penalty and presence_penalty in [-2, 2], max_output_tokens >= 1, seed in [0, 2**32 - 1).
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    max_output_tokens: int | None = None
    min_output_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: Mapping[str, float] | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """One chat generation, whichever dialect asked for it.

    `tool_choice` is "none", "auto", "required" or the name of a tool behind "function:"; `response_format` is OpenAI's
    object (``{"type": "json_object"}``); `n` is the number of answers; `top_logprobs` None means no log-probabilities.
    `enable_thinking` tells a chat template that has the switch whether the model is to think first; None leaves it alone.
    `thinking_budget` is the most tokens of such thoughts: then the engine ends them (``</think>``) and the model goes on to answer.
    `passed` holds fields of v2 that no engine acts on, for a server elsewhere that may: `user`, `metadata`, `web_search`,
    `trace_number`, `preemptible`.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    n: int = 1
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    enable_thinking: bool | None = None
    thinking_budget: int | None = None
    passed: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    adapter: str | None = None
    """Name of one of the spec's `adapters` to answer with; None for the model itself."""


class CompletionRequest(msgspec.Struct, frozen=True):
    """Texts that go on where `prompt` ends: no roles, no chat template.

    `prompt` is not empty; special tokens written in it count as such. Where `prompt_ids` are there, they are what is read, and `prompt` is
    the text that `Engine.decode` makes of them, "" where it cannot. `n` is the number of texts; `logprobs` is how many
    alternatives to tell for each token (0 tells the chosen one alone, None tells nothing); `echo` puts the prompt in front of
    each text. With both, the prompt's tokens come first among the log-probabilities, None for the first of them; an engine that cannot
    tell them raises Invalid. Then `max_output_tokens` may be 0.
    """

    prompt: str
    sampling: Sampling = Sampling()
    n: int = 1
    logprobs: int | None = None
    echo: bool = False
    passed: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    """As of a ChatRequest: `user`."""
    adapter: str | None = None
    prompt_ids: tuple[int, ...] = ()


class ImageRequest(msgspec.Struct, frozen=True):
    """Pictures to draw, whichever dialect asked for them.

    Attributes:
        prompt: What to show; not empty.
        negative_prompt: What not to show.
        width: Pixels, a multiple of 8; 0 leaves the size to a server elsewhere.
        height: Pixels, a multiple of 8; 0 together with `width`.
        n: How many pictures.
        steps: Denoising steps; None for the model's own default.
        guidance_scale: How closely to follow the prompt, >= 0; None for the model's own default.
        sampler: Qianfan's name of the sampler, such as ``DPM++ 2M Karras``; None for the model's own.
        seed: In [0, 2**32): the same request with the same seed gives the same pictures; picture k is drawn with seed + k. None draws
            with a new one.
        reference: An encoded picture (PNG, JPEG, WebP …) to start from; None starts from noise.
        strength: How far to go from `reference`, in (0, 1]; None for the model's own default.
        mask: An encoded picture that says what of `reference` to draw anew: what is transparent in it, or where it has no
            transparency, what is white; the rest stays as it is. It is fitted as `reference` is. None draws over everything.
        edit: Whether the call came to the endpoint that edits pictures: a server elsewhere is asked at its own.
    """

    prompt: str
    negative_prompt: str = ""
    width: int = 1024
    height: int = 1024
    n: int = 1
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    seed: int | None = None
    reference: bytes | None = None
    strength: float | None = None
    mask: bytes | None = None
    edit: bool = False


class Usage(msgspec.Struct, frozen=True):
    """Tokens counted by the served model's own tokenizer, or `estimated` where that is elsewhere and its server does not count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    reasoning_tokens: int = 0
    """Those of `completion_tokens` that are thoughts."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Finish(enum.Enum):
    """Why the generation ended."""

    NATURAL = "natural"
    STOP_STRING = "stop_string"
    LENGTH = "length"
    FUNCTION_CALL = "function_call"
    CONTENT_FILTER = "content_filter"

    __hash__ = (
        object.__hash__
    )  # every answer is looked up by it, and enum's own is a call of Python


class Page(msgspec.Struct, frozen=True):
    """A page that somebody else's server found on the web."""

    index: int
    url: str
    title: str


class Verdict(msgspec.Struct, frozen=True):
    """What somebody else's moderation says of an answer, in Qianfan's words (specification B.4): nothing here judges texts.

    `flag` is 0 safe, 1 may go on, 2 end the chat, 3 do not show, 4 withdraw what was shown; `ban_round` is the unsafe turn, -1 the
    current one.
    """

    flag: int = 0
    ban_round: int | None = None
    need_clear_history: bool = False


class Delta(msgspec.Struct, frozen=True):
    """One step of a stream. Concatenating `text` over all deltas of an `index` gives the answer.

    `usage` is the count so far where the engine tells it (always on the last delta of the request); `finish` is set on
    the last delta of each index. Function calls arrive whole, never in fragments.
    """

    text: str = ""
    index: int = 0
    reasoning: str = ""
    function_calls: tuple[FunctionCall, ...] = ()
    logprobs: Mapping[str, Any] | None = None
    finish: Finish | None = None
    usage: Usage | None = None
    pages: tuple[Page, ...] = ()
    verdict: Verdict | None = None


class Answer(msgspec.Struct, frozen=True):
    """One finished answer of a request that was not streamed."""

    text: str
    finish: Finish
    index: int = 0
    reasoning: str = ""
    function_calls: tuple[FunctionCall, ...] = ()
    logprobs: Mapping[str, Any] | None = None
    verdict: Verdict | None = None


class ChatReply(msgspec.Struct, frozen=True):
    """All answers of a request that was not streamed, in index order, and what they cost."""

    answers: tuple[Answer, ...]
    usage: Usage
    pages: tuple[Page, ...] = ()


class EmbeddingsReply(msgspec.Struct, frozen=True):
    """One vector of length 1 for each text, in the order of the texts; all have the same number of dimensions."""

    vectors: tuple[list[float], ...]
    usage: Usage


class RerankReply(msgspec.Struct, frozen=True):
    """How relevant each document is, in the order of the documents; higher is more relevant."""

    scores: tuple[float, ...]
    usage: Usage


class ImagesReply(msgspec.Struct, frozen=True):
    """The pictures as PNG files, in order, the seed of each, and the tokens of the prompt."""

    images: tuple[bytes, ...]
    seeds: tuple[int, ...]
    usage: Usage


class Slots(msgspec.Struct, frozen=True):
    """How busy an engine is: generations running now, and how many can run side by side."""

    busy: int
    total: int


Kind = Literal["chat", "vision", "embeddings", "rerank", "images"]
"""What a model can be asked for. Who can chat can complete, too; vision is a chat that reads pictures, beside "chat", never alone."""


class ModelFacts(msgspec.Struct, frozen=True):
    """What is known of a model's files before an engine opens them.

    Attributes:
        format: How its weights are kept: gguf, safetensors (a Hugging Face folder), openvino (a folder of IR files), diffusers (a
            folder with model_index.json), remote (somebody else's server).
        kind: The first thing that it is for.
        architecture: Such as ``llama`` (GGUF) or ``LlamaForCausalLM`` (config.json); "" where unknown.
        path: File or folder; None if the model is not here.
        size_bytes: All weights together; 0 where unknown.
        options: What the settings say of it, for engines that suit only where they are told something.
        becomes: The format that it can be converted to here, "" if there is none.
    """

    format: str
    kind: Kind = "chat"
    architecture: str = ""
    path: str | None = None
    size_bytes: int = 0
    options: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    becomes: str = ""


class Fit(msgspec.Struct, frozen=True):
    """How well an engine suits a model on this machine.

    Attributes:
        rank: The engine with the highest one is taken; 0 means that it can, but is taken only where settings name it; None, that it
            cannot.
        reason: Why, for people: ``the fastest here for …``, ``reads no encoders``.
    """

    rank: int | None
    reason: str


class EngineSpec(msgspec.Struct, frozen=True):
    """What to run: filled from settings and the model store, handed to an engine file's `create`.

    Attributes:
        model: Name that the platform gives the model.
        path: Model file or folder; None for engines that need none (echo).
        context_tokens: Context window to allow for one request, prompt and answer together; None for the model's own.
        slots: Generations to run side by side.
        threads: CPU threads; None lets the engine choose.
        options: Whatever else the engine's own docstring lists.
        adapters: LoRA adapters that requests may name: name to file or folder.
        kind: The first thing that the model is for, where a folder was looked at before.
    """

    model: str
    path: str | None = None
    context_tokens: int | None = None
    slots: int = 16
    threads: int | None = None
    options: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    adapters: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    kind: Kind = "chat"


class Engine(Protocol):
    """A running (or startable) model, in a child process of its own.

    Every method but `start` and `stop` raises `yangfan.errors.EngineFailed` when the child dies or answers nonsense, and
    `Invalid`, `ContextTooLong` or another refusal when the engine says that the request is at fault. Cancelling the task that
    awaits a method, or closing the iterator, cancels the generation and frees its slot.
    """

    spec: EngineSpec
    context_tokens: int
    """Prompt and answer together, known after `start`; of a model that gives embeddings, the longest text."""
    kinds: frozenset[Kind]
    """What the model can be asked for, known before `start`; the methods for the rest raise."""

    @property
    def running(self) -> bool:
        """Whether the child is up and answered its health check since it was last started."""
        ...

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        ...

    async def start(self) -> None:
        """Start the child and return when it can answer. Raises EngineFailed with the tail of its log otherwise."""
        ...

    async def wait_died(self) -> None:
        """Return when the child that is running now has ended, however it ended."""
        ...

    async def stop(self) -> None:
        """End the child: politely, then by force. Never raises; a second call does nothing."""
        ...

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers."""
        ...

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come. The generator must be closed (`aclosing`)."""
        ...

    async def complete(self, request: CompletionRequest) -> ChatReply:
        """Continue a text and return whole continuations. Raises Invalid for an empty prompt."""
        ...

    def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        """Continue a text and yield as tokens come. The generator must be closed (`aclosing`)."""
        ...

    async def embed(
        self,
        texts: Sequence[TextOrIds],
        *,
        max_tokens: int | None = None,
        dimensions: int | None = None,
    ) -> EmbeddingsReply:
        """Turn each text into a vector; what a text has beyond `max_tokens` is left out. Raises ContextTooLong.

        `dimensions` is for servers elsewhere, whose models may have vectors of several lengths; any other gives its own length.
        """
        ...

    async def embed_picture(self, text: str, picture: str) -> EmbeddingsReply:
        """Turn a picture, a data URI, and its text, which may be empty, into one vector. Raises Invalid where it reads none."""
        ...

    async def rerank(self, query: str, documents: Sequence[str]) -> RerankReply:
        """Tell how relevant each document is to `query`. Raises ContextTooLong."""
        ...

    async def generate_images(self, request: ImageRequest) -> ImagesReply:
        """Draw pictures. Raises Invalid for sizes, samplers and references that the engine does not take."""
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` become under the model's own chat template."""
        ...

    async def count_text_tokens(self, text: str) -> int:
        """Tokens of `text` as it stands: what `complete` with it as the prompt reports as `prompt_tokens`."""
        ...

    async def decode(self, ids: Sequence[int]) -> str | None:
        """The text that token ids are, special tokens included; None where nobody here can tell.

        Raises Invalid for an id that is not in the model's vocabulary: then no engine is to see it, because some die of it.
        """
        ...

    async def slots(self) -> Slots:
        """How busy the child is now."""
        ...


# An engine file offers four names:
#
#   FORMATS, a frozenset[str]
#       model formats that it reads, such as "gguf".
#   def fit(model: ModelFacts) -> Fit
#       how well it suits a model of one of its formats on this machine; imports no heavy library.
#   def create(spec: EngineSpec, workdir: Path) -> Engine
#       makes the (not yet started) engine; `workdir` is an existing private folder for its log and sockets.
#   def missing() -> str | None
#       None if the engine can run here, otherwise what to install, as a pip command.
#
# if it computes in fewer than 32 bits unless it is told otherwise, a fifth:
#
#   EXACT_OPTIONS, a Mapping[str, Any]
#       the options (`EngineSpec.options`) that tell it; comparisons of what was trained with what is served hand them to it.
#
# and, if it can be built for the CPU at hand, five more, as llama_cpp.py explains them: SOURCE_ADDRESS, is_source,
# build, native and compare.
