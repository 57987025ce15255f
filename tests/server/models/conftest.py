"""A registry on a real database and a real model store, and versions put into it as a finished import does."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from yangfan.egress import Egress
from yangfan.hub.store import Manifest, ModelStore, StoredFile
from yangfan.server.db import Database
from yangfan.server.models import Models, Registry, Version
from yangfan.server.models.store import RegistryStore
from yangfan.server.models.types import Facts, File
from yangfan.server.settings import Settings


@dataclass
class Shop:
    """A registry with what it stands on; `used` says who uses a version."""

    registry: Registry
    files: ModelStore
    database: Database
    used: dict[str, str] = field(default_factory=dict[str, str])

    def blobs(self) -> set[bytes]:
        """Everything that the store holds."""
        return {blob.read_bytes() for blob in (self.files.root / "blobs").iterdir()}

    def keep(self, version_id: str, content: dict[str, bytes]) -> tuple[File, ...]:
        """Put files into the store under a version's id, as an import does."""
        stored: list[StoredFile] = []
        for path, data in content.items():
            digest = hashlib.sha256(data).hexdigest()
            part = self.files.partial_folder(version_id) / digest
            part.write_bytes(data)
            self.files.adopt(part, digest)
            stored.append(StoredFile(path, digest, len(data)))
        self.files.publish(
            Manifest(
                name=version_id,
                kind="chat",
                format="gguf",
                licence="MIT",
                source="file:/x",
                revision="",
                files=tuple(stored),
                created=datetime.now(UTC),
            )
        )
        return tuple(File(file.path, file.sha256, file.size_bytes) for file in stored)

    async def add(
        self,
        set_name: str,
        content: dict[str, bytes] | None = None,
        *,
        state: str = "Ready",
        parent_id: str = "",
        origin: Mapping[str, Any] | None = None,
    ) -> Version:
        """A version of a set, which is made if it is not there."""
        registry, store = self.registry, self.registry.store
        owner = await store.find_set(name=set_name, source="UserCreate")
        owner = owner or await registry.create_set(set_name)
        number = owner.number
        async with store.write() as connection:
            version_id = f"amv-{hashlib.sha256(str((set_name, datetime.now(UTC))).encode()).hexdigest()[:12]}"
            files = self.keep(version_id, content or {"m.gguf": b"GGUF"})
            row = await store.add_version(
                connection,
                number,
                {
                    "id": version_id,
                    "state": state,
                    "source_type": "Import",
                    "format": "gguf",
                    "parent_id": parent_id,
                    "origin": dict(origin or {}),
                    "size_bytes": sum(file.size_bytes for file in files),
                    "facts": Facts(chat_template="{{ x }}", licence="MIT"),
                },
                registry.now_ms(),
            )
            await store.set_files(connection, row, files)
        return await registry.version(version_id)


@pytest.fixture
async def shop(database_target: Path | str, tmp_path: Path) -> AsyncGenerator[Shop]:
    """An empty registry that knows the catalogue."""
    database = Database(database_target)
    await database.migrate()
    files = ModelStore(tmp_path / "store")
    used: dict[str, str] = {}

    async def users_of(version_id: str) -> str | None:
        return used.get(version_id)

    models = Models(files, Egress(), Settings(home=str(tmp_path)))
    registry = Registry(RegistryStore(database), files, models, users_of=users_of)
    await registry.start()
    yield Shop(registry, files, database, used)
    await database.close()
