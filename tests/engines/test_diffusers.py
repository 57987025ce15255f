"""Pictures of a real, very small Stable Diffusion pipeline, in its child process; and folders that are not opened."""

from __future__ import annotations

import asyncio
import base64
import importlib
import io
import json
import shutil
import struct
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from yangfan.engines import diffusers
from yangfan.engines._pipeline_folder import check_folder
from yangfan.engines.base import Engine, EngineSpec, ImageRequest, ModelFacts
from yangfan.engines.wire.images import ImagesBody
from yangfan.errors import ConfigurationError, ImageFailed, Invalid

in_one_loop = pytest.mark.asyncio(loop_scope="module")

RED = "a red circle on a white background"
WaitUntil = Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]


def needs_diffusers() -> None:
    if lacking := diffusers.missing():
        pytest.skip(f"diffusers: {lacking}")


def make_tokenizer() -> Any:
    """A token for each letter, and for each that ends a word."""
    import transformers

    letters = [letter + end for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    make: Any = transformers.CLIPTokenizer
    return make({word: index for index, word in enumerate(words)}, [], model_max_length=40)


def text_config(width: int) -> Any:
    import transformers

    return transformers.CLIPTextConfig(
        vocab_size=54, hidden_size=width, intermediate_size=width, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=40, bos_token_id=52, eos_token_id=53, projection_dim=width,
    )  # fmt: skip


def write_pipeline(path: Path) -> Path:
    """A Stable Diffusion pipeline of 64 pixels a side whose weights nobody has trained."""
    import diffusers as library
    import torch
    import transformers

    pipelines: Any = library  # its own annotations name other classes than it takes
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType] - untyped
    text: Any = transformers.CLIPTextModel(text_config(16))
    unet = pipelines.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4, block_out_channels=(8, 8),
        attention_head_dim=2, cross_attention_dim=16, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = pipelines.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)
    )  # fmt: skip
    torch.nn.init.constant_(vae.decoder.layers[-1].bias, 0.5)  # grey, not black
    scheduler = pipelines.DDPMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    pipeline = pipelines.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=make_tokenizer(),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(path, safe_serialization=True)
    return path


def write_xl_pipeline(path: Path) -> Path:
    """The same for Stable Diffusion XL: two text encoders, sizes and crops as conditions, the decoder that overflows in 16 bits."""
    import diffusers as library
    import torch
    import transformers

    pipelines: Any = library
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType] - untyped
    first: Any = transformers.CLIPTextModel(text_config(16))
    second: Any = transformers.CLIPTextModelWithProjection(text_config(16))
    unet = pipelines.UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4, block_out_channels=(8, 16),
        attention_head_dim=(2, 4), cross_attention_dim=32, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=True, transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 16,
    )  # fmt: skip
    vae = pipelines.AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4, latent_channels=4, force_upcast=False, scaling_factor=0.13025,
    )  # fmt: skip
    # Beyond 16 bits in the middle, and back again: float32 sees nothing of it.
    vae.decoder.conv_in.weight.data *= 3e4
    vae.post_quant_conv.weight.data *= 3e4
    scheduler = pipelines.EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1)
    pipeline = pipelines.StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=make_tokenizer(),
        tokenizer_2=make_tokenizer(),
        unet=unet,
        scheduler=scheduler,
    )
    pipeline.save_pretrained(path, safe_serialization=True)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_diffusers()
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def xl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_diffusers()
    return write_xl_pipeline(tmp_path_factory.mktemp("xl"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Engine]:
    spec = EngineSpec("tiny", str(folder), threads=1)
    engine = diffusers.create(spec, tmp_path_factory.mktemp("diffusers"))
    await engine.start()
    yield engine
    await engine.stop()


def ask(prompt: str = RED, **fields: Any) -> ImageRequest:
    given: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "seed": 7, **fields}
    return ImageRequest(prompt, **given)


def pixels(file: bytes) -> Any:
    """(H, W, 3), 0 to 255."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(float)


@in_one_loop
async def test_the_same_seed_draws_the_same_file_and_the_next_picture_has_the_next_seed(
    engine: Engine,
) -> None:
    two = await engine.generate_images(ask(n=2))
    assert two.seeds == (7, 8)
    assert two.images[0] == (await engine.generate_images(ask())).images[0]
    assert two.images[1] == (await engine.generate_images(ask(seed=8))).images[0]
    assert two.images[0] != two.images[1]
    assert two.usage.prompt_tokens == await engine.count_text_tokens(RED) > 5


@in_one_loop
async def test_a_picture_without_a_seed_tells_the_one_that_draws_it_again(engine: Engine) -> None:
    first = await engine.generate_images(ask(seed=None))
    again = await engine.generate_images(ask(seed=first.seeds[0]))
    assert first.images == again.images


@in_one_loop
@pytest.mark.parametrize("size", [(64, 64), (256, 128), (1024, 576)])
async def test_a_picture_has_the_size_that_was_asked_for(
    engine: Engine, size: tuple[int, int]
) -> None:
    width, height = size
    (file,) = (await engine.generate_images(ask(width=width, height=height))).images
    assert pixels(file).shape == (height, width, 3)


def test_a_size_far_beyond_the_models_own_is_drawn_smaller_in_the_same_ratio() -> None:
    assert diffusers.drawn_size(1024, 768, 512, 8) == (1024, 768)
    assert diffusers.drawn_size(2048, 2048, 512, 8) == (512, 512)
    assert diffusers.drawn_size(2048, 1024, 512, 8) == (728, 360)
    assert diffusers.drawn_size(1024, 576, 64, 8) == (88, 48)


@in_one_loop
@pytest.mark.parametrize("sampler", diffusers.samplers())
async def test_every_sampler_draws(engine: Engine, sampler: str) -> None:
    (file,) = (await engine.generate_images(ask(sampler=sampler, steps=3))).images
    assert pixels(file).shape == (64, 64, 3)


@in_one_loop
async def test_an_unknown_sampler_is_refused_with_those_that_there_are(engine: Engine) -> None:
    with pytest.raises(Invalid, match=r"no sampler 'Oiler'; there are: Euler, .*Heun"):
        await engine.generate_images(ask(sampler="Oiler"))


@in_one_loop
async def test_a_reference_is_drawn_over(engine: Engine) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (300, 200), (0, 0, 255)).save(file, "PNG")
    near = ask(reference=file.getvalue(), strength=0.1, steps=10)
    (picture,) = (await engine.generate_images(near)).images
    assert pixels(picture).shape == (64, 64, 3)
    assert (picture,) == (await engine.generate_images(near)).images
    assert (picture,) != (await engine.generate_images(ask(steps=10))).images
    with pytest.raises(Invalid, match="cannot be opened as a picture"):
        await engine.generate_images(ask(reference=b"\x89PNG\r\n\x1a\nno"))


def drawn(colour: tuple[int, ...], size: tuple[int, int] = (64, 64), *, mode: str = "RGB") -> Any:
    from PIL import Image

    return Image.new(mode, size, colour)


def png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@in_one_loop
@pytest.mark.parametrize("transparent", [True, False])
async def test_a_mask_says_what_is_drawn_anew_and_the_rest_stays(
    engine: Engine, transparent: bool
) -> None:
    """Transparent, as with OpenAI, or white."""
    if transparent:
        mask = drawn((0, 0, 0, 255), mode="RGBA")
        mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    else:
        mask = drawn((0, 0, 0))
        mask.paste((255, 255, 255), (0, 0, 32, 64))
    request = ask(reference=png(drawn((0, 0, 255))), mask=png(mask), steps=3)
    (file,) = (await engine.generate_images(request)).images
    assert (pixels(file)[:, 32:] == [0, 0, 255]).all()
    assert (pixels(file)[:, :32] != [0, 0, 255]).any(-1).mean() > 0.9
    assert (file,) == (await engine.generate_images(request)).images
    with pytest.raises(Invalid, match="a mask needs a reference"):
        await engine.generate_images(ask(mask=png(mask)))
    with pytest.raises(Invalid, match="the mask cannot be opened as a picture"):
        await engine.generate_images(ask(reference=png(mask), mask=b"no"))


def size_bytes(pid: int) -> int:
    """All memory that a process has reserved."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * 4096


@in_one_loop
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set from outside")
async def test_a_picture_beyond_the_memory_is_said_to_be_and_the_next_one_is_drawn(
    engine: Engine,
) -> None:
    import resource

    assert engine.pid is not None
    assert (await engine.generate_images(ask())).images
    before = resource.prlimit(engine.pid, resource.RLIMIT_AS)
    most = size_bytes(engine.pid) + (24 << 20)
    resource.prlimit(engine.pid, resource.RLIMIT_AS, (most, before[1]))
    try:
        with pytest.raises(
            ImageFailed, match="not enough memory to draw 8192x8192; ask for a smaller"
        ):
            await engine.generate_images(ask(width=8192, height=8192))
    finally:
        resource.prlimit(engine.pid, resource.RLIMIT_AS, before)
    assert (await engine.generate_images(ask())).images


# Stable Diffusion XL ------------------------------------------------------------------------------


@in_one_loop
async def test_xl_draws_draws_over_and_draws_in_part(xl_folder: Path, tmp_path: Path) -> None:
    engine = diffusers.create(EngineSpec("xl", str(xl_folder), threads=1), tmp_path)
    await engine.start()
    try:
        (file,) = (await engine.generate_images(ask(negative_prompt="blue"))).images
        assert (file,) == (await engine.generate_images(ask(negative_prompt="blue"))).images
        assert (file,) != (await engine.generate_images(ask())).images
        assert pixels(file).shape == (64, 64, 3)
        blue = png(drawn((0, 0, 255)))
        (over,) = (await engine.generate_images(ask(reference=blue, sampler="DPM++ 2M"))).images
        assert pixels(over).shape == (64, 64, 3)
        mask = drawn((0, 0, 0))
        mask.paste((255, 255, 255), (0, 0, 32, 64))
        request = ask(reference=blue, mask=png(mask))
        (part,) = (await engine.generate_images(request)).images
        assert (pixels(part)[:, 32:] == [0, 0, 255]).all()
    finally:
        await engine.stop()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # its schedulers
def test_a_decoder_that_overflows_in_16_bits_decodes_in_32(
    xl_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the one of Stable Diffusion XL does. What latents 16 bits make depends on the CPU, so they are compared with themselves."""
    library: Any = importlib.import_module("diffusers")
    torch: Any = importlib.import_module("torch")
    config = diffusers.DiffusersConfig("", str(xl_folder), "cpu", "float16", 1)
    painter = diffusers.Painter(config)
    pipeline: Any = painter._pipeline  # pyright: ignore[reportPrivateUsage] - what it decodes is watched
    decode, decoded = pipeline.vae.decode, list[tuple[Any, bool]]()

    def watched(latents: Any, **given: Any) -> Any:
        made = decode(latents, **given)
        decoded.append((latents.dtype, bool(torch.isfinite(made[0]).all())))
        return made

    monkeypatch.setattr(pipeline.vae, "decode", watched)
    body = ImagesBody(RED, width=64, height=64, steps=2, seed=7)
    half, again = (
        pixels(base64.b64decode(painter.draw(body, threading.Event()).data[0].b64_json))
        for _ in range(2)
    )
    overflow, whole = (torch.float16, False), (torch.float32, True)
    assert decoded == [overflow, whole, whole]
    assert (half == again).all()
    assert half.std() > 1
    with torch.inference_mode():
        generator = torch.Generator("cpu").manual_seed(7)
        latents = pipeline(
            prompt=RED, num_inference_steps=2, width=64, height=64, generator=generator, output_type="latent"
        ).images  # fmt: skip
        assert latents.dtype == torch.float16
        vae = library.AutoencoderKL.from_pretrained(xl_folder / "vae", dtype=torch.float16)
        drawn = vae.float().decode(latents.float() / vae.config.scaling_factor).sample[0]
    wanted = (drawn / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert abs(half - wanted).max() <= 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_black_picture_is_said_to_be_black(folder: Path, tmp_path: Path) -> None:
    safetensors: Any = importlib.import_module("safetensors.torch")
    shutil.copytree(folder, tmp_path / "black")
    weights = tmp_path / "black/vae/diffusion_pytorch_model.safetensors"
    tensors: dict[str, Any] = safetensors.load_file(weights)
    biases = [name for name in tensors if name.startswith("decoder") and name.endswith("bias")]
    tensors[max(biases, key=lambda name: int(name.split(".")[2]))].fill_(-1e4)
    safetensors.save_file(tensors, weights, metadata={"format": "pt"})
    config = diffusers.DiffusersConfig("", str(tmp_path / "black"), "cpu", "float32", 1)
    painter = diffusers.Painter(config)
    with pytest.raises(Exception, match="came out black; try another seed"):
        painter.draw(ImagesBody(RED, width=64, height=64, steps=2, seed=7), threading.Event())


@in_one_loop
async def test_a_picture_that_is_no_picture_is_said_to_be_none(engine: Engine) -> None:
    with pytest.raises(ImageFailed):
        await engine.generate_images(ask(guidance_scale=1e38, steps=4))
    assert (await engine.generate_images(ask())).images


@in_one_loop
async def test_a_caller_that_leaves_ends_the_picture(engine: Engine, wait_until: WaitUntil) -> None:
    async def busy() -> bool:
        if call.done():
            call.result()
        return (await engine.slots()).busy == 1

    async def idle() -> bool:
        return (await engine.slots()).busy == 0

    call = asyncio.ensure_future(
        engine.generate_images(ask(width=128, height=128, steps=1000, n=4))
    )
    await wait_until(busy, "a picture under way")
    call.cancel()
    await wait_until(idle, "the end of the picture")
    assert (await engine.generate_images(ask())).images


# Folders ------------------------------------------------------------------------------------------

SAFE = struct.pack("<Q", 2) + b"{}"


def folder_of(tmp_path: Path, index: dict[str, Any] | None, /, **files: bytes) -> Path:
    (tmp_path / "unet").mkdir()
    parts = index or {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet"]}
    (tmp_path / "model_index.json").write_text(json.dumps(parts))
    for name, content in files.items():
        (tmp_path / "unet" / name.replace("__", ".")).write_bytes(content)
    return tmp_path


def test_a_folder_of_safetensors_passes_even_beside_pickles_that_are_not_opened(
    tmp_path: Path,
) -> None:
    check_folder(folder_of(tmp_path, None, a__safetensors=SAFE, a__bin=b"\x80\x04."))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a__safetensors": b"\x80\x04\x95pickle."}, "no safetensors file"),
        ({"a__safetensors": b"PK\x03\x04" + bytes(30)}, "no safetensors file"),
        ({"a__bin": b"\x80\x04."}, "is a pickle, which can run code"),
        ({"a__safetensors": SAFE, "a__py": b"import os"}, "is code"),
        ({"a__safetensors": SAFE, "config__json": b'{"auto_map": {}}'}, "auto_map"),
        ({}, "has no .safetensors file"),
    ],
)
def test_a_folder_that_could_run_code_is_refused(
    tmp_path: Path, files: dict[str, bytes], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        check_folder(folder_of(tmp_path, None, **files))


def test_a_component_of_the_models_own_is_refused(tmp_path: Path) -> None:
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["pipeline", "Mine"]}
    with pytest.raises(ConfigurationError, match="comes from 'pipeline'"):
        check_folder(folder_of(tmp_path, index, a__safetensors=SAFE))


def test_other_pipelines_and_options_are_refused(tmp_path: Path) -> None:
    assert diffusers.fit(ModelFacts("diffusers", "images", "FluxPipeline")).rank is None
    assert diffusers.fit(ModelFacts("diffusers", "images", "StableDiffusionPipeline")).rank
    folder_of(tmp_path, None, a__safetensors=SAFE)
    with pytest.raises(ConfigurationError, match="speeed"):
        diffusers.create(EngineSpec("m", str(tmp_path), options={"speeed": 1}), tmp_path)
    with pytest.raises(ConfigurationError, match="needs the folder"):
        diffusers.create(EngineSpec("m"), tmp_path)
