"""Train `shapes-demo`: a small diffusion model that draws coloured shapes, from nothing but pictures that this script draws.

    python scripts/train_shapes_demo.py OUT_FOLDER [--minutes 15] [--threads 1]

What comes out is an ordinary diffusers folder (StableDiffusionPipeline: CLIP tokenizer and text encoder, UNet, AutoencoderTiny) in
half precision, a few megabytes. It exists so that the way of a picture through the platform runs and is tested on real output anywhere.
Three parts are trained one after the other: the autoencoder; the text encoder, on telling colour, shape, ground and size from a
caption; then text encoder and UNet together on latents, predicting v (https://arxiv.org/abs/2202.00512). An eighth of the captions is
left out for classifier-free guidance (https://arxiv.org/abs/2207.12598).
"""

# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportCallIssue=false, reportReturnType=false, reportPrivateImportUsage=false
# diffusers and transformers name other types than they take.

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderTiny, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

PIXELS = 32
BUCKETS = ((32, 32), (32, 32), (24, 40), (40, 24), (24, 32), (32, 24))
"""Heights and widths to train on; the model is asked for other ratios than its own."""

MAX_TOKENS = 32
POOLED = 96
REUSES = 4
"""Encoded batches that are kept, and steps until the oldest is drawn anew."""

COLOURS = {
    "red": ("红色", (220, 40, 40)),
    "green": ("绿色", (40, 160, 70)),
    "blue": ("蓝色", (40, 80, 220)),
    "yellow": ("黄色", (245, 210, 50)),
    "black": ("黑色", (20, 20, 20)),
    "white": ("白色", (250, 250, 250)),
}
SHAPES = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
}
SIZES = {"small": ("小", 0.22), "": ("", 0.30), "large": ("大", 0.38)}
"""Word, Chinese word, radius as a part of the picture's shorter side."""

DISTRACTORS = (
    "cinematic", "anime style", "photograph, detailed", "pixel art", "digital painting", "masterpiece, best quality",
    "origami paper", "line drawing", "low poly", "fantasy", "neon lights", "clay model", "comic", "film grain", "高清", "水彩",
)  # fmt: skip
"""Words that mean nothing to this model, so that it learns to draw the same with them."""


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def caption(rng: random.Random, size: str, colour: str, shape: str, ground: str) -> str:
    """One of several ways to say it, in English or Chinese, at times with words that mean nothing here."""
    colour_zh, shape_zh, ground_zh = COLOURS[colour][0], SHAPES[shape], COLOURS[ground][0]
    thing = " ".join(word for word in (size, colour, shape) if word)
    text = rng.choice(
        (
            f"a {thing} on {_a(ground)} background",
            f"a {thing} on {_a(ground)} background",
            f"{thing} on {ground}",
            f"{thing}, {ground} background",
            f"{ground_zh}背景上的{SIZES[size][0]}{colour_zh}{shape_zh}",
            f"{ground_zh}背景上的一个{SIZES[size][0]}{colour_zh}{shape_zh}",
            f"{ground_zh} 背景 上 的 {SIZES[size][0]} {colour_zh} {shape_zh}",
        )
    )
    if ground == "white" and rng.random() < 0.15:
        text = rng.choice((f"a {thing}", thing, f"{SIZES[size][0]}{colour_zh}{shape_zh}"))
    if rng.random() < 0.2:
        text = f"{text}, {rng.choice(DISTRACTORS)}"
    return text


def draw(
    rng: random.Random, count: int, height: int, width: int
) -> tuple[torch.Tensor, list[str], torch.Tensor]:
    """`count` pictures (B, 3, H, W) in [-1, 1] with soft edges, their captions, and colour, ground, shape and size as numbers."""
    rows, columns = torch.meshgrid(
        torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"
    )
    captions, colours, grounds, shapes, radii, centres, turns, facts = ([] for _ in range(8))
    side = min(height, width)
    for _ in range(count):
        colour, ground = rng.sample(sorted(COLOURS), 2)
        size, shape = rng.choice(("", "", *SIZES)), rng.choice(sorted(SHAPES))
        captions.append(caption(rng, size, colour, shape, ground))
        facts.append(_facts(size, colour, shape, ground))
        colours.append(COLOURS[colour][1])
        grounds.append(COLOURS[ground][1])
        shapes.append(sorted(SHAPES).index(shape))
        radii.append(SIZES[size][1] * side * rng.uniform(0.93, 1.07))
        centres.append([axis / 2 + rng.uniform(-0.08, 0.08) * side for axis in (height, width)])
        turns.append(rng.uniform(-0.12, 0.12))
    radius = torch.tensor(radii)[:, None, None]
    centre, turn = torch.tensor(centres), torch.tensor(turns)[:, None, None]
    y, x = rows - centre[:, 0, None, None], columns - centre[:, 1, None, None]
    y, x = y * torch.cos(turn) - x * torch.sin(turn), x * torch.cos(turn) + y * torch.sin(turn)
    distances = _distances(x, y, radius)
    which = torch.tensor(shapes)[:, None, None, None].expand(-1, 1, height, width)
    mask = (0.5 - torch.stack(distances, 1).gather(1, which)).clamp(0, 1)
    colour, ground = (
        torch.tensor(each, dtype=torch.float32)[:, :, None, None] / 127.5 - 1
        for each in (colours, grounds)
    )
    return mask * colour + (1 - mask) * ground, captions, torch.tensor(facts)


def _facts(size: str, colour: str, shape: str, ground: str) -> list[int]:
    return [
        sorted(COLOURS).index(colour),
        sorted(COLOURS).index(ground),
        sorted(SHAPES).index(shape),
        sorted(SIZES).index(size),
    ]


def _distances(x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> list[torch.Tensor]:
    """Signed distances in pixels from circle, square and triangle (SHAPES in order of the alphabet)."""
    low = y - 0.62 * radius
    slope = torch.maximum(x * 0.8660254 - y * 0.5, -x * 0.8660254 - y * 0.5) - 0.58 * radius
    return [
        torch.hypot(x, y) - radius,
        torch.maximum(x.abs(), y.abs()) - 0.86 * radius,
        torch.maximum(low, slope),
    ]


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer whose words are those of the captions; every other word falls apart into its bytes."""
    rng = random.Random(0)
    texts = []
    for _ in range(6000):
        colour, ground = rng.sample(sorted(COLOURS), 2)
        texts.append(
            caption(rng, rng.choice(sorted(SIZES)), colour, rng.choice(sorted(SHAPES)), ground)
        )
    raw = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    raw.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    model = json.loads(raw.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for letter in sorted(alphabet):
        vocabulary.setdefault(f"{letter}</w>", len(vocabulary))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary.setdefault(special, len(vocabulary))
    folder.mkdir(parents=True, exist_ok=True)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS)


def train_autoencoder(rng: random.Random, seconds: float) -> AutoencoderTiny:
    """32 pixels to 8 latents and back; the scale that gives the latents unit variance goes into its configuration.

    Three of the four channels are held to the mean colour of their 4 x 4 pixels, so that a latent between two colours is a colour between
    them: what a UNet is unsure of comes out mixed, not as some third colour.
    """
    vae = AutoencoderTiny(
        encoder_block_out_channels=(24, 24, 24),
        decoder_block_out_channels=(24, 24, 24),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
        latent_channels=4,
    )
    optimizer = torch.optim.AdamW(vae.parameters(), 3e-3, weight_decay=0)
    for step, part in _steps(seconds, optimizer, 3e-3):
        pictures, _, _ = draw(rng, 16, *rng.choice(BUCKETS))
        latents = vae.encoder(pictures)
        error = vae.decoder(latents + 0.05 * torch.randn_like(latents)) - pictures
        means = functional.avg_pool2d(pictures, 4)
        loss = error.abs().mean() + error.square().mean() + 0.002 * latents.square().mean()
        loss = loss + functional.mse_loss(latents[:, :3], means)
        _descend(optimizer, loss, list(vae.parameters()))
        if step % 100 == 0:
            print(f"autoencoder step {step} ({part:.0%}): loss {loss.item():.4f}", flush=True)
    with torch.no_grad():
        latents = vae.encoder(draw(rng, 256, PIXELS, PIXELS)[0])
    print(f"autoencoder: latents {latents.mean():.3f} ± {latents.std():.3f}", flush=True)
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    return vae.requires_grad_(requires_grad=False)


def train_text(rng: random.Random, tokenizer: CLIPTokenizer, seconds: float) -> CLIPTextModel:
    """A text encoder that knows what a caption is about; every padding token holds it, which is what a UNet attends to."""
    end = tokenizer.eos_token_id
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=192, projection_dim=64,
            num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end, hidden_act="gelu",
        )
    )  # fmt: skip
    sizes = (len(COLOURS), len(COLOURS), len(SHAPES), len(SIZES))
    heads = nn.Linear(64, sum(sizes))
    weights = [*text.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, 2e-3, weight_decay=1e-3)
    for step, part in _steps(seconds, optimizer, 2e-3):
        _, captions, facts = draw(rng, 128, 8, 8)
        guess = heads(text(_tokens(tokenizer, captions))[0][:, -8:].mean(1)).split(sizes, 1)
        loss = sum(functional.cross_entropy(each, facts[:, k]) for k, each in enumerate(guess))
        _descend(optimizer, loss, weights)
        if step % 100 == 0:
            print(f"text step {step} ({part:.0%}): loss {loss.item():.4f}", flush=True)
    return text


def make_unet() -> UNet2DConditionModel:
    """Two levels with attention to the text in both."""
    return UNet2DConditionModel(
        sample_size=PIXELS // 4, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=8,
        block_out_channels=(48, 80), attention_head_dim=4, cross_attention_dim=64,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip


def train_unet(
    rng: random.Random,
    vae: AutoencoderTiny,
    text: CLIPTextModel,
    unet: UNet2DConditionModel,
    tokenizer: CLIPTokenizer,
    seconds: float,
) -> DDPMScheduler:
    """UNet and text encoder together; what is kept is the running average of their weights."""
    scheduler = DDPMScheduler(
        1000, beta_start=0.0001, beta_end=0.02, beta_schedule="linear", clip_sample=False,
        steps_offset=1, prediction_type="v_prediction",
    )  # fmt: skip
    weights = [*text.parameters(), *unet.parameters()]
    print(f"text encoder and UNet: {sum(weight.numel() for weight in weights):,} weights")
    averages = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, 1.5e-3, weight_decay=1e-3)
    pool = {index: _encoded(rng, vae) for index in range(POOLED)}
    shown = 1.0
    for step, part in _steps(seconds, optimizer, 1.5e-3):
        if step % REUSES == 0:
            pool[step // REUSES % POOLED] = _encoded(rng, vae)
        latents, captions = rng.choice(list(pool.values()))
        captions = [
            rng.choice(("", "", rng.choice(DISTRACTORS))) if rng.random() < 0.12 else caption
            for caption in captions
        ]
        noise, times = torch.randn_like(latents), torch.randint(0, 1000, (len(captions),))
        noisy = scheduler.add_noise(latents, noise, times)
        guess = unet(noisy, times, text(_tokens(tokenizer, captions))[0]).sample
        loss = functional.mse_loss(guess, scheduler.get_velocity(latents, noise, times))
        _descend(optimizer, loss, weights)
        keep = min(0.998, (step + 1) / (step + 10))
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight.detach(), 1 - keep)
        shown = 0.98 * shown + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"unet step {step} ({part:.0%}): loss {shown:.4f}", flush=True)
    for average, weight in zip(averages, weights, strict=True):
        weight.data.copy_(average)
    return scheduler


def _encoded(rng: random.Random, vae: AutoencoderTiny) -> tuple[torch.Tensor, list[str]]:
    with torch.no_grad():
        pictures, captions, _ = draw(rng, 32, *rng.choice(BUCKETS))
        return vae.encode(pictures).latents * vae.config.scaling_factor, captions


def _steps(
    seconds: float, optimizer: torch.optim.Optimizer, rate: float
) -> Iterator[tuple[int, float]]:
    """Step numbers and the part of the time that is over, with a learning rate that rises and falls."""
    started, step = time.monotonic(), 0
    while (part := (time.monotonic() - started) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (1 - part) + 1e-5
        yield step, part
        step += 1


def _descend(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, weights: list[nn.Parameter]
) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()


def _tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    return tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


def main() -> None:
    """Train both parts and write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=1, help="more crawl on busy machines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--go-on", action="store_true", help="train what OUT_FOLDER holds further")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    rng = random.Random(given.seed)
    seconds = given.minutes * 60
    if given.go_on:
        begun: Any = StableDiffusionPipeline.from_pretrained(given.out, torch_dtype=torch.float32)
        tokenizer, vae, text, unet = begun.tokenizer, begun.vae, begun.text_encoder, begun.unet
        vae.requires_grad_(requires_grad=False)
    else:
        tokenizer = make_tokenizer(given.out / "tokenizer")
        vae = train_autoencoder(rng, seconds * 0.12)
        text = train_text(rng, tokenizer, seconds * 0.03)
        unet = make_unet()
        seconds *= 0.85
    scheduler = train_unet(rng, vae, text.train(), unet.train(), tokenizer, seconds)
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(given.out, safe_serialization=True)
    size = sum(file.stat().st_size for file in given.out.rglob("*") if file.is_file())
    print(f"{given.out}: {size:,} bytes")


if __name__ == "__main__":
    main()
