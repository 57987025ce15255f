"""llama.cpp with a projector: the real model, and a projector of random numbers that turns each picture into four of its tokens."""

import base64
import random
import struct
import zlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from yangfan.engines import llama_cpp
from yangfan.engines.base import ChatRequest, Engine, EngineSpec, Message, Part, Sampling
from yangfan.errors import ConfigurationError, Invalid
from yangfan.weights import gguf

pytestmark = [
    pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing())),
    pytest.mark.model,
]

WIDTH, INNER, LAYERS, OUT, SIDE, PATCH = 32, 64, 2, 576, 28, 14
PICTURE_TOKENS = (SIDE // PATCH) ** 2


def write_projector(path: Path) -> None:
    """A LLaVA projector (llama.cpp's tools/mtmd/clip.cpp): a small vision transformer and two layers behind it."""
    dice = random.Random(5)

    def tensor(name: str, *shape: int) -> gguf.Tensor:
        count = 1
        for length in shape:
            count *= length
        numbers = struct.pack(f"<{count}f", *(dice.gauss(0, 0.05) for _ in range(count)))
        return gguf.Tensor(name, shape, "F32", lambda: numbers)

    def linear(name: str, wide: int, narrow: int) -> list[gguf.Tensor]:
        return [tensor(f"{name}.weight", wide, narrow), tensor(f"{name}.bias", wide)]

    def norm(name: str) -> list[gguf.Tensor]:
        return [tensor(f"{name}.weight", WIDTH), tensor(f"{name}.bias", WIDTH)]

    tensors = [
        tensor("v.class_embd", WIDTH),
        tensor("v.patch_embd.weight", WIDTH, 3, PATCH, PATCH),
        tensor("v.position_embd.weight", PICTURE_TOKENS + 1, WIDTH),
        *norm("v.pre_ln"),
        *norm("v.post_ln"),
    ]
    for layer in range(LAYERS):
        block = f"v.blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            tensors += linear(f"{block}.{part}", WIDTH, WIDTH)
        tensors += [*norm(f"{block}.ln1"), *norm(f"{block}.ln2")]
        tensors += linear(f"{block}.ffn_up", INNER, WIDTH)
        tensors += linear(f"{block}.ffn_down", WIDTH, INNER)
    tensors += [*linear("mm.0", OUT, WIDTH), *linear("mm.2", OUT, OUT)]
    facts: dict[str, gguf.Value] = {
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": True,
        "clip.vision.image_size": SIDE,
        "clip.vision.patch_size": PATCH,
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.feed_forward_length": INNER,
        "clip.vision.block_count": LAYERS,
        "clip.vision.projection_dim": OUT,
        "clip.vision.attention.head_count": 2,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    gguf.write(path, facts, tensors)


def picture(red: int, green: int, blue: int) -> Part:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 40, 40, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes((red, green, blue)) * 40) * 40)
    file = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    return Part(image_url=f"data:image/png;base64,{base64.b64encode(file).decode()}")


def ask(*parts: Part) -> ChatRequest:
    content = (Part(text="Look: "), *parts)
    return ChatRequest((Message("user", content),), Sampling(temperature=0, max_output_tokens=8))


@pytest.fixture
async def engine(smollm2_path: Path, tmp_path: Path) -> AsyncGenerator[Engine]:
    (tmp_path / "model.gguf").symlink_to(smollm2_path)
    write_projector(tmp_path / "mmproj-model.gguf")
    spec = EngineSpec(
        "seeing",
        str(tmp_path / "model.gguf"),
        slots=2,
        threads=1,
        context_tokens=1024,
        options={"program": "wheel"},
    )
    engine = llama_cpp.create(spec, tmp_path)
    await engine.start()
    yield engine
    await engine.stop()


async def test_a_model_with_a_projector_beside_it_reads_pictures(engine: Engine) -> None:
    assert engine.kinds == {"chat", "vision"}
    plain = await engine.chat(ask())
    one = await engine.chat(ask(picture(255, 0, 0)))
    two = await engine.chat(ask(picture(255, 0, 0), picture(0, 0, 255)))
    extra = one.usage.prompt_tokens - plain.usage.prompt_tokens
    assert extra >= PICTURE_TOKENS
    assert two.usage.prompt_tokens - one.usage.prompt_tokens == extra
    assert two.usage.completion_tokens > 0

    broken = Part(image_url="data:image/png;base64,iVBORw0KGgo=")
    with pytest.raises(Invalid):
        await engine.chat(ask(broken))
    assert (await engine.chat(ask(picture(255, 0, 0)))).answers[0].text == one.answers[0].text


def test_a_projector_is_found_only_where_it_can_be_no_other_models(tmp_path: Path) -> None:
    def kinds(**options: str) -> frozenset[str]:
        spec = EngineSpec("m", str(tmp_path / "model.gguf"), options=options)
        return llama_cpp.create(spec, tmp_path).kinds

    gguf.write(tmp_path / "model.gguf", {"general.architecture": "llama"}, [])
    assert kinds() == {"chat"}
    (tmp_path / "mmproj-F16.gguf").touch()
    assert kinds() == {"chat", "vision"}
    assert kinds(mmproj="") == {"chat"}
    gguf.write(tmp_path / "other.gguf", {"general.architecture": "llama"}, [])
    assert kinds() == {"chat"}
    assert kinds(mmproj=str(tmp_path / "mmproj-F16.gguf")) == {"chat", "vision"}
    with pytest.raises(ConfigurationError, match=r"no projector file .*none.gguf.*mmproj"):
        kinds(mmproj=str(tmp_path / "none.gguf"))
