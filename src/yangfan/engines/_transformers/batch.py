"""Continuous batching: answers of different lengths take each step together, join when they come and leave when they end.

One thread computes. In each turn it reads one piece of a waiting prompt, then takes one step for every running answer. The rows of
the batch end at the same column; shorter ones are padded on the left and masked, which every model of the library understands.
Models whose memory is no plain attention cache (state spaces, multimodal positions) take their steps one answer at a time.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import sys
import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines._transformers.memory import growing_cache
from yangfan.engines._transformers.sampling import Picked, read
from yangfan.engines._transformers.text import Detokenizer, StopStrings
from yangfan.engines.process import LOOP_DIED
from yangfan.engines.wire.reasoning import ThoughtLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.engines._transformers.loading import Loaded
    from yangfan.engines._transformers.sampling import Sampler

MAX_FAILURES_IN_A_ROW = 3
"""So many failed steps after each other, and the child starts afresh."""


class Step(msgspec.Struct, frozen=True):
    """What one step brought to one answer; `finish` is set on its last. `read` is the prompt, where its log-probabilities are told."""

    index: int
    text: str = ""
    picked: Picked | None = None
    tokens: int = 0
    finish: str | None = None
    stopped: bool = False
    error: str | None = None
    read: tuple[Picked, ...] = ()


class Thoughts(msgspec.Struct, frozen=True):
    """How long the thoughts of an answer may be.

    Attributes:
        tokens: The most of them.
        opened: Whether the prompt ends inside one.
        closing: Tokens that end one.
    """

    tokens: int
    opened: bool
    closing: list[int]


class Job:
    """One request: a prompt and the answers that begin with it.

    Attributes:
        cancelled: Set by whoever no longer wants the answers.
    """

    def __init__(
        self,
        prompt: list[int],
        samplers: list[Sampler],
        limit: int,
        stops: list[str],
        tell: Callable[[Step], None],
        pictures: dict[str, Any] | None = None,
        thoughts: Thoughts | None = None,
        scored: int | None = None,
    ) -> None:
        """Describe the request.

        Args:
            prompt: Its tokens, all known to the model.
            samplers: One for each answer.
            limit: Most tokens of an answer; prompt and limit fit the context. 0 only reads the prompt.
            stops: Strings that end an answer.
            tell: Called from the computing thread with each step.
            pictures: What the processor made of pictures, to be read with the prompt.
            thoughts: How long an answer's thoughts may be; None for no limit.
            scored: Tell the log-probabilities of the prompt and so many alternatives; None tells nothing.
        """
        self.prompt = prompt
        self.samplers = samplers
        self.limit = limit
        self.stops = stops
        self.tell = tell
        self.pictures = pictures
        self.thoughts = thoughts
        self.scored = scored
        self.read = [Picked(prompt[0])] if scored is not None else []
        self.cancelled = False

    @property
    def longest(self) -> int:
        """Most tokens that a row of it comes to hold."""
        return len(self.prompt) + self.limit


class _Row:
    """One running answer."""

    def __init__(self, job: Job, index: int, decode: Callable[[list[int]], str]) -> None:
        self.job = job
        self.index = index
        self.sampler = job.samplers[index]
        self.length = len(job.prompt)
        self.last = 0
        self.tokens = 0
        self.cache: Any = None
        self.deltas: Any = None
        self._text = Detokenizer(decode)
        self._stops = StopStrings(job.stops)
        self._thoughts = self._limit_thoughts(job.thoughts)

    def _limit_thoughts(self, thoughts: Thoughts | None) -> ThoughtLimit | None:
        if thoughts is None:
            return None
        limit = ThoughtLimit(thoughts.tokens, inside=thoughts.opened)
        if limit.used_up:
            self.sampler.force(thoughts.closing)
            return None
        return limit

    def add(self, picked: Picked, endings: frozenset[int]) -> bool:
        """Tell a token's text; returns whether the answer goes on."""
        self.last = picked.token
        self.tokens += 1
        ended = picked.token in endings
        finish = "stop" if ended or self.sampler.done else None
        if finish is None and self.tokens >= self.job.limit:
            finish = "length"
        piece = "" if ended else self._text.push(picked.token)
        if finish is not None:
            piece += self._text.flush()
        elif self._thoughts is not None and self._thoughts.add(piece):
            assert self.job.thoughts is not None
            self.sampler.force(self.job.thoughts.closing)
        text, stopped = self._stops.push(piece, last=finish is not None)
        if stopped:
            finish = "stop"
        # Whoever sums up a text's chances counts one token behind it, whichever that is.
        shown = None if ended and self.job.scored is None else picked
        self.job.tell(Step(self.index, text, shown, self.tokens, finish, stopped))
        return finish is None

    def fail(self, reason: str) -> None:
        self.job.tell(Step(self.index, error=reason))


class Batch:
    """The running answers of one model, and the queue of those that wait."""

    def __init__(
        self, loaded: Loaded, endings: list[int], *, slots: int, kv_tokens: int, prefill_tokens: int
    ) -> None:
        """Nothing runs until `start`.

        Args:
            loaded: The model.
            endings: Tokens that end an answer.
            slots: Most answers at the same time.
            kv_tokens: Most tokens of memory: rows times the longest of them.
            prefill_tokens: Tokens of a prompt read in one turn.
        """
        self._torch: Any = importlib.import_module("torch")
        self._transformers: Any = importlib.import_module("transformers")
        self._loaded = loaded
        self._model = loaded.model
        self._endings = frozenset(endings)
        self._slots = slots
        self._kv_tokens = kv_tokens
        self._prefill_tokens = prefill_tokens
        accepted = inspect.signature(self._model.forward).parameters
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"
        self._keep = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self.joint = "position_ids" in accepted and self._plain_attention()
        self._rows: list[_Row] = []
        self._cache: Any = None
        self._waiting: deque[Job] = deque()
        self._reading: Job | None = None
        self._read: tuple[Any, int] = (None, 0)
        self._work = threading.Condition()
        self._failures = 0

    @property
    def busy(self) -> int:
        """Answers that are being read or written."""
        reading = self._reading  # its first rows may be in the batch already
        rows = sum(row.job is not reading for row in self._rows)
        return rows + (len(reading.samplers) if reading is not None else 0)

    def start(self) -> None:
        """Compute from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="batch", daemon=True).start()

    def add(self, job: Job) -> None:
        """Put a request at the end of the queue."""
        with self._work:
            self._waiting.append(job)
            self._work.notify()

    def cancel(self, job: Job) -> None:
        """Take a request out of the queue or the batch, at the next turn."""
        job.cancelled = True
        with self._work:
            self._work.notify()

    def _plain_attention(self) -> bool:
        known = self._transformers.cache_utils
        plain = {known.DynamicLayer, known.DynamicSlidingWindowLayer}
        inner = getattr(self._model, "model", self._model)
        if hasattr(inner, "rope_deltas"):
            return False
        layers = known.DynamicCache(config=self._model.config).layers
        return all(type(layer) in plain for layer in layers)

    # The loop

    def _run(self) -> None:
        try:
            with self._torch.inference_mode():
                while True:
                    with self._work:
                        while not (self._waiting or self._rows or self._reading):
                            self._work.wait()
                    self._turn()
        except BaseException:  # noqa: BLE001 - whatever ended the loop ends the child: nobody else would notice
            traceback.print_exc()
            print("the loop that generates has ended; this process starts afresh", file=sys.stderr)  # noqa: T201 - the log
            sys.stderr.flush()
            os._exit(LOOP_DIED)

    def _turn(self) -> None:
        self._forget_cancelled()
        self._admit()
        try:
            if self._reading is not None:
                self._read_on(self._reading)
            if self._rows:
                self._step()
            self._failures = 0
        except Exception as error:
            traceback.print_exc()
            self._fail_all(f"the model failed: {type(error).__name__}: {error}"[:500])
            self._failures += 1
            if self._failures >= MAX_FAILURES_IN_A_ROW:
                raise

    def _forget_cancelled(self) -> None:
        with self._work:
            self._waiting = deque(job for job in self._waiting if not job.cancelled)
        if self._reading is not None and self._reading.cancelled:
            self._reading, self._read = None, (None, 0)
        self._keep_rows([not row.job.cancelled for row in self._rows])

    def _admit(self) -> None:
        if self._reading is not None or not self._waiting:
            return
        job = self._waiting[0]
        rows = len(self._rows) + len(job.samplers)
        longest = max([job.longest, *(row.job.longest for row in self._rows)])
        if self._rows and (rows > self._slots or rows * longest > self._kv_tokens):
            return
        with self._work:
            self._waiting.popleft()
        self._reading, self._read = job, (self._new_cache(), 0)

    def _new_cache(self) -> Any:
        if self.joint:
            return growing_cache(self._transformers)
        return self._transformers.DynamicCache(config=self._model.config)

    def _fail_all(self, reason: str) -> None:
        for row in self._rows:
            row.fail(reason)
        if self._reading is not None:
            for index in range(len(self._reading.samplers)):
                self._reading.tell(Step(index, error=reason))
        self._rows, self._cache, self._reading, self._read = [], None, None, (None, 0)

    # Reading a prompt

    def _read_on(self, job: Job) -> None:
        cache, done = self._read
        end = len(job.prompt) if job.pictures else min(done + self._prefill_tokens, len(job.prompt))
        ids = self._tensor([job.prompt[done:end]])
        more: dict[str, Any] = dict(job.pictures or {})
        if self.joint and not job.pictures:
            more["position_ids"] = self._tensor([list(range(done, end))])
        if job.scored is None:
            logits = self._forward(ids, cache, more)[0]
        else:
            rows = self._logits(ids, cache, more)[0]
            job.read += read(rows, job.prompt[done + 1 : end + 1], job.scored)
            logits = rows[-1]
        self._read = (cache, end)
        if end < len(job.prompt):
            return
        inner = getattr(self._model, "model", self._model)
        for index in range(len(job.samplers)):
            if job.read:
                finish = None if job.limit else "length"
                job.tell(Step(index, read=tuple(job.read), finish=finish))
            if not job.limit:
                continue
            row = _Row(job, index, self._decode)
            if self._pick(row, logits.clone()):
                if self.joint:
                    self._join(row, cache)
                else:
                    row.cache = copy.deepcopy(cache)
                    row.deltas = getattr(inner, "rope_deltas", None)
                    self._rows.append(row)
        self._reading, self._read = None, (None, 0)

    def _join(self, row: _Row, read: Any) -> None:
        """Put a row that has been read beside the others: whoever is shorter is padded on the left."""
        pad = self._torch.nn.functional.pad
        if self._cache is None:
            self._cache = growing_cache(self._transformers)
            for place, layer in enumerate(read.layers):
                self._cache.update(layer.keys, layer.values, place)
        else:
            missing = self._cache.get_seq_length() - row.length
            for layer, new in zip(self._cache.layers, read.layers, strict=True):
                for name in ("keys", "values"):
                    have, add = getattr(layer, name), getattr(new, name)
                    if missing > 0:
                        add = pad(add, (0, 0, missing, 0))
                    elif missing < 0:
                        have = pad(have, (0, 0, -missing, 0))
                    setattr(layer, name, self._torch.cat([have, add]))
        self._rows.append(row)

    # One step for all

    def _step(self) -> None:
        logits = self._step_together() if self.joint else self._step_apart()
        plain = all(row.sampler.plain for row in self._rows)
        if plain and bool(self._torch.isfinite(logits.amax())):
            tokens: list[int] = logits.argmax(-1).tolist()
            keep = [self._tell(row, token) for row, token in zip(self._rows, tokens, strict=True)]
        else:
            rows = logits.float().cpu()
            keep = [self._pick(row, rows[place]) for place, row in enumerate(self._rows)]
        self._keep_rows(keep)

    def _step_together(self) -> Any:
        torch, device = self._torch, self._loaded.device
        lengths = torch.tensor([row.length for row in self._rows], device=device)
        width = self._cache.get_seq_length() + 1
        mask = torch.arange(width, device=device) >= (width - 1 - lengths).unsqueeze(1)
        more = {"attention_mask": mask.long(), "position_ids": lengths.unsqueeze(1)}
        ids = self._tensor([[row.last] for row in self._rows])
        for row in self._rows:
            row.length += 1
        return self._forward(ids, self._cache, more)

    def _step_apart(self) -> Any:
        inner = getattr(self._model, "model", self._model)
        found: list[Any] = []
        for row in self._rows:
            if row.deltas is not None:
                inner.rope_deltas = row.deltas
            found.append(self._forward(self._tensor([[row.last]]), row.cache, {})[0])
            row.length += 1
        return self._torch.stack(found)

    def _forward(self, ids: Any, cache: Any, more: dict[str, Any]) -> Any:
        """The logits of the last column: one row for each answer."""
        return self._logits(ids, cache, {**self._keep, **more})[:, -1]

    def _logits(self, ids: Any, cache: Any, more: dict[str, Any]) -> Any:
        known = {self._cache_name: cache, "use_cache": True, **more}
        return self._model(input_ids=ids, **known).logits

    def _pick(self, row: _Row, logits: Any) -> bool:
        try:
            return row.add(row.sampler.pick(logits.float().cpu()), self._endings)
        except Exception as error:  # noqa: BLE001 - it ends this answer, not its neighbours
            row.fail(str(error))
            return False

    def _tell(self, row: _Row, token: int) -> bool:
        from yangfan.engines._transformers.sampling import Picked

        return row.add(Picked(token), self._endings)

    def _keep_rows(self, keep: list[bool]) -> None:
        if all(keep):
            return
        kept = [place for place, wanted in enumerate(keep) if wanted]
        self._rows = [self._rows[place] for place in kept]
        if not self.joint:
            return
        if not kept:
            self._cache = None
            return
        longest = max(row.length for row in self._rows)
        places = self._torch.tensor(kept, device=self._loaded.device)
        for layer in self._cache.layers:
            layer.keys = layer.keys[places][:, :, -longest:].contiguous()
            layer.values = layer.values[places][:, :, -longest:].contiguous()

    def _decode(self, ids: list[int]) -> str:
        return self._loaded.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _tensor(self, rows: list[list[int]]) -> Any:
        return self._torch.tensor(rows, dtype=self._torch.long, device=self._loaded.device)
