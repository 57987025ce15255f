"""Rows of several texts: each text is changed by itself, a row is measured as a whole."""

from pathlib import Path
from typing import Any

import pytest

from yangfan.errors import OperatorFailed
from yangfan.operators.pipeline.chain import Chain, Cleaned
from yangfan.operators.pipeline.recipe import Recipe, Stages, Step, parse
from yangfan.operators.pipeline.rows import Batch
from yangfan.operators.pipeline.trace import NOTHING_LEFT, grouped

RECIPE = Recipe(
    Stages(
        clean=["remove_emoji", "remove_web_identifiers"],
        filter=[Step("filter_check_number_words", {"number_words_min_cutoff": 4})],
        deduplication=["deduplication_simhash"],
        desensitization=["replace_emails"],
    )
)
ROWS = [
    ["You help.", "Mail <b>a@b.com</b> 😀", "Sent it today."],
    # A tag that is opened in one text and closed in another is none.
    ["one <script> here is", "the end </script> there"],
    ["two", "words"],
    ["😀", "An answer to an emoji alone."],
    ["You help.", "Mail a@b.com ", "Sent it today."],
    [],
]


def cleaned(recipe: Recipe, rows: list[list[str]], processes: int = 1) -> Cleaned:
    chain = Chain(recipe, processes=processes)
    batch = Batch([text for row in rows for text in row], list(range(len(rows))))
    batch.sizes = list(map(len, rows))
    try:
        (((_, found),),) = chain.over([batch])
    finally:
        chain.close()
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_texts_are_changed_one_by_one_and_rows_measured_as_a_whole(processes: int) -> None:
    found = cleaned(RECIPE, ROWS, processes)
    assert found.positions.tolist() == [0, 1]
    kept = grouped(found.texts, [len(ROWS[0]), len(ROWS[1])])
    assert kept == [
        ["You help.", "Mail [EMAIL] ", "Sent it today."],
        ["one  here is", "the end  there"],
    ]
    assert [(drop.position, drop.operator, drop.value) for drop in found.drops] == [
        (2, "filter_check_number_words", 2.0),
        (3, "remove_emoji", None),
        (4, "deduplication_simhash", 0.0),
        (5, "filter_check_number_words", 0.0),
    ]
    assert found.drops[1].reason == NOTHING_LEFT
    changes = {name: flags.tolist() for name, flags in found.changes}
    assert changes["remove_emoji"] == [True, False, False, True, False, False]
    assert changes["replace_emails"][:2] == [True, False]


def test_rows_of_one_text_are_what_texts_are() -> None:
    rows = [["😀 one two three four"], ["a b"], ["four words of text"]]
    chain = Chain(RECIPE)
    plain = chain([row[0] for row in rows])
    chain.close()
    found = cleaned(RECIPE, rows)
    assert found.texts == plain.texts
    assert found.drops == plain.drops


def test_a_filter_of_third_parties_must_not_change_a_part_of_a_row(tmp_path: Path) -> None:
    (tmp_path / "cuts.py").write_text(
        "from yangfan.operators import base\n"
        'STAGE, SUMMARY = "filter", {"en": "", "zh": ""}\n'
        "class Parameters(base.Parameters, frozen=True):\n    pass\n"
        "class Cuts(base.Cleaner):\n    def change(self, texts):\n"
        "        return texts.replaced([text[:1] for text in texts.strings])\n"
        "def create(parameters, common):\n    return Cuts()\n",
        "utf-8",
    )
    recipe: Any = {"operationsV2": {"filter": ["cuts"]}}
    chain = Chain(parse(recipe), operators=tmp_path)
    try:
        assert chain(["one", "two"]).texts == ["o", "t"]
        with pytest.raises(OperatorFailed, match="only those of clean and desensitization may"):
            chain(["one", "two"], [2])
    finally:
        chain.close()
