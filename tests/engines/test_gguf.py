import struct
from pathlib import Path

import pytest

from yangfan.engines._gguf import NotGGUFError, read_facts


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def write(path: Path, *entries: bytes) -> Path:
    """A GGUF header (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) with these key-value pairs."""
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries))
    return path


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")
TOKENS = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("扬帆")
SCORES = text("tokenizer.ggml.scores") + struct.pack("<IIQff", 9, 6, 2, 0.5, 1.5)
FLAG = text("tokenizer.ggml.add_bos_token") + struct.pack("<I?", 7, True)
CONTEXT = text("llama.context_length") + struct.pack("<II", 4, 8192)


def test_the_context_length_is_found_behind_values_of_every_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", ARCHITECTURE, TOKENS, SCORES, FLAG, CONTEXT)
    facts = read_facts(path)
    assert (facts.architecture, facts.context_tokens, facts.kind) == ("llama", 8192, "chat")


def test_a_file_without_a_context_length_says_nothing(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path / "m.gguf", ARCHITECTURE, FLAG))
    assert facts.context_tokens is None
    assert read_facts(write(tmp_path / "m.gguf")).architecture == ""


def test_the_real_model_says_8192(smollm2_path: Path) -> None:
    facts = read_facts(smollm2_path)
    assert (facts.context_tokens, facts.kind) == (8192, "chat")


@pytest.mark.parametrize(
    ("architecture", "pooling", "kind"),
    [
        ("llama", None, "chat"),
        ("qwen3", 0, "chat"),
        ("qwen3", 3, "embeddings"),
        ("qwen3", 4, "rerank"),
        ("bert", None, "embeddings"),
        ("bert", 1, "embeddings"),
        ("bert", 4, "rerank"),
        ("nomic-bert-moe", None, "embeddings"),
    ],
)
def test_architecture_and_pooling_decide_what_a_model_can_be_asked_for(
    tmp_path: Path, architecture: str, pooling: int | None, kind: str
) -> None:
    entries = [text("general.architecture") + struct.pack("<I", 8) + text(architecture), CONTEXT]
    if pooling is not None:
        entries.append(text(f"{architecture}.pooling_type") + struct.pack("<II", 4, pooling))
    path = write(tmp_path / "m.gguf", *entries, TOKENS)
    assert read_facts(path).kind == kind


def test_reading_ends_where_the_vocabulary_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", ARCHITECTURE, CONTEXT, TOKENS)
    path.write_bytes(path.read_bytes()[:-3])
    assert read_facts(path).context_tokens == 8192


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04", b"{}" * 100])
def test_other_files_are_not_gguf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(NotGGUFError, match="not a GGUF model file"):
        read_facts(path)


def test_every_cut_of_a_header_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", ARCHITECTURE, TOKENS, CONTEXT)
    whole = path.read_bytes()
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(NotGGUFError, match="incomplete or damaged"):
            read_facts(path)


def test_an_absurd_length_is_damage_and_not_a_gigantic_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", struct.pack("<Q", 2**60))
    with pytest.raises(NotGGUFError, match="incomplete or damaged"):
        read_facts(path)
