"""The demo model behind a real server: what is asked for can be seen in the pixels."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

from tests.conftest import Server
from tests.shapes import look

import yangfan

PICTURES = 3
"""Of each prompt, with seeds one after the other."""

PROMPTS = (
    ("a red circle on a white background", "red", "circle", "white"),
    ("a blue square on a white background", "blue", "square", "white"),
    ("a green triangle on a yellow background", "green", "triangle", "yellow"),
    ("a large white square on a red background", "white", "square", "red"),
    ("a small black triangle on a green background, anime style", "black", "triangle", "green"),
    ("黑色背景上的黄色圆形", "yellow", "circle", "black"),
)

STEPS = 20
LEAST_PURITY = 0.8
LEAST_OVERLAP = 0.75
LEAST_RIGHT = 0.9


def pixels(file: bytes) -> Any:
    """(H, W, 3), 0 to 255, at the side that the model draws: what it was enlarged to says nothing more."""
    import numpy as np
    from PIL import Image

    picture = Image.open(io.BytesIO(file)).convert("RGB").resize((64, 64), Image.Resampling.BOX)
    return np.asarray(picture).astype(float)


def test_ground_figure_and_shape_are_those_that_were_asked_for(shapes_server: Server) -> None:
    right: Counter[str] = Counter()
    wrong: list[str] = []
    for prompt, colour, shape, ground in PROMPTS:
        with yangfan.Client(shapes_server.base_url, bearer=shapes_server.bearer) as client:
            pictures = client.images.generate(
                prompt, model="shapes-demo", n=PICTURES, seed=1, size="256x256", steps=STEPS
            )
        assert len(pictures) == PICTURES
        for picture in pictures:
            seen = look(pixels(picture.data))
            right["ground"] += seen.ground == ground
            right["colour"] += seen.colour == colour and seen.purity > LEAST_PURITY
            right["shape"] += seen.shape == shape and seen.overlap > LEAST_OVERLAP
            if (seen.ground, seen.colour, seen.shape) != (ground, colour, shape):
                wrong.append(f"{prompt}: {seen}")
    drawn = PICTURES * len(PROMPTS)
    least = {name: right[name] / drawn for name in ("ground", "colour", "shape")}
    assert min(least.values()) >= LEAST_RIGHT, (least, wrong)
