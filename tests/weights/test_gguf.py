"""Written files against the format's own words (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

import struct
from pathlib import Path

import pytest

from yangfan.engines._gguf import Facts, read_facts
from yangfan.weights import gguf


def test_a_file_is_laid_out_as_the_format_says(tmp_path: Path) -> None:
    numbers = struct.pack("<6f", *range(6))
    tensors = [
        gguf.Tensor("ab", (2, 3), "F32", lambda: numbers),
        gguf.Tensor("c", (1,), "F16", lambda: b"\x01\x02"),
    ]
    gguf.write(tmp_path / "m", {"k": 7, "t": "扬"}, tensors)
    data = (tmp_path / "m").read_bytes()
    header = b"GGUF" + struct.pack("<IQQ", 3, 2, 2)
    header += struct.pack("<Q", 1) + b"k" + struct.pack("<II", 4, 7)
    header += struct.pack("<Q", 1) + b"t" + struct.pack("<IQ", 8, 3) + "扬".encode()
    header += struct.pack("<Q", 2) + b"ab" + struct.pack("<IQQIQ", 2, 3, 2, 0, 0)
    header += struct.pack("<Q", 1) + b"c" + struct.pack("<IQIQ", 1, 1, 1, 32)
    start = -(-len(header) // 32) * 32
    assert data[: len(header)] == header
    assert data[start : start + 24] == numbers
    assert data[start + 32 : start + 34] == b"\x01\x02"
    assert len(data) == start + 64


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, struct.pack("<I?", 7, True)),
        (3, struct.pack("<II", 4, 3)),
        (0.5, struct.pack("<If", 6, 0.5)),
        ("a", struct.pack("<IQ", 8, 1) + b"a"),
        ([1, -2], struct.pack("<IIQii", 9, 5, 2, 1, -2)),
        (["a", ""], struct.pack("<IIQQ", 9, 8, 2, 1) + b"a" + struct.pack("<Q", 0)),
    ],
)
def test_every_kind_of_fact_is_written_as_its_type(
    tmp_path: Path, value: gguf.Value, written: bytes
) -> None:
    gguf.write(tmp_path / "m", {"k": value}, [])
    assert (tmp_path / "m").read_bytes()[24 + 9 :].startswith(written)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    facts: dict[str, gguf.Value] = {
        "general.architecture": "bert",
        "bert.context_length": 512,
        "bert.pooling_type": 1,
        "tokenizer.ggml.tokens": ["a", "b"],
    }
    gguf.write(tmp_path / "m", facts, [])
    assert read_facts(tmp_path / "m") == Facts("bert", 512, 1)
