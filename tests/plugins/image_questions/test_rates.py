"""How many pictures are read right, and how many questions about them a small chat model answers right. Figures: docs/measurements.md."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MODEL, serving
from tests.plugins.image_questions.drawn import Drawn, drawn, rates

from yangfan import Client
from yangfan.plugins.image_questions.layout import told
from yangfan.plugins.image_questions.reader import Reader

pytest.importorskip("rapidocr", reason="yangfan[pictures] is not installed")
pytestmark = [pytest.mark.large, pytest.mark.slow, pytest.mark.timeout(3600)]

SEED = 2026


@pytest.mark.parametrize(("worn", "least"), [(False, 0.95), (True, 0.85)])
async def test_the_answer_stands_in_what_a_model_is_told(
    worn: bool,
    least: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, results = Reader(), list[tuple[Drawn, bool]]()
    try:
        for each in drawn(60, seed=SEED, worn=worn):
            page = await reader.read(each.data)
            text = told(page.words, page.chart, chinese=each.language == "zh")
            results.append((each, each.is_told(text)))
    finally:
        await reader.aclose()
    with capsys.disabled():
        print("\nread right,", "worn:" if worn else "clean:", rates(results))
    assert sum(right for _, right in results) >= least * len(results)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Generator[Client]:
    environ = {"YANGFAN_MODEL_STORE": str(model_cache)}
    home = tmp_path_factory.mktemp("rates-home")
    with (
        serving(home, models=(MODEL,), environ=environ) as server,
        server.client(timeout_seconds=600) as client,
    ):
        yield client


@pytest.mark.model
def test_what_a_small_model_makes_of_it(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """The text holds the answers; a model of 135 million parameters finds some of them."""
    client.plugins.create("rates", ["uuid-chatocr"], model=MODEL)
    told_, answered = list[tuple[Drawn, bool]](), list[tuple[Drawn, bool]]()
    for each in drawn(30, seed=SEED):
        answer: Any = client.plugins.ask("rates", each.question, file=each.data)
        told_.append((each, each.is_told(answer.meta["response"]["result"]["layout"])))
        answered.append((each, each.is_answered(answer.text)))
    with capsys.disabled():
        print("\nread right:", rates(told_), f"\nanswered right by {MODEL}:", rates(answered))
    assert sum(right for _, right in told_) >= 28
    # A chance answer of these numbers is never right; what is right was read.
    assert sum(right for _, right in answered) >= 5
