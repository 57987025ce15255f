"""A soft prompt as tokens: so every engine serves what prompt tuning learnt (arXiv 2104.08691).

Its vectors become rows of the embedding, each under a token of its own, and the chat template puts those tokens before whatever it renders.
So the model reads, number for number, what it read when it learnt. Nothing is to foretell these tokens, so their rows of the output are
zero; a model that reads and writes by one table gets a second one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.models import copy_the_rest, written_dtype

if TYPE_CHECKING:
    from pathlib import Path

_SAFE = {"local_files_only": True, "trust_remote_code": False}
_VECTORS = "prompt_embeddings"
"""What peft calls them in adapter_model.safetensors."""


def write(base: Path, adapter: Path, target: Path) -> None:
    """Write a base and a soft prompt as one model, in the base's own precision.

    Raises:
        ConfigurationError: They cannot be loaded, or the base has no template that could put the prompt before a conversation.
    """
    transformers: Any = importlib.import_module("transformers")
    safetensors: Any = importlib.import_module("safetensors.torch")
    torch = libraries.torch()
    try:
        vectors = safetensors.load_file(str(adapter / "adapter_model.safetensors"))[_VECTORS]
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(base), **_SAFE)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(base), dtype=torch.float32, use_safetensors=True, **_SAFE
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"the soft prompt and its base cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise ConfigurationError(
            "the base has no chat template that could put a soft prompt before a conversation; train with LoRA to publish"
        )
    names = [_name(number) for number in range(len(vectors))]
    special = [transformers.AddedToken(name, special=True, normalized=False) for name in names]
    tokenizer.add_tokens(special, special_tokens=True)
    tokenizer.chat_template = "".join(names) + template
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(names))
    size = max(model.get_input_embeddings().weight.shape[0], len(tokenizer))
    model.resize_token_embeddings(size, mean_resizing=False)
    _untie(model, torch)
    with torch.no_grad():
        model.get_input_embeddings().weight[ids] = vectors.float()
        model.get_output_embeddings().weight[ids] = 0.0
    dtype = written_dtype(base)
    target.mkdir(parents=True, exist_ok=True)
    (model if dtype is None else model.to(dtype)).save_pretrained(str(target))
    copy_the_rest(base, target)
    tokenizer.save_pretrained(str(target))
    for written in target.iterdir():
        written.chmod(0o644)


def token_ids(folder: Path) -> tuple[int, ...]:
    """The tokens of the soft prompt in a folder that `write` made."""
    transformers: Any = importlib.import_module("transformers")
    known = transformers.AutoTokenizer.from_pretrained(str(folder), **_SAFE).get_vocab()
    ids: list[int] = []
    while _name(len(ids)) in known:
        ids.append(known[_name(len(ids))])
    return tuple(ids)


def _name(number: int) -> str:
    return f"<|soft_prompt_{number}|>"


def _untie(model: Any, torch: Any) -> None:
    """Give a model that reads and writes by one table two of them, so that what is only read is never written."""
    if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
        weight = model.get_input_embeddings().weight.detach().clone()
        model.get_output_embeddings().weight = torch.nn.Parameter(weight)
    model.config.tie_word_embeddings = False
