"""How fast files of rows come into a dataset: a ragged jsonl file, against HF `datasets` and polars where they are; rows lost; growth.

Ragged means what real files are: fields that some rows have and others not, and fields whose type differs from row to row. What a
reader does not give back is lost, and so is everything when it gives up. Each side runs in a process of its own, whose peak memory is
told. Ours checks every row against the data format and writes shards; the others only parse. Neither is a dependency: the one that is
not installed gets an environment of its own, and is in the table by name where that cannot be made.
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

from peers import UnavailableError, install
from report import Report, Table, say


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    megabytes: int
    growth: tuple[int, ...]
    peers: bool = True


SIZES = {
    "full": Size(megabytes=1000, growth=(10_000, 100_000, 1_000_000, 3_000_000)),
    "quick": Size(megabytes=60, growth=(10_000, 100_000)),
    "smoke": Size(megabytes=1, growth=(500, 1000), peers=False),
}

_OURS = """
    import pyarrow.parquet
    from yangfan.datasets.importing import ImportOrder, gather, read
    from yangfan.datasets.shards import BlobFolder
    from yangfan.egress import Egress
    from yangfan.hub.sources.base import HubSettings
    begun = time.perf_counter()
    order = ImportOrder(sources=(f"file:{file}",), data_format="PromptResponse", row_prefix="b")
    ignore = lambda *_: None
    state = gather(order, scratch / "job", egress=Egress(), settings=HubSettings(), state={}, save=ignore, tell=ignore)
    found = read(order, scratch / "job", blobs=BlobFolder(scratch / "blobs"), refused=scratch / "refused", state=state, save=ignore, tell=ignore)
    rows = found.rows
"""
_DATASETS = """
    import datasets
    begun = time.perf_counter()
    datasets.disable_progress_bars()
    rows = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(scratch / "cache")).num_rows
"""
_POLARS = """
    import polars
    begun = time.perf_counter()
    frame = polars.scan_ndjson(file, ignore_errors=False)
    frame.sink_parquet(scratch / "out.parquet")
    rows = polars.scan_parquet(scratch / "out.parquet").select(polars.len()).collect().item()
"""
_SIDES = (("yangfan", _OURS), ("datasets", _DATASETS), ("polars", _POLARS))


def measure(size: Size) -> Report:
    """Measure one large file, and growth."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="yangfan-imports-") as name:
        folder = Path(name)
        file = folder / "rows.jsonl"
        rows = write_ragged(file, size.megabytes * 1_000_000)
        megabytes = file.stat().st_size / 1e6
        say(f"imports: {rows} rows, {megabytes:.0f} MB")
        table: list[tuple[str, ...]] = []
        for side, code in _SIDES:
            python = interpreter(side, size)
            if not python:
                table.append((f"{side} (not installed)", "-", "-", "-", "-"))
                continue
            seconds, taken, peak, why = run(code, file, folder / side, python)
            done = seconds > 0 and taken > 0
            table.append(
                (
                    side if done else f"{side} ({why})",
                    f"{taken / seconds:.0f}" if done else "-",
                    f"{megabytes / seconds:.1f}" if done else "-",
                    f"{peak / 1e6:.0f}",
                    str(rows - taken),
                )
            )
            if side == "yangfan":
                report.check("rows lost", rows - taken, form="{:.0f}", at_most=0)
                report.check("peak memory, MB", peak / 1e6, form="{:.0f}", at_most=1074)
        report.tables.append(
            Table(("ragged jsonl", "rows/s", "MB/s", "peak RSS MB", "rows lost"), table)
        )
        report.tables.append(growth(size.growth, folder, report))
    return report


def interpreter(side: str, size: Size) -> str:
    """Whose Python has a side, or nothing."""
    if importlib.util.find_spec(side) is not None:
        return sys.executable
    try:
        return install(side) if size.peers else ""
    except UnavailableError:
        return ""


def growth(counts: tuple[int, ...], folder: Path, report: Report) -> Table:
    """Time for a row as files grow; loading the libraries is not timed."""
    rows: list[tuple[str, ...]] = []
    each: list[float] = []
    for count in counts:
        file = folder / f"growth-{count}.jsonl"
        write_ragged(file, rows=count)
        seconds, taken, peak, _ = run(_OURS, file, folder / f"growth-{count}")
        file.unlink()
        each.append(seconds / max(taken, 1) * 1e6)
        rows.append((f"{count} rows", f"{each[-1]:.1f}", f"{peak / 1e6:.0f}"))
        say(f"imports: {count} rows, {each[-1]:.1f} µs each")
    report.check(
        "time for a row, most rows against the second fewest",
        each[-1] / each[1],
        form="{:.2f} x",
        at_most=1.25,
    )
    return Table(("ours, as the file grows", "µs/row", "peak RSS MB"), rows)


def write_ragged(file: Path, size_bytes: int = 0, rows: int = 0) -> int:
    """Write rows of that size, or so many; how many there are."""
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
        while written < size_bytes or count < rows:
            lines = block if not rows else block[: rows - count]
            out.writelines(lines)
            written += sum(map(len, lines))
            count += len(lines)
    return count


def run(
    code: str, file: Path, scratch: Path, python: str = sys.executable
) -> tuple[float, int, float, str]:
    """Seconds, rows and peak memory of a side in a process of its own, and why it gave up."""
    scratch.mkdir()
    program = f"""
import json, resource, time
from pathlib import Path
file, scratch = Path({str(file)!r}), Path({str(scratch)!r})
rows, why, begun = 0, "", time.perf_counter()
try:
{textwrap.indent(textwrap.dedent(code), "    ")}
except Exception as error:
    why = type(error).__name__
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print("RESULT" + json.dumps([seconds, rows, peak, why]))
"""
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    if "RESULT" not in done.stdout:
        return 0.0, 0, 0.0, "killed" if done.returncode < 0 else done.stderr[-200:]
    seconds, rows, peak, why = json.loads(done.stdout.rpartition("RESULT")[2])
    return seconds, rows, peak, why
