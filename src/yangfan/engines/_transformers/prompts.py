"""From a conversation to the tokens of its prompt: the model's own chat template, rendered under a time limit, and its pictures."""

from __future__ import annotations

import base64
import binascii
import importlib
import io
import warnings
from typing import TYPE_CHECKING, Any

from yangfan.engines.rendering import ChatTemplate
from yangfan.engines.wire.types import ChatMessage

if TYPE_CHECKING:
    from yangfan.engines._transformers.config import TransformersConfig
    from yangfan.engines._transformers.loading import Loaded
    from yangfan.engines.wire.types import ChatBody, ToolSpec

THINKING = "<think>"


class Prompts:
    """Renders conversations for one model."""

    def __init__(self, loaded: Loaded, config: TransformersConfig) -> None:
        """Look at what the model's files bring."""
        self._loaded = loaded
        self._max_pixels = config.max_pixels
        renderer: Any = loaded.tokenizer
        if loaded.processor is not None and getattr(loaded.processor, "chat_template", None):
            renderer = loaded.processor
        if config.chat_template is not None:
            renderer.chat_template = config.chat_template
        self._template = ChatTemplate(
            renderer, in_parts=loaded.processor is not None, seconds=config.template_seconds
        )
        self.has_tools = self._template.has_tools

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
        return self._template.render(messages, tools, variables)

    def tokens(self, text: str, *, special: bool) -> list[int]:
        """The tokens of a text; `special` puts those around it that the model expects around a text."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids: list[int] = self._loaded.tokenizer(text, add_special_tokens=special)["input_ids"]
        self._loaded.require_known(ids)
        return ids

    def asked_and_said(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """Tokens of a question's prompt, and of an answer behind it.

        Raises:
            ValueError: The template refuses them, or takes too long.
        """
        messages = [ChatMessage("user", question)]
        prompt = self.tokens(self.render(messages), special=not self._template.exists)
        said = self._template.said(messages, answer) if answer.strip() else ""
        return prompt, self.tokens(said, special=False)

    def chat(self, body: ChatBody) -> tuple[list[int], dict[str, Any] | None, str]:
        """Tokens of a chat's prompt, what to read with it, and the tag that the template opened, if it did."""
        variables = dict(body.chat_template_kwargs or {})
        prompt = self.render(body.messages, body.tools, variables)
        opened = THINKING if prompt.rstrip().endswith(THINKING) else ""
        images = self._pictures(body.messages)
        if not images:
            return self.tokens(prompt, special=not self._template.exists), None, opened
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
