"""What a lenient server or key lets pass in v1: system turns, and turns of one role side by side (see the setting `lenient`).

They are put right before the rules of specification B.3 are checked, so everything else is refused as ever: above all a
conversation that ends with the assistant, which leaves nothing to answer.
"""

from __future__ import annotations

import msgspec

from yangfan.protocol.v1.chat import ChatRequest, ContentPart, Message

_SYSTEM = frozenset({"system", "developer"})
_JOINED = frozenset({"user", "assistant"})


def put_right(wire: ChatRequest) -> ChatRequest:
    """The request with its system turns in `system` and its neighbours of one role as one turn, joined by line feeds."""
    personas = [wire.system] if wire.system else []
    turns: list[Message] = []
    for message in wire.messages or ():
        if message.role in _SYSTEM:
            personas.append(_text(message.content))
        elif turns and _belong_together(turns[-1], message):
            turns[-1] = msgspec.structs.replace(
                turns[-1], content=_joined(turns[-1].content, message.content)
            )
        else:
            turns.append(message)
    system = "\n".join(filter(None, personas)) or wire.system
    return msgspec.structs.replace(wire, messages=turns, system=system)


def _belong_together(first: Message, second: Message) -> bool:
    calls = first.function_call is not None or second.function_call is not None
    return first.role == second.role and first.role in _JOINED and not calls


def _joined(
    first: str | list[ContentPart] | None, second: str | list[ContentPart] | None
) -> str | list[ContentPart] | None:
    if isinstance(first, list) or isinstance(second, list):
        return [*_parts(first), *_parts(second)]
    return "\n".join(filter(None, (first, second)))


def _parts(content: str | list[ContentPart] | None) -> list[ContentPart]:
    if isinstance(content, list):
        return content
    return [ContentPart("text", text=content)] if content else []


def _text(content: str | list[ContentPart] | None) -> str:
    return "\n".join(part.text for part in _parts(content) if part.text)
