"""What the tests of jobs share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from yangfan.server.db import Database
from yangfan.server.jobs import Jobs, Leases


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    """A database of this release."""
    database = Database(tmp_path / "yangfan.db")
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
def jobs(database: Database) -> Jobs:
    """Jobs that are tried again at once."""
    return Jobs(database, backoff_seconds=0.0)


@pytest.fixture
def leases(database: Database, jobs: Jobs) -> Leases:
    """The workers' side."""
    return Leases(database, jobs)
