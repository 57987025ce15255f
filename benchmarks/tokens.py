"""Token counts a second: through the platform's /tokenizer, and from the package `tokenizers` in a program of one's own."""

from __future__ import annotations

import importlib
import json
import urllib.request
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from load import HOST, LoadError, Target, ask_for_replies, percentile
from processes import allow_many_connections, model_store, platform
from report import Report, Table, say

from yangfan.hub.store import ModelStore
from yangfan.protocol.v1.tokenizer import TOKENIZER

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "all-minilm-l6-v2"
TEXT = "The lighthouse keeper wrote down every ship that passed in the night. " * 8
SLOTS = 16
RATE_TARGET = 1000
MOST_SPECIAL = 2
"""Tokens around a text that one side may count and the other not."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long each number of clients asks."""

    seconds: float
    clients: tuple[int, ...] = (1, 8, 64)
    model: str = MODEL


SIZES = {
    "full": Size(6.0),
    "quick": Size(2.0),
    "smoke": Size(0.3, clients=(1, 8), model="echo"),
}


def measure(size: Size) -> Report:
    """Measure the platform, then the package alone."""
    allow_many_connections()
    report = Report()
    rows: list[Sequence[str]] = []
    rate = 0.0
    with platform(size.model, slots=SLOTS) as server:
        target = replace(server.target, path=TOKENIZER.path)
        counted = _count(target)
        request = target.post({"model": target.model, "prompt": TEXT})
        for clients in size.clients:
            say(f"tokens: {clients} clients")
            replies = ask_for_replies(target, request, connections=clients, seconds=size.seconds)
            rate = replies.per_second
            times = (percentile(replies.latency_seconds, percent) * 1e3 for percent in (50, 99))
            rows.append(("Yangfan", str(clients), f"{rate:,.0f}", *(f"{ms:.2f}" for ms in times)))
        expected = _count(target)
    tokenizer = _tokenizer(size.model)
    if tokenizer is None:
        report.notes.append("The package tokenizers was not measured: it or its file is not here.")
    else:
        expected = len(tokenizer.encode(TEXT).ids)
        for batch in size.clients:
            say(f"tokens: tokenizers, batches of {batch}")
            alone = _rate(tokenizer, batch, size.seconds)
            rows.append(
                ("tokenizers, bare", str(batch), f"{alone:,.0f}", f"{batch / alone * 1e3:.2f}", "")
            )
    columns = ("token counts", "clients, or texts a batch", "texts/s", "p50 ms", "p99 ms")
    report.tables.append(Table(columns, rows))
    report.check(
        "difference of the two counts",
        abs(counted - expected),
        at_most=MOST_SPECIAL,
        form="{:.0f}",
    )
    report.check(
        f"texts a second, {size.clients[-1]} clients", rate, at_least=RATE_TARGET, form="{:,.0f}"
    )
    report.notes.append(
        f"{size.model}, one text of {counted} tokens a call. The load generator uses the same cores."
    )
    return report


def _count(target: Target) -> int:
    body = json.dumps({"model": target.model, "prompt": TEXT}).encode()
    headers = {"Authorization": f"Bearer {target.bearer}", "Content-Type": "application/json"}
    url = f"http://{HOST}:{target.port}{target.path}"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as reply:
        found = json.load(reply)
    if "usage" not in found:
        raise LoadError(str(found))
    return found["usage"]["total_tokens"]


def _tokenizer(model: str) -> Any:
    stored = ModelStore(model_store()).get(model) if model != "echo" else None
    file = None if stored is None else stored.folder / "tokenizer.json"
    if file is None or not file.is_file():
        return None
    try:
        library: Any = importlib.import_module("tokenizers")
    except ImportError:
        return None
    tokenizer = library.Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _rate(tokenizer: Any, batch: int, seconds: float) -> float:
    texts, done, started = [TEXT] * batch, 0, perf_counter()
    while perf_counter() - started < seconds:
        tokenizer.encode_batch(texts)
        done += batch
    return done / (perf_counter() - started)
