"""The rows that a run learns from: those of a dataset version, or of a bucket, which are brought once and stay with the run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.importing import ImportOrder, gather, read
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import BlobFolder
from yangfan.errors import Invalid
from yangfan.hub.disk import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.hub.access import HubAccess
    from yangfan.trainers.base import Source
    from yangfan.worker.task import Task

MANIFEST = "manifest.json"


def bring(task: Task, source: Source, access: HubAccess) -> None:
    """Bring the rows of a bucket's files, in the first of the formats that all of them have; nothing happens where they are here.

    Raises:
        Invalid: They have none; the message names a row.
        ConfigurationError: There is no such file, or no space.
        FetchError: The store does not give it.
    """
    folder = Path(source.folder)
    if not source.uri or (folder / MANIFEST).exists():
        return
    task.log(f"reading {source.uri}")
    scratch = task.folder / "bucket"
    flaw = "it holds no rows"
    for data_format in source.formats:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        order = ImportOrder(sources=(source.uri,), data_format=data_format, row_prefix="row")
        state = gather(
            order,
            scratch,
            egress=access.egress(),
            settings=access.hubs,
            state={},
            save=_keep_nothing,
            tell=task.progress,
        )
        found = read(
            order,
            scratch,
            blobs=BlobFolder(folder),
            refused=scratch / "refused.jsonl",
            state=state,
            save=_keep_nothing,
            tell=task.progress,
        )
        if found.rows and not found.bad_rows:
            write_atomically(folder / MANIFEST, found.manifest.encode())
            return
        if found.refused:
            first = found.refused[0]
            flaw = f"{first.file}, row {first.line}: {first.reason}"
    raise Invalid(f"{source.uri} cannot be learnt from as {' or '.join(source.formats)}: {flaw}")


def manifest_of(source: Source) -> Manifest:
    """What rows there are; those of a bucket have been brought."""
    if source.uri:
        return Manifest.decode((Path(source.folder) / MANIFEST).read_bytes())
    return Manifest.decode(msgspec.json.encode(source.manifest))


def blobs_of(source: Source, blobs: str) -> BlobFolder:
    """Where they lie: in a folder of the run, or among the datasets' blobs."""
    return BlobFolder(Path(source.folder if source.uri else blobs))


def _keep_nothing(state: Mapping[str, Any]) -> None:
    """What is brought within one attempt needs no checkpoint: fetched bytes lie in the job's folder, and reading is quick."""
    del state
