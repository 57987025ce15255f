"""Pick the next token of one answer.

The order is that of Transformers: bias, penalties, temperature, top_k, top_p. What a request leaves open comes from the model's
generation_config.json; where that is silent, too, from the defaults of the llama_cpp engine, so that a model is as lively on
either. Repetition looks at prompt and answer (Keskar et al. 2019, CTRL), frequency and presence at the answer (OpenAI).
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from yangfan.engines.wire.types import GenerationBody

TEMPERATURE = 0.8
TOP_P = 0.95
TOP_K = 40


class Choice(msgspec.Struct, frozen=True):
    """How tokens are picked; every field is settled."""

    temperature: float
    top_p: float
    top_k: int
    repetition: float
    frequency: float
    presence: float
    bias: dict[int, float]
    min_tokens: int
    alternatives: int | None
    """None: tell no log-probabilities; else how many others to tell."""

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is the answer, whatever came before."""
        return (
            self.temperature == 0
            and self.repetition == 1
            and not (self.frequency or self.presence or self.bias)
            and not self.min_tokens
            and self.alternatives is None
        )


def settle(
    body: GenerationBody, defaults: Any, vocabulary: int, alternatives: int | None
) -> Choice:
    """The request's wishes, the model's habits, our defaults, in that order.

    Args:
        body: The request.
        defaults: The model's generation configuration.
        vocabulary: Tokens that exist.
        alternatives: See `Choice`.

    Raises:
        ValueError: `logit_bias` names a token that does not exist.
    """
    bias: dict[int, float] = {}
    for name, value in (body.logit_bias or {}).items():
        if not name.isdecimal() or int(name) >= vocabulary:
            raise ValueError(
                f"logit_bias names the token {name[:40]!r}; there are 0 to {vocabulary - 1}"
            )
        bias[int(name)] = value
    sampled = bool(getattr(defaults, "do_sample", False))
    return Choice(
        temperature=_first(body.temperature, sampled and defaults.temperature, TEMPERATURE),
        top_p=_first(body.top_p, sampled and defaults.top_p, TOP_P),
        top_k=int(_first(body.top_k, sampled and defaults.top_k, TOP_K)),
        repetition=_first(body.repeat_penalty, getattr(defaults, "repetition_penalty", None), 1.0),
        frequency=body.frequency_penalty or 0.0,
        presence=body.presence_penalty or 0.0,
        bias=bias,
        min_tokens=body.min_tokens or 0,
        alternatives=alternatives,
    )


def _first(asked: float | None, habit: Any, default: float) -> float:
    if asked is not None:
        return asked
    # False stands for "the model does not sample by itself".
    return float(habit) if habit is not None and habit is not False else default


class Picked(msgspec.Struct, frozen=True):
    """A token, and the log-probabilities of it and of the likeliest ones where they were asked for."""

    token: int
    logprob: float | None = None
    others: tuple[tuple[int, float], ...] = ()


def read(logits: Any, tokens: list[int], alternatives: int) -> list[Picked]:
    """The tokens of a prompt as if they had been picked.

    Args:
        logits: A row for each token before one of them, and perhaps more.
        tokens: What stands in the prompt.
        alternatives: How many others to tell.
    """
    if not tokens:
        return []
    chances = logits[: len(tokens)].float().cpu().log_softmax(-1)
    own: list[float] = chances[list(range(len(tokens))), tokens].tolist()
    values, places = chances.topk(min(alternatives, chances.shape[-1]))
    return [
        Picked(token, chance, tuple(zip(others, likely, strict=True)))
        for token, chance, others, likely in zip(
            tokens, own, places.tolist(), values.tolist(), strict=True
        )
    ]


class Sampler:
    """Picks the tokens of one answer."""

    def __init__(
        self, choice: Choice, prompt: list[int], endings: list[int], seed: int | None, matcher: Any
    ) -> None:
        """Begin an answer.

        Args:
            choice: How to pick.
            prompt: Tokens of the prompt.
            endings: Tokens that end an answer.
            seed: The same one picks the same tokens again; None is a new one.
            matcher: Says which tokens may come; None allows all.
        """
        self._torch: Any = importlib.import_module("torch")
        self.choice = choice
        self._prompt = sorted(set(prompt)) if choice.repetition != 1 else []
        self._counts: Counter[int] = Counter()
        self._picked = 0
        self._endings = endings
        self._matcher = matcher
        self._forced: list[int] = []
        self._generator: Any = self._torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is always the one."""
        return self._matcher is None and not self._forced and self.choice.plain

    def force(self, tokens: list[int]) -> None:
        """Pick these next, whatever the model would say."""
        self._forced = [*tokens]

    @property
    def done(self) -> bool:
        """Whether nothing may follow."""
        return self._matcher is not None and bool(self._matcher.is_stopped())

    def pick(self, logits: Any) -> Picked:
        """The next token.

        Args:
            logits: One float for each token, on the CPU; they are changed.

        Raises:
            ValueError: There is no number among them, or no token may come.
        """
        torch = self._torch
        if not bool(torch.isfinite(logits.max())):
            raise ValueError("the model computed something that is no number; try dtype float32")
        raw = logits.log_softmax(0) if self.choice.alternatives is not None else None
        scores = self._penalized(logits)
        token = self._forced.pop(0) if self._forced else self._draw(self._allowed(scores))
        self._picked += 1
        self._counts[token] += 1
        if self._matcher is not None and not self._matcher.consume_token(token):
            raise ValueError(f"the grammar failed: {self._matcher.get_error()[:300]}")
        if raw is None:
            return Picked(token)
        others: list[tuple[int, float]] = []
        if self.choice.alternatives:
            values, places = raw.topk(min(self.choice.alternatives, raw.shape[0]))
            others = list(zip(places.tolist(), values.tolist(), strict=True))
        return Picked(token, float(raw[token]), tuple(others))

    def _penalized(self, logits: Any) -> Any:
        torch, choice = self._torch, self.choice
        for token, value in choice.bias.items():
            logits[token] += value
        if choice.repetition != 1:
            seen = torch.tensor(sorted({*self._prompt, *self._counts}), dtype=torch.long)
            kept = logits[seen]
            logits[seen] = torch.where(kept < 0, kept * choice.repetition, kept / choice.repetition)
        if self._counts and (choice.frequency or choice.presence):
            seen = torch.tensor(list(self._counts), dtype=torch.long)
            counts = torch.tensor(list(self._counts.values()), dtype=logits.dtype)
            logits[seen] -= choice.frequency * counts + choice.presence
        if self._picked < choice.min_tokens:
            logits[self._endings] = -math.inf
        return logits

    def _allowed(self, logits: Any) -> Any:
        if self._matcher is None:
            return logits
        torch = self._torch
        bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        mask = (bits.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)).bitwise_and_(1).flatten()
        known = min(mask.shape[0], logits.shape[0])
        logits[known:] = -math.inf
        logits[:known].masked_fill_(mask[:known] == 0, -math.inf)
        if not bool(torch.isfinite(logits.max())):
            raise ValueError("the grammar allows no token of this model here")
        return logits

    def _draw(self, logits: Any) -> int:
        choice = self.choice
        if choice.temperature == 0:
            return int(logits.argmax())
        count = min(choice.top_k, logits.shape[0]) if choice.top_k > 0 else logits.shape[0]
        values, places = logits.topk(count)  # sorted, the likeliest first
        chances = (values / choice.temperature).softmax(0)
        if choice.top_p < 1:
            before = chances.cumsum(0) - chances
            chances = chances.masked_fill(before >= max(choice.top_p, 1e-9), 0.0)
        drawn = self._torch.multinomial(chances, 1, generator=self._generator)
        return int(places[drawn])
