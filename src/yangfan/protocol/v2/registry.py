"""`POST /v2/model?Action=…`: model sets, versions, imports, exports and compressions (specification D.2).

v2 calls a version "model" (``modelId`` is ``amv-…``). What Qianfan's pages do not have is marked as ours: versions of a set, labels,
uploads, and everything about a version that was read out of its files. Field names of `importMeta` and of compressions follow Baidu's
pages Mlxefih20, Ylw02ns4o, ylxcncgpi and Sm3s3undj (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/…).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions, Endpoint
from yangfan.protocol.v2.keys import ActionReply
from yangfan.protocol.v2.memory import PageInfo

SetType = Literal["Text2Text", "Text2Image", "TextRepresentation", "ImageUnderstanding", "Industry"]
Application = Literal[
    "chat", "completion", "embedding", "reranker", "Text-to-Image", "Image-to-Text"
]
Status = Literal["Ready", "Creating", "Fail"]
TaskStatus = Literal["creating", "running", "succeeded", "failed", "stopping", "stopped"]

Reference = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=300)]


class Paged(msgspec.Struct, kw_only=True):
    """Which page: `marker` is the id to begin with, `maxKeys` is 10 if absent and 100 at most, `pageReverse` shows the newest first."""

    marker: str | None = None
    maxKeys: Annotated[int, Meta(ge=1)] | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling


class CreateSet(msgspec.Struct, kw_only=True):
    """A set to make."""

    modelSetName: str  # noqa: N815 - the wire's spelling
    modelType: SetType  # noqa: N815 - the wire's spelling
    labels: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=64)]],
            Meta(max_length=64, description="Words to find it by."),
        ]
        | None
    ) = None
    description: Text = ""


class CreatedSet(msgspec.Struct, kw_only=True):
    """Its id, ``am-…``."""

    modelSetId: str  # noqa: N815 - the wire's spelling
    modelSetName: str  # noqa: N815 - the wire's spelling


class SystemSet(msgspec.Struct, kw_only=True):
    """A set of the platform; its newest versions first, at most 100. Times are RFC 3339 at +08:00."""

    modelSetId: str  # noqa: N815 - the wire's spelling
    modelSetName: str  # noqa: N815 - the wire's spelling
    modelType: SetType  # noqa: N815 - the wire's spelling
    description: str
    modelCount: int  # noqa: N815 - the wire's spelling
    modelIds: list[str]  # noqa: N815 - the wire's spelling
    modelNames: list[str]  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling


class SystemSets(msgspec.Struct, kw_only=True):
    """A page of them."""

    systemModelSetList: list[SystemSet]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class CustomSet(msgspec.Struct, kw_only=True):
    """A set of the user's; its newest versions first, at most 100."""

    modelSetId: str  # noqa: N815 - the wire's spelling
    modelSetName: str  # noqa: N815 - the wire's spelling
    modelType: SetType  # noqa: N815 - the wire's spelling
    labels: list[str]
    description: str
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    modelCount: int  # noqa: N815 - the wire's spelling
    modelIds: list[str]  # noqa: N815 - the wire's spelling
    modelNames: list[str]  # noqa: N815 - the wire's spelling


class CustomSets(msgspec.Struct, kw_only=True):
    """A page of them."""

    customModelSetList: list[CustomSet]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class NameSet(msgspec.Struct, kw_only=True):
    """Which set: by its id (or name), or by its name."""

    modelSetId: str | None = None  # noqa: N815 - the wire's spelling
    modelSetName: str | None = None  # noqa: N815 - the wire's spelling


class ShownSet(msgspec.Struct, kw_only=True):
    """A set; its newest versions first, at most 100. `versionLabels` is ours: the version that each label points to."""

    modelSetId: str  # noqa: N815 - the wire's spelling
    modelSetName: str  # noqa: N815 - the wire's spelling
    source: Literal["UserCreate", "PlatformPreset"]
    modelType: SetType  # noqa: N815 - the wire's spelling
    description: str
    labels: list[str]
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    modelIds: list[str]  # noqa: N815 - the wire's spelling
    versionLabels: dict[str, str]  # noqa: N815 - the wire's spelling


class DeleteSet(msgspec.Struct, kw_only=True):
    """Which set; all its versions go with it."""

    modelSetId: Reference  # noqa: N815 - the wire's spelling


TrainedFormat = Literal["gguf", "safetensors", "adapter"]
TrainedQuantization = Literal["Q8_0", "Q4_K_M"]


class TrainMeta(msgspec.Struct, kw_only=True):
    """A training task that has ended; `step` is another spelling of `checkpointStep`."""

    taskId: Reference  # noqa: N815 - the wire's spelling
    checkpointStep: Annotated[int, Meta(ge=0)] | None = None  # noqa: N815 - the wire's spelling
    step: Annotated[int, Meta(ge=0)] | None = None
    format: TrainedFormat | None = None
    """An extension: how its weights are kept; gguf (default) where the embedded engine can serve it. What LoRA learnt is merged into its
    base, or (adapter) kept beside it: services of one base then share an engine."""
    quantization: TrainedQuantization | None = None
    """An extension: make a gguf smaller."""


class ChatConf(msgspec.Struct, kw_only=True):
    """How Qianfan's console describes a prompt; with a `latestQuestionTemplate` it takes the place of the model's own chat template.

    The first holds {question} and {answer}, the second {question}, the third {input}, each once.
    """

    historyQATemplate: Annotated[str, Meta(max_length=200)] | None = None  # noqa: N815 - the wire's spelling
    latestQuestionTemplate: Annotated[str, Meta(max_length=200)] | None = None  # noqa: N815 - the wire's spelling
    promptTemplate: Text | None = None  # noqa: N815 - the wire's spelling


class ImportMeta(msgspec.Struct, kw_only=True):
    """Where to import from. `bucket` and `objectPath` name an S3-compatible store; `source` is ours and names anything else.

    `source` is ``hf:OWNER/NAME``, ``modelscope:OWNER/NAME``, ``https://…``, ``s3:BUCKET/PATH``, ``pypi:…``, ``upload:up-…`` or an absolute
    path of the server. `chatConf` becomes the chat template unless `autoPromptConcat` is false, which leaves the model its own; `baseModel` is
    what DescribeModel calls its `model`. Versions of libraries, `customSpec` and `compressConf` are kept and shown, no more: what runs a model
    is chosen when it is served, callers' code is never run, and how tokens are picked is for each call to say.
    """

    bucket: str | None = None
    objectPath: str | None = None  # noqa: N815 - the wire's spelling
    source: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    revision: Annotated[str, Meta(max_length=256)] | None = None
    modelFormat: Literal["HuggingFace.Transformers", "Safetensors", "GGUF"] | None = None  # noqa: N815 - the wire's spelling
    modelApplicationType: Application | None = None  # noqa: N815 - the wire's spelling
    chatConf: ChatConf | None = None  # noqa: N815 - the wire's spelling
    customSpec: dict[str, Any] | None = None  # noqa: N815 - the wire's spelling
    transformerVersion: str | None = None  # noqa: N815 - the wire's spelling
    vllmVersion: str | None = None  # noqa: N815 - the wire's spelling
    baseModel: str | None = None  # noqa: N815 - the wire's spelling
    autoPromptConcat: bool | None = None  # noqa: N815 - the wire's spelling
    compressConf: dict[str, Any] | None = None  # noqa: N815 - the wire's spelling


class CreateModel(msgspec.Struct, kw_only=True):
    """A version to make. `idempotencyKey` is ours: a repetition with the same key gets the version that the first call made."""

    modelSetId: Reference  # noqa: N815 - the wire's spelling
    sourceType: Literal["Train", "Import"]  # noqa: N815 - the wire's spelling
    description: Text = ""
    trainMeta: TrainMeta | None = None  # noqa: N815 - the wire's spelling
    importMeta: ImportMeta | None = None  # noqa: N815 - the wire's spelling
    idempotencyKey: Annotated[str, Meta(max_length=128)] = ""  # noqa: N815 - the wire's spelling


class CreatedModel(msgspec.Struct, kw_only=True):
    """Its id, ``amv-…``, and (ours) the job that makes it, "" where it is ready at once."""

    modelId: str  # noqa: N815 - the wire's spelling
    modelSetId: str  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling


class SystemConf(msgspec.Struct, kw_only=True):
    """For which use and format."""

    modelApplicationType: Application  # noqa: N815 - the wire's spelling
    modelFormat: Literal["HuggingFace.Transformers", "Safetensors", "GGUF"] = (  # noqa: N815 - the wire's spelling
        "HuggingFace.Transformers"
    )


class AdvancedConf(msgspec.Struct, kw_only=True):
    """What is here to run such a model: versions of libraries, "" where one is not installed, and the prompt of a model without a template."""

    modelApplicationType: Application  # noqa: N815 - the wire's spelling
    modelFormat: str  # noqa: N815 - the wire's spelling
    transformerVersions: list[str]  # noqa: N815 - the wire's spelling
    vllmVersions: list[str]  # noqa: N815 - the wire's spelling
    llamaCppVersions: list[str]  # noqa: N815 - the wire's spelling
    engines: list[str]
    chatConf: ChatConf  # noqa: N815 - the wire's spelling


class CustomConf(msgspec.Struct, kw_only=True):
    """What was said when a version was imported, and the template in its files."""

    modelId: str  # noqa: N815 - the wire's spelling
    modelApplicationType: str  # noqa: N815 - the wire's spelling
    modelFormat: str  # noqa: N815 - the wire's spelling
    chatConf: ChatConf | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    customSpec: dict[str, Any] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    transformerVersion: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    vllmVersion: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    baseModel: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    autoPromptConcat: bool | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    compressConf: dict[str, Any] | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    chatTemplate: str  # noqa: N815 - the wire's spelling


class NameModel(msgspec.Struct, kw_only=True):
    """Which version: ``amv-…``, ``SET:VERSION``, ``SET@label``, or a set, which means its newest that is ready."""

    modelId: Reference  # noqa: N815 - the wire's spelling


class TaskProgress(msgspec.Struct, kw_only=True):
    """How far it is; `total` is absent where nobody knows."""

    done: float
    total: float | UnsetType = UNSET
    unit: str = ""
    note: str = ""


class SourceInfo(msgspec.Struct, kw_only=True):
    """How a version came to be. `source`, `revision` and `sourceModelId` are ours."""

    sourceType: str  # noqa: N815 - the wire's spelling
    trainTaskId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    compTaskId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    bosPath: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    source: str | UnsetType = UNSET
    revision: str | UnsetType = UNSET
    sourceModelId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class Limitations(msgspec.Struct, kw_only=True):
    """How many tokens a call may bring and get, 0 where nothing is known."""

    inputTokens: int  # noqa: N815 - the wire's spelling
    outputTokens: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    totalTokens: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class TokenLimitations(msgspec.Struct, kw_only=True):
    """One of them: `reranker` for rerankers, `trivial` for the rest."""

    trivial: Limitations | UnsetType = UNSET
    reranker: Limitations | UnsetType = UNSET


class ModelFile(msgspec.Struct, kw_only=True):
    """A file of a version."""

    path: str
    sha256: str
    sizeBytes: int  # noqa: N815 - the wire's spelling


class ShownModel(msgspec.Struct, kw_only=True):
    """A version. What comes after `isSupportEvaluation` is ours; `description` is absent when it is empty."""

    modelSetId: str  # noqa: N815 - the wire's spelling
    modelId: str  # noqa: N815 - the wire's spelling
    status: Status
    modelName: str  # noqa: N815 - the wire's spelling
    model: str
    sourceInfo: SourceInfo | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    description: str | UnsetType = UNSET
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    modelApplicationType: str  # noqa: N815 - the wire's spelling
    tokenLimitations: TokenLimitations  # noqa: N815 - the wire's spelling
    isSupportDeploy: bool  # noqa: N815 - the wire's spelling
    isSupportModelComp: bool  # noqa: N815 - the wire's spelling
    isSupportEvaluation: bool  # noqa: N815 - the wire's spelling
    modelSetName: str  # noqa: N815 - the wire's spelling
    version: int
    labels: list[str]
    kind: str
    format: str
    sizeBytes: int  # noqa: N815 - the wire's spelling
    memoryBytes: int  # noqa: N815 - the wire's spelling
    architecture: str
    contextTokens: int  # noqa: N815 - the wire's spelling
    parameters: int
    quantization: str
    licence: str
    chatTemplate: str  # noqa: N815 - the wire's spelling
    files: list[ModelFile]
    derivedModelIds: list[str]  # noqa: N815 - the wire's spelling
    error: str | UnsetType = UNSET
    jobId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    progress: TaskProgress | UnsetType = UNSET
    parity: dict[str, Any] | UnsetType = UNSET
    """Of a version that was trained here: how near what is served is to what was trained, and whether that passed."""


class DeleteModel(msgspec.Struct, kw_only=True):
    """Which version."""

    modelId: Reference  # noqa: N815 - the wire's spelling


class CompConfig(msgspec.Struct, kw_only=True):
    """How to compress: `weight` INT8-PTQ or W8A16C16 (8 bits), W4A16C16 (4 bits)."""

    strategy: str
    weight: str | None = None


class CreateComp(msgspec.Struct, kw_only=True):
    """What to compress, and which set gets the new version."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    sourceModelId: Reference  # noqa: N815 - the wire's spelling
    modelSetId: Reference  # noqa: N815 - the wire's spelling
    config: CompConfig
    description: Text = ""
    idempotencyKey: Annotated[str, Meta(max_length=128)] = ""  # noqa: N815 - the wire's spelling


class ListComps(Paged, kw_only=True):
    """Those of one version, or all."""

    sourceModelId: str | None = None  # noqa: N815 - the wire's spelling


class NameComp(msgspec.Struct, kw_only=True):
    """Which compression, ``amva-…``."""

    modelCompTaskId: Reference  # noqa: N815 - the wire's spelling


class Comp(msgspec.Struct, kw_only=True):
    """A compression. What comes after `failedReason` is ours: the size and the perplexity before and after."""

    id: str
    modelCompTaskId: str  # noqa: N815 - the wire's spelling
    name: str
    description: str
    status: TaskStatus
    sourceModelId: str  # noqa: N815 - the wire's spelling
    modelSetId: str  # noqa: N815 - the wire's spelling
    modelId: str  # noqa: N815 - the wire's spelling
    config: dict[str, Any]
    createTime: str  # noqa: N815 - the wire's spelling
    finishTime: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    failedReason: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling
    progress: TaskProgress | UnsetType = UNSET
    sizeBeforeBytes: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    sizeAfterBytes: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    perplexityBefore: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    perplexityAfter: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    perplexityText: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class Comps(msgspec.Struct, kw_only=True):
    """A page of compressions."""

    modelCompTaskList: list[Comp]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class CreateExport(msgspec.Struct, kw_only=True):
    """Which version to write where. Ours: `form`, and `target`, a name in the server's folder of exports or ``s3:BUCKET/PATH``."""

    modelId: Reference  # noqa: N815 - the wire's spelling
    form: Literal["zip", "folder", "s3"] = "zip"
    target: Annotated[str, Meta(max_length=1024)] = ""


class Export(msgspec.Struct, kw_only=True):
    """An export. `downloadPath` is there for a zip that is done: GET it with the same credentials."""

    exportTaskId: str  # noqa: N815 - the wire's spelling
    modelId: str  # noqa: N815 - the wire's spelling
    status: TaskStatus
    form: str
    createTime: str  # noqa: N815 - the wire's spelling
    finishTime: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    failedReason: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    jobId: str  # noqa: N815 - the wire's spelling
    progress: TaskProgress | UnsetType = UNSET
    location: str | UnsetType = UNSET
    sizeBytes: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    sha256: str | UnsetType = UNSET
    downloadPath: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class ListModels(Paged, kw_only=True):
    """Versions of which set, and in which state."""

    modelSetId: Reference  # noqa: N815 - the wire's spelling
    status: Status | None = None


class ModelLine(msgspec.Struct, kw_only=True):
    """A version in a list."""

    modelId: str  # noqa: N815 - the wire's spelling
    modelName: str  # noqa: N815 - the wire's spelling
    version: int
    status: Status
    sourceType: str  # noqa: N815 - the wire's spelling
    modelApplicationType: str  # noqa: N815 - the wire's spelling
    format: str
    sizeBytes: int  # noqa: N815 - the wire's spelling
    labels: list[str]
    createTime: str  # noqa: N815 - the wire's spelling
    error: str | UnsetType = UNSET


class Models(msgspec.Struct, kw_only=True):
    """A page of versions."""

    modelList: list[ModelLine]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class ModifyModel(msgspec.Struct, kw_only=True):
    """What to say about a version from now on; nothing else of it changes."""

    modelId: Reference  # noqa: N815 - the wire's spelling
    description: Text


class SetLabel(msgspec.Struct, kw_only=True):
    """Which label is to point to which version; it leaves the one that had it."""

    modelSetId: Reference  # noqa: N815 - the wire's spelling
    label: Annotated[str, Meta(min_length=1, max_length=64)]
    modelId: Reference  # noqa: N815 - the wire's spelling


class NameLabel(msgspec.Struct, kw_only=True):
    """Which label to forget."""

    modelSetId: Reference  # noqa: N815 - the wire's spelling
    label: Annotated[str, Meta(min_length=1, max_length=64)]


class NoUpload(msgspec.Struct):
    """Nothing to say."""


class NameUpload(msgspec.Struct, kw_only=True):
    """Which upload, ``up-…``."""

    uploadId: Reference  # noqa: N815 - the wire's spelling


class UploadFile(msgspec.Struct, kw_only=True):
    """A file of an upload, and how much of it is here."""

    path: str
    sizeBytes: int  # noqa: N815 - the wire's spelling


class Upload(msgspec.Struct, kw_only=True):
    """An upload. Files are sent to `path` of `POST /v2/model/upload/{uploadId}?path=…&offset=…` as they are."""

    uploadId: str  # noqa: N815 - the wire's spelling
    maxBytes: int  # noqa: N815 - the wire's spelling
    files: list[UploadFile]


_model = Actions("v2.models", "/v2/model", "D.2")


CREATE_SET = _model(
    "create_custom_model_set",
    "CreateCustomModelSet",
    CreateSet,
    ActionReply[CreatedSet],
    "Make an empty model set.",
    "新建我的模型。",
)
SYSTEM_SETS = _model(
    "describe_system_model_sets",
    "DescribeSystemModelSets",
    Paged,
    ActionReply[SystemSets],
    "List the platform's model sets.",
    "获取预置模型列表。",
)
CUSTOM_SETS = _model(
    "describe_custom_model_sets",
    "DescribeCustomModelSets",
    Paged,
    ActionReply[CustomSets],
    "List the user's model sets.",
    "获取我的模型列表。",
)
SHOW_SET = _model(
    "describe_model_set",
    "DescribeModelSet",
    NameSet,
    ActionReply[ShownSet],
    "Show a model set.",
    "获取模型详情。",
)
DELETE_SET = _model(
    "delete_model_set",
    "DeleteModelSet",
    DeleteSet,
    ActionReply[bool],
    "Delete a model set with all its versions.",
    "删除模型。",
)
CREATE = _model(
    "create_custom_model",
    "CreateCustomModel",
    CreateModel,
    ActionReply[CreatedModel],
    "Begin to import a model version, or publish what a training task left.",
    "新建我的模型版本。",
)
SYSTEM_CONF = _model(
    "describe_model_system_advanced_conf",
    "DescribeModelSystemAdvancedConf",
    SystemConf,
    ActionReply[AdvancedConf],
    "Tell what is here to run an imported model.",
    "获取系统高级配置。",
)
CUSTOM_CONF = _model(
    "describe_model_custom_advanced_conf",
    "DescribeModelCustomAdvancedConf",
    NameModel,
    ActionReply[CustomConf],
    "Tell what was said when a model version was imported.",
    "获取模型自定义高级配置。",
)
SHOW = _model(
    "describe_model",
    "DescribeModel",
    NameModel,
    ActionReply[ShownModel],
    "Show a model version: state, source, licence, files and limits.",
    "获取模型版本详情。",
)
SHOW_SYSTEM = _model(
    "describe_system_model",
    "DescribeSystemModel",
    NameModel,
    ActionReply[ShownModel],
    "Show a version of a model of the platform.",
    "获取预置模型版本详情。",
)
DELETE = _model(
    "delete_model",
    "DeleteModel",
    DeleteModel,
    ActionReply[bool],
    "Delete a model version.",
    "删除模型版本。",
)
CREATE_EXPORT = _model(
    "create_model_export_task",
    "CreateModelExportTask",
    CreateExport,
    ActionReply[Export],
    "Begin to export a model version.",
    "创建模型版本导出任务。",
)
SHOW_EXPORT = _model(
    "describe_model_export_task",
    "DescribeModelExportTask",
    NameModel,
    ActionReply[Export],
    "Show the newest export of a model version that did not fail.",
    "获取模型版本打包导出任务。",
)
CREATE_COMP = _model(
    "create_model_comp_task",
    "CreateModelCompTask",
    CreateComp,
    ActionReply[str],
    "Begin to compress a model version into a new one.",
    "创建模型压缩任务。",
)
LIST_COMPS = _model(
    "describe_model_comp_tasks",
    "DescribeModelCompTasks",
    ListComps,
    ActionReply[Comps],
    "List compressions.",
    "查看模型压缩任务列表。",
)
SHOW_COMP = _model(
    "describe_model_comp_task",
    "DescribeModelCompTask",
    NameComp,
    ActionReply[Comp],
    "Show a compression: progress, size and quality.",
    "获取模型压缩任务详情。",
)
CANCEL_COMP = _model(
    "cancel_model_comp_task",
    "CancelModelCompTask",
    NameComp,
    ActionReply[bool],
    "Stop a compression.",
    "停止模型压缩任务。",
)
DELETE_COMP = _model(
    "delete_model_comp_task",
    "DeleteModelCompTask",
    NameComp,
    ActionReply[bool],
    "Forget a compression that has ended.",
    "删除模型压缩任务。",
)
LIST = _model(
    "describe_models",
    "DescribeModels",
    ListModels,
    ActionReply[Models],
    "List the versions of a model set.",
    "获取模型的版本列表。",
    spec="ours",
)
MODIFY = _model(
    "modify_model",
    "ModifyModel",
    ModifyModel,
    ActionReply[bool],
    "Describe a model version in other words.",
    "修改模型版本描述。",
    spec="ours",
)
SET_LABEL = _model(
    "set_model_label",
    "SetModelLabel",
    SetLabel,
    ActionReply[bool],
    "Have a label, such as production, point to a model version.",
    "设置模型版本标签。",
    spec="ours",
)
DELETE_LABEL = _model(
    "delete_model_label",
    "DeleteModelLabel",
    NameLabel,
    ActionReply[bool],
    "Forget a label.",
    "删除模型版本标签。",
    spec="ours",
)
CREATE_UPLOAD = _model(
    "create_model_upload",
    "CreateModelUpload",
    NoUpload,
    ActionReply[Upload],
    "Begin to send the files of a model.",
    "创建模型文件上传。",
    spec="ours",
)
SHOW_UPLOAD = _model(
    "describe_model_upload",
    "DescribeModelUpload",
    NameUpload,
    ActionReply[Upload],
    "Show how much of an upload is here.",
    "查看模型文件上传进度。",
    spec="ours",
)
DELETE_UPLOAD = _model(
    "delete_model_upload",
    "DeleteModelUpload",
    NameUpload,
    ActionReply[bool],
    "Throw an upload away.",
    "删除模型文件上传。",
    spec="ours",
)
SEND_FILE: Endpoint[bytes, ActionReply[UploadFile]] = Endpoint(
    name="v2.models.upload",
    dialect="action",
    method="POST",
    path="/v2/model/upload/{upload}",
    request=bytes,
    reply=ActionReply[UploadFile],
    auth="signature",
    summary="Send a file of a model, or the rest of it: query `path` and `offset`, the bytes as the body.",
    summary_zh="上传模型文件（或续传）：查询参数 path 与 offset，请求体为文件内容。",
    spec="ours",
)
DOWNLOAD: Endpoint[None, bytes] = Endpoint(
    name="v2.models.download",
    dialect="action",
    method="GET",
    path="/v2/model/export/{task}",
    request=None,
    reply=bytes,
    auth="signature",
    summary="Fetch the zip file of an export that is done.",
    summary_zh="下载已完成的导出压缩包。",
    spec="ours",
)
