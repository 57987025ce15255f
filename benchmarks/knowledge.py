"""A knowledge base at work: searches among many chunks, and live chat while documents are indexed.

Searches run in one process without HTTP on vectors drawn at random: what is measured is the database, the ranking and the memory.
Indexing runs on a real server with the embedded model of embeddings; rounds alternate between idle and busy, so that a machine that
slows down slows both.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from load import HOST
from processes import platform, resident_bytes
from report import Report, Table, say

from yangfan import Client
from yangfan.egress import Egress
from yangfan.engines.base import EmbeddingsReply, Usage
from yangfan.plugins.knowledge_base.terms import terms_of
from yangfan.server.db import Database
from yangfan.server.jobs import Jobs
from yangfan.server.knowledge import Knowledge
from yangfan.server.knowledge.store import KnowledgeStore, NewChunk
from yangfan.server.knowledge.types import Question

if TYPE_CHECKING:
    from collections.abc import Sequence

EMBEDDER = "all-minilm-l6-v2"
WIDTH = 384
CHUNKS_A_DOCUMENT = 50
SEARCH_TARGET_MS = 100.0
CHAT_TARGET = 1.2
PAUSE_SECONDS = 0.02
ECHO = "[options.echo]\ndelay_seconds = 0.002\n"
VOCABULARY = 20_000
LATIN, HAN = "bcdfghklmnprstvz", 0x4E00
"""Words are made up: syllables, and pairs of Chinese characters; how often each comes follows Zipf's law, as in natural text."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is kept, asked and indexed."""

    chunks: int
    searches: int
    documents: int
    calls: int


SIZES = {
    "full": Size(100_000, 200, 1000, 200),
    "quick": Size(10_000, 50, 100, 60),
    "smoke": Size(500, 3, 4, 4),
}


class Speech:
    """Text of made-up words.

    Args:
        seed: Of everything.
    """

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        words = [self._word() for _ in range(VOCABULARY)]
        self._words = words
        self._weights = [*itertools.accumulate(1 / rank for rank in range(1, VOCABULARY + 1))]

    def words(self, count: int) -> list[str]:
        """Words as a text has them, the common ones often."""
        return self._draw.choices(self._words, cum_weights=self._weights, k=count)

    def question(self, words: list[str]) -> str:
        """A few different words of a text."""
        known = sorted({*words})
        return " ".join(self._draw.sample(known, min(4, len(known))))

    def document(self) -> str:
        """Five sections of 160 words."""
        sections = (
            f"## {' '.join(self.words(3))}\n\n{' '.join(self.words(160))}" for _ in range(5)
        )
        return "# Title\n\n" + "\n\n".join(sections)

    def _word(self) -> str:
        draw = self._draw
        if draw.random() < 0.5:
            return "".join(chr(HAN + draw.randrange(3000)) for _ in range(2))
        return "".join(
            draw.choice(LATIN) + draw.choice("aeiou") for _ in range(draw.randrange(2, 5))
        )


def measure(size: Size) -> Report:
    """Measure both."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_searches(size, Path(folder), report))
    _indexing(size, report)
    return report


async def _searches(size: Size, folder: Path, report: Report) -> None:
    speech, questions = Speech(1), list[str]()
    numpy: Any = __import__("numpy")
    noise = numpy.random.default_rng(1)
    database = Database(folder / "yangfan.db")
    await database.migrate()
    store = KnowledgeStore(database)

    async def embed(texts: list[str], **_: Any) -> EmbeddingsReply:
        return EmbeddingsReply(
            tuple(noise.standard_normal(WIDTH).tolist() for _ in texts), Usage(1, 0)
        )

    service = SimpleNamespace(name=EMBEDDER, model=EMBEDDER, kinds=("embeddings",), embed=embed)
    target = SimpleNamespace(service=service, model=EMBEDDER, max_input_tokens=None)
    services: Any = SimpleNamespace(all=(service,), resolve=lambda *_: target)
    knowledge = Knowledge(store, services, Jobs(database), folder / "knowledge", Egress())
    base = await knowledge.create("app", "many")
    say(f"knowledge: {size.chunks:,} chunks")
    for number in range(0, size.chunks, CHUNKS_A_DOCUMENT):
        document = await knowledge.add_text("app", base.id, f"{number}.txt", "x", {})
        vectors = noise.standard_normal((CHUNKS_A_DOCUMENT, WIDTH))
        vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
        chunks: list[NewChunk] = []
        for vector in vectors.astype(numpy.float32):
            words = speech.words(60)
            text = " ".join(words)
            questions.append(speech.question(words))
            terms = list(terms_of(text))
            chunks.append(NewChunk(text, "", 0, " ".join(terms), len(terms), vector.tobytes()))
        async with store.write() as connection:
            current = await store.document(connection, id=document.id)
            assert current is not None
            await store.fill(connection, base, current, chunks, characters=9)
    rows: list[Sequence[str]] = []
    for mode in ("hybrid", "fulltext", "semantic"):
        seconds: list[float] = []
        for text in questions[:: max(1, len(questions) // size.searches)][: size.searches]:
            began = time.perf_counter()
            await knowledge.search([base.id], "app", Question(text, mode=mode))
            seconds.append(time.perf_counter() - began)
        rows.append((mode, f"{_ms(seconds, 50):.1f} ms", f"{_ms(seconds, 95):.1f} ms"))
        if mode == "hybrid":
            report.check(
                f"p95 of a hybrid search among {size.chunks:,} chunks",
                _ms(seconds, 95),
                at_most=SEARCH_TARGET_MS,
                form="{:.1f} ms",
            )
    report.tables.append(Table(("search", "p50", "p95"), rows))
    file_bytes = await asyncio.to_thread(_size_bytes, folder)
    report.notes.append(
        f"{size.chunks:,} chunks of 60 words, questions of 4 words of one of them, vectors of {WIDTH} dimensions: database {file_bytes / 1e6:,.0f} MB, "
        f"memory of the process {resident_bytes(os.getpid()) / 1e6:,.0f} MB."
    )
    await database.close()


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("yangfan.db*"))


def _indexing(size: Size, report: Report) -> None:
    speech = Speech(2)
    idle: list[float] = []
    busy: list[float] = []
    searches: list[float] = []
    with tempfile.TemporaryDirectory(prefix="yangfan-bench-") as folder:
        home = Path(folder)
        (home / "yangfan.toml").write_text(ECHO)
        with (
            platform("echo", EMBEDDER, slots=4, home=home) as server,
            Client(
                f"http://{HOST}:{server.target.port}", bearer=server.target.bearer, version=2
            ) as client,
        ):
            _chat(client, min(size.calls, 20))
            began, indexed = 0.0, 0.0
            rounds = 4 if size.documents >= 100 else 1
            for part in range(rounds):
                say(f"knowledge: round {part + 1} of {rounds}")
                idle += _chat(client, size.calls // rounds)
                base = client.knowledge.create(f"round-{part}").id
                count = size.documents // rounds
                for start in range(0, count, 100):
                    texts = {
                        f"{number}.md": speech.document()
                        for number in range(start, min(start + 100, count))
                    }
                    client.knowledge.add_texts(base, texts)
                began = time.perf_counter()
                while client.knowledge.get(base).job_id:
                    busy += _chat(client, 10)
                    asked = time.perf_counter()
                    client.knowledge.search(base, " ".join(speech.words(3)))
                    searches.append(time.perf_counter() - asked)
                indexed += time.perf_counter() - began
    ratio = _ms(busy, 95) / _ms(idle, 95)
    report.tables.append(
        Table(
            ("while indexing", "p50", "p95"),
            [
                ("chat, idle", f"{_ms(idle, 50):.1f} ms", f"{_ms(idle, 95):.1f} ms"),
                ("chat, indexing", f"{_ms(busy, 50):.1f} ms", f"{_ms(busy, 95):.1f} ms"),
                ("search, indexing", f"{_ms(searches, 50):.1f} ms", f"{_ms(searches, 95):.1f} ms"),
            ],
        )
    )
    report.check(
        "p95 of chat while indexing, times idle", ratio, at_most=CHAT_TARGET, form="{:.2f}"
    )
    report.notes.append(
        f"{size.documents} documents in Chinese and English in {indexed:.1f} s, each about 800 words in several chunks, embedded by "
        f"{EMBEDDER}; chat with the echo engine at 2 ms a token, one call at a time."
    )


def _chat(client: Client, calls: int) -> list[float]:
    seconds: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        client.chat("live " * 20, model="echo")
        seconds.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    return seconds


def _ms(seconds: Sequence[float], percent: int) -> float:
    if len(seconds) == 1:
        return 1000 * seconds[0]
    return 1000 * statistics.quantiles(seconds, n=100)[percent - 1]
