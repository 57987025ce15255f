"""How well the knowledge base finds: recall and nDCG on the collection in benchmarks/retrieval, by words, by meaning and by both, beside LanceDB and Chroma."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import vector_stores_peer as peer
from load import HOST
from peers import UnavailableError, requirements
from processes import platform
from report import Report, Table, say

from yangfan import Client
from yangfan.plugins.knowledge_base.measures import ndcg, recall, reciprocal_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

COLLECTION = Path(__file__).with_name("retrieval")
MODEL = "all-minilm-l6-v2"
CUTOFFS = (1, 3, 10)
BATCH = 16
INDEX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Size:
    """How many of the questions are asked, and whether others are measured beside the platform."""

    questions: int | None = None
    peers: bool = True


SIZES = {"full": Size(), "quick": Size(), "smoke": Size(questions=5, peers=False)}


def measure(size: Size) -> Report:
    """Fill a base with the collection and ask it."""
    report = Report()
    passages, questions = _rows("passages.jsonl"), _questions()[: size.questions]
    texts = {f"{row['id']}.md": f"# {row['title']}\n\n{row['text']}" for row in passages}
    rows: list[Sequence[str]] = []
    gains: dict[str, float] = {}
    with (
        platform(MODEL, slots=4) as server,
        Client(
            f"http://{HOST}:{server.target.port}", bearer=server.target.bearer, version=2
        ) as client,
    ):
        say("retrieval: the platform")
        base = _filled(client, texts)
        for found in client.knowledge.evaluate(base, questions, cutoffs=CUTOFFS, rerank=False):
            name = f"Yangfan, {found.mode}"
            gains[found.mode] = found.ndcg[10]
            rows.append(_row(name, found.recall, found.ndcg[10], found.reciprocal_rank))
        if size.peers:
            _measure_peers(client, report, texts, questions, rows, gains)
    columns = ("search", *(f"recall@{k}" for k in CUTOFFS), "nDCG@10", "MRR")
    report.tables.append(Table(columns, rows))
    for mode, other in (("fulltext", "words alone"), ("semantic", "vectors alone")):
        report.check(
            f"nDCG@10 of hybrid above {other}",
            gains["hybrid"] - gains[mode],
            at_least=0,
            form="{:+.3f}",
        )
    for name in ("LanceDB, hybrid, 2- and 3-grams", "Chroma, vectors"):
        if name in gains:
            above = gains["hybrid"] - gains[name]
            report.check(f"the same above {name}", above, at_least=0, form="{:+.3f}")
    report.notes.append(
        f"{len(passages)} passages and {len(questions)} questions, half of them Chinese; the vectors of {MODEL}, an English model, "
        "are everybody's. Without a reranker."
    )
    return report


def _measure_peers(
    client: Client,
    report: Report,
    texts: dict[str, str],
    questions: list[tuple[str, dict[str, int]]],
    rows: list[Sequence[str]],
    gains: dict[str, float],
) -> None:
    say("retrieval: LanceDB and Chroma")
    queries = [query for query, _ in questions]
    ids = [*texts]
    try:
        rankings = peer.measure(
            ids,
            [*texts.values()],
            _vectors(client, [*texts.values()]),
            queries,
            _vectors(client, queries),
            depth=100,
        )
    except UnavailableError as error:
        report.notes.append(f"LanceDB and Chroma were not measured: {error}")
        return
    numbers = {id: number for number, id in enumerate(ids)}
    for name, found in rankings.items():
        pairs = [
            (
                [numbers[id] for id in ranking],
                {numbers[id]: grade for id, grade in relevant.items()},
            )
            for ranking, (_, relevant) in zip(found, questions, strict=True)
        ]
        gains[name] = fmean(ndcg(ranking, grades, 10) for ranking, grades in pairs)
        recalls = {
            k: fmean(recall(ranking, grades, k) for ranking, grades in pairs) for k in CUTOFFS
        }
        rank = fmean(reciprocal_rank(ranking, grades) for ranking, grades in pairs)
        rows.append(_row(name, recalls, gains[name], rank))
    report.versions |= dict(line.split("==", 1) for line in requirements("vector-stores"))


def _filled(client: Client, texts: dict[str, str]) -> str:
    base = client.knowledge.create("collection").id
    names = [*texts]
    for start in range(0, len(names), 100):
        part = names[start : start + 100]
        client.knowledge.add_texts(base, {name: texts[name] for name in part})
    end = time.monotonic() + INDEX_SECONDS
    while client.knowledge.get(base).job_id:
        if time.monotonic() > end:
            raise TimeoutError(f"the collection was not indexed in {INDEX_SECONDS:g} s")
        time.sleep(0.05)
    return base


def _vectors(client: Client, texts: list[str]) -> list[Sequence[float]]:
    found: list[Sequence[float]] = []
    for start in range(0, len(texts), BATCH):
        found += client.embeddings(texts[start : start + BATCH], model=MODEL).vectors
    return found


def _questions() -> list[tuple[str, dict[str, int]]]:
    return [
        (row["query"], {f"{name}.md": grade for name, grade in row["relevant"].items()})
        for row in _rows("questions.jsonl")
    ]


def _row(name: str, recalls: Any, gain: float, rank: float) -> Sequence[str]:
    return (name, *(f"{recalls[k]:.3f}" for k in CUTOFFS), f"{gain:.3f}", f"{rank:.3f}")


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (COLLECTION / name).read_text("utf-8").splitlines()]
