"""Generation by each installed engine, through our own engine interface, and by OpenVINO's pipeline without it, at several numbers of streams.

All sides are loaded all the time and only one of them works, at most `CELL_SECONDS` at a time. Their order turns from round to round, so that a machine that gets
slower harms all. All get the same prompts. Answers may end early, so what counts is tokens that came, not tokens asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from overhead import MODEL, Prompts
from processes import model_store
from report import Report, Table, say

from yangfan import extensions
from yangfan.egress import Egress
from yangfan.engines.base import ChatRequest, EngineSpec, Message, Sampling
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from yangfan.engines.base import Engine

ENGINES = ("llama_cpp", "openvino")
"""Those that read the model of the benchmarks, a GGUF file."""

CELL_SECONDS = 120.0
"""A side that takes longer for its answers in one round is not asked again at that number of streams."""

START_SECONDS = 120.0
BARE = "openvino, bare"
SLOTS = 16

_BARE_PROGRAM = """
import json, sys, time
import openvino_genai as genai
path, slots, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
scheduler = genai.SchedulerConfig()
scheduler.max_num_seqs, scheduler.max_num_batched_tokens = slots, 256
scheduler.num_kv_blocks, scheduler.enable_prefix_caching = 1040, False
pipeline = genai.ContinuousBatchingPipeline(path, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})
tokenizer = pipeline.get_tokenizer()
print("ready", flush=True)
number = 0
for line in sys.stdin:
    texts, most = json.loads(line)
    began, tokens, handles = time.perf_counter(), 0, []
    config = genai.GenerationConfig()
    config.max_new_tokens = most
    for text in texts:
        number += 1
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
        handles.append(pipeline.add_request(number, tokenizer.encode(prompt).input_ids, config))
    while pipeline.has_non_finished_requests():
        pipeline.step()
        for handle in handles:
            while handle.can_read():
                for output in handle.read().values():
                    tokens += len(output.generated_ids)
                    tokenizer.decode(output.generated_ids)
    print(json.dumps([tokens, time.perf_counter() - began]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    streams: tuple[int, ...]
    answer_tokens: int
    engines: tuple[str, ...] = ENGINES
    """Those to measure, or echo, which needs no model and measures nothing."""


SIZES = {
    "full": Size(rounds=5, streams=(1, 4, 16), answer_tokens=128),
    "quick": Size(rounds=1, streams=(1, 4, 16), answer_tokens=48),
    "smoke": Size(rounds=1, streams=(1, 2), answer_tokens=4, engines=("echo",)),
}


def measure(size: Size) -> Report:
    """Measure every engine that is installed here."""
    return asyncio.run(_measure(size))


async def _measure(size: Size) -> Report:
    path = None
    if size.engines != ("echo",):
        path = str((await pull(MODEL, store=ModelStore(model_store()), egress=Egress())).path)
    threads = len(os.sched_getaffinity(0))
    running: list[Engine] = []
    sides: dict[str, Callable[[Sequence[str], int], Awaitable[float]]] = {}
    bare: asyncio.subprocess.Process | None = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in size.engines:
                module = extensions.load("yangfan.engines", name)
                if module.missing() is not None:
                    continue
                workdir = Path(folder) / name
                workdir.mkdir()
                spec = EngineSpec(name, path, slots=SLOTS, threads=threads)
                engine: Engine = module.create(spec, workdir)
                await engine.start()
                running.append(engine)
                sides[name] = _through(engine)
            if "openvino" in sides and path is not None:
                argv = [path, str(SLOTS), str(threads)]
                bare = await asyncio.create_subprocess_exec(
                    *[sys.executable, "-c", _BARE_PROGRAM, *argv],
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                assert bare.stdout is not None
                async with asyncio.timeout(START_SECONDS):
                    await bare.stdout.readline()
                sides[BARE] = _without(bare)
            return await _rounds(size, sides)
        finally:
            for engine in running:
                await engine.stop()
            if bare is not None:
                bare.kill()
                await bare.wait()


async def _rounds(
    size: Size, sides: dict[str, Callable[[Sequence[str], int], Awaitable[float]]]
) -> Report:
    prompts = Prompts()
    found: dict[tuple[str, int], list[float]] = {}
    late, broken = set[tuple[str, int]](), set[str]()
    for ask in sides.values():
        async with asyncio.timeout(CELL_SECONDS):
            await ask([prompts.next()], 4)
    for number in range(size.rounds):
        for streams in size.streams:
            say(f"engines: {streams} streams, round {number + 1} of {size.rounds}")
            texts = [prompts.next() for _ in range(streams)]
            names = list(sides)
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                if (name, streams) in late or name in broken:
                    continue
                try:
                    async with asyncio.timeout(CELL_SECONDS):
                        rate = await sides[name](texts, size.answer_tokens)
                except TimeoutError:
                    late.add((name, streams))
                    if name == BARE:  # its late answer would be taken for the next one's
                        broken.add(name)
                    continue
                found.setdefault((name, streams), []).append(rate)
    report = Report()
    rows = [
        (
            name,
            *(
                _cell(found.get((name, streams)), late=(name, streams) in late)
                for streams in size.streams
            ),
        )
        for name in sides
    ]
    heads = [f"{streams} stream{'s' * (streams > 1)}" for streams in size.streams]
    report.tables.append(Table(("tokens/s, all streams together", *heads), rows))
    report.notes.append(
        f"{MODEL}, greedy, up to {size.answer_tokens} tokens an answer, median of {size.rounds} rounds."
    )
    report.check("cells that took too long", len(late), at_most=0, form="{:.0f}")
    return report


def _cell(rates: list[float] | None, *, late: bool) -> str:
    if late:
        return f"over {CELL_SECONDS:.0f} s"
    return f"{median(rates):.0f}" if rates else "not asked"


def _through(engine: Engine) -> Callable[[Sequence[str], int], Awaitable[float]]:
    async def one(text: str, most: int) -> int:
        request = ChatRequest(
            (Message("user", text),), Sampling(temperature=0.0, max_output_tokens=most)
        )
        tokens = 0
        async with aclosing(engine.chat_stream(request)) as deltas:
            async for delta in deltas:
                tokens = delta.usage.completion_tokens if delta.usage is not None else tokens
        return tokens

    async def ask(texts: Sequence[str], most: int) -> float:
        began = time.perf_counter()
        tokens = await asyncio.gather(*(one(text, most) for text in texts))
        return sum(tokens) / (time.perf_counter() - began)

    return ask


def _without(bare: asyncio.subprocess.Process) -> Callable[[Sequence[str], int], Awaitable[float]]:
    async def ask(texts: Sequence[str], most: int) -> float:
        assert bare.stdin is not None
        assert bare.stdout is not None
        bare.stdin.write(json.dumps([list(texts), most]).encode() + b"\n")
        tokens, seconds = json.loads(await bare.stdout.readline())
        return tokens / seconds

    return ask
