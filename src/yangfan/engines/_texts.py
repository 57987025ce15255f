"""Vectors and scores, as far as the engines that compute them share it: the queue that makes batches, and the answers over HTTP.

One thread computes, and takes whatever has come together as one batch. What Sentence Transformers' own files in a model's folder say of
pooling and of scores is read here, too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines.process import LOOP_DIED
from yangfan.engines.wire.embeddings import (
    EmbeddingItem,
    EmbeddingsResult,
    RerankBody,
    RerankItem,
    RerankResult,
)
from yangfan.engines.wire.errors import ErrorBody, ErrorDetail
from yangfan.engines.wire.types import UsageCounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yangfan.engines.wire.listener import Exchange

Inputs = dict[str, list[int]]
"""What a tokenizer makes of one text, or of a query and a document: input_ids, attention_mask and perhaps token_type_ids."""

MAX_ROWS = 64
"""Most texts in one batch."""

_encode = msgspec.json.Encoder().encode


class _Item:
    """One text in tokens; `done` is called from the computing thread with its numbers, or with what went wrong."""

    __slots__ = ("done", "inputs")

    def __init__(self, inputs: Inputs, done: Callable[[list[float] | Exception], None]) -> None:
        self.inputs = inputs
        self.done = done


class TextBatches:
    """The queue of texts of one encoder or cross-encoder.

    Attributes:
        busy: Texts that are being computed now.
    """

    def __init__(
        self,
        forward: Callable[[list[Inputs]], list[list[float]]],
        *,
        batch_tokens: int,
        mode: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """Nothing computes yet.

        Args:
            forward: Computes one batch: the numbers of each text.
            batch_tokens: Most tokens in one batch, padding included.
            mode: What the thread computes in.
        """
        self._forward = forward
        self._batch_tokens = batch_tokens
        self._mode = mode
        self._waiting: deque[_Item] = deque()
        self._work = threading.Condition()
        self.busy = 0

    def start(self) -> None:
        """Compute from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="encoder", daemon=True).start()

    async def numbers(self, inputs: list[Inputs]) -> list[list[float]]:
        """The numbers of each text, in order; whatever `forward` raises."""
        loop = asyncio.get_running_loop()
        waiting: list[asyncio.Future[list[float]]] = [loop.create_future() for _ in inputs]
        items = [
            _Item(entry, lambda found, future=future: _hand_over(loop, future, found))
            for entry, future in zip(inputs, waiting, strict=True)
        ]
        with self._work:
            self._waiting.extend(items)
            self._work.notify()
        return await asyncio.gather(*waiting)

    def _run(self) -> None:
        try:
            with self._mode():
                while True:
                    self._compute(self._take())
        except BaseException:  # noqa: BLE001 - whatever ended the loop ends the child: nobody else would notice
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(LOOP_DIED)

    def _take(self) -> list[_Item]:
        """The oldest text and those beside it, as many as one batch may hold."""
        with self._work:
            self.busy = 0
            while not self._waiting:
                self._work.wait()
            # Alike in length costs least padding; the oldest is always among those taken.
            oldest = len(self._waiting[0].inputs["input_ids"])
            ordered = sorted(
                range(len(self._waiting)),
                key=lambda place: abs(len(self._waiting[place].inputs["input_ids"]) - oldest),
            )
            taken: list[int] = []
            longest = 0
            for place in ordered[:MAX_ROWS]:
                length = max(longest, len(self._waiting[place].inputs["input_ids"]))
                if taken and length * (len(taken) + 1) > self._batch_tokens:
                    break
                longest = length
                taken.append(place)
            chosen = set(taken)
            items = [item for place, item in enumerate(self._waiting) if place in chosen]
            self._waiting = deque(
                item for place, item in enumerate(self._waiting) if place not in chosen
            )
            self.busy = len(items)
            return items

    def _compute(self, items: list[_Item]) -> None:
        try:
            numbers = self._forward([item.inputs for item in items])
        except Exception as error:  # noqa: BLE001 - it ends these texts, not those to come
            traceback.print_exc()
            for item in items:
                item.done(error)
            return
        for item, found in zip(items, numbers, strict=True):
            item.done(found)


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[list[float]],
    found: list[float] | Exception,
) -> None:
    def settle() -> None:
        if future.done():
            return
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)

    loop.call_soon_threadsafe(settle)


def padded(inputs: list[Inputs], filling: int) -> dict[str, list[list[int]]]:
    """The rows of one batch, all as long as the longest: `filling` after the ids, 0 after everything else."""
    longest = max(len(entry["input_ids"]) for entry in inputs)
    return {
        name: [
            row[name] + [filling if name == "input_ids" else 0] * (longest - len(row[name]))
            for row in inputs
        ]
        for name in inputs[0]
    }


class _InputBody(msgspec.Struct):
    """Body of POST /v1/embeddings: each text whole or in its tokens."""

    input: list[str | list[int]]


class TextAnswers:
    """Answers POST /v1/embeddings and /v1/rerank."""

    def __init__(
        self,
        batches: TextBatches,
        tokenize: Callable[..., Inputs],
        require_known: Callable[[list[int]], None],
        context_tokens: int,
    ) -> None:
        """Answer by what `batches` computes.

        Args:
            batches: Where it is computed.
            tokenize: Turns a text, or a query and a document, into tokens.
            require_known: Raises ValueError for tokens that the model has no row for.
            context_tokens: The longest text.
        """
        self._batches = batches
        self._tokenize = tokenize
        self._require_known = require_known
        self._context_tokens = context_tokens

    def embed(self, exchange: Exchange) -> None:
        """Answer with vectors."""
        body = msgspec.json.decode(exchange.body, type=_InputBody)
        inputs: list[Inputs] = [
            self._tokenize(text)
            if isinstance(text, str)
            else {"input_ids": text, "attention_mask": [1] * len(text)}
            for text in body.input
        ]
        exchange.spawn(self._answer_vectors(exchange, inputs))

    def rerank(self, exchange: Exchange) -> None:
        """Answer with scores."""
        body = msgspec.json.decode(exchange.body, type=RerankBody)
        inputs = [self._tokenize(body.query, document) for document in body.documents]
        exchange.spawn(self._answer_scores(exchange, inputs))

    async def _answer_vectors(self, exchange: Exchange, inputs: list[Inputs]) -> None:
        found, tokens = await self._encoded(exchange, inputs)
        if found is not None:
            items = [EmbeddingItem(index, vector) for index, vector in enumerate(found)]
            exchange.reply(200, _encode(EmbeddingsResult(items, UsageCounts(tokens, 0, tokens))))

    async def _answer_scores(self, exchange: Exchange, inputs: list[Inputs]) -> None:
        found, tokens = await self._encoded(exchange, inputs)
        if found is not None:
            items = [RerankItem(index, score[0]) for index, score in enumerate(found)]
            exchange.reply(200, _encode(RerankResult(items, UsageCounts(tokens, 0, tokens))))

    async def _encoded(
        self, exchange: Exchange, inputs: list[Inputs]
    ) -> tuple[list[list[float]] | None, int]:
        for entry in inputs:
            ids = entry["input_ids"]
            if len(ids) > self._context_tokens:
                detail = ErrorDetail(
                    code=400,
                    type="exceed_context_size_error",
                    n_prompt_tokens=len(ids),
                    n_ctx=self._context_tokens,
                )
                exchange.reply(400, _encode(ErrorBody(detail)))
                return None, 0
            try:
                self._require_known(ids)
            except ValueError as error:
                _refuse(exchange, 400, str(error))
                return None, 0
        try:
            found = await self._batches.numbers(inputs)
        except Exception as error:  # noqa: BLE001 - the model may fail in any way; the caller is told
            _refuse(exchange, 500, f"the model failed: {error}"[:500])
            return None, 0
        return found, sum(len(entry["input_ids"]) for entry in inputs)


def _refuse(exchange: Exchange, status: int, message: str) -> None:
    kind = "invalid_request_error" if status < 500 else "server_error"
    exchange.reply(status, _encode(ErrorBody(ErrorDetail(message, kind, status))))


def pooling_of(folder: Path) -> str:
    """What Sentence Transformers' own files say (https://sbert.net/docs), mean where there are none."""
    modules = _json(folder / "modules.json", [])
    known = {"Transformer", "Pooling", "Normalize"}
    strange = [entry["type"] for entry in modules if entry["type"].rpartition(".")[2] not in known]
    if strange:
        raise ValueError(f"the model has layers that are not run here: {', '.join(strange)}")
    wanted = _json(folder / "1_Pooling" / "config.json", {})
    modes = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_lasttoken": "lasttoken",
    }
    chosen = [mode for name, mode in modes.items() if wanted.get(name)]
    others = [
        name for name, on in wanted.items() if name.startswith("pooling_mode_") and on is True
    ]
    if len(others) > 1 or len(others) != len(chosen):
        raise ValueError(f"the model pools in a way that is not known here: {', '.join(others)}")
    return chosen[0] if chosen else str(wanted.get("pooling_mode") or "mean")


def wants_sigmoid(folder: Path) -> bool:
    """Cross-encoders with one label end in a sigmoid unless their configuration names another function."""
    config = _json(folder / "config.json", {})
    told: Any = config.get("sentence_transformers") or {}
    named = told.get("activation_fn")
    return not str(named or config.get("sbert_ce_default_activation_function")).endswith("Identity")


def _json(path: Path, default: Any) -> Any:  # their shapes are other people's
    return msgspec.json.decode(path.read_bytes()) if path.is_file() else default
