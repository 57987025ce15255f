"""Services and their deployments in the database: SQL in, types out."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import sqlalchemy as sa

from yangfan.server.deployments.tables import DEPLOYMENTS, EVENTS, FAILURES, SERVICES
from yangfan.server.deployments.types import Deployment, Event, Filter, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database

KEPT_EVENTS = 200
"""Of each service; older ones are forgotten."""

_S, _D, _E = SERVICES.c, DEPLOYMENTS.c, EVENTS.c


class DeploymentStore:
    """The rows of `services`, `deployments`, `service_events` and `service_failures`.

    Attributes:
        lent_to: The jobs that have borrowed a model version, which no row tells.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.lent_to: Callable[[str], Sequence[str]] = lambda _reference: ()

    async def add(self, service: Service, deployment: Deployment) -> Service:
        """Insert both; the service with its number."""
        values = _service_values(service)
        del values["number"]
        async with self._database.write() as connection:
            added = await connection.execute(sa.insert(SERVICES).values(values))
            await connection.execute(sa.insert(DEPLOYMENTS).values(_deployment_values(deployment)))
        key = added.inserted_primary_key
        assert key is not None
        return replace(service, number=int(key[0]))

    async def put(self, deployment: Deployment) -> None:
        """Insert a deployment in place of the one of its role."""
        async with self._database.write() as connection:
            await _put(connection, deployment)

    async def promote(self, stable: Deployment, previous: Deployment) -> None:
        """Make one deployment the stable one and another the previous one, in one transaction."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.delete(DEPLOYMENTS).where(_D.service_id == stable.service_id)
            )
            for deployment in (stable, previous):
                await connection.execute(
                    sa.insert(DEPLOYMENTS).values(_deployment_values(deployment))
                )

    async def drop(self, deployment_id: str) -> None:
        """Delete a deployment."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(DEPLOYMENTS).where(_D.id == deployment_id))

    async def change(self, service_id: str, changes: Mapping[str, Any]) -> None:
        """Change columns of a service."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(SERVICES).where(_S.id == service_id).values(dict(changes))
            )

    async def change_deployment(self, deployment_id: str, changes: Mapping[str, Any]) -> None:
        """Change columns of a deployment."""
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(DEPLOYMENTS).where(_D.id == deployment_id).values(dict(changes))
            )

    async def remove(self, service_id: str) -> None:
        """Delete a service and all that belongs to it, but what it was used for."""
        async with self._database.write() as connection:
            for table in (DEPLOYMENTS, EVENTS):
                await connection.execute(sa.delete(table).where(table.c.service_id == service_id))
            await connection.execute(sa.delete(SERVICES).where(_S.id == service_id))

    async def running(self) -> list[tuple[Service, list[Deployment]]]:
        """Those that are to run, in the order in which they start."""
        query = (
            sa.select(SERVICES)
            .where(_S.desired == "running")
            .order_by(_S.priority.desc(), _S.number)
        )
        async with self._database.read() as connection:
            services = [_service(row) for row in await connection.execute(query)]
            deployments = await _deployments_of(connection, [service.id for service in services])
        return [(service, deployments.get(service.id, [])) for service in services]

    async def offline(self) -> list[tuple[str, str]]:
        """Suffix and id of those that are stopped."""
        query = sa.select(_S.suffix, _S.id).where(_S.desired == "stopped")
        async with self._database.read() as connection:
            return [(row[0], row[1]) for row in await connection.execute(query)]

    async def get(self, key: str) -> tuple[Service, list[Deployment]] | None:
        """The one of that id, number, suffix or, where it is the only one, name."""
        named = [_S.id == key, _S.suffix == key]
        if key.isdecimal() and len(key) < 10:
            named.append(_S.number == int(key))
        async with self._database.read() as connection:
            row = (await connection.execute(sa.select(SERVICES).where(sa.or_(*named)))).first()
            if row is None:
                found = await connection.execute(sa.select(SERVICES).where(_S.name == key).limit(2))
                rows = found.all()
                row = rows[0] if len(rows) == 1 else None
            if row is None:
                return None
            service = _service(row)
            deployments = await _deployments_of(connection, [service.id])
        return service, deployments.get(service.id, [])

    async def taken(self, suffix: str) -> bool:
        """Whether there is a service of that suffix, whatever its letter case."""
        query = sa.select(_S.id).where(sa.func.lower(_S.suffix) == suffix.lower())
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def page(
        self,
        wanted: Filter,
        first_id: str | None,
        count: int,
        *,
        newest_first: bool = False,
        ids: Collection[str] | None = None,
        stopped: bool = True,
    ) -> list[tuple[Service, list[Deployment]]]:
        """Up to `count`, in order of creation, from that id on.

        Args:
            wanted: What they must be; its statuses are what the next two say.
            first_id: Where to begin.
            count: How many at most.
            newest_first: Whether to go back in time.
            ids: Of the running ones only these; None for all.
            stopped: Whether to list stopped ones.
        """
        query = sa.select(SERVICES).limit(count)
        if wanted.name:
            text = wanted.name.lower()
            query = query.where(
                sa.or_(
                    sa.func.lower(_S.name).contains(text, autoescape=True),
                    sa.func.lower(_S.suffix).contains(text, autoescape=True),
                )
            )
        if wanted.types is not None:
            query = query.where(_S.type.in_(sorted(wanted.types)))
        if wanted.creators is not None:
            query = query.where(_S.creator.in_(sorted(wanted.creators)))
        if wanted.protocol_version is not None:
            query = query.where(_S.protocol_version == wanted.protocol_version)
        if ids is not None:
            running = _S.id.in_(sorted(ids))
            query = query.where(sa.or_(running, _S.desired == "stopped") if stopped else running)
        if first_id is not None:
            at = sa.select(_S.number).where(_S.id == first_id).scalar_subquery()
            query = query.where(_S.number <= at if newest_first else _S.number >= at)
        query = query.order_by(_S.number.desc() if newest_first else _S.number)
        async with self._database.read() as connection:
            services = [_service(row) for row in await connection.execute(query)]
            deployments = await _deployments_of(connection, [service.id for service in services])
        return [(service, deployments.get(service.id, [])) for service in services]

    async def add_event(self, service_id: str, at_ms: int, kind: str, message: str) -> None:
        """Note that something happened; forget what is older than the last `KEPT_EVENTS`."""
        values = {"service_id": service_id, "at_ms": at_ms, "kind": kind, "message": message}
        own = _E.service_id == service_id
        oldest = (
            sa.select(_E.number).where(own).order_by(_E.number.desc()).offset(KEPT_EVENTS).limit(1)
        )
        async with self._database.write() as connection:
            await connection.execute(sa.insert(EVENTS).values(values))
            number = await connection.scalar(oldest)
            if number is not None:
                await connection.execute(sa.delete(EVENTS).where(own, _E.number <= number))

    async def events(self, service_id: str, after: int, count: int) -> list[Event]:
        """Up to `count` events after that number, the oldest first."""
        query = (
            sa.select(_E.number, _E.at_ms, _E.kind, _E.message)
            .where(_E.service_id == service_id, _E.number > after)
            .order_by(_E.number)
            .limit(count)
        )
        async with self._database.read() as connection:
            return [Event(*row) for row in await connection.execute(query)]

    async def add_failures(self, counts: Mapping[tuple[int, str, str], int]) -> None:
        """Add calls that failed, by day, service and key."""
        f = FAILURES.c
        async with self._database.write() as connection:
            for (day, service_id, key_id), calls in counts.items():
                own = (f.day == day, f.service_id == service_id, f.key_id == key_id)
                changed = await connection.execute(
                    sa.update(FAILURES).where(*own).values(calls=f.calls + calls)
                )
                if not changed.rowcount:
                    await connection.execute(
                        sa.insert(FAILURES).values(
                            day=day, service_id=service_id, key_id=key_id, calls=calls
                        )
                    )

    async def failures(
        self, first_day: int, last_day: int, ids: Sequence[str]
    ) -> dict[tuple[str, str], int]:
        """Calls that failed in those days, by service and key."""
        f = FAILURES.c
        query = (
            sa.select(f.service_id, f.key_id, sa.func.sum(f.calls))
            .where(f.day.between(first_day, last_day), f.service_id.in_(ids))
            .group_by(f.service_id, f.key_id)
        )
        async with self._database.read() as connection:
            return {(row[0], row[1]): int(row[2]) for row in await connection.execute(query)}

    async def user_of(self, reference: str) -> str | None:
        """The service that deploys a model version or could go back to it, or the job that has borrowed it, in words; None if there is none."""
        for job in self.lent_to(reference):
            return f"the job {job} asks it"
        query = (
            sa.select(_S.suffix, _S.id)
            .join(DEPLOYMENTS, _D.service_id == _S.id)
            .where(sa.or_(_D.reference == reference, _D.options.contains(reference)))
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else f"the service {row[0]} ({row[1]})"


async def _put(connection: AsyncConnection, deployment: Deployment) -> None:
    await connection.execute(
        sa.delete(DEPLOYMENTS).where(
            _D.service_id == deployment.service_id, _D.role == deployment.role
        )
    )
    await connection.execute(sa.insert(DEPLOYMENTS).values(_deployment_values(deployment)))


async def _deployments_of(
    connection: AsyncConnection, ids: Sequence[str]
) -> dict[str, list[Deployment]]:
    found: dict[str, list[Deployment]] = {}
    if not ids:
        return found
    query = (
        sa.select(DEPLOYMENTS).where(_D.service_id.in_(ids)).order_by(_D.service_id, _D.generation)
    )
    for row in await connection.execute(query):
        values: dict[str, Any] = dict(zip(DEPLOYMENTS.columns.keys(), row, strict=True))
        values["options"] = msgspec.json.decode(values["options"])
        deployment = Deployment(**values)
        found.setdefault(deployment.service_id, []).append(deployment)
    return found


def _fields(service: Service) -> dict[str, Any]:
    return {name: getattr(service, name) for name in Service.__slots__}


def _service_values(service: Service) -> dict[str, Any]:
    values = _fields(service)
    values["kinds"] = ",".join(sorted(service.kinds))
    values["warm"] = int(service.warm)
    return values


def _deployment_values(deployment: Deployment) -> dict[str, Any]:
    values = asdict(deployment)
    values["options"] = msgspec.json.encode(deployment.options).decode()
    return values


def _service(row: sa.Row[Any]) -> Service:
    values: dict[str, Any] = dict(zip(SERVICES.columns.keys(), row, strict=True))
    values["kinds"] = frozenset(cast("str", values["kinds"]).split(","))
    values["warm"] = bool(values["warm"])
    return Service(**values)
