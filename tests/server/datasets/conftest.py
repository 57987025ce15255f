"""Datasets over a database of a test, on both kinds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from yangfan.server.datasets import Datasets
from yangfan.server.db import Database


@pytest.fixture
async def datasets(tmp_path: Path, database_target: Path | str) -> AsyncGenerator[Datasets]:
    database = Database(database_target)
    try:
        yield Datasets(database, tmp_path / "datasets")
    finally:
        await database.close()
