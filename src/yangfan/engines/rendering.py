"""From a conversation to the text of its prompt: the model's own chat template, rendered under a time limit.

The transformers engine serves with it and the trainers learn with it, so what was learnt is what is served.
"""

from __future__ import annotations

import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any

from yangfan.engines.wire.types import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from yangfan.engines.wire.types import ToolSpec

MAX_PROMPT_CHARACTERS = 16 * 1024 * 1024
"""Longest prompt that a template may render to."""


class ChatTemplate:
    """Renders conversations for one model; one without a template gets plain ``User: …`` lines.

    Args:
        renderer: A tokenizer or processor of the library, with `chat_template` and `apply_chat_template`.
        in_parts: Whether it expects contents in parts, as templates of models with eyes do.
        seconds: How long a conversation may take.

    Attributes:
        exists: Whether the model brings a template.
        has_tools: Whether the template renders tools.
    """

    def __init__(self, renderer: Any, *, in_parts: bool = False, seconds: float = 2.0) -> None:
        self._renderer = renderer
        self._in_parts = in_parts
        self._seconds = seconds
        template: Any = renderer.chat_template
        self.exists = bool(template)
        self.has_tools = "tools" in str(template or "")

    def render(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec] | None = None,
        variables: dict[str, Any] | None = None,
        *,
        to_be_answered: bool = True,
    ) -> str:
        """The text of a conversation.

        Args:
            messages: Its turns.
            tools: What the model may call.
            variables: What the template may ask for besides.
            to_be_answered: End where the model is to go on; otherwise behind the last turn.

        Raises:
            ValueError: The template refuses it, or takes too long.
        """
        spoken = [self._message(message) for message in messages]
        if not self.exists:
            lines = [f"{turn['role'].capitalize()}: {turn['content']}\n" for turn in spoken]
            return "".join([*lines, "Assistant:"] if to_be_answered else lines)
        described = [
            {
                "type": "function",
                "function": {
                    "name": tool.function.name,
                    "description": tool.function.description,
                    "parameters": dict(tool.function.parameters or {}),
                },
            }
            for tool in tools or ()
        ]
        try:
            with _time_limit(self._seconds):
                prompt = self._renderer.apply_chat_template(
                    spoken,
                    tools=described or None,
                    add_generation_prompt=to_be_answered,
                    tokenize=False,
                    **(variables or {}),
                )
        except TimeoutError:
            raise ValueError(
                f"the model's chat template did not end within {self._seconds:g} s; send fewer or shorter messages"
            ) from None
        except Exception as error:  # a template may fail in any way that Python can
            raise ValueError(
                f"the model's chat template refuses these messages: {error}"
            ) from error
        if not isinstance(prompt, str) or len(prompt) > MAX_PROMPT_CHARACTERS:
            raise ValueError("the model's chat template made no prompt of a sensible length")
        return prompt

    def said(self, messages: Sequence[ChatMessage], answer: str) -> str:
        """The text of an answer as it stands behind the prompt of a conversation, with what ends it.

        Raises:
            ValueError: The template refuses it, or takes too long.
        """
        prompt = self.render(messages)
        whole = self.render([*messages, ChatMessage("assistant", answer)], to_be_answered=False)
        return whole[len(prompt) :] if whole.startswith(prompt) else answer

    def _message(self, message: ChatMessage) -> dict[str, Any]:
        turn: dict[str, Any] = {"role": message.role, "content": self._content(message)}
        if message.name is not None:
            turn["name"] = message.name
        if message.tool_call_id is not None:
            turn["tool_call_id"] = message.tool_call_id
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "type": "function",
                    "id": call.id,
                    "function": {
                        "name": call.function.name,
                        "arguments": _arguments(call.function.arguments),
                    },
                }
                for call in message.tool_calls
            ]
        return turn

    def _content(self, message: ChatMessage) -> Any:
        if message.content is None or isinstance(message.content, str):
            text = message.content or ""
            # Templates of models with eyes expect parts everywhere.
            return [{"type": "text", "text": text}] if self._in_parts else text
        if self._in_parts:
            return [
                {"type": "image"}
                if part.image_url is not None
                else {"type": "text", "text": part.text or ""}
                for part in message.content
            ]
        if any(part.image_url is not None for part in message.content):
            raise ValueError("this model does not take images; send text only")
        return "".join(part.text or "" for part in message.content)


def _arguments(text: str | None) -> Any:
    """Templates of the library expect the object, not its text."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


@contextlib.contextmanager
def _time_limit(seconds: float) -> Generator[None]:
    """Raise TimeoutError in the main thread after `seconds`, where the system has an alarm for that."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
