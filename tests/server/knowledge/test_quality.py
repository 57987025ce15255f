"""How well searches answer: the test collection of the repository, with the embedded model of embeddings."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, wait_until
from typer.testing import CliRunner

from yangfan import Client
from yangfan.cli import application
from yangfan.errors import Invalid

COLLECTION = Path(__file__).parents[3] / "benchmarks" / "retrieval"
WAIT_SECONDS = 120.0


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (COLLECTION / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def client(vector_server: Server) -> Generator[Client]:
    with Client(vector_server.base_url, bearer=vector_server.bearer, version=2) as client:
        yield client


@pytest.fixture(scope="module")
def base(client: Client) -> Generator[str]:
    """The whole collection, a document for each passage."""
    made = client.knowledge.create("collection").id
    texts = {
        f"{row['id']}.md": f"# {row['title']}\n\n{row['text']}" for row in rows("passages.jsonl")
    }
    names = [*texts]
    for start in range(0, len(names), 100):
        client.knowledge.add_texts(made, {name: texts[name] for name in names[start : start + 100]})
    wait_until(lambda: not client.knowledge.get(made).job_id, "the collection", WAIT_SECONDS)
    yield made
    client.knowledge.delete(made)


def questions() -> list[tuple[str, dict[str, int]]]:
    return [
        (row["query"], {f"{name}.md": grade for name, grade in row["relevant"].items()})
        for row in rows("questions.jsonl")
    ]


def test_words_and_meaning_together_beat_either_alone(client: Client, base: str) -> None:
    found = {each.mode: each for each in client.knowledge.evaluate(base, questions(), rerank=False)}
    both = found["hybrid"]
    for alone in (found["fulltext"], found["semantic"]):
        assert both.recall[10] > alone.recall[10]
        assert both.ndcg[10] > alone.ndcg[10]
        assert both.reciprocal_rank > alone.reciprocal_rank
    assert both.recall[10] > 0.9
    assert len(both.ranks) == len(questions())


def test_figures_of_the_users_own_questions(client: Client, base: str) -> None:
    asked = [
        ("form HR-17", ["leave-sick.md"]),
        ("form HR-22", {"leave-parental.md": 3, "bank-loan.md": 1}),
    ]
    (figures,) = client.knowledge.evaluate(base, asked, modes=["fulltext"], cutoffs=[1])
    assert figures.ranks[0] == (1,)
    assert figures.ranks[1][0] == 1
    assert dict(figures.recall) == {1: 0.75}
    assert dict(figures.ndcg) == {1: 1.0}
    with pytest.raises(
        Invalid, match=re.escape("questions[0].relevant: no document 'x.md' is in these")
    ):
        client.knowledge.evaluate(base, [("a", ["x.md"])])


def test_the_command_line_prints_a_table(
    client: Client,
    base: str,
    vector_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("YANGFAN_HOME", str(vector_server.home))
    file = tmp_path / "questions.jsonl"
    file.write_text('{"query": "form HR-17", "relevant": ["leave-sick.md"]}\n\n')
    argv = ["kb", "evaluate", base, str(file)]
    shown = CliRunner().invoke(application(argv), argv)
    assert shown.exit_code == 0, shown.output
    assert "hybrid\t1.000" in shown.stdout
    argv.append("--json")
    assert json.loads(CliRunner().invoke(application(argv), argv).stdout)[0]["ranks"] == [[1]]
    file.write_text('{"query": "form HR-17"}\n')
    refused = CliRunner().invoke(application(argv), argv)
    assert refused.exit_code != 0
    assert "line 1 of" in str(refused.exception)
    assert client.knowledge.get(base).id == base
