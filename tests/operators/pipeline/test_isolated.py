"""Operators of third parties: one file or an entry point, each in a process of its own, never silent where they fail."""

import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from yangfan.errors import ConfigurationError, OperatorFailed
from yangfan.operators import base
from yangfan.operators.pipeline import recipe as recipes
from yangfan.operators.pipeline import run as runs
from yangfan.operators.pipeline.chain import Chain

HEAD = """
import os, time
import numpy as np
from typing import Annotated
from msgspec import Meta
from yangfan.operators import base

STAGE = {stage!r}
SUMMARY = {{"en": "", "zh": ""}}

class Parameters(base.Parameters, frozen=True):
    size: Annotated[int, Meta(ge=1)] = 3
"""

SHOUT = """
class Shout(base.Cleaner):
    def change(self, texts):
        print("what an operator prints is not an answer")
        assert "YANGFAN_SECRET" not in os.environ
        return texts.replaced([text.upper() for text in texts.strings])

def create(parameters, common):
    return Shout()
"""

LONG = """
class Long(base.Filter):
    measures = "characters"
    def __init__(self, size):
        self.size = size
    def measure(self, texts):
        return texts.lengths.astype(float)
    def bounds(self, texts):
        return self.size, 1e9

def create(parameters, common):
    return Long(parameters.size)
"""

FIRST = """
class First:
    def __init__(self):
        self.seen = []
    def __call__(self, texts):
        keep, values = self.decide(self.prepare(texts))
        return base.Outcome(texts, keep, values)
    def prepare(self, texts):
        return np.array([ord(text[0]) for text in texts.strings], np.uint64)
    def decide(self, prepared):
        keep = []
        for letter in prepared.tolist():
            keep.append(letter not in self.seen)
            self.seen.append(letter)
        return np.array(keep), prepared.astype(float)
    def reason(self, value):
        return f"a text with {chr(int(value))} was there"
    def save(self):
        return {"seen": self.seen}
    def restore(self, state):
        self.seen = list(state["seen"])
    def close(self):
        pass

def create(parameters, common):
    return First()
"""

BROKEN = """
class Broken(base.Cleaner):
    def change(self, texts):
        if any("poison" in text for text in texts.strings):
            {what}
        return texts.replaced([text + "!" for text in texts.strings])

def create(parameters, common):
    return Broken()
"""

CRASHES = {
    "os._exit(7)": "status 7",
    "raise ValueError('cannot read this')": "ValueError: cannot read this",
    "os.kill(os.getpid(), 11)": "SIGSEGV",
    "time.sleep(60)": "no answer within 1 seconds",
    "return texts.replaced([])": "0 texts for",
    "bytearray(8 << 30)": "MemoryError",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    folder = tmp_path / "operators"
    folder.mkdir()

    def written(name: str, code: str, stage: str = "clean") -> Path:
        content = HEAD.format(stage=stage) + textwrap.dedent(code)
        (folder / f"{name}.py").write_text(content, "utf-8")
        return folder

    return written


@pytest.fixture
def chain() -> Iterator[Callable[..., Chain]]:
    made: list[Chain] = []

    def chained(recipe: dict[str, Any], folder: Path | None) -> Chain:
        made.append(Chain(recipes.parse(recipe), operators=folder))
        return made[-1]

    yield chained
    for one in made:
        one.close()


def test_one_file_is_an_operator(
    write: Callable[..., Path], chain: Callable[..., Chain], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YANGFAN_SECRET", "1")
    write("shout", SHOUT)
    folder = write("long", LONG, "filter")
    ran = chain({"clean": ["shout"], "filter": [{"name": "long", "args": {"size": 4}}]}, folder)
    cleaned = ran(["abc", "abcd", "\ud800abc"])
    assert cleaned.texts == ["ABCD", "\ud800ABC"]
    assert [(drop.operator, drop.value, drop.reason) for drop in cleaned.drops] == [
        ("long", 3.0, "characters 3")
    ]
    assert [tally.entity_match_count for tally in ran.tallies] == [3, 1]
    assert "shout" not in sys.modules


def test_an_entry_point_is_an_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., Path]
) -> None:
    """A package of somebody else's names its module in the group yangfan.operators."""
    source = write("shout", SHOUT) / "shout.py"
    packages = tmp_path / "packages"
    (packages / "loud-1.0.dist-info").mkdir(parents=True)
    (packages / "loud_words.py").write_text(source.read_text("utf-8"), "utf-8")
    (packages / "loud-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n", "utf-8"
    )
    (packages / "loud-1.0.dist-info" / "entry_points.txt").write_text(
        "[yangfan.operators]\nloud = loud_words\n", "utf-8"
    )
    monkeypatch.syspath_prepend(str(packages))  # pyright: ignore[reportUnknownMemberType] - pytest leaves the type of the path out
    monkeypatch.setenv("PYTHONPATH", str(packages))
    assert base.foreigners()["loud"] == base.Foreign(module="loud_words")
    chain = Chain(recipes.parse({"clean": ["loud"]}))
    try:
        assert chain(["quiet"]).texts == ["QUIET"]
    finally:
        chain.close()
    assert "loud_words" not in sys.modules


def test_an_operator_with_a_memory_decides_in_order_and_goes_on(
    write: Callable[..., Path], chain: Callable[..., Chain]
) -> None:
    folder = write("first", FIRST, "deduplication")
    recipe = {"deduplication": ["first"]}
    ran = chain(recipe, folder)
    cleaned = ran(["ab", "b", "ac"])
    assert cleaned.texts == ["ab", "b"]
    assert cleaned.drops[0].reason == "a text with a was there"
    again = chain(recipe, folder)
    again.restore(ran.save())
    assert again(["c", "bb"]).texts == ["c"]


@pytest.mark.parametrize(("what", "said"), CRASHES.items())
def test_a_failure_names_the_operator_and_stops(
    write: Callable[..., Path], chain: Callable[..., Chain], what: str, said: str
) -> None:
    folder = write("broken", BROKEN.format(what=what))
    ran = chain({"operationsV2": {"clean": ["broken"]}, "custom": {"timeout_seconds": 1}}, folder)
    assert ran(["fine"]).texts == ["fine!"]
    with pytest.raises(OperatorFailed, match=f"operator broken failed: .*{said}.*on_failure"):
        ran(["poison"])


def test_a_failure_that_may_be_skipped_is_counted_and_told(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write("broken", BROKEN.format(what="os._exit(7)"))
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    texts = ["one", "poison", "two"]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    recipe = recipes.parse(
        {"operationsV2": {"clean": ["broken", "remove_emoji"]}, "custom": {"on_failure": "skip"}}
    )
    report = runs.Run(recipe, file, out, operators=folder, processes=2)()
    assert out.read_bytes() == file.read_bytes()
    tally = report.pipeline_stage_result["clean"].each_operator_result[0]
    assert (tally.failed_count, tally.remaining_count) == (3, 3)
    assert "it ended with status 7" in tally.failures[0]


def test_an_operator_that_fails_again_and_again_is_left_out(
    write: Callable[..., Path], chain: Callable[..., Chain]
) -> None:
    folder = write("broken", BROKEN.format(what="raise ValueError('no')"))
    ran = chain({"operationsV2": {"clean": ["broken"]}, "custom": {"on_failure": "skip"}}, folder)
    for _ in range(4):
        ran(["poison"])
    assert ran.tallies[0].failed_count == 4
    assert "left out after 3 failures in a row" in ran.tallies[0].failures[1]


@pytest.mark.parametrize(
    ("code", "stage", "said"),
    [
        (LONG, "clean", "long stands under filter; its stage is clean"),
        ("raise RuntimeError('at import')", "filter", "long cannot be used: RuntimeError"),
        (LONG, "somewhere", "STAGE is 'somewhere'; there are: clean"),
        ("import os; os._exit(3)", "filter", "long cannot be started: it ended with status 3"),
    ],
)
def test_what_is_no_operator_is_refused(
    write: Callable[..., Path], code: str, stage: str, said: str
) -> None:
    folder = write("long", code, stage)
    with pytest.raises(ConfigurationError, match=said):
        Chain(recipes.parse({"filter": ["long"]}), operators=folder)


def test_arguments_out_of_range_are_told(write: Callable[..., Path]) -> None:
    folder = write("long", LONG, "filter")
    with pytest.raises(ConfigurationError, match=r"long: .*>= 1.*its arguments are: size"):
        Chain(recipes.parse({"filter": [{"name": "long", "args": {"size": 0}}]}), operators=folder)


def test_several_processes_give_what_one_gives(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yangfan.operators.pipeline.rows.ROWS", 37)
    folder = write("shout", SHOUT)
    file = tmp_path / "in.jsonl"
    with file.open("w", encoding="utf-8") as opened:
        for row in range(600):
            text = f"text {row // 3} of {row % 7} kinds mail{row}@example.com 😀"
            opened.write(json.dumps({"text": text, "n": row}) + "\n" if row % 50 else "bad\n")
    recipe = recipes.parse(
        {
            "clean": ["remove_emoji", "shout"],
            "filter": ["filter_check_number_words"],
            "deduplication": ["deduplication_simhash"],
            "desensitization": ["replace_emails"],
        }
    )
    reports: list[runs.Report] = []
    for number in (1, 3):
        out = tmp_path / f"out{number}.jsonl"
        reports.append(runs.Run(recipe, file, out, operators=folder, processes=number)())
    one, three = (tmp_path / f"out{number}.jsonl" for number in (1, 3))
    assert one.read_bytes() == three.read_bytes()
    dropped = [file.with_name(f"{file.name}.dropped.jsonl") for file in (one, three)]
    assert dropped[0].read_bytes() == dropped[1].read_bytes()
    assert reports[0].pipeline_stage_result == reports[1].pipeline_stage_result
    assert 0 < reports[0].remaining_entity < 588
