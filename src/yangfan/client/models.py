"""Model sets, versions and the work on them, from the wire's types to the SDK's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from yangfan import errors
from yangfan.client.types import (
    Compression,
    Model,
    ModelExport,
    ModelFile,
    ModelSet,
    ModelVersion,
    WorkProgress,
)

if TYPE_CHECKING:
    from yangfan.protocol.v2 import models as names
    from yangfan.protocol.v2 import registry as wire

UPLOAD_PIECE_BYTES = 8 * 1024 * 1024
"""How much of a file one call sends: less is more calls, more is more to send again when a connection breaks."""

POLL_SECONDS = 1.0
"""How often a wait asks."""

UNDER_WAY = frozenset({"creating", "running", "stopping"})
"""States of a task that has not ended."""


def name_of(item: names.Model) -> Model:
    """A name that calls may use."""
    return Model(
        id=item.id,
        owned_by=item.owned_by,
        created=item.created,
        type=None if item.type is UNSET else item.type,
        served_by=None if item.served_by is UNSET else item.served_by,
    )


def listed_set(item: wire.SystemSet | wire.CustomSet, source: str) -> ModelSet:
    """A set in a list."""
    return ModelSet(
        id=item.modelSetId,
        name=item.modelSetName,
        type=item.modelType,
        source=source,
        version_ids=tuple(item.modelIds),
        tags=tuple(getattr(item, "labels", ())),
        description=item.description,
    )


def shown_set(item: wire.ShownSet) -> ModelSet:
    """A set that was asked for."""
    return ModelSet(
        id=item.modelSetId,
        name=item.modelSetName,
        type=item.modelType,
        source=item.source,
        version_ids=tuple(item.modelIds),
        tags=tuple(item.labels),
        description=item.description,
        version_labels=item.versionLabels,
    )


def listed_version(item: wire.ModelLine) -> ModelVersion:
    """A version in a list."""
    return ModelVersion(
        id=item.modelId,
        name=item.modelName,
        version=item.version,
        status=item.status,
        source_type=item.sourceType,
        application=item.modelApplicationType,
        format=item.format,
        size_bytes=item.sizeBytes,
        labels=tuple(item.labels),
        error=_text(item.error),
    )


def shown_version(item: wire.ShownModel) -> ModelVersion:
    """A version that was asked for."""
    source = None if item.sourceInfo is UNSET else item.sourceInfo
    return ModelVersion(
        id=item.modelId,
        name=item.modelName,
        version=item.version,
        status=item.status,
        source_type="PlatformPreset" if source is None else source.sourceType,
        application=item.modelApplicationType,
        format=item.format,
        size_bytes=item.sizeBytes,
        labels=tuple(item.labels),
        error=_text(item.error),
        set_id=item.modelSetId,
        description=_text(item.description),
        source="" if source is None else _text(source.source),
        revision="" if source is None else _text(source.revision),
        parent_id="" if source is None else _text(source.sourceModelId),
        derived_ids=tuple(item.derivedModelIds),
        memory_bytes=item.memoryBytes,
        architecture=item.architecture,
        context_tokens=item.contextTokens,
        parameters=item.parameters,
        quantization=item.quantization,
        licence=item.licence,
        chat_template=item.chatTemplate,
        files=tuple(ModelFile(file.path, file.sha256, file.sizeBytes) for file in item.files),
        job_id=_text(item.jobId),
        progress=_progress(item.progress),
        trained_by="" if source is None else _text(source.trainTaskId),
        parity=None if item.parity is UNSET else item.parity,
    )


def compression(item: wire.Comp) -> Compression:
    """A compression."""
    return Compression(
        id=item.id,
        name=item.name,
        status=item.status,
        source_id=item.sourceModelId,
        version_id=item.modelId,
        error=_text(item.failedReason),
        job_id=item.jobId,
        progress=_progress(item.progress),
        size_before_bytes=_or_none(item.sizeBeforeBytes),
        size_after_bytes=_or_none(item.sizeAfterBytes),
        perplexity_before=_or_none(item.perplexityBefore),
        perplexity_after=_or_none(item.perplexityAfter),
        perplexity_text=_text(item.perplexityText),
    )


def export(item: wire.Export) -> ModelExport:
    """An export."""
    return ModelExport(
        id=item.exportTaskId,
        version_id=item.modelId,
        status=item.status,
        form=item.form,
        error=_text(item.failedReason),
        job_id=item.jobId,
        progress=_progress(item.progress),
        location=_text(item.location),
        size_bytes=0 if item.sizeBytes is UNSET else item.sizeBytes,
        sha256=_text(item.sha256),
        can_download=item.downloadPath is not UNSET,
    )


def require_made(version: ModelVersion) -> None:
    """Refuse a version that failed.

    Raises:
        Conflict: It did; the message says why.
    """
    if version.status == "Fail":
        raise errors.Conflict(f"{version.name} could not be made: {version.error}")


def require_done(what: str, status: str, error: str) -> None:
    """Refuse a task that did not succeed.

    Raises:
        Conflict: It did not; the message says why.
    """
    if status != "succeeded":
        raise errors.Conflict(f"{what} has {status}: {error or 'nothing more is known'}")


def _progress(item: wire.TaskProgress | UnsetType) -> WorkProgress | None:
    if isinstance(item, UnsetType):
        return None
    total = None if isinstance(item.total, UnsetType) else item.total
    return WorkProgress(item.done, total, item.unit, item.note)


def _text(value: str | UnsetType) -> str:
    return "" if isinstance(value, UnsetType) else value


def _or_none(value: Any) -> Any:
    return None if value is UNSET else value
