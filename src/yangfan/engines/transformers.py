"""Hugging Face Transformers: any causal language model, encoder, cross-encoder or vision-language model from a folder of safetensors.

The child process loads the folder without running any of its code (`trust_remote_code` is off, weights are safetensors only, the hub
is offline) and generates with continuous batching of its own (docs/decisions/0013-own-batches-in-the-transformers-engine.md). Prompts
come from the model's own chat template; a model without one gets plain ``User: …`` lines. JSON and required calls are guaranteed by a
grammar.

What a request leaves open is taken from the model's generation_config.json, and where that does not sample, temperature 0.8, top_p 0.95,
top_k 40. Usage counts the token that ends an answer, too. Vectors have length 1; scores of cross-encoders end in a sigmoid unless their
configuration says otherwise.

Options (`EngineSpec.options`):
    dtype: bfloat16, float16 or float32; auto (default) is bfloat16 on GPUs and, for models that chat, on CPUs that compute in it.
    device: cpu, cuda:0 …; auto (default) is the first GPU if there is one.
    kv_tokens: Most tokens in the attention cache, padding included (default 32768).
    default_output_tokens: Limit of an answer whose request sets none (default 1024, as on Qianfan).
    prefill_tokens: Prompt tokens read between two steps of the running answers (default 256).
    batch_tokens: Most tokens in one batch of texts to embed or rerank, padding included (default 8192).
    max_pixels: Largest picture that is read (default 16777216).
    template_seconds: How long a chat template may take (default 2).
    chat_template: Jinja text to render conversations with, in place of the model's own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from yangfan.engines._safetensors import check_weights
from yangfan.engines._transformers.config import (
    CountedPrompt,
    TransformersConfig,
    TransformersOptions,
    TransformersReady,
)
from yangfan.engines.base import Fit
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.calling import CallReader, chosen_tools, prepare, read_calls
from yangfan.engines.wire.chat import encode_messages, gather_reply
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.engines.wire.types import TemplateBody
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from yangfan.engines.base import (
        ChatReply,
        ChatRequest,
        Delta,
        Engine,
        EngineSpec,
        Kind,
        Message,
        ModelFacts,
    )

START_SECONDS = 120.0
START_SECONDS_PER_GIB = 30.0

FORMATS = frozenset({"safetensors"})
"""Model formats that it reads."""

RANK = 20
"""It runs nearly every model, and few of them fastest."""

ENCODER_RANK = 60
"""Above llama_cpp's: docs/decisions/0012-which-engine-runs-a-model.md."""

CALLS_AT_ONCE = 128
"""What an encoder takes at least, however many `slots` there are: while one batch is computed, the next one gathers."""

_LIBRARIES = ("torch", "transformers", "safetensors", "accelerate", "PIL", "llguidance")


def create(spec: EngineSpec, workdir: Path) -> Engine:
    """Make the (not yet started) engine.

    Raises:
        ConfigurationError: There is no folder, its weights are not whole, there are adapters, or an option is unknown or has the wrong type.
    """
    if spec.path is None or not Path(spec.path).is_dir():
        raise ConfigurationError(
            f"the transformers engine needs a folder with config.json and .safetensors files for {spec.model!r}"
        )
    if spec.kind == "images":
        raise ConfigurationError("the transformers engine draws no pictures; see diffusers")
    if spec.adapters:
        raise ConfigurationError(
            f"the transformers engine takes no adapters, and {spec.model!r} has some; merge them into the model, or take "
            "llama_cpp or vllm for it"
        )
    weights = sorted(Path(spec.path).glob("*.safetensors"))
    if not weights:
        raise ConfigurationError(f"the folder {spec.path} has no .safetensors file")
    for file in weights:
        check_weights(file)
    try:
        options = msgspec.convert(dict(spec.options), TransformersOptions)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of the transformers engine: {error}") from error
    return TransformersEngine(spec, options, Path(spec.path), workdir)


def fit(model: ModelFacts) -> Fit:
    """It suits every model of the library but those that read with an encoder of their own before they answer."""
    if model.kind == "chat" and model.architecture.endswith("ForConditionalGeneration"):
        return Fit(None, f"runs no encoder-decoder models such as {model.architecture}")
    if model.kind in {"embeddings", "rerank"}:
        reason = "the fastest here for texts: it computes in one batch what comes together (docs/decisions/0012)"
        return Fit(ENCODER_RANK, reason)
    return Fit(RANK, "it runs safetensors models, and its libraries are installed")


def missing() -> str | None:
    """None if its libraries are installed, otherwise how to install them."""
    if any(importlib.util.find_spec(name) is None for name in _LIBRARIES):
        return 'pip install "yangfan[transformers]" (brings torch==2.13.0; for a GPU, install its torch build first)'
    return None


class TransformersEngine(ChildEngine):
    """A model of the library in a child process."""

    SCORES_PROMPTS = True

    def __init__(
        self, spec: EngineSpec, options: TransformersOptions, path: Path, workdir: Path
    ) -> None:
        """Describe the engine; nothing runs yet."""
        size_bytes = sum(file.stat().st_size for file in path.glob("*.safetensors"))
        if spec.kind in {"embeddings", "rerank"}:
            spec = msgspec.structs.replace(spec, slots=max(spec.slots, CALLS_AT_ONCE))
        process = ChildProcess(
            f"the transformers engine of {spec.model!r}",
            [sys.executable, "-m", __spec__.name],
            workdir,
            start_timeout_seconds=START_SECONDS + START_SECONDS_PER_GIB * size_bytes / 2**30,
        )
        config = TransformersConfig(
            api_key="",
            model=spec.model,
            path=str(path.absolute()),
            kind=spec.kind,
            context_tokens=spec.context_tokens,
            slots=spec.slots,
            threads=spec.threads or _usable_cpus(),
            **msgspec.structs.asdict(options),
        )
        kinds: set[Kind] = {spec.kind, "chat"} if spec.kind == "vision" else {spec.kind}
        super().__init__(
            spec,
            process,
            msgspec.structs.asdict(config),
            TransformersReady,
            frozenset(kinds),
        )
        self._template_has_tools = False

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers, gathered from a stream."""
        async with aclosing(self.chat_stream(request)) as deltas:
            return await gather_reply(deltas, request.n)

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come. The generator must be closed (`aclosing`)."""
        prepared, reader = prepare(request, template_has_tools=self._template_has_tools)
        if reader is None and prepared.tools:
            several = request.parallel_tool_calls is not False
            reader = CallReader(chosen_tools(request), forced=False, several=several)
        generated = super().chat_stream(prepared)
        found = generated if reader is None else read_calls(generated, reader)
        async with aclosing(found) as deltas:
            async for delta in deltas:
                yield delta

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` become under the model's own chat template."""
        body = TemplateBody(encode_messages(messages))
        return (await self._control("/apply-template", body, CountedPrompt)).count

    def _became_ready(self, ready: Ready) -> None:
        super()._became_ready(ready)
        assert isinstance(ready, TransformersReady)
        self._template_has_tools = ready.template_has_tools


def _usable_cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> None:
    """Run the child until its parent closes stdin."""
    link = ParentLink()
    config = msgspec.json.decode(link.config, type=TransformersConfig)
    from yangfan.engines._transformers.loading import Loaded
    from yangfan.engines._transformers.service import Service

    try:
        loaded = Loaded(config)
        known = [tokens for tokens in (config.context_tokens, loaded.context_tokens) if tokens]
        context_tokens = min(known, default=config.kv_tokens)
        if config.kind in {"chat", "vision"}:
            context_tokens = min(context_tokens, config.kv_tokens)
        service = Service(loaded, config, context_tokens)
    except Exception as error:  # noqa: BLE001 - a library may refuse a folder in any way; one line tells why
        raise SystemExit(
            f"Transformers could not load {config.path}: {type(error).__name__}: {error}"
        ) from None
    asyncio.run(_serve(link, config, service, context_tokens))


async def _serve(
    link: ParentLink, config: TransformersConfig, service: object, context_tokens: int
) -> None:
    from yangfan.engines._transformers.service import Service
    from yangfan.engines.wire.listener import Exchange

    assert isinstance(service, Service)
    answer = service.answer
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(answer, config.api_key), "127.0.0.1", 0)
    ready = TransformersReady(
        port=server.sockets[0].getsockname()[1],
        context_tokens=context_tokens,
        vocabulary_tokens=service.vocabulary_tokens,
        template_has_tools=service.prompts.has_tools,
    )
    link.ready(msgspec.json.encode(ready))
    await server.serve_forever()


if __name__ == "__main__":
    main()
