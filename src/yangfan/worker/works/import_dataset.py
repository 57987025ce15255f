"""Bring rows of files into a dataset: the work behind v1's import and `CreateImportTask` (specification D.7, D.8).

Spec: ``store`` (folder of the model store, which says how to fetch), ``blobs`` (folder of the datasets' blobs), ``refused`` (where the
file of refused rows goes) and the fields of
`yangfan.datasets.importing.ImportOrder`. Result: those of `Imported`. Each checkpoint is in shards.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.importing import ImportOrder, gather, read
from yangfan.datasets.shards import BlobFolder
from yangfan.errors import Invalid
from yangfan.hub import access

if TYPE_CHECKING:
    from yangfan.worker.task import Task


class _Spec(ImportOrder, frozen=True, kw_only=True):
    store: str
    blobs: str
    refused: str


def run(task: Task) -> dict[str, Any]:
    """Import.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: There is nothing that can be read, or no space.
        FetchError: The source does not give it, or gives what is not safe to take.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no import: {error}") from error
    given = access.load(Path(spec.store))
    if not task.state:
        task.log(f"importing {len(spec.sources)} file(s) as {spec.data_format}")
    state = gather(
        spec,
        task.folder,
        egress=given.egress(),
        settings=given.hubs,
        state=task.state,
        save=task.save,
        tell=task.progress,
    )
    found = read(
        spec,
        task.folder,
        blobs=BlobFolder(Path(spec.blobs)),
        refused=Path(spec.refused),
        state=state,
        save=task.save,
        tell=task.progress,
    )
    for refused in found.refused[:20]:
        task.log(f"refused: {refused.file} {refused.line}: {refused.reason}")
    for skipped in found.skipped[:20]:
        task.log(f"left alone: {skipped.name}: {skipped.reason}")
    task.log(f"{found.rows} rows taken, {found.bad_rows} refused")
    return msgspec.to_builtins(found)
