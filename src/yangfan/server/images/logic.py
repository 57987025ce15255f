"""What both dialects share: limits on prompts, styles, pictures to start from, and the way to the service."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import (
    Invalid,
    InvalidImagePrompt,
    InvalidReferenceImage,
    QuotaExceeded,
    TokenRateLimited,
)
from yangfan.server import pictures
from yangfan.server.services import check_characters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.egress import Egress
    from yangfan.engines.base import ImageRequest, ImagesReply
    from yangfan.server.http.metering import Meter
    from yangfan.server.services import Services, Target

MAX_PROMPT_CHARS = 1024
"""For names without a limit of their own."""

MAX_REFERENCE_BYTES = 10 * 1024 * 1024
MIN_REFERENCE_SIDE = 128
MAX_REFERENCE_SIDE = 6000
MAX_REFERENCE_RATIO = 4
MIN_SIDE, MAX_SIDE = 256, 2048
"""Of what is drawn."""

SPECIAL_TOKENS = 2
"""Begin and end of a text, which encoders add."""


class Style(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a style makes of a prompt."""

    prompt: str
    negative: str = ""


class Images:
    """Draw pictures with any served model that can.

    Args:
        services: What is served.
        egress: The guard for pictures that calls name by URL.
    """

    def __init__(self, services: Services, egress: Egress) -> None:
        self._services = services
        self._egress = egress
        self._styles = _load_styles()

    def target(self, name: str) -> Target:
        """What `name` means here. Raises ModelNotFound, which lists the models that draw."""
        return self._services.resolve(name, "text2image")

    def styled(self, request: ImageRequest, style: str) -> ImageRequest:
        """`request` in one of Qianfan's styles.

        Raises:
            Invalid: No such style; the message lists them.
        """
        found = self._styles.get(style.casefold())
        if found is None:
            raise Invalid(
                f"style must be one of {', '.join(_load_styles_names())}, got {style[:64]!r}",
                param="style",
            )
        negative = ", ".join(filter(None, (request.negative_prompt, found.negative)))
        # Only the template's own mark is replaced: braces of the prompt mean nothing.
        before, _, after = found.prompt.partition("{prompt}")
        return msgspec.structs.replace(
            request, prompt=f"{before}{request.prompt}{after}", negative_prompt=negative
        )

    async def reference(self, given: str, *, param: str = "refer_image") -> bytes:
        """The picture to start from, by URL or data URI; `param` names its field.

        Raises:
            InvalidReferenceImage: It cannot be had, is no picture, or is too large, too small or too long.
        """
        try:
            data = await pictures.load(given, self._egress, max_bytes=MAX_REFERENCE_BYTES)
            return check_reference(data, param=param)
        except Invalid as error:
            if isinstance(error, InvalidReferenceImage):
                raise
            raise InvalidReferenceImage(f"{param}: {error.message}", param=param) from None

    async def answer(
        self,
        target: Target,
        request: ImageRequest,
        meter: Meter,
        *,
        style: str = "Base",
        low: bool = False,
    ) -> ImagesReply:
        """So many pictures; of a call that is `low`, once no other call waits.

        Raises:
            InvalidImagePrompt: There is no prompt.
            TooManyCharacters: It is longer than the name takes.
            Invalid: A style, size, sampler or picture that cannot be.
            RateLimited: A limit has no room now.
            QuotaExceeded: The key's tokens are used up.
            Overloaded: No room or no engine.
            ImageFailed: The model drew nothing that is a picture.
            EngineFailed: The engine died repeatedly.
        """
        check_prompt(target, request)
        styled = self.styled(request, style)
        text = f"{styled.prompt}{styled.negative_prompt}"
        size = len(text.encode("utf-8", "surrogatepass")) + 2 * SPECIAL_TOKENS
        try:
            meter.reserve(target, size)
        except (TokenRateLimited, QuotaExceeded):
            meter.reserve(target, await target.service.count_text_tokens(styled.prompt))
        reply = await target.service.generate_images(styled, key=meter.key_id, low=low)
        meter.settle(reply.usage.prompt_tokens, 0)
        return reply


def check_prompt(target: Target, request: ImageRequest) -> None:
    """Refuse prompts that are missing or too long for the name that was called."""
    if not request.prompt.strip():
        raise InvalidImagePrompt(
            "prompt is invalid, please check parameter: it is empty; say what to draw",
            param="prompt",
        )
    for name in ("prompt", "negative_prompt"):
        characters = len(getattr(request, name))
        verb = f"{name} has"
        check_characters(target, characters, of=verb, remedy="shorten it")
        if characters > MAX_PROMPT_CHARS:
            raise InvalidImagePrompt(
                f"prompt is invalid, please check parameter: {verb} {characters} characters and {MAX_PROMPT_CHARS} are allowed;"
                " shorten it",
                param=name,
            )


def near(data: bytes) -> tuple[int, int]:
    """Width and height near those of a picture that can be drawn at."""
    picture = pictures.measure(data)
    scale = min(1.0, MAX_SIDE / max(picture.width, picture.height))
    scale = max(scale, MIN_SIDE / min(picture.width, picture.height))
    width, height = (
        min(max(round(side * scale / 8) * 8, MIN_SIDE), MAX_SIDE)
        for side in (picture.width, picture.height)
    )
    return width, height


def check_reference(data: bytes, *, param: str = "refer_image") -> bytes:
    """Hold a picture against the documented limits (specification C.4, C.6).

    Raises:
        Invalid: It is not within them.
    """
    picture = pictures.measure(data)
    shorter, longer = sorted((picture.width, picture.height))
    said = f"the picture is {picture.width}x{picture.height}"
    if shorter < MIN_REFERENCE_SIDE or longer > MAX_REFERENCE_SIDE:
        raise InvalidReferenceImage(
            f"{param}: {said}; its sides must be {MIN_REFERENCE_SIDE} to {MAX_REFERENCE_SIDE} pixels",
            param=param,
        )
    if longer > MAX_REFERENCE_RATIO * shorter:
        raise InvalidReferenceImage(
            f"{param}: {said}; the longer side may be {MAX_REFERENCE_RATIO} times the shorter one at most",
            param=param,
        )
    return data


def _table() -> dict[str, Style]:
    raw = (resources.files("yangfan.server.images") / "styles.toml").read_bytes()
    return msgspec.toml.decode(raw, type=dict[str, Style])


def _load_styles() -> Mapping[str, Style]:
    return {name.casefold(): style for name, style in _table().items()}


def _load_styles_names() -> list[str]:
    return list(_table())
