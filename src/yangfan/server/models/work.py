"""What takes long: importing, compressing and exporting versions as jobs, and what becomes of a version when its job ends.

A version that is being made has the state Creating from the moment of the call. It becomes Ready or Fail in the transaction that ends its
job, so that no crash leaves the two telling different stories.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from yangfan import extensions
from yangfan.errors import Conflict, Invalid, NotFound, YangfanError
from yangfan.hub import adapters
from yangfan.hub.content import require_safe_path
from yangfan.hub.store import Manifest, StoredFile
from yangfan.server.http.call import new_id
from yangfan.server.jobs import Hooks
from yangfan.server.models import chat_conf
from yangfan.server.models.presets import APPLICATIONS, memory_estimate_bytes
from yangfan.server.models.registry import ID_LENGTH, MAX_DESCRIPTION
from yangfan.server.models.types import Facts, File, Task, Version

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.jobs import Job, JobError, Jobs
    from yangfan.server.models.registry import Page, Registry
    from yangfan.server.models.types import ModelSet
    from yangfan.server.models.uploads import Uploads

IMPORT, COMPRESS, EXPORT, PUBLISH = (
    "import_model",
    "compress_model",
    "export_model",
    "publish_model",
)
"""Kinds of jobs: files in `yangfan.worker.works`."""

SOURCES = "yangfan.hub.sources"
UPLOAD = "upload:"
"""Scheme of a source that was uploaded before."""

WEIGHTS = ("INT8-PTQ", "W8A16C16", "W4A16C16")
"""What CreateModelCompTask offers: 8 bits for each weight, twice over, and 4."""

_KINDS = {application: kind for kind, application in APPLICATIONS.items()} | {"completion": "chat"}


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What a training task left: how it becomes a version.

    Attributes:
        spec: For the work that makes a model of it (`yangfan.worker.works.publish_model`).
        kind: chat, embeddings, rerank, images.
        parent_id: The version that was trained.
        origin: What the call that publishes it is to show as its source.
    """

    spec: Mapping[str, Any]
    kind: str = "chat"
    parent_id: str = ""
    origin: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])


class Caller(NamedTuple):
    """Whose call it is, and the key under which a repetition of it is recognised; "" for none."""

    account: str = ""
    idempotency_key: str = ""


NOBODY = Caller()

ArtifactOf = Callable[[str, int | None], Awaitable[Artifact]]
"""From a training task's id and the step of a checkpoint (None: the last) to what it left. Raises NotFound."""


async def _no_training(task_id: str, step: int | None) -> Artifact:
    del step
    raise NotFound(
        f"there is no training task {task_id[:80]!r}; a version of sourceType Train needs the id of a task that has ended well"
    )


class _Result(msgspec.Struct, kw_only=True):
    """What the work returns (`yangfan.worker.works.import_model`)."""

    files: list[Any]
    format: str
    kind: str
    facts: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    source: str = ""
    revision: str = ""
    memory_bytes_estimate: int = 0
    parity: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class Work:
    """Versions in the making.

    Args:
        registry: Where they go.
        jobs: Who works on them.
        uploads: Files that were sent here.
        exports: Folder for what is exported without saying where to.
        artifact_of: Finds what a training task left.
    """

    def __init__(
        self,
        registry: Registry,
        jobs: Jobs,
        uploads: Uploads,
        exports: Path,
        *,
        artifact_of: ArtifactOf = _no_training,
    ) -> None:
        self._registry = registry
        self._store = registry.store
        self._jobs = jobs
        self.uploads = uploads
        self._exports = exports
        self._artifact_of = artifact_of
        self._where = {"store": str(registry.files.root)}
        for kind in (IMPORT, COMPRESS, PUBLISH):
            jobs.register(kind, _VersionHooks(self))
        jobs.register(EXPORT, _ExportHooks(self))

    # Import and training

    async def import_version(
        self,
        set_reference: str | int,
        source: str,
        *,
        application: str | None = None,
        model_format: str = "",
        revision: str = "",
        description: str = "",
        origin: Mapping[str, Any] | None = None,
        caller: Caller = NOBODY,
    ) -> Version:
        """Begin to import a version from an address.

        Args:
            set_reference: The set that gets it.
            source: An address of a model (`yangfan.hub.uri`), an absolute path of the server, or ``upload:up-…``.
            application: What it is for, in Qianfan's words; read out of its files if None.
            model_format: gguf or safetensors, where nothing else will do; "" for what is there.
            revision: Branch, tag or commit; the source's default if "".
            description: For people.
            origin: What to show as its source; the address if None.
            caller: Whose call it is.

        Raises:
            NotFound: There is no such set or upload.
            Invalid: The source is no address.
            Conflict: The set is the platform's own.
        """
        owner = await self._own_set(set_reference)
        _require_short(description)
        if caller.idempotency_key:
            # What an upload's import made is found after the upload itself has gone.
            made = await self._store.find_version(id=_version_id(caller))
            if made is not None and (made.set_id, made.source) == (owner.id, source):
                return made
        if origin is not None and (conf := origin.get("chatConf")):
            chat_conf.check(conf)
        spec: dict[str, Any] = {**self._where, "source": self._resolved(source)}
        if model_format:
            spec["format"] = model_format
        if application is not None:
            spec["kind"] = _KINDS[application]
        if revision:
            spec["revision"] = revision
        base = await self._base_named(origin)
        if base is not None:
            spec["base"] = base.set_name if base.is_preset else base.id
        values = {
            "parent_id": "" if base is None else base.id,
            "description": description,
            "source_type": "Import",
            "application": application or "chat",
            "kind": spec.get("kind", "chat"),
            "source": source,
            "origin": dict(origin or {"source": source}),
        }
        return await self._begin(owner, IMPORT, spec, values, caller)

    async def _base_named(self, origin: Mapping[str, Any] | None) -> Version | None:
        """The version that `baseModel` of an import names, where it names one: adapters need it, and to others it is a remark."""
        name = (origin or {}).get("baseModel")
        if not name:
            return None
        try:
            found = await self._registry.find(str(name))
        except NotFound:
            return None
        if found.state != "Ready" or found.format == adapters.FORMAT:
            raise Conflict(
                f"baseModel {found.name} is {found.state} and {found.format or 'of no format yet'}; name a whole model that is Ready"
            )
        return found

    async def publish_trained(
        self,
        set_reference: str | int,
        task_id: str,
        *,
        step: int | None = None,
        description: str = "",
        options: Mapping[str, Any] | None = None,
        caller: Caller = NOBODY,
    ) -> Version:
        """Begin to make what a training task left a version.

        Args:
            set_reference: The set that gets it.
            task_id: The training task.
            step: Which checkpoint; the last if None.
            description: For people.
            options: How: fields of the work's spec that a caller may choose.
            caller: Whose call it is.

        Raises:
            NotFound: There is no such set or task.
            Conflict: The set is the platform's own.
        """
        owner = await self._own_set(set_reference)
        _require_short(description)
        artifact = await self._artifact_of(task_id, step)
        spec: dict[str, Any] = {**self._where, **artifact.spec, **(options or {})}
        values = {
            "description": description,
            "source_type": "Train",
            "application": APPLICATIONS[artifact.kind],
            "kind": artifact.kind,
            "task_id": str(artifact.origin.get("taskId", task_id)),
            "parent_id": artifact.parent_id,
            "origin": dict(artifact.origin),
        }
        return await self._begin(owner, PUBLISH, spec, values, caller)

    async def require_artifact(self, task_id: str, step: int | None) -> None:
        """Find out whether a training task left something, before a set is made for it.

        Raises:
            NotFound: It did not, or there is no such task.
        """
        await self._artifact_of(task_id, step)

    async def _own_set(self, reference: str | int) -> ModelSet:
        owner = await self._registry.set(reference)
        if owner.source != "UserCreate":
            raise Conflict(
                f"{owner.name} belongs to the platform; add the version to a set of your own"
            )
        return owner

    def _resolved(self, source: str) -> str:
        """The address that a worker fetches from."""
        if source.startswith(UPLOAD):
            return f"file:{self.uploads.folder(source.removeprefix(UPLOAD))}"
        if source.startswith("/"):
            return f"file:{source}"
        scheme, colon, rest = source.partition(":")
        known = scheme in extensions.names(SOURCES) and scheme != "builtin"
        if not colon or not known or not rest or not source.isprintable():
            raise Invalid(
                f"{source[:200]!r} is no address of a model: give hf:OWNER/NAME, modelscope:OWNER/NAME, https://…, s3:BUCKET/PATH,"
                " pypi:…, upload:up-… or an absolute path of the server",
                param="importMeta.source",
            )
        return source

    async def _begin(
        self,
        owner: ModelSet,
        kind: str,
        spec: dict[str, Any],
        values: dict[str, Any],
        caller: Caller,
        task: dict[str, Any] | None = None,
    ) -> Version:
        """Insert the version, its job and its task, or find what the same call made before."""
        version_id = _version_id(caller)
        spec["name"] = version_id
        async with self._store.write() as connection:
            job = await self._jobs.submit(
                kind,
                spec,
                account=caller.account,
                subject=version_id,
                idempotency_key=caller.idempotency_key,
                connection=connection,
            )
            made = await self._store.find_version(connection, id=version_id)
            if made is None:
                values |= {"id": version_id, "state": "Creating", "job_id": job.id}
                await self._store.add_version(
                    connection, owner.number, values, self._registry.now_ms()
                )
                if task is not None:
                    await self._store.add_task(
                        connection, {**task, "version_id": version_id, "job_id": job.id}
                    )
        return made or await self._registry.version(version_id)

    # Compression

    async def compress(
        self,
        source_reference: str | int,
        set_reference: str | int,
        *,
        name: str,
        strategy: str,
        weight: str | None,
        description: str = "",
        caller: Caller = NOBODY,
    ) -> Task:
        """Begin to make a smaller version of a version.

        Args:
            source_reference: The version to compress; it stays.
            set_reference: The set that gets the new one.
            name: Of the task.
            strategy: ``Quantization``; ``Sparsity`` is refused.
            weight: INT8-PTQ or W8A16C16 (8 bits a weight), W4A16C16 (4 bits).
            description: For people.
            caller: Whose call it is.

        Raises:
            NotFound: There is no such version or set.
            Invalid: The strategy or the weight is not offered here.
            Conflict: The version cannot be compressed; the message says why.
        """
        if strategy != "Quantization":
            raise Invalid(
                f"{strategy[:80]!r} is not offered here: use the strategy Quantization",
                param="config.strategy",
            )
        if weight not in WEIGHTS:
            raise Invalid(
                f"config.weight must be one of {', '.join(WEIGHTS)}; got {weight!r}",
                param="config.weight",
            )
        source = await self._registry.find(source_reference)
        if not source.is_compressible:
            raise Conflict(f"{source.name} cannot be compressed: {_why_not(source)}")
        owner = await self._own_set(set_reference)
        _require_short(description)
        config = {"strategy": strategy, "weight": weight}
        spec: dict[str, Any] = {
            **self._where,
            **config,
            "files": _listed(source.files),
            "kind": source.kind,
            "source": source.id,
        }
        task_id = new_id("amva-", ID_LENGTH)
        values = {
            "description": description,
            "source_type": "Acceleration",
            "application": source.application,
            "kind": source.kind,
            "parent_id": source.id,
            "task_id": task_id,
            "origin": {"sourceModelId": source.id, **config},
        }
        task = {
            "id": task_id,
            "kind": "compress",
            "name": name,
            "description": description,
            "source_id": source.id,
            "set_id": owner.id,
            "config": config,
            "created_ms": self._registry.now_ms(),
        }
        made = await self._begin(owner, COMPRESS, spec, values, caller, task)
        return await self.task("compress", made.task_id)

    # Export

    async def export(
        self,
        reference: str | int,
        *,
        form: str = "zip",
        target: str = "",
        caller: Caller = NOBODY,
    ) -> Task:
        """Begin to write a version's files somewhere else.

        Args:
            reference: Which version.
            form: zip, folder or s3.
            target: Name within the server's folder of exports, or ``s3:BUCKET/PATH``; a name of its own if "".
            caller: Whose call it is.

        Raises:
            NotFound: There is no such version.
            Invalid: The target is not one that may be written to.
            Conflict: The version is not ready, or is a preset that is not here.
        """
        version = await self._registry.find(reference)
        if version.state != "Ready":
            raise Conflict(f"{version.name} is {version.state}; export it when it is Ready")
        if version.is_preset:
            raise Conflict(
                f"{version.name} belongs to the platform; `yangfan pull {version.set_name}` fetches its files"
            )
        task_id = new_id("amve-", ID_LENGTH)
        config = {"form": form, "target": target}
        spec: dict[str, Any] = {
            **self._where,
            "files": _listed(version.files),
            "form": form,
            "target": self._target(form, target, task_id),
        }
        async with self._store.write() as connection:
            job = await self._jobs.submit(
                EXPORT, spec, account=caller.account, subject=task_id, connection=connection
            )
            await self._store.add_task(
                connection,
                {
                    "id": task_id,
                    "kind": "export",
                    "name": version.name,
                    "source_id": version.id,
                    "config": config,
                    "job_id": job.id,
                    "created_ms": self._registry.now_ms(),
                },
            )
        return await self.task("export", task_id)

    def _target(self, form: str, target: str, task_id: str) -> str:
        """Where the worker writes: below the folder of exports, or to a bucket."""
        if form == "s3":
            if not target.startswith("s3:"):
                raise Invalid("an export to a bucket needs target: s3:BUCKET/PATH", param="target")
            return target
        name = target or (f"{task_id}.zip" if form == "zip" else task_id)
        try:
            require_safe_path(name)
        except YangfanError:
            raise Invalid(
                f"target must be a name within the server's folder of exports, {self._exports}; got {target[:200]!r}",
                param="target",
            ) from None
        self._exports.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(self._exports / name)

    # Tasks

    async def task(self, kind: str, task_id: str) -> Task:
        """A compression or an export.

        Raises:
            NotFound: There is none of that id.
        """
        found = await self._store.find_task(id=task_id)
        if found is None or found.kind != kind:
            word = "compression" if kind == "compress" else "export"
            raise NotFound(f"there is no {word} task {task_id[:80]!r}")
        return found

    async def job_of(self, task: Task) -> Job | None:
        """The job that works on a task now; None once it has ended."""
        if task.state != "running":
            return None
        return await self._jobs.get(task.job_id)

    async def maker_of(self, version: Version) -> Job | None:
        """The job that makes a version now; None once that has ended."""
        return await self._jobs.get(version.job_id) if version.state == "Creating" else None

    async def compressions(
        self, source_id: str | None, page: Page
    ) -> tuple[list[Task], str | None]:
        """A page of compressions, and the id of the one that follows it.

        Raises:
            NotFound: There is no task of the id to begin with.
        """
        if page.first_id is not None:
            await self.task("compress", page.first_id)
        found = await self._store.page_tasks(
            "compress", source_id, page.first_id, page.size + 1, newest_first=page.newest_first
        )
        follows = found[page.size].id if len(found) > page.size else None
        return found[: page.size], follows

    async def last_export(self, reference: str | int) -> Task:
        """The newest export of a version that did not fail.

        Raises:
            NotFound: There is none.
        """
        version = await self._registry.find(reference)
        tasks = await self._store.page_tasks("export", version.id, None, 100, newest_first=True)
        for task in tasks:
            if task.state in {"running", "succeeded"}:
                return task
        failed = f"; the last one failed: {tasks[0].error}" if tasks else ""
        raise NotFound(f"{version.name} has no export{failed}; CreateModelExportTask begins one")

    async def cancel(self, kind: str, task_id: str) -> None:
        """Stop a task.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended.
        """
        task = await self.task(kind, task_id)
        if task.state != "running":
            raise Conflict(f"the task {task.id} has {_ended(task)} already")
        await self._jobs.cancel(task.job_id)

    async def remove(self, kind: str, task_id: str) -> None:
        """Forget a task that has ended; the version that it made stays.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended.
        """
        task = await self.task(kind, task_id)
        if task.state == "running":
            raise Conflict(f"the task {task.id} is still at work; cancel it first")
        async with self._store.write() as connection:
            await self._store.remove_task(connection, task.number)

    # What the end of a job means, within its transaction

    async def made(self, connection: AsyncConnection, job: Job, result: Mapping[str, Any]) -> None:
        """The files of a version are here: publish them and let it be Ready.

        Raises:
            Invalid: The result is not what a version is made of.
        """
        version = await self._store.find_version(connection, id=job.subject)
        if version is None:
            return
        try:
            found = msgspec.convert(result, _Result)
            files = tuple(_file(item) for item in found.files)
            facts = _facts(found.facts)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise Invalid(f"the work on {version.name} returned no model: {error}") from None
        if found.parity:
            facts = msgspec.structs.replace(facts, parity=found.parity)
        values = _made_of(files, found.format, found.kind, facts, found.memory_bytes_estimate)
        if version.application == "completion" and found.kind == "chat":
            values["application"] = "completion"
        if found.format == adapters.FORMAT:
            base = await self._store.find_version(connection, id=version.parent_id)
            values |= _beside(values, base)
        elif version.source_type == "Import":
            values["parent_id"] = ""  # a whole model; what baseModel said is a remark in its origin
        values["source"] = version.source or found.source
        values["revision"] = found.revision
        await asyncio.to_thread(self._publish, _manifest(version.id, values, files))
        await self._store.change_version(
            connection,
            version.number,
            **values,
            state="Ready",
            modified_ms=self._registry.now_ms(),
        )
        await self._store.set_files(connection, version.number, files)
        if job.kind == COMPRESS:
            await self._end_task(connection, "succeeded", {**result, "files": len(files)}, job=job)
        self._drop_upload(version.source)

    def _publish(self, manifest: Manifest) -> None:
        files = self._registry.files
        there = files.get(manifest.name)
        if there is None or there.manifest.files != manifest.files:
            try:
                files.publish(manifest)
            except (OSError, YangfanError) as error:
                raise Invalid(f"the files cannot be kept: {error}") from None

    async def unmade(self, connection: AsyncConnection, job: Job, why: str, state: str) -> None:
        """A version will not be."""
        version = await self._store.find_version(connection, id=job.subject)
        if version is None:
            return
        await self._store.change_version(
            connection, version.number, state="Fail", error=why, modified_ms=self._registry.now_ms()
        )
        await self._end_task(connection, state, {}, error=why, job=job)
        await asyncio.to_thread(self._registry.files.forget, version.id)

    async def exported(self, connection: AsyncConnection, job: Job, state: str, **end: Any) -> None:
        """An export has ended."""
        await self._end_task(
            connection, state, end.get("result", {}), error=end.get("error", ""), job=job
        )

    async def _end_task(
        self,
        connection: AsyncConnection,
        state: str,
        result: Mapping[str, Any],
        *,
        job: Job,
        error: str = "",
    ) -> None:
        task = await self._store.find_task(connection, job_id=job.id)
        if task is not None:
            await self._store.change_task(
                connection,
                task.number,
                state=state,
                result=dict(result),
                error=error,
                finished_ms=self._registry.now_ms(),
            )

    def _drop_upload(self, source: str) -> None:
        """What was sent is in the store now."""
        if source.startswith(UPLOAD):
            self.uploads.forget(source.removeprefix(UPLOAD))


class _VersionHooks(Hooks):
    """For jobs that make a version."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """The version is Ready."""
        await self._work.made(connection, job, result)

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """The version is Fail."""
        await self._work.unmade(connection, job, error.message or error.code, "failed")

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Likewise."""
        await self._work.unmade(connection, job, "it was cancelled", "stopped")


class _ExportHooks(Hooks):
    """For exports."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """Tell where it is."""
        await self._work.exported(connection, job, "succeeded", result=result)

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """Tell why."""
        await self._work.exported(connection, job, "failed", error=error.message or error.code)

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Tell that."""
        await self._work.exported(connection, job, "stopped", error="it was cancelled")


def publication(meta: Any) -> dict[str, Any]:
    """How a call wants a run to be published, in the words of `yangfan.worker.works.publish_model`."""
    wanted = {name: getattr(meta, name) for name in ("format", "quantization")}
    return {name: value for name, value in wanted.items() if value is not None}


def _version_id(caller: Caller) -> str:
    """A new id, or the one that the same call got before."""
    if not caller.idempotency_key:
        return new_id("amv-", ID_LENGTH)
    text = f"{caller.account}\n{caller.idempotency_key}"
    return f"amv-{hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]}"


def _require_short(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        raise Invalid(
            f"a description has at most {MAX_DESCRIPTION} characters, got {len(description)}",
            param="description",
        )


def _listed(files: tuple[File, ...]) -> list[dict[str, Any]]:
    return [msgspec.structs.asdict(file) for file in files]


def _file(item: Any) -> File:
    """A file of a result: an object, or its three values in order."""
    if isinstance(item, list):
        item = dict(zip(("path", "sha256", "size_bytes"), cast("list[Any]", item), strict=True))
    return msgspec.convert(item, File)


def _facts(found: Mapping[str, Any]) -> Facts:
    """What the work read out of the files; what it could not tell is None there."""
    known = {name: value for name, value in found.items() if value is not None}
    return msgspec.convert({"quantization": known.get("dtype", ""), **known}, Facts)


def _made_of(
    files: tuple[File, ...], model_format: str, kind: str, facts: Facts, memory_bytes: int
) -> dict[str, Any]:
    size_bytes = sum(file.size_bytes for file in files)
    return {
        "format": model_format,
        "kind": kind,
        "application": APPLICATIONS.get(kind, "chat"),
        "size_bytes": size_bytes,
        "memory_bytes": memory_bytes or memory_estimate_bytes(size_bytes),
        "facts": facts,
    }


def _beside(values: Mapping[str, Any], base: Version | None) -> dict[str, Any]:
    """What callers see of an adapter: its base's facts, and room for both."""
    if base is None:
        raise Invalid("the base of this adapter is gone; import it again")
    facts = msgspec.structs.replace(
        values["facts"],
        architecture=base.facts.architecture,
        context_tokens=base.facts.context_tokens,
        chat_template=base.facts.chat_template,
        licence=values["facts"].licence or base.facts.licence,
    )
    return {
        "facts": facts,
        "application": base.application,
        "memory_bytes": base.memory_bytes + values["size_bytes"],
    }


def _manifest(version_id: str, values: Mapping[str, Any], files: tuple[File, ...]) -> Manifest:
    return Manifest(
        name=version_id,
        kind=values["kind"],
        format=values["format"],
        licence=values["facts"].licence,
        source=values.get("source", ""),
        revision=values.get("revision", ""),
        files=tuple(StoredFile(file.path, file.sha256, file.size_bytes) for file in files),
        created=datetime.now(UTC),
    )


def _why_not(version: Version) -> str:
    if version.is_preset:
        return "it belongs to the platform; import it into a set of your own first"
    if version.state != "Ready":
        return f"it is {version.state}"
    if version.kind != "chat":
        return f"only chat models can be, and it is for {version.kind}"
    return f"its format is {version.format or 'not known'}"


def _ended(task: Task) -> str:
    return "been stopped" if task.state == "stopped" else task.state
