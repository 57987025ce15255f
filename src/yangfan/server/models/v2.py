"""v2: the Actions of /v2/model, the uploads to it, and the downloads from it (specification D.2)."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from yangfan import extensions
from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.protocol.v2 import registry as wire
from yangfan.protocol.v2.memory import PageInfo
from yangfan.server.http import Call, Download, Reply, Route
from yangfan.server.http.actions import moment, success
from yangfan.server.http.times import beijing
from yangfan.server.models.registry import Page
from yangfan.server.models.work import Caller, publication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.server.jobs import Job
    from yangfan.server.models.registry import Registry
    from yangfan.server.models.types import SetLine, Task, Version
    from yangfan.server.models.uploads import Uploads
    from yangfan.server.models.work import Work

DEFAULT_PAGE, MAX_PAGE = 10, 100
MAX_IDS = 100
_FIRST_MARKERS = frozenset({None, "", "0"})
_FORMATS = {"HuggingFace.Transformers": "safetensors", "Safetensors": "safetensors", "GGUF": "gguf"}
_DEFAULT_CONF = wire.ChatConf(
    historyQATemplate="\n\nUser: {question} \nAssistant: {answer}\n",
    latestQuestionTemplate="\n\nUser: {question} \nAssistant:",
    promptTemplate="{input}",
)


def routes(registry: Registry, work: Work) -> list[Route]:
    """What this file answers."""
    return [
        *_set_routes(registry),
        *_model_routes(registry, work),
        *_conf_routes(registry),
        *_compression_routes(work),
        *_export_routes(registry, work),
        *_label_routes(registry),
        *_upload_routes(work.uploads),
    ]


def _set_routes(registry: Registry) -> list[Route]:
    async def create(call: Call[wire.CreateSet]) -> Reply:
        wanted = call.request
        made = await registry.create_set(
            wanted.modelSetName,
            wanted.modelType,
            tags=wanted.labels or (),
            description=wanted.description,
        )
        return success(wire.CreatedSet(modelSetId=made.id, modelSetName=made.name))

    async def list_system(call: Call[wire.Paged]) -> Reply:
        lines, info = await _sets(registry, "PlatformPreset", call.request)
        shown = [_system_set(line) for line in lines]
        return success(wire.SystemSets(systemModelSetList=shown, pageInfo=info))

    async def list_custom(call: Call[wire.Paged]) -> Reply:
        lines, info = await _sets(registry, "UserCreate", call.request)
        shown = [_custom_set(line) for line in lines]
        return success(wire.CustomSets(customModelSetList=shown, pageInfo=info))

    async def show(call: Call[wire.NameSet]) -> Reply:
        name = call.request.modelSetId or call.request.modelSetName
        if not name:
            raise Invalid("say which set: modelSetId or modelSetName", param="modelSetId")
        found = await registry.set(name)
        return success(
            wire.ShownSet(
                modelSetId=found.id,
                modelSetName=found.name,
                source=found.source,
                modelType=found.type,
                description=found.description,
                labels=list(found.tags),
                createTime=beijing(found.created_ms),
                modifyTime=beijing(found.modified_ms),
                modelIds=await registry.store.version_ids(found.number, MAX_IDS),
                versionLabels=await registry.store.labels(found.number),
            )
        )

    async def delete(call: Call[wire.DeleteSet]) -> Reply:
        await registry.delete_set(call.request.modelSetId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE_SET, create),
        Route(wire.SYSTEM_SETS, list_system, body=_or_empty),
        Route(wire.CUSTOM_SETS, list_custom, body=_or_empty),
        Route(wire.SHOW_SET, show),
        Route(wire.DELETE_SET, delete),
    ]


def _model_routes(registry: Registry, work: Work) -> list[Route]:
    async def create(call: Call[wire.CreateModel]) -> Reply:
        wanted = call.request
        if wanted.sourceType == "Train":
            made = await _publish(work, wanted, call.principal.app_id)
        else:
            made = await _import(work, wanted, call.principal.app_id)
        return success(
            wire.CreatedModel(modelId=made.id, modelSetId=made.set_id, jobId=made.job_id)
        )

    async def show(call: Call[wire.NameModel]) -> Reply:
        version = await registry.find(call.request.modelId)
        shown = await _shown(registry, version)
        shown.progress = _progress(await work.maker_of(version))
        return success(shown)

    async def show_system(call: Call[wire.NameModel]) -> Reply:
        version = await registry.find(call.request.modelId)
        if not version.is_preset:
            raise NotFound(f"{version.name} is no model of the platform; ask DescribeModel")
        shown = await _shown(registry, version)
        shown.sourceInfo = UNSET
        return success(shown)

    async def list_models(call: Call[wire.ListModels]) -> Reply:
        wanted = call.request
        page = _page(wanted)
        versions, follows = await registry.versions(wanted.modelSetId, page, state=wanted.status)
        shown = [_line(version) for version in versions]
        return success(wire.Models(modelList=shown, pageInfo=_info(wanted, page, follows)))

    async def modify(call: Call[wire.ModifyModel]) -> Reply:
        version = await registry.find(call.request.modelId)
        await registry.describe(version.id, call.request.description)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete(call: Call[wire.DeleteModel]) -> Reply:
        await registry.delete(call.request.modelId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE, create),
        Route(wire.SHOW, show),
        Route(wire.SHOW_SYSTEM, show_system),
        Route(wire.LIST, list_models),
        Route(wire.MODIFY, modify),
        Route(wire.DELETE, delete),
    ]


async def _publish(work: Work, wanted: wire.CreateModel, account: str) -> Version:
    if wanted.trainMeta is None:
        raise Invalid("sourceType Train needs trainMeta", param="trainMeta")
    meta = wanted.trainMeta
    step = meta.step if meta.checkpointStep is None else meta.checkpointStep
    return await work.publish_trained(
        wanted.modelSetId,
        meta.taskId,
        step=step,
        description=wanted.description,
        options=publication(meta),
        caller=Caller(account, wanted.idempotencyKey),
    )


async def _import(work: Work, wanted: wire.CreateModel, account: str) -> Version:
    meta = wanted.importMeta
    if meta is None:
        raise Invalid("sourceType Import needs importMeta", param="importMeta")
    source = meta.source
    if source is None:
        if not meta.bucket or meta.objectPath is None:
            raise Invalid(
                "importMeta needs bucket and objectPath, or source (hf:…, modelscope:…, https://…, s3:…, upload:…, a path)",
                param="importMeta.source",
            )
        source = f"s3:{meta.bucket}/{meta.objectPath.strip('/')}"
    elif meta.bucket or meta.objectPath:
        raise Invalid("importMeta has both a source and a bucket; give one", param="importMeta")
    if meta.chatConf is not None and meta.customSpec is not None:
        raise Invalid("importMeta has both chatConf and customSpec; give one", param="importMeta")
    origin = msgspec.to_builtins(meta)
    return await work.import_version(
        wanted.modelSetId,
        source,
        application=meta.modelApplicationType,
        model_format=_FORMATS.get(meta.modelFormat or "", ""),
        revision=meta.revision or "",
        description=wanted.description,
        origin={name: value for name, value in origin.items() if value is not None},
        caller=Caller(account, wanted.idempotencyKey),
    )


def _conf_routes(registry: Registry) -> list[Route]:
    async def system(call: Call[wire.SystemConf]) -> Reply:
        wanted = call.request
        return success(
            wire.AdvancedConf(
                modelApplicationType=wanted.modelApplicationType,
                modelFormat=wanted.modelFormat,
                transformerVersions=_installed("transformers"),
                vllmVersions=_installed("vllm"),
                llamaCppVersions=_installed("xllamacpp"),
                engines=_engines(_FORMATS[wanted.modelFormat]),
                chatConf=_DEFAULT_CONF,
            )
        )

    async def custom(call: Call[wire.NameModel]) -> Reply:
        version = await registry.find(call.request.modelId)
        told = version.origin
        return success(
            wire.CustomConf(
                modelId=version.id,
                modelApplicationType=version.application,
                modelFormat=told.get("modelFormat") or version.format,
                chatConf=(
                    msgspec.convert(told["chatConf"], wire.ChatConf)
                    if "chatConf" in told
                    else UNSET
                ),
                **{name: told.get(name, UNSET) for name in _KEPT},
                chatTemplate=version.facts.chat_template,
            )
        )

    return [Route(wire.SYSTEM_CONF, system), Route(wire.CUSTOM_CONF, custom)]


_KEPT = (
    "customSpec",
    "transformerVersion",
    "vllmVersion",
    "baseModel",
    "autoPromptConcat",
    "compressConf",
)
"""What an import said that is shown as it was said."""


def _installed(distribution: str) -> list[str]:
    try:
        return [importlib.metadata.version(distribution)]
    except importlib.metadata.PackageNotFoundError:
        return []


def _engines(model_format: str) -> list[str]:
    """The engines that read the format and can run here."""
    found: list[str] = []
    for name in extensions.names("yangfan.engines"):
        try:
            module = extensions.load("yangfan.engines", name)
        except ImportError:
            continue
        if model_format in module.FORMATS and module.missing() is None:
            found.append(name)
    return found


def _compression_routes(work: Work) -> list[Route]:
    async def create(call: Call[wire.CreateComp]) -> Reply:
        wanted = call.request
        task = await work.compress(
            wanted.sourceModelId,
            wanted.modelSetId,
            name=wanted.name,
            strategy=wanted.config.strategy,
            weight=wanted.config.weight,
            description=wanted.description,
            caller=Caller(call.principal.app_id, wanted.idempotencyKey),
        )
        return success(task.id)

    async def list_all(call: Call[wire.ListComps]) -> Reply:
        wanted = call.request
        page = _page(wanted)
        tasks, follows = await work.compressions(wanted.sourceModelId or None, page)
        shown = [_comp(task, await work.job_of(task)) for task in tasks]
        return success(wire.Comps(modelCompTaskList=shown, pageInfo=_info(wanted, page, follows)))

    async def show(call: Call[wire.NameComp]) -> Reply:
        task = await work.task("compress", call.request.modelCompTaskId)
        return success(_comp(task, await work.job_of(task)))

    async def cancel(call: Call[wire.NameComp]) -> Reply:
        await work.cancel("compress", call.request.modelCompTaskId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete(call: Call[wire.NameComp]) -> Reply:
        await work.remove("compress", call.request.modelCompTaskId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE_COMP, create),
        Route(wire.LIST_COMPS, list_all, body=_or_empty),
        Route(wire.SHOW_COMP, show),
        Route(wire.CANCEL_COMP, cancel),
        Route(wire.DELETE_COMP, delete),
    ]


def _export_routes(registry: Registry, work: Work) -> list[Route]:
    async def create(call: Call[wire.CreateExport]) -> Reply:
        wanted = call.request
        version = await registry.find(wanted.modelId)
        task = await work.export(
            version.id,
            form=wanted.form,
            target=wanted.target,
            caller=Caller(call.principal.app_id),
        )
        return success(_export(task, await work.job_of(task)))

    async def show(call: Call[wire.NameModel]) -> Reply:
        task = await work.last_export(call.request.modelId)
        return success(_export(task, await work.job_of(task)))

    async def download(call: Call[None]) -> Download:
        task = await work.task("export", call.params["task"])
        if task.state != "succeeded" or task.config["form"] != "zip":
            raise Conflict(
                f"the export {task.id} is no zip file that is done; ask DescribeModelExportTask"
            )
        return Download(Path(task.result["location"]), f"{task.id}.zip", "application/zip")

    return [
        Route(wire.CREATE_EXPORT, create),
        Route(wire.SHOW_EXPORT, show),
        Route(wire.DOWNLOAD, download),
    ]


def _label_routes(registry: Registry) -> list[Route]:
    async def put(call: Call[wire.SetLabel]) -> Reply:
        wanted = call.request
        await registry.set_label(wanted.modelSetId, wanted.label, wanted.modelId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete(call: Call[wire.NameLabel]) -> Reply:
        await registry.remove_label(call.request.modelSetId, call.request.label)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [Route(wire.SET_LABEL, put), Route(wire.DELETE_LABEL, delete)]


def _upload_routes(uploads: Uploads) -> list[Route]:
    def shown(upload_id: str) -> Reply:
        files = [
            wire.UploadFile(path=path, sizeBytes=size)
            for path, size in uploads.files(upload_id).items()
        ]
        return success(wire.Upload(uploadId=upload_id, maxBytes=uploads.max_bytes, files=files))

    async def create(call: Call[wire.NoUpload]) -> Reply:
        del call
        return shown(await uploads.create())

    async def show(call: Call[wire.NameUpload]) -> Reply:
        return shown(call.request.uploadId)

    async def delete(call: Call[wire.NameUpload]) -> Reply:
        await uploads.remove(call.request.uploadId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def send(call: Call[bytes]) -> Reply:
        path, offset = call.query.get("path", ""), call.query.get("offset", "0")
        if not offset.isdecimal() or len(offset) > 18:
            raise Invalid("offset is how many bytes of the file are here already", param="offset")
        size = await uploads.append(call.params["upload"], path, int(offset), call.pieces)
        return success(wire.UploadFile(path=path, sizeBytes=size))

    return [
        Route(wire.CREATE_UPLOAD, create, body=_or_empty),
        Route(wire.SHOW_UPLOAD, show),
        Route(wire.DELETE_UPLOAD, delete),
        Route(wire.SEND_FILE, send),
    ]


def _or_empty(body: bytes, _scope: object) -> bytes:
    return body or b"{}"


def _page(wanted: wire.Paged) -> Page:
    return Page(
        None if wanted.marker in _FIRST_MARKERS else wanted.marker,
        min(wanted.maxKeys or DEFAULT_PAGE, MAX_PAGE),
        bool(wanted.pageReverse),
    )


def _info(wanted: wire.Paged, page: Page, follows: str | None) -> PageInfo:
    return PageInfo(
        marker=wanted.marker or "",
        maxKeys=page.size,
        isTruncated=follows is not None,
        nextMarker=UNSET if follows is None else follows,
    )


async def _sets(
    registry: Registry, source: Any, wanted: wire.Paged
) -> tuple[Sequence[SetLine], PageInfo]:
    page = _page(wanted)
    lines, follows = await registry.sets(source, page)
    return lines, _info(wanted, page, follows)


def _system_set(line: SetLine) -> wire.SystemSet:
    found = line.set
    return wire.SystemSet(
        modelSetId=found.id,
        modelSetName=found.name,
        modelType=found.type,
        description=found.description,
        modelCount=line.version_count,
        modelIds=list(line.ids),
        modelNames=line.names,
        modifyTime=beijing(found.modified_ms),
    )


def _custom_set(line: SetLine) -> wire.CustomSet:
    found = line.set
    return wire.CustomSet(
        modelSetId=found.id,
        modelSetName=found.name,
        modelType=found.type,
        labels=list(found.tags),
        description=found.description,
        createTime=beijing(found.created_ms),
        modifyTime=beijing(found.modified_ms),
        modelCount=line.version_count,
        modelIds=list(line.ids),
        modelNames=line.names,
    )


async def _shown(registry: Registry, version: Version) -> wire.ShownModel:
    facts = version.facts
    derived = await registry.store.children(version.id, MAX_IDS)
    ready = version.state == "Ready"
    return wire.ShownModel(
        modelSetId=version.set_id,
        modelId=version.id,
        status=version.state,
        modelName=version.name,
        model=str(version.origin.get("baseModel") or facts.architecture or version.set_name),
        sourceInfo=_source(version),
        description=version.description or UNSET,
        createTime=beijing(version.created_ms),
        modifyTime=beijing(version.modified_ms),
        modelApplicationType=version.application,
        tokenLimitations=_limitations(version),
        isSupportDeploy=ready,
        isSupportModelComp=version.is_compressible,
        isSupportEvaluation=ready and version.kind == "chat",
        modelSetName=version.set_name,
        version=version.version,
        labels=list(version.labels),
        kind=version.kind,
        format=version.format,
        sizeBytes=version.size_bytes,
        memoryBytes=version.memory_bytes,
        architecture=facts.architecture,
        contextTokens=facts.context_tokens,
        parameters=facts.parameters,
        quantization=facts.quantization,
        parity=dict(facts.parity) or UNSET,
        licence=facts.licence,
        chatTemplate=facts.chat_template,
        files=[
            wire.ModelFile(path=file.path, sha256=file.sha256, sizeBytes=file.size_bytes)
            for file in version.files
        ],
        derivedModelIds=[child.id for child in derived],
        error=version.error or UNSET,
        jobId=version.job_id or UNSET,
    )


def _source(version: Version) -> wire.SourceInfo:
    told = version.origin
    bucket = told.get("bucket")
    path = str(told.get("objectPath", "")).strip("/")
    compressed = version.source_type == "Acceleration"
    return wire.SourceInfo(
        sourceType=version.source_type,
        trainTaskId=version.task_id if version.source_type == "Train" else UNSET,
        compTaskId=version.task_id if compressed else UNSET,
        bosPath=f"bos:/{bucket}/{path}" if bucket else UNSET,
        source=version.source or UNSET,
        revision=version.revision or UNSET,
        sourceModelId=version.parent_id or UNSET,
    )


def _limitations(version: Version) -> wire.TokenLimitations:
    context = version.facts.context_tokens
    if version.kind == "rerank":
        return wire.TokenLimitations(reranker=wire.Limitations(inputTokens=context))
    if version.kind in {"chat", "vision"}:
        limits = wire.Limitations(inputTokens=context, outputTokens=context, totalTokens=context)
        return wire.TokenLimitations(trivial=limits)
    return wire.TokenLimitations(trivial=wire.Limitations(inputTokens=context))


def _line(version: Version) -> wire.ModelLine:
    return wire.ModelLine(
        modelId=version.id,
        modelName=version.name,
        version=version.version,
        status=version.state,
        sourceType=version.source_type,
        modelApplicationType=version.application,
        format=version.format,
        sizeBytes=version.size_bytes,
        labels=list(version.labels),
        createTime=beijing(version.created_ms),
        error=version.error or UNSET,
    )


def status_of(task: Task, job: Job | None) -> wire.TaskStatus:
    """What Qianfan calls the state of a task, whose job knows better while it runs."""
    if task.state != "running" or job is None:
        return task.state
    if job.desired == "cancel":
        return "stopping"
    return "creating" if job.state in {"queued", "starting"} else "running"


def _progress(job: Job | None) -> Any:
    if job is None:
        return UNSET
    found = job.progress
    total = UNSET if found.total is None else found.total
    return wire.TaskProgress(done=found.done, total=total, unit=found.unit, note=found.note)


def _comp(task: Task, job: Job | None) -> wire.Comp:
    told = task.result
    return wire.Comp(
        id=task.id,
        modelCompTaskId=task.id,
        name=task.name,
        description=task.description,
        status=status_of(task, job),
        sourceModelId=task.source_id,
        modelSetId=task.set_id,
        modelId=task.version_id,
        config=dict(task.config),
        createTime=moment(task.created_ms),
        finishTime=UNSET if task.finished_ms is None else moment(task.finished_ms),
        failedReason=task.error or UNSET,
        jobId=task.job_id,
        progress=_progress(job),
        sizeBeforeBytes=_or_unset(told.get("size_before")),
        sizeAfterBytes=_or_unset(told.get("size_after")),
        perplexityBefore=_or_unset(told.get("perplexity_before")),
        perplexityAfter=_or_unset(told.get("perplexity_after")),
        perplexityText=_or_unset(told.get("text")),
    )


def _export(task: Task, job: Job | None) -> wire.Export:
    done = task.state == "succeeded"
    form, told = str(task.config["form"]), task.result
    path = wire.DOWNLOAD.path.replace("{task}", task.id)
    return wire.Export(
        exportTaskId=task.id,
        modelId=task.source_id,
        status=status_of(task, job),
        form=form,
        createTime=moment(task.created_ms),
        finishTime=UNSET if task.finished_ms is None else moment(task.finished_ms),
        failedReason=task.error or UNSET,
        jobId=task.job_id,
        progress=_progress(job),
        location=_or_unset(told.get("location")),
        sizeBytes=_or_unset(told.get("size_bytes")),
        sha256=_or_unset(told.get("sha256")),
        downloadPath=path if done and form == "zip" else UNSET,
    )


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value
