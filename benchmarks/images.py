"""Seconds a picture: asked of the platform, and of diffusers in a program of one's own, one after the other.

Both processes hold the same model all the time and only one of them draws; the order changes from round to round (A B, B A, …). The
platform answers with a PNG over HTTP, the other program with pixels in memory, and what they drew is compared pixel by pixel.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import urllib.request
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from load import HOST, Target, percentile
from processes import model_store, platform, running
from report import Report, Table, say

from yangfan.engines import diffusers
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator

    from processes import Running

MODEL = "shapes-demo"
PROMPT = "a red circle on a white background"
SIDE = 256
"""The smallest that the API has; the model's own side is 32, so both draw 32 and the platform enlarges."""

OWN_SIDE = 32
PLATFORM, BARE = "Yangfan", "diffusers, bare"
TAX_TARGET_PERCENT = 5.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: pictures of each number of steps, on each side, in a round."""

    rounds: int
    pictures: int
    steps: tuple[int, ...] = (10, 30)


SIZES = {"full": Size(6, 8), "quick": Size(2, 3), "smoke": Size(1, 1, steps=(2,))}


@dataclass(frozen=True, slots=True)
class Peer:
    """The other program, waiting for a line."""

    process: subprocess.Popen[bytes]

    def draw(self, steps: int, seed: int) -> tuple[float, str]:
        """Seconds and a digest of the pixels."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([PROMPT, OWN_SIDE, steps, seed]).encode() + b"\n")
        process.stdin.flush()
        seconds, digest = json.loads(process.stdout.readline())
        return seconds, digest


def measure(size: Size) -> Report:
    """Measure both sides, and look whether they draw the same."""
    report = Report()
    lacking = diffusers.missing()
    if lacking is not None:
        report.notes.append(f"Skipped: diffusers is not installed ({lacking}).")
        return report
    seconds: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    alike: list[bool] = []
    with platform(MODEL, slots=1) as server, _peer() as peer:
        draw = {
            PLATFORM: lambda steps, seed: _through(server, steps, seed),
            BARE: peer.draw,
        }
        for each in draw.values():
            each(size.steps[0], 0)
        for number in range(size.rounds):
            say(f"images: round {number + 1} of {size.rounds}")
            names = (PLATFORM, BARE) if number % 2 == 0 else (BARE, PLATFORM)
            for steps in size.steps:
                digests: dict[str, list[str]] = {}
                for name in names:
                    drawn = [draw[name](steps, seed + 1) for seed in range(size.pictures)]
                    seconds[name, steps] += [took for took, _ in drawn]
                    digests[name] = [digest for _, digest in drawn]
                alike.append(digests[PLATFORM] == digests[BARE])
    _tell(report, seconds, size, alike=all(alike))
    return report


def _tell(
    report: Report, seconds: dict[tuple[str, int], list[float]], size: Size, *, alike: bool
) -> None:
    rows = [
        (name, str(steps), f"{1 / median(took):.2f}", *(f"{percentile(took, p) * 1e3:.0f}" for p in (50, 99)))
        for steps in size.steps
        for name in (PLATFORM, BARE)
        if (took := seconds[name, steps])
    ]  # fmt: skip
    report.tables.append(Table(("pictures", "steps", "pictures/s", "p50 ms", "p99 ms"), rows))
    for steps in size.steps:
        tax = 100 * (median(seconds[PLATFORM, steps]) / median(seconds[BARE, steps]) - 1)
        report.check(f"tax, {steps} steps", tax, at_most=TAX_TARGET_PERCENT, form="{:.1f} %")
    report.check("same seed, same pixels both ways", float(alike), at_least=1.0, form="{:.0f}")
    report.notes.append(
        f"{MODEL}, drawn at {OWN_SIDE} pixels a side, which is where a fixed cost weighs most; through the platform the picture is asked"
        f" for at {SIDE} pixels, so that it enlarges it and sends a PNG. One picture at a time."
    )


def _through(server: Running, steps: int, seed: int) -> tuple[float, str]:
    """Seconds until the whole reply is here, and a digest of the pixels."""
    started = perf_counter()
    file = _ask(server.target, steps, seed)
    seconds = perf_counter() - started
    return seconds, _digest(file)


def _ask(target: Target, steps: int, seed: int) -> bytes:
    body = {
        "model": MODEL,
        "prompt": PROMPT,
        "size": f"{SIDE}x{SIDE}",
        "steps": steps,
        "seed": seed,
        "response_format": "b64_json",
    }
    headers = {"Authorization": f"Bearer {target.bearer}", "Content-Type": "application/json"}
    url = f"http://{HOST}:{target.port}/v2/images/generations"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as reply:
        return base64.b64decode(json.load(reply)["data"][0]["b64_json"])


def _digest(file: bytes) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(file)) as picture:
        return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


@contextmanager
def _peer() -> Generator[Peer]:
    stored = ModelStore(model_store()).get(MODEL)
    assert stored is not None
    command = [sys.executable, str(Path(__file__).with_name("diffusers_peer.py"))]
    with running([*command, str(stored.folder), str(SIDE)], {}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield Peer(process)
