"""Load a model from a folder: its own files only, safetensors only, no code of its own, no network."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yangfan.engines._transformers.config import TransformersConfig

_CLASSES = {
    "chat": "AutoModelForCausalLM",
    "vision": "AutoModelForImageTextToText",
    "embeddings": "AutoModel",
    "rerank": "AutoModelForSequenceClassification",
}
_BF16_FLAGS = ("amx_bf16", "avx512_bf16")


class Loaded:
    """A model that can compute, and what turns its input into numbers.

    Attributes:
        model: The network, in evaluation mode.
        tokenizer: Its tokenizer.
        processor: What prepares pictures; None for models that read none.
        device: Where it computes.
        vocabulary: How many rows its table of tokens has: every id must be below.
        context_tokens: The most tokens it takes; None where the model does not say.
    """

    def __init__(self, config: TransformersConfig) -> None:
        """Read the folder.

        Raises:
            OSError, ValueError, ImportError, RuntimeError: It cannot be loaded; the message is the library's.
        """
        hub: Any = importlib.import_module("huggingface_hub.constants")
        hub.HF_HUB_OFFLINE = hub.HF_HUB_DISABLE_TELEMETRY = True  # before anything else reads them
        torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
        transformers.utils.logging.disable_progress_bar()
        torch.set_num_threads(config.threads)
        torch.set_grad_enabled(mode=False)
        self.device = _device(torch, config.device)
        safe = {"local_files_only": True, "trust_remote_code": False}
        self.processor: Any = None
        if config.kind == "vision":
            self.processor = transformers.AutoProcessor.from_pretrained(config.path, **safe)
            self.tokenizer: Any = self.processor.tokenizer
        else:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(config.path, **safe)
        model_class = getattr(transformers, _CLASSES[config.kind])
        known = {
            **safe,
            "use_safetensors": True,
            "dtype": _dtype(torch, config, self.device),
        }
        if self.device != "cpu":
            known["device_map"] = {"": self.device}
        try:
            self.model: Any = model_class.from_pretrained(
                config.path, attn_implementation="sdpa", **known
            )
        except ValueError as error:
            if "attention" not in str(error):
                raise
            self.model = model_class.from_pretrained(
                config.path, attn_implementation="eager", **known
            )
        self.model.eval()
        self.vocabulary: int = self.model.get_input_embeddings().weight.shape[0]
        self.context_tokens = _context_tokens(self.model.config, self.tokenizer)

    def require_known(self, ids: list[int]) -> None:
        """Refuse tokens that the model has no row for: in a batch they would end every other request, too.

        Raises:
            ValueError: One is.
        """
        if ids and not (min(ids) >= 0 and max(ids) < self.vocabulary):
            raise ValueError(
                f"the model has no token {max(ids) if max(ids) >= self.vocabulary else min(ids)}; "
                f"its tokens are 0 to {self.vocabulary - 1}"
            )


def _device(torch: Any, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _dtype(torch: Any, config: TransformersConfig, device: str) -> Any:
    if config.dtype != "auto":
        found = getattr(torch, config.dtype, None)
        if not isinstance(found, torch.dtype):
            raise ValueError(f"there is no dtype {config.dtype!r}; try bfloat16, float16, float32")
        return found
    if device != "cpu":
        return torch.bfloat16
    if config.kind in {"chat", "vision"} and _cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return False
    return any(flag in flags for flag in _BF16_FLAGS)


def _context_tokens(config: Any, tokenizer: Any) -> int | None:
    text_config = config.get_text_config()
    known = [
        value
        for value in (
            getattr(text_config, "max_position_embeddings", None),
            getattr(text_config, "n_positions", None),
            getattr(tokenizer, "model_max_length", None),
        )
        if isinstance(value, int) and 0 < value < 2**31
    ]
    return min(known, default=None)
