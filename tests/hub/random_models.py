"""Write random models of a few thousand weights with Transformers, and what it computes for some tokens: `python random_models.py FOLDER`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": 300,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 10_000.0,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 1.0,
    "short_factor": [1.0 + number / 8 for number in range(8)],
    "long_factor": [1.5 + number for number in range(8)],
}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
MODELS: dict[str, dict[str, Any]] = {
    "Llama": {"tie_word_embeddings": True},
    "Llama-3": {"rope_parameters": LLAMA_3},
    "Mistral": {"head_dim": 32, "sliding_window": None},
    "Qwen2": {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}},
    "Qwen3": {"head_dim": 32},
    "Ernie4_5": {"head_dim": 16, "tie_word_embeddings": True},
    "Ernie4_5_Moe": {
        "moe_intermediate_size": 32,
        "moe_num_experts": 4,
        "moe_k": 2,
        "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1,
        "tie_word_embeddings": True,
    },
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "Qwen2Moe": {
        **EXPERTS,
        "shared_expert_intermediate_size": 96,
        "qkv_bias": True,
    },
    "Qwen3Moe": {**EXPERTS, "head_dim": 32, "norm_topk_prob": True},
    "Gemma": {"head_dim": 32},
    "Gemma2": {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16},
    "Gemma3": {
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "num_hidden_layers": 6,
        "sliding_window": 16,
    },
    "Phi-mini": {"sliding_window": None, "pad_token_id": 0},
    "Phi-long": {
        "pad_token_id": 0,
        "max_position_embeddings": 128,
        "original_max_position_embeddings": 32,
        "rope_parameters": LONG,
    },
    "Glm": {"head_dim": 16, "pad_token_id": 0},
    "Glm4": {"head_dim": 16, "pad_token_id": 0, "attention_bias": True},
    "SmolLM3": {"num_hidden_layers": 4, "pad_token_id": 0},
    "Granite": {
        "attention_multiplier": 0.3,
        "embedding_multiplier": 2.0,
        "residual_multiplier": 0.7,
        "logits_scaling": 1.5,
    },
    "InternLM2": {},
    "Olmo2": {"pad_token_id": 0},
    "HunYuanDenseV1": {"head_dim": 16, "pad_token_id": 0},
    "SeedOss": {"head_dim": 16, "pad_token_id": 0},
}
CLASSES = {
    "InternLM2": "Llama",
    "Gemma3": "Gemma3Text",
    # llama.cpp asks for tokens of Phi-3's own tokenizer where a model's name has phi3 in it.
    "Phi-mini": "Phi3",
    "Phi-long": "Phi3",
}
TOKENS = [0, *((number * 37) % 290 + 5 for number in range(63))]


def main(folder: Path) -> None:
    """Write every model below a folder, with the scores of `TOKENS` beside it."""
    torch: Any = importlib.import_module("torch")
    known: Any = importlib.import_module("transformers")
    tokenizers: Any = importlib.import_module("tokenizers")
    torch.manual_seed(7)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["a rabbit, a watch, and a very deep well; the cat"] * 20, trainer
    )
    for name, fields in MODELS.items():
        model = made(known, name, fields)
        for parameter in model.parameters():
            # As they are made, weights hardly change what passes through; these do.
            torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.12)
        model.save_pretrained(folder / name)
        known.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
        ).save_pretrained(folder / name)
        with torch.no_grad():
            logits = model(torch.tensor([TOKENS])).logits[0].log_softmax(-1)
        scores = [float(logits[place, TOKENS[place + 1]]) for place in range(32, 63)]
        (folder / name / "scores.json").write_text(json.dumps(scores))
        if name == "InternLM2":
            as_internlm2(folder / name)


def class_of(name: str) -> str:
    """The class that config.json names."""
    if name == "InternLM2":
        return "InternLM2ForCausalLM"
    kind = CLASSES.get(name, name.partition("-")[0])
    return f"{kind.removesuffix('Text')}ForCausalLM"


def made(known: Any, name: str, fields: dict[str, Any]) -> Any:
    """A model of the class that the name begins with, its weights as they come."""
    kind = CLASSES.get(name, name.partition("-")[0])
    config = getattr(known, f"{kind}Config")(**{**SIZES, **fields})
    return getattr(known, f"{kind.removesuffix('Text')}ForCausalLM")(config).eval()


INTERNLM2 = {
    "model.embed_tokens": "model.tok_embeddings",
    "lm_head": "output",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}


def as_internlm2(folder: Path) -> None:
    """Write a Llama as InternLM2 writes it: it computes the same, and Transformers has no class for it.

    The names and the groups of `wqkv` are those of
    https://huggingface.co/internlm/internlm2-chat-7b/blob/main/modeling_internlm2.py.
    """
    torch: Any = importlib.import_module("torch")
    files: Any = importlib.import_module("safetensors.torch")
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2"}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = files.load_file(folder / "model.safetensors")
    size, groups = config["head_dim"], config["num_key_value_heads"]
    for block in range(config["num_hidden_layers"]):
        begin = f"model.layers.{block}."
        parts = [
            tensors.pop(f"{begin}self_attn.{part}_proj.weight").reshape(groups, -1, size, 64)
            for part in "qkv"
        ]
        tensors[f"{begin}attention.wqkv.weight"] = torch.cat(parts, 1).reshape(-1, 64)
    renamed: dict[str, Any] = {}
    for name, tensor in tensors.items():
        for theirs, ours in INTERNLM2.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor.contiguous()
    files.save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
