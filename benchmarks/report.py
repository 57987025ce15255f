"""Tables of results in GitHub's Markdown, with the machine they come from, and their place in docs/measurements.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs/measurements.md", ROOT / "docs/measurements.zh-CN.md")
_PACKAGES = ("yangfan", "xllamacpp", "uvicorn", "uvloop", "httptools", "msgspec")


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is text, the others are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Markdown."""
        ruler = ["---", *("---:" for _ in self.columns[1:])]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.columns, ruler, *self.rows))


@dataclass(frozen=True, slots=True)
class Check:
    """A target and what came out; `met` only informs, nothing fails on a time."""

    what: str
    target: str
    measured: str
    met: bool


@dataclass(slots=True)
class Report:
    """What one question's measurement found, in the order of the page."""

    tables: list[Table] = field(default_factory=list[Table])
    checks: list[Check] = field(default_factory=list[Check])
    notes: list[str] = field(default_factory=list[str])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    """Versions of what was measured beside this project."""

    def check(
        self,
        what: str,
        measured: float,
        *,
        form: str,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Hold a figure against its target, both shown in `form`, such as ``{:.2f} ms``."""
        if at_most is not None:
            target, met = f"<= {form.format(at_most)}", measured <= at_most
        else:
            assert at_least is not None
            target, met = f">= {form.format(at_least)}", measured >= at_least
        self.checks.append(Check(what, target, form.format(measured), met))

    def markdown(self, machine: str) -> str:
        """The whole section."""
        rows = [
            (check.what, check.target, check.measured, "yes" if check.met else "**no**")
            for check in self.checks
        ]
        targets = [str(Table(("target", "wanted", "measured", "met"), rows))] if rows else []
        compared = [f"{name} {version}" for name, version in self.versions.items()]
        facts = ", ".join([machine, *compared])
        notes = ["\n".join(f"* {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join([f"_{facts}_", *map(str, self.tables), *targets, *notes])


def say(step: str) -> None:
    """Tell the person who waits what is being done; the tables alone go to stdout."""
    print(step, file=sys.stderr, flush=True)


def machine() -> str:
    """The machine, the versions and the date on one line. Called before the load, so that the load average is others'."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = (f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return ", ".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            _cpu(),
            f"{cores} cores",
            f"{memory:.0f} GB",
            f"Linux {platform.release().partition('-')[0]}",
            f"load average {os.getloadavg()[0]:.2f} before",
            f"Python {platform.python_version()}",
            f"commit {_commit()}",
            *versions,
        ]
    )


def write(name: str, text: str, pages: Sequence[Path] = PAGES) -> None:
    """Put a section between its markers on every page.

    Raises:
        SystemExit: A page has no such markers.
    """
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    for page in pages:
        head, has_begin, rest = page.read_text("utf-8").partition(begin)
        _, has_end, tail = rest.partition(end)
        if not has_begin or not has_end:
            raise SystemExit(f"{page} must hold {begin} and {end}")
        page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", "utf-8")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
