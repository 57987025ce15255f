"""Model folders and files of a few kilobytes, made of numbers alone: enough for everything that reads headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from yangfan.weights import gguf

ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}


def write_safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """A safetensors file whose numbers are all alike."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, (dtype, shape) in tensors.items():
        size = ITEM_BYTES[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes([60, 61] * (position // 2)))


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "vocab_size": 10,
    "eos_token_id": 9,
}


def llama_tensors(config: dict[str, Any] = LLAMA) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name, type and shape of every tensor of a small Llama."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    shared = width // config["num_attention_heads"] * config["num_key_value_heads"]
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        "model.embed_tokens.weight": ("BF16", (config["vocab_size"], width)),
        "model.norm.weight": ("BF16", (width,)),
    }
    for layer in range(config["num_hidden_layers"]):
        for name, shape in {
            "input_layernorm": (width,),
            "post_attention_layernorm": (width,),
            "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (shared, width),
            "self_attn.v_proj": (shared, width),
            "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (inner, width),
            "mlp.up_proj": (inner, width),
            "mlp.down_proj": (width, inner),
        }.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = ("BF16", shape)
    return tensors


def llama_folder(folder: Path) -> Path:
    """A Hugging Face folder of a Llama that knows nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "{{ messages[0].content }}", "eos_token": "<end>"})
    )
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "model": {
                    "type": "BPE",
                    "vocab": {letter: number for number, letter in enumerate("abcdefgh")}
                    | {"ab": 8},
                    "merges": ["a b"],
                },
                "added_tokens": [{"id": 9, "content": "<end>", "special": True}],
                "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
            }
        )
    )
    (folder / "README.md").write_text("---\nlanguage: zh\nlicense: apache-2.0\n---\n# A model\n")
    write_safetensors(folder / "model.safetensors", llama_tensors())
    return folder


def gguf_file(path: Path, **more: gguf.Value) -> Path:
    """A GGUF file of a Llama that knows nothing."""
    facts: dict[str, gguf.Value] = {
        "general.architecture": "llama",
        "general.file_type": 1,
        "general.license": "mit",
        "llama.context_length": 128,
        "llama.block_count": 2,
        "llama.embedding_length": 32,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b"],
        "tokenizer.chat_template": "{{ messages }}",
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    tensors = [
        gguf.Tensor("token_embd.weight", (2, 32), "F16", lambda: bytes(128)),
        gguf.Tensor("output_norm.weight", (32,), "F32", lambda: bytes(128)),
    ]
    gguf.write(path, facts, tensors)
    return path
