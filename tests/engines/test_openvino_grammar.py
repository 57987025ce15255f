"""Which schemas are refused before the library has them in hand: by size, by time, and for want of a tokenizer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.small_models import gguf_file

from yangfan.engines import openvino
from yangfan.engines._openvino_grammar import CannotTryError, GrammarCheck, unfolds_too_far

needs_openvino = pytest.mark.skipif(
    openvino.missing() is not None, reason=f"openvino: {openvino.missing()}"
)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a{1,30000}b{1,30000}){1,30000}",
        "((([a-z]{9}\\\\){99}){99}){99}",
        "(a{1000}){1000}b",
        "((a{1,99999999999999999999}))",
        "[]x]{1000}[^]\\]]{1000001}",
        "(" * 500 + "a" + "{999999999})" * 500,
    ],
)
@pytest.mark.parametrize("place", ["pattern", "items", "patternProperties", "list"])
def test_a_pattern_that_unfolds_too_far_is_found_wherever_it_stands(
    pattern: str, place: str
) -> None:
    string = {"type": "string", "pattern": pattern}
    schemas: dict[str, object] = {
        "pattern": string,
        "items": {"type": "array", "items": {"anyOf": [{"type": "null"}, string]}},
        "patternProperties": {"type": "object", "patternProperties": {pattern: {}}},
        "list": [[string]],
    }
    assert unfolds_too_far(schemas[place])


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "(a{1,900}b{0}){0,1000}"},
        {"pattern": "[(a{1000}){1000}){1000}]{1000}"},
        {"pattern": r"\(a{1000}\){1000}"},
        {"pattern": "a{1000}" * 900},
        {"pattern": "))](a{,5}{"},
        {"pattern": "\\"},
        {"pattern": "[a"},
        {"properties": {"pattern": {"type": "string"}}, "patternProperties": 7},
        {"type": "array", "maxItems": 2_000_000},
        "a text",
        None,
    ],
)
def test_what_does_not_multiply_is_left_to_the_library(schema: object) -> None:
    assert not unfolds_too_far(schema)


@pytest.fixture
def workdir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    assert {path.name for path in folder.iterdir()} <= {"tokenizer.gguf"}


@needs_openvino
async def test_a_schema_that_takes_too_long_is_refused_and_the_next_one_is_tried(
    tiny_chat_gguf: Path, workdir: Path
) -> None:
    check = GrammarCheck(tiny_chat_gguf, workdir, check_seconds=0.1)
    dear = {"type": "string", "pattern": "(a{1,300}b){1,300}" * 5}
    assert not unfolds_too_far(dear)
    assert await check.reason(json.dumps(dear)) == "it takes too long or too much memory"
    assert await check.reason('{"type": "boolean"}') is None
    await check.close()


@needs_openvino
async def test_a_tokenizer_without_use_is_blamed_and_not_the_schema(
    tmp_path: Path, workdir: Path
) -> None:
    check = GrammarCheck(gguf_file(tmp_path / "model.gguf"), workdir)
    for _ in range(2):
        with pytest.raises(CannotTryError) as refused:
            await check.reason('{"type": "boolean"}')
        await check.close()
        assert "too long" not in str(refused.value)
        assert str(refused.value)
