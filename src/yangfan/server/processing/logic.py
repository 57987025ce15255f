"""Cleaning and augmenting datasets: jobs from one version into another, what became of them, and the way back."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from yangfan.datasets.formats import DataFormat, texts_of
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import read_rows
from yangfan.errors import ConfigurationError, Conflict, Invalid, NotFound
from yangfan.server.db import now_ms
from yangfan.server.http.call import new_id
from yangfan.server.jobs import Hooks
from yangfan.server.processing.types import Now, ProcessingTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.datasets.shards import BlobFolder
    from yangfan.server.datasets import Datasets, DatasetVersion
    from yangfan.server.db import Database
    from yangfan.server.jobs import Job, JobError, Jobs
    from yangfan.server.processing.store import TaskStore
    from yangfan.server.processing.types import Kind, State

CLEAN, AUGMENT = "clean_dataset", "augment_dataset"
"""Kinds of jobs: files in `yangfan.worker.works`."""
JOBS: Mapping[Kind, str] = {"clean": CLEAN, "augment": AUGMENT}

ENDS: Mapping[State, Literal["succeeded", "failed", "aborted"]] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "stopped": "aborted",
}
"""In the words of datasets."""

GROWING = (
    DataFormat.PROMPT_RESPONSE,
    DataFormat.ROLE,
    DataFormat.PROMPT,
    DataFormat.SORTED,
)
"""Formats of datasets that can be augmented."""
PREVIEW_SECONDS = 120.0
KEPT = ("report", "counts", "dropped", "changed")
"""What of a job's result stays with its task."""
MAX_LINE_BYTES = 64 << 20


class Places(NamedTuple):
    """Folders of the home folder.

    Attributes:
        reasons: Where the files of dropped and changed rows are kept.
        operators: Operators that are one file.
    """

    reasons: Path
    operators: Path


class Means(NamedTuple):
    """What a cleaning may use.

    Attributes:
        memory_bytes: For looking for duplicates.
        cluster: Address of a Ray cluster that runs the operators; "" for none.
    """

    memory_bytes: int
    cluster: str = ""


class Reasons(NamedTuple):
    """Lines of a file of reasons, and where the next ones begin; None at its end."""

    lines: list[bytes]
    next: int | None


class Processing:
    """Tasks.

    Args:
        database: Where they are kept.
        store: Their rows.
        jobs: Who works on them.
        datasets: Versions that are read and written.
        places: Folders.
        means: What a cleaning may use.
        served: The model that a name means; raises ModelNotFound.
    """

    def __init__(
        self,
        database: Database,
        store: TaskStore,
        jobs: Jobs,
        datasets: Datasets,
        places: Places,
        means: Means,
        served: Callable[[str], str],
    ) -> None:
        self._database, self._store, self._jobs = database, store, jobs
        self._datasets, self._served = datasets, served
        self._places, self._means = places, means
        for kind in JOBS.values():
            jobs.register(kind, _Hooks(self))

    # Beginning

    async def clean(
        self,
        source: int | str,
        destination: int | str | None,
        recipe: Mapping[str, Any],
        *,
        name: str = "",
        account: str = "",
        idempotency_key: str = "",
    ) -> ProcessingTask:
        """Begin to clean a version into another.

        Args:
            source: The version to read.
            destination: An unpublished one without rows; None for a new version of the same dataset.
            recipe: `yangfan.operators.pipeline.recipe.Recipe`, as JSON says it.
            name: For people.
            account: Whose it is.
            idempotency_key: Under which a repetition of the call is recognised.

        Raises:
            NotFound: There is no such version.
            Invalid: The recipe is not right, or the destination has another format.
            Conflict: The destination has rows, or is published.
        """
        found = await self._written(source)
        order = await asyncio.to_thread(checked, recipe, self._operators)
        spec = {
            "recipe": order,
            "out": str(self._places.reasons),
            "operators": str(self._operators or ""),
            **self._means._asdict(),
        }
        return await self._begin(
            "clean", found, destination, order, spec, (name, account, idempotency_key)
        )

    async def augment(
        self,
        source: int | str,
        destination: int | str | None,
        order: Mapping[str, Any],
        *,
        name: str = "",
        account: str = "",
        idempotency_key: str = "",
    ) -> ProcessingTask:
        """Begin to make samples.

        Args:
            source: The version with samples to begin with.
            destination: An unpublished one without rows; None for a new version of the same dataset.
            order: `yangfan.worker.augmentation.making.Settings`, and ``requests_per_minute``.
            name: For people.
            account: Whose it is.
            idempotency_key: Under which a repetition of the call is recognised.

        Raises:
            NotFound: There is no such version, or no such model.
            Invalid: The source has no samples, or the format is not right.
            Conflict: The destination has rows, or is published.
        """
        found = await self._written(source)
        if found.data_format not in GROWING:
            known = ", ".join(data_format.value for data_format in GROWING)
            raise Invalid(
                f"datasets of these formats can grow: {known}; {found.reference} is {found.data_format.value}",
                param="sourceDatasetId",
            )
        if not found.rows:
            raise Invalid(
                f"{found.reference} has no samples to begin with; import some first",
                param="sourceDatasetId",
            )
        self._served(order["model"])
        return await self._begin(
            "augment", found, destination, order, dict(order), (name, account, idempotency_key)
        )

    async def _written(self, source: int | str) -> DatasetVersion:
        """A version whose rows all stand in shards."""
        found = await self._datasets.version(source)
        if found.edits:
            raise Conflict(
                f"{found.reference} has {found.edits} edits that are not written down yet; release it first"
            )
        return found

    async def _begin(
        self,
        kind: Kind,
        source: DatasetVersion,
        destination: int | str | None,
        order: Mapping[str, Any],
        spec: dict[str, Any],
        caller: tuple[str, str, str],
    ) -> ProcessingTask:
        name, account, key = caller
        task_id = new_id("task-", 10)
        spec |= {
            "blobs": str(self._datasets.blobs.root),
            "manifest": msgspec.to_builtins(source.manifest),
        }
        if kind == "augment":
            # The same call made twice has the same order.
            told = hashlib.sha256(f"{account}\n{key}".encode()).hexdigest()[:10]
            spec["prefix"] = told if key else task_id.removeprefix("task-")
        async with self._database.write() as connection:
            job = await self._jobs.submit(
                JOBS[kind],
                spec,
                account=account,
                subject=source.id,
                idempotency_key=key,
                connection=connection,
            )
            known = await self._store.of_job(connection, job.id)
            if known is not None:
                return known
            goal = await self._goal(connection, kind, source, destination, account)
            await self._datasets.begin(connection, goal.id, kind, job.id)
            values: dict[str, Any] = {
                "id": task_id,
                "kind": kind,
                "name": name or task_id,
                "account": account,
                "source_id": source.id,
                "source_name": source.reference,
                "destination_id": goal.id,
                "destination_name": goal.reference,
                "made_destination": destination is None,
                "rows": source.rows,
                "project_type": source.data_format.numbers.project_type,
                "order": order,
                "job_id": job.id,
                "state": "running",
                "result": {},
                "error": "",
                "created_ms": now_ms(),
                "finished_ms": 0,
            }
            return await self._store.add(connection, values)

    async def _goal(
        self,
        connection: AsyncConnection,
        kind: Kind,
        source: DatasetVersion,
        destination: int | str | None,
        account: str,
    ) -> DatasetVersion:
        if destination is None:
            words = {"clean": "cleaned", "augment": "made"}
            return await self._datasets.create_version(
                source.group_id,
                account,
                description=f"{words[kind]} from {source.reference}",
                connection=connection,
            )
        goal = await self._datasets.version(destination, connection)
        if goal.id == source.id:
            raise Invalid("source and destination are the same version", param="destDatasetId")
        if goal.data_format is not source.data_format:
            raise Invalid(
                f"{goal.reference} is {goal.data_format.value}, {source.reference} is {source.data_format.value};"
                " make a dataset of the same format",
                param="destDatasetId",
            )
        if goal.rows or goal.published:
            raise Conflict(
                f"{goal.reference} has rows already or is published; make a new version for this"
            )
        return goal

    @property
    def _operators(self) -> Path | None:
        return self._places.operators if self._places.operators.is_dir() else None

    # Looking

    async def get(self, kind: Kind, reference: int | str) -> Now:
        """A task as it is now.

        Raises:
            NotFound: There is none.
        """
        return await self._now(await self._there(kind, reference))

    async def page(self, kind: Kind, **wanted: Any) -> tuple[int, list[Now]]:
        """How many there are, and some of them; see `TaskStore.page`."""
        total, found = await self._store.page(kind, **wanted)
        return total, [await self._now(task) for task in found]

    async def running(self, kind: Kind) -> int:
        """How many have not ended."""
        return await self._store.running(kind)

    async def reasons(self, task_id: str, which: str, start: int, count: int) -> Reasons:
        """Lines of the file of the rows that a cleaning dropped or changed.

        Args:
            task_id: Of the task.
            which: dropped or changed.
            start: Where to begin: 0, or `next` of the page before.
            count: How many at most.

        Raises:
            NotFound: There is no such task, or its file is gone.
            Conflict: It has not ended yet.
        """
        task = await self._there("clean", task_id)
        if task.state == "running":
            raise Conflict(f"{task.id} has not ended yet; wait for it")
        name = task.result.get(which, "")
        file = self._places.reasons / name
        if not name or not await asyncio.to_thread(file.is_file):
            raise NotFound(f"{task.id} has no file of {which} rows")
        return await asyncio.to_thread(_lines, file, start, count)

    async def preview(
        self, source: int | str, recipe: Mapping[str, Any], count: int
    ) -> Mapping[str, Any]:
        """What a recipe would do to the first rows; `yangfan.operators.pipeline.run.Preview` as JSON.

        Raises:
            NotFound: There is no such version.
            Invalid: The recipe is not right, an operator failed, or it takes too long.
        """
        found = await self._written(source)
        order = await asyncio.to_thread(checked, recipe, self._operators)
        rows = await asyncio.to_thread(_first_texts, self._datasets.blobs, found.manifest, count)
        asked = {"recipe": order, "rows": rows, "operators": str(self._operators or "")}
        return await _previewed(msgspec.json.encode(asked))

    # Steering

    async def pause(self, task_id: str) -> Now:
        """Stop, to go on later from what is saved."""
        task = await self._there("clean", task_id)
        self._check_runs(task)
        await self._jobs.pause(task.job_id)
        return await self._now(task)

    async def resume(self, task_id: str) -> Now:
        """Go on."""
        task = await self._there("clean", task_id)
        self._check_runs(task)
        await self._jobs.resume(task.job_id)
        return await self._now(task)

    async def delete(self, kind: Kind, references: Sequence[int | str]) -> None:
        """Forget tasks; those that run are cancelled. What they made stays.

        Raises:
            NotFound: One of them is not there; then none is forgotten.
        """
        found = [await self._there(kind, reference) for reference in references]
        for task in found:
            if task.state == "running":
                await self._jobs.cancel(task.job_id)
            async with self._database.write() as connection:
                if task.state == "running":
                    # The end of its job finds no task any more.
                    await self._datasets.end(
                        connection,
                        task.destination_id,
                        task.kind,
                        "aborted",
                        error="it was deleted",
                    )
                await self._store.remove(connection, task.number)
            for name in ("dropped", "changed"):
                if file := task.result.get(name):
                    await asyncio.to_thread((self._places.reasons / file).unlink, missing_ok=True)

    async def undo(self, task_id: str) -> None:
        """Take back what a cleaning made: its version goes, the source is as it always was.

        Raises:
            NotFound: There is no such task.
            Conflict: It has not ended, or the version is not one that it made.
        """
        task = await self._there("clean", task_id)
        if task.state == "running":
            raise Conflict(f"{task.id} has not ended yet; delete it instead")
        if not task.made_destination:
            raise Conflict(
                f"{task.id} wrote into {task.destination_name}, a version that was there before; delete that version yourself"
            )
        await self._datasets.delete_version(task.destination_id)
        await self.delete("clean", [task_id])

    def _check_runs(self, task: ProcessingTask) -> None:
        if task.state != "running":
            raise Conflict(f"{task.id} has {task.state} already")

    async def _there(self, kind: Kind, reference: int | str) -> ProcessingTask:
        found = await self._store.get(kind, reference)
        if found is None:
            raise NotFound(
                f"there is no task {str(reference)[:80]!r} of this kind; list them first"
            )
        return found

    async def _now(self, task: ProcessingTask) -> Now:
        try:
            job = await self._jobs.get(task.job_id)
        except NotFound:
            return Now(task, task.state, waiting=False, done=1.0, rows=0, started_ms=0)
        state: State = task.state
        if state == "running" and job.state == "paused":
            state = "paused"
        progress = job.progress
        done = progress.done / progress.total if progress.total else 0.0
        if state == "succeeded":
            done = 1.0
        return Now(
            task,
            state,
            job.started_ms is None,
            min(done, 1.0),
            int(progress.done),
            job.started_ms or 0,
        )

    # What the end of a job means, within its transaction

    async def ended(
        self,
        connection: AsyncConnection,
        job: Job,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        error: str = "",
    ) -> None:
        """A job has ended."""
        task = await self._store.of_job(connection, job.id)
        if task is None:
            return
        if result is not None:
            lineage = {
                "kind": task.kind,
                "task": task.id,
                "source": task.source_id,
                "order": task.order,
            }
            try:
                manifest = msgspec.convert(result["manifest"], Manifest)
            except (KeyError, msgspec.ValidationError) as wrong:
                raise Invalid(f"the work returned no rows: {wrong}") from None
            await self._datasets.publish_rows(
                connection, task.destination_id, manifest, lineage, append=False
            )
        await self._datasets.end(
            connection, task.destination_id, task.kind, ENDS[state], error=error
        )
        kept = {name: value for name, value in (result or {}).items() if name in KEPT}
        await self._store.end(
            connection, task.number, state=state, result=kept, error=error, finished_ms=now_ms()
        )


class _Hooks(Hooks):
    """For both kinds of jobs."""

    def __init__(self, processing: Processing) -> None:
        self._processing = processing

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """The destination gets its rows."""
        await self._processing.ended(connection, job, "succeeded", result=result)

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """Tell why."""
        await self._processing.ended(connection, job, "failed", error=error.message or error.code)

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Tell that."""
        await self._processing.ended(connection, job, "stopped", error="it was cancelled")


def checked(recipe: Mapping[str, Any], operators: Path | None) -> dict[str, Any]:
    """A recipe that can run here, as JSON builtins; loads the operators, so not on the event loop.

    Raises:
        Invalid: It is not right; the message says where.
    """
    from yangfan.operators import base
    from yangfan.operators.pipeline import recipe as recipes

    try:
        parsed = recipes.parse(dict(recipe))
        steps = parsed.steps()
        if not steps:
            raise Invalid("the recipe names no operator; name at least one", param="operationsV2")
        for stage, step in steps:
            if base.foreign(step.name, operators) is not None:
                continue
            module = base.load(step.name)
            if stage != module.STAGE:
                raise Invalid(
                    f"{step.name} stands under {stage}; its stage is {module.STAGE}",
                    param="operationsV2",
                )
            base.checked(module, step.name, step.args)
    except (msgspec.ValidationError, ConfigurationError) as error:
        raise Invalid(f"this is no recipe: {error}", param="operationsV2") from None
    return msgspec.to_builtins(parsed)


def _first_texts(blobs: BlobFolder, manifest: Manifest, count: int) -> list[list[str]]:
    rows = read_rows(blobs, manifest, 0, count)
    if manifest.format is DataFormat.TEXT:
        return [[row.sample.text] for row in rows]
    return [texts_of(row.sample) for row in rows]


def _lines(file: Path, start: int, count: int) -> Reasons:
    found: list[bytes] = []
    with file.open("rb") as opened:
        opened.seek(start)
        while len(found) < count and (line := opened.readline(MAX_LINE_BYTES)):
            found.append(line)
        place = opened.tell()
        more = bool(opened.read(1))
    return Reasons(found, place if more else None)


async def _previewed(order: bytes) -> Mapping[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "yangfan.operators.pipeline.preview",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PREVIEW_SECONDS):
            said, _ = await process.communicate(order)
    except TimeoutError:
        raise Invalid(
            f"the preview took longer than {PREVIEW_SECONDS:g} seconds; ask for fewer rows"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not said:
        raise Invalid("the preview ended without an answer; ask for fewer rows")
    found = msgspec.json.decode(said)
    if "error" in found:
        raise Invalid(found["error"])
    return found
