"""From a conversation to the tokens of its prompt: the model's own chat template, rendered under a time limit, and its pictures."""

from __future__ import annotations

import base64
import binascii
import contextlib
import importlib
import io
import json
import signal
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from yangfan.engines._transformers.config import TransformersConfig
    from yangfan.engines._transformers.loading import Loaded
    from yangfan.engines.wire.types import ChatBody, ChatMessage, ToolSpec

MAX_PROMPT_CHARACTERS = 16 * 1024 * 1024
"""Longest prompt that a template may render to."""

THINKING = "<think>"


class Prompts:
    """Renders conversations for one model."""

    def __init__(self, loaded: Loaded, config: TransformersConfig) -> None:
        """Look at what the model's files bring."""
        self._loaded = loaded
        self._max_pixels = config.max_pixels
        self._seconds = config.template_seconds
        self._renderer: Any = loaded.tokenizer
        if loaded.processor is not None and getattr(loaded.processor, "chat_template", None):
            self._renderer = loaded.processor
        template: Any = self._renderer.chat_template
        self._has_template = bool(template)
        self.has_tools = "tools" in str(template or "")

    def render(
        self,
        messages: list[ChatMessage],
        tools: list[ToolSpec] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> str:
        """The prompt of a conversation.

        Raises:
            ValueError: The template refuses it, or takes too long.
        """
        spoken = [self._message(message) for message in messages]
        if not self._has_template:
            lines = [f"{turn['role'].capitalize()}: {turn['content']}\n" for turn in spoken]
            return "".join([*lines, "Assistant:"])
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
                    add_generation_prompt=True,
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

    def tokens(self, text: str, *, special: bool) -> list[int]:
        """The tokens of a text; `special` puts those around it that the model expects around a text."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids: list[int] = self._loaded.tokenizer(text, add_special_tokens=special)["input_ids"]
        self._loaded.require_known(ids)
        return ids

    def chat(self, body: ChatBody) -> tuple[list[int], dict[str, Any] | None, str]:
        """Tokens of a chat's prompt, what to read with it, and the tag that the template opened, if it did."""
        variables = dict(body.chat_template_kwargs or {})
        prompt = self.render(body.messages, body.tools, variables)
        opened = THINKING if prompt.rstrip().endswith(THINKING) else ""
        images = self._pictures(body.messages)
        if not images:
            return self.tokens(prompt, special=not self._has_template), None, opened
        made = self._loaded.processor(text=[prompt], images=images, return_tensors="pt")
        made = made.to(self._loaded.device)
        ids: list[int] = made.pop("input_ids")[0].tolist()
        self._loaded.require_known(ids)
        dtype = self._loaded.model.dtype
        more = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in made.items()
        }
        return ids, more, opened

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
            return text if self._loaded.processor is None else [{"type": "text", "text": text}]
        if self._loaded.processor is not None:
            return [
                {"type": "image"}
                if part.image_url is not None
                else {"type": "text", "text": part.text or ""}
                for part in message.content
            ]
        if any(part.image_url is not None for part in message.content):
            raise ValueError("this model does not take images; send text only")
        return "".join(part.text or "" for part in message.content)

    def _pictures(self, messages: list[ChatMessage]) -> list[Any]:
        urls = [
            part.image_url.url
            for message in messages
            if isinstance(message.content, list)
            for part in message.content
            if part.image_url is not None
        ]
        return [self._picture(url) for url in urls]

    def _picture(self, url: str) -> Any:
        """A picture out of a data URI; nothing is fetched here."""
        image: Any = importlib.import_module("PIL.Image")
        head, _, data = url.partition(",")
        if not head.startswith("data:image/") or not head.endswith(";base64"):
            raise ValueError("an image must be a data URI such as data:image/png;base64,…")
        try:
            opened = image.open(
                io.BytesIO(base64.b64decode(data, validate=True)),
                formats=("PNG", "JPEG", "WEBP", "GIF", "BMP"),
            )
            width, height = opened.size
            if width * height > self._max_pixels:
                raise ValueError(
                    f"an image has {width}x{height} pixels; at most {self._max_pixels} are read"
                )
            return opened.convert("RGB")
        except (OSError, binascii.Error, SyntaxError, image.DecompressionBombError) as error:
            raise ValueError(f"an image cannot be read: {error}") from None


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
