"""The memory of an import and an export of a large file: a process of its own each, and the most that it ever had.

    python -m tests.data_memory --gigabytes 10 --kills 2

With kills, the import is killed so often on its way and goes on in another process from what it saved last.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
from collections.abc import Mapping
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
    """Import, in a process of its own, from where an earlier one was killed."""
    order = ImportOrder(
        sources=(f"file:{folder / 'rows.jsonl'}",), data_format="PromptResponse", row_prefix="m"
    )
    job, kept = folder / "import", folder / "state.json"

    def save(state: Mapping[str, Any]) -> None:
        part = kept.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(state))
        part.replace(kept)

    def tell(done: float, total: float | None, *_: Any) -> None:
        send.send((done / (total or 1), peak_bytes()))

    state: dict[str, Any] = {}
    if kept.exists():
        state = msgspec.json.decode(kept.read_bytes())
    state = gather(
        order, job, egress=Egress(), settings=HubSettings(), state=state, save=save, tell=ignore
    )
    found = read(
        order,
        job,
        blobs=BlobFolder(folder / "blobs"),
        refused=folder / "refused.jsonl",
        state=state,
        save=save,
        tell=tell,
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


def in_process(target: Any, *args: Any, kill_at: float = 2.0) -> Any:
    """What a function sends last from a new process; None if it was killed because it came so far, a share of 1."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*args, send))
    process.start()
    send.close()
    try:
        while len(found := receive.recv()) == 2 and target is imported:
            if found[0] >= kill_at:
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
                print(f"killed at {found[0]:.0%}, peak memory {found[1] / 1e6:.0f} MB", flush=True)
                return None
        return found
    finally:
        process.join()


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=0, help="how often the import is killed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yangfan-data-memory-") as name:
        folder = Path(name)
        rows = write_rows(folder / "rows.jsonl", int(args.gigabytes * 1e9))
        size = (folder / "rows.jsonl").stat().st_size
        print(f"{size / 1e9:.2f} GB, {rows} rows", flush=True)
        begun = time.monotonic()
        for kill in range(args.kills):
            in_process(imported, folder, kill_at=(kill + 1) / (args.kills + 1))
        manifest, taken, bad, memory = in_process(imported, folder)
        seconds = time.monotonic() - begun
        print(
            f"import: {taken} rows taken, {bad} refused, {seconds:.0f} s, {taken / seconds:.0f} rows/s,"
            f" {size / seconds / 1e6:.1f} MB/s, peak memory {memory / 1e6:.0f} MB",
            flush=True,
        )
        begun = time.monotonic()
        written, more = in_process(exported, folder, manifest)
        seconds = time.monotonic() - begun
        print(f"export: {written} rows, {seconds:.0f} s, peak memory {more / 1e6:.0f} MB")
    if (taken + bad, written) != (rows, taken) or max(memory, more) > LIMIT_BYTES:
        raise SystemExit("rows are missing, or it took more than 1 GiB")


if __name__ == "__main__":
    main()
