"""How fast files of rows come into a dataset: a ragged jsonl file, against HF `datasets` and polars where they are; rows lost.

Ragged means what real files are: fields that some rows have and others not, and fields whose type differs from row to row. What a
reader does not give back is lost, and so is everything when it gives up. Each side runs in a process of its own, whose peak memory is
told. Ours checks every row against the data format and writes shards; the others only parse. Neither is a dependency: the one that is
not installed gets an environment of its own, and is in the table by name where that cannot be made.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from peers import UnavailableError, install
from report import Report, Table, say


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    megabytes: int
    rounds: int = 1
    peers: bool = True


class Ran(NamedTuple):
    """What one side did with a file, and why it gave up if it did; busy seconds are those of processors."""

    seconds: float
    busy_seconds: float
    rows: int
    peak_bytes: float
    why: str


SIZES = {
    "full": Size(megabytes=1000, rounds=3),
    "quick": Size(megabytes=60),
    "smoke": Size(megabytes=1, peers=False),
}

OURS = """
    import pyarrow.parquet
    from yangfan.datasets.importing import ImportOrder, gather, read
    from yangfan.datasets.shards import BlobFolder
    from yangfan.egress import Egress
    from yangfan.hub.sources.base import HubSettings
    begun, busy = time.perf_counter(), time.process_time()
    order = ImportOrder(sources=(f"file:{file}",), data_format="PromptResponse", row_prefix="b")
    ignore = lambda *_: None
    state = gather(order, scratch / "job", egress=Egress(), settings=HubSettings(), state={}, save=ignore, tell=ignore)
    found = read(order, scratch / "job", blobs=BlobFolder(scratch / "blobs"), refused=scratch / "refused", state=state, save=ignore, tell=ignore)
    rows = found.rows
"""
_DATASETS = """
    import datasets
    begun, busy = time.perf_counter(), time.process_time()
    datasets.disable_progress_bars()
    rows = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(scratch / "cache")).num_rows
"""
_POLARS = """
    import polars
    begun, busy = time.perf_counter(), time.process_time()
    frame = polars.scan_ndjson(file, ignore_errors=False)
    frame.sink_parquet(scratch / "out.parquet")
    rows = polars.scan_parquet(scratch / "out.parquet").select(polars.len()).collect().item()
"""
_SIDES = (("yangfan", OURS), ("datasets", _DATASETS), ("polars", _POLARS))


def measure(size: Size) -> Report:
    """Measure one large file, every side in turns."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="yangfan-imports-") as name:
        folder = Path(name)
        file = folder / "rows.jsonl"
        rows = write_ragged(file, size.megabytes * 1_000_000)
        megabytes = file.stat().st_size / 1e6
        say(f"imports: {rows} rows, {megabytes:.0f} MB")
        pythons = {side: interpreter(side, size) for side, _ in _SIDES}
        found: dict[str, list[Ran]] = {side: [] for side, _ in _SIDES}
        for number in range(size.rounds):
            for side, code in _SIDES if number % 2 == 0 else reversed(_SIDES):
                if pythons[side]:
                    found[side].append(run(code, file, folder / side, pythons[side]))
                    say(f"imports: {side} took {found[side][-1].seconds:.1f} s")
        table: list[tuple[str, ...]] = []
        for side, ran in found.items():
            table.append(_line(side, ran, rows, megabytes))
            if side == "yangfan":
                lost = max(rows - one.rows for one in ran)
                peak = max(one.peak_bytes for one in ran)
                report.check("rows lost", lost, form="{:.0f}", at_most=0)
                report.check("peak memory, MB", peak / 1e6, form="{:.0f}", at_most=1074)
        costs = ("processor µs/row", "peak RSS MB", "rows lost")
        heads = ("ragged jsonl", "rows/s", "MB/s", *costs)
        report.tables.append(Table(heads, table))
        report.notes.append(
            f"{rows:,} rows, {megabytes:,.0f} MB; medians of {size.rounds} runs in turns. Ours checks every row and writes shards."
        )
    return report


def _line(side: str, ran: list[Ran], rows: int, megabytes: float) -> tuple[str, ...]:
    if not ran:
        return f"{side} (not installed)", "-", "-", "-", "-", "-"
    taken = min(one.rows for one in ran)
    seconds = statistics.median(one.seconds for one in ran)
    peak = f"{max(one.peak_bytes for one in ran) / 1e6:.0f}"
    if not taken or not seconds:
        why = next((one.why for one in ran if one.why), "no rows")
        return f"{side} ({why})", "-", "-", "-", peak, str(rows - taken)
    busy = statistics.median(one.busy_seconds for one in ran)
    rates = f"{taken / seconds:.0f}", f"{megabytes / seconds:.1f}", f"{busy / taken * 1e6:.1f}"
    return side, *rates, peak, str(rows - taken)


def interpreter(side: str, size: Size) -> str:
    """Whose Python has a side, or nothing."""
    if importlib.util.find_spec(side) is not None:
        return sys.executable
    try:
        return install(side) if size.peers else ""
    except UnavailableError:
        return ""


def write_ragged(file: Path, size_bytes: int) -> int:
    """Write rows of that size; how many there are."""
    generator = random.Random(23)
    words = [
        "数据",
        "question",
        "答案",
        "token",
        "模型",
        "训练",
        "platform",
        "emoji 🙂",
        "the",
        "of",
    ]
    block: list[bytes] = []
    for number in range(2000):
        text = " ".join(generator.choices(words, k=generator.randrange(3, 200)))
        row: dict[str, object] = {"prompt": text[:60], "response": text}
        if number % 3 == 0:
            row["score"] = generator.choice([1, 0.5, "high", None, [1, "two"]])
        if number % 5 == 0:
            row["source"] = generator.choice(["web", {"site": "x", "year": 2024}, {"site": 7}])
        if number % 7 == 0:
            row = {
                "instruction": row["prompt"],
                "output": row["response"],
                "tags": ["a", 1][: number % 3],
            }
        block.append(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    written = count = 0
    with file.open("wb") as out:
        while written < size_bytes:
            out.writelines(block)
            written += sum(map(len, block))
            count += len(block)
    return count


def run(code: str, file: Path, scratch: Path, python: str = sys.executable) -> Ran:
    """A side in a process of its own; what it wrote is removed, as it would fill a small disk."""
    scratch.mkdir()
    program = f"""
import json, resource, time
from pathlib import Path
file, scratch = Path({str(file)!r}), Path({str(scratch)!r})
rows, why, begun, busy = 0, "", time.perf_counter(), time.process_time()
try:
{textwrap.indent(textwrap.dedent(code), "    ")}
except Exception as error:
    why = type(error).__name__
seconds, busy = time.perf_counter() - begun, time.process_time() - busy
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print("RESULT" + json.dumps([seconds, busy, rows, peak, why]))
"""
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    shutil.rmtree(scratch, ignore_errors=True)
    if "RESULT" not in done.stdout:
        return Ran(0.0, 0.0, 0, 0.0, "killed" if done.returncode < 0 else done.stderr[-200:])
    return Ran(*json.loads(done.stdout.rpartition("RESULT")[2]))
