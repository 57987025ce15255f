"""What the tests of processing share: a server, and datasets put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import pytest
from tests.conftest import Server, serving
from tests.server.conftest import Caller

from yangfan import Client
from yangfan.datasets.formats import DataFormat, Sample, Turn
from yangfan.datasets.shards import ShardWriter, read_rows
from yangfan.server.datasets import Datasets, DatasetVersion
from yangfan.server.db import Database

T = TypeVar("T")


class Shelf:
    """Datasets of a running server, as a slice within it would see them."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def ask(self, call: Callable[[Datasets], Awaitable[T]]) -> T:
        """What a call of `Datasets` answers."""

        async def asked() -> T:
            database = Database(self.server.home / "yangfan.db")
            try:
                return await call(Datasets(database, self.server.home / "datasets"))
            finally:
                await database.close()

        return asyncio.run(asked())

    def put(self, name: str, samples: Sequence[Sample], data_format: DataFormat) -> DatasetVersion:
        """A new dataset with a version that has these rows."""

        async def made(datasets: Datasets) -> DatasetVersion:
            with ShardWriter(datasets.blobs, data_format) as writer:
                for row, sample in enumerate(samples):
                    writer.add(f"{name}-{row:04d}", sample)
                manifest = writer.finish()
            version = await datasets.create(name, data_format)
            async with datasets.database.write() as connection:
                return await datasets.publish_rows(
                    connection, version.id, manifest, {"kind": "test"}
                )

        return self.ask(made)

    def put_texts(self, name: str, texts: Sequence[str]) -> DatasetVersion:
        """The same of plain texts."""
        return self.put(name, [Sample(text=text) for text in texts], DataFormat.TEXT)

    def put_prompts(self, name: str) -> DatasetVersion:
        """A dataset with seeds."""
        samples = [
            Sample(
                turns=(Turn(f"{'算写读听画'[row % 5] * 4}{row}{'道篇段首'[row % 4] * 5}", ("好",)),)
            )
            for row in range(12)
        ]
        return self.put(name, samples, DataFormat.PROMPT_RESPONSE)

    def empty(self, name: str, data_format: DataFormat = DataFormat.TEXT) -> DatasetVersion:
        """A new dataset whose version has no rows."""
        return self.ask(lambda datasets: datasets.create(name, data_format))

    def version(self, reference: str) -> DatasetVersion:
        """A version."""
        return self.ask(lambda datasets: datasets.version(reference))

    def samples(self, reference: str) -> list[Sample]:
        """What a version says."""

        async def read(datasets: Datasets) -> list[Sample]:
            version = await datasets.version(reference)
            return [row.sample for row in read_rows(datasets.blobs, version.manifest)]

        return self.ask(read)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    home = tmp_path_factory.mktemp("processing") / "home"
    with serving(home) as server:
        yield Shelf(server)


@pytest.fixture(scope="module")
def caller(shelf: Shelf) -> Caller:
    return Caller(shelf.server)


@pytest.fixture(scope="module")
def client(shelf: Shelf) -> Iterator[Client]:
    server = shelf.server
    with Client(
        server.base_url,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        yield client
