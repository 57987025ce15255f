"""Which schemas are refused before the library has them in hand: by size, by time, and for want of a tokenizer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.small_models import gguf_file

from yangfan.engines import openvino
from yangfan.engines._openvino_grammar import CannotTryError, GrammarCheck
from yangfan.engines._schema_size import size_of

needs_openvino = pytest.mark.skipif(
    openvino.missing() is not None, reason=f"openvino: {openvino.missing()}"
)


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
    check = GrammarCheck(tiny_chat_gguf, workdir, check_seconds=1)
    dear = {"type": "string", "pattern": "([a-z]{1,300}b){1,300}" * 10}
    assert size_of(dear).unfolds is size_of(dear).too_wide is None
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
