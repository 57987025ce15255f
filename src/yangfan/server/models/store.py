"""Model sets and versions in the database: SQL in, types out.

What changes more than one row takes the connection of its caller's transaction; what only reads opens its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
import sqlalchemy as sa

from yangfan.hub import adapters
from yangfan.server.models.tables import FILES, GARBAGE, LABELS, SETS, TASKS, VERSIONS
from yangfan.server.models.types import Facts, File, ModelSet, SetLine, Task, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database
    from yangfan.server.models.types import SetType, Source, State, TaskKind

MAX_LISTED_VERSIONS = 100
"""Versions that a list shows of each set, newest first."""

_S, _V, _T = SETS.c, VERSIONS.c, TASKS.c
_FACTS = msgspec.json.Decoder(Facts)
_TAGS = msgspec.json.Decoder(tuple[str, ...])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_JOINED = VERSIONS.join(SETS, _V.set_number == _S.number)
_VERSION = (
    *(column for column in VERSIONS.columns if column.name != "chat_template"),
    _S.id.label("set_id"),
    _S.name.label("set_name"),
)
_OWN_FILES = (
    sa.select(FILES.c.sha256)
    .join(VERSIONS, FILES.c.version_number == _V.number)
    .where(_V.source_type != "PlatformPreset")
)
"""Content that versions have; what the catalogue promises is kept only where it was pulled, which the model store knows by itself."""

_VERSION_NAMES = tuple(column.name for column in _VERSION)
_SET = tuple(
    column for column in SETS.columns if column.name not in {"next_version", "version_count"}
)
_ORDERS = {"create_time": _S.number, "modify_time": _S.modified_ms, "name": _S.name}


class RegistryStore:
    """The rows of sets, versions, files, labels and tasks.

    Args:
        database: Where they live.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction for what changes more than one row."""
        return self._database.write()

    # Sets

    async def add_set(
        self,
        connection: AsyncConnection,
        set_id: str,
        name: str,
        source: Source,
        set_type: SetType,
        *,
        tags: Sequence[str] = (),
        description: str = "",
        now_ms: int,
    ) -> int:
        """Insert an empty set; its number."""
        values = {
            "id": set_id,
            "name": name,
            "source": source,
            "type": set_type,
            "tags": _text(list(tags)),
            "description": description,
            "next_version": 1,
            "version_count": 0,
            "created_ms": now_ms,
            "modified_ms": now_ms,
        }
        return await _insert(connection, SETS, values)

    async def find_set(
        self, connection: AsyncConnection | None = None, **by: str | int
    ) -> ModelSet | None:
        """The set with those values: `id`, `number`, or `name` and `source`."""
        query = sa.select(*_SET).filter_by(**by)
        row = await self._one(query, connection)
        return None if row is None else _set(row)

    async def change_set(self, connection: AsyncConnection, number: int, **values: Any) -> None:
        """Set columns of a set."""
        await connection.execute(sa.update(SETS).where(_S.number == number).values(**values))

    async def remove_set(self, connection: AsyncConnection, number: int) -> None:
        """Delete an empty set."""
        await connection.execute(sa.delete(SETS).where(_S.number == number))

    async def page_sets(
        self, source: Source, first_id: str | None, count: int, *, newest_first: bool
    ) -> list[SetLine]:
        """Up to `count` sets in order of creation, from that id on."""
        query = sa.select(*_SET, _S.version_count).where(_S.source == source).limit(count)
        if first_id is not None:
            at = sa.select(_S.number).where(_S.id == first_id).scalar_subquery()
            query = query.where(_S.number <= at if newest_first else _S.number >= at)
        query = query.order_by(_S.number.desc() if newest_first else _S.number)
        async with self._database.read() as connection:
            return await self._lines(connection, query, whole=False)

    async def numbered_sets(
        self,
        source: Source,
        *,
        name: str = "",
        types: Collection[SetType] | None = None,
        order: str = "create_time",
        descending: bool = True,
        page: int,
        page_size: int,
    ) -> tuple[list[SetLine], int]:
        """One page of the sets that match, counted from 1, and how many match."""
        where = [_S.source == source]
        if name:
            where.append(sa.func.lower(_S.name).contains(name.lower(), autoescape=True))
        if types is not None:
            where.append(_S.type.in_(types))
        column = _ORDERS.get(order, _S.number)
        query = (
            sa.select(*_SET, _S.version_count)
            .where(*where)
            .order_by(column.desc() if descending else column, _S.number.desc())
            .limit(page_size)
            .offset((page - 1) * page_size)
        )
        async with self._database.read() as connection:
            total = await connection.scalar(
                sa.select(sa.func.count()).select_from(SETS).where(*where)
            )
            return await self._lines(connection, query, whole=True), total or 0

    async def _lines(
        self, connection: AsyncConnection, query: sa.Select[Any], *, whole: bool
    ) -> list[SetLine]:
        """Sets with their newest versions, in two queries whatever their number."""
        rows = [dict(row) for row in (await connection.execute(query)).mappings()]
        newest = (
            sa.func.row_number()
            .over(partition_by=_V.set_number, order_by=_V.version.desc())
            .label("place")
        )
        ranked = sa.select(_V.number, _V.id, _V.set_number, _V.version, newest)
        ranked = ranked.where(_V.set_number.in_([row["number"] for row in rows])).subquery()
        few = ranked.c.place <= MAX_LISTED_VERSIONS
        ids = sa.select(ranked.c.set_number, ranked.c.id, ranked.c.version).where(few)
        listed: dict[int, list[tuple[str, int]]] = {}
        ids = ids.order_by(ranked.c.set_number, ranked.c.place)
        for set_number, version_id, version in await connection.execute(ids):
            listed.setdefault(set_number, []).append((version_id, version))
        versions: dict[int, list[Version]] = {}
        if whole:
            found = await connection.execute(
                sa.select(*_VERSION)
                .select_from(_JOINED)
                .where(_V.number.in_(sa.select(ranked.c.number).where(few)))
                .order_by(_V.set_number, _V.version.desc())
            )
            for values in found:
                version = _version(dict(zip(_VERSION_NAMES, values, strict=True)))
                versions.setdefault(version.set_number, []).append(version)
        return [
            SetLine(
                set=_set(row),
                version_count=row["version_count"],
                ids=tuple(each for each, _ in listed.get(row["number"], ())),
                numbers=tuple(each for _, each in listed.get(row["number"], ())),
                versions=tuple(versions.get(row["number"], ())),
            )
            for row in rows
        ]

    # Versions

    async def add_version(
        self, connection: AsyncConnection, set_number: int, values: Mapping[str, Any], now_ms: int
    ) -> int:
        """Insert a version under the set's next number; its own number."""
        row = (
            await connection.execute(
                sa.update(SETS)
                .where(_S.number == set_number)
                .values(
                    next_version=_S.next_version + 1,
                    version_count=_S.version_count + 1,
                    modified_ms=now_ms,
                )
                .returning(_S.next_version)
            )
        ).one()
        facts: Facts = values.get("facts", Facts())
        full: dict[str, Any] = {
            "set_number": set_number,
            "version": row[0] - 1,
            "description": "",
            "application": "chat",
            "kind": "chat",
            "format": "",
            "size_bytes": 0,
            "memory_bytes": 0,
            "source": "",
            "revision": "",
            "parent_id": "",
            "task_id": "",
            "error": "",
            "job_id": "",
            "created_ms": now_ms,
            "modified_ms": now_ms,
            **values,
            **_facts_columns(facts),
            "origin": _text(values.get("origin", {})),
        }
        return await _insert(connection, VERSIONS, full)

    async def change_version(self, connection: AsyncConnection, number: int, **values: Any) -> None:
        """Set columns of a version."""
        if "facts" in values:
            values.update(_facts_columns(values["facts"]))
        await connection.execute(sa.update(VERSIONS).where(_V.number == number).values(**values))

    async def set_files(
        self, connection: AsyncConnection, number: int, files: Iterable[File]
    ) -> None:
        """Say which files a version has."""
        rows = [{"version_number": number, **msgspec.structs.asdict(file)} for file in files]
        if rows:
            await connection.execute(sa.insert(FILES), rows)

    async def find_version(
        self, connection: AsyncConnection | None = None, **by: str | int
    ) -> Version | None:
        """The version with those values (`id`, `number`, `job_id`, or `set_number` and `version`), whole."""
        where = [VERSIONS.columns[name] == value for name, value in by.items()]
        query = sa.select(*_VERSION, _V.chat_template).select_from(_JOINED).where(*where).limit(1)
        if connection is not None:
            return await self._whole(connection, query)
        async with self._database.read() as reading:
            return await self._whole(reading, query)

    async def newest(self, set_number: int, *, ready: bool) -> Version | None:
        """The newest version of a set, or the newest that is ready."""
        query = sa.select(*_VERSION, _V.chat_template).select_from(_JOINED)
        query = query.where(_V.set_number == set_number).order_by(_V.version.desc()).limit(1)
        if ready:
            query = query.where(_V.state == "Ready")
        async with self._database.read() as connection:
            return await self._whole(connection, query)

    async def labelled(self, set_number: int, label: str) -> Version | None:
        """The version that a label of a set points to."""
        query = (
            sa.select(*_VERSION, _V.chat_template)
            .select_from(_JOINED.join(LABELS, LABELS.c.version_number == _V.number))
            .where(LABELS.c.set_number == set_number, LABELS.c.label == label)
        )
        async with self._database.read() as connection:
            return await self._whole(connection, query)

    async def page_versions(
        self,
        set_number: int,
        first_id: str | None,
        count: int,
        *,
        newest_first: bool,
        state: State | None = None,
    ) -> list[Version]:
        """Up to `count` versions of a set by number, from that id on, without files and templates."""
        query = sa.select(*_VERSION).select_from(_JOINED).where(_V.set_number == set_number)
        if state is not None:
            query = query.where(_V.state == state)
        if first_id is not None:
            at = sa.select(_V.version).where(_V.id == first_id).scalar_subquery()
            query = query.where(_V.version <= at if newest_first else _V.version >= at)
        query = query.order_by(_V.version.desc() if newest_first else _V.version).limit(count)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
            labels = await self._labels(connection, [row["number"] for row in rows])
        return [_version(row, labels=labels.get(row["number"], ())) for row in rows]

    async def version_ids(self, set_number: int, count: int) -> list[str]:
        """Ids of a set's versions, newest first."""
        query = sa.select(_V.id).where(_V.set_number == set_number)
        query = query.order_by(_V.version.desc()).limit(count)
        async with self._database.read() as connection:
            return list(await connection.scalars(query))

    async def preset_versions(self) -> set[str]:
        """Ids of the platform's own versions."""
        query = sa.select(_V.id).select_from(_JOINED).where(_S.source == "PlatformPreset")
        async with self._database.read() as connection:
            return {*(await connection.scalars(query))}

    async def needed_by(self, version_id: str) -> str | None:
        """The version that needs this one, in words: an adapter for it, or one that is being made of it; None if none does."""
        adapter = (_V.format == adapters.FORMAT) & (_V.state == "Ready")
        # Compressions are tasks of their own, which say more of themselves (`working_on`).
        made = (_V.state == "Creating") & (_V.source_type != "Acceleration")
        query = sa.select(_V.id, _V.state).where(_V.parent_id == version_id, adapter | made)
        async with self._database.read() as connection:
            found = (await connection.execute(query.limit(1))).one_or_none()
        if found is None:
            return None
        how = "is being made of it" if found.state == "Creating" else "is an adapter for it"
        return f"the model version {found.id} {how}"

    async def children(self, version_id: str, count: int) -> list[Version]:
        """Versions that were made from this one, newest first."""
        query = sa.select(*_VERSION).select_from(_JOINED).where(_V.parent_id == version_id)
        query = query.order_by(_V.number.desc()).limit(count)
        async with self._database.read() as connection:
            return [_version(row) for row in (await connection.execute(query)).mappings()]

    async def made_by(self, task_id: str) -> list[str]:
        """Ids of the versions that a training task became, oldest first."""
        query = sa.select(_V.id).where(_V.task_id == task_id).order_by(_V.number)
        async with self._database.read() as connection:
            return [*(await connection.scalars(query))]

    async def remove_version(self, connection: AsyncConnection, version: Version) -> None:
        """Delete a version with its labels and files; content that nothing else has becomes garbage."""
        shas = sa.select(FILES.c.sha256).where(FILES.c.version_number == version.number)
        elsewhere = _OWN_FILES.where(
            FILES.c.version_number != version.number, FILES.c.sha256.in_(shas)
        )
        lost = {*(await connection.scalars(shas.distinct()))} - {
            *(await connection.scalars(elsewhere.distinct()))
        }
        known = {
            *(
                await connection.scalars(
                    sa.select(GARBAGE.c.sha256).where(GARBAGE.c.sha256.in_(lost))
                )
            )
        }
        if lost - known:
            rows = [{"sha256": sha256} for sha256 in sorted(lost - known)]
            await connection.execute(sa.insert(GARBAGE), rows)
        for table in (FILES, LABELS):
            await connection.execute(
                sa.delete(table).where(table.c.version_number == version.number)
            )
        await connection.execute(sa.delete(VERSIONS).where(_V.number == version.number))
        await connection.execute(
            sa.update(SETS)
            .where(_S.number == version.set_number)
            .values(version_count=_S.version_count - 1)
        )

    # Content

    async def garbage(self) -> set[str]:
        """Content that lost its last version."""
        async with self._database.read() as connection:
            return {*(await connection.scalars(sa.select(GARBAGE.c.sha256)))}

    async def used(self, sha256s: Collection[str]) -> set[str]:
        """Which of these a version has."""
        query = _OWN_FILES.where(FILES.c.sha256.in_(sha256s)).distinct()
        async with self._database.read() as connection:
            return {*(await connection.scalars(query))}

    async def forget_garbage(self, sha256s: Collection[str]) -> None:
        """These are gone, or are used again."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(GARBAGE).where(GARBAGE.c.sha256.in_(sha256s)))

    # Labels

    async def set_label(
        self, connection: AsyncConnection, set_number: int, label: str, version_number: int
    ) -> None:
        """Have a label point to a version, wherever it pointed before."""
        await self.remove_label(connection, set_number, label)
        values = {"set_number": set_number, "label": label, "version_number": version_number}
        await connection.execute(sa.insert(LABELS).values(values))

    async def remove_label(self, connection: AsyncConnection, set_number: int, label: str) -> int:
        """Forget a label; how many there were."""
        done = await connection.execute(
            sa.delete(LABELS).where(LABELS.c.set_number == set_number, LABELS.c.label == label)
        )
        return done.rowcount

    async def labels(self, set_number: int) -> dict[str, str]:
        """Every label of a set and the id of its version."""
        query = (
            sa.select(LABELS.c.label, _V.id)
            .join(VERSIONS, LABELS.c.version_number == _V.number)
            .where(LABELS.c.set_number == set_number)
            .order_by(LABELS.c.label)
        )
        async with self._database.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def _labels(
        self, connection: AsyncConnection, numbers: Collection[int]
    ) -> dict[int, tuple[str, ...]]:
        query = sa.select(LABELS.c.version_number, LABELS.c.label)
        query = query.where(LABELS.c.version_number.in_(numbers)).order_by(LABELS.c.label)
        found: dict[int, tuple[str, ...]] = {}
        for number, label in await connection.execute(query):
            found[number] = (*found.get(number, ()), label)
        return found

    # Tasks

    async def add_task(self, connection: AsyncConnection, values: Mapping[str, Any]) -> None:
        """Insert a compression or an export."""
        full = {
            "name": "",
            "description": "",
            "state": "running",
            "version_id": "",
            "set_id": "",
            "error": "",
            "job_id": "",
            **values,
            "config": _text(values.get("config", {})),
            "result": _text({}),
        }
        await _insert(connection, TASKS, full)

    async def find_task(self, connection: AsyncConnection | None = None, **by: str) -> Task | None:
        """The task with those values: `id` or `job_id`."""
        row = await self._one(sa.select(TASKS).filter_by(**by).limit(1), connection)
        return None if row is None else _task(row)

    async def change_task(self, connection: AsyncConnection, number: int, **values: Any) -> None:
        """Set columns of a task."""
        if "result" in values:
            values["result"] = _text(values["result"])
        await connection.execute(sa.update(TASKS).where(_T.number == number).values(**values))

    async def remove_task(self, connection: AsyncConnection, number: int) -> None:
        """Forget a task."""
        await connection.execute(sa.delete(TASKS).where(_T.number == number))

    async def page_tasks(
        self,
        kind: TaskKind,
        source_id: str | None,
        first_id: str | None,
        count: int,
        *,
        newest_first: bool,
    ) -> list[Task]:
        """Up to `count` tasks in order of creation, from that id on."""
        query = sa.select(TASKS).where(_T.kind == kind)
        if source_id is not None:
            query = query.where(_T.source_id == source_id)
        if first_id is not None:
            at = sa.select(_T.number).where(_T.id == first_id).scalar_subquery()
            query = query.where(_T.number <= at if newest_first else _T.number >= at)
        query = query.order_by(_T.number.desc() if newest_first else _T.number).limit(count)
        async with self._database.read() as connection:
            return [_task(row) for row in (await connection.execute(query)).mappings()]

    async def working_on(self, connection: AsyncConnection, version_id: str) -> Task | None:
        """A task that still reads this version."""
        query = sa.select(TASKS).where(_T.source_id == version_id, _T.state == "running").limit(1)
        row = await self._one(query, connection)
        return None if row is None else _task(row)

    # Reading

    async def _one(
        self, query: sa.Select[Any], connection: AsyncConnection | None
    ) -> Mapping[str, Any] | None:
        if connection is not None:
            found = (await connection.execute(query)).mappings().one_or_none()
        else:
            async with self._database.read() as reading:
                found = (await reading.execute(query)).mappings().one_or_none()
        return cast("Mapping[str, Any] | None", found)

    async def _whole(self, connection: AsyncConnection, query: sa.Select[Any]) -> Version | None:
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            return None
        files = sa.select(FILES.c.path, FILES.c.sha256, FILES.c.size_bytes)
        files = files.where(FILES.c.version_number == row["number"]).order_by(FILES.c.path)
        found = tuple(File(*file) for file in await connection.execute(files))
        labels = await self._labels(connection, [row["number"]])
        return _version(row, files=found, labels=labels.get(row["number"], ()))


async def _insert(connection: AsyncConnection, table: sa.Table, values: Mapping[str, Any]) -> int:
    inserted = await connection.execute(sa.insert(table).values(dict(values)))
    key = inserted.inserted_primary_key
    assert key is not None
    return key[0]


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _facts_columns(facts: Facts) -> dict[str, str]:
    """The template apart from the rest: it is long, and lists do not show it."""
    rest = msgspec.structs.replace(facts, chat_template="")
    return {"facts": _text(rest), "chat_template": facts.chat_template}


def _set(row: Mapping[str, Any]) -> ModelSet:
    values: dict[str, Any] = {column.name: row[column.name] for column in _SET}
    values["tags"] = _TAGS.decode(values["tags"])
    return ModelSet(**values)


def _version(
    row: Mapping[Any, Any], *, files: tuple[File, ...] = (), labels: tuple[str, ...] = ()
) -> Version:
    values: dict[str, Any] = dict(row)
    facts = _FACTS.decode(values.pop("facts"))
    template = values.pop("chat_template", "")
    if template:
        facts = msgspec.structs.replace(facts, chat_template=template)
    values["origin"] = _OBJECT.decode(values["origin"])
    return Version(**values, facts=facts, files=files, labels=labels)


def _task(row: Mapping[Any, Any]) -> Task:
    values: dict[str, Any] = dict(row)
    for name in ("config", "result"):
        values[name] = _OBJECT.decode(values[name])
    return Task(**values)
