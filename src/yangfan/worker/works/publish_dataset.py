"""Write the edits of a dataset version into its shards: the work behind publishing one with many (specification D.7, D.8).

Spec: ``folder`` (that of the blobs), ``manifest`` (of the version) and ``deltas`` (sha256 of its edits as JSON). Result: ``manifest``.
Nothing is saved as a checkpoint: what is written again is the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.deltas import Delta, compact
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import BlobFolder
from yangfan.errors import Invalid

if TYPE_CHECKING:
    from yangfan.worker.task import Task


class _Spec(msgspec.Struct, frozen=True, kw_only=True):
    folder: str
    manifest: Manifest
    deltas: str


def run(task: Task) -> dict[str, Any]:
    """Write.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: A shard is not here, or the disk is full.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no publishing: {error}") from error
    blobs = BlobFolder(Path(spec.folder))
    deltas = msgspec.json.decode(blobs.read(spec.deltas), type=list[Delta])
    task.log(f"writing {len(deltas)} edits into {spec.manifest.rows} rows")
    rows = spec.manifest.rows
    manifest = compact(
        blobs, spec.manifest, deltas, lambda done: task.progress(done, rows, "rows", "writing")
    )
    return {"manifest": msgspec.to_builtins(manifest)}
