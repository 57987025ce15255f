"""Limits, order, and what stands in for a reranker; the engine is scripted: it finds the longest text the most relevant."""

from __future__ import annotations

import pytest
from tests.server.services.conftest import Scripted

from yangfan.engines.base import Usage
from yangfan.errors import Invalid
from yangfan.protocol import presets
from yangfan.server.http.metering import Unmetered
from yangfan.server.models import InputLimits
from yangfan.server.rerank import Rerank
from yangfan.server.rerank.logic import BY_SIMILARITY, Ranking, ranked_by
from yangfan.server.services import Service, Services
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

PRESETS = presets.load()
NAME = "bce-reranker-base_v1"


def service_of(name: str, kind: str) -> Service:
    replica = Replica(Scripted(kinds=frozenset({kind})))  # pyright: ignore[reportArgumentType] - a double
    return Service(name, replica, ServicePolicy(1.0, 0), created=0)


async def rerank_of(*kinds: str) -> Rerank:
    services = Services([service_of(kind, kind) for kind in kinds], PRESETS, {})
    await services.start()
    return Rerank(services)


async def rank(
    documents: list[str], *, query: str = "q", top_n: int | None = None, kind: str = "rerank"
) -> Ranking:
    rerank = await rerank_of(kind)
    return await rerank.answer(rerank.target(NAME), query, documents, top_n, Unmetered())


async def test_documents_come_by_score_with_their_place_in_the_request():
    ranking = await rank(["a", "abc", "ab"])
    assert [(r.document, r.index) for r in ranking.results] == [("abc", 1), ("ab", 2), ("a", 0)]
    scores = [result.score for result in ranking.results]
    assert scores == sorted(scores, reverse=True)


async def test_settings_of_the_served_model_limit_the_documents():
    service = service_of("own", "rerank")
    service.limits = InputLimits(max_inputs=2, max_input_chars=3)
    services = Services([service], PRESETS, {})
    await services.start()
    rerank = Rerank(services)
    target = rerank.target(NAME)
    assert len((await rerank.answer(target, "q", ["a", "abc"], None, Unmetered())).results) == 2
    with pytest.raises(Invalid, match="documents max size is 2"):
        await rerank.answer(target, "q", ["a"] * 3, None, Unmetered())
    with pytest.raises(Invalid, match="document max length is 3"):
        await rerank.answer(target, "q", ["abcd"], None, Unmetered())


async def test_equal_documents_stay_in_order():
    ranking = await rank(["b", "a", "c"])
    assert [result.index for result in ranking.results] == [0, 1, 2]


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (2, 2), (3, 3), (50, 3), (None, 3)])
async def test_top_n_is_how_many_come(top_n: int | None, count: int):
    assert len((await rank(["a", "ab", "abc"], top_n=top_n)).results) == count


async def test_a_reranker_is_preferred_and_embeddings_stand_in():
    both = await rerank_of("embeddings", "rerank")
    assert both.target(NAME).service.name == "rerank"
    ranking = Ranking((), Usage())
    assert BY_SIMILARITY not in ranked_by(both.target(NAME), ranking)
    alone = await rerank_of("chat", "embeddings")
    assert alone.target(NAME).service.name == "embeddings"
    assert BY_SIMILARITY in ranked_by(alone.target(NAME), ranking)


async def test_similarity_is_the_cosine_of_the_embeddings():
    ranking = await rank(["north", "east", "northeast"], query="north", kind="embeddings")
    assert [result.document for result in ranking.results] == ["north", "northeast", "east"]
    assert [result.score for result in ranking.results] == pytest.approx([1.0, 0.5**0.5, 0.0])


@pytest.mark.parametrize(
    ("query", "documents", "says"),
    [
        ("a" * 1601, ["b"], "^query max length is 1600 characters; it has 1601"),
        ("a", ["b"] * 65, "^documents max size is 64; 65 came"),
        (
            "a",
            ["b", "c" * 4097],
            r"^document max length is 4096 characters; documents\[1\] has 4097",
        ),
    ],
)
async def test_more_than_is_documented_is_refused(query: str, documents: list[str], says: str):
    with pytest.raises(Invalid, match=says):
        await rank(documents, query=query)


async def test_all_that_is_documented_is_taken():
    assert len((await rank(["b" * 4096] * 64, query="a" * 1600)).results) == 64


@pytest.mark.parametrize("kind", ["rerank", "embeddings"])
async def test_what_a_query_or_a_document_has_too_much_is_left_out(kind: str):
    service = service_of("own", kind)
    engine = service.replica.engine
    assert isinstance(engine, Scripted)
    engine.context_tokens = 4096
    services = Services([service], PRESETS, {})
    await services.start()
    rerank = Rerank(services)
    # The double takes each character for a token.
    query, document = "q" * 1000, "d" * 3000
    ranking = await rerank.answer(
        rerank.target(NAME), query, [document, "short"], None, Unmetered()
    )
    assert engine.ranked == ["q" * 400, "d" * 1024, "short"]
    assert {result.document for result in ranking.results} == {document, "short"}


async def test_no_more_is_handed_to_a_small_reranker_than_it_reads():
    service = service_of("small", "rerank")
    engine = service.replica.engine
    assert isinstance(engine, Scripted)
    engine.context_tokens = 100
    services = Services([service], PRESETS, {})
    await services.start()
    rerank = Rerank(services)
    await rerank.answer(rerank.target(NAME), "q" * 20, ["文" * 500], None, Unmetered())
    assert engine.ranked == ["q" * 20, "文" * 76]
