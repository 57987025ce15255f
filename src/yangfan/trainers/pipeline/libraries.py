"""The heavy libraries, loaded where a trainer runs and nowhere else, and told to be quiet and to stay at home."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from yangfan.errors import ConfigurationError

NAMES = ("torch", "transformers", "peft", "safetensors", "accelerate")

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TRL_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTHONHASHSEED": "0",
}
"""Environment of a trainer. The workspace makes matrix products on a GPU the same each time (CUDA's cuBLAS manual, "Results
Reproducibility")."""

_BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def missing() -> str | None:
    """None if the libraries are installed, otherwise how to install them."""
    if any(importlib.util.find_spec(name) is None for name in NAMES):
        return 'pip install "yangfan[tuning]" (brings torch==2.13.0; for a GPU, install its torch build first)'
    return None


def require() -> None:
    """Check that the libraries are there.

    Raises:
        ConfigurationError: They are not.
    """
    advice = missing()
    if advice is not None:
        raise ConfigurationError(f"training needs libraries that are not installed here: {advice}")


def torch() -> Any:
    """PyTorch."""
    return importlib.import_module("torch")


def usable_cpus() -> int:
    """Processor threads that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> int:
    """GPUs that this process may use; PyTorch is loaded to count them only where the system knows of some."""
    if not any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return 0
    cuda = torch().cuda
    return cuda.device_count() if cuda.is_available() else 0


def device(rank: int) -> str:
    """Where to compute: the GPU of this process, or the processor."""
    cuda = torch().cuda
    return f"cuda:{rank % cuda.device_count()}" if cuda.is_available() else "cpu"


def computes_in_bfloat16(where: str) -> bool:
    """Whether a device computes in bfloat16 rather than imitating it."""
    if where != "cpu":
        return bool(torch().cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return False
    return any(flag in flags for flag in _BF16_FLAGS)
