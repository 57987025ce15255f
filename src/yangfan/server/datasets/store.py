"""Datasets in the database: SQL in, types out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from yangfan.datasets import formats
from yangfan.datasets.deltas import Delta
from yangfan.datasets.formats import DataFormat
from yangfan.datasets.manifest import Manifest
from yangfan.errors import Conflict
from yangfan.server.datasets.tables import (
    DATASET_DELTAS,
    DATASET_STATISTICS,
    DATASET_TASKS,
    DATASET_VERSIONS,
    DATASETS,
)
from yangfan.server.datasets.types import DatasetVersion, Group, Kind, Storage, Task
from yangfan.server.db import insert_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_G, _V, _T, _D = DATASETS.c, DATASET_VERSIONS.c, DATASET_TASKS.c, DATASET_DELTAS.c
_LINEAGE = msgspec.json.Decoder(tuple[dict[str, Any], ...])
_LABELS = msgspec.json.Decoder(tuple[str, ...])


def clock_ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000


# Groups


async def add_group(
    connection: AsyncConnection,
    group_id: str,
    name: str,
    data_format: DataFormat,
    storage: Storage,
    creator: str,
) -> Group:
    """Insert one.

    Raises:
        Conflict: There is one of that name.
    """
    now = clock_ms()
    values: dict[str, Any] = {
        "id": group_id,
        "name": name,
        "data_format": data_format.value,
        "storage_type": storage.type,
        "storage_id": storage.id,
        "storage_path": storage.path,
        "creator": creator,
        "latest": 0,
        "created_ms": now,
        "modified_ms": now,
    }
    try:
        async with connection.begin_nested():
            done = await connection.execute(sa.insert(DATASETS).values(values))
    except IntegrityError:
        raise _taken(name) from None
    (number,) = done.inserted_primary_key or (0,)
    return Group(number, group_id, name, data_format, storage, creator, 0, now, now)


async def find_group(connection: AsyncConnection, **wanted: Any) -> Group | None:
    """The one with these values."""
    query = sa.select(DATASETS).where(*(_G[name] == value for name, value in wanted.items()))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _group(row)


async def page_groups(
    connection: AsyncConnection,
    conditions: Sequence[sa.ColumnElement[bool]],
    first: int | None,
    count: int,
    *,
    newest_first: bool,
) -> list[Group]:
    """Up to `count`, from that number on."""
    query = sa.select(DATASETS).where(*conditions).limit(count)
    if first is not None:
        query = query.where(_G.number <= first if newest_first else _G.number >= first)
    query = query.order_by(_G.number.desc() if newest_first else _G.number)
    return [_group(row) for row in await connection.execute(query)]


async def change_group(connection: AsyncConnection, number: int, **values: Any) -> None:
    """Set columns.

    Raises:
        Conflict: There is one of that name.
    """
    try:
        async with connection.begin_nested():
            await connection.execute(
                sa.update(DATASETS).where(_G.number == number).values(**values)
            )
    except IntegrityError:
        raise _taken(values.get("name", "")) from None


async def remove_group(connection: AsyncConnection, number: int) -> None:
    """Delete one that has no versions left."""
    await connection.execute(sa.delete(DATASETS).where(_G.number == number))


# Versions


async def add_version(
    connection: AsyncConnection,
    group: Group,
    version_id: str,
    description: str,
    manifest: Manifest,
    lineage: Sequence[Mapping[str, Any]],
    creator: str,
) -> int:
    """Insert the next version of a group; its integer id."""
    now = clock_ms()
    latest = group.latest + 1
    done = await connection.execute(
        sa.insert(DATASET_VERSIONS).values(
            id=version_id,
            dataset_number=group.number,
            version=latest,
            description=description,
            manifest=manifest.encode().decode(),
            published=0,
            revision=0,
            lineage=_json(lineage),
            insight="",
            creator=creator,
            created_ms=now,
            modified_ms=now,
        )
    )
    (number,) = done.inserted_primary_key or (0,)
    await change_group(connection, group.number, latest=latest, modified_ms=now)
    return number


async def find_version(connection: AsyncConnection, **wanted: Any) -> DatasetVersion | None:
    """The one with these values."""
    found = await versions_where(
        connection, [_V[name] == value for name, value in wanted.items()], limit=1
    )
    return found[0] if found else None


async def versions_where(
    connection: AsyncConnection,
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    newest_first: bool = False,
    limit: int | None = None,
) -> list[DatasetVersion]:
    """Versions in order of creation."""
    query = sa.select(DATASET_VERSIONS).where(*conditions)
    query = query.order_by(_V.number.desc() if newest_first else _V.number).limit(limit)
    rows = (await connection.execute(query)).all()
    if not rows:
        return []
    numbers = [row.number for row in rows]
    groups = {
        row.number: _group(row)
        for row in await connection.execute(
            sa.select(DATASETS).where(_G.number.in_({row.dataset_number for row in rows}))
        )
    }
    tasks: dict[int, dict[Kind, Task]] = {}
    for row in await connection.execute(
        sa.select(DATASET_TASKS).where(_T.version_number.in_(numbers))
    ):
        tasks.setdefault(row.version_number, {})[row.kind] = _task(row)
    edits = {
        row.version_number: row
        for row in await connection.execute(
            sa.select(
                _D.version_number,
                sa.func.count().label("edits"),
                sa.func.sum(sa.case((_D.sample.is_(None), 1), else_=0)).label("deleted"),
                sa.func.sum(sa.case((_D.place.is_(None), 1), else_=0)).label("new"),
                sa.func.sum(_D.annotated - _D.was_annotated).label("annotated"),
            )
            .where(_D.version_number.in_(numbers))
            .group_by(_D.version_number)
        )
    }
    labels = await _edited_labels(connection, list(edits)) if edits else {}
    return [
        _version(
            row,
            groups[row.dataset_number],
            tasks.get(row.number, {}),
            edits.get(row.number),
            labels.get(row.number, frozenset()),
        )
        for row in rows
    ]


async def _edited_labels(
    connection: AsyncConnection, numbers: Sequence[int]
) -> dict[int, frozenset[str]]:
    """Labels of the edited rows of versions."""
    query = (
        sa.select(_D.version_number, _D.labels)
        .where(_D.version_number.in_(numbers), _D.sample.is_not(None))
        .distinct()
    )
    found: dict[int, frozenset[str]] = {}
    for row in await connection.execute(query):
        known = found.get(row.version_number, frozenset())
        found[row.version_number] = known | frozenset(_LABELS.decode(row.labels))
    return found


async def change_version(connection: AsyncConnection, number: int, **values: Any) -> None:
    """Set columns; `revision=None` raises it by one."""
    if "revision" in values:
        values["revision"] = _V.revision + 1
    if isinstance(values.get("manifest"), Manifest):
        values["manifest"] = values["manifest"].encode().decode()
    if "lineage" in values:
        values["lineage"] = _json(values["lineage"])
    await connection.execute(
        sa.update(DATASET_VERSIONS).where(_V.number == number).values(**values)
    )


async def remove_version(connection: AsyncConnection, number: int) -> None:
    """Delete one, what was done with it, and its edits."""
    await connection.execute(sa.delete(DATASET_TASKS).where(_T.version_number == number))
    await drop_deltas(connection, number)
    await connection.execute(sa.delete(DATASET_VERSIONS).where(_V.number == number))


async def manifests(connection: AsyncConnection) -> list[tuple[Manifest, str]]:
    """Manifest and insight of every version."""
    rows = await connection.execute(sa.select(_V.manifest, _V.insight))
    return [(Manifest.decode(row.manifest), row.insight) for row in rows]


async def edited_samples(connection: AsyncConnection) -> list[str]:
    """All edited samples that name content, as JSON."""
    query = sa.select(_D.sample).where(_D.sample.like('%"sha256"%'))
    return list((await connection.execute(query)).scalars())


# What was done


async def set_task(
    connection: AsyncConnection, version_number: int, kind: Kind, task: Task
) -> None:
    """What was last done with a version, of one kind."""
    values = {
        "state": task.state,
        "job_id": task.job_id,
        "error": task.error,
        "error_code": task.error_code,
        "count": task.count,
        "begun_ms": task.begun_ms,
        "ended_ms": task.ended_ms,
    }
    insert = insert_into(connection, DATASET_TASKS).values(
        version_number=version_number, kind=kind, **values
    )
    await connection.execute(
        insert.on_conflict_do_update(index_elements=["version_number", "kind"], set_=values)
    )


# Edits


async def deltas(connection: AsyncConnection, version_number: int) -> list[Delta]:
    """All edits of a version, in the order in which its rows were first edited."""
    query = sa.select(DATASET_DELTAS).where(_D.version_number == version_number).order_by(_D.number)
    return [_delta(row) for row in await connection.execute(query)]


async def find_deltas(
    connection: AsyncConnection, version_number: int, row_ids: Iterable[str]
) -> dict[str, Delta]:
    """The edits of some rows."""
    query = sa.select(DATASET_DELTAS).where(
        _D.version_number == version_number, _D.row_id.in_(list(row_ids))
    )
    return {row.row_id: _delta(row) for row in await connection.execute(query)}


async def put_delta(
    connection: AsyncConnection,
    version_number: int,
    delta: Delta,
    *,
    annotated: bool,
    was_annotated: bool,
) -> None:
    """Keep an edit of a row; what the shards say of it (`was_annotated`, `place`) is kept from its first one."""
    values: dict[str, Any] = {
        "sample": None if delta.sample is None else formats.encode(delta.sample),
        "labels": _json(delta.labels),
        "annotated": int(annotated),
        "created_ms": delta.created_ms,
        "annotated_ms": delta.annotated_ms,
    }
    insert = insert_into(connection, DATASET_DELTAS).values(
        version_number=version_number,
        row_id=delta.row_id,
        place=delta.place,
        was_annotated=int(was_annotated),
        **values,
    )
    await connection.execute(
        insert.on_conflict_do_update(index_elements=["version_number", "row_id"], set_=values)
    )


async def drop_delta(connection: AsyncConnection, version_number: int, row_id: str) -> None:
    """Forget the edit of a row."""
    await connection.execute(
        sa.delete(DATASET_DELTAS).where(_D.version_number == version_number, _D.row_id == row_id)
    )


async def drop_deltas(connection: AsyncConnection, version_number: int) -> None:
    """Forget all edits of a version."""
    await connection.execute(sa.delete(DATASET_DELTAS).where(_D.version_number == version_number))


async def copy_deltas(connection: AsyncConnection, source: int, target: int) -> None:
    """Give a version the edits of another one."""
    names = [
        column.name
        for column in DATASET_DELTAS.columns
        if column.name not in {"number", "version_number"}
    ]
    query = (
        sa.select(sa.literal(target), *(_D[name] for name in names))
        .where(_D.version_number == source)
        .order_by(_D.number)
    )
    await connection.execute(
        sa.insert(DATASET_DELTAS).from_select(["version_number", *names], query)
    )


# Statistics


async def statistics(connection: AsyncConnection, shards: Iterable[str]) -> dict[str, str]:
    """sha256 of the statistics of shards, where there are any."""
    table = DATASET_STATISTICS.c
    query = sa.select(DATASET_STATISTICS).where(table.shard_sha256.in_(list(shards)))
    return {row.shard_sha256: row.sha256 for row in await connection.execute(query)}


async def all_statistics(connection: AsyncConnection) -> dict[str, str]:
    """sha256 of the statistics of all shards."""
    return {
        row.shard_sha256: row.sha256
        for row in await connection.execute(sa.select(DATASET_STATISTICS))
    }


async def put_statistics(connection: AsyncConnection, found: Mapping[str, str]) -> None:
    """Remember the statistics of shards."""
    for shard, sha256 in found.items():
        insert = insert_into(connection, DATASET_STATISTICS).values(
            shard_sha256=shard, sha256=sha256
        )
        await connection.execute(
            insert.on_conflict_do_update(index_elements=["shard_sha256"], set_={"sha256": sha256})
        )


async def drop_statistics(connection: AsyncConnection, shards: Sequence[str]) -> None:
    """Forget those of shards that are gone."""
    table = DATASET_STATISTICS.c
    await connection.execute(sa.delete(DATASET_STATISTICS).where(table.shard_sha256.in_(shards)))


# Rows to types


def _group(row: sa.Row[Any]) -> Group:
    return Group(
        row.number,
        row.id,
        row.name,
        DataFormat(row.data_format),
        Storage(row.storage_type, row.storage_id, row.storage_path),
        row.creator,
        row.latest,
        row.created_ms,
        row.modified_ms,
    )


def _task(row: sa.Row[Any]) -> Task:
    values = dict(
        zip(DATASET_TASKS.columns.keys(), row, strict=True)
    )  # a row's `count` is a method
    return Task(**{name: values[name] for name in Task.__dataclass_fields__})


def _version(
    row: sa.Row[Any],
    group: Group,
    tasks: Mapping[Kind, Task],
    edits: Any | None,
    edited_labels: frozenset[str],
) -> DatasetVersion:
    manifest = Manifest.decode(row.manifest)
    rows, annotated = manifest.rows, manifest.annotated
    if edits is not None:
        rows += int(edits.new) - int(edits.deleted)
        annotated += int(edits.annotated)
    return DatasetVersion(
        number=row.number,
        id=row.id,
        group=group,
        version=row.version,
        description=row.description,
        manifest=manifest,
        rows=rows,
        annotated=annotated,
        size_bytes=manifest.size_bytes,
        characters=manifest.characters,
        labels=len(manifest.labels | edited_labels),
        edits=0 if edits is None else edits.edits,
        revision=row.revision,
        published=bool(row.published),
        tasks=tasks,
        lineage=cast("tuple[Mapping[str, Any], ...]", _LINEAGE.decode(row.lineage)),
        insight=row.insight,
        creator=row.creator,
        created_ms=row.created_ms,
        modified_ms=row.modified_ms,
    )


def _delta(row: sa.Row[Any]) -> Delta:
    return Delta(
        row_id=row.row_id,
        sample=None if row.sample is None else formats.decode(row.sample),
        labels=_LABELS.decode(row.labels),
        place=row.place,
        created_ms=row.created_ms,
        annotated_ms=row.annotated_ms,
    )


def _json(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is a dataset called {name[:100]!r}; make a version of that one, or take another name",
        param="datasetName",
    )
