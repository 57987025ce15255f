"""Datasets over a database of a test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from yangfan.server.datasets import Datasets
from yangfan.server.db import Database


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "yangfan.db"

    async def make() -> None:
        database = Database(path)
        await database.migrate()
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture
async def datasets(tmp_path: Path, empty_database: Path) -> AsyncGenerator[Datasets]:
    database = Database(Path(shutil.copy(empty_database, tmp_path / "yangfan.db")))
    try:
        yield Datasets(database, tmp_path / "datasets")
    finally:
        await database.close()
