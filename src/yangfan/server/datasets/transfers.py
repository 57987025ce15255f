"""Imports and exports of versions: jobs, and what their ends mean for a version.

A task is its job: ``task-…`` in place of ``jb-…``. Files that they leave (exports, and the rows that imports refused) lie under names
that nobody can guess, for a week.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from yangfan.datasets.exporting import ExportOrder, default_format, require_fit
from yangfan.datasets.importing import ImportOrder
from yangfan.datasets.manifest import Manifest
from yangfan.errors import ConfigurationError, Conflict, Invalid, NotFound
from yangfan.server.datasets import store
from yangfan.server.jobs import Hooks

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection
    from starlette.requests import Request

    from yangfan.datasets.readers.base import Options
    from yangfan.server.datasets.logic import Datasets
    from yangfan.server.datasets.types import DatasetVersion
    from yangfan.server.jobs import Job, JobError, Jobs

IMPORT, EXPORT = "import_dataset", "export_dataset"
"""Kinds of jobs: files in `yangfan.worker.works`."""

LIFETIME_SECONDS = 7 * 24 * 3600.0
PATH = "/datasets/files"
NO_ROWS, SOME_ROWS, NO_FILE = 1, 2, 3
"""Codes of what went wrong with an import: no row was taken, some were not, or the work itself failed."""

MAX_LISTED = 100

_NAME = re.compile(r"[A-Za-z0-9_-]{43}\.[a-z.]{2,20}")
_BUCKET_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}/.+")

FileOf = Callable[[str, str], Awaitable[tuple[str, Path]]]
"""(``file-…``, application) -> its name and where its content is. Raises NotFound."""


class Where(NamedTuple):
    """Where the files of callers and the folders of the server are.

    Attributes:
        model_store: Folder of the model store, which holds what workers need to fetch.
        files: For what imports and exports leave.
        import_folders: Folders of this machine that may be imported from by path.
        upload: From ``up-…`` to its folder. Raises NotFound.
        file: From ``file-…`` to its content.
    """

    model_store: Path
    files: Path
    import_folders: tuple[str, ...]
    upload: Callable[[str], Path]
    file: FileOf


class Transfers:
    """Imports and exports.

    Args:
        datasets: Whose versions.
        jobs: Who works on them.
        where: Where files are.
    """

    def __init__(self, datasets: Datasets, jobs: Jobs, where: Where) -> None:
        self.datasets = datasets
        self._jobs = jobs
        self._where = where
        jobs.register(IMPORT, _ImportHooks(self))
        jobs.register(EXPORT, _ExportHooks(self))

    @property
    def routes(self) -> list[Route]:
        """What this file answers: a GET of a name is a download, whoever asks."""
        return [Route(f"{PATH}/{{name}}", self._download, methods=["GET"])]

    async def import_files(
        self,
        reference: str | int,
        files: list[str],
        *,
        account: str,
        options: Options,
        file_format: str | None = None,
        is_bucket_path: bool = False,
    ) -> Job:
        """Begin to import files into a version.

        Args:
            reference: Which version.
            files: Addresses of the files, read in this order.
            account: Application that asks.
            options: How to read them.
            file_format: Of files whose names do not say it.
            is_bucket_path: Whether a bare ``bucket/dir/file`` is an object of the store, as v1 writes it.

        Raises:
            NotFound: There is no such version, file or upload.
            Conflict: It is published, or something else changes it now.
            Invalid: An address is none, or leads where nobody may read.
        """
        sources: list[str] = []
        names: list[str] = []
        for file in files:
            for source, name in await self._sources(file, account, is_bucket_path=is_bucket_path):
                sources.append(source)
                names.append(name)
        version = await self.datasets.version(reference)
        order = ImportOrder(
            sources=tuple(sources),
            names=tuple(names),
            data_format=version.data_format.value,
            row_prefix=secrets.token_hex(6),
            created_ms=store.clock_ms(),
            format=file_format,
            options=options,
        )
        spec = {
            **msgspec.to_builtins(order),
            **self._folders,
            "refused": str(self._new_file("jsonl")),
        }
        return await self._begin(IMPORT, version, spec, account)

    async def export(
        self,
        reference: str | int,
        *,
        account: str,
        file_format: str | None = None,
        archive: bool = True,
        with_annotations: bool = True,
        bucket_path: str = "",
    ) -> Job:
        """Begin to export a version.

        Args:
            reference: Which version.
            account: Application that asks.
            file_format: Of the file; what the official SDK reads if None.
            archive: Whether to pack it as a zip archive.
            with_annotations: Whether responses and labels come along.
            bucket_path: ``s3:bucket/dir/`` to put it there as well; "" for nowhere.

        Raises:
            NotFound: There is no such version.
            Conflict: It has no rows, or another export of it is going on.
            Invalid: The format does not hold its rows, or the path is none.
        """
        version = await self.datasets.version(reference)
        kind = file_format or default_format(version.data_format)
        try:
            require_fit(version.data_format, kind)
        except ConfigurationError as error:
            raise Invalid(error.message, param="format") from None
        if version.rows == 0:
            raise Conflict(f"{version.reference} has no rows to export; import some first")
        async with self.datasets.database.read() as connection:
            deltas = await store.deltas(connection, version.number)
        order = ExportOrder(
            manifest=version.manifest,
            deltas=tuple(deltas),
            format=file_format,
            archive=archive,
            with_annotations=with_annotations,
        )
        suffix = "zip" if archive else kind
        upload = ""
        if bucket_path:
            upload = f"{_bucket_folder(bucket_path)}{version.id}-{secrets.token_hex(4)}.{suffix}"
        spec = {
            **msgspec.to_builtins(order),
            **self._folders,
            "target": str(self._new_file(suffix)),
            "upload": upload,
        }
        await asyncio.to_thread(self._tidy)
        return await self._begin(EXPORT, version, spec, account)

    async def task(self, kind: str, task_id: str) -> Job:
        """The job of a task.

        Raises:
            NotFound: There is none of that id and kind.
        """
        with suppress(NotFound):
            job = await self._jobs.get(f"jb-{task_id.removeprefix('task-').removeprefix('jb-')}")
            if job.kind == kind:
                return job
        word = "import" if kind == IMPORT else "export"
        raise NotFound(f"there is no {word} task {task_id[:80]!r}", param="taskId")

    async def of_version(self, kind: str, reference: str | int) -> tuple[DatasetVersion, list[Job]]:
        """A version, and what was done with it, the youngest first.

        Raises:
            NotFound: There is no such version.
        """
        version = await self.datasets.version(reference)
        jobs = await self._jobs.list(limit=MAX_LISTED, kind=kind, subject=version.id)
        return version, list(jobs)

    def url_path(self, path: str) -> str:
        """Path of the URL of a file; "" when there is none, or its time is over."""
        file = Path(path)
        return f"{PATH}/{file.name}" if path and self._is_here(file) else ""

    # Ends of jobs, within their transactions

    async def imported(self, connection: AsyncConnection, job: Job, result: dict[str, Any]) -> None:
        """Rows are there, or none was good enough.

        Raises:
            Invalid: The result is not what an import leaves.
        """
        rows, bad_rows = int(result.get("rows", 0)), int(result.get("bad_rows", 0))
        error, code, state = "", 0, "succeeded"
        if bad_rows:
            code = SOME_ROWS if rows else NO_ROWS
            error = f"{bad_rows} of {rows + bad_rows} rows were refused: {first_reason(result)}"
        if rows == 0:
            state, error = "failed", error or "there are no rows in it"
            code = NO_ROWS
        else:
            manifest = Manifest.decode(msgspec.json.encode(result.get("manifest")))
            lineage = {"kind": "import", "job": job.id, "rows": rows, "bad_rows": bad_rows}
            names = [count["name"] for count in result.get("files", [])][:20]
            await self.datasets.publish_rows(
                connection, job.subject, manifest, {**lineage, "files": names}
            )
        await self.datasets.end(
            connection,
            job.subject,
            "import",
            "failed" if state == "failed" else "succeeded",
            error=error,
            error_code=code,
        )

    # Inside

    @property
    def _folders(self) -> dict[str, str]:
        return {
            "store": str(self._where.model_store),
            "blobs": str(self.datasets.blobs.root),
        }

    async def _begin(
        self, kind: str, version: DatasetVersion, spec: dict[str, Any], account: str
    ) -> Job:
        async with self.datasets.database.write() as connection:
            job = await self._jobs.submit(
                kind, spec, account=account, subject=version.id, connection=connection
            )
            name = "import" if kind == IMPORT else "export"
            await self.datasets.begin(connection, version.id, name, job.id)
        return job

    async def _sources(
        self, file: str, account: str, *, is_bucket_path: bool
    ) -> list[tuple[str, str]]:
        """What a worker fetches for an address, and what people call it ("" to go by the address)."""
        if file.startswith("upload:"):
            folder = self._where.upload(file.removeprefix("upload:"))
            found = sorted(path for path in folder.rglob("*") if path.is_file())
            if not found:
                raise Invalid(f"the upload {file[:80]} holds no file yet", param="files")
            return [(f"file:{path}", path.relative_to(folder).as_posix()) for path in found]
        if file.startswith("file-"):
            name, path = await self._where.file(file, account)
            return [(f"file:{path}", name)]
        if file.startswith(("/", "file:")):
            return [(f"file:{self._allowed(file)}", "")]
        if file.startswith(("https://", "http://", "s3:", "bos:")):
            return [(file, "")]
        if is_bucket_path and _BUCKET_FILE.fullmatch(file):
            return [(f"s3:{file}", "")]
        raise Invalid(
            f"{file[:200]!r} is no address of a file: give bos:/bucket/path, s3:bucket/path, https://…, file-… of /v2/files, upload:up-…,"
            " or an absolute path of the server",
            param="files",
        )

    def _allowed(self, file: str) -> Path:
        """A path of this machine, links followed, if it is one that may be read."""
        path = Path(file.removeprefix("file:"))
        folders = [Path(folder).expanduser() for folder in self._where.import_folders]
        with suppress(OSError, RuntimeError):
            path = path.resolve(strict=True)
            if any(path.is_relative_to(folder.resolve()) for folder in folders):
                return path
        # The same for a file that is not there: nobody learns what there is elsewhere.
        allowed = ", ".join(map(str, folders)) or "none"
        raise Invalid(
            f"{file[:200]!r} is no file that may be imported by its path; folders that may: {allowed}"
            " (the setting data_import_folders); or send the file with `yangfan data import`",
            param="files",
        )

    def _new_file(self, suffix: str) -> Path:
        self._where.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._where.files / f"{secrets.token_urlsafe(32)}.{suffix}"

    def _is_here(self, file: Path) -> bool:
        with suppress(OSError):
            return file.stat().st_mtime > time.time() - LIFETIME_SECONDS
        return False

    def _tidy(self) -> None:
        """Remove files whose time is over."""
        for file in self._where.files.iterdir():
            if not self._is_here(file):
                file.unlink(missing_ok=True)

    async def _download(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        file = self._where.files / name
        if _NAME.fullmatch(name) and await asyncio.to_thread(self._is_here, file):
            ending = name.partition(".")[2]
            return FileResponse(
                file,
                media_type="application/zip" if ending == "zip" else "application/octet-stream",
                filename=f"data.{ending}",
                headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private"},
            )
        return PlainTextResponse(
            "no such file, or its time is over; export the dataset again\n", 404
        )


def first_reason(result: dict[str, Any]) -> str:
    """Why the first refused row was refused."""
    refused: list[dict[str, Any]] = result.get("refused") or [{}]
    first = refused[0]
    return f"{first.get('file', '')} {first.get('line', '')}: {first.get('reason', '')}"[:500]


def _bucket_folder(path: str) -> str:
    """``s3:bucket/dir/`` of ``bos:/bucket/dir/``, ``s3:bucket/dir`` or ``bucket/dir``."""
    plain = path.partition(":")[2] if path.startswith(("bos:", "s3:")) else path
    plain = plain.strip("/")
    if not plain or ".." in plain.split("/"):
        raise Invalid(
            f"storagePath must be bos:/bucket/dir/, got {path[:200]!r}", param="storagePath"
        )
    return f"s3:{plain}/"


class _ImportHooks(Hooks):
    """For imports."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """The rows are the version's."""
        await self._transfers.imported(connection, job, result)

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """Tell why."""
        await self._transfers.datasets.end(
            connection,
            job.subject,
            "import",
            "failed",
            error=error.message or error.code,
            error_code=NO_FILE,
        )

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Tell that."""
        await self._transfers.datasets.end(
            connection, job.subject, "import", "aborted", error="it was cancelled"
        )


class _ExportHooks(Hooks):
    """For exports."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """Tell that."""
        del result
        await self._transfers.datasets.end(connection, job.subject, "export", "succeeded")

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """Tell why."""
        await self._transfers.datasets.end(
            connection, job.subject, "export", "failed", error=error.message or error.code
        )

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Tell that."""
        await self._transfers.datasets.end(
            connection, job.subject, "export", "aborted", error="it was cancelled"
        )
