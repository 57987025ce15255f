"""The memory of an import and an export of a large file: a process of its own each, and the most that it ever had.

python -m tests.data_memory --gigabytes 10
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from yangfan.datasets.exporting import ExportOrder, export
from yangfan.datasets.importing import ImportOrder, gather, read
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import BlobFolder
from yangfan.egress import Egress
from yangfan.hub.sources.base import HubSettings

LIMIT_BYTES = 1 << 30


def ignore(*_: Any) -> None:
    """Nobody is told."""


def write_rows(file: Path, size_bytes: int) -> int:
    """Ragged JSON lines of that size; how many rows."""
    generator = random.Random(3)
    words = ["数据", "question", "答案", "token", "模型", "训练", "x" * 40, "emoji 🙂"]
    lines: list[bytes] = []
    for number in range(5000):
        text = " ".join(generator.choices(words, k=generator.randrange(5, 400)))
        turn: dict[str, Any] = {"prompt": f"{number} {text[:80]}", "response": [[text]]}
        if number % 7 == 0:
            turn["meta"] = generator.choice([1, "one", [1, "two"], {"three": None}])
        lines.append(json.dumps([turn], ensure_ascii=False).encode() + b"\n")
    block = b"".join(lines)
    with file.open("wb") as out:
        for _ in range(max(1, size_bytes // len(block))):
            out.write(block)
    return len(lines) * max(1, size_bytes // len(block))


def imported(folder: Path, send: Connection) -> None:
    """Import, in a process of its own."""
    order = ImportOrder(
        sources=(f"file:{folder / 'rows.jsonl'}",), data_format="PromptResponse", row_prefix="m"
    )
    job = folder / "import"
    state = gather(
        order, job, egress=Egress(), settings=HubSettings(), state={}, save=ignore, tell=ignore
    )
    found = read(
        order,
        job,
        blobs=BlobFolder(folder / "blobs"),
        refused=folder / "refused.jsonl",
        state=state,
        save=ignore,
        tell=ignore,
    )
    send.send((msgspec.json.encode(found.manifest), found.rows, found.bad_rows, peak_bytes()))


def exported(folder: Path, manifest: bytes, send: Connection) -> None:
    """Export, in a process of its own."""
    order = ExportOrder(manifest=Manifest.decode(manifest))
    found = export(
        order,
        folder / "export",
        folder / "out.zip",
        blobs=BlobFolder(folder / "blobs"),
        state={},
        save=ignore,
        tell=ignore,
    )
    send.send((found.rows, peak_bytes()))


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_process(target: Any, *args: Any) -> Any:
    """What a function sends from a new process."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*args, send))
    process.start()
    send.close()
    try:
        return receive.recv()
    finally:
        process.join()


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yangfan-data-memory-") as name:
        folder = Path(name)
        rows = write_rows(folder / "rows.jsonl", int(args.gigabytes * 1e9))
        size = (folder / "rows.jsonl").stat().st_size
        print(f"{size / 1e9:.2f} GB, {rows} rows")
        begun = time.monotonic()
        manifest, taken, bad, memory = in_process(imported, folder)
        seconds = time.monotonic() - begun
        print(
            f"import: {taken} rows taken, {bad} refused, {seconds:.0f} s, {taken / seconds:.0f} rows/s,"
            f" {size / seconds / 1e6:.1f} MB/s, peak memory {memory / 1e6:.0f} MB"
        )
        begun = time.monotonic()
        written, more = in_process(exported, folder, manifest)
        seconds = time.monotonic() - begun
        print(f"export: {written} rows, {seconds:.0f} s, peak memory {more / 1e6:.0f} MB")
    if (taken + bad, written) != (rows, taken) or max(memory, more) > LIMIT_BYTES:
        raise SystemExit("rows are missing, or it took more than 1 GiB")


if __name__ == "__main__":
    main()
