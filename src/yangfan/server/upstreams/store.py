"""Upstreams in the database: SQL in, types out; keys only sealed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from yangfan.server.upstreams.tables import UPSTREAMS
from yangfan.server.upstreams.types import Upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.server.access import Vault
    from yangfan.server.db import Database


class UpstreamStore:
    """The rows of `upstreams`.

    Args:
        database: Where they are.
        vault: Seals the keys.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def all(self) -> list[Upstream]:
        """Every upstream, the oldest first.

        Raises:
            ConfigurationError: The master key is not the one that sealed their keys.
        """
        query = sa.select(UPSTREAMS).order_by(UPSTREAMS.c.created_ms, UPSTREAMS.c.name)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [self._upstream(row) for row in rows]

    async def put(self, upstream: Upstream) -> None:
        """Insert it, or replace the one of its name."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(UPSTREAMS).where(UPSTREAMS.c.name == upstream.name))
            await connection.execute(sa.insert(UPSTREAMS).values(self._values(upstream)))

    async def see(self, name: str, seen: Sequence[tuple[str, str]]) -> None:
        """Keep what an upstream lists."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(UPSTREAMS)
                .where(UPSTREAMS.c.name == name)
                .values(seen=json.dumps(list(seen), ensure_ascii=False))
            )

    async def remove(self, name: str) -> None:
        """Delete it."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(UPSTREAMS).where(UPSTREAMS.c.name == name))

    def _values(self, upstream: Upstream) -> dict[str, Any]:
        secret = upstream.secret
        return {
            "name": upstream.name,
            "base_url": upstream.base_url,
            "dialect": upstream.dialect,
            "secret_sealed": self._vault.seal(secret, _label(upstream.name)) if secret else None,
            "models": None if upstream.models is None else json.dumps(upstream.models),
            "kinds": json.dumps(dict(upstream.kinds), ensure_ascii=False),
            "rename": json.dumps(dict(upstream.rename), ensure_ascii=False),
            "presets": int(upstream.presets),
            "first_byte_timeout_seconds": upstream.first_byte_timeout_seconds,
            "idle_timeout_seconds": upstream.idle_timeout_seconds,
            "created_ms": upstream.created_ms,
            "seen": json.dumps(upstream.seen, ensure_ascii=False),
        }

    def _upstream(self, row: sa.Row[Any]) -> Upstream:
        values: dict[str, Any] = dict(zip(UPSTREAMS.columns.keys(), row, strict=True))
        sealed = values.pop("secret_sealed")
        values["secret"] = (
            "" if sealed is None else self._vault.open(sealed, _label(values["name"]))
        )
        models = values["models"]
        values["models"] = None if models is None else tuple(json.loads(models))
        values["kinds"], values["rename"] = (
            json.loads(values["kinds"]),
            json.loads(values["rename"]),
        )
        values["presets"] = bool(values["presets"])
        values["seen"] = tuple((name, kind) for name, kind in json.loads(values["seen"]))
        return Upstream(**values)


def _label(name: str) -> str:
    """What the seal is bound to, apart from the ids of keys."""
    return f"upstream:{name}"
