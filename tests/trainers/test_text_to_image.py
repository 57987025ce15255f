"""Text to image: the demo model learns a word for a new thing, goes on bit by bit, and names rows that it cannot learn from."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.shapes import PALETTE, look
from tests.trainers.conftest import Bench

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError, Invalid
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.painting import LORA_FILE, merge, read_pipeline
from yangfan.worker import pictures
from yangfan.worker.works import import_model

WORD = "a zorb"
FAST: dict[str, Any] = {
    "learning_rate": 2e-3,
    "batch_size": 8,
    "lora_rank": 8,
    "warmup_ratio": 0.0,
    "epoch": 1,
}


@pytest.fixture
def shapes(tmp_path: Path, model_cache: Path) -> Generator[Bench]:
    """Runs of the demo model."""
    if libraries.missing() is not None:
        pytest.skip(str(libraries.missing()))
    pytest.importorskip("diffusers", reason="the extra diffusers is not installed")
    model = asyncio.run(pull("shapes-demo", store=ModelStore(model_cache), egress=Egress()))
    torch: Any = importlib.import_module("torch")
    threads = torch.get_num_threads()
    yield Bench(model.folder, tmp_path)
    torch.use_deterministic_algorithms(mode=False)
    torch.set_num_threads(threads)


def pairs(folder: Path, count: int) -> list[dict[str, Any]]:
    """Green squares on black, each called by the new word."""
    folder.mkdir()
    found: list[dict[str, Any]] = []
    for number in range(count):
        picture = Image.new("RGB", (40, 36), PALETTE["black"])
        at = 10 + number % 4
        ImageDraw.Draw(picture).rectangle((at, at - 2, at + 18, at + 16), PALETTE["green"])
        file = folder / f"{number}.png"
        picture.save(file)
        images = [{"name": file.name, "file": str(file)}]
        found.append({"images": images, "turns": [{"prompt": WORD}]})
    return found


def digests(folder: str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()
    }


def drawn(folder: Path, lora: Path | None = None) -> list[Any]:
    torch: Any = importlib.import_module("torch")
    pipeline = read_pipeline(folder, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
    made: list[Any] = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        picture = pipeline(WORD, num_inference_steps=12, generator=generator).images[0]
        made.append(look(np.asarray(picture)))
    return made


def quiet(*_: object) -> None:
    """What a task does where nobody listens."""


def bring(folder: Path, lora: Path) -> Path:
    """Import a LoRA file as a version of its own, on a base that is in the store; where that lies."""
    store = ModelStore(folder / "store")
    asyncio.run(pull("shapes-demo", store=store, egress=Egress()))
    where = {"store": str(store.root), "base": "shapes-demo"}

    def task(file: Path) -> Any:
        spec = {**where, "name": f"amv-{file.stem}", "source": str(file)}
        return SimpleNamespace(spec=spec, log=print, progress=quiet)

    other = folder / "other.safetensors"
    library: Any = importlib.import_module("safetensors.torch")
    torch: Any = importlib.import_module("torch")
    for name, words in (
        ("unet.no.such.layer.lora_A.weight", "other.safetensors"),
        ("text_model.weight", "no LoRA of this base"),
    ):
        library.save_file({name: torch.ones(4, 4)}, str(other), {"format": "pt"})
        with pytest.raises(ConfigurationError, match=words):
            import_model.run(task(other))
    found = import_model.run(task(lora))
    assert (found["kind"], found["format"]) == ("images", "safetensors")
    stored = store.get(f"amv-{lora.stem}")
    assert stored is not None
    assert store.is_intact(stored)
    return stored.folder


def test_a_new_word_is_learnt_and_a_stopped_run_ends_the_same(
    shapes: Bench, tmp_path: Path
) -> None:
    samples = pairs(tmp_path / "pictures", 16)
    held = samples[:2]
    untouched = shapes.run(
        shapes.spec("text_to_image", "lora", samples, "a", held, **FAST, max_steps=60)
    )
    losses = [row["loss"] for row in untouched.metrics]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert LORA_FILE in digests(untouched.final)

    spec = shapes.spec("text_to_image", "lora", samples, "b", held, **FAST, max_steps=6)
    shapes.run_stopped(spec, 3)
    gone_on = shapes.run(spec)
    again = shapes.run(
        shapes.spec("text_to_image", "lora", samples, "c", held, **FAST, max_steps=6)
    )
    assert gone_on.facts["resumed_from"]
    assert digests(gone_on.final) == digests(again.final)

    whole = tmp_path / "whole"
    merge(shapes.base, Path(untouched.final), whole)
    taught = [(each.ground, each.colour) for each in drawn(whole)]
    assert taught == [("black", "green")] * 3
    assert taught != [(each.ground, each.colour) for each in drawn(shapes.base)]
    same = drawn(shapes.base, Path(untouched.final, LORA_FILE))
    assert [(each.ground, each.colour) for each in same] == taught
    imported = bring(tmp_path, Path(untouched.final, LORA_FILE))
    assert [(each.ground, each.colour) for each in drawn(imported)] == taught
    gate = pictures.parity(shapes.base, Path(untouched.final), whole, [WORD], tmp_path / "engine")
    assert gate["passed"] is True, gate
    other = pictures.parity(shapes.base, Path(untouched.final), shapes.base, [WORD], tmp_path / "e")
    assert other["passed"] is False, other


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        ({"turns": [{"prompt": "x"}]}, "it has no picture"),
        ({"images": [{"name": "0.png", "file": "0.png"}], "turns": []}, "has no caption"),
        (
            {"images": [{"name": "no.png", "file": "/no"}], "turns": [{"prompt": "x"}]},
            "no.png cannot be opened",
        ),
    ],
)
def test_a_row_that_cannot_be_learnt_from_is_named(
    shapes: Bench, sample: dict[str, Any], why: str
) -> None:
    with pytest.raises(Invalid, match=rf"row 1 \(r0\) cannot be learnt from: .*{why}"):
        shapes.run(shapes.spec("text_to_image", "lora", [sample], **FAST))
