"""Token ids in v2 bodies, OpenAI's alternative to text."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

TokenId: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""A place in the vocabulary of the model that is asked."""

TokenIds: TypeAlias = Annotated[list[TokenId], Meta(min_length=1)]
