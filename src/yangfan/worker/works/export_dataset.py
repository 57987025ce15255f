"""Write rows of a dataset to a file, or to an S3-compatible store: the work behind v1's export and `CreateExportTask` (D.7, D.8).

Spec: ``store`` (folder of the model store, which says how to reach S3), ``blobs`` (folder of the datasets' blobs), ``target`` (the file),
``upload`` (``s3:bucket/key`` to put it there, too; "" for nowhere) and the fields of `yangfan.datasets.exporting.ExportOrder`. Result:
those of `Exported`, and the ``location`` of what was uploaded.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.exporting import ExportOrder, export
from yangfan.datasets.shards import BlobFolder
from yangfan.errors import Invalid
from yangfan.hub import access
from yangfan.hub.s3 import S3, split

if TYPE_CHECKING:
    from yangfan.worker.task import Task


class _Spec(ExportOrder, frozen=True, kw_only=True):
    store: str
    blobs: str
    target: str
    upload: str = ""


def run(task: Task) -> dict[str, Any]:
    """Export.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: The format does not hold such rows, or there is no space.
        SourceUnavailable: The S3 store does not take the file.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no export: {error}") from error
    target = Path(spec.target)
    found = export(
        spec,
        task.folder,
        target,
        blobs=BlobFolder(Path(spec.blobs)),
        state=task.state,
        save=task.save,
        tell=task.progress,
    )
    location = ""
    if spec.upload:
        given = access.load(Path(spec.store))
        bucket, key = split(spec.upload.partition(":")[2].lstrip("/"))
        client = S3(given.egress(), given.hubs.s3)
        asyncio.run(
            client.send_file(
                bucket,
                key,
                target,
                lambda done: task.progress(done, found.size_bytes, "bytes", f"sending to {bucket}"),
            )
        )
        location = f"s3:{bucket}/{key}"
    task.log(f"{found.rows} rows written, {found.size_bytes} bytes")
    return {**msgspec.to_builtins(found), "location": location}
