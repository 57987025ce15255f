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
MODELS: dict[str, dict[str, Any]] = {
    "Llama": {"tie_word_embeddings": True},
    "Llama-3": {"rope_parameters": LLAMA_3},
    "Mistral": {"head_dim": 32, "sliding_window": None},
    "Qwen2": {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}},
    "Qwen3": {"head_dim": 32},
    "Ernie4_5": {"head_dim": 16, "tie_word_embeddings": True},
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
        kind = name.partition("-")[0]
        config = getattr(known, f"{kind}Config")(**{**SIZES, **fields})
        model = getattr(known, f"{kind}ForCausalLM")(config).eval()
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
