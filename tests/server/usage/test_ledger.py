"""The ledger: every record counts once, through crashes, failing folds and callers that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from yangfan.errors import ConfigurationError
from yangfan.server.db import Database
from yangfan.server.usage.ledger import DAY_SECONDS, Ledger
from yangfan.server.usage.spool import Spool
from yangfan.server.usage.store import UsageStore
from yangfan.server.usage.types import Count, UsageKey

DAY = 20_000
Open = Callable[[], Ledger]


@pytest.fixture
async def store(database_target: Path | str) -> AsyncGenerator[UsageStore]:
    database = Database(database_target)
    await database.migrate()
    yield UsageStore(database)
    await database.close()


@pytest.fixture
def ledger(store: UsageStore, tmp_path: Path) -> Ledger:
    return new_ledger(store, tmp_path)


def new_ledger(store: UsageStore, folder: Path) -> Ledger:
    spool = Spool(folder / "usage", segment_bytes=1024)
    return Ledger(store, spool, clock=lambda: float(DAY * DAY_SECONDS))


async def total(ledger: Ledger) -> Count:
    counts = await ledger.counts(DAY, DAY)
    assert set(counts) <= {UsageKey(DAY, "k", "echo")}
    return counts.get(UsageKey(DAY, "k", "echo"), Count())


async def crash(ledger: Ledger) -> None:
    """End a ledger the way that kill -9 does: nothing is folded, nothing is closed."""
    keeper = ledger._keeper  # pyright: ignore[reportPrivateUsage] - its task would outlive the test
    assert keeper is not None
    keeper.cancel()
    await asyncio.wait([keeper])


async def test_records_are_counted_at_once_and_kept_by_the_database(
    ledger: Ledger, store: UsageStore
):
    await ledger.start()
    ledger.record("k", "echo", 1, 2, 3)
    ledger.record("k", "echo", 0, 0, 4)
    assert await total(ledger) == Count(1, 2, 7)
    assert await ledger.tokens_by_key(DAY) == {"k": 9}
    assert await ledger.tokens_by_key(DAY + 1) == {}
    await ledger.stop()
    assert await store.counts(0, DAY, None, None) == {UsageKey(DAY, "k", "echo"): Count(1, 2, 7)}


async def test_ledger_that_crashed_adds_up_after_every_restart(store: UsageStore, tmp_path: Path):
    for life in range(4):
        ledger = new_ledger(store, tmp_path)
        await ledger.start()
        assert await total(ledger) == Count(life * 100, life * 100, life * 200)
        for _ in range(100):
            ledger.record("k", "echo", 1, 1, 2)
        await crash(ledger)
    assert len(list((tmp_path / "usage").iterdir())) > 1, "several segments to recover"
    ledger = new_ledger(store, tmp_path)
    await ledger.start()
    assert await total(ledger) == Count(400, 400, 800)
    await ledger.stop()


async def test_crash_between_the_fold_and_the_end_of_its_segment_counts_once(
    store: UsageStore, tmp_path: Path
):
    ledger = new_ledger(store, tmp_path)
    await ledger.start()
    ledger.record("k", "echo", 1, 1, 2)
    kept = [(path, path.read_bytes()) for path in (tmp_path / "usage").iterdir()]
    await ledger.fold()
    await crash(ledger)
    for path, data in kept:
        path.write_bytes(data)
    ledger = new_ledger(store, tmp_path)
    await ledger.start()
    assert await total(ledger) == Count(1, 1, 2)
    await ledger.stop()


class Failing(UsageStore):
    """A store whose folds fail, before or after the database has them."""

    before = after = False

    async def fold(self, counts: dict[UsageKey, Count], segment: int) -> None:
        if self.before:
            raise OSError("no")
        await super().fold(counts, segment)
        if self.after:
            raise OSError("too late")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_fold_that_fails_counts_once_in_the_end(tmp_path: Path, when: str):
    async with AsyncExitStack() as stack:
        database = Database(tmp_path / "yangfan.db")
        stack.push_async_callback(database.close)
        await database.migrate()
        store = Failing(database)
        ledger = new_ledger(store, tmp_path)
        await ledger.start()
        ledger.record("k", "echo", 1, 1, 2)
        setattr(store, when, True)
        if when == "before":
            with pytest.raises(OSError, match="no"):
                await ledger.fold()
        else:
            await ledger.fold()
        setattr(store, when, False)
        ledger.record("k", "echo", 1, 1, 2)
        assert await total(ledger) == Count(2, 2, 4)
        await ledger.stop()


async def test_caller_that_leaves_in_the_middle_of_a_fold_does_no_harm(ledger: Ledger):
    await ledger.start()
    for _ in range(10):
        ledger.record("k", "echo", 1, 1, 2)
        asking = asyncio.create_task(total(ledger))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
    assert await total(ledger) == Count(10, 10, 20)
    await ledger.stop()


async def test_folder_that_cannot_be_written_is_told_at_the_start(ledger: Ledger, tmp_path: Path):
    (tmp_path / "usage").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"cannot write usage into .*usage.*make room"):
        await ledger.start()


async def test_full_disk_costs_no_count_while_the_server_lives(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    await ledger.start()
    (tmp_path / "usage" / "usage-0000000002.log").mkdir()
    for _ in range(200):
        ledger.record("k", "echo", 1, 1, 2)
    (tmp_path / "usage" / "usage-0000000002.log").rmdir()
    assert await total(ledger) == Count(200, 200, 400)
    await ledger.stop()


async def test_servers_that_share_a_database_fold_their_own_spools(
    database_target: Path | str, tmp_path: Path
):
    database = Database(database_target)
    await database.migrate()
    for name, times in (("one", 3), ("other", 1), ("one", 2)):
        store = UsageStore(database, name)
        ledger = Ledger(store, Spool(tmp_path / name), clock=lambda: DAY * 86_400.0)
        await ledger.start()
        for _ in range(times):
            ledger.record("k", "echo", 1, 2, 3)
            await ledger.fold()
        ledger.record("k", "echo", 1, 2, 3)
        await ledger.stop()
    assert await UsageStore(database).counts(DAY, DAY, None, None) == {
        UsageKey(DAY, "k", "echo"): Count(9, 18, 27)
    }
    assert await UsageStore(database).tokens_by_key(DAY) == {"k": 45}
    await database.close()
