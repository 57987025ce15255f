"""What is known of a model before it runs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.engines.base import EngineSpec

AtLeastOne = Annotated[int, Meta(ge=1)]


class InputLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one call may bring; None leaves it to the name that was called and to the model.

    Attributes:
        max_inputs: Texts of an embeddings call, documents of a rerank call.
        max_input_chars: Characters of a text to embed, of a document to rank, of a prompt or a conversation.
        max_input_tokens: The same in tokens.
    """

    max_inputs: AtLeastOne | None = None
    max_input_chars: AtLeastOne | None = None
    max_input_tokens: AtLeastOne | None = None


class Plan(msgspec.Struct, frozen=True):
    """A model to serve: the name that calls use, the engine file that runs it, what that is given, and what calls may bring."""

    name: str
    engine: str
    spec: EngineSpec
    limits: InputLimits = InputLimits()
