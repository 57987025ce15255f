"""LoRA adapters: read by their content, held against their base, written for llama.cpp; hostile ones leave nothing behind."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.small_models import gguf_file, llama_folder, write_safetensors

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError
from yangfan.hub import adapters
from yangfan.hub.convert_decoder import VERSION, convert, layers_of
from yangfan.hub.disk import sha256_of
from yangfan.hub.importing import ImportOrder, import_model
from yangfan.hub.store import Manifest, ModelStore, StoredFile
from yangfan.weights import gguf

RANK = 2
LAYER = "model.layers.1.self_attn"
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "r": RANK,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
    "base_model_name_or_path": "someone/small-llama",
}


def write_floats(path: Path, tensors: dict[str, tuple[tuple[int, int], list[float]]]) -> None:
    """A safetensors file of 32-bit floats."""
    header: dict[str, Any] = {}
    data = b""
    for name, (shape, values) in tensors.items():
        more = struct.pack(f"<{len(values)}f", *values)
        header[name] = {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(more)],
        }
        data += more
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def adapter(folder: Path, **config: Any) -> Path:
    """An adapter of `llama_folder`: width 32, four heads that share two keys and values."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    tensors: dict[str, tuple[tuple[int, int], list[float]]] = {}
    for part, rows in (("q_proj", 32), ("v_proj", 16)):
        name = f"base_model.model.{LAYER}.{part}"
        tensors[f"{name}.lora_A.weight"] = (RANK, 32), [0.5] * RANK * 32
        numbers = [float(row) for row in range(rows) for _ in range(RANK)]
        tensors[f"{name}.lora_B.weight"] = (rows, RANK), numbers
    write_floats(folder / "adapter_model.safetensors", tensors)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store that holds the base."""
    store = ModelStore(tmp_path / "store")
    folder = llama_folder(tmp_path / "base")
    files: list[StoredFile] = []
    for path in sorted(folder.iterdir()):
        part = store.partial_folder("amv-base") / path.name
        part.write_bytes(path.read_bytes())
        files.append(StoredFile(path.name, sha256_of(part), part.stat().st_size))
        store.adopt(part, files[-1].sha256)
    made = {"kind": "chat", "format": "safetensors", "licence": "", "source": "", "revision": ""}
    store.publish(Manifest(name="amv-base", files=tuple(files), created=datetime.now(UTC), **made))
    return store


async def imported(folder: Path, store: ModelStore, egress: Egress, base: str = "amv-base") -> Any:
    def tell(done: float, total: float | None, unit: str, note: str) -> None:
        del done, total, unit, note

    order = ImportOrder(source=str(folder), name="amv-1", base=base)
    return await import_model(order, store=store, egress=egress, tell=tell)


async def test_a_folder_of_pefts_becomes_an_adapter_that_llama_cpp_reads(
    store: ModelStore, tmp_path: Path, egress: Egress
) -> None:
    folder = adapter(tmp_path / "lora")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "tokenizer.json").write_text("{}")  # its base's
    found = await imported(folder, store, egress)
    assert (found.format, found.kind, found.facts.parameters) == ("adapter", "chat", 224)
    assert [file.path for file in found.files] == [
        "README.md",
        "adapter.gguf",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    stored = store.get("amv-1")
    assert stored is not None
    header = gguf.read(stored.folder / "adapter.gguf")
    assert (header.text("general.type"), header.text("adapter.type")) == ("adapter", "lora")
    assert header.text("general.architecture") == "llama"
    assert {each.name: each.dimensions for each in header.tensors} == {
        "blk.1.attn_q.weight.lora_a": (32, RANK),
        "blk.1.attn_q.weight.lora_b": (RANK, 32),
        "blk.1.attn_v.weight.lora_a": (32, RANK),
        "blk.1.attn_v.weight.lora_b": (RANK, 16),
    }
    base = store.get("amv-base")
    assert base is not None
    assert gguf.read(store.converted_file(base, VERSION)).tensors  # what it is applied to


def test_rows_are_in_llama_cpps_order_and_scales_are_pefts(tmp_path: Path) -> None:
    """Queries turn neighbours there, where Transformers turns a head's halves; values do not turn."""
    base = layers_of(llama_folder(tmp_path / "base"))
    assert base is not None
    found = adapters.read(adapter(tmp_path / "lora", use_rslora=True))
    adapters.convert(found, base, tmp_path / "a.gguf")
    header = gguf.read(tmp_path / "a.gguf")
    alpha = header.facts["adapter.lora.alpha"].value
    assert alpha == pytest.approx(8 * math.sqrt(RANK))  # it is divided by the rank there
    content = (tmp_path / "a.gguf").read_bytes()

    def rows(name: str) -> list[float]:
        place = next(each for each in header.tensors if each.name == name)
        begin = header.data_begin + place.offset
        numbers = struct.unpack_from(f"<{place.items}f", content, begin)
        return list(numbers[::RANK])

    assert rows("blk.1.attn_q.weight.lora_b")[:9] == [0, 4, 1, 5, 2, 6, 3, 7, 8]
    assert rows("blk.1.attn_v.weight.lora_b") == list(range(16))


def test_a_gguf_file_can_be_the_base_and_says_the_same(tmp_path: Path) -> None:
    folder = llama_folder(tmp_path / "base")
    convert(folder, tmp_path / "m.gguf")
    found, expected = layers_of(tmp_path / "m.gguf"), layers_of(folder)
    assert found is not None
    assert expected is not None
    assert found.names.items() <= expected.names.items()
    assert (found.names["model.layers.1.mlp.up_proj"], found.architecture) == (
        "blk.1.ffn_up.weight",
        "llama",
    )
    assert found.rows == expected.rows
    assert found.shapes == expected.shapes
    assert layers_of(gguf_file(tmp_path / "x.gguf", general__architecture="mamba")) is None
    assert layers_of(gguf_file(tmp_path / "y.gguf")) is None  # layers are lacking


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"peft_type": "IA3"}, "only LORA is served beside its base"),
        ({"use_dora": True}, "sets use_dora.*merge it into its base"),
        ({"modules_to_save": ["lm_head"]}, "sets modules_to_save"),
        ({"bias": "all"}, "sets bias"),
        ({"r": 3}, "not of the rank 3"),
        ({"r": 0}, "a rank is from 1 to 1024"),
        ({"r": "many"}, "adapter_config.json cannot be read"),
        ({"auto_mapping": {"parent_library": "evil.code"}}, "module 'evil.code' of its own"),
    ],
)
async def test_what_its_configuration_says_is_held_against_what_can_be_served(
    store: ModelStore, tmp_path: Path, egress: Egress, changed: dict[str, Any], text: str
) -> None:
    folder = adapter(tmp_path / "lora", **changed)
    with pytest.raises(ConfigurationError, match=text):
        await imported(folder, store, egress)
    assert store.get("amv-1") is None


def _not_a_number(folder: Path) -> None:
    name = f"base_model.model.{LAYER}.q_proj.lora_A.weight"
    write_floats(folder / "adapter_model.safetensors", {name: ((2, 32), [math.nan] * 64)})


def _embeddings(folder: Path) -> None:
    name = "base_model.model.model.embed_tokens.lora_embedding_A"
    write_safetensors(folder / "adapter_model.safetensors", {name: ("F32", (2, 10))})


def _of_another(folder: Path) -> None:
    names = (f"base_model.model.model.layers.9.mlp.up_proj.lora_{side}.weight" for side in "AB")
    shapes = (((2, 32), [0.0] * 64), ((32, 2), [0.0] * 64))
    write_floats(folder / "adapter_model.safetensors", dict(zip(names, shapes, strict=True)))


def _half_of_it(folder: Path) -> None:
    name = f"base_model.model.{LAYER}.q_proj.lora_A.weight"
    write_floats(folder / "adapter_model.safetensors", {name: ((2, 32), [0.0] * 64)})


def _pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04" + bytes(64))


def _whole_numbers(folder: Path) -> None:
    names = (f"base_model.model.{LAYER}.q_proj.lora_{side}.weight" for side in "AB")
    shapes = (("I8", (2, 32)), ("I8", (32, 2)))
    write_safetensors(folder / "adapter_model.safetensors", dict(zip(names, shapes, strict=True)))


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_not_a_number, "infinity or what is no number"),
        (_embeddings, "no part of a LoRA layer"),
        (_of_another, "an adapter of another model"),
        (_half_of_it, "not of the rank"),
        (_pickle, "not a safetensors file|pickle"),
        (_whole_numbers, "is I8 of the shape"),
    ],
)
async def test_hostile_weights_are_refused(
    store: ModelStore,
    tmp_path: Path,
    egress: Egress,
    spoil: Callable[[Path], None],
    text: str,
) -> None:
    folder = adapter(tmp_path / "lora")
    spoil(folder)
    with pytest.raises(Exception, match=text) as caught:
        await imported(folder, store, egress)
    assert type(caught.value).__module__ == "yangfan.errors"
    assert store.get("amv-1") is None


async def test_an_adapter_without_its_base_is_refused_by_name(
    store: ModelStore, tmp_path: Path, egress: Egress
) -> None:
    folder = adapter(tmp_path / "lora")
    with pytest.raises(ConfigurationError, match=r"adapter of someone/small-llama.*--base"):
        await imported(folder, store, egress, base="")
