"""Text to image: learn to draw what captions say, from pictures and their captions (specification D.6, models of the type text2image).

The loss is the mean squared error of what the UNet foretells at a moment of the diffusion that is drawn at random: the noise
(arXiv 2006.11239) or its velocity (arXiv 2202.00512), whichever the pipeline's own scheduler goes by. A tenth of the captions is left out,
so that guidance goes on working (arXiv 2207.12598).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.objective import Loss, Parts
from yangfan.trainers.pipeline.painting import INDEX, Captions, Painting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.rows import Row

SUMMARY = "draw what captions say, from pictures and their captions"
METHODS = frozenset({"lora"})
SCORES = False
COMPARES = False
ANSWERS = False
PARTS = Parts(INDEX, Captions, Painting)

UNCAPTIONED = 0.1
"""Share of captions that are left out."""

MAX_PIXELS = 64_000_000


class Pair(NamedTuple):
    """A picture's file, its caption, and the tokens of that."""

    file: Path
    caption: str
    tokens: int


class Pictures:
    """Pairs to learn from.

    Args:
        pairs: A picture and its caption each.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    def count(self) -> int:
        """Pairs."""
        return len(self._pairs)

    def tokens(self, item: int) -> int:
        """Tokens of a caption."""
        return self._pairs[item].tokens

    def weight(self, item: int) -> float:
        """Every picture counts the same."""
        del item
        return 1.0

    def prepare(self, network: Any, folder: Path) -> None:
        """Nothing has to be known before the first step."""

    def loss(self, network: Any, model: Any, items: Sequence[int], seed: int) -> Loss:
        """Sum of the mean squared errors of what is foretold."""
        torch = libraries.torch()
        dice = torch.Generator().manual_seed(seed)
        pairs = [self._pairs[item] for item in items]
        pixels = torch.stack([_pixels(pair.file, network.side) for pair in pairs])
        captions = [pair.caption for pair in pairs]
        if model.training:
            dropped = (torch.rand(len(pairs), generator=dice) < UNCAPTIONED).tolist()
            captions = ["" if drop else text for text, drop in zip(captions, dropped, strict=True)]
        latents = network.latents(pixels.to(network.where))
        states, more = network.conditions(captions)
        scheduler = network.pipeline.scheduler
        steps = int(scheduler.config.num_train_timesteps)
        times = torch.randint(0, steps, (len(pairs),), generator=dice).to(network.where)
        noise = torch.randn(latents.shape, generator=dice).to(network.where)
        foretold = model(_noised(scheduler, latents, noise, times), times, states, **more).sample
        wanted = _wanted(scheduler, latents, noise, times)
        return Loss(((foretold.float() - wanted.float()) ** 2).flatten(1).mean(1).sum())


def objective(given: Iterable[Row], words: Captions, hyper: HyperParameters) -> Pictures:
    """Read pairs.

    Raises:
        Invalid: One has no caption or no picture that can be opened; the message names it.
    """
    del hyper
    return Pictures([_pair(row, words) for row in given])


def _pair(row: Row, words: Captions) -> Pair:
    images: Sequence[dict[str, Any]] = row.sample.get("images") or ()
    turns: Sequence[dict[str, Any]] = row.sample.get("turns") or ()
    caption = str(turns[0].get("prompt", "")).strip() if turns else ""
    if not images:
        raise row.refused("it has no picture; import pictures and annotations as one zip file")
    if not caption:
        raise row.refused("its picture has no caption; annotate it with what it shows")
    file = Path(str(images[0].get("file", "")))
    _require_picture(row, file, str(images[0].get("name", "")))
    return Pair(file, caption, words.count(caption))


def _require_picture(row: Row, file: Path, name: str) -> None:
    image: Any = importlib.import_module("PIL.Image")
    try:
        with image.open(file, formats=("PNG", "JPEG", "WEBP", "BMP")) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise row.refused(f"its picture {name} has more than {MAX_PIXELS:,} pixels")
            opened.draft("RGB", (64, 64))
            opened.load()
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise row.refused(
            f"its picture {name} cannot be opened as PNG, JPEG, WebP or BMP ({type(error).__name__})"
        ) from error


def _pixels(file: Path, side: int) -> Any:
    """A picture as (3, side, side) from -1 to 1, what sticks out of the square cut off on both sides."""
    image: Any = importlib.import_module("PIL.Image")
    ops: Any = importlib.import_module("PIL.ImageOps")
    numpy: Any = importlib.import_module("numpy")
    with image.open(file, formats=("PNG", "JPEG", "WEBP", "BMP")) as opened:
        fitted = ops.fit(opened.convert("RGB"), (side, side), image.Resampling.BICUBIC)
    values = numpy.asarray(fitted, dtype=numpy.float32) / 127.5 - 1.0
    return libraries.torch().from_numpy(values).permute(2, 0, 1)


def _alphas(scheduler: Any, times: Any, like: Any) -> tuple[Any, Any]:
    """Shares of picture and noise at some moments, one a picture."""
    kept = scheduler.alphas_cumprod.to(like.device)[times].view(-1, 1, 1, 1)
    return kept.sqrt(), (1 - kept).sqrt()


def _noised(scheduler: Any, latents: Any, noise: Any, times: Any) -> Any:
    picture, other = _alphas(scheduler, times, latents)
    return picture * latents + other * noise


def _wanted(scheduler: Any, latents: Any, noise: Any, times: Any) -> Any:
    """What the UNet is to foretell."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "sample":
        return latents
    picture, other = _alphas(scheduler, times, latents)
    return picture * noise - other * latents
