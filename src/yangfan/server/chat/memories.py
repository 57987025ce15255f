"""Which memories a call of either dialect asks for, and where their words go (specification B.3, D.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from yangfan.engines.base import Message, Part
from yangfan.errors import Invalid
from yangfan.protocol.v1 import chat as v1

if TYPE_CHECKING:
    from yangfan.engines.base import ChatRequest
    from yangfan.protocol.v2 import chat as v2


class Wanted(NamedTuple):
    """A memory that a call asks for, and the field that names it."""

    kind: Literal["system", "user"]
    id: str
    param: str
    level: int | None = None
    """How much of a user memory to recall; None for the default."""


def memories_of(wire: v1.ChatRequest | v2.ChatRequest) -> tuple[Wanted, ...]:
    """The memories that are enabled, the system's first.

    Raises:
        Invalid: One is enabled and not named.
    """
    found: list[Wanted] = []
    if wire.enable_system_memory:
        found.append(Wanted("system", wire.system_memory_id or "", "system_memory_id"))
    if wire.enable_user_memory:
        user = wire.user_id if isinstance(wire, v1.ChatRequest) else wire.user
        named = wire.user_memory_id or (user if user and user.startswith("um-") else "")
        found.append(Wanted("user", named, "user_memory_id", wire.user_memory_level))
    for wanted in found:
        if not wanted.id:
            raise Invalid(
                f"{wanted.param} is required when enable_{wanted.kind}_memory is true;"
                " `yangfan memory list` shows the ids",
                param=wanted.param,
            )
    return tuple(found)


def question_of(request: ChatRequest) -> str:
    """What the user says last: what a memory is to be recalled for."""
    content = next((said.content for said in reversed(request.messages) if said.role == "user"), "")
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text or "" for part in content)


def told(request: ChatRequest, words: str) -> ChatRequest:
    """The request with words in front: before the system message, or as one."""
    if not words:
        return request
    first = request.messages[0]
    if first.role != "system":
        return msgspec.structs.replace(
            request, messages=(Message("system", words), *request.messages)
        )
    content = first.content
    joined = (
        f"{words}\n\n{content or ''}".rstrip()
        if content is None or isinstance(content, str)
        else (Part(text=f"{words}\n\n"), *content)
    )
    own = msgspec.structs.replace(first, content=joined)
    return msgspec.structs.replace(request, messages=(own, *request.messages[1:]))
