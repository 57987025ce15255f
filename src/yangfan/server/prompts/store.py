"""Prompt templates in the database: SQL in, types out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from yangfan.errors import Conflict
from yangfan.protocol.templates import HyperParameters
from yangfan.server.prompts.tables import (
    PROMPT_LABEL_LINKS,
    PROMPT_LABELS,
    PROMPT_VERSION_LABELS,
    PROMPT_VERSIONS,
    PROMPTS,
)
from yangfan.server.prompts.types import Content, Filter, Label, Template, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database

PRESET_NUMBERS = 10_000
"""Integer ids up to here are presets'; a template's own is its row's number beyond."""

PRESET_LABEL_NUMBERS = 1000
"""The same for labels."""

Key = int | str
"""A template's integer id, its ``pt-…``, or its name."""

_P, _V, _VL = PROMPTS.c, PROMPT_VERSIONS.c, PROMPT_VERSION_LABELS.c
_L, _LL = PROMPT_LABELS.c, PROMPT_LABEL_LINKS.c
_PARAMETERS = msgspec.json.Decoder(HyperParameters | None)
_NAMES = msgspec.json.Decoder(tuple[str, ...])


@dataclass(frozen=True, slots=True)
class Draft:
    """What a change makes of a template: its name, its labels, and a version to add if `content` is not None."""

    name: str
    label_ids: tuple[str, ...]
    content: Content | None = None
    note: str = ""


class PromptStore:
    """The rows of the tables of prompts.

    Args:
        database: Where they live.
        preset_labels: Labels that come with the platform, by id.
    """

    def __init__(self, database: Database, preset_labels: Mapping[str, Label]) -> None:
        self._database = database
        self._preset_labels = preset_labels

    async def add(
        self, prompt_id: str, scene: int, creator: str, draft: Draft, content: Content
    ) -> Template:
        """Insert a template with its first version.

        Raises:
            Conflict: There is one of that name.
        """
        now_ms = _now_ms()
        values = {
            "id": prompt_id,
            "name": draft.name,
            "scene": scene,
            "creator": creator,
            "latest": 1,
            "created_ms": now_ms,
            "modified_ms": now_ms,
        }
        try:
            async with self._database.write() as connection:
                done = await connection.execute(sa.insert(PROMPTS).values(values))
                (number,) = done.inserted_primary_key or (0,)
                await _add_version(connection, number, 1, content, draft.note, creator)
                await _link(connection, number, draft.label_ids)
                return await self._template(connection, await _row(connection, _P.number == number))
        except IntegrityError:
            raise _taken(draft.name) from None

    async def get(self, key: Key, version: int | str | None = None) -> Template | None:
        """The template of that key, at a version or at what a label of versions points at; None if there is no such template.

        A version that it lacks gives the newest one: see `Template.version`.
        """
        async with self._database.read() as connection:
            row = await _found(connection, _is(key))
            if row is None:
                return None
            return await self._template(connection, row, version)

    async def change(
        self, key: Key, creator: str, draft_of: Callable[[Template], Draft]
    ) -> Template | None:
        """Change a template as the function says, which is given it as it is, in one transaction; None if there is none.

        Raises:
            Conflict: Another one has the new name.
        """
        name = ""
        try:
            async with self._database.write() as connection:
                row = await _found(connection, _is(key), lock=True)
                if row is None:
                    return None
                before = await self._template(connection, row)
                draft = draft_of(before)
                name = draft.name
                await _write(connection, row.number, before, draft, creator)
                return await self._template(
                    connection, await _row(connection, _P.number == row.number)
                )
        except IntegrityError:
            raise _taken(name) from None

    async def copy(self, key: Key, version: int, creator: str, note: str) -> Template | None:
        """Add the content of a former version as the newest; None if there is no such template or version."""
        async with self._database.write() as connection:
            row = await _found(connection, _is(key), lock=True)
            if row is None:
                return None
            former = await self._template(connection, row, version)
            if former.version.number != version:
                return None
            draft = Draft(
                row.name, tuple(label.id for label in former.labels), former.version.content, note
            )
            await _write(connection, row.number, former, draft, creator)
            return await self._template(connection, await _row(connection, _P.number == row.number))

    async def point(self, key: Key, label: str, version: int | str | None) -> Template | None:
        """Have a label of versions point at one; that version, or None if there is no such template or version."""
        async with self._database.write() as connection:
            row = await _found(connection, _is(key), lock=True)
            if row is None:
                return None
            found = await self._template(connection, row, version)
            if not _is_meant(found, version):
                return None
            await connection.execute(
                sa.delete(PROMPT_VERSION_LABELS).where(
                    _VL.prompt_number == row.number, _VL.label == label
                )
            )
            await connection.execute(
                sa.insert(PROMPT_VERSION_LABELS).values(
                    prompt_number=row.number, label=label, version=found.version.number
                )
            )
            return await self._template(connection, row, found.version.number)

    async def unpoint(self, key: Key, label: str) -> bool:
        """Take a label of versions away; False if there is none."""
        numbers = sa.select(_P.number).where(_is(key)).scalar_subquery()
        async with self._database.write() as connection:
            done = await connection.execute(
                sa.delete(PROMPT_VERSION_LABELS).where(
                    _VL.prompt_number == numbers, _VL.label == label
                )
            )
        return done.rowcount > 0

    async def remove(self, keys: Sequence[Key]) -> Key | None:
        """Delete templates with all that belongs to them, all or none; the first key that means none."""
        async with self._database.write() as connection:
            numbers: list[int] = []
            for key in keys:
                row = await _found(connection, _is(key), lock=True)
                if row is None:
                    return key
                numbers.append(row.number)
            for table in (PROMPT_LABEL_LINKS, PROMPT_VERSION_LABELS, PROMPT_VERSIONS):
                await connection.execute(sa.delete(table).where(table.c.prompt_number.in_(numbers)))
            await connection.execute(sa.delete(PROMPTS).where(_P.number.in_(numbers)))
        return None

    async def count(self, wanted: Filter) -> int:
        """How many there are."""
        query = sa.select(sa.func.count()).select_from(PROMPTS).where(*_clauses(wanted))
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one()

    async def page(
        self,
        wanted: Filter,
        *,
        newest_first: bool,
        limit: int,
        offset: int = 0,
        first_number: int | None = None,
    ) -> list[Template]:
        """Up to `limit` of them at their newest version, from an offset or from an integer id on."""
        query = sa.select(PROMPTS).where(*_clauses(wanted)).limit(limit).offset(offset)
        if first_number is not None:
            at = first_number - PRESET_NUMBERS
            query = query.where(_P.number <= at if newest_first else _P.number >= at)
        query = query.order_by(_P.number.desc() if newest_first else _P.number)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            return await self._templates(connection, rows)

    async def versions(
        self, number: int, *, newest_first: bool, limit: int, first: int | None
    ) -> list[Version]:
        """Up to `limit` versions of a template by its integer id, from one on."""
        row_number = number - PRESET_NUMBERS
        query = sa.select(PROMPT_VERSIONS).where(_V.prompt_number == row_number).limit(limit)
        if first is not None:
            query = query.where(_V.version <= first if newest_first else _V.version >= first)
        query = query.order_by(_V.version.desc() if newest_first else _V.version)
        async with self._database.read() as connection:
            labels = await _version_labels(connection, [row_number])
            return [
                _version(row, labels.get((row_number, row.version), ()))
                for row in await connection.execute(query)
            ]

    async def labels(self) -> list[Label]:
        """All labels that were made here, oldest first."""
        async with self._database.read() as connection:
            return await _labels(connection)

    async def add_labels(self, labels: Sequence[tuple[str, str]], color: str, creator: str) -> None:
        """Insert labels of these ids and names.

        Raises:
            Conflict: There is one of that name.
        """
        values = [
            {"id": id_, "name": name, "color": color, "creator": creator, "created_ms": _now_ms()}
            for id_, name in labels
        ]
        try:
            async with self._database.write() as connection:
                await connection.execute(sa.insert(PROMPT_LABELS), values)
        except IntegrityError:
            names = ", ".join(name for _, name in labels)
            raise Conflict(
                f"one of the labels {names[:200]} exists; DescribePromptLabels lists them",
                param="name",
            ) from None

    async def remove_label(self, label_id: str) -> None:
        """Delete a label; templates lose it."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(PROMPT_LABEL_LINKS).where(_LL.label_id == label_id))
            await connection.execute(sa.delete(PROMPT_LABELS).where(_L.id == label_id))

    async def _template(
        self, connection: AsyncConnection, row: sa.Row[Any], version: int | str | None = None
    ) -> Template:
        (found,) = await self._templates(connection, [row], version)
        return found

    async def _templates(
        self,
        connection: AsyncConnection,
        rows: Sequence[sa.Row[Any]],
        version: int | str | None = None,
    ) -> list[Template]:
        """Rows with all that belongs to them: at their newest version, or at the one that is meant if they have it."""
        numbers = [row.number for row in rows]
        if not numbers:
            return []
        pointing = await _version_labels(connection, numbers)
        wanted = {row.number: row.latest for row in rows}
        for row in rows:
            if isinstance(version, int) and 1 <= version <= row.latest:
                wanted[row.number] = version
            elif isinstance(version, str):
                named = [
                    at
                    for (number, at), labels in pointing.items()
                    if number == row.number and version in labels
                ]
                wanted[row.number] = named[0] if named else row.latest
        pairs = sa.tuple_(_V.prompt_number, _V.version).in_(list(wanted.items()))
        contents = {
            found.prompt_number: found
            for found in await connection.execute(sa.select(PROMPT_VERSIONS).where(pairs))
        }
        labels = await self._labels_of(connection, numbers)
        return [
            Template(
                number=row.number + PRESET_NUMBERS,
                id=row.id,
                name=row.name,
                preset=False,
                scene=row.scene,
                labels=tuple(labels.get(row.number, ())),
                creator=row.creator,
                created_ms=row.created_ms,
                modified_ms=row.modified_ms,
                latest=row.latest,
                version=_version(
                    contents[row.number], pointing.get((row.number, wanted[row.number]), ())
                ),
            )
            for row in rows
        ]

    async def _labels_of(
        self, connection: AsyncConnection, numbers: Sequence[int]
    ) -> dict[int, list[Label]]:
        links = (
            await connection.execute(
                sa.select(PROMPT_LABEL_LINKS)
                .where(_LL.prompt_number.in_(numbers))
                .order_by(_LL.label_id)
            )
        ).all()
        known = dict(self._preset_labels)
        if any(link.label_id not in known for link in links):
            known |= {label.id: label for label in await _labels(connection)}
        found: dict[int, list[Label]] = {}
        for link in links:
            if link.label_id in known:
                found.setdefault(link.prompt_number, []).append(known[link.label_id])
        return found


def _is_meant(found: Template, version: int | str | None) -> bool:
    """Whether the template stands at the version that was asked for, and not at the newest for want of it."""
    if version is None:
        return True
    at = found.version
    return at.number == version if isinstance(version, int) else version in at.labels


def _is(key: Key) -> sa.ColumnElement[bool]:
    if isinstance(key, int):
        return _P.number == key - PRESET_NUMBERS
    return _P.id == key if key.startswith("pt-") else _P.name == key


def _clauses(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    clauses: list[sa.ColumnElement[bool]] = []
    if wanted.name:
        clauses.append(_P.name.icontains(wanted.name, autoescape=True))
    clauses += [
        _P.number.in_(sa.select(_LL.prompt_number).where(_LL.label_id == label_id))
        for label_id in wanted.label_ids
    ]
    return clauses


async def _found(
    connection: AsyncConnection, which: sa.ColumnElement[bool], *, lock: bool = False
) -> sa.Row[Any] | None:
    query = sa.select(PROMPTS).where(which)
    found = await connection.execute(query.with_for_update() if lock else query)
    return found.one_or_none()


async def _row(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> sa.Row[Any]:
    return (await connection.execute(sa.select(PROMPTS).where(which))).one()


async def _write(
    connection: AsyncConnection, number: int, before: Template, draft: Draft, creator: str
) -> None:
    latest = before.latest
    if draft.content is not None:
        latest += 1
        await _add_version(connection, number, latest, draft.content, draft.note, creator)
    await connection.execute(
        sa.update(PROMPTS)
        .where(_P.number == number)
        .values(name=draft.name, latest=latest, modified_ms=_now_ms())
    )
    if draft.label_ids != tuple(label.id for label in before.labels):
        await connection.execute(sa.delete(PROMPT_LABEL_LINKS).where(_LL.prompt_number == number))
        await _link(connection, number, draft.label_ids)


async def _add_version(
    connection: AsyncConnection,
    number: int,
    version: int,
    content: Content,
    note: str,
    creator: str,
) -> None:
    await connection.execute(
        sa.insert(PROMPT_VERSIONS).values(
            prompt_number=number,
            version=version,
            text=content.text,
            identifier=content.identifier,
            variables=_json(content.variables),
            negative_text=content.negative_text,
            negative_variables=_json(content.negative_variables),
            framework=content.framework,
            parameters=_json(content.parameters),
            note=note,
            creator=creator,
            created_ms=_now_ms(),
        )
    )


async def _link(connection: AsyncConnection, number: int, label_ids: Iterable[str]) -> None:
    values = [{"prompt_number": number, "label_id": label_id} for label_id in label_ids]
    if values:
        await connection.execute(sa.insert(PROMPT_LABEL_LINKS), values)


async def _version_labels(
    connection: AsyncConnection, numbers: Sequence[int]
) -> dict[tuple[int, int], tuple[str, ...]]:
    """The labels of versions, by template and version."""
    query = (
        sa.select(PROMPT_VERSION_LABELS)
        .where(_VL.prompt_number.in_(numbers))
        .order_by(_VL.prompt_number, _VL.label)
    )
    found: dict[tuple[int, int], tuple[str, ...]] = {}
    for row in await connection.execute(query):
        at = (row.prompt_number, row.version)
        found[at] = (*found.get(at, ()), row.label)
    return found


async def _labels(connection: AsyncConnection) -> list[Label]:
    return [
        Label(
            row.number + PRESET_LABEL_NUMBERS,
            row.id,
            row.name,
            row.color,
            row.creator,
            row.created_ms,
        )
        for row in await connection.execute(sa.select(PROMPT_LABELS).order_by(_L.number))
    ]


def _version(row: sa.Row[Any], labels: tuple[str, ...]) -> Version:
    content = Content(
        text=row.text,
        identifier=row.identifier,
        variables=_NAMES.decode(row.variables),
        negative_text=row.negative_text,
        negative_variables=_NAMES.decode(row.negative_variables),
        framework=row.framework,
        parameters=_PARAMETERS.decode(row.parameters),
    )
    return Version(row.version, content, labels, row.note, row.creator, row.created_ms)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is a template called {name[:100]!r}; change that one, or take another name",
        param="templateName",
    )
