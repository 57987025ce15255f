"""The circle of a model that draws: pictures and captions imported, learnt, published, served, and drawn by both dialects."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.conftest import serving
from tests.shapes import PALETTE, look

import yangfan
from yangfan.egress import Egress
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.large,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("peft") is None or importlib.util.find_spec("diffusers") is None,
        reason="the extras tuning and diffusers are not installed",
    ),
]

WORD = "a zorb"


def pairs(path: Path, count: int) -> Path:
    """Green squares on black with their annotations, as Qianfan's own zip files have them."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            picture = Image.new("RGB", (32, 32), PALETTE["black"])
            at = 6 + number % 4
            ImageDraw.Draw(picture).rectangle((at, at, at + 16, at + 16), PALETTE["green"])
            file = io.BytesIO()
            picture.save(file, "PNG")
            archive.writestr(f"{number}.png", file.getvalue())
            archive.writestr(f"{number}.json", json.dumps([{"annotations": WORD}]))
    return path


def test_a_thing_is_taught_published_served_and_drawn(tmp_path: Path, model_cache: Path) -> None:
    model = asyncio.run(pull("shapes-demo", store=ModelStore(model_cache), egress=Egress()))
    with serving(tmp_path / "home") as server:
        keys: dict[str, Any] = {
            "access_key": server.access_key,
            "secret_access_key": server.secret_access_key,
        }
        with yangfan.Client(server.base_url, bearer=server.bearer, **keys) as client:
            client.models.create_set("shapes", "Text2Image")
            client.models.wait(client.models.import_("shapes", str(model.folder)).id)
            client.datasets.create("zorbs", "PromptImage")
            client.datasets.import_files("zorbs", pairs(tmp_path / "zorbs.zip", 16))
            client.datasets.publish("zorbs")
            task = client.tuning.create(
                "shapes",
                "zorbs",
                hyper_parameters={"epoch": 30, "batchSize": 8, "learningRate": 2e-3},
            )
            task = client.tuning.wait(task.id)
            assert task.status == "Done", task.error
            version = client.tuning.publish(task.id, "taught")
            assert version.parity is not None
            print(version.parity["reason"])
            assert version.parity["passed"] is True
            client.services.wait(client.services.create(version.id, "taught").id)
            drawn = client.images.generate(WORD, model="taught", size="512x512", seed=1, steps=12)
            picture = Image.open(io.BytesIO(drawn.images[0].data))
            seen = look(np.asarray(picture.convert("RGB").resize((32, 32))))
            assert (seen.ground, seen.colour) == ("black", "green")
