"""What the platform costs on generation: the same load straight at an engine and through the platform in front of such an engine.

Both engines are loaded all the time and only one of them works. Each round measures both, and the order changes from round to
round (A B, B A, …), so that a machine that gets slower harms both. Both sides get the same prompts, each prompt is used once, so no
prompt cache helps, and the end-of-text tokens are forbidden, so that every answer has the same length.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from load import Streams, Target, ask_for_streams
from processes import Running, engine, model_store, platform
from report import Report, Table, say

from yangfan.egress import Egress
from yangfan.engines.echo import EchoConfig
from yangfan.engines.llama_cpp import LlamaConfig, LlamaOptions
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

ECHO = "echo"
MODEL = "smollm2-135m-instruct"
ENDINGS = {"0": -100.0, "2": -100.0}
"""Logit bias against the model's end-of-text tokens, <|endoftext|> and <|im_end|>."""

SLOTS = 16
TAX_TARGET_PERCENT = 5.0
ADDED_TARGET_MS = 2.0
_VOCABULARY = (
    "river mountain engine copper window garden signal winter paper bridge market silver forest music letter "
    "harbour candle thunder pocket mirror castle voyage pepper lantern orchard ribbon saddle tunnel velvet anchor"
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; `answers` is by number of streams: how many each stream asks for in a round."""

    rounds: int
    answers: dict[int, int]
    answer_tokens: int = 128
    model: str = MODEL
    """This one, or echo, which is quick to start and measures nothing."""


SIZES = {
    "full": Size(rounds=3, answers={1: 8, 4: 3, 16: 2}),
    "quick": Size(rounds=1, answers={1: 2, 4: 1, 16: 1}, answer_tokens=48),
    "smoke": Size(rounds=1, answers={1: 1, 2: 1}, answer_tokens=4, model=ECHO),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """The same prompts both ways."""

    alone: Streams
    through: Streams

    @property
    def tax_percent(self) -> float:
        """How many tokens/s the platform costs."""
        return (1 - self.through.tokens_per_second / self.alone.tokens_per_second) * 100

    @property
    def added_seconds(self) -> list[float]:
        """How much later the first token of each prompt came."""
        return [
            through.first_token_seconds - alone.first_token_seconds
            for alone, through in zip(self.alone.all, self.through.all, strict=True)
        ]


def measure(size: Size) -> Report:
    """Measure both ways at every number of streams."""
    prompts = Prompts()
    report, found = Report(), dict[int, list[Pair]]()
    with platform(size.model, slots=SLOTS) as through, _engine_alone(size.model) as alone:
        for server in (alone, through):
            _ask(server.target, [[prompts.next()]] * 2, 8)
        for number in range(size.rounds):
            for streams, answers in size.answers.items():
                say(f"overhead: {streams} streams, round {number + 1} of {size.rounds}")
                texts = [[prompts.next() for _ in range(answers)] for _ in range(streams)]
                sides = [alone.target, through.target]
                if number % 2:
                    sides.reverse()
                results = {side.port: _ask(side, texts, size.answer_tokens) for side in sides}
                pair = Pair(results[alone.target.port], results[through.target.port])
                found.setdefault(streams, []).append(pair)
    _tell(report, found, size)
    return report


@contextmanager
def _engine_alone(model: str) -> Generator[Running]:
    """The engine as the platform starts it: the same program, options and number of threads."""
    if model == ECHO:
        module, config = "yangfan.engines.echo", EchoConfig(api_key="", slots=SLOTS)
    else:
        module, config = "yangfan.engines.llama_cpp", _llama_config(model)
    with engine(module, config, model) as server:
        yield server


def _llama_config(model: str) -> LlamaConfig:
    stored = asyncio.run(pull(model, store=ModelStore(model_store()), egress=Egress()))
    options = LlamaOptions()
    return LlamaConfig(
        api_key="",
        path=str(stored.path),
        context_tokens=None,
        slots=SLOTS,
        threads=len(os.sched_getaffinity(0)),
        kv_tokens=options.kv_tokens,
        gpu_layers=options.gpu_layers,
        prompt_cache_mib=options.prompt_cache_mib,
    )


class Prompts:
    """Texts of about 64 tokens, the chat template's included, that no two of them begin alike."""

    def __init__(self) -> None:
        """Begin the same way each time."""
        self._random = random.Random(20261122)
        self._words = _VOCABULARY.split()

    def next(self) -> str:
        """One that was not given before."""
        words = " ".join(self._random.choices(self._words, k=24))
        return f"{words}. Write a long story with these words."


def _ask(target: Target, texts: Sequence[Sequence[str]], answer_tokens: int) -> Streams:
    fields = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": answer_tokens,
        "temperature": 0,
        "logit_bias": ENDINGS,
    }
    return ask_for_streams(
        target, [[target.request(text, **fields) for text in sequence] for sequence in texts]
    )


def _tell(report: Report, found: dict[int, list[Pair]], size: Size) -> None:
    rows: list[Sequence[str]] = []
    for streams, pairs in found.items():
        added_ms = median(value for pair in pairs for value in pair.added_seconds) * 1e3
        alone = median(pair.alone.tokens_per_second for pair in pairs)
        through = median(pair.through.tokens_per_second for pair in pairs)
        tax_percent = (1 - through / alone) * 100
        taxes = sorted(pair.tax_percent for pair in pairs)
        rows.append(
            (
                str(streams),
                f"{alone:.1f}",
                f"{through:.1f}",
                f"{tax_percent:+.1f} %",
                f"{taxes[0]:+.1f} … {taxes[-1]:+.1f} %",
                f"{_first_ms([pair.alone for pair in pairs]):.1f}",
                f"{_first_ms([pair.through for pair in pairs]):.1f}",
                f"{added_ms:+.1f}",
            )
        )
        plural = "stream" if streams == 1 else "streams"
        report.check(
            f"tax, {streams} {plural}", tax_percent, at_most=TAX_TARGET_PERCENT, form="{:.1f} %"
        )
        if streams == 1:
            report.check(
                "first token added, 1 stream", added_ms, at_most=ADDED_TARGET_MS, form="{:.1f} ms"
            )
    columns = (
        "streams",
        "tok/s engine alone",
        "tok/s through Yangfan",
        "tax",
        "tax of each round",
        "first token ms alone",
        "through",
        "added",
    )
    report.tables.append(Table(columns, rows))
    records = [record for pairs in found.values() for pair in pairs for record in pair.alone.all]
    prompt_tokens = sorted(record.prompt_tokens for record in records)
    report.notes.append(
        f"{size.model}, greedy, prompts of {prompt_tokens[0]} to {prompt_tokens[-1]} tokens, answers of {size.answer_tokens}; medians of "
        f"{size.rounds} rounds. The time added to the first token is the median over the same prompts both ways, so it need not be "
        "the difference of the two medians beside it. The load generator uses the same cores."
    )
    report.notes.append(
        "With several streams the first token waits for the prompts of the others, in an order that changes from run to run, so the "
        "time added to it is shown but not judged; what the platform itself adds then is in the gateway's table."
    )
    lengths = {
        record.completion_tokens
        for pairs in found.values()
        for pair in pairs
        for side in (pair.alone, pair.through)
        for record in side.all
    }
    report.check("different lengths of answers", len(lengths), at_most=1, form="{:.0f}")


def _first_ms(sides: Sequence[Streams]) -> float:
    return median(record.first_token_seconds for side in sides for record in side.all) * 1e3
