"""The process that reads pictures: one after another from stdin, with limits; whatever a picture does, only this process dies of it.

Each order is a line with the number of bytes, then the bytes; each answer is a line of JSON (`words.Page`). The models are those in
rapidocr's package (PP-OCRv6 small, Chinese and English); nothing is downloaded.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from yangfan.errors import Invalid
from yangfan.plugins.image_questions.words import Page, Word

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    Recognise = Callable[[Image], list["Line"]]

MAX_SIDE = 2000
"""Pixels of the longer side that are looked at; a larger picture is made smaller first."""

MIN_SIDE = 320
"""A smaller picture is made larger first: the detector was not taught on smaller ones."""

_ONE = re.compile(r"^[-–—](?=[月日年季周号])")
"""The Chinese one at the beginning of a date, which is read as a dash."""

LEAST_LEAN = 0.2
MOST_LEAN = 10.0
"""Degrees by which text leans that is turned back."""

LEAST_SCORE = 0.5
MAX_WORDS = 2000


Corners = list[tuple[float, float]]
"""Of a box, from the upper left one clockwise."""


class Line(NamedTuple):
    """A line of text as it was recognised."""

    corners: Corners
    text: str
    score: float


def main() -> None:
    """Answer pictures until stdin ends."""
    memory_bytes, threads = (int(argument) for argument in sys.argv[1:3])
    from yangfan.engines.process import confine

    confine(memory_bytes)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    recognise = _recogniser(threads)
    answers.write(b"\n")
    stdin = sys.stdin.buffer
    while line := stdin.readline():
        answers.write(msgspec.json.encode(_page(stdin.read(int(line)), recognise)) + b"\n")


def _page(data: bytes, recognise: Recognise) -> Page:
    try:
        image = _decoded(data)
        image, words = _straightened(image, recognise(image)[:MAX_WORDS])
    except Invalid as error:
        return Page(error=error.message)
    except Exception as error:  # noqa: BLE001 - decoders fail in their own ways, and the next picture waits
        return Page(
            error=f"the picture cannot be read ({type(error).__name__}); save it again as PNG"
        )
    return Page(image.width, image.height, words, _chart(image, words))


def _straightened(image: Image, lines: list[Line]) -> tuple[Image, list[Word]]:
    """The picture and its words, turned back where most lines of text lean the same way."""
    from PIL import Image as Images

    angle = _lean(lines)
    if LEAST_LEAN <= abs(angle) <= MOST_LEAN:
        image = image.rotate(angle, Images.Resampling.BICUBIC, fillcolor="white")
        lines = [line._replace(corners=_turned(line.corners, angle, image)) for line in lines]
    words: list[Word] = []
    for corners, text, score in lines:
        across, down = [x for x, _ in corners], [y for _, y in corners]
        words.append(Word(text, min(across), min(down), max(across), max(down), score))
    return image, words


def _lean(lines: list[Line]) -> float:
    """Degrees by which lines of text fall to the right; the median, longer lines counting more."""
    leans: list[tuple[float, float]] = []
    for line in lines:
        (left, top), (right, other), (_, bottom) = line.corners[:3]
        if right - left > 2 * abs(bottom - other):
            leans.append((math.degrees(math.atan2(other - top, right - left)), right - left))
    reached, half = 0.0, sum(width for _, width in leans) / 2
    for lean, width in sorted(leans):
        reached += width
        if reached >= half:
            return lean
    return 0.0


def _turned(corners: Corners, angle: float, image: Image) -> Corners:
    """Corners where they are once the picture is turned about its middle."""
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    middle_x, middle_y = image.width / 2, image.height / 2
    return [
        (
            middle_x + cosine * (x - middle_x) + sine * (y - middle_y),
            middle_y - sine * (x - middle_x) + cosine * (y - middle_y),
        )
        for x, y in corners
    ]


def _chart(image: Image, words: list[Word]) -> Any:
    import numpy as np

    from yangfan.plugins.image_questions.charts import chart_in

    try:
        return chart_in(np.asarray(image).astype(np.int16), words)
    except (ArithmeticError, IndexError, ValueError, np.linalg.LinAlgError):
        return None  # a picture that only looked like a chart; its words remain


def _decoded(data: bytes) -> Image:
    """The first frame, upright, on white, not too large."""
    from PIL import Image, ImageOps

    # The server has measured it; this is for what a header does not say.
    Image.MAX_IMAGE_PIXELS = 36_000_000
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "BMP", "GIF")) as opened:
            opened.draft("RGB", (MAX_SIDE, MAX_SIDE))
            opened.load()
            image = ImageOps.exif_transpose(opened).convert("RGBA")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Invalid("the picture has too many pixels; make it smaller") from None
    except (OSError, SyntaxError, ValueError):
        raise Invalid("the picture is broken or cut short; send the whole file") from None
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    longer, shorter = max(image.size), min(image.size)
    factor = min(MAX_SIDE / longer, max(1.0, MIN_SIDE / shorter))
    if factor != 1.0:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image


def _recogniser(threads: int) -> Recognise:
    import numpy as np
    from rapidocr import RapidOCR

    engine = RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Global.text_score": LEAST_SCORE,
            "Det.limit_type": "max",
            "Det.limit_side_len": MAX_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )

    def recognise(image: Image) -> list[Line]:
        found: Any = engine(np.asarray(image)[:, :, ::-1])
        if found.boxes is None:
            return []
        lines: list[Line] = []
        for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
            if clean := _ONE.sub("一", text.strip()):
                corners = [(float(x), float(y)) for x, y in box]
                lines.append(Line(corners, clean, round(float(score), 4)))
        return lines

    return recognise


if __name__ == "__main__":
    main()
