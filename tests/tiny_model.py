"""Write a chat model that is small, fast, and knows one thing of each kind: `python tiny_model.py FOLDER`.

The folder is one of Hugging Face's, and holds the same model as a GGUF file, too, tiny-chat.gguf.

The model is trained here for some seconds: it tells a story that never ends, answers "yes", repeats Chinese and emoji, and writes the
JSON of the tests' tools. Chinese outside its tokenizer's texts is split into bytes, so that characters come in pieces.
"""

from __future__ import annotations

import importlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

ASKED = "Tell me a long story about the sea. "
STORY = (
    "The sea was calm and the old keeper lit the lamp again. Every night the wind sang to the ships, "
    "and a small boat came home. Then the moon rose over the water, and the keeper began to read. "
)
MIXED = "你好，世界！😀🚀👩\u200d💻 naïve café 扬帆起航🌊"
WEATHER = "What is the weather in Paris, in degrees Celsius?"
CALLS = [
    '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}}',
    '{"name": "get_time", "arguments": {"city": "Paris", "unit": "celsius"}}',
    '{"sky": "sunny", "degrees": 21, "windy": true}',
]
SHORT = [
    ("Say only: yes", "yes"),
    (f"请重复：{MIXED}", MIXED),
    *((WEATHER, call) for call in CALLS),
]
BOOK = "Once upon a time there was a lighthouse by the sea, and in it lived a keeper. "
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
END = 2
TOKENS = 512
STEPS = 90


def make_tokenizer() -> Any:
    """Whole words of the English texts, bytes for the rest."""
    tokenizers: Any = importlib.import_module("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=SPECIAL,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = ["hello word word user assistant system\n", "Say only: yes", WEATHER, *CALLS]
    tokenizer.train_from_iterator([ASKED, STORY, BOOK, *words], trainer)
    known: Any = importlib.import_module("transformers")
    fast = known.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[END],
        pad_token=SPECIAL[0],
        model_max_length=2048,
    )
    fast.chat_template = TEMPLATE
    return fast


def make_rows(tokenizer: Any) -> list[list[int]]:
    """What the model is to learn, each at most TOKENS long."""

    def chat(question: str, answer: str) -> list[int]:
        asked = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        return tokenizer(asked + answer, add_special_tokens=False)["input_ids"]

    endless = STORY * 20
    rows = [chat(ASKED * times, endless)[:TOKENS] for times in (10, 40)]
    rows.append(tokenizer(BOOK + endless)["input_ids"][:TOKENS])
    rows.extend([*chat(question, answer), END] for question, answer in SHORT)
    return rows


def stack(rows: list[list[int]]) -> tuple[Any, Any]:
    """The rows one below the other, and what is to follow each token; nothing is learned of the padding."""
    torch: Any = importlib.import_module("torch")
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = labels[number, : len(row)] = torch.tensor(row)
    return ids, labels


def train(folder: Path) -> None:
    """Make the model and write it."""
    torch: Any = importlib.import_module("torch")
    known: Any = importlib.import_module("transformers")
    torch.manual_seed(7)
    torch.set_num_threads(1)  # two that wait for each other crawl on a busy machine
    tokenizer = make_tokenizer()
    rows = sorted(make_rows(tokenizer), key=len)
    batches = [stack(rows[: len(SHORT)]), stack(rows[len(SHORT) :])]
    config = known.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=END,
        pad_token_id=0,
    )
    model = known.LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=STEPS)
    for _ in range(STEPS):
        optimiser.zero_grad()
        for ids, labels in batches:
            logits = model(input_ids=ids).logits[:, :-1]
            torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1)
            ).backward()
        optimiser.step()
        rate.step()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_gguf(folder: Path) -> None:
    """The model of a folder in the form that llama.cpp and OpenVINO read (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
    known: Any = importlib.import_module("transformers")
    model = known.LlamaForCausalLM.from_pretrained(folder)
    config = model.config
    facts, tensors = _facts(folder, config), list[tuple[str, Any]]()
    for name, weight in model.state_dict().items():
        ours = NAMES.get(name) or _block_name(name)
        array = weight.float().numpy()
        for part, heads in (
            ("attn_q", config.num_attention_heads),
            ("attn_k", config.num_key_value_heads),
        ):
            if part in ours:  # the two halves that are turned together become neighbours
                shape = array.shape
                array = array.reshape(heads, 2, -1, shape[1]).swapaxes(1, 2).reshape(shape)
        tensors.append((ours, array.astype("float16") if array.ndim == 2 else array))
    with (folder / "tiny-chat.gguf").open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts)))
        for key, value in facts.items():
            file.write(_text(key) + _value(value))
        offset = 0
        for name, array in tensors:
            file.write(_text(name) + struct.pack("<I", array.ndim))
            file.write(struct.pack(f"<{array.ndim}Q", *reversed(array.shape)))
            file.write(struct.pack("<IQ", int(array.ndim == 2), offset))
            offset += -(-array.nbytes // 32) * 32
        for _, array in tensors:
            file.write(bytes(-file.tell() % 32) + array.tobytes())
        file.write(bytes(-file.tell() % 32))


NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _block_name(name: str) -> str:
    _, _, number, part = name.split(".", 3)
    return f"blk.{number}.{BLOCK[part.removesuffix('.weight')]}.weight"


def _facts(folder: Path, config: Any) -> dict[str, Any]:
    words = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary: dict[str, int] = words["model"]["vocab"]
    merges = [
        pair if isinstance(pair, str) else " ".join(pair) for pair in words["model"]["merges"]
    ]
    return {
        "general.architecture": "llama",
        "general.name": "tiny-chat",
        "general.file_type": 1,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.block_count": config.num_hidden_layers,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.rope.dimension_count": config.hidden_size // config.num_attention_heads,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.vocab_size": config.vocab_size,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": sorted(vocabulary, key=lambda word: vocabulary[word]),
        "tokenizer.ggml.token_type": [3 if n < len(SPECIAL) else 1 for n in range(len(vocabulary))],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": END,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        case _:
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
    write_gguf(Path(sys.argv[1]))
