"""Datasets and their versions: make, find, change, publish, delete; what jobs tell about them; collecting what nobody uses."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import BlobFolder, used_blobs
from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.server.datasets import store
from yangfan.server.datasets.types import WRITING, DatasetVersion, Group, Storage, Task
from yangfan.server.http.call import new_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.datasets.formats import DataFormat
    from yangfan.server.datasets.types import Kind, TaskState
    from yangfan.server.db import Database

ID_LENGTH = 16
MAX_NAME_CHARACTERS = 100
MAX_DESCRIPTION_CHARACTERS = 1024
MAX_NUMBER = 2_000_000_000
YOUNG_SECONDS = 24 * 3600.0
"""Content that was written since then is never collected: a job may be about to name it."""

_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")


class Filter(NamedTuple):
    """Which datasets.

    Attributes:
        name: A part of the name, in any case; "" for all.
        data_format: Of this format; None for all.
    """

    name: str = ""
    data_format: DataFormat | None = None


class Datasets:
    """All datasets.

    Args:
        database: Where they are.
        folder: Where their content is: ``<home>/datasets``.

    Attributes:
        blobs: That folder; a job gets its path and a manifest, never the database.
        users: Asked before a version is deleted; slices above add themselves.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.blobs = BlobFolder(folder)
        self.users: list[Callable[[AsyncConnection, DatasetVersion], Awaitable[str | None]]] = []

    # Finding

    async def version(
        self, reference: str | int, connection: AsyncConnection | None = None
    ) -> DatasetVersion:
        """The version of that ``ds-…`` or integer id, or ``NAME:VERSION``; a name or ``dg-…`` alone means the newest.

        Raises:
            NotFound: There is none.
        """
        async with self._reading(connection) as reading:
            found = await self._find(reading, reference)
        if found is None:
            raise NotFound(
                f"there is no dataset version {str(reference)[:200]!r};"
                " DescribeDatasets and `yangfan data list` show those there are",
                param="datasetId",
            )
        return found

    async def group(self, reference: str, connection: AsyncConnection | None = None) -> Group:
        """The dataset of that ``dg-…`` or name.

        Raises:
            NotFound: There is none.
        """
        async with self._reading(connection) as reading:
            found = await _find_group(reading, reference)
        if found is None:
            raise NotFound(
                f"there is no dataset {reference[:200]!r};"
                " DescribeDatasets and `yangfan data list` show those there are",
                param="datasetId",
            )
        return found

    async def page(
        self, wanted: Filter, marker: str, count: int, *, newest_first: bool
    ) -> tuple[list[tuple[Group, DatasetVersion | None]], str | None]:
        """Up to `count` datasets, each with its newest version, and the id of the one that follows.

        Raises:
            NotFound: There is no dataset of the id to begin with.
        """
        first = (await self.group(marker)).number if marker else None
        conditions = list[Any]()
        columns = store.DATASETS.c
        if wanted.name:
            conditions.append(columns.name.icontains(wanted.name, autoescape=True))
        if wanted.data_format:
            conditions.append(columns.data_format == wanted.data_format.value)
        async with self.database.read() as connection:
            groups = await store.page_groups(
                connection, conditions, first, count + 1, newest_first=newest_first
            )
            shown = groups[:count]
            versions = await store.versions_where(
                connection,
                [store.DATASET_VERSIONS.c.dataset_number.in_([group.number for group in shown])],
            )
        newest = {version.group.number: version for version in versions}
        found = [(group, newest.get(group.number)) for group in shown]
        return found, groups[count].id if len(groups) > count else None

    async def versions(self, reference: str, *, newest_first: bool = False) -> list[DatasetVersion]:
        """All versions of a dataset.

        Raises:
            NotFound: There is no such dataset.
        """
        group = await self.group(reference)
        async with self.database.read() as connection:
            return await store.versions_where(
                connection,
                [store.DATASET_VERSIONS.c.dataset_number == group.number],
                newest_first=newest_first,
            )

    # Making and changing

    async def create(
        self,
        name: str,
        data_format: DataFormat,
        creator: str = "",
        *,
        storage: Storage | None = None,
        description: str = "",
        connection: AsyncConnection | None = None,
    ) -> DatasetVersion:
        """Make a dataset with an empty first version.

        Raises:
            Invalid: The name is not allowed.
            Conflict: There is one of that name.
        """
        check_name(name)
        _check_description(description)
        async with self._writing(connection) as writing:
            group = await store.add_group(
                writing,
                new_id("dg-", ID_LENGTH),
                name,
                data_format,
                Storage() if storage is None else storage,
                creator,
            )
            return await self._add_version(
                writing, group, description, Manifest.of(data_format), (), creator
            )

    async def create_version(
        self,
        reference: str,
        creator: str = "",
        *,
        description: str = "",
        source: str | None = None,
        connection: AsyncConnection | None = None,
    ) -> DatasetVersion:
        """Make the next version of a dataset.

        Args:
            reference: The dataset.
            creator: Application that makes it.
            description: For people.
            source: A version to begin with, as `version` takes it: its shards are shared, its edits copied. None for an empty one.
            connection: A write transaction to do it in.

        Raises:
            NotFound: There is no such dataset or source.
            Invalid: The source is of another data format, or the description too long.
        """
        _check_description(description)
        async with self._writing(connection) as writing:
            group = await self.group(reference, writing)
            if source is None:
                return await self._add_version(
                    writing, group, description, Manifest.of(group.data_format), (), creator
                )
            earlier = await self.version(source, writing)
            if earlier.data_format is not group.data_format:
                raise Invalid(
                    f"{earlier.reference} has the data format {earlier.data_format.value}, the dataset has {group.data_format.value}",
                    param="sourceVersionId",
                )
            lineage = (
                *earlier.lineage,
                {"kind": "version", "source": earlier.id, "at_ms": store.clock_ms()},
            )
            made = await self._add_version(
                writing, group, description, earlier.manifest, lineage, creator
            )
            await store.copy_deltas(writing, earlier.number, made.number)
            await store.change_version(writing, made.number, insight=earlier.insight)
            return await self.version(made.id, writing)

    async def rename(self, reference: str, name: str) -> Group:
        """Give a dataset another name.

        Raises:
            NotFound: There is no such dataset.
            Invalid: The name is not allowed.
            Conflict: There is one of that name.
        """
        check_name(name)
        async with self.database.write() as connection:
            group = await self.group(reference, connection)
            await store.change_group(
                connection, group.number, name=name, modified_ms=store.clock_ms()
            )
            return await self.group(group.id, connection)

    async def describe(self, reference: str | int, description: str) -> DatasetVersion:
        """Say something else about a version; published ones can be described too.

        Raises:
            NotFound: There is no such version.
            Invalid: The description is too long.
        """
        _check_description(description)
        async with self.database.write() as connection:
            version = await self.version(reference, connection)
            await store.change_version(connection, version.number, description=description)
            return await self.version(version.id, connection)

    async def delete(self, reference: str) -> None:
        """Delete a dataset with all its versions.

        Raises:
            NotFound: There is no such dataset.
            Conflict: Somebody uses one of its versions, or works on it.
        """
        async with self.database.write() as connection:
            group = await self.group(reference, connection)
            for version in await store.versions_where(
                connection, [store.DATASET_VERSIONS.c.dataset_number == group.number]
            ):
                await self._delete_version(connection, version)
            await store.remove_group(connection, group.number)

    async def delete_version(self, reference: str | int) -> int:
        """Delete a version, and with the last one its dataset; how many versions the dataset has left.

        Raises:
            NotFound: There is no such version.
            Conflict: Somebody uses it, or works on it.
        """
        async with self.database.write() as connection:
            version = await self.version(reference, connection)
            await self._delete_version(connection, version)
            left = await store.versions_where(
                connection, [store.DATASET_VERSIONS.c.dataset_number == version.group.number]
            )
            if not left:
                await store.remove_group(connection, version.group.number)
            return len(left)

    # What jobs tell. Each is called within the transaction that changes the job, or the one that submits it.

    async def begin(
        self, connection: AsyncConnection, reference: str | int, kind: Kind, job_id: str
    ) -> DatasetVersion:
        """Something that takes time begins.

        Raises:
            NotFound: There is no such version.
            Conflict: It would change rows, and the version is published, or another such thing goes on.
        """
        version = await self.version(reference, connection)
        if kind in WRITING:
            require_open(version)
        elif version.task(kind).state == "running":
            raise Conflict(
                f"there is another {kind} of {version.reference} going on (job {version.task(kind).job_id}); wait for its end"
            )
        before = version.task(kind)
        task = Task(
            "running",
            job_id,
            # Told until this attempt ends otherwise, so that nobody waits for ever for what fails each time.
            error=before.error if before.state == "failed" and kind == "inspect" else "",
            count=before.count + 1,
            begun_ms=store.clock_ms(),
        )
        await store.set_task(connection, version.number, kind, task)
        return await self.version(version.id, connection)

    async def end(
        self,
        connection: AsyncConnection,
        reference: str | int,
        kind: Kind,
        state: TaskState,
        *,
        error: str = "",
        error_code: int = 0,
    ) -> None:
        """It has ended; a version that is gone is none of anybody's business."""
        version = await self._find(connection, reference)
        if version is None:
            return
        task = replace(
            version.task(kind),
            state=state,
            error=error,
            error_code=error_code,
            ended_ms=store.clock_ms(),
        )
        await store.set_task(connection, version.number, kind, task)

    async def publish_rows(
        self,
        connection: AsyncConnection,
        reference: str | int,
        manifest: Manifest,
        lineage: Mapping[str, Any],
        *,
        append: bool = True,
        keep_edits: bool = True,
    ) -> DatasetVersion:
        """Make rows visible in a version that is not published, in the transaction that ends the job that wrote them.

        Args:
            connection: That transaction.
            reference: The version.
            manifest: The rows.
            lineage: Where they come from, as JSON; ``at_ms`` is added.
            append: Put them behind those that are there; False puts them in their place, and edits go with what they edited.
            keep_edits: False where the edits are in the rows already.

        Raises:
            NotFound: There is no such version.
            Conflict: It is published.
            Invalid: They are of another format.
        """
        version = await self.version(reference, connection)
        if version.published:
            raise _is_published(version)
        if append:
            manifest = version.manifest.extended(manifest)
        elif manifest.data_format != version.data_format.value:
            raise Invalid(f"rows of {manifest.data_format} do not belong into {version.reference}")
        if not append or not keep_edits:
            await store.drop_deltas(connection, version.number)
        now = store.clock_ms()
        await store.change_version(
            connection,
            version.number,
            manifest=manifest,
            revision=None,
            lineage=(*version.lineage, {**lineage, "at_ms": now}),
            insight="",
            modified_ms=now,
        )
        return await self.version(version.id, connection)

    # Collecting

    async def collect(
        self, mentioned: Callable[[], Awaitable[str]], *, young_seconds: float = YOUNG_SECONDS
    ) -> tuple[int, int]:
        """Remove content that no version uses and no job mentions; how many files and bytes.

        Args:
            mentioned: Gives the specs and checkpoints of all jobs that have not ended, as one text.
            young_seconds: What was written since then stays.

        Raises:
            ConfigurationError: A shard is not here, so nobody can tell what it used.
        """
        text = await mentioned()
        async with self.database.read() as connection:
            kept = await store.manifests(connection)
            statistics = await store.all_statistics(connection)
            edited = await store.edited_samples(connection)
        used = set(_SHA256.findall("\n".join([text, *edited])))
        for manifest, insight in kept:
            used |= await asyncio.to_thread(used_blobs, self.blobs, manifest)
            used.add(insight)
        # Statistics go with the last version that has their shard.
        gone = [shard for shard in statistics if shard not in used]
        used |= {sha256 for shard, sha256 in statistics.items() if shard in used}
        async with self.database.write() as connection:
            await store.drop_statistics(connection, gone)
        return await asyncio.to_thread(self.blobs.collect, used, older_than_seconds=young_seconds)

    # Inside

    @asynccontextmanager
    async def _reading(self, connection: AsyncConnection | None) -> AsyncGenerator[AsyncConnection]:
        if connection is not None:
            yield connection
            return
        async with self.database.read() as own:
            yield own

    @asynccontextmanager
    async def _writing(self, connection: AsyncConnection | None) -> AsyncGenerator[AsyncConnection]:
        if connection is not None:
            yield connection
            return
        async with self.database.write() as own:
            yield own

    async def _find(
        self, connection: AsyncConnection, reference: str | int
    ) -> DatasetVersion | None:
        if isinstance(reference, int) or (reference.isascii() and reference.isdigit()):
            return await store.find_version(
                connection, number=max(0, min(int(str(reference)[:10]), MAX_NUMBER))
            )
        if reference.startswith("ds-"):
            found = await store.find_version(connection, id=reference)
            if found is not None:
                return found
        name, colon, number = reference.rpartition(":")
        wanted = name if colon else reference
        group = await _find_group(connection, wanted)
        if group is None:
            return None
        if not colon or number == "latest":
            newest = await store.versions_where(
                connection,
                [store.DATASET_VERSIONS.c.dataset_number == group.number],
                newest_first=True,
                limit=1,
            )
            return newest[0] if newest else None
        if not (number.isascii() and number.isdigit()):
            return None
        return await store.find_version(
            connection, dataset_number=group.number, version=min(int(number[:10]), MAX_NUMBER)
        )

    async def _add_version(
        self,
        connection: AsyncConnection,
        group: Group,
        description: str,
        manifest: Manifest,
        lineage: Sequence[Mapping[str, Any]],
        creator: str,
    ) -> DatasetVersion:
        version_id = new_id("ds-", ID_LENGTH)
        await store.add_version(
            connection, group, version_id, description, manifest, lineage, creator
        )
        return await self.version(version_id, connection)

    async def _delete_version(self, connection: AsyncConnection, version: DatasetVersion) -> None:
        running = [(kind, task) for kind, task in version.tasks.items() if task.state == "running"]
        if running:
            kind, task = running[0]
            raise Conflict(
                f"{version.reference} cannot be deleted while its {kind} is going on;"
                f" wait for it, or cancel job {task.job_id}"
            )
        for user_of in self.users:
            user = await user_of(connection, version)
            if user is not None:
                raise Conflict(
                    f"{version.reference} cannot be deleted: {user} uses it; delete that first"
                )
        await store.remove_version(connection, version.number)


def require_open(version: DatasetVersion) -> None:
    """Check that the rows of a version may be changed.

    Raises:
        Conflict: It is published, or a job changes it.
    """
    if version.published:
        raise _is_published(version)
    for kind in WRITING:
        task = version.task(kind)
        if task.state == "running":
            raise Conflict(
                f"{version.reference} cannot be changed while its {kind} is going on (job {task.job_id or '-'}); wait for its end"
            )


def _is_published(version: DatasetVersion) -> Conflict:
    return Conflict(
        f"{version.reference} is published, so it never changes again;"
        " make a new version from it (CreateDatasetVersion with sourceVersionId) and change that"
    )


async def _find_group(connection: AsyncConnection, reference: str) -> Group | None:
    if reference.startswith("dg-"):
        found = await store.find_group(connection, id=reference)
        if found is not None:
            return found
    return await store.find_group(connection, name=reference)


def check_name(name: str) -> None:
    """Raise Invalid for what no dataset may be called."""
    if (
        not name.strip()
        or name != name.strip()
        or len(name) > MAX_NAME_CHARACTERS
        or ":" in name
        or not name.isprintable()
        or name.startswith(("ds-", "dg-"))
        or (name.isascii() and name.isdigit())
    ):
        raise Invalid(
            f"the name of a dataset has 1 to {MAX_NAME_CHARACTERS} characters, is no number, has no colon"
            f" and does not begin with ds- or dg-; got {name[:120]!r}",
            param="datasetName",
        )


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION_CHARACTERS:
        raise Invalid(
            f"a description has at most {MAX_DESCRIPTION_CHARACTERS} characters, got {len(description)}",
            param="description",
        )
