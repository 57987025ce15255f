"""Live chat while a batch runs: the latency of calls that are answered at once, alone and beside a batch, on the echo engine.

    python benchmarks/batches.py --calls 400

Rounds alternate between idle and busy, so that a machine that slows down slows both. Each call waits a little before the next, as
people do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.conftest import serving

import yangfan

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 4
PAUSE_SECONDS = 0.01
WORDS = 20


def measure(client: yangfan.Client, calls: int) -> list[float]:
    """Seconds of each of so many calls, one after another."""
    found: list[float] = []
    text = "live " * WORDS
    for _ in range(calls):
        began = time.perf_counter()
        client.chat(text, model="echo")
        found.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    return found


def requests(count: int) -> bytes:
    """A batch of so many lines."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "batch " * WORDS}]}
    line = {"method": "POST", "url": "/v2/chat/completions", "body": body}
    return b"".join(
        json.dumps({"custom_id": str(number), **line}).encode() + b"\n" for number in range(count)
    )


def p95(values: Sequence[float]) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(values, n=20)[18]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="batches")
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--delay", type=float, default=0.002, help="seconds a token takes")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-batches-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        (home / "yangfan.toml").write_text(f"[options.echo]\ndelay_seconds = {given.delay}\n")
        with (
            serving(home) as server,
            yangfan.Client(server.base_url, bearer=server.bearer, version=2) as client,
        ):
            measure(client, 20)
            idle: list[float] = []
            busy: list[float] = []
            answered, seconds = 0, 0.0
            for _ in range(ROUNDS):
                idle += measure(client, given.calls // ROUNDS)
                id = client.batches.create(requests(100_000)).id
                while not client.batches.get(id).completed:
                    time.sleep(0.1)
                before, began = client.batches.get(id).completed, time.perf_counter()
                busy += measure(client, given.calls // ROUNDS)
                answered += client.batches.get(id).completed - before
                seconds += time.perf_counter() - began
                client.batches.cancel(id)
                client.batches.wait(id, poll_seconds=0.2)
    print(
        f"live p50 alone {1000 * statistics.median(idle):.1f} ms, beside a batch {1000 * statistics.median(busy):.1f} ms;"
        f" p95 alone {p95(idle):.1f} ms, beside a batch {p95(busy):.1f} ms: {p95(busy) / p95(idle):.2f} times;"
        f" the batch got {answered / seconds:.0f} answers/s meanwhile"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
