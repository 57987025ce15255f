"""GGUF files that lie: refused with a reason before llama.cpp opens them, and no process dies of one."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yangfan.engines import llama_cpp
from yangfan.engines._gguf import NotGGUFError, check, read_facts
from yangfan.engines.base import EngineSpec
from yangfan.errors import EngineFailed
from yangfan.weights import gguf

if TYPE_CHECKING:
    from collections.abc import Callable

HUGE = (1 << 64) - 1


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def header(*, tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def tensor(
    *dimensions: int, kind: int = 0, offset: int = 0, count: int | None = None, name: bytes = b"t"
) -> bytes:
    shape = struct.pack(f"<{len(dimensions)}Q", *dimensions)
    told = len(dimensions) if count is None else count
    return text(name) + struct.pack("<I", told) + shape + struct.pack("<IQ", kind, offset)


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


PAD = bytes(4096)
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "another format": b"PK\x03\x04" + PAD,
    "only the magic": b"GGUF",
    "a version of tomorrow": header(version=99) + PAD,
    "big endian": b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + PAD,
    "more keys than bytes": header(keys=HUGE) + PAD,
    "more tensors than bytes": header(tensors=HUGE) + PAD,
    "a key without end": header(keys=1) + struct.pack("<Q", HUGE) + PAD,
    "a key that is no text": header(keys=1) + key(b"\xff\xfe", 4, bytes(4)) + PAD,
    "a key twice": header(keys=2) + key(b"k", 4, bytes(4)) * 2 + PAD,
    "a string without end": header(keys=1) + key(b"k", 8, struct.pack("<Q", HUGE)) + PAD,
    "an unknown type": header(keys=1) + key(b"k", 77, b"") + PAD,
    "numbers without end": header(keys=1) + key(b"k", 9, struct.pack("<IQ", 10, HUGE)) + PAD,
    "strings without end": header(keys=1) + key(b"k", 9, struct.pack("<IQ", 8, HUGE)) + PAD,
    "arrays in arrays": header(keys=1) + key(b"k", 9, struct.pack("<IQ", 9, 1) * 400) + PAD,
    "an odd alignment": header(keys=1) + key(b"general.alignment", 4, struct.pack("<I", 0)) + PAD,
    "too many dimensions": header(tensors=1) + tensor(1, 1, count=HUGE >> 32) + PAD,
    "a dimension below zero": header(tensors=1) + tensor(HUGE) + PAD,
    "no dimension at all": header(tensors=1) + tensor(0) + PAD,
    "a size that overflows": header(tensors=1) + tensor(1 << 32, 1 << 32) + PAD,
    "an offset that overflows": header(tensors=1) + tensor(4, offset=HUGE - 31) + PAD,
    "an offset across": header(tensors=1) + tensor(4, offset=5) + PAD,
    "a tensor beyond the end": header(tensors=1) + tensor(4, offset=1 << 20) + PAD,
    "half a block": header(tensors=1) + tensor(33, kind=8) + PAD,
    "a tensor twice": header(tensors=2) + tensor(4) * 2 + PAD,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_is_refused_with_a_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(NotGGUFError) as refused:
        check(path)
    assert "get it again" in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        HOSTILE["numbers without end"],
        header(keys=1) + key(b"k", 9, struct.pack("<IQ", 9, 1) * 100_000),
        header(keys=1) + key(b"llama.context_length", 6, struct.pack("<f", float("nan"))) + PAD,
        header(keys=1) + key(b"llama.context_length", 12, struct.pack("<d", float("inf"))) + PAD,
        header(keys=1) + key(b"llama.context_length", 5, struct.pack("<i", -1)) + PAD,
    ],
)
def test_facts_of_such_a_file_are_refused_too(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(NotGGUFError, match="incomplete or damaged"):
        read_facts(path)


@pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing()))
@pytest.mark.parametrize("name", ["an offset that overflows", "numbers without end", "big endian"])
async def test_the_engine_says_why_and_ends_by_itself(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(HOSTILE[name])
    engine = llama_cpp.create(EngineSpec("hostile", str(path)), tmp_path)
    with pytest.raises(
        EngineFailed, match=r"corrupted or incomplete|incomplete or damaged"
    ) as failed:
        await engine.start()
    assert "exit status 1" in failed.value.message
    assert "killed by" not in failed.value.message


def valid(path: Path) -> bytes:
    facts: dict[str, gguf.Value] = {
        "general.architecture": "llama",
        "llama.context_length": 512,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.tokens": ["a", "bc", "扬"],
        "tokenizer.ggml.token_type": [1, 2, 3],
    }
    tensors = [gguf.Tensor(name, (2, 32), "F32", lambda: bytes(256)) for name in ("t", "u")]
    gguf.write(path, facts, tensors)
    return path.read_bytes()


def test_a_good_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    content = valid(path)
    check(path)
    for length in range(0, len(content) - 32, 7):
        path.write_bytes(content[:length])
        with pytest.raises(NotGGUFError):
            check(path)


def test_the_real_model_passes(smollm2_path: Path) -> None:
    check(smollm2_path)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 450), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_no_change_of_bytes_leads_to_anything_but_a_verdict(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path / "m.gguf"
    content = bytearray(valid(path))
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    verdicts: tuple[Callable[[Path], object], ...] = (read_facts, check)
    for verdict in verdicts:
        try:
            verdict(path)
        except NotGGUFError as refused:
            assert str(path) in str(refused)  # noqa: PT017 - a pass is a verdict, too
