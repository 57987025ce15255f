"""`client.images.generate(…)`: pictures from words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.client import images, replies
from yangfan.client.paths import Paths
from yangfan.protocol.v1.images import TEXT2IMAGE
from yangfan.protocol.v2.images import EDITS, GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client._async.session import AsyncSession
    from yangfan.client.types import ImagesResult


class AsyncImages:
    """Pictures, in the dialect of the client."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session
        self._version = session.settings.version
        self._paths = Paths(TEXT2IMAGE, "text2image")

    async def generate(  # noqa: PLR0913 - the fields of the call
        self,
        prompt: str,
        *,
        model: str,
        negative_prompt: str | None = None,
        size: str | None = None,
        n: int | None = None,
        steps: int | None = None,
        seed: int | None = None,
        guidance_scale: float | None = None,
        sampler: str | None = None,
        style: str | None = None,
        reference: str | bytes | None = None,
        user: str | None = None,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> ImagesResult:
        """Draw pictures.

        Args:
            prompt: What to show.
            model: A name such as ``sd_xl`` or ``irag-1.0``; `models.list()` has all.
            negative_prompt: What not to show.
            size: Width x height in pixels, such as ``1024x768``; ``1024x1024`` by default.
            n: How many pictures, 1 to 4.
            steps: Denoising steps: 10 to 50 in v1 (default 20), 1 to 50 in v2 (default: the model's own).
            seed: 0 to 4294967295: the same call with the same seed draws the same pictures.
            guidance_scale: How closely to follow the prompt, 0 to 30: default 5 in v1, the model's own in v2.
            sampler: v1 only: such as ``DPM++ 2M Karras``.
            style: v1 only: such as ``Anime``.
            reference: v2 only: URL or file content of a picture to start from.
            user: Your own end user, for your logs.
            request_id: Value of the Request_id header, for finding this call in logs; a new one by default.
            timeout_seconds: Longest silence of the server, above 0; the client's by default.
            extra_headers: Further headers.

        Returns:
            The pictures; ``result[0].save("out.png")`` writes the first one.

        Raises:
            RefusedError: The platform said no: Invalid for sizes and prompts that cannot be, ModelNotFound and so on.
            UnreachableError: No usable answer came: ConnectionFailed, DeadlineExceeded, BadReply.
            ConfigurationError: An option that the client's dialect does not have.
        """
        options = {
            "negative_prompt": negative_prompt,
            "size": size,
            "n": n,
            "steps": steps,
            "seed": seed,
            "guidance_scale": guidance_scale,
            "sampler": sampler,
            "style": style,
            "reference": images.reference_of(reference),
            "user": user,
        }
        call = self._session.inference_call(
            TEXT2IMAGE if self._version == 1 else GENERATIONS,
            self._version,
            path=self._paths.of(model) if self._version == 1 else None,
            body=images.body(prompt, options, model=model, version=self._version),
            request_id=request_id,
            timeout_seconds=timeout_seconds,
            headers=extra_headers,
        )
        answer = await self._session.send(call)
        return images.result(answer.document, model=model, info=replies.info_of(answer.headers))

    async def edit(  # noqa: PLR0913 - the fields of the call
        self,
        prompt: str,
        image: str | bytes,
        *,
        model: str,
        mask: str | bytes | None = None,
        negative_prompt: str | None = None,
        strength: float | None = None,
        size: str | None = None,
        n: int | None = None,
        steps: int | None = None,
        seed: int | None = None,
        guidance_scale: float | None = None,
        user: str | None = None,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> ImagesResult:
        """Draw over a picture, or over what a mask leaves open of it (v2).

        Args:
            prompt: What to show.
            image: URL or file content of the picture.
            model: A name such as ``sd_xl``.
            mask: URL or file content: what is transparent in it, or white where nothing is, is drawn anew; all by default.
            negative_prompt: What not to show.
            strength: How far to go from the picture, (0, 1.0]; by default the model's own.
            size: Width x height in pixels, such as ``1024x768``; near the picture's own by default.
            n: How many pictures, 1 to 4.
            steps: Denoising steps, 1 to 50: by default the model's own.
            seed: 0 to 4294967295: the same call with the same seed draws the same pictures.
            guidance_scale: How closely to follow the prompt, 0 to 30: by default the model's own.
            user: Your own end user, for your logs.
            request_id: Value of the Request_id header, for finding this call in logs; a new one by default.
            timeout_seconds: Longest silence of the server, above 0; the client's by default.
            extra_headers: Further headers.

        Raises:
            RefusedError: The platform said no: Invalid for sizes, prompts and pictures that cannot be, ModelNotFound and so on.
            UnreachableError: No usable answer came: ConnectionFailed, DeadlineExceeded, BadReply.
            ConfigurationError: The client speaks v1.
        """
        options = {
            "image": images.reference_of(image),
            "mask": images.reference_of(mask),
            "negative_prompt": negative_prompt,
            "strength": strength,
            "size": size,
            "n": n,
            "steps": steps,
            "seed": seed,
            "guidance_scale": guidance_scale,
            "user": user,
        }
        call = self._session.inference_call(
            EDITS,
            2,
            body=images.edit_body(prompt, options, model=model, version=self._version),
            request_id=request_id,
            timeout_seconds=timeout_seconds,
            headers=extra_headers,
        )
        answer = await self._session.send(call)
        return images.result(answer.document, model=model, info=replies.info_of(answer.headers))
