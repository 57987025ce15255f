"""Vectors a second: through the platform, one text a call from many clients, and from Sentence Transformers in a program of one's own."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import sentence_transformers_peer as peer
from load import HOST, LoadError, Target, ask_for_replies, percentile
from peers import UnavailableError
from processes import allow_many_connections, model_store, platform
from report import Report, Table, say

from yangfan import extensions
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "all-minilm-l6-v2"
TEXT = (
    "The lighthouse keeper wrote down every ship that passed in the night, and the weather it met."
)
SLOTS = 16
SIMILAR = 0.99
PEER = "Sentence Transformers"
ENGINES = {"llama_cpp": "llama.cpp", "transformers": "Transformers", "openvino": "OpenVINO"}
"""Engines, and what they are called in the tables; the last reads a folder that is made of the model, the others the model itself."""

MAKE_FOLDER = Path(__file__).parent.parent / "tests" / "openvino_folders.py"


@dataclass(frozen=True, slots=True)
class Size:
    """How long each number of clients asks; `peers` says whether to measure real engines and the library."""

    seconds: float
    clients: tuple[int, ...] = (1, 8, 64)
    model: str = MODEL
    peers: bool = True


SIZES = {
    "full": Size(6.0),
    "quick": Size(2.0),
    "smoke": Size(0.3, clients=(1, 8), model="echo", peers=False),
}


def measure(size: Size) -> Report:
    """Measure one server after the other, then the library alone."""
    allow_many_connections()
    report = Report()
    rows: list[Sequence[str]] = []
    rates: dict[tuple[str, int], float] = {}
    vectors: list[list[float]] = []

    def through(name: str, target: Target) -> None:
        target = replace(target, path="/v2/embeddings")
        request = target.post({"model": target.model, "input": [TEXT]})
        vectors.append(_vector(target))
        ask_for_replies(target, request, connections=1, seconds=size.seconds / 3)
        for clients in size.clients:
            say(f"embeddings: {name}, {clients} clients")
            replies = ask_for_replies(target, request, connections=clients, seconds=size.seconds)
            rates[name, clients] = replies.per_second
            times = (percentile(replies.latency_seconds, percent) * 1e3 for percent in (50, 99))
            rows.append(
                (name, str(clients), f"{replies.per_second:,.0f}", *(f"{ms:.1f}" for ms in times))
            )
        vectors.append(_vector(target))

    measured: list[str] = []
    for name, label in ENGINES.items() if size.peers else [("echo", "echo")]:
        lacking = extensions.load("yangfan.engines", name).missing()
        if lacking is not None:
            report.notes.append(f"{label} was not measured: {lacking}")
            continue
        with tempfile.TemporaryDirectory(prefix="yangfan-bench-") as home:
            served = size.model
            if name == "openvino":
                served = str(_openvino_folder(size.model))
            elif size.peers:
                settings = f'[options.{size.model}]\nengine = "{name}"\n'
                (Path(home) / "yangfan.toml").write_text(settings)
            with platform(served, slots=SLOTS, home=Path(home)) as server:
                target = replace(server.target, model=Path(served).name)
                through(f"Yangfan, {label}", target)
        measured.append(f"Yangfan, {label}")
    if size.peers:
        _measure_peer(size, report, rates, rows, vectors)
    columns = ("embeddings", "clients, or texts a batch", "vectors/s", "p50 ms", "p99 ms")
    report.tables.append(Table(columns, rows))
    least = min(_cosine(vectors[0], vector) for vector in vectors)
    report.check("least cosine to the first vector", least, at_least=SIMILAR, form="{:.3f}")
    for engine in measured:
        for clients in size.clients:
            if (PEER, clients) in rates:
                report.check(
                    f"{engine}, {clients} clients, of {PEER} in batches of {clients}",
                    100 * rates[engine, clients] / rates[PEER, clients],
                    at_least=100,
                    form="{:.0f} %",
                )
    report.notes.append(
        f"{size.model}, one text of {len(TEXT.split())} words a call; {SLOTS} slots. The load generator uses the same cores."
    )
    return report


def _openvino_folder(model: str) -> Path:
    """The model in OpenVINO's own format, made once for all runs."""
    stored = ModelStore(model_store()).get(model)
    assert stored is not None
    folder = model_store() / "folders" / f"{model}-openvino"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        argv = [sys.executable, str(MAKE_FOLDER), str(part), str(stored.folder)]
        subprocess.run(argv, check=True, stdout=sys.stderr)
        part.rename(folder)
    return folder


def _measure_peer(
    size: Size,
    report: Report,
    rates: dict[tuple[str, int], float],
    rows: list[Sequence[str]],
    vectors: list[list[float]],
) -> None:
    stored = ModelStore(model_store()).get(size.model)
    assert stored is not None
    try:
        peer.install()
    except UnavailableError as error:
        report.notes.append(f"{PEER} was not measured: {error}")
        return
    say(f"embeddings: {PEER}")
    found = peer.measure(stored.folder, TEXT, size.clients, size.seconds)
    for batch, per_second in zip(size.clients, found.per_second, strict=True):
        rates[PEER, batch] = per_second
        milliseconds = f"{batch / per_second * 1e3:.1f}"
        rows.append((f"{PEER}, bare", str(batch), f"{per_second:,.0f}", milliseconds, ""))
    vectors.append(found.vector)
    report.versions[PEER] = peer.VERSION


def _vector(target: Target) -> list[float]:
    body = json.dumps({"model": target.model, "input": [TEXT]}).encode()
    headers = {"Authorization": f"Bearer {target.bearer}", "Content-Type": "application/json"}
    url = f"http://{HOST}:{target.port}{target.path}"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as reply:
        data = json.load(reply)["data"]
    if len(data) != 1:
        raise LoadError(f"{len(data)} vectors for one text")
    return data[0]["embedding"]


def _cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))
