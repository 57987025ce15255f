"""A backup taken while everybody writes, a machine lost, a platform restored; and archives that are none of ours."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from tests.postgresql import PostgreSQL

from yangfan.datasets.formats import DataFormat, Sample
from yangfan.datasets.shards import ShardWriter
from yangfan.errors import ConfigurationError
from yangfan.hub.store import Manifest, ModelStore, StoredFile
from yangfan.server.access import Access, Vault
from yangfan.server.access.secrets import load_or_create_master_key
from yangfan.server.access.store import KeyStore
from yangfan.server.backup import back_up, restore
from yangfan.server.datasets import Datasets, Samples
from yangfan.server.db import METADATA, Database
from yangfan.server.home import Home
from yangfan.server.jobs import Jobs, Leases
from yangfan.server.settings import Settings
from yangfan.server.usage.ledger import Ledger
from yangfan.server.usage.spool import Spool
from yangfan.server.usage.store import UsageStore

WEIGHTS = b"GGUF" + bytes(1000)


class Mortal(Ledger):
    """A ledger whose server can die: what it has counted stays in the spool, however long the test takes."""

    alive = True

    async def fold(self) -> None:
        if self.alive:
            await super().fold()


class Platform:
    """Home, settings and database of a platform without a server."""

    def __init__(
        self, path: Path, database: str | None = None, model_store: Path | None = None
    ) -> None:
        store = None if model_store is None else str(model_store)
        self.settings = Settings(home=str(path), database=database, model_store=store)
        self.home = Home(path)
        self.home.prepare()

    def open(self) -> Database:
        """Its database."""
        return Database(self.settings.database or self.home.database)

    async def fill(self) -> None:
        """Keys, a job that was worked on, a model, usage that is folded and usage that is not yet."""
        vault = Vault(load_or_create_master_key(self.home.master_key))
        database = self.open()
        await database.migrate()
        await Access(KeyStore(database), vault, required=True).load()
        jobs = Jobs(database)
        leases = Leases(database, jobs)
        await jobs.submit("count", {"steps": 1, "word": "扬帆"})
        (job,) = await leases.claim("x", 1)
        await leases.save(job.id, job.fence, 1, {"done": 1})
        ledger = self.ledger(database)
        await ledger.start()
        ledger.record("k", "echo", 1, 2, 3)
        await ledger.fold()
        ledger.alive = False
        ledger.record("k", "echo", 1, 2, 3)
        store = ModelStore(self.settings.model_store_path)
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        blob = self.home.path / "blobs" / digest
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(WEIGHTS)
        manifest = Manifest(
            name="small",
            kind="chat",
            format="gguf",
            licence="",
            source="file:x",
            revision="",
            files=(StoredFile("small.gguf", digest, len(WEIGHTS)),),
            created=datetime(2026, 11, 27, tzinfo=UTC),
        )
        folder = self.home.path / "models" / "small"
        linked = folder / "files" / manifest.digest / "small.gguf"
        linked.parent.mkdir(parents=True)
        linked.hardlink_to(blob)
        (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        assert store.get("small") is not None
        await database.close()

    def ledger(self, database: Database) -> Mortal:
        """Its ledger, without the server around it."""
        store = UsageStore(database, self.home.instance())
        return Mortal(store, Spool(self.home.usage), clock=lambda: 20_000 * 86_400.0)

    async def rows(self) -> Mapping[str, list[tuple[object, ...]]]:
        """Everything that is in the database."""
        database = self.open()
        found: dict[str, list[tuple[object, ...]]] = {}
        async with database.read() as connection:
            for name, table in METADATA.tables.items():
                rows = await connection.execute(sa.select(table))
                found[name] = sorted((tuple(row) for row in rows), key=repr)
        await database.close()
        return found

    async def requests(self) -> int:
        """How many requests its ledger has counted, once it runs again."""
        database = self.open()
        ledger = self.ledger(database)
        await ledger.start()
        counts = await ledger.counts(0, 99_999)
        await ledger.stop()
        await database.close()
        return sum(count.requests for count in counts.values())


def postgresql_url(kind: str, request: pytest.FixtureRequest) -> str | None:
    if kind == "sqlite":
        return None
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new()


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
async def test_a_platform_is_restored_whole_on_either_database(
    tmp_path: Path, request: pytest.FixtureRequest, source: str, target: str
):
    old = Platform(tmp_path / "old", postgresql_url(source, request))
    await old.fill()
    file = tmp_path / "backup.tar"
    written = await back_up(old.settings, old.home, file, with_models=True)
    assert (written.blobs, written.size_bytes) == (1, file.stat().st_size)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]  # noqa: PTH208 - a small folder
    new = Platform(tmp_path / "new", postgresql_url(target, request))
    read = await restore(new.settings, new.home, file, replace=False)
    assert (read.rows, read.blobs) == (written.rows, 1)
    assert await new.rows() == await old.rows()
    assert new.home.master_key.read_bytes() == old.home.master_key.read_bytes()
    assert await new.requests() == 2, "folded or not, each once"
    model = ModelStore(new.settings.model_store_path).get("small")
    assert model is not None
    assert model.path.read_bytes() == WEIGHTS
    blob = new.home.path / "blobs" / hashlib.sha256(WEIGHTS).hexdigest()
    assert model.path.stat().st_ino == blob.stat().st_ino, "kept once"
    database = new.open()
    job = await Jobs(database).submit("count", {})
    vault = Vault(new.home.master_key.read_bytes())
    credentials = await Access(KeyStore(database), vault, required=True).load()
    assert job.id
    assert credentials.bearer
    first, *_ = await KeyStore(database).all()
    (added,) = await KeyStore(database).add([replace(first, id="new")])
    assert added.number == 4, "counting goes on behind what is there"
    await database.close()


async def test_tables_come_behind_those_that_they_refer_to(
    tmp_path: Path, database_target: Path | str
):
    importlib.import_module("yangfan.server.app")  # every slice declares its tables
    database = Database(database_target)
    await database.migrate()
    file = tmp_path / "rows"
    with file.open("wb") as out:
        await database.snapshot(out)
    await database.close()
    order = [json.loads(line)["table"] for line in file.read_text("utf-8").splitlines()]
    assert sorted(order) == sorted(METADATA.tables)
    for table in METADATA.tables.values():
        for key in table.foreign_keys:
            assert order.index(key.column.table.name) < order.index(table.name)


async def test_a_backup_is_one_moment_of_a_database_that_is_written(
    tmp_path: Path, database_target: Path | str
):
    url = database_target if isinstance(database_target, str) else None
    old = Platform(tmp_path / "home", url)
    await old.fill()
    database = old.open()
    jobs, stop = Jobs(database), asyncio.Event()

    async def write() -> int:
        pairs = 0
        while not stop.is_set():
            async with database.write() as connection:
                for side in ("left", "right"):
                    await jobs.submit("count", {}, subject=f"{side} {pairs}", connection=connection)
            pairs += 1
        return pairs

    writing = asyncio.create_task(write())
    files = [tmp_path / f"{number}.tar" for number in range(3)]
    for file in files:
        await back_up(old.settings, old.home, file, with_models=False)
    stop.set()
    pairs = await writing
    await database.close()
    assert pairs > 3
    seen: list[int] = []
    for file in files:
        new = Platform(tmp_path / f"from-{file.stem}")
        await restore(new.settings, new.home, file, replace=False)
        subjects = {str(row[3]) for row in (await new.rows())["jobs"]}
        left = {text.split()[1] for text in subjects if text.startswith("left")}
        right = {text.split()[1] for text in subjects if text.startswith("right")}
        assert left == right == {str(number) for number in range(len(left))}
        seen.append(len(left))
    assert seen == sorted(seen)


async def test_what_is_there_is_never_overwritten(tmp_path: Path, postgresql: PostgreSQL):
    old = Platform(tmp_path / "old")
    await old.fill()
    file = tmp_path / "backup.tar"
    await back_up(old.settings, old.home, file, with_models=False)
    before = old.home.database.read_bytes()
    with pytest.raises(
        ConfigurationError, match=r"a platform in .* already; choose an empty --home"
    ):
        await restore(old.settings, old.home, file, replace=False)
    assert old.home.database.read_bytes() == before
    await restore(old.settings, old.home, file, replace=True)
    aside = old.home.path / "yangfan.db.before-restore"
    assert aside.read_bytes() == before
    full = Platform(tmp_path / "full", postgresql.new())
    await full.fill()
    with pytest.raises(ConfigurationError, match="is not empty; restore into an empty database"):
        await restore(full.settings, full.home, file, replace=True)


async def test_rows_of_datasets_come_back_with_what_they_name(tmp_path: Path):
    pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    old = Platform(tmp_path / "old")
    await old.fill()
    datasets = Datasets(old.open(), old.home.datasets)
    made = await datasets.create("poems", DataFormat.TEXT)
    with ShardWriter(datasets.blobs, DataFormat.TEXT) as writer:
        writer.add("a", Sample(text="扬帆"))
        manifest = writer.finish()
    async with datasets.database.write() as connection:
        await datasets.publish_rows(connection, made.id, manifest, {"kind": "import"})
    await datasets.database.close()
    archive = tmp_path / "all.tar"
    await back_up(old.settings, old.home, archive, with_models=False)
    new = Platform(tmp_path / "new")
    await restore(new.settings, new.home, archive, replace=False)
    restored = Datasets(new.open(), new.home.datasets)
    page = await Samples(restored).page("poems:1", 0, 10)
    assert [item.row.sample.text for item in page.items] == ["扬帆"]
    await restored.database.close()


@pytest.fixture
def other_disk(tmp_path: Path) -> Generator[Path]:
    """A folder, on another file system if this machine has one that is written to."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


async def test_a_restore_writes_every_blob_once_and_where_it_stays(
    tmp_path: Path, other_disk: Path
):
    """Files are renamed, never copied, and a blob that is there already is not even written: no second copy of a model on any disk."""
    old = Platform(tmp_path / "old")
    await old.fill()
    archive = tmp_path / "all.tar"
    await back_up(old.settings, old.home, archive, with_models=True)
    new = Platform(tmp_path / "new", model_store=other_disk)
    assert (await restore(new.settings, new.home, archive, replace=False)).blobs == 1
    (blob,) = (other_disk / "blobs").iterdir()
    assert blob.read_bytes() == WEIGHTS
    before = blob.stat()
    summary = await restore(new.settings, new.home, archive, replace=True)
    assert summary.blobs == 1
    assert (blob.stat().st_ino, blob.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # A damaged one is taken from the backup.
    blob.chmod(0o600)
    blob.write_bytes(WEIGHTS[::-1])
    await restore(new.settings, new.home, archive, replace=True)
    assert blob.read_bytes() == WEIGHTS
    assert [
        path.name
        for path in [*new.home.path.iterdir(), *blob.parent.parent.iterdir()]
        if "-restore-" in path.name
    ] == []


async def test_a_home_without_a_platform_has_nothing_to_back_up(tmp_path: Path):
    empty = Platform(tmp_path / "empty")
    with pytest.raises(ConfigurationError, match="there is no platform in"):
        await back_up(empty.settings, empty.home, tmp_path / "x.tar", with_models=True)
    full = Platform(tmp_path / "full")
    await full.fill()
    with pytest.raises(ConfigurationError, match="cannot back up into"):
        await back_up(full.settings, full.home, tmp_path / "no" / "x.tar", with_models=True)


HEAD = json.dumps(
    {"format": 1, "revision": "0007", "created": "2026-11-27T00:00:00Z", "with_models": True}
).encode()


def archive(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("models/a/b")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([], "no backup"),
        ([("other.json", b"{}")], "no backup of yangfan's"),
        ([("backup.json", b"{")], "damaged"),
        ([("backup.json", HEAD.replace(b"1", b"2", 1))], "newer release"),
        ([("backup.json", HEAD)], "incomplete"),
        ([("backup.json", HEAD), ("../evil", b"x")], "which no backup of yangfan's does"),
        ([("backup.json", HEAD), ("models/../../evil", b"x")], "which no backup"),
        ([("backup.json", HEAD), ("/tmp/evil", b"x")], "which no backup"),
        ([("backup.json", HEAD), ("server.json", b"x")], "which no backup"),
        ([("backup.json", HEAD), link(tarfile.SYMTYPE)], "which no backup"),
        ([("backup.json", HEAD), link(tarfile.LNKTYPE)], "which no backup"),
        ([("backup.json", HEAD), link(tarfile.CHRTYPE)], "which no backup"),
        ([("backup.json", HEAD), ("blobs/" + "0" * 64, b"x")], "is damaged in the backup"),
        (
            [("backup.json", HEAD), ("links.jsonl", b'["../evil","' + b"0" * 64 + b'"]\n')],
            "which no backup",
        ),
        (
            [("backup.json", HEAD), ("links.jsonl", b'["models/a/b","' + b"0" * 64 + b'"]\n')],
            "is missing in the backup",
        ),
        (
            [
                ("backup.json", HEAD),
                ("secret.key", bytes(32)),
                ("rows.jsonl", b'{"table":"keys","columns":["x"]}\n'),
            ],
            "do not fit",
        ),
        (
            [("backup.json", HEAD), ("secret.key", bytes(32)), ("rows.jsonl", b"[1]\n")],
            "rows are damaged",
        ),
    ],
)
async def test_an_archive_that_is_none_of_ours_writes_nothing_elsewhere(
    tmp_path: Path, members: list[tuple[str, bytes] | tarfile.TarInfo], says: str
):
    file = archive(tmp_path / "evil.tar", *members)
    new = Platform(tmp_path / "deep" / "new")
    with pytest.raises(ConfigurationError, match=says):
        await restore(new.settings, new.home, file, replace=False)
    assert not new.home.database.exists()
    assert named_evil(tmp_path) == {"evil.tar"}


def named_evil(folder: Path) -> set[str]:
    return {path.name for path in [*folder.rglob("*evil*"), *Path("/tmp").glob("evil")]}


async def test_half_a_backup_is_refused(tmp_path: Path):
    old = Platform(tmp_path / "old")
    await old.fill()
    file = tmp_path / "backup.tar"
    await back_up(old.settings, old.home, file, with_models=True)
    half = tmp_path / "half.tar"
    half.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    new = Platform(tmp_path / "new")
    with pytest.raises(ConfigurationError):
        await restore(new.settings, new.home, half, replace=False)
    assert not new.home.database.exists()
