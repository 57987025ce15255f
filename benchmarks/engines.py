"""Generation by each installed engine, through our own engine interface, and by its library without it, at several numbers of streams.

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
from typing import TYPE_CHECKING, Any

from overhead import MODEL, Prompts
from processes import folder_of, model_store
from report import Report, Table, say

from yangfan import extensions
from yangfan.egress import Egress
from yangfan.engines.base import ChatRequest, EngineSpec, Message, Sampling
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from yangfan.engines.base import Engine

ENGINES = ("llama_cpp", "openvino", "transformers", "vllm")
"""The first two read the model of the benchmarks as the GGUF file that it is, the others as a folder made of it."""

FROM_FOLDER = frozenset({"transformers", "vllm"})
VLLM_PYTHON = "VLLM_PYTHON"
"""Variable with the Python of an environment that has vLLM; without it, vllm is left out."""

CELL_SECONDS = 120.0
"""A side that takes longer for its answers in one round is not asked again at that number of streams."""

START_SECONDS = 400.0
BARE_SIGN = ", bare"
SLOTS = 16

_BARE_OPENVINO = """
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

_BARE_TRANSFORMERS = """
import json, sys, time
import torch, transformers
path, slots, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
tokenizer = transformers.AutoTokenizer.from_pretrained(path, padding_side="left")
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
print("ready", flush=True)
for line in sys.stdin:
    texts, most = json.loads(line)
    began = time.perf_counter()
    talks = [[{"role": "user", "content": text}] for text in texts]
    inputs = tokenizer.apply_chat_template(
        talks, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        rows = model.generate(**inputs, max_new_tokens=most, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    tokens = 0
    for row in rows[:, inputs["input_ids"].shape[1]:].tolist():
        ends = [place for place, token in enumerate(row) if token == tokenizer.eos_token_id]
        tokens += ends[0] + 1 if ends else len(row)
        tokenizer.decode(row)
    print(json.dumps([tokens, time.perf_counter() - began]), flush=True)
"""
"""What its documentation shows: the questions of one moment as one batch, in the type that our engine takes on a CPU."""

_BARE_LLAMA_CPP = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
import xllamacpp
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
path, slots, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
params = xllamacpp.CommonParams()
params.model.path = path
params.n_parallel, params.n_ctx, params.kv_unified = slots, 32768, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
params.n_gpu_layers, params.verbosity = 0, 1
server = xllamacpp.Server(params)
print("ready", file=told, flush=True)
def ask(text, most):
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": most, "temperature": 0}
    return server.handle_chat_completions(body)["usage"]["completion_tokens"]
with ThreadPoolExecutor(slots) as pool:
    for line in sys.stdin:
        texts, most = json.loads(line)
        began = time.perf_counter()
        tokens = sum(pool.map(ask, texts, [most] * len(texts)))
        print(json.dumps([tokens, time.perf_counter() - began]), file=told, flush=True)
"""
"""The wheel's calls, from as many threads as there are questions."""

_BARE_VLLM = """
import json, os, sys, time
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import vllm
path, slots = sys.argv[1], int(sys.argv[2])
model = vllm.LLM(path, max_num_seqs=slots, gpu_memory_utilization=0.2, enforce_eager=True)
print("ready", file=told, flush=True)
for line in sys.stdin:
    texts, most = json.loads(line)
    began = time.perf_counter()
    talks = [[{"role": "user", "content": text}] for text in texts]
    wanted = vllm.SamplingParams(temperature=0, max_tokens=most)
    replies = model.chat(talks, wanted, use_tqdm=False)
    tokens = sum(len(reply.outputs[0].token_ids) for reply in replies)
    print(json.dumps([tokens, time.perf_counter() - began]), file=told, flush=True)
"""
"""Its calls from Python, without its server."""

BARE = {
    "llama_cpp": _BARE_LLAMA_CPP,
    "openvino": _BARE_OPENVINO,
    "transformers": _BARE_TRANSFORMERS,
    "vllm": _BARE_VLLM,
}


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
        path = (await pull(MODEL, store=ModelStore(model_store()), egress=Egress())).path
    threads = len(os.sched_getaffinity(0))
    running: list[Engine] = []
    sides: dict[str, Callable[[Sequence[str], int], Awaitable[float]]] = {}
    alone: list[asyncio.subprocess.Process] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in size.engines:
                module = extensions.load("yangfan.engines", name)
                options = _options(name)
                if options is None or module.missing() is not None:
                    continue
                model = (
                    None if path is None else str(folder_of(path) if name in FROM_FOLDER else path)
                )
                workdir = Path(folder) / name
                workdir.mkdir()
                spec = EngineSpec(name, model, slots=SLOTS, threads=threads, options=options)
                engine: Engine = module.create(spec, workdir)
                await engine.start()
                running.append(engine)
                sides[name] = _through(engine)
                if name in BARE and model is not None:
                    program = await asyncio.create_subprocess_exec(
                        *[options.get("python", sys.executable), "-c", BARE[name]],
                        *[model, str(SLOTS), str(threads)],
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.PIPE,
                        stderr=asyncio.subprocess.DEVNULL,
                    )
                    alone.append(program)
                    assert program.stdout is not None
                    async with asyncio.timeout(START_SECONDS):
                        await program.stdout.readline()
                    sides[f"{name}{BARE_SIGN}"] = _without(program)
            return await _rounds(size, sides)
        finally:
            for engine in running:
                await engine.stop()
            for program in alone:
                program.kill()
                await program.wait()


def _options(name: str) -> dict[str, Any] | None:
    """What an engine is told; None where it is left out."""
    if name == "transformers":
        return {"dtype": "float32"}
    if name != "vllm":
        return {}
    python = os.environ.get(VLLM_PYTHON)
    if python is None:
        return None
    return {"python": python, "gpu_memory_utilization": 0.2, "enforce_eager": True}


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
                    if name.endswith(
                        BARE_SIGN
                    ):  # its late answer would be taken for the next one's
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
    wheel = found.get(("llama_cpp", SLOTS))
    if wheel:
        rates = [
            median(rates)
            for (name, streams), rates in found.items()
            if streams == SLOTS and not name.endswith(BARE_SIGN)
        ]
        report.check(
            f"best engine, times llama.cpp's wheel, {SLOTS} streams",
            max(rates) / median(wheel),
            at_least=2.0,
            form="{:.1f}",
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
