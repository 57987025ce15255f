"""Take a model out of the store: the work behind `CreateModelExportTask` (specification D.2).

Spec: ``store`` (folder of the model store) and the fields of `yangfan.hub.exporting.ExportOrder`. Result: those of `Exported`. Uploads
in parts save what the store has taken.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid
from yangfan.hub import access
from yangfan.hub.exporting import ExportOrder, export_model
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from yangfan.worker.task import Task


class _Spec(ExportOrder, frozen=True, kw_only=True):
    store: str


def run(task: Task) -> dict[str, Any]:
    """Export.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: The model is not there, or the target cannot be written.
        SourceUnavailable: The S3 store does not take it.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no export: {error}") from error
    root = Path(spec.store)
    given = access.load(root)
    found = asyncio.run(
        export_model(
            spec,
            store=ModelStore(root),
            egress=given.egress(),
            settings=given.hubs,
            state=task.state,
            save=task.save,
            tell=task.progress,
        )
    )
    task.log(f"written: {found.location}, {found.size_bytes} bytes")
    return msgspec.to_builtins(found)
