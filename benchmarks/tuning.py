"""How fast models are tuned, beside TRL with the same rows, model and settings; how soon a run stops, and what a kill costs.

The model has the shape of SmolLM2-135M and random weights: a step takes as long as with those that were learnt, and nothing has to be
fetched. Every row has about `length` tokens, half of them an answer. The first two steps are left out of each figure.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import Report, Table, say

from yangfan.errors import EngineFailed
from yangfan.trainers.base import TrainSpec, hyper_parameters
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.launch import Trainer

THREADS = 2
BATCH = 4
WARM_UP = 2
INTERVAL = 3
WORDS = [
    "river",
    "mountain",
    "engine",
    "copper",
    "window",
    "garden",
    "signal",
    "winter",
    "paper",
    "bridge",
    "market",
    "silver",
]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    layers: int
    width: int
    length: int
    steps: int
    cases: tuple[tuple[str, str], ...]


SIZES = {
    "full": Size(
        layers=30,
        width=576,
        length=256,
        steps=10,
        cases=(
            ("lora", "float32"),
            ("full", "float32"),
            ("lora", "bfloat16"),
            ("full", "bfloat16"),
        ),
    ),
    "quick": Size(
        layers=30, width=576, length=256, steps=5, cases=(("lora", "float32"), ("full", "float32"))
    ),
    "smoke": Size(layers=1, width=64, length=32, steps=4, cases=(("lora", "float32"),)),
}


def measure(size: Size) -> Report:
    """Measure."""
    report = Report()
    advice = libraries.missing()
    if advice is not None:
        report.notes.append(f"Skipped: {advice}")
        return report
    for name in ("torch", "transformers", "peft", "trl"):
        if importlib.util.find_spec(name) is not None:
            report.versions[name] = importlib.metadata.version(name)
    with tempfile.TemporaryDirectory(prefix="yangfan-tuning-") as folder:
        root = Path(folder)
        base = _base(root / "base", size)
        rows = _rows(root / "rows.jsonl", size)
        _compare(report, size, base, rows, root)
        _stop_and_kill(report, size, base, rows, root)
    return report


def _compare(report: Report, size: Size, base: Path, rows: Path, root: Path) -> None:
    lines: list[list[str]] = []
    for method, dtype in size.cases:
        say(f"tuning: {method} in {dtype}, {size.steps} steps each")
        ours = _ours(size, base, rows, root / f"{method}-{dtype}", method, dtype)
        theirs = _theirs(size, base, rows, root, method, dtype)
        for name, found in (("Yangfan", ours), ("TRL", theirs)):
            if found is None:
                continue
            speed = ours["tokens"] / statistics.median(found["seconds"][WARM_UP:])
            memory = found["peak_rss_bytes"] / 2**20
            lines.append([f"{name}, {method}, {dtype}", f"{speed:.0f}", f"{memory:.0f}"])
        if theirs is not None:
            ratio, memory = (
                statistics.median(theirs["seconds"][WARM_UP:])
                / statistics.median(ours["seconds"][WARM_UP:]),
                ours["peak_rss_bytes"] / theirs["peak_rss_bytes"],
            )
            what = f"{method}, {dtype}"
            report.check(f"tokens a second of TRL's, {what}", ratio, form="{:.2f} x", at_least=0.95)
            report.check(f"memory of TRL's, {what}", memory, form="{:.2f} x", at_most=1.05)
    title = f"batch {BATCH} x {size.length} tokens, {THREADS} threads"
    report.tables.append(Table((title, "tokens/s", "peak RSS MB"), lines))


def _stop_and_kill(report: Report, size: Size, base: Path, rows: Path, root: Path) -> None:
    """A run that is asked to stop, goes on, is killed, and goes on again."""
    say("tuning: stop, go on, kill, go on")
    spec = _spec(size, base, rows, root / "killed", "lora", "float32", steps=4 * INTERVAL)
    asked, began = 0.0, time.perf_counter()
    first: dict[str, float] = {}
    with Trainer(spec) as trainer:
        for event in trainer.events():
            if event["event"] == "progress":
                first.setdefault("new", time.perf_counter() - began)
                if event["step"] == 2:
                    asked = time.perf_counter()
                    trainer.stop(600)
    stopped = time.perf_counter() - asked
    began, reached = time.perf_counter(), 0
    with Trainer(spec) as trainer:
        try:
            for event in trainer.events():
                if event["event"] == "progress":
                    first.setdefault("stopped", time.perf_counter() - began)
                    reached = event["step"]
                    if reached == 2 * INTERVAL - 1:
                        os.kill(trainer.pid, signal.SIGKILL)
        except EngineFailed:
            pass
    began, again = time.perf_counter(), 0
    with Trainer(spec) as trainer:
        for event in trainer.events():
            if event["event"] == "progress":
                again = again or event["step"]
                first.setdefault("killed", time.perf_counter() - began)
    rows_of = [
        ["a new run, to its first step", f"{first['new']:.1f}"],
        ["SIGTERM, to the end of the process", f"{stopped:.1f}"],
        ["going on after a stop, to its first step", f"{first['stopped']:.1f}"],
        ["going on after kill -9, to its first step", f"{first['killed']:.1f}"],
    ]
    report.tables.append(Table(("lora, float32", "seconds"), rows_of))
    lost = reached - again + 1
    report.check("steps lost by kill -9", lost, form="{:.0f}", at_most=INTERVAL)
    report.notes.append(
        f"A checkpoint every {INTERVAL} steps; what a run computes at once cannot be interrupted."
    )


def _spec(
    size: Size, base: Path, rows: Path, output: Path, method: Any, dtype: Any, *, steps: int
) -> TrainSpec:
    return TrainSpec(
        mode="sft",
        method=method,
        base=str(base),
        train=str(rows),
        hyper_parameters=hyper_parameters(
            {
                "batch_size": BATCH,
                "max_steps": steps,
                "max_seq_len": size.length * 2,
                "checkpoint_interval": INTERVAL if steps > size.steps else 10_000,
            }
        ),
        output=str(output),
        dtype=dtype,
        threads=THREADS,
    )


def _ours(
    size: Size, base: Path, rows: Path, output: Path, method: str, dtype: str
) -> dict[str, Any]:
    spec = _spec(size, base, rows, output, method, dtype, steps=size.steps)
    result: dict[str, Any] = {}
    with Trainer(spec) as trainer:
        for event in trainer.events():
            if event["event"] == "end":
                result = event
    if result.get("outcome") != "done":
        raise SystemExit(f"tuning: the run failed: {result.get('message')}")
    facts, metrics = result["result"]["facts"], result["result"]["metrics"]
    times = [row["time_ms"] / 1000 for row in metrics]
    tokens = facts["tokens"] / facts["steps"]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    return {"seconds": [0.0, *gaps], "peak_rss_bytes": facts["peak_rss_bytes"], "tokens": tokens}


def _theirs(
    size: Size, base: Path, rows: Path, root: Path, method: str, dtype: str
) -> dict[str, Any] | None:
    if importlib.util.find_spec("trl") is None:
        return None
    settings = root / "peer.json"
    told = {"base": str(base), "rows": str(rows), "method": method, "dtype": dtype}
    told |= {"steps": size.steps, "batch_size": BATCH, "threads": THREADS}
    settings.write_text(json.dumps({**told, "max_seq_len": size.length * 2}))
    program = Path(__file__).with_name("trl_peer.py")
    done = subprocess.run(
        [sys.executable, str(program), str(settings)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"tuning: TRL failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _base(folder: Path, size: Size) -> Path:
    """A model of SmolLM2's shape, in float32, with a tokenizer of whole words."""
    torch: Any = importlib.import_module("torch")
    tokenizers: Any = importlib.import_module("tokenizers")
    transformers: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {word: n for n, word in enumerate([*special, "user", "assistant", *WORDS, "?"])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=special[2], pad_token=special[0], unk_token="?"
    )
    words.add_special_tokens({"additional_special_tokens": special[1:2]})
    words.chat_template = (
        "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
    )
    heads = max(1, size.width // 64)
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=size.width,
        intermediate_size=size.width * 8 // 3,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 3),
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _rows(path: Path, size: Size) -> Path:
    """Rows of words; half of each is the answer."""
    half = size.length // 2 - 4
    with path.open("w", encoding="utf-8") as file:
        for row in range(BATCH * size.steps):
            words = [WORDS[(row * 7 + place * place) % len(WORDS)] for place in range(2 * half)]
            turn = {"prompt": " ".join(words[:half]), "responses": [" ".join(words[half:])]}
            file.write(json.dumps({"row_id": str(row), "sample": {"turns": [turn]}}) + "\n")
    return path
