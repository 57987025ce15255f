"""Stable Diffusion 1.x and XL by Hugging Face's diffusers (https://github.com/huggingface/diffusers), from a folder of safetensors.

* One picture is drawn at a time; other calls wait in order. A caller that leaves ends its picture after the step under way.
* Picture k of a call is drawn by itself with seed + k, so it is the same file however many were asked for, on the same machine.
* A size of more than twice the side that the model was trained on is drawn at that side's area, in the ratio asked for, and enlarged
  (Lanczos): beyond it these models repeat their subject.
* A reference is fitted to the size, cropping what sticks out, and drawn over (img2img); with a mask only where that says so
  (inpainting), and the rest is the reference's own pixels.
* Prompts are cut at the tokenizer's length (77 tokens for Stable Diffusion); usage counts all of them.
* The decoder of some models overflows in 16 bits (a known fault of SDXL's): a picture that comes out as no numbers is decoded once more
  in 32 bits, and so are all after it.
* Pictures with values that are no numbers even so, pictures of nothing but black, and lack of memory are ImageFailed.
* No part of the folder is run as code (`_pipeline_folder`), pickles are not opened, nothing is fetched. A safety checker is not loaded.

Options (`EngineSpec.options`):
    device: ``cpu``, ``cuda`` or ``auto`` (default: cuda where there is one).
    dtype: ``float32``, ``float16``, ``bfloat16`` or ``auto`` (default: float16 on cuda, float32 elsewhere).

It is a child process: ``python -m yangfan.engines.diffusers`` reads one line of JSON (`DiffusersConfig`) from stdin.
"""

from __future__ import annotations

import asyncio
import base64
import io
import math
import secrets
import sys
import threading
import traceback
import zlib
from contextlib import suppress
from importlib import resources, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from yangfan.engines._pipeline_folder import check_folder
from yangfan.engines.base import Fit
from yangfan.engines.process import ChildProcess, ParentLink
from yangfan.engines.wire.engine import ChildEngine, Ready
from yangfan.engines.wire.errors import ErrorBody, ErrorDetail
from yangfan.engines.wire.images import ImageItem, ImagesBody, ImagesResult
from yangfan.engines.wire.listener import Exchange
from yangfan.engines.wire.types import SlotState, TokenizeBody, UsageCounts
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.engines.base import Engine, EngineSpec, ModelFacts

FORMATS: frozenset[str] = frozenset({"diffusers"})
EXACT_OPTIONS = {"dtype": "float32"}
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
START_TIMEOUT_SECONDS = 600.0
DEFAULT_STEPS = 30
DEFAULT_STRENGTH = 0.7
DEFAULT_MASKED_STRENGTH = 1.0
MAX_ENLARGED = 2
"""Times the model's own side up to which a picture is drawn as it is asked for."""

MAX_REFERENCE_SIDE = 6000
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "ICO", "GIF")


class DiffusersOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What `EngineSpec.options` may hold."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"


class DiffusersConfig(msgspec.Struct):
    """The line that the child reads."""

    api_key: str
    path: str
    device: str
    dtype: str
    threads: int | None = None


class Sampler(msgspec.Struct, forbid_unknown_fields=True):
    """A row of _samplers.toml."""

    scheduler: str
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


def fit(model: ModelFacts) -> Fit:
    """The only engine that draws; it knows two families of pipelines."""
    if model.architecture not in PIPELINES:
        return Fit(None, f"draws with {' and '.join(PIPELINES)}, not with {model.architecture}")
    return Fit(10, "draws with Stable Diffusion")


def missing() -> str | None:
    """What to install, if anything."""
    needed = ("torch", "diffusers", "transformers", "PIL")
    if all(util.find_spec(name) is not None for name in needed):
        return None
    return 'pip install "yangfan[diffusers]"'


def create(spec: EngineSpec, workdir: Path) -> Engine:
    """Make the (not yet started) engine.

    Raises:
        ConfigurationError: An option is unknown or has the wrong type, or the folder holds what is not loaded.
    """
    try:
        options = msgspec.convert(dict(spec.options), DiffusersOptions)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of the diffusers engine: {error}") from error
    if spec.path is None:
        raise ConfigurationError("the diffusers engine needs the folder of a model")
    if spec.adapters:
        raise ConfigurationError(
            f"the diffusers engine takes no adapters, and {spec.model!r} has some; merge them into the model"
        )
    check_folder(Path(spec.path))
    config = DiffusersConfig("", spec.path, options.device, options.dtype, spec.threads)
    process = ChildProcess(
        f"the diffusers engine of {spec.model!r}",
        [sys.executable, "-m", "yangfan.engines.diffusers"],
        workdir,
        start_timeout_seconds=START_TIMEOUT_SECONDS,
    )
    own = msgspec.structs.replace(spec, slots=1)
    return ChildEngine(own, process, msgspec.structs.asdict(config), kinds=frozenset({"images"}))


def samplers() -> dict[str, Sampler]:
    """Qianfan's names and what they are in diffusers."""
    raw = (resources.files("yangfan.engines") / "_samplers.toml").read_bytes()
    return msgspec.toml.decode(raw, type=dict[str, Sampler])


def drawn_size(width: int, height: int, own_side: int, multiple: int) -> tuple[int, int]:
    """Width and height to draw at; smaller than what is asked for where that is far beyond the model's own side."""
    if max(width, height) <= MAX_ENLARGED * own_side:
        return width, height
    scale = own_side / math.sqrt(width * height)
    smaller = (max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))
    drawn_width, drawn_height = smaller
    return drawn_width, drawn_height


class _Refused(Exception):
    """The request cannot be drawn, or was not; `kind` is the error's type on the wire."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class _Stopped(Exception):
    """The caller left."""


class Painter:
    """The pipeline, in the child; every method runs in a worker thread, one at a time."""

    def __init__(self, config: DiffusersConfig) -> None:
        """Load the folder."""
        import diffusers
        import torch
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = True
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        device = config.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = config.dtype
        if dtype == "auto":
            dtype = "float16" if device == "cuda" else "float32"
        folder = Path(config.path)
        index = msgspec.json.decode((folder / "model_index.json").read_bytes())
        half = list(folder.rglob("*.fp16.safetensors"))
        plain = [
            f for f in folder.rglob("*.safetensors") if not f.name.endswith(".fp16.safetensors")
        ]
        parts: dict[str, Any] = {}
        if index["_class_name"] == "StableDiffusionPipeline":
            parts = {
                "safety_checker": None,
                "feature_extractor": None,
                "requires_safety_checker": False,
            }
        pipeline: Any = getattr(diffusers, index["_class_name"]).from_pretrained(
            str(folder),
            use_safetensors=True,
            local_files_only=True,
            dtype=getattr(torch, dtype),
            variant="fp16" if half and not plain else None,
            **parts,
        )
        pipeline.set_progress_bar_config(disable=True)
        self._torch: Any = torch
        self._diffusers: Any = diffusers
        self._pipeline: Any = pipeline.to(device)
        self._scheduler: Any = pipeline.scheduler
        self._samplers = samplers()
        self._decodes_in_32_bits = False
        self.max_tokens: int = min(int(pipeline.tokenizer.model_max_length), 1 << 20)

    def count(self, text: str) -> list[int]:
        """The tokens of a text, begin and end included."""
        return list(self._pipeline.tokenizer(text).input_ids)

    def draw(self, body: ImagesBody, stop: threading.Event) -> ImagesResult:
        """All pictures of a call, one after the other.

        Raises:
            _Refused: It cannot be drawn, or came out as no picture.
            _Stopped: `stop` was set.
        """
        first = secrets.randbits(32) if body.seed is None else body.seed
        items: list[ImageItem] = []
        for seed in ((first + index) % 2**32 for index in range(body.n)):
            try:
                picture = self._draw_one(body, seed, stop)
            except MemoryError as error:
                raise _no_memory(body) from error
            except ValueError as error:
                raise _Refused(f"the pipeline does not take this: {error}") from error
            except RuntimeError as error:
                if "memory" in str(error).lower():
                    raise _no_memory(body) from error
                raise
            items.append(ImageItem(base64.b64encode(picture).decode("ascii"), seed))
        tokens = len(self.count(body.prompt))
        return ImagesResult(items, UsageCounts(tokens, 0, tokens))

    def _draw_one(self, body: ImagesBody, seed: int, stop: threading.Event) -> bytes:
        from PIL import Image

        def after_step(pipeline: Any, step: int, time: Any, tensors: Any) -> Any:
            del pipeline, step, time
            if stop.is_set():
                raise _Stopped
            return tensors

        pipeline = self._pipeline
        scale = int(pipeline.vae_scale_factor)
        sample = pipeline.unet.config.sample_size
        own = (sample if isinstance(sample, int) else max(sample)) * scale
        width, height = drawn_size(body.width, body.height, own, max(8, scale))
        given: dict[str, Any] = {
            "prompt": body.prompt,
            "negative_prompt": body.negative_prompt or None,
            "num_inference_steps": body.steps or DEFAULT_STEPS,
            "callback_on_step_end": after_step,
        }
        if body.guidance_scale is not None:
            given["guidance_scale"] = body.guidance_scale
        if body.reference is None:
            if body.mask is not None:
                raise _Refused("a mask needs a reference, whose parts it names")
            given |= {"width": width, "height": height}
        else:
            pipeline = self._over(body, given, width, height)
        pipeline.scheduler = self._sampler(body.sampler)
        picture = Image.fromarray(self._pixels(pipeline, given, seed))
        size = (body.width, body.height)
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        if body.reference is not None and body.mask is not None:
            picture.paste(
                _opened(body.reference, "reference", "RGB", size), mask=_kept(body.mask, size)
            )
        file = io.BytesIO()
        # What PNG's filters leave of a picture has short runs and hardly any repeats: looking for those takes two to four times
        # as long and makes the file no smaller.
        picture.save(file, "PNG", compress_type=zlib.Z_RLE)
        return file.getvalue()

    def _over(self, body: ImagesBody, given: dict[str, Any], width: int, height: int) -> Any:
        """The pipeline that draws over a reference, and what it is to be given."""
        assert body.reference is not None
        size, ending = (width, height), "Img2ImgPipeline"
        given["image"] = _opened(body.reference, "reference", "RGB", size)
        strength = DEFAULT_STRENGTH
        if body.mask is not None:
            from PIL import ImageChops

            ending, strength = "InpaintPipeline", DEFAULT_MASKED_STRENGTH
            given["mask_image"] = ImageChops.invert(_kept(body.mask, size))
            given |= {"width": width, "height": height}
        strength = strength if body.strength is None else body.strength
        given["strength"] = strength
        # Only this part of the steps is made, and it must be one at least.
        given["num_inference_steps"] = max(given["num_inference_steps"], math.ceil(1 / strength))
        name = type(self._pipeline).__name__.replace("Pipeline", ending)
        parts = dict(self._pipeline.components)
        if "XL" not in name:
            parts["requires_safety_checker"] = False
        pipeline: Any = getattr(self._diffusers, name)(**parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _pixels(self, pipeline: Any, given: dict[str, Any], seed: int) -> Any:
        """One picture's bytes: (height, width, 3)."""
        import numpy as np

        torch = self._torch

        def run(output_type: str) -> Any:
            generator = torch.Generator("cpu").manual_seed(seed)
            made = pipeline(**given, generator=generator, output_type=output_type)
            return made.images

        with torch.inference_mode():
            half = pipeline.vae.dtype != torch.float32
            pixels = None
            if not self._decodes_in_32_bits:
                (pixels,) = run("np")
            if half and (pixels is None or not np.isfinite(pixels).all()):
                latents = run("latent")
                if bool(torch.isfinite(latents).all()):
                    pixels = self._decoded(pipeline, latents)
                    self._decodes_in_32_bits = True
        if pixels is None or not np.isfinite(pixels).all():
            raise _Refused(
                "the picture has values that are no numbers; run the model with the option dtype = float32",
                status=500,
                kind="image_failed_error",
            )
        if float(pixels.max()) < 1 / 255:
            raise _Refused(
                "the picture came out black; try another seed or another prompt",
                status=500,
                kind="image_failed_error",
            )
        return (pixels * 255).round().astype("uint8")

    def _decoded(self, pipeline: Any, latents: Any) -> Any:
        """The pixels of latents, with a decoder of 32 bits."""
        torch, vae = self._torch, pipeline.vae
        own, config = vae.dtype, vae.config
        latents = latents.float() / config.scaling_factor
        means = getattr(config, "latents_mean", None)
        deviations = getattr(config, "latents_std", None)
        if means is not None and deviations is not None:
            shape = (1, -1, 1, 1)
            deviation = torch.tensor(deviations, device=latents.device).view(shape)
            latents = latents * deviation + torch.tensor(means, device=latents.device).view(shape)
        vae.to(torch.float32)
        try:
            images = vae.decode(latents, return_dict=False)[0]
        finally:
            vae.to(own)
        return pipeline.image_processor.postprocess(images, output_type="np")[0]

    def _sampler(self, name: str | None) -> Any:
        """A scheduler of its own for each picture: they keep state."""
        if name is None:
            scheduler: Any = self._scheduler
            return scheduler.from_config(scheduler.config)
        sampler = self._samplers.get(name)
        if sampler is None:
            raise _Refused(f"no sampler {name[:64]!r}; there are: {', '.join(self._samplers)}")
        made: Any = getattr(self._diffusers, sampler.scheduler)
        scheduler: Any = made.from_config(self._scheduler.config, **sampler.options)
        return scheduler


def _opened(encoded: str, what: str, mode: str, size: tuple[int, int]) -> Any:
    """A picture of the request, cropped to a size."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded)), formats=_FORMATS) as opened:
            if max(opened.size) > MAX_REFERENCE_SIDE:
                raise _Refused(f"the {what} is larger than {MAX_REFERENCE_SIDE} pixels; shrink it")
            picture = opened.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _Refused(f"the {what} cannot be opened as a picture: {error}") from error
    return ImageOps.fit(picture, size)


def _kept(mask: str, size: tuple[int, int]) -> Any:
    """White where the reference stays: where a mask is opaque, or one without transparency is black."""
    from PIL import ImageChops

    opened = _opened(mask, "mask", "RGBA", size)
    opaque = opened.getchannel("A")
    if opaque.getextrema() == (255, 255):
        opaque = ImageChops.invert(opened.convert("L"))
    return opaque.point([0] * 128 + [255] * 128)


def _no_memory(body: ImagesBody) -> _Refused:
    return _Refused(
        f"not enough memory to draw {body.width}x{body.height}; ask for a smaller picture",
        status=500,
        kind="image_failed_error",
    )


class Studio:
    """The child's service: one picture at a time."""

    def __init__(self, painter: Painter) -> None:
        """Nobody is drawing."""
        self._painter = painter
        self._turn = asyncio.Lock()
        self._encode = msgspec.json.Encoder().encode

    def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            if exchange.path == "/v1/images/generations":
                body = msgspec.json.decode(exchange.body, type=ImagesBody)
                exchange.spawn(self._draw(exchange, body))
            elif exchange.path == "/tokenize":
                text = msgspec.json.decode(exchange.body, type=TokenizeBody).content
                exchange.reply(200, self._encode({"tokens": self._painter.count(text)}))
            elif exchange.path == "/slots":
                exchange.reply(200, self._encode([SlotState(is_processing=self._turn.locked())]))
            elif exchange.path == "/health":
                exchange.reply(200, b'{"status":"ok"}')
            else:
                self._refuse(exchange, _Refused(f"no such path: {exchange.path}", status=404))
        except (msgspec.DecodeError, ValueError) as error:
            self._refuse(exchange, _Refused(str(error)))

    async def _draw(self, exchange: Exchange, body: ImagesBody) -> None:
        async with self._turn:
            stop = threading.Event()
            work = asyncio.ensure_future(asyncio.to_thread(self._painter.draw, body, stop))
            try:
                result = await asyncio.shield(work)
            except asyncio.CancelledError:
                stop.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({work})
                if not work.cancelled():
                    work.exception()  # nobody is left to tell
                raise
            except _Refused as error:
                self._refuse(exchange, error)
                return
            except Exception as error:  # noqa: BLE001 - a library may fail in any way, and the caller is told which
                traceback.print_exc(file=sys.stderr)
                text = f"the picture could not be drawn: {type(error).__name__}: {error}"[:500]
                self._refuse(exchange, _Refused(text, status=500, kind="image_failed_error"))
                return
        exchange.reply(200, self._encode(result))

    def _refuse(self, exchange: Exchange, error: _Refused) -> None:
        detail = ErrorDetail(message=str(error), type=error.kind, code=error.status)
        exchange.reply(error.status, self._encode(ErrorBody(detail)))


async def _serve(link: ParentLink, config: DiffusersConfig) -> None:
    painter = await asyncio.to_thread(Painter, config)
    studio = Studio(painter)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Exchange(studio.answer, config.api_key), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    link.ready(msgspec.json.encode(Ready(port=port, context_tokens=painter.max_tokens)))
    await server.serve_forever()


def main() -> None:
    """Run the child."""
    link = ParentLink()
    asyncio.run(_serve(link, msgspec.json.decode(link.config, type=DiffusersConfig)))


if __name__ == "__main__":
    main()
