"""OpenVINO GenAI: GGUF models of three architectures and OpenVINO's own IR folders, with continuous batching; made for many streams on a CPU.

GGUF: architectures llama, qwen2 and qwen3, for text only. IR: a folder with `openvino_model.xml`, `openvino_tokenizer.xml`,
`openvino_detokenizer.xml` and their `.bin` files, as `optimum-cli export openvino` writes them: models that write text, encoders
(embeddings, exported with ``--task feature-extraction``) and cross-encoders (rerank, ``--task text-classification``). Vectors have length 1
and are pooled as Sentence Transformers' files in the folder say, otherwise by their mean; scores end in a sigmoid unless config.json says
otherwise. Both are computed in 32-bit floats.

What a request leaves open is what it is with llama_cpp: temperature 0.8, top_p 0.95, top_k 40, min_p 0.05, no penalties. Penalties look at the
whole answer. A seed gives the same text again on an idle engine. Functions are told to the model in words and its calls are read from its text
(`yangfan.engines.wire.calling`); response formats become grammars.

What it cannot do is refused: `logit_bias`, alternatives to the chosen token (`top_logprobs`), pictures, LoRA adapters (on a GGUF model they would
have no effect, without a word). `usage` never counts cached tokens.

Three traps of the library, and what is done about them. A file that ends early kills its process, so the table of tensors is checked first. A
grammar that cannot be built makes every later step fail: each new one is tried in a process of its own first (`_openvino_grammar`, 140 MB while it
is needed), and what fails, hangs or eats memory there is refused. Should one fail after all, it is known which: new grammars enter one at a time, all requests
are taken out and the others go on where they were (those with a grammar begin again from their seed, and what was said is not said twice). `step()` holds Python's lock, so a thread would gain nothing: the child's loop and the steps
take turns, and nothing waits longer than one step of at most `step_tokens` tokens.

Options (`EngineSpec.options`):
    kv_tokens: Most tokens in the KV cache (default 32768). A request reserves the most that it may use.
    default_output_tokens: Limit of an answer whose request sets none (default 1024).
    step_tokens: Most tokens in one step, of prompts and answers together (default 256).
    prefix_caching: Keep the KV cache of prompts for later ones that begin alike (default false: it changes the last bits of the logits).
    batch_tokens: Most tokens in one batch of texts to embed or rerank, padding included (default 8192).
    device: ``CPU`` (default), ``GPU`` or another device of OpenVINO.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import importlib.util
import os
import random
import sys
import traceback
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from msgspec import Meta

from yangfan.engines._admission import Admission
from yangfan.engines._gguf import NotGGUFError, check_tensors, read_facts
from yangfan.engines._openvino_encoder import FILES as TEXT_FILES
from yangfan.engines._openvino_encoder import OpenVINOEncoder
from yangfan.engines._openvino_grammar import CannotTryError, GrammarCheck
from yangfan.engines._pieces import Detokenizer, StopCutter
from yangfan.engines._texts import TextAnswers
from yangfan.engines.base import Fit
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.calling import prepare, read_calls
from yangfan.engines.wire.chat import gather_reply
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.engines.wire.errors import ErrorBody, ErrorDetail
from yangfan.engines.wire.listener import Exchange
from yangfan.engines.wire.reasoning import END_OF_THOUGHT, OPENING_TAG, ThoughtLimit
from yangfan.engines.wire.types import (
    ChatBody,
    ChatMessage,
    Choice,
    Completion,
    CompletionBody,
    DetokenizeBody,
    Detokenized,
    GenerationBody,
    Output,
    Prompt,
    SlotState,
    TemplateBody,
    Timings,
    TokenizeBody,
    UsageCounts,
    Verbose,
)
from yangfan.errors import ConfigurationError, Invalid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from yangfan.engines.base import (
        ChatReply,
        ChatRequest,
        CompletionRequest,
        Delta,
        Engine,
        EngineSpec,
        Kind,
        ModelFacts,
        Sampling,
    )

FORMATS = frozenset({"gguf", "openvino"})
"""Model formats that it reads."""

ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
"""GGUF architectures that it reads."""

FILES = tuple(
    f"openvino_{part}.{ending}"
    for part in ("model", "tokenizer", "detokenizer")
    for ending in ("xml", "bin")
)

GGUF_RANK = 40
"""Below llama_cpp's: docs/decisions/0012-which-engine-runs-a-model.md."""

IR_RANK = 60
START_SECONDS = 90.0
START_SECONDS_PER_GIB = 60.0

BLOCK_TOKENS = 32
"""The KV cache on a CPU is handed out in blocks of this many tokens."""

GRAMMAR_STEP_SECONDS = 60.0
"""A step that tries a new grammar and takes longer than this ends the child."""

KNOWN_GRAMMARS = 1024
CALLS_AT_ONCE = 128
"""What an encoder takes at least, however many `slots` there are: while one batch is computed, the next one gathers."""

DEFAULT_TEXT_TOKENS = 512
"""Longest text of an encoder whose folder does not say."""

_TEXT_KINDS = frozenset({"embeddings", "rerank"})
_DRAINING_STEPS = 8
_FAILED = "the engine failed in the middle of the answer; try again"


class OpenVINOOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What `EngineSpec.options` may hold; the module's docstring explains each."""

    kv_tokens: Annotated[int, Meta(ge=BLOCK_TOKENS)] = 32768
    default_output_tokens: Annotated[int, Meta(ge=1)] = 1024
    step_tokens: Annotated[int, Meta(ge=BLOCK_TOKENS)] = 256
    prefix_caching: bool = False
    batch_tokens: Annotated[int, Meta(ge=1)] = 8192
    device: Annotated[str, Meta(pattern="^[A-Z]+[A-Z0-9.:,]*$")] = "CPU"


class OpenVINOConfig(msgspec.Struct):
    """The line that the child reads."""

    api_key: str
    path: str
    context_tokens: int | None
    slots: int
    threads: int | None
    options: OpenVINOOptions
    kind: str = "chat"


def create(spec: EngineSpec, workdir: Path) -> Engine:
    """Make the (not yet started) engine.

    Raises:
        ConfigurationError: There is no path, there are adapters, or an option is unknown or has a value that is not allowed.
    """
    if spec.path is None:
        raise ConfigurationError(
            f"the openvino engine needs the path of a GGUF file or an IR folder for {spec.model!r}"
        )
    if spec.adapters:
        raise ConfigurationError(
            f"the openvino engine takes no adapters, and {spec.model!r} has some; take another engine for it"
        )
    try:
        options = msgspec.convert(dict(spec.options), OpenVINOOptions)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of the openvino engine: {error}") from error
    return OpenVINOEngine(spec, options, Path(spec.path), workdir)


def fit(model: ModelFacts) -> Fit:
    """It suits models that write text; of GGUF files, those of three architectures."""
    if model.format == "openvino" and model.kind != "images":
        return Fit(IR_RANK, "it runs OpenVINO's own format")
    if model.kind not in {"chat", "vision"}:
        return Fit(None, f"runs {model.kind} models from folders of OpenVINO's own format only")
    if model.architecture and model.architecture not in ARCHITECTURES:
        return Fit(None, f"reads GGUF of {', '.join(sorted(ARCHITECTURES))} only")
    return Fit(
        GGUF_RANK,
        "faster from several streams on, slower alone, and without logit_bias and top_logprobs "
        "(docs/decisions/0012); name it as the model's engine to take it",
    )


def missing() -> str | None:
    """None if openvino-genai is installed, otherwise how to install it."""
    if importlib.util.find_spec("openvino_genai") is None:
        return 'pip install "yangfan[openvino]"'
    return None


class OpenVINOEngine(ChildEngine):
    """The parent's side: refuses what the library would pass over, and reads function calls."""

    SHOWS_THOUGHTS = True

    def __init__(
        self, spec: EngineSpec, options: OpenVINOOptions, path: Path, workdir: Path
    ) -> None:
        """Describe the engine; nothing runs yet."""
        if spec.kind in _TEXT_KINDS:
            spec = msgspec.structs.replace(spec, slots=max(spec.slots, CALLS_AT_ONCE))
        files = path.glob("*.bin") if path.is_dir() else [path] if path.is_file() else []
        size_bytes = sum(file.stat().st_size for file in files)
        process = ChildProcess(
            f"the openvino engine of {spec.model!r}",
            [sys.executable, "-m", __spec__.name],
            workdir,
            start_timeout_seconds=START_SECONDS + START_SECONDS_PER_GIB * size_bytes / 2**30,
        )
        config = OpenVINOConfig(
            "",
            str(path.absolute()),
            spec.context_tokens,
            spec.slots,
            spec.threads,
            options,
            spec.kind,
        )
        kind: Kind = spec.kind if spec.kind in _TEXT_KINDS else "chat"
        super().__init__(
            spec,
            process,
            cast("dict[str, Any]", msgspec.to_builtins(config)),
            kinds=frozenset({kind}),
        )

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Generate and return whole answers, gathered from a stream: a caller that leaves is noticed."""
        async with aclosing(self.chat_stream(request)) as deltas:
            return await gather_reply(deltas, request.n)

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Generate and yield as tokens come. The generator must be closed (`aclosing`)."""
        _refuse_unsupported(request.sampling, request.top_logprobs, "top_logprobs")
        request, reader = prepare(request, template_has_tools=False)
        generated = super().chat_stream(request)
        found = generated if reader is None else read_calls(generated, reader)
        async with aclosing(found) as deltas:
            async for delta in deltas:
                yield delta

    def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        """Continue a text and yield as tokens come. The generator must be closed (`aclosing`)."""
        _refuse_unsupported(request.sampling, request.logprobs, "logprobs")
        return super().complete_stream(request)


def _refuse_unsupported(sampling: Sampling, alternatives: int | None, param: str) -> None:
    if sampling.logit_bias:
        raise Invalid(
            "the openvino engine, which runs this model, has no logit_bias; leave it out or take another engine",
            param="logit_bias",
        )
    if alternatives:
        raise Invalid(
            f"the openvino engine, which runs this model, tells the chosen token only; set {param} to 0 or take another engine",
            param=param,
        )


# The child ------------------------------------------------------------------------------------------


class _RefusedError(Exception):
    """A request is at fault; `detail` says why."""

    def __init__(self, detail: ErrorDetail) -> None:
        """Keep what the reply will say."""
        super().__init__(detail.message)
        self.detail = detail


class Step(msgspec.Struct, frozen=True):
    """What one step brought to one answer."""

    index: int
    tokens: list[int]
    logprobs: list[float]
    finished: bool
    at_limit: bool


class Thoughts:
    """How long the thoughts of one answer may be."""

    def __init__(
        self,
        limit: ThoughtLimit,
        closing: list[int],
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        """Nothing is thought yet; `closing` are the tokens that end a thought."""
        self._limit = limit
        self._closing = closing
        self._detokenizer = Detokenizer(decode)

    @property
    def at_once(self) -> list[int]:
        """What the answer begins with, where the prompt has opened a thought of which no token may be."""
        return self._closing if self._limit.used_up else []

    def due(self, tokens: Sequence[int]) -> list[int] | None:
        """What of the next tokens stands, and the end of the thought, if it has to end among them."""
        for count, token in enumerate(tokens, 1):
            if self._limit.add(self._detokenizer.add(token)):
                return [*tokens[:count], *self._closing]
        return None


class Answer:
    """One answer being written: what the library is asked to go on with, and where its steps go."""

    def __init__(
        self,
        index: int,
        prompt: list[int],
        config: Any,
        *,
        room: int,
        least: int,
        thoughts: Thoughts | None = None,
    ) -> None:
        """Not yet handed to the library; `least` and `room` are the fewest and the most tokens that it may have."""
        self.index = index
        self.prompt = prompt
        self.config = config
        self.room = room
        self.least = least
        self.tokens: list[int] = []
        self.again: list[int] = []
        self.steps: asyncio.Queue[Step | Exception] = asyncio.Queue()
        self.handle: Any = None
        self.tried = asyncio.Event()
        self.unproven = False
        self.thoughts = thoughts

    @property
    def has_grammar(self) -> bool:
        """Whether it must keep to one: then it cannot go on in the middle."""
        return self.config.structured_output_config is not None


class Generator:
    """The pipeline and the answers in it. Everything happens in the loop's thread, between which the steps take turns."""

    def __init__(self, genai: Any, pipeline: Any, check: GrammarCheck) -> None:
        """Nothing is being written; `check` tries grammars first."""
        self._check = check
        self._genai = genai
        self._pipeline = pipeline
        self._answers: dict[int, Answer] = {}
        self._next_id = 0
        self._work = asyncio.Event()
        self._proving = asyncio.Lock()
        self._proven: dict[str, None] = {}

    @asynccontextmanager
    async def writing(self, answer: Answer) -> AsyncGenerator[None]:
        """Hand `answer` to the library, and take it out again in the end."""
        try:
            grammar = (
                answer.config.structured_output_config.json_schema if answer.has_grammar else None
            )
            if grammar is None or grammar in self._proven:
                self._add(answer)
            else:
                await self._prove(answer, grammar)
            yield
        finally:
            self.take_out(answer)

    async def run(self) -> None:
        """Step for as long as there is something to write."""
        while True:
            await self._work.wait()
            while self._pipeline.has_non_finished_requests():
                self._step()
                await asyncio.sleep(0)
            self._work.clear()

    async def _prove(self, answer: Answer, grammar: str) -> None:
        """Add an answer whose grammar may turn out not to work: one such at a time, so that it is clear which one it was."""
        async with self._proving:
            try:
                reason = None if grammar in self._proven else await self._check.reason(grammar)
            except CannotTryError as error:
                raise _RefusedError(_no_grammars(error)) from error
            if reason is not None:
                raise _RefusedError(_no_grammar(reason))
            answer.unproven = True
            self._add(answer)
            await answer.tried.wait()
        if answer.handle is not None:
            self._proven[grammar] = None
            if len(self._proven) > KNOWN_GRAMMARS:
                del self._proven[next(iter(self._proven))]

    def _add(self, answer: Answer) -> None:
        if answer.thoughts is not None and answer.thoughts.at_once:
            self._write(answer, answer.thoughts.at_once, [])
            if len(answer.tokens) >= answer.room:
                return
        tensor = _tensor(answer.prompt + answer.tokens)
        answer.config.max_new_tokens = answer.room - len(answer.tokens)
        answer.config.min_new_tokens = max(0, answer.least - len(answer.tokens))
        self._next_id += 1
        answer.handle = self._pipeline.add_request(self._next_id, tensor, answer.config)
        self._answers[self._next_id] = answer
        self._work.set()

    def take_out(self, answer: Answer) -> None:
        """End `answer` if it is still being written."""
        for number, other in self._answers.items():
            if other is answer:
                answer.handle.cancel()
                del self._answers[number]
                self._work.set()
                return

    def _step(self) -> None:
        proving = any(answer.unproven for answer in self._answers.values())
        if proving:
            faulthandler.dump_traceback_later(GRAMMAR_STEP_SECONDS, exit=True)
        try:
            self._pipeline.step()
        except Exception:  # noqa: BLE001 - whatever the library throws, it must not go on as it is
            traceback.print_exc()
            self._recover()
            return
        finally:
            if proving:
                faulthandler.cancel_dump_traceback_later()
        for number, answer in list(self._answers.items()):
            while answer.handle.can_read():
                for output in answer.handle.read().values():
                    self._deliver(number, answer, output)

    def _deliver(self, number: int, answer: Answer, output: Any) -> None:
        answer.unproven = False
        answer.tried.set()
        tokens: list[int] = output.generated_ids
        due = None if answer.thoughts is None else answer.thoughts.due(tokens)
        if due is not None and output.finish_reason == self._genai.GenerationFinishReason.NONE:
            self._end_thought(number, answer, due, output.generated_log_probs)
            return
        known = answer.again[len(answer.tokens) :][: len(tokens)]
        answer.tokens += tokens
        reasons = self._genai.GenerationFinishReason
        finished = output.finish_reason != reasons.NONE
        if finished:
            del self._answers[number]
        if known != tokens[: len(known)]:
            answer.steps.put_nowait(RuntimeError(_FAILED))
            return
        answer.steps.put_nowait(
            Step(
                answer.index,
                tokens[len(known) :],
                output.generated_log_probs[len(known) :],
                finished,
                output.finish_reason == reasons.LENGTH,
            )
        )

    def _end_thought(
        self, number: int, answer: Answer, tokens: list[int], logprobs: list[float]
    ) -> None:
        """Write the end of a thought in the model's place, and let it go on from there: the library cannot be told what to say."""
        answer.handle.cancel()
        del self._answers[number]
        self._write(answer, tokens, logprobs)
        if len(answer.tokens) < answer.room:
            self._add(answer)

    def _write(self, answer: Answer, tokens: list[int], logprobs: list[float]) -> None:
        answer.thoughts = None
        tokens = tokens[: answer.room - len(answer.tokens)]
        answer.tokens += tokens
        full = len(answer.tokens) >= answer.room
        answer.steps.put_nowait(Step(answer.index, tokens, logprobs, full, full))

    def _recover(self) -> None:
        """A step failed: take everything out, refuse what is to blame, and go on with the rest."""
        answers, self._answers = list(self._answers.values()), {}
        for answer in answers:
            answer.handle.cancel()
        for _ in range(_DRAINING_STEPS):
            if not self._pipeline.has_non_finished_requests():
                break
            try:
                self._pipeline.step()
            except Exception:  # noqa: BLE001 - as above
                traceback.print_exc()
        else:
            sys.stderr.write(
                "the pipeline cannot be emptied; this process ends, to be started again\n"
            )
            os._exit(1)
        guilty = [answer for answer in answers if answer.unproven]
        for answer in answers:
            if answer in guilty:
                answer.handle, answer.unproven = None, False
                answer.tried.set()
                answer.steps.put_nowait(_RefusedError(_no_grammar("the engine failed on it")))
            elif not guilty:
                answer.steps.put_nowait(RuntimeError(_FAILED))
            else:
                if (
                    answer.has_grammar
                ):  # it cannot begin in the middle: the same seed, and what is known is left out
                    answer.again, answer.tokens = answer.tokens, []
                self._add(answer)


def _tensor(tokens: Sequence[int]) -> Any:
    numpy = importlib.import_module("numpy")
    openvino = importlib.import_module("openvino")
    return openvino.Tensor(numpy.array([tokens], dtype=numpy.int64))


def _invalid(message: str) -> ErrorDetail:
    return ErrorDetail(code=400, message=message, type="invalid_request_error")


def _no_grammar(reason: str) -> ErrorDetail:
    return _invalid(
        f"response_format cannot be turned into a grammar; simplify its schema: {reason}"
    )


def _no_grammars(reason: CannotTryError) -> ErrorDetail:
    return _invalid(
        "this model cannot be held to a schema by the openvino engine; leave out response_format and "
        f"tool_choice, or serve the model with engine llama_cpp: {reason}"
    )


class Writer:
    """The text of one answer, and the chunks that carry it."""

    def __init__(self, body: GenerationBody, index: int, decode: Any) -> None:
        """Nothing is written yet."""
        self._body = body
        self._index = index
        self._detokenizer = Detokenizer(decode)
        self._cutter = StopCutter(body.stop)
        self._logprobs = isinstance(body, ChatBody | CompletionBody) and bool(body.logprobs)
        self.tokens = 0
        self.finish_reason: str | None = None

    @property
    def stop_type(self) -> str:
        """llama.cpp's word for what ended it."""
        if self._cutter.stopped:
            return "word"
        return "limit" if self.finish_reason == "length" else "eos"

    def write(self, step: Step, eos: frozenset[int]) -> list[Choice]:
        """What a step adds."""
        choices: list[Choice] = []
        for position, token in enumerate(step.tokens):
            self.tokens += 1
            ended = step.finished and not step.at_limit and token in eos
            text = "" if ended else self._cutter.add(self._detokenizer.add(token))
            if not ended and (text or self._logprobs):
                logprob = step.logprobs[position] if position < len(step.logprobs) else 0.0
                choices.append(self._piece(text, logprob))
            if self._cutter.stopped:
                break
        if step.finished or self._cutter.stopped:
            rest = "" if self._cutter.stopped else self._cutter.add(self._detokenizer.end())
            rest += self._cutter.end()
            at_limit = step.at_limit and not self._cutter.stopped
            self.finish_reason = "length" if at_limit else "stop"
            last = self._piece(rest, None)
            last.finish_reason = self.finish_reason
            choices.append(last)
        return choices

    def _piece(self, text: str, logprob: float | None) -> Choice:
        logprobs = None
        if self._logprobs and logprob is not None:
            # Rounding can lift the log of a probability of 1 above 0.
            item = {"token": text, "bytes": list(text.encode()), "logprob": min(logprob, 0.0)}
            logprobs = {"content": [{**item, "top_logprobs": []}]}
        if isinstance(self._body, ChatBody):
            return Choice(self._index, delta=Output(content=text or None), logprobs=logprobs)
        return Choice(self._index, text=text, logprobs=logprobs)


class Listener(ABC):
    """The child's service: answers the exchanges of all connections, whatever the model is for.

    Attributes:
        vocabulary_tokens: Token ids are below this; 0 where nobody says.
    """

    def __init__(self, slots: int, context_tokens: int, vocabulary_tokens: int) -> None:
        """The paths that both kinds of model answer."""
        self._slots = slots
        self._context_tokens = context_tokens
        self.vocabulary_tokens = vocabulary_tokens
        self._encode = msgspec.json.Encoder().encode
        self._routes: dict[str, Callable[[Exchange], None]] = {
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
            "/slots": self._report_slots,
            "/health": lambda exchange: exchange.reply(200, b'{"status":"ok"}'),
        }

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        handle = self._routes.get(exchange.path)
        try:
            if handle is None:
                detail = _invalid(f"this model does not answer {exchange.path}")
                exchange.reply(400, self._encode(ErrorBody(detail)))
            else:
                handle(exchange)
        except _RefusedError as error:
            exchange.reply(400, self._encode(ErrorBody(error.detail)))
        except (msgspec.DecodeError, ValueError) as error:
            exchange.reply(400, self._encode(ErrorBody(_invalid(str(error)))))

    @abstractmethod
    def tokens(self, text: str, *, special: bool) -> list[int]:
        """The tokens of a text; `special` puts those around it that the model expects."""

    @abstractmethod
    def text(self, ids: list[int]) -> str | None:
        """The text that tokens are; None where there is nothing to make it with."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """Slots in which something is computed now."""

    def _tokenize(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=TokenizeBody)
        tokens = self.tokens(body.content, special=body.add_special)
        exchange.reply(200, self._encode({"tokens": tokens}))

    def _detokenize(self, exchange: Exchange) -> None:
        ids = msgspec.json.decode(exchange.body, type=DetokenizeBody).tokens
        exchange.reply(200, self._encode(Detokenized(self.text(list(ids)))))

    def _report_slots(self, exchange: Exchange) -> None:
        states = [
            SlotState(id=number, n_ctx=self._context_tokens, is_processing=number < self.busy)
            for number in range(self._slots)
        ]
        exchange.reply(200, self._encode(states))


class Service(Listener):
    """The service where the model writes text."""

    def __init__(
        self, config: OpenVINOConfig, genai: Any, pipeline: Any, context_tokens: int
    ) -> None:
        """Nothing runs."""
        self._tokenizer = pipeline.get_tokenizer()
        super().__init__(
            config.slots, context_tokens, 1 + max(self._tokenizer.get_vocab().values())
        )
        self._config = config
        self._genai = genai
        self._bos = self._tokenizer.get_bos_token_id()
        base = pipeline.get_config()
        self._eos = frozenset({base.eos_token_id, *base.stop_token_ids})
        self._stop_token_ids = self._eos - {-1}
        check = GrammarCheck(Path(config.path), Path.cwd())
        self.generator = Generator(genai, pipeline, check)
        self._admission = Admission(tokens=config.options.kv_tokens, slots=config.slots)
        self._routes |= {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/apply-template": self._apply_template,
        }

    def tokens(self, text: str, *, special: bool) -> list[int]:
        return self._tokens(text) if special else self._plain_tokens(text)

    def text(self, ids: list[int]) -> str | None:
        return cast("str", self._tokenizer.decode(ids, skip_special_tokens=False))

    @property
    def busy(self) -> int:
        return self._slots - self._admission.free_slots

    def _chat(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=ChatBody)
        self._begin(exchange, body, self._render(body.messages, body.chat_template_kwargs))

    def _complete(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=CompletionBody)
        self._begin(exchange, body, body.prompt)

    def _begin(self, exchange: Exchange, body: GenerationBody, given: str | Sequence[int]) -> None:
        if not 1 <= body.n <= self._config.slots:
            raise _RefusedError(_invalid(f"n must be between 1 and {self._config.slots}"))
        prompt = self._tokens(given) if isinstance(given, str) else list(given)
        if not prompt:
            raise _RefusedError(_invalid("the prompt has no tokens"))
        room = self._context_tokens - len(prompt)
        if room < 1:
            raise _RefusedError(
                ErrorDetail(
                    code=400,
                    message=f"request ({len(prompt)} tokens) exceeds the available context size",
                    type="exceed_context_size_error",
                    n_prompt_tokens=len(prompt),
                    n_ctx=self._context_tokens,
                )
            )
        room = min(room, body.max_tokens or self._config.options.default_output_tokens)
        seed = random.getrandbits(32) if body.seed is None else body.seed
        least = min(room, body.min_tokens or 0)
        answers = [
            Answer(
                index,
                prompt,
                self._configure(body, seed + index),
                room=room,
                least=least,
                thoughts=self._limit_thoughts(body, given),
            )
            for index in range(body.n)
        ]
        exchange.spawn(self._stream(exchange, body, answers))

    def _limit_thoughts(self, body: GenerationBody, prompt: str | Sequence[int]) -> Thoughts | None:
        """None where there is no limit, or a grammar, which leaves no room for a thought."""
        if (
            not isinstance(body, ChatBody)
            or not isinstance(prompt, str)
            or body.reasoning_budget_tokens is None
            or _schema_of(body) is not None
        ):
            return None
        inside = prompt.rstrip().endswith(OPENING_TAG)
        limit = ThoughtLimit(body.reasoning_budget_tokens, inside=inside)
        return Thoughts(limit, self._plain_tokens(END_OF_THOUGHT), self._decode)

    async def _stream(
        self, exchange: Exchange, body: GenerationBody, answers: list[Answer]
    ) -> None:
        tokens = sum(_rounded(len(answer.prompt) + answer.room) for answer in answers)
        async with self._admission.hold(tokens=tokens, slots=len(answers)):
            exchange.start_stream()
            try:
                await self._write_all(exchange, body, answers)
            except _RefusedError as error:
                await exchange.send_event(self._encode(Completion(error=error.detail)))
            except RuntimeError as error:
                detail = ErrorDetail(code=500, message=str(error), type="server_error")
                await exchange.send_event(self._encode(Completion(error=detail)))
        exchange.end_stream()

    async def _write_all(
        self, exchange: Exchange, body: GenerationBody, answers: list[Answer]
    ) -> None:
        steps: asyncio.Queue[Step | Exception] = asyncio.Queue()
        writers = [Writer(body, answer.index, self._decode) for answer in answers]
        prompt_tokens = len(answers[0].prompt)
        async with AsyncExitStack() as stack:
            for answer in answers:
                answer.steps = steps
                await stack.enter_async_context(self.generator.writing(answer))
            while any(writer.finish_reason is None for writer in writers):
                step = await steps.get()
                if isinstance(step, Exception):
                    raise step
                writer = writers[step.index]
                if writer.finish_reason is not None:
                    continue
                choices = writer.write(step, self._eos)
                chunk = Completion(
                    timings=Timings(prompt_n=prompt_tokens, predicted_n=writer.tokens)
                )
                for choice in choices:
                    chunk.choices = [choice]
                    if body.verbose and choice.finish_reason is not None:
                        chunk.verbose = Verbose(writer.stop_type)
                    await exchange.send_event(self._encode(chunk))
                if writer.finish_reason is not None:
                    self.generator.take_out(answers[step.index])
        written = sum(writer.tokens for writer in writers)
        usage = UsageCounts(prompt_tokens, written, prompt_tokens + written)
        await exchange.send_event(self._encode(Completion(usage=usage)))
        await exchange.send_event(b"[DONE]")

    def _configure(self, body: GenerationBody, seed: int) -> Any:
        config = self._genai.GenerationConfig()
        config.stop_token_ids = set(self._stop_token_ids)
        config.logprobs = 1
        temperature = 0.8 if body.temperature is None else body.temperature
        top_p = 0.95 if body.top_p is None else body.top_p
        if temperature > 0 and top_p > 0:
            config.do_sample = True
            config.temperature = temperature
            config.top_p = top_p
            config.top_k = 40 if body.top_k is None else body.top_k
            config.min_p = 0.05
            config.rng_seed = seed
        if body.repeat_penalty is not None:
            config.repetition_penalty = body.repeat_penalty
        config.frequency_penalty = body.frequency_penalty or 0.0
        config.presence_penalty = body.presence_penalty or 0.0
        if isinstance(body, ChatBody):
            schema = _schema_of(body)
            if schema is not None:
                grammar = self._genai.StructuredOutputConfig()
                grammar.json_schema = schema
                config.structured_output_config = grammar
        try:
            config.max_new_tokens = 1
            config.validate()
        except (RuntimeError, TypeError) as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise _RefusedError(
                _invalid(f"the openvino engine does not take this: {reason}")
            ) from None
        return config

    def _render(self, messages: list[ChatMessage], variables: Any = None) -> str:
        history = [{"role": message.role, "content": _text(message)} for message in messages]
        try:
            return self._tokenizer.apply_chat_template(
                history, add_generation_prompt=True, extra_context=dict(variables or {})
            )
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise _RefusedError(
                _invalid(f"the model's chat template refuses the messages: {reason}")
            ) from None

    def _tokens(self, text: str) -> list[int]:
        if not text:
            return []
        tokens = cast("list[int]", self._tokenizer.encode(text).input_ids.data[0].tolist())
        # A template that writes the beginning of the text itself, and a tokenizer that adds it again.
        return tokens[1:] if tokens[:2] == [self._bos] * 2 else tokens

    def _plain_tokens(self, text: str) -> list[int]:
        made = self._tokenizer.encode(text, add_special_tokens=False)
        return cast("list[int]", made.input_ids.data[0].tolist())

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens)

    def _apply_template(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=TemplateBody)
        exchange.reply(
            200, self._encode(Prompt(self._render(body.messages, body.chat_template_kwargs)))
        )


class TextService(Listener):
    """The service where the model gives vectors or scores."""

    def __init__(
        self, config: OpenVINOConfig, encoder: OpenVINOEncoder, context_tokens: int
    ) -> None:
        """Start the thread that computes."""
        super().__init__(config.slots, context_tokens, encoder.vocabulary_tokens)
        self._encoder = encoder
        encoder.batches.start()
        answers = TextAnswers(
            encoder.batches, encoder.tokenize, encoder.require_known, context_tokens
        )
        if config.kind == "rerank":
            self._routes["/v1/rerank"] = answers.rerank
        else:
            self._routes["/v1/embeddings"] = answers.embed

    def tokens(self, text: str, *, special: bool) -> list[int]:
        return self._encoder.tokens(text, special=special)

    def text(self, ids: list[int]) -> str | None:
        return self._encoder.text(ids)

    @property
    def busy(self) -> int:
        return self._encoder.batches.busy


def _rounded(tokens: int) -> int:
    """So many tokens in whole blocks."""
    return -(-tokens // BLOCK_TOKENS) * BLOCK_TOKENS


def _schema_of(body: ChatBody) -> str | None:
    wanted = body.response_format
    if wanted is None or wanted.get("type") == "text":
        return None
    schema: object = {"type": "object"}
    if wanted.get("type") == "json_schema":
        schema = cast("dict[str, object]", wanted.get("json_schema") or {}).get("schema", schema)
    return msgspec.json.encode(schema).decode()


def _text(message: ChatMessage) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    if any(part.image_url is not None for part in message.content):
        raise _RefusedError(_invalid("this model does not take images; send text only"))
    return "".join(part.text or "" for part in message.content)


def check_model(path: Path, kind: str = "chat") -> int | None:
    """Make sure that the library can be shown these files; return the context length that they name.

    Raises:
        SystemExit: They are not whole, or of no kind that it reads; the text says what to do.
    """
    if path.is_dir():
        files = TEXT_FILES if kind in _TEXT_KINDS else FILES
        absent = [name for name in files if not (path / name).is_file()]
        if absent:
            raise SystemExit(
                f"{path} is no OpenVINO model: it lacks {', '.join(absent)}; export it with "
                "`optimum-cli export openvino`, which writes the tokenizer, too"
            )
        return _context_of(path / "config.json")
    if kind in _TEXT_KINDS:
        raise SystemExit(
            f"{path} is no folder; the openvino engine gives {kind} from folders of OpenVINO's own format only"
        )
    try:
        facts = read_facts(path)
        if facts.architecture not in ARCHITECTURES:
            raise SystemExit(
                f"{path} has the architecture {facts.architecture or 'unknown'}; the openvino engine reads GGUF files of "
                f"{', '.join(sorted(ARCHITECTURES))} only: use llama_cpp"
            )
        check_tensors(path)
    except (NotGGUFError, OSError) as error:
        raise SystemExit(str(error)) from None
    return facts.context_tokens


def _context_of(path: Path) -> int | None:
    try:
        config = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None
    found = config.get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def _open(config: OpenVINOConfig) -> tuple[Any, Any]:
    genai = importlib.import_module("openvino_genai")
    options = config.options
    scheduler = genai.SchedulerConfig()
    scheduler.max_num_seqs = config.slots
    scheduler.max_num_batched_tokens = options.step_tokens
    scheduler.num_kv_blocks = -(-options.kv_tokens // BLOCK_TOKENS) + config.slots
    scheduler.cache_size = 0
    scheduler.enable_prefix_caching = options.prefix_caching
    properties = {} if config.threads is None else {"INFERENCE_NUM_THREADS": config.threads}
    try:
        return genai, genai.ContinuousBatchingPipeline(
            config.path, scheduler, options.device, properties
        )
    except RuntimeError as error:
        raise SystemExit(
            f"OpenVINO could not load {config.path}: {error}\nIf the file is incomplete, get it again; if there is not enough memory, "
            "lower kv_tokens, or take a smaller model."
        ) from None


def _open_encoder(config: OpenVINOConfig) -> OpenVINOEncoder:
    try:
        return OpenVINOEncoder(
            Path(config.path),
            rerank=config.kind == "rerank",
            device=config.options.device,
            threads=config.threads,
            batch_tokens=config.options.batch_tokens,
        )
    except (RuntimeError, ValueError) as error:
        raise SystemExit(
            f"OpenVINO could not load {config.path}: {error}\nIf a file is incomplete, get it again."
        ) from None


async def _serve(
    link: ParentLink,
    config: OpenVINOConfig,
    service: Service | TextService,
    context_tokens: int,
) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Exchange(service.answer, config.api_key), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    ready = Ready(port, context_tokens, vocabulary_tokens=service.vocabulary_tokens)
    link.ready(msgspec.json.encode(ready))
    if isinstance(service, Service):
        await service.generator.run()
    else:
        await server.serve_forever()


def main() -> None:
    """Run the child."""
    link = ParentLink()
    config = msgspec.json.decode(link.config, type=OpenVINOConfig)
    sys.modules["openvino_telemetry"] = cast("Any", None)  # its statistics leave no machine of ours
    known = check_model(Path(config.path), config.kind)
    lengths = [length for length in (config.context_tokens, known) if length is not None]
    if config.kind in _TEXT_KINDS:
        longest = min(lengths, default=DEFAULT_TEXT_TOKENS)
        texts = TextService(config, _open_encoder(config), longest)
        asyncio.run(_serve(link, config, texts, longest))
        return
    context_tokens = min([*lengths, config.options.kv_tokens])
    most_tokens = max(config.options.kv_tokens, _rounded(context_tokens))
    config.options.kv_tokens = min(most_tokens, config.slots * _rounded(context_tokens))
    genai, pipeline = _open(config)
    service = Service(config, genai, pipeline, context_tokens)
    asyncio.run(_serve(link, config, service, context_tokens))


if __name__ == "__main__":
    main()
