"""The parity gate of models that draw: what is served must draw what was trained.

The same caption, seed and number of steps go through the trainer's side (the adapter beside its base, in 32-bit floats) and through the
engine that will serve the files. Their pictures may differ by so much on average, of 255:

    weights as trained      F32     2
                            F16     6
                            BF16    8

Both sides compute in 32 bits, whatever the weights are kept in and wherever they run: a service on a GPU may compute in halves to be
faster, and its pictures then differ by that choice, which is no fault of the files. An engine says by which options it does so
(`EXACT_OPTIONS`); one that does not say is asked as it is.
"""

from __future__ import annotations

import asyncio
import importlib
import io
from typing import TYPE_CHECKING, Any

from yangfan import extensions
from yangfan.engines.base import EngineSpec, ImageRequest, ModelFacts
from yangfan.engines.choice import ENGINES, choose
from yangfan.errors import ConfigurationError, EngineFailed
from yangfan.hub import folder, inspection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from yangfan.engines.base import Engine

CAPTIONS = 2
"""How many captions are drawn."""

STEPS = 6
SEED = 7
TOLERANCES = {"F32": 2.0, "F16": 6.0, "BF16": 8.0}


def parity(
    base: Path, adapter: Path, model: Path, captions: Sequence[str], workdir: Path
) -> dict[str, Any]:
    """Draw on both sides and compare.

    Args:
        base: The pipeline that was trained.
        adapter: What the training left.
        model: The folder that will be served.
        captions: What to draw, at most `CAPTIONS` of them.
        workdir: For the engine.
    """
    weights = inspection.inspect(model).dtype.upper()
    lies = folder.describe(model)
    found = choose(
        ModelFacts(lies.format, lies.kind, lies.architecture, str(model), lies.size_bytes)
    )
    drawn = list(captions)[:CAPTIONS]
    told = {"engine": found.engine, "weights": weights, "prompts": len(drawn)}
    if found.engine is None or not drawn:
        why = found.reason if found.engine is None else "there are no captions to draw"
        return {"passed": None, "reason": f"not measured: {why}", **told}
    expected, side = _expected(base, adapter, drawn)
    workdir.mkdir(exist_ok=True)
    try:
        answered = asyncio.run(served(found.engine, model, drawn, side, workdir))
    except (EngineFailed, ConfigurationError) as error:
        return {"passed": False, "reason": f"the engine cannot run it: {error.message}", **told}
    return {**told, **judge(expected, answered, weights)}


def judge(expected: Sequence[Any], served: Sequence[Any], weights: str) -> dict[str, Any]:
    """Compare pictures, arrays of (side, side, 3) from 0 to 255.

    Args:
        expected: The trainer's.
        served: The engine's.
        weights: How the weights are kept, a key of `TOLERANCES`.
    """
    numpy: Any = importlib.import_module("numpy")
    tolerance = TOLERANCES.get(weights, TOLERANCES["BF16"])
    differences = [
        float(numpy.abs(there.astype(numpy.float32) - here.astype(numpy.float32)).mean())
        for there, here in zip(expected, served, strict=True)
    ]
    mean, greatest = sum(differences) / len(differences), max(differences)
    return {
        "passed": greatest <= tolerance,
        "reason": f"{len(differences)} pictures of the same captions and seeds differ by {mean:.2f} of 255 on average (at most"
        f" {greatest:.2f}; {tolerance:g} is allowed for {weights})",
        "mean_difference": round(mean, 4),
        "greatest_difference": round(greatest, 4),
        "tolerance": tolerance,
    }


def _expected(base: Path, adapter: Path, captions: Sequence[str]) -> tuple[list[Any], int]:
    """What the trainer's side draws, and the side of its pictures in pixels."""
    from yangfan.trainers.pipeline.painting import read_pipeline

    torch: Any = importlib.import_module("torch")
    peft: Any = importlib.import_module("peft")
    pipeline = read_pipeline(base, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sample = pipeline.unet.config.sample_size
    side = (sample if isinstance(sample, int) else max(sample)) * int(pipeline.vae_scale_factor)
    adapted = peft.PeftModel.from_pretrained(pipeline.unet, str(adapter))
    pipeline.unet = (
        adapted.base_model.model
    )  # the layers with the adapter in them, under the name that the pipeline knows
    pictures: list[Any] = []
    with torch.inference_mode():
        for caption in captions:
            made = pipeline(
                prompt=caption,
                width=side,
                height=side,
                num_inference_steps=STEPS,
                generator=torch.Generator("cpu").manual_seed(SEED),
                output_type="np",
            )
            pictures.append((made.images[0] * 255).round())
    return pictures, side


async def served(
    name: str, model: Path, captions: Sequence[str], side: int, workdir: Path
) -> list[Any]:
    """What an engine draws: in 32-bit floats, if it says how it is told to.

    Args:
        name: The engine's.
        model: The folder that it is to serve.
        captions: What to draw, a picture of each.
        side: Of each picture, in pixels.
        workdir: For the engine.
    """
    image: Any = importlib.import_module("PIL.Image")
    numpy: Any = importlib.import_module("numpy")
    module = extensions.load(ENGINES, name)
    options: Mapping[str, Any] = getattr(module, "EXACT_OPTIONS", {})
    engine: Engine = module.create(
        EngineSpec("parity", str(model), slots=1, options=options), workdir
    )
    await engine.start()
    try:
        pictures: list[Any] = []
        for caption in captions:
            request = ImageRequest(caption, width=side, height=side, steps=STEPS, seed=SEED)
            reply = await engine.generate_images(request)
            with image.open(io.BytesIO(reply.images[0]), formats=("PNG",)) as opened:
                pictures.append(numpy.asarray(opened.convert("RGB")))
        return pictures
    finally:
        await engine.stop()
