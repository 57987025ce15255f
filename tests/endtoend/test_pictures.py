"""The demo model behind a real server: what is asked for can be seen in the pixels."""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import Any

import pytest
from tests.conftest import Server, serving

import yangfan
from yangfan.engines import diffusers

SEEDS = (1, 2, 3)
RGB = ("red", "green", "blue")
WHITE = 255


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    if lacking := diffusers.missing():
        pytest.skip(f"diffusers: {lacking}")
    with serving(tmp_path_factory.mktemp("shapes"), models=("shapes-demo",)) as server:
        yield server


def pixels(file: bytes) -> Any:
    """(H, W, 3), 0 to 255."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(float)


@pytest.mark.parametrize(
    ("prompt", "colour", "ground"),
    [
        ("a red circle on a white background", "red", WHITE),
        ("a blue square on a white background", "blue", WHITE),
    ],
)
def test_ground_and_figure_have_the_colours_that_were_asked_for(
    server: Server, prompt: str, colour: str, ground: int
) -> None:
    right = 0
    options: dict[str, Any] = {"size": "256x256", "steps": 12, "guidance_scale": 4.0}
    with yangfan.Client(server.base_url, bearer=server.bearer) as client:
        results = [
            client.images.generate(prompt, model="shapes-demo", seed=seed, **options)
            for seed in SEEDS
        ]
    for seed, (image,) in zip(SEEDS, results, strict=True):
        drawn = pixels(image.data)
        border = drawn[:12].reshape(-1, 3).mean(0)
        assert abs(border - ground).max() < 60, f"the ground of seed {seed} is {border}"
        figure = drawn[abs(drawn - ground).max(2) > 90]
        assert 0.04 < len(figure) / (256 * 256) < 0.6, (
            "there is one figure, not nothing and not all"
        )
        means = figure.mean(0)
        right += int(RGB[int(means.argmax())] == colour)
    assert right >= 2, f"{right} of {len(SEEDS)} figures are {colour}"
