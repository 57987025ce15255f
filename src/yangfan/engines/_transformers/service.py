"""The child's HTTP answers: chats, completions, embeddings, rerank, and what the parent asks about."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines._texts import TextAnswers
from yangfan.engines._transformers.batch import Batch, Job, Step, Thoughts
from yangfan.engines._transformers.config import CountedPrompt, TransformersConfig
from yangfan.engines._transformers.encoders import Conversations, Encoder, reads_conversations
from yangfan.engines._transformers.grammar import Grammars
from yangfan.engines._transformers.prompts import Prompts
from yangfan.engines._transformers.sampling import Sampler, settle
from yangfan.engines.wire.errors import ErrorBody, ErrorDetail
from yangfan.engines.wire.reasoning import END_OF_THOUGHT
from yangfan.engines.wire.types import (
    ChatBody,
    Choice,
    Completion,
    CompletionBody,
    DetokenizeBody,
    Detokenized,
    GenerationBody,
    Output,
    SlotState,
    TemplateBody,
    Timings,
    TokenizeBody,
    UsageCounts,
    Verbose,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yangfan.engines._transformers.loading import Loaded
    from yangfan.engines._transformers.sampling import Picked
    from yangfan.engines.wire.listener import Exchange

_encode = msgspec.json.Encoder().encode


class _TooLongError(Exception):
    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


class Service:
    """Answers the exchanges of all connections."""

    def __init__(self, loaded: Loaded, config: TransformersConfig, context_tokens: int) -> None:
        """Set up what the kind of model needs and start its thread."""
        self._loaded = loaded
        self._config = config
        self._context_tokens = context_tokens
        self.prompts = Prompts(loaded, config)
        self.vocabulary_tokens = loaded.vocabulary
        self._endings = endings_of(loaded)
        self._grammars = Grammars(loaded.tokenizer, loaded.vocabulary, self._endings)
        self._seeds = itertools.count()
        self._batch: Batch | None = None
        self._encoder: Encoder | None = None
        routes: dict[str, Callable[[Exchange], None]] = {
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
            "/slots": self._report_slots,
            "/health": _report_health,
        }
        if config.kind in {"embeddings", "rerank"}:
            rerank = config.kind == "rerank"
            self._encoder = Encoder(
                loaded, Path(config.path), rerank=rerank, batch_tokens=config.batch_tokens
            )
            self._encoder.batches.start()
            tokenize = self._encoder.tokenize
            if rerank and reads_conversations(loaded):
                tokenize = Conversations(self.prompts, self._endings).tokenize
            answers = TextAnswers(
                self._encoder.batches, tokenize, loaded.require_known, context_tokens
            )
            routes["/v1/rerank" if rerank else "/v1/embeddings"] = (
                answers.rerank if rerank else answers.embed
            )
        else:
            self._batch = Batch(
                loaded,
                self._endings,
                slots=config.slots,
                kv_tokens=config.kv_tokens,
                prefill_tokens=config.prefill_tokens,
            )
            self._batch.start()
            routes |= {
                "/apply-template": self._apply_template,
                "/v1/chat/completions": self._chat,
                "/v1/completions": self._complete,
            }
        self._routes = routes

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        handle = self._routes.get(exchange.path)
        try:
            if handle is None:
                _refuse(exchange, 400, f"this model does not answer {exchange.path}")
            else:
                handle(exchange)
        except _TooLongError as error:
            detail = ErrorDetail(
                code=400,
                type="exceed_context_size_error",
                n_prompt_tokens=error.tokens,
                n_ctx=self._context_tokens,
            )
            exchange.reply(400, _encode(ErrorBody(detail)))
        except (msgspec.DecodeError, ValueError) as error:
            _refuse(exchange, 400, str(error))

    # Generating

    def _chat(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=ChatBody)
        ids, pictures, opened = self.prompts.chat(body)
        alternatives = (body.top_logprobs or 0) if body.logprobs else None
        constrained = (body.response_format or {}).get("type", "text") != "text"
        self._generate(
            exchange,
            body,
            ids,
            alternatives=alternatives,
            response_format=body.response_format,
            pictures=pictures,
            opened="" if constrained else opened,
            thoughts=None if constrained else self._thoughts(body, opened=bool(opened)),
        )

    def _thoughts(self, body: ChatBody, *, opened: bool) -> Thoughts | None:
        tokens = body.reasoning_budget_tokens
        if tokens is None:
            return None
        return Thoughts(tokens, opened, self.prompts.tokens(END_OF_THOUGHT, special=False))

    def _complete(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=CompletionBody)
        ids = self._ids(body.prompt)
        self._generate(exchange, body, ids, alternatives=body.logprobs or None)

    def _ids(self, prompt: str | Sequence[int]) -> list[int]:
        if isinstance(prompt, str):
            return self.prompts.tokens(prompt, special=True)
        ids = list(prompt)
        self._loaded.require_known(ids)
        return ids

    def _generate(
        self,
        exchange: Exchange,
        body: GenerationBody,
        ids: list[int],
        *,
        alternatives: int | None,
        response_format: Any = None,
        pictures: dict[str, Any] | None = None,
        opened: str = "",
        thoughts: Thoughts | None = None,
    ) -> None:
        if not body.stream:
            raise ValueError("this engine only streams; ask for stream: true")
        if not 1 <= body.n <= self._config.slots:
            raise ValueError(f"n must be between 1 and {self._config.slots}")
        room = self._context_tokens - len(ids)
        scored = alternatives if isinstance(body, CompletionBody) and body.echo else None
        least = 0 if scored is not None and body.max_tokens == 0 else 1
        if room < least:
            raise _TooLongError(len(ids))
        if not ids:
            raise ValueError("the prompt has no tokens; send some text")
        choice = settle(
            body, self._loaded.model.generation_config, self._loaded.vocabulary, alternatives
        )
        matcher = self._grammars.matcher(response_format)
        limit = (
            body.max_tokens if body.max_tokens is not None else self._config.default_output_tokens
        )
        samplers = [
            Sampler(
                choice,
                ids,
                self._endings,
                None if body.seed is None else body.seed + index,
                None if matcher is None else matcher.deep_copy(),
            )
            for index in range(body.n)
        ]
        loop = asyncio.get_running_loop()
        steps: asyncio.Queue[Step] = asyncio.Queue()
        job = Job(
            ids,
            samplers,
            max(least, min(limit, room)),
            body.stop,
            lambda step: loop.call_soon_threadsafe(steps.put_nowait, step) and None,
            pictures,
            thoughts,
            scored,
        )
        exchange.spawn(self._stream(exchange, body, job, steps, opened))

    async def _stream(
        self,
        exchange: Exchange,
        body: GenerationBody,
        job: Job,
        steps: asyncio.Queue[Step],
        opened: str,
    ) -> None:
        assert self._batch is not None
        self._batch.add(job)
        try:
            await self._send_steps(exchange, body, job, steps, opened)
        finally:
            self._batch.cancel(job)

    async def _send_steps(
        self,
        exchange: Exchange,
        body: GenerationBody,
        job: Job,
        steps: asyncio.Queue[Step],
        opened: str,
    ) -> None:
        counts = [0] * body.n
        open_answers, begun = body.n, False
        unopened = set(range(body.n)) if opened else set[int]()
        while open_answers:
            step = await steps.get()
            if step.error is not None:
                detail = ErrorDetail(code=500, message=step.error, type="server_error")
                if not begun:
                    exchange.reply(500, _encode(ErrorBody(detail)))
                    return
                await exchange.send_event(_encode(ErrorBody(detail)))
                break
            if not begun:
                begun = True
                exchange.start_stream()
            counts[step.index] = step.tokens
            text = step.text
            if step.index in unopened:
                unopened.discard(step.index)
                text = opened + text
            open_answers -= step.finish is not None
            chunk = Completion([self._piece(body, step, text)])
            if body.timings_per_token:
                chunk.timings = Timings(prompt_n=len(job.prompt), predicted_n=step.tokens)
            if body.verbose:
                chunk.verbose = Verbose("word" if step.stopped else "eos")
            await exchange.send_event(_encode(chunk))
        else:
            total = sum(counts)
            usage = UsageCounts(len(job.prompt), total, len(job.prompt) + total)
            await exchange.send_event(_encode(Completion(usage=usage)))
            await exchange.send_event(b"[DONE]")
        exchange.end_stream()

    def _piece(self, body: GenerationBody, step: Step, text: str) -> Choice:
        told = [self._told(picked) for picked in step.read]
        if step.picked is not None and step.picked.logprob is not None:
            told.append(self._told(step.picked))
        logprobs = {"content": told} if told else None
        if isinstance(body, ChatBody):
            output = Output(content=text or None)
            return Choice(step.index, delta=output, finish_reason=step.finish, logprobs=logprobs)
        return Choice(step.index, text=text, finish_reason=step.finish, logprobs=logprobs)

    def _told(self, picked: Picked) -> dict[str, Any]:
        others = [self._logprob(*other) for other in picked.others]
        return {**self._logprob(picked.token, picked.logprob), "top_logprobs": others}

    def _logprob(self, token: int, logprob: float | None) -> dict[str, Any]:
        text: str = self._loaded.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return {
            "id": token,
            "token": text,
            "bytes": list(text.encode()),
            "logprob": None if logprob is None else max(logprob, -1e4),
        }

    # What the parent asks about

    def _tokenize(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=TokenizeBody)
        ids = self.prompts.tokens(body.content, special=body.add_special)
        exchange.reply(200, _encode({"tokens": ids}))

    def _detokenize(self, exchange: Exchange) -> None:
        ids = msgspec.json.decode(exchange.body, type=DetokenizeBody).tokens
        text = self._loaded.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        exchange.reply(200, _encode(Detokenized(text)))

    def _apply_template(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(exchange.body, type=TemplateBody)
        prompt = self.prompts.render(body.messages, None, dict(body.chat_template_kwargs or {}))
        ids, _, _ = self.prompts.chat(ChatBody(model="", messages=body.messages))
        exchange.reply(200, _encode(CountedPrompt(prompt, len(ids))))

    def _report_slots(self, exchange: Exchange) -> None:
        busy = self._batch.busy if self._batch is not None else 0
        if self._encoder is not None:
            busy = self._encoder.batches.busy
        states = [
            SlotState(id=number, n_ctx=self._context_tokens, is_processing=number < busy)
            for number in range(self._config.slots)
        ]
        exchange.reply(200, _encode(states))


def endings_of(loaded: Loaded) -> list[int]:
    """The tokens that end an answer, as the model's generation configuration and its tokenizer name them."""
    known: list[int] = []
    habits = getattr(loaded.model, "generation_config", None)
    for value in (getattr(habits, "eos_token_id", None), loaded.tokenizer.eos_token_id):
        known += value if isinstance(value, list) else [] if value is None else [value]
    return sorted({token for token in known if 0 <= token < loaded.vocabulary})


def _report_health(exchange: Exchange) -> None:
    exchange.reply(200, b'{"status":"ok"}')


def _refuse(exchange: Exchange, status: int, message: str) -> None:
    kind = "invalid_request_error" if status < 500 else "server_error"
    exchange.reply(status, _encode(ErrorBody(ErrorDetail(message, kind, status))))
