"""Publishing a version, and measuring one: what is done at once, and what jobs do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.deltas import compact
from yangfan.datasets.inspection import Insight
from yangfan.datasets.manifest import Manifest
from yangfan.errors import Invalid
from yangfan.server.datasets import store
from yangfan.server.datasets.logic import require_open
from yangfan.server.datasets.types import Task
from yangfan.server.jobs import Hooks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.datasets.deltas import Delta
    from yangfan.server.datasets.logic import Datasets
    from yangfan.server.datasets.types import DatasetVersion, Kind
    from yangfan.server.jobs import Job, JobError, Jobs

PUBLISH, INSPECT = "publish_dataset", "inspect_dataset"
"""Kinds of jobs: files in `yangfan.worker.works`."""

ROWS_AT_ONCE = 5_000
"""Up to so many rows in shards that have edits are written anew within the call; more are a job's work."""


class Publishing:
    """Makes versions final, and says what they look like.

    Args:
        datasets: The versions.
        jobs: Who works on what takes long.
        memory_bytes: What looking for near-duplicates may take.
    """

    def __init__(self, datasets: Datasets, jobs: Jobs, memory_bytes: int = 256 << 20) -> None:
        self._datasets = datasets
        self._jobs = jobs
        self._memory_bytes = memory_bytes
        jobs.register(PUBLISH, _PublishHooks(datasets))
        jobs.register(INSPECT, _InspectHooks(datasets))

    async def publish(self, reference: str | int, account: str = "") -> DatasetVersion:
        """Make a version final; with many edits that takes a while, and its state is Publishing meanwhile.

        A version that is published already stays so.

        Raises:
            NotFound: There is no such version.
            Conflict: A job changes its rows.
            Invalid: It has no rows.
        """
        while True:
            version = await self._datasets.version(reference)
            if version.published or version.task("release").state == "running":
                return version
            require_open(version)
            if not version.rows:
                raise Invalid(f"{version.reference} has no rows; import some before you publish it")
            async with self._datasets.database.read() as connection:
                deltas = await store.deltas(connection, version.number)
            if _affected_rows(version, deltas) > ROWS_AT_ONCE:
                return await self._submit(version, deltas, account)
            manifest = version.manifest
            if deltas:
                manifest = await asyncio.to_thread(compact, self._datasets.blobs, manifest, deltas)
            async with self._datasets.database.write() as connection:
                now = await self._datasets.version(version.id, connection)
                require_open(now)
                if now.revision != version.revision:
                    continue
                await _release(connection, now, manifest, "")
                return await self._datasets.version(version.id, connection)

    async def inspect(
        self, reference: str | int, account: str = ""
    ) -> tuple[DatasetVersion, Insight | None]:
        """What a version looks like; if nobody has measured it yet, somebody begins now, and there is None.

        Edits are not in it before the version is published.

        Raises:
            NotFound: There is no such version.
            Invalid: It has no rows.
        """
        version = await self._datasets.version(reference)
        if version.insight:
            return version, await self._insight(version)
        if not version.manifest.rows:
            raise Invalid(f"{version.reference} has no rows in shards; import some or publish it")
        async with self._datasets.database.write() as connection:
            version = await self._datasets.version(version.id, connection)
            if version.insight:  # it came between the two looks
                return version, await self._insight(version)
            if version.task("inspect").state == "running":
                return version, None
            known = await store.statistics(
                connection, [shard.sha256 for shard in version.manifest.shards]
            )
            job = await self._jobs.submit(
                INSPECT,
                {
                    "folder": str(self._datasets.blobs.root),
                    "manifest": msgspec.to_builtins(version.manifest),
                    "statistics": known,
                    "memory_bytes": self._memory_bytes,
                },
                account=account,
                subject=version.id,
                connection=connection,
            )
            return await self._datasets.begin(connection, version.id, "inspect", job.id), None

    async def _insight(self, version: DatasetVersion) -> Insight:
        content = await asyncio.to_thread(self._datasets.blobs.read, version.insight)
        return msgspec.json.decode(content, type=Insight)

    async def _submit(
        self, version: DatasetVersion, deltas: Sequence[Delta], account: str
    ) -> DatasetVersion:
        kept = await asyncio.to_thread(self._datasets.blobs.put, msgspec.json.encode(deltas))
        async with self._datasets.database.write() as connection:
            now = await self._datasets.version(version.id, connection)
            require_open(now)
            if now.revision != version.revision:
                # Somebody was faster; what they changed is published with the next call.
                return now
            job = await self._jobs.submit(
                PUBLISH,
                {
                    "folder": str(self._datasets.blobs.root),
                    "manifest": msgspec.to_builtins(version.manifest),
                    "deltas": kept,
                },
                account=account,
                subject=version.id,
                connection=connection,
            )
            return await self._datasets.begin(connection, version.id, "release", job.id)


def _affected_rows(version: DatasetVersion, deltas: Sequence[Delta]) -> int:
    places = [delta.place for delta in deltas if delta.place is not None]
    rows = sum(
        shard.rows
        for shard in version.manifest.shards
        if any(shard.first_row <= place < shard.first_row + shard.rows for place in places)
    )
    return rows + len(deltas) - len(places)


async def _release(
    connection: AsyncConnection, version: DatasetVersion, manifest: Manifest, job_id: str
) -> None:
    now = store.clock_ms()
    before = version.task("release")
    task = Task("succeeded", job_id, count=before.count, begun_ms=before.begun_ms, ended_ms=now)
    values: dict[str, Any] = {"published": 1, "modified_ms": now}
    if manifest != version.manifest:
        values |= {"manifest": manifest, "revision": None, "insight": ""}
    await store.drop_deltas(connection, version.number)
    await store.change_version(connection, version.number, **values)
    await store.set_task(connection, version.number, "release", task)


class _Told(Hooks):
    """Tells a version that something which was begun has failed."""

    kind: Kind

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """It has failed."""
        await self._datasets.end(
            connection, job.subject, self.kind, "failed", error=error.message or error.code
        )

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Somebody stopped it."""
        await self._datasets.end(
            connection, job.subject, self.kind, "aborted", error="it was cancelled"
        )


class _PublishHooks(_Told):
    """The edits are in shards."""

    kind = "release"

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """The version is published in the transaction that ends the job."""
        version = await self._datasets.version(job.subject, connection)
        manifest = msgspec.convert(result["manifest"], Manifest)
        await _release(connection, version, manifest, job.id)


class _InspectHooks(_Told):
    """The shards are measured."""

    kind = "inspect"

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """Keep what was measured; the insight only if the version still has these shards."""
        await store.put_statistics(connection, result["statistics"])
        version = await store.find_version(connection, id=job.subject)
        if version is None:
            return
        await self._datasets.end(connection, version.id, "inspect", "succeeded")
        if msgspec.convert(job.spec["manifest"], Manifest) == version.manifest:
            await store.change_version(connection, version.number, insight=result["insight"])
