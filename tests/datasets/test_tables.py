"""Samples as rows of a table and back: whatever they hold, they come back the same, through every format of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yangfan import extensions
from yangfan.datasets.formats import DataFormat, Sample, parse
from yangfan.datasets.readers.base import Options
from yangfan.datasets.tables import WHOLE, cells_of, columns_of, row_of, with_json
from yangfan.errors import BadSample

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": TEXT,
            "response": st.lists(st.lists(TEXT, min_size=1, max_size=1), min_size=1, max_size=1),
        }
    ),
    min_size=1,
    max_size=2,
)
RAW: dict[DataFormat, st.SearchStrategy[Any]] = {
    DataFormat.PROMPT_RESPONSE: TURNS,
    DataFormat.ROLE: st.tuples(TEXT, TEXT).map(
        lambda said: {
            "messages": [
                {"role": "user", "content": said[0]},
                {"role": "assistant", "content": said[1]},
            ]
        }
    ),
    DataFormat.DPO: st.fixed_dictionaries({"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}),
    DataFormat.KTO: st.fixed_dictionaries({"prompt": TEXT, "chosen": TEXT}),
    DataFormat.SFT_FIM: st.fixed_dictionaries({"prefix": TEXT, "suffix": TEXT, "middle": TEXT}),
    DataFormat.TEXT: st.fixed_dictionaries({"text": TEXT}, optional={"source": TEXT}),
    DataFormat.PROMPT: st.fixed_dictionaries({"prompt": TEXT}),
    DataFormat.PROMPT_IMAGE: st.fixed_dictionaries({"image": TEXT, "annotations": TEXT}),
}


@st.composite
def samples(draw: st.DrawFn) -> tuple[DataFormat, list[Sample]]:
    data_format = draw(st.sampled_from(list(RAW)))
    return data_format, [
        parse(data_format, raw) for raw in draw(st.lists(RAW[data_format], max_size=4))
    ]


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "parquet"])
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=samples())
def test_a_table_loses_nothing(
    kind: str, data: tuple[DataFormat, list[Sample]], tmp_path: Path
) -> None:
    data_format, wanted = data
    part = tmp_path / f"data.{kind}"
    part.unlink(missing_ok=True)
    writer = extensions.load("yangfan.datasets.writers", kind).open(
        part, {}, columns_of(data_format)
    )
    writer.write([cells_of(data_format, sample) for sample in wanted])
    writer.finish()
    reader = extensions.load("yangfan.datasets.readers", kind).open(part, Options(), tmp_path)
    found: list[Any] = [
        parse(data_format, row_of(row)) for batch in reader.batches({}) for row in batch.rows
    ]
    assert found == wanted


def test_what_is_simple_stands_in_columns_of_its_own() -> None:
    turn = {"system": "be kind", "prompt": "hi", "response": [["hello"]]}
    sample = parse(DataFormat.PROMPT_RESPONSE, [turn])
    assert cells_of(DataFormat.PROMPT_RESPONSE, sample) == {
        "system": "be kind",
        "prompt": "hi",
        "response": "hello",
    }
    two = parse(DataFormat.PROMPT_RESPONSE, [turn, {"prompt": "and", "response": [["so"]]}])
    assert list(cells_of(DataFormat.PROMPT_RESPONSE, two)) == [WHOLE]


def test_lists_and_truth_values_are_texts_in_cells() -> None:
    cells = {"messages": '[{"role": "user", "content": "x"}]', "label": "TRUE", "other": "[no json"}
    assert with_json(cells) == {
        "messages": [{"role": "user", "content": "x"}],
        "label": True,
        "other": "[no json",
    }
    assert with_json({"prompt": "x"}) is None
    with pytest.raises(BadSample, match="rename the column, or write JSON"):
        row_of({WHOLE: "no json"})
