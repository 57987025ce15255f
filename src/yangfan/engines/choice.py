"""Which engine runs a model: each engine file says which formats it reads, and whether it can run on this machine."""

from __future__ import annotations

from typing import NamedTuple

from yangfan import extensions

ENGINES = "yangfan.engines"


class Choice(NamedTuple):
    """The engine for a model, None if none can run it here, and why."""

    engine: str | None
    reason: str


def choose(model_format: str) -> Choice:
    """The first engine, by name, that reads `model_format` (``"gguf"``, ``"safetensors"``) and can run here."""
    refused: list[str] = []
    names = extensions.names(ENGINES)
    for name in names:
        try:
            module = extensions.load(ENGINES, name)
        except ImportError:
            refused.append(f'{name}: pip install "yangfan[server]"')
            continue
        if model_format not in module.FORMATS:
            continue
        missing: str | None = module.missing()
        if missing is None:
            return Choice(name, f"it runs {model_format} models, and its library is installed")
        refused.append(f"{name}: {missing}")
    if refused:
        return Choice(
            None, f"no engine for {model_format} models can run here yet. {'; '.join(refused)}"
        )
    return Choice(None, f"no engine runs {model_format} models yet; there are: {', '.join(names)}")
