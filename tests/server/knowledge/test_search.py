"""Bases, documents and searches in a real database, SQLite and PostgreSQL: the same ranking on both; vectors are made by hand."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yangfan.egress import Egress
from yangfan.engines.base import EmbeddingsReply, Usage
from yangfan.errors import Conflict, Forbidden, Invalid, ModelNotFound, NotFound
from yangfan.plugins.knowledge_base.chunks import Chunking
from yangfan.plugins.knowledge_base.terms import terms_of
from yangfan.server.db import Database
from yangfan.server.jobs import Jobs
from yangfan.server.knowledge import Knowledge
from yangfan.server.knowledge.quality import Judged
from yangfan.server.knowledge.store import KnowledgeStore, NewChunk
from yangfan.server.knowledge.types import Base, Condition, Document, Filter, Question
from yangfan.server.knowledge.vectors import unit
from yangfan.server.rows import dump, load

WIDTH = 16
WORDS = [
    "北京",
    "上海",
    "天气",
    "预报",
    "apple",
    "banana",
    "价格",
    "合同",
    "休假",
    "report",
    "revenue",
    "图书",
    "音乐",
    "电影",
    "server",
    "network",
]


def vector_of(text: str) -> bytes:
    """A vector by the letters of a text: near for texts that share many."""
    values = np.zeros(WIDTH)
    for character in text:
        values[ord(character) % WIDTH] += 1.0
    return unit(values.tolist())


class FakeService:
    """Turns a question into a vector, as a service of embeddings would."""

    name = model = "by-letters"
    kinds = ("embeddings",)

    async def embed(self, texts: list[str], **_: Any) -> EmbeddingsReply:
        vectors: tuple[list[float], ...] = tuple(
            np.frombuffer(vector_of(text), dtype=np.float32).tolist() for text in texts
        )
        return EmbeddingsReply(vectors, Usage(1, 0))


class FakeServices:
    """Knows one service; other people's parts are not what is tested here."""

    all = (FakeService(),)

    def resolve(self, name: str, wanted: str = "chat") -> Any:
        if wanted != "embeddings" or name != "by-letters":
            raise ModelNotFound(f"{name} is not served")
        service = self.all[0]
        return type("Target", (), {"service": service, "model": name, "max_input_tokens": None})()


@pytest.fixture
async def store(database_target: Path | str) -> AsyncGenerator[KnowledgeStore]:
    database = Database(database_target)
    await database.migrate()
    yield KnowledgeStore(database)
    await database.close()


@pytest.fixture
def knowledge(store: KnowledgeStore, tmp_path: Path) -> Knowledge:
    return made(store, tmp_path)


def made(store: KnowledgeStore, folder: Path) -> Knowledge:
    jobs = Jobs(store._database)  # pyright: ignore[reportPrivateUsage]
    return Knowledge(store, FakeServices(), jobs, folder / "knowledge", Egress())  # pyright: ignore[reportArgumentType]


def chunk(text: str) -> NewChunk:
    words = list(terms_of(text))
    return NewChunk(text, "", 0, " ".join(words), len(words), vector_of(text))


async def filled(
    knowledge: Knowledge, store: KnowledgeStore, base: Base, name: str, *texts: str, **metadata: Any
) -> Document:
    """A document as a worker would have made it."""
    document = await knowledge.add_text(base.app_id, base.id, name, "x", metadata)
    async with store.write() as connection:
        current = await store.document(connection, id=document.id)
        assert current is not None
        await store.fill(connection, base, current, [chunk(text) for text in texts], characters=9)
        ready = await store.document(connection, id=document.id)
    assert ready is not None
    return ready


async def texts_of(
    knowledge: Knowledge, base: Base, text: str, app_id: str = "app-a", **options: Any
) -> list[str]:
    found = await knowledge.search([base.id], app_id, Question(text, **options))
    return [each.passage.text for each in found]


async def test_a_question_that_is_asked_in_several_ways_has_one_vector(
    knowledge: Knowledge, store: KnowledgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    embed = FakeService.embed

    async def noted(self: FakeService, texts: list[str], **more: Any) -> EmbeddingsReply:
        asked.extend(texts)
        return await embed(self, texts, **more)

    monkeypatch.setattr(FakeService, "embed", noted)
    base = await knowledge.create("app-a", "手册")
    await filled(knowledge, store, base, "休假.md", "员工每年有十五天年假")
    figures = await knowledge.evaluate(
        [base.id],
        "app-a",
        [Judged("年假", {"休假.md": 1})],
        modes=["hybrid", "fulltext", "semantic"],
        cutoffs=[1],
        rerank=False,
    )
    assert [each.recall[1] for each in figures] == [1.0, 1.0, 1.0]
    assert asked == ["年假"]


async def test_what_is_added_is_found_and_what_is_deleted_is_not(
    knowledge: Knowledge, store: KnowledgeStore
) -> None:
    base = await knowledge.create("app-a", "手册")
    leave = await filled(knowledge, store, base, "休假.md", "员工每年有十五天年假", "病假需要证明")
    fruit = await filled(
        knowledge, store, base, "fruit.txt", "Apples cost three yuan", "bananas cost two"
    )
    for mode in ("hybrid", "fulltext", "semantic"):
        assert (await texts_of(knowledge, base, "年假有几天", mode=mode))[
            0
        ] == "员工每年有十五天年假"
        assert (await texts_of(knowledge, base, "apple cost", mode=mode))[
            0
        ] == "Apples cost three yuan"
    assert await texts_of(knowledge, base, "量子力学", mode="fulltext") == []
    counted = await knowledge.base(base.id, "app-a")
    assert counted.chunks == 4
    await knowledge.delete_document(base.id, fruit.id, "app-a")
    for mode in ("hybrid", "fulltext", "semantic"):
        assert not any(
            "cost" in text for text in await texts_of(knowledge, base, "apple cost", mode=mode)
        )
    async with store.write() as connection:
        current = await store.document(connection, id=leave.id)
        assert current is not None
        await store.fill(connection, base, current, [chunk("年假改为二十天")], characters=7)
    assert await texts_of(knowledge, base, "年假") == ["年假改为二十天"]
    (found,) = await knowledge.search([base.id], "app-a", Question("年假改为"))
    assert found.document.id == leave.id
    assert found.coverage == pytest.approx(1.0)
    await knowledge.delete(base.id, "app-a")
    with pytest.raises(NotFound, match="no knowledge base"):
        await texts_of(knowledge, base, "年假")


async def test_hidden_documents_and_chunks_are_not_found(
    knowledge: Knowledge, store: KnowledgeStore
) -> None:
    base = await knowledge.create("app-a", "b")
    document = await filled(knowledge, store, base, "a.txt", "北京 天气", "上海 天气")
    first, second = await knowledge.chunks(base.id, document.id, "app-a")
    await knowledge.modify_chunk(first.number, "app-a", enabled=False)
    assert await texts_of(knowledge, base, "天气") == ["上海 天气"]
    await knowledge.modify_document(base.id, document.id, "app-a", enabled=False)
    assert await texts_of(knowledge, base, "天气") == []
    await knowledge.modify_document(base.id, document.id, "app-a", enabled=True)
    await knowledge.delete_chunk(second.number, "app-a")
    assert await texts_of(knowledge, base, "天气") == []
    added = await knowledge.add_chunk(base.id, document.id, "app-a", "广州 天气", "key")
    assert added.place > second.place - 2
    assert await texts_of(knowledge, base, "天气") == ["广州 天气"]


async def test_metadata_filters(knowledge: Knowledge, store: KnowledgeStore) -> None:
    base = await knowledge.create("app-a", "b")
    for year, kind in ((2023, "report"), (2024, "report"), (2025, "memo")):
        await filled(
            knowledge,
            store,
            base,
            f"{year}.txt",
            f"revenue of {year}",
            year=year,
            kind=kind,
            tags=[kind, "x"],
        )

    async def years(*conditions: tuple[str, str, Any], any: bool = False) -> set[str]:
        wanted = Filter(tuple(Condition(*condition) for condition in conditions), any=any)
        return {text[-4:] for text in await texts_of(knowledge, base, "revenue", filter=wanted)}

    assert await years() == {"2023", "2024", "2025"}
    assert await years(("year", ">=", 2024)) == {"2024", "2025"}
    assert await years(("year", ">", 2023), ("kind", "==", "report")) == {"2024"}
    assert await years(("year", "<", 2024), ("kind", "==", "memo"), any=True) == {"2023", "2025"}
    assert await years(("kind", "in", ["memo"])) == {"2025"}
    assert await years(("kind", "not_in", ["memo"])) == {"2023", "2024"}
    assert await years(("tags", "contains", "memo")) == {"2025"}
    assert await years(("doc_name", "contains", "2023")) == {"2023"}
    assert await years(("nothing", "==", 1)) == set()
    assert await years(("nothing", "!=", 1)) == {"2023", "2024", "2025"}
    assert await years(("year", ">", "2000")) == set()
    for operator, value in (("like", "x"), ("in", "x")):
        with pytest.raises(Invalid):
            await years(("kind", operator, value))
    with pytest.raises(Invalid, match="at most 20"):
        await years(*[("a", "==", 1)] * 21)


async def test_others_find_and_change_nothing(knowledge: Knowledge, store: KnowledgeStore) -> None:
    base = await knowledge.create("app-a", "b", readers=["app-friend"])
    document = await filled(knowledge, store, base, "a.txt", "北京 天气")
    (chunk_there,) = await knowledge.chunks(base.id, document.id, "app-a")
    assert await texts_of(knowledge, base, "天气", "app-friend") == ["北京 天气"]
    assert [found.id for found in await knowledge.bases("app-friend")] == [base.id]
    assert await knowledge.bases("app-stranger") == []
    for app_id, refusal in (("app-stranger", NotFound), ("app-friend", Forbidden)):
        for attempt in (
            knowledge.modify(base.id, app_id, name="c"),
            knowledge.add_text(app_id, base.id, "a.txt", "text", {}),
            knowledge.modify_document(base.id, document.id, app_id, enabled=False),
            knowledge.index_again(base.id, document.id, app_id),
            knowledge.delete_document(base.id, document.id, app_id),
            knowledge.add_chunk(base.id, document.id, app_id, "x", "key"),
            knowledge.modify_chunk(chunk_there.number, app_id, enabled=False),
            knowledge.delete_chunk(chunk_there.number, app_id),
            knowledge.delete(base.id, app_id),
        ):
            with pytest.raises(refusal):
                await attempt
    with pytest.raises(NotFound):
        await texts_of(knowledge, base, "天气", "app-stranger")
    other = await knowledge.create("app-stranger", "b")
    with pytest.raises(NotFound, match="has no document"):
        await knowledge.document(other.id, document.id, "app-stranger")


async def test_what_cannot_be_is_refused(knowledge: Knowledge) -> None:
    base = await knowledge.create("app-a", "b")
    with pytest.raises(Conflict, match="already"):
        await knowledge.create("app-a", " b ")
    for name in ("", " ", "x" * 51):
        with pytest.raises(Invalid, match="1 to 50 characters"):
            await knowledge.create("app-a", name)
    with pytest.raises(ModelNotFound):
        await knowledge.create("app-a", "c", embedder="none")
    for question in (
        Question(""),
        Question("x" * 1001),
        Question("x", top=0),
        Question("x", top=101),
        Question("x", skip=401),
    ):
        with pytest.raises(Invalid):
            await knowledge.search([base.id], "app-a", question)
    with pytest.raises(Invalid, match="at least one"):
        await knowledge.search([], "app-a", Question("x"))
    with pytest.raises(Invalid, match="must end in one of"):
        await knowledge.add_text("app-a", base.id, "a.exe", "x", {})
    with pytest.raises(Invalid, match="says something"):
        await knowledge.add_text("app-a", base.id, "a.txt", "  ", {})
    with pytest.raises(Invalid, match="at most 10000 bytes"):
        await knowledge.add_text("app-a", base.id, "a.txt", "x", {"a": "x" * 10_001})


async def test_a_base_needs_one_job_however_many_documents_come(
    knowledge: Knowledge, store: KnowledgeStore
) -> None:
    base = await knowledge.create("app-a", "b", chunking=Chunking(target_units=99))
    await knowledge.add_text("app-a", base.id, "a.txt", "one", {})
    job_id = (await knowledge.base(base.id, "app-a")).job_id
    await knowledge.add_text("app-a", base.id, "b.txt", "two", {})
    assert (await knowledge.base(base.id, "app-a")).job_id == job_id
    jobs = knowledge.work._jobs  # pyright: ignore[reportPrivateUsage]
    job = await jobs.get(job_id)
    assert [each["name"] for each in job.spec["documents"]] == ["a.txt"]
    assert job.spec["chunking"] == {"target_units": 99, "overlap": 0.15}
    async with store.write() as connection:
        await knowledge.work.ended(connection, job, "the service is gone")
    documents, _ = await knowledge.documents(base.id, "app-a")
    assert [(each.name, each.state, each.error) for each in documents] == [
        ("a.txt", "failed", "the service is gone"),
        ("b.txt", "indexing", ""),
    ]
    assert (await knowledge.base(base.id, "app-a")).job_id not in {"", job_id}


async def test_rankings_are_the_same_on_both_databases(tmp_path: Path, postgresql: Any) -> None:
    """300 generated chunks, 40 questions, every mode."""
    dice = random.Random(3)
    texts = [" ".join(dice.choices(WORDS, k=dice.randint(3, 30))) for _ in range(300)]
    questions = ["".join(dice.choices(WORDS, k=3)) for _ in range(20)] + [
        " ".join(dice.choices(WORDS, k=2)) for _ in range(20)
    ]
    found: list[list[list[str]]] = []
    for target in (tmp_path / "yangfan.db", postgresql.new()):
        database = Database(target)
        await database.migrate()
        store = KnowledgeStore(database)
        knowledge = made(store, tmp_path / str(len(found)))
        base = await knowledge.create("app-a", "b")
        for start in range(0, 300, 100):
            await filled(knowledge, store, base, f"{start}.txt", *texts[start : start + 100])
        found.append(
            [
                await texts_of(knowledge, base, question, mode=mode, top=20)
                for question in questions
                for mode in ("hybrid", "fulltext", "semantic")
            ]
        )
        await database.close()
    assert found[0] == found[1]
    assert all(len(each) == 20 for each in found[0][2::3])


async def test_a_restored_database_is_searched_as_the_old_one(tmp_path: Path) -> None:
    old = Database(tmp_path / "old.db")
    await old.migrate()
    knowledge = made(KnowledgeStore(old), tmp_path)
    base = await knowledge.create("app-a", "b")
    await filled(knowledge, KnowledgeStore(old), base, "a.txt", "北京 天气", "上海 美食")
    async with old.read() as connection:
        lines = await connection.run_sync(lambda sync: list(dump(sync)))
    assert not any(b'"fts_' in line for line in lines)
    new = Database(tmp_path / "new.db")
    await new.migrate()
    async with new.write() as connection:
        await connection.run_sync(load, lines)
    assert await texts_of(made(KnowledgeStore(new), tmp_path), base, "美食", mode="fulltext") == [
        "上海 美食"
    ]
    await old.close()
    await new.close()


async def test_without_numpy_a_base_says_what_to_install(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(Invalid, match=r"pip install 'yangfan\[knowledge\]'"):
        await knowledge.create("app-a", "b")
