"""Measure the rows of a dataset version and say what it looks like (specification D.11; the insight is ours).

Spec: ``folder`` (that of the blobs), ``manifest`` (of the version) and ``statistics`` (sha256 of what is measured already, by that of the
shard), ``memory_bytes`` (for looking for near-duplicates). Result: ``statistics`` of all its shards, and ``insight``, the sha256 of a `yangfan.datasets.inspection.Insight` as JSON. After each
shard what was measured is saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets.inspection import Measurer, insight_of, is_whole, measure_shard
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.shards import BlobFolder
from yangfan.errors import Invalid

if TYPE_CHECKING:
    from yangfan.worker.task import Task


class _Spec(msgspec.Struct, frozen=True, kw_only=True):
    folder: str
    manifest: Manifest
    statistics: dict[str, str] = {}
    memory_bytes: int = 256 << 20


def run(task: Task) -> dict[str, Any]:
    """Measure.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: A shard is not here, or the disk is full.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no inspection: {error}") from error
    blobs, manifest = BlobFolder(Path(spec.folder)), spec.manifest
    measurer = Measurer()
    for name, what in measurer.missing.items():
        task.log(f"{name} is not measured: {what}")
    known = {**spec.statistics, **task.state.get("statistics", {})}
    statistics = {
        shard.sha256: known[shard.sha256]
        for shard in manifest.shards
        if is_whole(blobs, known.get(shard.sha256, "0" * 64))
    }
    for shard in manifest.shards:
        first = shard.first_row
        if shard.sha256 not in statistics:
            statistics[shard.sha256] = measure_shard(
                blobs,
                manifest,
                shard,
                measurer,
                lambda done, first=first: task.progress(
                    first + done, manifest.rows, "rows", "measuring"
                ),
            )
            task.save({"statistics": statistics})
    insight = insight_of(blobs, manifest, statistics, measurer.missing, spec.memory_bytes)
    return {"statistics": statistics, "insight": blobs.put(msgspec.json.encode(insight))}
