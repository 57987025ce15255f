"""Bring somebody's own model into the store: the work behind `CreateCustomModel` (specification D.2).

Spec: ``store`` (folder of the model store) and the fields of `yangfan.hub.importing.ImportOrder`. Result: those of `Imported`. Nothing is
saved as a checkpoint: what has come lies in the store's part files, and another attempt finds it there.
"""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import ConfigurationError, Invalid
from yangfan.hub import access
from yangfan.hub.importing import ImportOrder, import_model
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from yangfan.worker.task import Task


class _Spec(ImportOrder, frozen=True, kw_only=True):
    store: str


def run(task: Task) -> dict[str, Any]:
    """Import.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: There is no model, or not the one that was ordered.
        FetchError: The source does not give it, or gives what is not safe to keep.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no import: {error}") from error
    root = Path(spec.store)
    given = access.load(root)
    task.log(f"importing {spec.name}")
    found = asyncio.run(
        import_model(
            spec,
            store=ModelStore(root),
            egress=given.egress(),
            settings=given.hubs,
            tell=task.progress,
            merge=_merge,
        )
    )
    task.log(f"{len(found.files)} files, {found.size_bytes} bytes, {found.facts.architecture}")
    return msgspec.to_builtins(found)


def _merge(base: Path, file: Path, target: Path) -> None:
    """Make a model that draws of a LoRA file and its base."""
    lacking = [
        name for name in ("torch", "diffusers", "peft") if importlib.util.find_spec(name) is None
    ]
    if lacking:
        raise ConfigurationError(
            f"{file.name} is merged into its base by libraries that are not installed here ({', '.join(lacking)}):"
            ' pip install "yangfan[diffusers,tuning]"'
        )
    from yangfan.trainers.pipeline.painting import merge_file

    merge_file(base, file, target)
