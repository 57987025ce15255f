"""llama.cpp's wheel and llama.cpp built for this CPU: the same model, options and load, one program after the other.

Needs a build (`yangfan engines build llama_cpp --home ~/.cache/yangfan-bench`, or `YANGFAN_BENCH_BUILDS`); without one the question is
skipped by name. Both children run all the time and only one of them works; the order changes from round to round.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from load import Streams, ask_for_streams
from memory import read_bytes_per_second
from overhead import ENDINGS, MODEL, SLOTS, Prompts
from processes import Running, engine, model_store
from report import Report, Table, say

from yangfan.egress import Egress
from yangfan.engines import _native, llama_cpp
from yangfan.engines.llama_cpp import LlamaConfig, LlamaOptions
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; `answers` is by number of streams: how many each stream asks for in a round."""

    rounds: int
    answers: dict[int, int]
    answer_tokens: int = 128
    quantizations: tuple[str, ...] = ("q4_1", "q8_0")


SIZES = {
    "full": Size(rounds=3, answers={1: 4, 4: 2, 16: 1}),
    "quick": Size(rounds=1, answers={1: 1, 4: 1, 16: 1}, answer_tokens=48),
    "smoke": Size(rounds=1, answers={1: 1}, answer_tokens=4, quantizations=("q4_1",)),
}


def measure(size: Size) -> Report:
    """Measure both programs with each quantisation."""
    report = Report()
    state = _native.find(_builds(), llama_cpp.VERSION)
    if state.native is None:
        report.notes.append(
            f"Skipped: llama.cpp built for this CPU: {state.reason} in {_builds()}."
        )
        return report
    rows: list[Sequence[str]] = []
    limits: list[Sequence[str]] = []
    best = 0.0
    for quantization in size.quantizations:
        path = _model(state.native, quantization)
        found = _measure_model(size, path, state.native.server, quantization)
        for streams in size.answers:
            wheel, native = found["wheel", streams], found["native", streams]
            rows.append(
                (
                    f"{quantization.upper()}, {streams} streams",
                    f"{wheel[0]:.1f}",
                    f"{native[0]:.1f}",
                    f"{native[0] / wheel[0]:.2f}",
                    f"{wheel[1]:.0f}",
                    f"{native[1]:.0f}",
                )
            )
        say(f"programs: {quantization}, memory")
        limit = read_bytes_per_second() / path.stat().st_size
        rates = [found[program, 1][0] for program in ("wheel", "native")]
        limits.append(
            (
                quantization.upper(),
                f"{path.stat().st_size / 1e6:.0f}",
                f"{limit * path.stat().st_size / 1e9:.1f}",
                f"{limit:.0f}",
                *(f"{rate / limit:.0%}" for rate in rates),
            )
        )
        best = max(best, *(rate / limit for rate in rates))
    columns = ("", "tok/s wheel", "tok/s native", "times", "first token ms wheel", "native")
    report.tables.append(Table(columns, rows))
    columns = ("1 stream", "model MB", "memory GB/s", "tok/s at that", "wheel", "native")
    report.tables.append(Table(columns, limits))
    report.check(
        "of the limit that memory sets, best, 1 stream", best * 100, at_least=70, form="{:.0f} %"
    )
    report.notes.append(
        f"{MODEL}, greedy, prompts of 63 to 65 tokens, answers of {size.answer_tokens}; medians of {size.rounds} rounds. Native is "
        f"{state.native.manifest.source}, {state.native.manifest.compiler}. Q8_0 was made of the Q4_1 file: its speed is that of any Q8_0."
    )
    report.notes.append(
        "Each token reads the whole model, so memory sets a limit: what all cores read of a gigabyte, by the size of the file."
    )
    return report


def _measure_model(
    size: Size, path: Path, server: Path, quantization: str
) -> dict[tuple[str, int], tuple[float, float]]:
    """Median tokens/s and first-token ms, by program and number of streams."""
    prompts, found = Prompts(), dict[tuple[str, int], list[Streams]]()
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                engine("yangfan.engines.llama_cpp", _config(path, program), MODEL)
            )
            for name, program in (("wheel", None), ("native", server))
        }
        for side in sides.values():
            _ask(side, [[prompts.next()]], 8)
        for number in range(size.rounds):
            for streams, answers in size.answers.items():
                say(
                    f"programs: {quantization}, {streams} streams, round {number + 1} of {size.rounds}"
                )
                texts = [[prompts.next() for _ in range(answers)] for _ in range(streams)]
                order = list(sides) if number % 2 == 0 else list(reversed(sides))
                for name in order:
                    answered = _ask(sides[name], texts, size.answer_tokens)
                    found.setdefault((name, streams), []).append(answered)
    return {
        place: (
            median(round_.tokens_per_second for round_ in rounds),
            median(r.first_token_seconds for round_ in rounds for r in round_.all) * 1e3,
        )
        for place, rounds in found.items()
    }


def _builds() -> Path:
    given = os.environ.get("YANGFAN_BENCH_BUILDS")
    return model_store() / "engines" / "llama_cpp" if given is None else Path(given).expanduser()


def _model(native: _native.Native, quantization: str) -> Path:
    """The embedded model, which has Q4_1, or what the build makes of it."""
    store = ModelStore(model_store())
    stored = asyncio.run(pull(MODEL, store=store, egress=Egress()))
    if quantization == "q4_1":
        return stored.path
    target = store.converted_file(stored, f"{quantization}.gguf")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_file():
        asyncio.run(
            llama_cpp.quantize(
                stored.path,
                target,
                quantization,
                builds=native.folder.parent,
                allow_requantize=True,
                report=lambda *_: None,
            )
        )
    return target


def _config(path: Path, program: Path | None) -> LlamaConfig:
    options = LlamaOptions()
    return LlamaConfig(
        api_key="",
        path=str(path),
        context_tokens=None,
        slots=SLOTS,
        threads=len(os.sched_getaffinity(0)),
        kv_tokens=options.kv_tokens,
        gpu_layers=options.gpu_layers,
        prompt_cache_mib=options.prompt_cache_mib,
        program=None if program is None else str(program),
    )


def _ask(side: Running, texts: Sequence[Sequence[str]], answer_tokens: int) -> Streams:
    fields = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": answer_tokens,
        "temperature": 0,
        "logit_bias": ENDINGS,
    }
    requests = [[side.target.request(text, **fields) for text in sequence] for sequence in texts]
    return ask_for_streams(side.target, requests)
