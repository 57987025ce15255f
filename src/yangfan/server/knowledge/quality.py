"""How well bases answer a user's own questions: recall, nDCG and reciprocal rank of every way of searching."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.measures import ndcg, recall, reciprocal_rank
from yangfan.server.knowledge.search import MAX_TOP
from yangfan.server.knowledge.types import Question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.protocol.v2.knowledge import SearchMode
    from yangfan.server.knowledge.search import Search
    from yangfan.server.knowledge.store import KnowledgeStore
    from yangfan.server.knowledge.types import Base


@dataclass(frozen=True, slots=True)
class Judged:
    """A question, and the documents that answer it.

    Attributes:
        text: 1 to 1000 characters.
        relevant: Ids or names of documents, and how well each answers, from 1.
    """

    text: str
    relevant: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over all questions, 0 to 1.

    Attributes:
        mode: How was searched.
        recall: By cutoff.
        ndcg: By cutoff.
        reciprocal_rank: Of the first relevant document.
        ranks: For each question the rank of each of its documents, in the order given; 0 for one that was not found.
    """

    mode: SearchMode
    recall: Mapping[int, float]
    ndcg: Mapping[int, float]
    reciprocal_rank: float
    ranks: Sequence[Sequence[int]]


async def measured(
    search: Search,
    store: KnowledgeStore,
    bases: Sequence[Base],
    questions: Sequence[Judged],
    modes: Sequence[SearchMode],
    cutoffs: Sequence[int],
    *,
    rerank: bool,
    key: str,
) -> list[Figures]:
    """Ask every question in every way, and compare what is found with what should be.

    A document stands where its first passage does.

    Raises:
        Invalid: A question cannot be asked, or names a document that is in none of the bases.
        ModelNotFound, Overloaded: As of a search.
    """
    grades = await _graded(store, bases, questions)
    found: list[Figures] = []
    vectors: dict[tuple[str, str], bytes] = {}
    for mode in modes:
        rankings: list[list[int]] = []
        for question in questions:
            asked = Question(question.text, mode=mode, top=MAX_TOP, rerank=rerank)
            passages = await search.find(bases, asked, key, vectors)
            rankings.append([*dict.fromkeys(each.document.number for each in passages)])
        pairs = [*zip(rankings, grades, strict=True)]
        found.append(
            Figures(
                mode,
                recall={
                    k: fmean(recall(ranking, own, k) for ranking, own in pairs) for k in cutoffs
                },
                ndcg={k: fmean(ndcg(ranking, own, k) for ranking, own in pairs) for k in cutoffs},
                reciprocal_rank=fmean(reciprocal_rank(ranking, own) for ranking, own in pairs),
                ranks=[
                    [ranking.index(each) + 1 if each in ranking else 0 for each in own]
                    for ranking, own in pairs
                ],
            )
        )
    return found


async def _graded(
    store: KnowledgeStore, bases: Sequence[Base], questions: Sequence[Judged]
) -> list[dict[int, int]]:
    """What each question is to find, by the documents' numbers."""
    wanted = {name for question in questions for name in question.relevant}
    numbers: dict[str, int] = {}
    async with store.read() as connection:
        for base in bases:
            after = 0
            while page := await store.documents(connection, base.number, after=after):
                for document in page:
                    for name in {document.id, document.name} & wanted:
                        if numbers.setdefault(name, document.number) != document.number:
                            raise Invalid(
                                f"several documents are called {name!r}; name the one that is meant by its id",
                                param="questions",
                            )
                after = page[-1].number
    for place, question in enumerate(questions):
        for name in question.relevant:
            if name not in numbers:
                raise Invalid(
                    f"questions[{place}].relevant: no document {name!r} is in these knowledge bases; give a document's id or name",
                    param="questions",
                )
    return [
        {numbers[name]: grade for name, grade in question.relevant.items()}
        for question in questions
    ]
