"""The benchmark programs run, in a very small form; nothing here looks at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = (
    *("overhead", "programs", "engines", "gateway", "bridge", "overload", "cleaning"),
    *("cleaning_peers", "cleaning_datatrove", "embeddings", "images", "imports", "growth"),
    *("tokens", "start", "services"),
    *("registry", "knowledge", "retrieval", "tuning", "datasets", "batches", "compression"),
)
TRAINS = frozenset({"tuning", "compression"})
"""Those that train a small model first."""

TIMEOUT_SECONDS = 120


def run(*arguments: str, store: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/run.py"), *arguments],
        env={**os.environ, "YANGFAN_MODEL_STORE": str(store)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")
@pytest.mark.parametrize(
    "question",
    [
        pytest.param(name, marks=[pytest.mark.large] if name in TRAINS else [])
        for name in QUESTIONS
        if name not in {"programs", "imports"}
    ],
)
def test_a_benchmark_prints_its_tables_as_markdown(question: str, tmp_path: Path):
    result = run("--smoke", question, store=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"## {question}\n\n_20")
    assert "| target | wanted | measured | met |" in result.stdout
    assert " wrong answers" not in result.stdout or "| 0 of " in result.stdout
    assert "different lengths" not in result.stdout or "| <= 1 | 1 | yes |" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")
def test_imports_lose_no_rows(tmp_path: Path):
    result = run("--smoke", "imports", store=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "| rows lost | <= 0 | 0 | yes |" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")
def test_the_programs_are_not_compared_where_none_is_built(tmp_path: Path):
    result = run("--smoke", "programs", store=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Skipped: llama.cpp built for this CPU: none is built" in result.stdout


def test_an_unknown_question_is_answered_with_those_that_exist(tmp_path: Path):
    result = run("speed", store=tmp_path)
    assert result.returncode == 2
    assert f"no question named speed; there are {', '.join(QUESTIONS)}" in result.stderr


@pytest.mark.parametrize("page", ["measurements.md", "measurements.zh-CN.md"])
def test_the_page_has_one_place_for_each_benchmark(page: str):
    text = (ROOT / "docs" / page).read_text("utf-8")
    for question in QUESTIONS:
        assert text.count(f"<!-- measured: {question} -->") == 1
        assert text.count(f"<!-- end: {question} -->") == 1
