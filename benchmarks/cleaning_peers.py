"""Cleaning beside others: data-juicer, the `qianfan` package's local operators and datatrove, each in an environment of its own.

Three chains over the same files, one of English and one of Chinese documents: the four ratio filters; the operators that data-juicer
has as well; all 17. Each side reads JSON lines and writes JSON lines, and the time is that from the libraries being loaded to the output
being there. Which rows stay is compared before any time is told. Each peer gets its list of requirements from
`requirements-NAME.txt`, ours the same thresholds; Chinese words are jieba's for everybody. What datatrove has of ours is a question of
its own, with three chains: its language filter; that and its replacing of addresses; its search for near-duplicates.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cleaning_corpus
from peers import HERE, UnavailableError, install
from report import Report, Table, say

from yangfan.operators import _tables

MOST_SECONDS = 3600
LANGUAGES = ("en", "zh")
LIMITS: dict[str, Any] = {
    "word_repetition_length": 5,
    "word_repetition_max": 0.6,
    "character_repetition_max": 0.2,
    "special_characters_max": 0.3,
    "flagged_words_max": 0.5,
}
FILTERS = (
    "filter_check_word_repetition_removal",
    "filter_check_character_repetition_removal",
    "filter_check_special_characters",
    "filter_check_flagged_words",
)
SHARED: dict[str, tuple[str, ...]] = {
    "clean": (
        "remove_web_identifiers",
        "replace_uniform_whitespace",
        "remove_non_meaning_characters",
        "replace_traditional_chinese_to_simplified",
    ),
    "filter": ("filter_check_number_words", *FILTERS, "filter_check_lang_id"),
    "deduplication": ("deduplication_simhash",),
    "desensitization": ("replace_emails", "replace_ip"),
}
"""What data-juicer has under another name."""
CHAINS = {
    "filters": "4 ratio filters",
    "shared": f"{sum(map(len, SHARED.values()))} operators that both have",
    "all": "all 17 operators",
}
OF_DATATROVE = {
    "language": "language filter",
    "personal": "the same, e-mail and IP addresses replaced",
    "near": "near-duplicates",
}
_STAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "filters": {"filter": FILTERS},
    "shared": SHARED,
    "all": {},
    "language": {"filter": ("filter_check_lang_id",)},
    "personal": {
        "filter": ("filter_check_lang_id",),
        "desensitization": ("replace_emails", "replace_ip"),
    },
    "near": {"deduplication": ("deduplication_simhash",)},
}
"""Of each chain; nothing is everything."""

_OURS = """
import json, sys, time
from pathlib import Path
from yangfan.operators.pipeline import recipe, run
settings = json.loads(Path(sys.argv[1]).read_text())
stages = settings["stages"]
wanted = recipe.parse({"operationsV2": stages, "language": settings["language"]}) if stages else recipe.everything()
begun = time.perf_counter()
out = Path(settings["out"])
report = run.Run(wanted, Path(settings["file"]), out, processes=settings["processes"])()
seconds = time.perf_counter() - begun
Path(sys.argv[2]).write_text(json.dumps({"seconds": seconds}))
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; without peers only ours runs."""

    documents: int
    rounds: int
    peers: bool = True
    processes: int = 2


SIZES = {
    "full": Size(100_000, 3),
    "quick": Size(20_000, 1),
    "smoke": Size(120, 1, peers=False, processes=1),
}


@dataclass(slots=True)
class Found:
    """What one side did with one chain over both files."""

    seconds: list[float] = field(default_factory=list[float])
    peak_bytes: int = 0
    written_bytes: int = 0
    stays: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    """Rows that stay, each with a hash of its text."""


def measure(size: Size) -> Report:
    """Measure every side with every chain that it has, in turns."""
    report = Report()
    sides: dict[str, tuple[str, ...]] = {"yangfan": ("filters", "shared", "all")}
    if size.peers:
        sides |= {"data-juicer": ("filters", "shared"), "qianfan": ("filters",)}
    found, size_bytes = _measured(sides, size, report)
    _tell(report, found, size, size_bytes)
    return report


def measure_datatrove(size: Size) -> Report:
    """Measure datatrove and ours with every chain that both have, in turns."""
    report = Report()
    chains = tuple(OF_DATATROVE)
    sides: dict[str, tuple[str, ...]] = {"yangfan": chains}
    if size.peers:
        sides |= {"datatrove": chains}
    found, size_bytes = _measured(sides, size, report)
    _tell_of_datatrove(report, found, size, size_bytes)
    return report


def _measured(
    sides: dict[str, tuple[str, ...]], size: Size, report: Report
) -> tuple[dict[tuple[str, str], Found], int]:
    """What each side did with each of its chains, and the bytes of the files; a side that cannot be is a note."""
    pythons = {"yangfan": sys.executable}
    for name in list(sides):
        if name == "yangfan":
            continue
        try:
            pythons[name] = install(name)
        except UnavailableError as error:
            report.notes.append(f"{name} is not in the table: {error}")
            del sides[name]
    found: dict[tuple[str, str], Found] = {}
    with tempfile.TemporaryDirectory(prefix="yangfan-cleaning-") as name:
        folder = Path(name)
        size_bytes = 0
        for language in LANGUAGES:
            size_bytes += write(folder / f"{language}.jsonl", language, size.documents // 2)
        say(f"cleaning_peers: {size.documents} documents, {size_bytes / 1e6:.0f} MB")
        for number in range(size.rounds):
            order = list(sides.items())
            for side, chains in order if number % 2 == 0 else reversed(order):
                for chain in chains:
                    one = found.setdefault((side, chain), Found())
                    try:
                        clean(pythons[side], side, chain, folder, size.processes, one)
                    except UnavailableError as error:
                        report.notes.append(f"{side} is not in the table: {error}")
                        sides = {key: value for key, value in sides.items() if key != side}
                        del found[side, chain]
                        break
                    what = (CHAINS | OF_DATATROVE)[chain]
                    say(f"cleaning_peers: {side}, {what}: {one.seconds[-1]:.1f} s")
    return found, size_bytes


def write(file: Path, language: str, number: int) -> int:
    """Write a file of documents; its size."""
    with file.open("w", encoding="utf-8") as out:
        for row, text in enumerate(cleaning_corpus.documents(language, number)):
            out.write(json.dumps({"text": text, "n": row}, ensure_ascii=False) + "\n")
    return file.stat().st_size


def clean(python: str, side: str, chain: str, folder: Path, processes: int, found: Found) -> None:
    """Run a chain over both files."""
    seconds, written = 0.0, 0
    for language in LANGUAGES:
        scratch = folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        out = scratch / "out" / "out.jsonl"
        out.parent.mkdir()
        settings = settings_of(chain, language) | {
            "file": str(folder / f"{language}.jsonl"),
            "processes": processes,
            "out": str(out),
            "scratch": str(scratch / "work"),
        }
        (scratch / "work").mkdir()
        asked, told = scratch / "settings.json", scratch / "told.json"
        asked.write_text(json.dumps(settings))
        program = ["-c", _OURS] if side == "yangfan" else [str(HERE / f"{_module(side)}_peer.py")]
        command = [python, *program, str(asked), str(told)]
        peak, wrote = watched(command)
        seconds += json.loads(told.read_text())["seconds"]
        found.peak_bytes = max(found.peak_bytes, peak)
        written += wrote
        with out.open("rb") as rows:
            for row in map(json.loads, rows):
                found.stays[language, row["n"]] = hash(row["text"])
    found.seconds.append(seconds)
    found.written_bytes = written


def settings_of(chain: str, language: str) -> dict[str, Any]:
    """What every side is told."""
    own = LIMITS | {"character_repetition_length": 3 if language == "zh" else 10}
    words = (_tables.TABLES / f"flagged_words.{language}.txt").read_text("utf-8")
    stages = {stage: list(names) for stage, names in _STAGES[chain].items()}
    return {
        "chain": chain,
        "language": language,
        "limits": own,
        "flagged_words": words.split("\n")[1:-1],
        "stages": stages,
    }


def watched(command: list[str]) -> tuple[int, int]:
    """Run a program: the most memory that it and its children had at once (PSS), and what they wrote to disk.

    Raises:
        UnavailableError: It failed.
    """
    environment = {**os.environ, "UV_OFFLINE": "1", "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"}
    peak = wrote = 0
    with tempfile.TemporaryFile() as said:
        begun = time.monotonic()
        program = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        # Left as a zombie until the last figure is read.
        while os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            tree = _tree(program.pid)
            peak = max(peak, sum(map(_memory_bytes, tree)))
            wrote = max(wrote, _written_bytes(tree))
            if time.monotonic() - begun > MOST_SECONDS:
                program.kill()
            time.sleep(0.2)
        wrote = max(wrote, _written_bytes([program.pid]))
        if program.wait():
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines() or ["nothing said"]
            raise UnavailableError(f"it failed after {time.monotonic() - begun:.0f} s: {lines[-1]}")
    return peak, wrote


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _memory_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) << 10


def _written_bytes(pids: list[int]) -> int:
    """Of these processes, and of their children that have ended."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        except OSError:
            continue
        facts = dict(line.split(": ") for line in lines)
        total += int(facts["write_bytes"]) - int(facts["cancelled_write_bytes"])
    return total


def _module(side: str) -> str:
    return {"data-juicer": "data_juicer", "qianfan": "qianfan_operators"}.get(side, side)


def _tell(report: Report, found: dict[tuple[str, str], Found], size: Size, size_bytes: int) -> None:
    rows: list[tuple[str, ...]] = []
    for chain, words in CHAINS.items():
        ours = found["yangfan", chain]
        for (side, of), one in found.items():
            if of != chain:
                continue
            seconds = statistics.median(one.seconds)
            equal = size.documents - len(one.stays.keys() ^ ours.stays.keys())
            times = seconds / statistics.median(ours.seconds)
            rows.append(
                (
                    f"{words}: {side}",
                    f"{size.documents / seconds:,.0f}",
                    f"{size_bytes / seconds / 1e6:.1f}",
                    "" if side == "yangfan" else f"{times:.1f}",
                    f"{one.peak_bytes / 1e6:.0f}",
                    f"{one.written_bytes / 1e6:.0f}",
                    f"{len(one.stays):,}",
                    "" if side == "yangfan" else f"{equal:,} of {size.documents:,}",
                )
            )
            if side == "data-juicer":
                what = f"times data-juicer's, {words}"
                report.check(what, times, at_least=10.0, form="{:.1f}")
    report.check(
        "memory of ours at most",
        max(one.peak_bytes for (side, _), one in found.items() if side == "yangfan") / 1e6,
        at_most=1000.0,
        form="{:.0f} MB",
    )
    report.tables.append(
        Table(
            (
                "two processes",
                "docs/s",
                "MB/s",
                "ours is faster, times",
                "peak memory MB",
                "written MB",
                "rows that stay",
                "equal decisions",
            ),
            rows,
        )
    )
    report.notes += [
        f"{size.documents:,} documents, {size_bytes / 1e6:.0f} MB of JSON lines, half English and half Chinese;"
        f" {'one round' if size.rounds == 1 else f'medians of {size.rounds} rounds in turns'}. Memory is the PSS of all processes together.",
        "data-juicer has no operator for emoji, invisible characters and numbers of persons, and its perplexity model cannot be had"
        " here. Its other operators' rules are not ours to the letter: its simhash is over runs of six words or characters, so that"
        " some decisions of the longer chain differ; its cleaning of pages and addresses differs, too. It runs without PyTorch, which it"
        " would fetch to free a GPU's memory.",
        "The qianfan package's operators run in one process, as it has no way to run them in more.",
    ]


def _tell_of_datatrove(
    report: Report, found: dict[tuple[str, str], Found], size: Size, size_bytes: int
) -> None:
    rows: list[tuple[str, ...]] = []
    for (side, chain), one in sorted(
        found.items(), key=lambda item: [*OF_DATATROVE].index(item[0][1])
    ):
        ours = found["yangfan", chain]
        seconds = statistics.median(one.seconds)
        cells = [
            f"{OF_DATATROVE[chain]}: {side}",
            f"{size.documents / seconds:,.0f}",
            f"{size_bytes / seconds / 1e6:.1f}",
            f"{one.peak_bytes / 1e6:.0f}",
            f"{one.written_bytes / 1e6:.0f}",
            f"{len(one.stays):,}",
        ]
        if side == "yangfan":
            rows.append((*cells, "", "", ""))
            continue
        times = seconds / statistics.median(ours.seconds)
        equal = size.documents - len(one.stays.keys() ^ ours.stays.keys())
        both = one.stays.keys() & ours.stays.keys()
        same = sum(one.stays[row] == ours.stays[row] for row in both)
        rows.append((*cells, f"{times:.1f}", f"{equal:,}", f"{same:,} of {len(both):,}"))
        report.check(
            f"times datatrove's, {OF_DATATROVE[chain]}", times, at_least=1.0, form="{:.1f}"
        )
    report.check(
        "memory of ours at most",
        max(one.peak_bytes for (side, _), one in found.items() if side == "yangfan") / 1e6,
        at_most=1000.0,
        form="{:.0f} MB",
    )
    heads = ("docs/s", "MB/s", "peak memory MB", "written MB", "rows that stay")
    compared = ("ours is faster, times", "equal decisions", "equal texts of those that both keep")
    report.tables.append(Table(("two processes", *heads, *compared), rows))
    report.notes += [
        f"{size.documents:,} documents, {size_bytes / 1e6:.0f} MB of JSON lines, half English and half Chinese;"
        f" {size.rounds} rounds in turns, medians. Memory is the PSS of all processes together.",
        "The language filters have one rule, one model (lid.176.ftz) and one threshold. Addresses are replaced by rules of their own on each"
        " side: datatrove's know no capital letters and no IPv6, and take versions for addresses. Its search for near-duplicates is MinHash over"
        " runs of five words, ours simhash over words within 4 bits: what is near is not the same, so that decisions are told and not held"
        " against each other. Its other filters (Gopher, C4, FineWeb) have rules that none of ours has.",
        "datatrove gives each of its tasks whole files: each file was cut in two for its two workers before the time began.",
    ]
