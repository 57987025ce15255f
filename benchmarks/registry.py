"""A registry of many model versions: what a page of a list takes, what a start takes, beside an almost empty one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from report import Report, Table, say

from yangfan.egress import Egress
from yangfan.hub.store import ModelStore
from yangfan.server.db import Database
from yangfan.server.models import Models, Page, Registry
from yangfan.server.models.store import RegistryStore
from yangfan.server.models.types import Facts, File
from yangfan.server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_TARGET_MS = 50.0
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}" * 40
"""About what a chat template has."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is kept, and how often is asked."""

    sets: int
    versions_each: int
    rounds: int
    starts: int = 5

    @property
    def versions(self) -> int:
        """Of all sets together."""
        return self.sets * self.versions_each


SIZES = {
    "full": Size(sets=1000, versions_each=10, rounds=100),
    "quick": Size(sets=1000, versions_each=10, rounds=20),
    "smoke": Size(sets=5, versions_each=2, rounds=2, starts=1),
}

Asking = Callable[[], Awaitable[object]]


def measure(size: Size) -> Report:
    """Fill a registry and ask it."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        rows, starts = asyncio.run(_measured(Path(folder), size))
    report.tables.append(Table(("what", "median", "95th percentile", "most"), [*map(_row, rows)]))
    table = [(what, f"{median(taken):.1f} ms") for what, taken in starts]
    report.tables.append(Table(("start of the registry", "median"), table))
    worst = max(_at(taken, 0.95) for _, taken in rows)
    report.check(
        f"slowest page of {size.versions:,} versions, 95th percentile",
        worst,
        at_most=PAGE_TARGET_MS,
        form="{:.1f} ms",
    )
    few, many = (median(taken) for _, taken in starts)
    report.check(
        f"a start with {size.versions:,} versions over one with none",
        many - few,
        at_most=5.0,
        form="{:.1f} ms",
    )
    report.notes.append(
        f"{size.sets:,} sets of {size.versions_each} versions with two files and a chat template each, in SQLite; {size.rounds} rounds of each"
        " call, one after another, without HTTP. A page of sets has 100, Qianfan's most, with the ids of their versions; a numbered page has 20,"
        " its default, with the versions themselves. A start reads the catalogue and removes"
        " what is left over."
    )
    return report


async def _measured(
    folder: Path, size: Size
) -> tuple[list[tuple[str, list[float]]], list[tuple[str, list[float]]]]:
    registry, database = await _open(folder)
    few = [await _timed(registry.start) for _ in range(size.starts)]
    say(f"registry: {size.versions} versions are put in")
    ids = await _fill(registry, size)
    await database.close()
    registry, database = await _open(folder)
    many = [await _timed(registry.start) for _ in range(size.starts)]
    middle = ids[len(ids) // 2]
    last = f"set-{size.sets - 1:05d}"
    pages = max(1, size.sets // 40)
    calls: list[tuple[str, Asking]] = [
        ("first page of sets", lambda: registry.sets("UserCreate", Page(size=100))),
        (
            "page of sets from the middle, newest first",
            lambda: registry.sets("UserCreate", Page(middle, 100, newest_first=True)),
        ),
        (
            "numbered page of 20, from the middle",
            lambda: registry.numbered_sets("UserCreate", page=pages, page_size=20),
        ),
        (
            "numbered page of 20, filtered by a part of the name",
            lambda: registry.numbered_sets("UserCreate", name="T-0"),
        ),
        (
            "filtered to one set, ordered by name",
            lambda: registry.numbered_sets("UserCreate", name=last, order="name"),
        ),
        ("versions of a set", lambda: registry.versions(last, Page(size=100))),
        (
            "those that failed",
            lambda: registry.versions(last, Page(size=100), state="Fail"),
        ),
        ("one version by SET:VERSION", lambda: registry.find(f"{last}:1")),
        ("one version by SET@label", lambda: registry.find(f"{last}@production")),
    ]
    rows: list[tuple[str, list[float]]] = []
    for what, ask in calls:
        say(f"registry: {what}")
        await ask()
        rows.append((what, [await _timed(ask) for _ in range(size.rounds)]))
    await database.close()
    return rows, [("0 versions", few), (f"{size.versions:,} versions", many)]


async def _open(folder: Path) -> tuple[Registry, Database]:
    database = Database(folder / "yangfan.db")
    await database.migrate()
    files = ModelStore(folder)
    models = Models(files, Egress(), Settings(home=str(folder)))
    return Registry(RegistryStore(database), files, models), database


async def _fill(registry: Registry, size: Size) -> list[str]:
    """Versions as imports leave them, many to a transaction."""
    store, ids = registry.store, list[str]()
    facts = Facts(architecture="LlamaForCausalLM", licence="apache-2.0", chat_template=TEMPLATE)
    for first in range(0, size.sets, 100):
        async with store.write() as connection:
            for number in range(first, min(first + 100, size.sets)):
                made = await registry.add_set(connection, f"set-{number:05d}", "Text2Text")
                ids.append(made.id)
                row = 0
                for each in range(size.versions_each):
                    row = await store.add_version(
                        connection,
                        made.number,
                        {
                            "id": f"amv-{number:06x}{each:06x}",
                            "state": "Fail" if each % 7 == 6 else "Ready",
                            "source_type": "Import",
                            "format": "safetensors",
                            "facts": facts,
                        },
                        registry.now_ms(),
                    )
                    files = (
                        File("model.safetensors", f"{number:032x}{each:032x}", 10**9),
                        File("config.json", "0" * 64, 700),
                    )
                    await store.set_files(connection, row, files)
                await store.set_label(connection, made.number, "production", row)
    return ids


async def _timed(ask: Asking) -> float:
    started = perf_counter()
    await ask()
    return (perf_counter() - started) * 1e3


def _at(taken: Sequence[float], part: float) -> float:
    return sorted(taken)[min(len(taken) - 1, int(len(taken) * part))]


def _row(row: tuple[str, list[float]]) -> tuple[str, str, str, str]:
    what, taken = row
    figures = (median(taken), _at(taken, 0.95), max(taken))
    first, second, third = (f"{value:.1f} ms" for value in figures)
    return what, first, second, third
