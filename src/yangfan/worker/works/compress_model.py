"""Make a smaller version of a model: the work behind `CreateModelCompTask` (specification D.2).

Spec: ``store`` (folder of the model store) and the fields of `yangfan.hub.compression.CompressOrder`. Result: the fields of the new
model as an import has them, and ``quantization``, ``size_before``, ``size_after``, ``perplexity_before``, ``perplexity_after`` and ``text``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid
from yangfan.hub.compression import CompressOrder, compress_model
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from yangfan.worker.task import Task


class _Spec(CompressOrder, frozen=True, kw_only=True):
    store: str


def run(task: Task) -> dict[str, Any]:
    """Compress.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: The model cannot be compressed so; the message says why.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no compression: {error}") from error
    found = asyncio.run(
        compress_model(spec, store=ModelStore(Path(spec.store)), tell=task.progress)
    )
    task.log(
        f"{found.quantization}: {found.size_before} bytes became {found.size_after}, perplexity "
        f"{found.perplexity_before} became {found.perplexity_after}"
    )
    told = msgspec.to_builtins(found)
    return {**told.pop("imported"), **told}
