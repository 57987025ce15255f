"""What the parent tells the child, and what the child tells it back."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.engines.wire.engine import Ready
from yangfan.engines.wire.types import Prompt

MAX_TEMPLATE_CHARACTERS = 65_536


class TransformersOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What `EngineSpec.options` may hold; the engine's docstring explains each."""

    dtype: str = "auto"
    device: str = "auto"
    kv_tokens: int = 32768
    default_output_tokens: int = 1024
    prefill_tokens: int = 256
    batch_tokens: int = 8192
    max_pixels: int = 16_777_216
    template_seconds: float = 2.0
    chat_template: Annotated[str, Meta(max_length=MAX_TEMPLATE_CHARACTERS)] | None = None


class TransformersConfig(TransformersOptions, kw_only=True):
    """The line that the child reads."""

    api_key: str
    model: str
    path: str
    kind: str
    context_tokens: int | None
    slots: int
    threads: int


class TransformersReady(Ready):
    """The child's ready line, with whether the chat template renders tools."""

    template_has_tools: bool = False


class CountedPrompt(Prompt):
    """Reply of POST /apply-template: the prompt, and how many tokens the model reads for it."""

    count: int = 0
