"""v1: /wenxinworkshop/modelrepo (specification D.1)."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import UNSET

from yangfan.errors import Invalid
from yangfan.protocol.v1 import chat as v1_chat
from yangfan.protocol.v1 import embeddings as v1_embeddings
from yangfan.protocol.v1 import images as v1_images
from yangfan.protocol.v1 import registry as wire
from yangfan.protocol.v1 import rerank as v1_rerank
from yangfan.protocol.v1.console import ConsoleReply
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.times import beijing
from yangfan.server.models.work import publication

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yangfan.protocol.v1.console import Nothing
    from yangfan.server.models.registry import Registry
    from yangfan.server.models.types import ModelSet, SetLine, SetType, Source, Version
    from yangfan.server.models.work import Work

DEFAULT_PAGE_SIZE = 20
MAX_VERSIONS = 100
"""Versions that a detail shows, newest first."""


class _Number(NamedTuple):
    """Qianfan's integer for a type of sets: one among the platform's, another among the user's, with what a filter may say for it."""

    preset: int
    user: int
    filters: frozenset[int]


_TYPES: dict[SetType, _Number] = {
    "Text2Text": _Number(0, 0, frozenset({0})),
    "Text2Image": _Number(1, 1, frozenset({1})),
    "TextRepresentation": _Number(4, 3, frozenset({3, 4})),
    "ImageUnderstanding": _Number(5, 5, frozenset({5})),
    "Industry": _Number(6, 2, frozenset({2, 6})),
}

_PARAMS: dict[str, tuple[Any, Any]] = {
    "chat": (v1_chat.ChatRequest, v1_chat.ChatReply),
    "vision": (v1_chat.ChatRequest, v1_chat.ChatReply),
    "embeddings": (v1_embeddings.EmbeddingsRequest, v1_embeddings.EmbeddingsReply),
    "rerank": (v1_rerank.RerankRequest, v1_rerank.RerankReply),
    "images": (v1_images.Text2ImageRequest, v1_images.Text2ImageReply),
}
"""What a version takes and gives, by what it is for."""


def routes(registry: Registry, work: Work) -> list[Route]:
    """What this file answers."""

    async def detail(call: Call[wire.NameModel]) -> Reply:
        owner = await registry.set(call.request.modelId)
        versions = await registry.store.page_versions(
            owner.number, None, MAX_VERSIONS, newest_first=True
        )
        return _success(call, _model(owner, versions))

    async def version_detail(call: Call[wire.NameVersion]) -> Reply:
        version = await registry.find(call.request.modelVersionId)
        shown = _version(version)
        given, answered = _PARAMS[version.kind]
        shown.params = wire.Params(input=_schema(given), output=_schema(answered))
        return _success(call, shown)

    async def publish(call: Call[wire.PublishTrainModel]) -> Reply:
        version = await _publish(registry, work, call.request)
        return _success(
            call,
            wire.Published(
                modelIDStr=version.set_id,
                modelId=version.set_number,
                version=str(version.version),
                versionId=version.number,
                versionIdStr=version.id,
            ),
        )

    async def preset_list(call: Call[wire.ListPresets]) -> Reply:
        return await _list(registry, "PlatformPreset", call)

    async def user_list(call: Call[wire.ListUsers]) -> Reply:
        return await _list(registry, "UserCreate", call)

    async def evaluable(call: Call[Nothing]) -> Reply:
        lines: list[SetLine] = []
        for source in ("UserCreate", "PlatformPreset"):
            found, _ = await registry.numbered_sets(
                source, types=["Text2Text"], page_size=wire.MAX_PAGE_SIZE
            )
            lines += found
        return _success(call, list(_evaluable(lines)))

    return [
        Route(wire.DETAIL, detail),
        Route(wire.VERSION_DETAIL, version_detail),
        Route(wire.PUBLISH, publish),
        Route(wire.PRESET_LIST, preset_list, body=_or_empty),
        Route(wire.USER_LIST, user_list, body=_or_empty),
        Route(wire.EVALUABLE_LIST, evaluable, body=_or_empty),
        *_delete_routes(registry),
    ]


def _delete_routes(registry: Registry) -> list[Route]:
    async def delete_models(call: Call[wire.DeleteModels]) -> Reply:
        for reference in call.request.modelIDs:
            await registry.set(reference)
        for reference in call.request.modelIDs:
            await registry.delete_set(reference)
        return _success(call, True)  # noqa: FBT003 - the result

    async def delete_versions(call: Call[wire.DeleteVersions]) -> Reply:
        for reference in call.request.modelVersionIds:
            await registry.find(reference)
        for reference in call.request.modelVersionIds:
            await registry.delete(reference)
        return _success(call, True)  # noqa: FBT003 - the result

    return [
        Route(wire.BATCH_DELETE, delete_models),
        Route(wire.VERSION_BATCH_DELETE, delete_versions),
    ]


def _success(call: Call[Any], result: object) -> Reply:
    return Reply(ConsoleReply(call.request_id, result))


def _or_empty(body: bytes, _scope: object) -> bytes:
    return body or b"{}"


async def _publish(registry: Registry, work: Work, wanted: wire.PublishTrainModel) -> Version:
    meta = wanted.versionMeta
    task_id = str(meta.iterationId)
    if not wanted.isNewModel:
        if wanted.modelId is None:
            raise Invalid("isNewModel false needs modelId", param="modelId")
        return await work.publish_trained(
            wanted.modelId,
            task_id,
            step=meta.step,
            description=meta.description,
            options=publication(meta),
        )
    if wanted.modelName is None:
        raise Invalid("isNewModel true needs modelName", param="modelName")
    await work.require_artifact(task_id, meta.step)
    owner = await registry.create_set(wanted.modelName, tags=wanted.tags or ())
    return await work.publish_trained(
        owner.id,
        task_id,
        step=meta.step,
        description=meta.description,
        options=publication(meta),
    )


async def _list(
    registry: Registry, source: Source, call: Call[wire.ListPresets] | Call[wire.ListUsers]
) -> Reply:
    wanted = call.request
    types = wanted.modelType
    page, page_size = wanted.pageNo or 1, wanted.pageSize or DEFAULT_PAGE_SIZE
    lengths = wanted.ctxLength if isinstance(wanted, wire.ListPresets) else None
    lines, total = await registry.numbered_sets(
        source,
        name=wanted.nameFilter or "",
        types=None
        if not types
        else [name for name, number in _TYPES.items() if number.filters & {*types}],
        order=wanted.orderBy or "create_time",
        descending=wanted.order != "asc",
        # The length of a context is read out of a version's facts, so all presets are looked at for it.
        page=1 if lengths else page,
        page_size=wire.MAX_PAGE_SIZE if lengths else page_size,
    )
    if lengths:
        every = [line for line in lines if {_length(each) for each in line.versions} & {*lengths}]
        lines, total = every[(page - 1) * page_size : page * page_size], len(every)
    shown = [_model(line.set, line.versions) for line in lines]
    return Reply(wire.ModelList(log_id=call.request_id, result=shown, totalCount=total))


def _model(owner: ModelSet, versions: Sequence[Version]) -> wire.Model:
    return wire.Model(
        modelId=owner.number,
        modelIdStr=owner.id,
        modelName=owner.name,
        source=owner.source,
        modelType=_number(owner),
        createTime=beijing(owner.created_ms),
        modifyTime=beijing(owner.modified_ms),
        description=owner.description,
        trainType=_train_type(owner.name, versions),
        languageSupport=[],
        expansion=[],
        tags=list(owner.tags),
        modelVersionList=[_version(version) for version in versions],
    )


def _number(owner: ModelSet) -> int:
    number = _TYPES[owner.type]
    return number.preset if owner.source == "PlatformPreset" else number.user


def _train_type(name: str, versions: Sequence[Version]) -> str:
    """What a fine-tuning calls the model: the platform's own name, or that of what a version was made from."""
    for version in versions:
        if version.is_preset:
            return name
        if version.facts.architecture:
            return version.facts.architecture
    return ""


def _version(version: Version) -> wire.ModelVersion:
    options = ["Deploy", "Evaluation", "APIDoc"] if version.state == "Ready" else []
    if version.is_compressible:
        options.append("Acceleration")
    facts = version.facts
    return wire.ModelVersion(
        modelId=version.set_number,
        modelIdStr=version.set_id,
        modelName=version.set_name,
        modelVersionId=version.number,
        modelVersionIdStr=version.id,
        version=str(version.version),
        description=version.description,
        sourceType=version.source_type,
        sourceExtra=_source(version),
        framework=_framework(version),
        algorithm=facts.architecture or version.set_name,
        modelNet=facts.architecture or version.set_name,
        state=version.state,
        ioMode=version.application,
        ioLength=_length(version),
        copyright="",
        license=facts.licence or UNSET,
        property={},
        createTime=beijing(version.created_ms),
        modifyTime=beijing(version.modified_ms),
        deployResource=["Private"],
        supportOptions=options,
        trainType=version.set_name if version.is_preset else facts.architecture,
        error=version.error or UNSET,
    )


def _source(version: Version) -> wire.SourceExtra:
    extra = wire.SourceExtra(sourceType=version.source_type)
    told = version.origin
    match version.source_type:
        case "Train":
            job_id = str(told.get("jobId", ""))
            extra.trainSourceExtra = wire.TrainSource(
                taskId=job_id, taskIdStr=job_id, runId=version.task_id, runIdStr=version.task_id
            )
        case "Acceleration":
            extra.accelerationSourceExtra = wire.AccelerationSource(
                taskId=version.task_id, sourceModelVersionId=version.parent_id
            )
        case "Import":
            extra.importModelVersionSourceExtra = wire.ImportSource(
                bucket=str(told.get("bucket", "")),
                object=str(told.get("objectPath", "")),
                source=version.source,
            )
        case "PlatformPreset":
            pass
    return extra


def _framework(version: Version) -> str:
    return "llama.cpp" if version.format == "gguf" else "pytorch"


def _length(version: Version) -> str:
    """The longest input in Qianfan's spelling, ``8K``; "" where nothing is known."""
    return f"{version.facts.context_tokens // 1024}K" if version.facts.context_tokens else ""


def _evaluable(lines: Iterable[SetLine]) -> Iterable[wire.EvaluableModel]:
    for line in lines:
        ready = [version for version in line.versions if version.state == "Ready"]
        if ready:
            yield wire.EvaluableModel(
                modelId=line.set.number,
                modelIdStr=line.set.id,
                modelName=line.set.name,
                source=line.set.source,
                modelType=_number(line.set),
                trainType=_train_type(line.set.name, ready),
                modelVersionList=[_evaluable_version(version) for version in ready],
            )


def _evaluable_version(version: Version) -> wire.EvaluableVersion:
    whole = _version(version)
    return wire.EvaluableVersion(
        modelVersionId=whole.modelVersionId,
        modelVersionIdStr=whole.modelVersionIdStr,
        version=whole.version,
        sourceType=whole.sourceType,
        framework=whole.framework,
        algorithm=whole.algorithm,
        modelNet=whole.modelNet,
        trainType=whole.trainType,
        description=whole.description,
    )


@functools.cache
def _schema(kind: Any) -> str:
    """A JSON Schema as a text, as the wire has it."""
    return json.dumps(msgspec.json.schema(kind), ensure_ascii=False)
