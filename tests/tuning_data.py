"""A published dataset in the home folder of a server that does not run yet."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

from yangfan.datasets.formats import DataFormat, parse
from yangfan.datasets.shards import ShardWriter
from yangfan.server.datasets import Datasets
from yangfan.server.datasets.store import change_version
from yangfan.server.db import Database
from yangfan.server.home import Home

ANSWER = "The sea was calm."


def seed(home: Path, rows: Sequence[tuple[str, str]] = ()) -> str:
    """Put questions and answers into a dataset named ``faq``; the id of its version, which is published."""
    turns = rows or [(f"Say only: yes {number}", ANSWER) for number in range(10)]
    return asyncio.run(_seed(Home(home), turns))


def trainable(folder: Path, target: Path) -> Path:
    """A copy of a model folder without its GGUF file, which an import would take instead."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.gguf"))
    return target


async def _seed(home: Home, rows: Sequence[tuple[str, str]]) -> str:
    home.prepare()
    database = Database(home.database)
    await database.migrate()
    datasets = Datasets(database, home.datasets)
    data_format = DataFormat("PromptResponse")
    version = await datasets.create("faq", data_format)
    writer = ShardWriter(datasets.blobs, data_format)
    for number, (asked, answer) in enumerate(rows):
        sample = parse(data_format, [{"prompt": asked, "response": [[answer]]}])
        writer.add(f"r{number}", sample)
    async with database.write() as connection:
        await datasets.publish_rows(connection, version.id, writer.finish(), {"kind": "test"})
        await change_version(connection, version.number, published=True)
    await database.close()
    return version.id
