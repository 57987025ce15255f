"""A database of the release before, with what people had in it, goes on in this one; what was is kept beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.postgresql import PostgreSQL

from yangfan.errors import ConfigurationError
from yangfan.server.access.store import KeyStore
from yangfan.server.db import Database
from yangfan.server.usage.store import UsageStore
from yangfan.server.usage.types import Count, UsageKey

RELEASED = Path(__file__).parent / "upgrade" / "0006.sql"
"""Made by the release's own server, its own migrations and its own commands."""

Rows = Mapping[str, list[tuple[Any, ...]]]


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The file of an earlier release."""
    path = tmp_path / "yangfan.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(RELEASED.read_text("utf-8"))
    return path


def rows_of(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for (name,) in names
        }


async def migrate(path: Path, backups: Path | None) -> None:
    database = Database(path)
    try:
        await database.migrate(backups)
    finally:
        await database.close()


async def test_everything_of_the_release_before_is_there(released: Path, tmp_path: Path):
    before = rows_of(released)
    assert all(before[name] for name in ("apps", "keys", "memories", "upstreams", "usage"))
    await migrate(released, tmp_path / "backups")
    after = rows_of(released)
    changed = {"alembic_version", "usage_folded"}
    for name in before.keys() - changed:
        assert after[name] == before[name], name
    assert after["usage_spools"] == [("", before["usage_folded"][0][1])]
    database = Database(released)
    keys = await KeyStore(database).all()
    assert [(key.kind, key.name, key.limits.rpm) for key in keys][-1] == ("bearer", "mine", 10)
    (usage,) = before["usage"]
    assert await UsageStore(database, "new").counts(0, 99_999, None, None) == {
        UsageKey(*usage[:3]): Count(*usage[3:])
    }
    assert await UsageStore(database, "new").folded() == before["usage_folded"][0][1]
    await database.close()


async def test_the_file_is_copied_before_it_is_upgraded_and_only_then(
    released: Path, tmp_path: Path
):
    before, backups = rows_of(released), tmp_path / "backups"
    await migrate(released, backups)
    (copy,) = backups.iterdir()
    assert copy.name.endswith("-0006.db")
    assert rows_of(copy) == before
    await migrate(released, backups)
    assert [*backups.iterdir()] == [copy], "nothing was upgraded, so nothing is copied"
    new = tmp_path / "new.db"
    await migrate(new, tmp_path / "none")
    assert not (tmp_path / "none").exists(), "a new database has nothing to lose"


async def test_the_last_three_copies_are_kept(released: Path, tmp_path: Path):
    backups = tmp_path / "backups"
    backups.mkdir()
    for year in range(2020, 2025):
        (backups / f"before-upgrade-{year}0101T000000Z-0001.db").touch()
    (backups / "mine.tar").touch()
    await migrate(released, backups)
    names = sorted(path.name for path in backups.iterdir())
    assert len(names) == 4
    assert names[0].startswith("before-upgrade-2023")
    assert names[-1] == "mine.tar"


async def test_an_upgrade_that_fails_changes_nothing(released: Path, tmp_path: Path):
    with closing(sqlite3.connect(released)) as connection:
        connection.execute("CREATE TABLE jobs (anything TEXT)")
        connection.commit()
    before = rows_of(released)
    with pytest.raises(ConfigurationError, match="table jobs already exists"):
        await migrate(released, tmp_path / "backups")
    assert rows_of(released) == before


async def test_postgresql_is_copied_row_by_row(postgresql: PostgreSQL, tmp_path: Path):
    url = postgresql.new()
    database = Database(url)
    await database.migrate()
    async with database.write() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0007'"))
    backups = tmp_path / "backups"
    # The tables are there already, so the upgrade itself fails; the copy was made before.
    with pytest.raises(ConfigurationError, match="already exists"):
        await database.migrate(backups)
    (copy,) = backups.iterdir()
    assert copy.name.endswith("-0007.jsonl")
    assert b'{"table":"keys"' in copy.read_bytes()
    await database.close()
