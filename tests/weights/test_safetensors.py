"""Reading safetensors, hostile files included."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from yangfan.errors import ConfigurationError
from yangfan.weights.safetensors import SafetensorsFile

GOOD = {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}
DATA = struct.pack("<2f", 1.5, -2.0)


def write(path: Path, header: Any, data: bytes = DATA) -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


def test_tensors_are_found_and_read(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": GOOD,
        "empty": {**GOOD, "shape": [0], "data_offsets": [8, 8]},
    }
    file = SafetensorsFile(write(tmp_path / "m", header))
    assert sorted(file.tensors) == ["a", "empty"]
    assert file.tensors["a"].shape == (2, 1)
    assert file.read("a") == DATA
    assert file.read("empty") == b""


@pytest.mark.parametrize(
    "tensor",
    [
        {**GOOD, "data_offsets": [0, 9]},
        {**GOOD, "data_offsets": [-8, 0]},
        {**GOOD, "data_offsets": [8, 0]},
        {**GOOD, "data_offsets": [8, 16]},
        {**GOOD, "data_offsets": [2**70, 2**70]},
        {**GOOD, "shape": [3]},
        {**GOOD, "shape": [-1, -2]},
        {**GOOD, "shape": [2**62, 2**62]},
        {**GOOD, "dtype": "Q4"},
        {**GOOD, "shape": "2"},
        {"dtype": "F32"},
        7,
    ],
)
def test_a_tensor_that_cannot_be_there_is_refused(tmp_path: Path, tensor: Any) -> None:
    with pytest.raises(ConfigurationError, match="get it again"):
        SafetensorsFile(write(tmp_path / "m", {"a": tensor}))


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"null", b'{"a":', b"\xff\xfe", b"[" * 5000])
def test_a_header_that_is_none_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(ConfigurationError, match="get it again"):
        SafetensorsFile(write(tmp_path / "m", header))


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**63, 2**64 - 1])
def test_a_length_that_is_absurd_is_no_gigantic_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "m"
    path.write_bytes(struct.pack("<Q", length) + b"{}" + DATA)
    with pytest.raises(ConfigurationError, match="no whole safetensors file"):
        SafetensorsFile(path)
