"""A smaller version of a model, with its measured price."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.small_models import gguf_file, llama_folder

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError
from yangfan.hub.compression import (
    Compressed,
    CompressOrder,
    compress_model,
    is_compressible,
    quantization_for,
)
from yangfan.hub.importing import Imported, ImportOrder, import_model
from yangfan.hub.inspection import inspect
from yangfan.hub.store import ModelStore
from yangfan.weights import child, ggml, gguf

needs_llama = pytest.mark.skipif(ggml.missing() is not None, reason=str(ggml.missing()))
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason='pip install "yangfan[transformers]"'
)


class Stop(BaseException):
    pass


def ignore(done: float, total: float | None, unit: str, note: str) -> None:
    assert total is None or done <= total


async def imported(source: Path, store: ModelStore) -> Imported:
    order = ImportOrder(source=str(source), name="amv-1")
    return await import_model(order, store=store, egress=Egress(), tell=ignore)


async def compressed(found: Imported, store: ModelStore, weight: str, **more: Any) -> Compressed:
    order = CompressOrder(
        files=found.files,
        name=f"amv-{weight.lower()}",
        strategy="Quantization",
        weight=weight,
        source="amv-1",
    )
    return await compress_model(order, store=store, tell=more.get("tell", ignore))


@needs_llama
@needs_transformers
async def test_a_folder_becomes_smaller_files_of_known_quality(
    random_folder: Path, store: ModelStore
) -> None:
    whole = await imported(random_folder / "Qwen3", store)
    eight = await compressed(whole, store, "W8A16C16")
    four = await compressed(whole, store, "W4A16C16")
    assert (eight.quantization, four.quantization) == ("Q8_0", "Q4_K_M")
    assert eight.size_before == four.size_before == whole.size_bytes
    assert four.size_after < eight.size_after < whole.size_bytes / 2
    assert (eight.imported.format, eight.imported.kind) == ("gguf", "chat")
    assert eight.imported.facts.dtype == "Q8_0"
    assert [file.path for file in eight.imported.files] == ["amv-w8a16c16-Q8_0.gguf"]
    assert eight.imported.source == "amv-1"
    # The measure is of the file as it was: the same for both, and hardly changed by 8 bits.
    assert eight.perplexity_before == four.perplexity_before
    assert eight.perplexity_before is not None
    assert eight.perplexity_after == pytest.approx(eight.perplexity_before, rel=0.02)
    assert four.perplexity_after == pytest.approx(eight.perplexity_before, rel=0.5)
    assert four.perplexity_after != eight.perplexity_after
    assert "Alice" in eight.text
    assert not list((store.root / "partial").iterdir())


@needs_llama
@needs_transformers
async def test_a_compression_that_was_ended_goes_on_behind_its_last_whole_file(
    random_folder: Path, store: ModelStore
) -> None:
    notes: list[str] = []

    def stop(done: float, total: float | None, unit: str, note: str) -> None:
        notes.append(note)
        if note.startswith("measuring"):
            raise Stop

    whole = await imported(random_folder / "Llama", store)
    with pytest.raises(Stop):
        await compressed(whole, store, "INT8-PTQ", tell=stop)
    assert "converting to GGUF" in notes
    assert store.get("amv-int8-ptq") is None
    notes.clear()

    def note_down(done: float, total: float | None, unit: str, note: str) -> None:
        notes.append(note)

    found = await compressed(whole, store, "INT8-PTQ", tell=note_down)
    assert {note.partition(" ")[0] for note in notes} == {"measuring"}
    assert found.quantization == "Q8_0"


@needs_llama
async def test_encoders_become_smaller_and_are_not_asked_to_write(
    tmp_path: Path, store: ModelStore
) -> None:
    path = gguf_file(tmp_path / "m.gguf", general__architecture="bert", bert__context_length=64)
    found = await compressed(await imported(path, store), store, "INT8-PTQ")
    assert (found.perplexity_before, found.perplexity_after, found.text) == (None, None, "")
    assert found.imported.kind == "embeddings"
    stored = store.get("amv-int8-ptq")
    assert stored is not None
    assert gguf.TYPES[gguf.read(stored.path).tensors[0].type].name == "Q8_0"


async def test_what_cannot_be_compressed_is_refused_with_a_reason(
    tmp_path: Path, store: ModelStore
) -> None:
    folder = llama_folder(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["PhiForCausalLM"]}))
    found = await imported(folder, store)
    assert not is_compressible(inspect(folder))
    with pytest.raises(ConfigurationError, match="PhiForCausalLM, and only LlamaForCausalLM"):
        await compressed(found, store, "W8A16C16")
    (store.root / "blobs" / found.files[0].sha256).unlink()
    with pytest.raises(ConfigurationError, match="no longer in the store"):
        await compressed(found, store, "W8A16C16")


@pytest.mark.parametrize(
    ("strategy", "weight", "reason"),
    [
        ("Sparsity", "", r"use Quantization with weight INT8-PTQ \(Q8_0\)"),
        ("Pruning", "W8A16C16", "'Pruning' is not known"),
        ("Quantization", "W2A16", "'W2A16' is not known; use INT8-PTQ"),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(strategy: str, weight: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        quantization_for(strategy, weight)


def test_facts_tell_whether_a_model_can_be_compressed(tmp_path: Path) -> None:
    facts = inspect(llama_folder(tmp_path / "m"))
    assert is_compressible(facts)
    (tmp_path / "g").mkdir()
    gguf_file(tmp_path / "g" / "m.gguf")
    facts = inspect(tmp_path / "g")
    assert is_compressible(facts)
    assert not is_compressible(msgspec.structs.replace(facts, dtype="Q4_K_M"))


@pytest.mark.large
@pytest.mark.timeout(900)
@needs_llama
@needs_transformers
async def test_the_real_model_keeps_its_quality(smollm2_folder: Path, store: ModelStore) -> None:
    whole = await imported(smollm2_folder, store)
    found = await compressed(whole, store, "W4A16C16")
    assert found.perplexity_before is not None
    assert found.perplexity_after == pytest.approx(found.perplexity_before, rel=0.15)
    assert found.size_after < 0.45 * found.size_before
    assert child.MOST_WINDOWS >= 3
