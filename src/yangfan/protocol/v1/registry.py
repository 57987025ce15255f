"""`POST /wenxinworkshop/modelrepo/…`: model sets and versions, v1 (specification D.1).

v1 calls a set "model" and its versions "model versions"; ids are integers with string twins (``modelId`` and ``modelIdStr``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.console import ConsoleReply, Id, Nothing

MAX_PAGE_SIZE = 1000

PageNo = Annotated[int, Meta(ge=1, le=1_000_000, description="Counts from 1.")]
TrainedFormat = Literal["gguf", "safetensors", "adapter"]
TrainedQuantization = Literal["Q8_0", "Q4_K_M"]
PageSize = Annotated[int, Meta(ge=1, le=MAX_PAGE_SIZE)]


class NameModel(msgspec.Struct, kw_only=True):
    """Which set: ``am-…``, its integer, or its name."""

    modelId: Id  # noqa: N815 - the wire's spelling


class NameVersion(msgspec.Struct, kw_only=True):
    """Which version: ``amv-…``, its integer, ``SET:VERSION`` or ``SET@label``."""

    modelVersionId: Id  # noqa: N815 - the wire's spelling


class TrainSource(msgspec.Struct, kw_only=True):
    """The training that made a version."""

    taskId: Id = ""  # noqa: N815 - the wire's spelling
    taskIdStr: str = ""  # noqa: N815 - the wire's spelling
    taskName: str = ""  # noqa: N815 - the wire's spelling
    iterationVersion: int = 1  # noqa: N815 - the wire's spelling
    runId: Id = ""  # noqa: N815 - the wire's spelling
    runIdStr: str = ""  # noqa: N815 - the wire's spelling
    devType: int = 1  # noqa: N815 - the wire's spelling
    modelType: int = 0  # noqa: N815 - the wire's spelling
    templateType: int = 0  # noqa: N815 - the wire's spelling


class AccelerationSource(msgspec.Struct, kw_only=True):
    """The compression that made a version."""

    taskId: str  # noqa: N815 - the wire's spelling
    taskName: str = ""  # noqa: N815 - the wire's spelling
    sourceModelVersionId: str  # noqa: N815 - the wire's spelling


class ImportSource(msgspec.Struct, kw_only=True):
    """Where a version was imported from; `source` is ours: the address."""

    bucket: str = ""
    object: str = ""
    source: str = ""


class SourceExtra(msgspec.Struct, kw_only=True):
    """How a version came to be."""

    sourceType: str  # noqa: N815 - the wire's spelling
    trainSourceExtra: TrainSource | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    accelerationSourceExtra: AccelerationSource | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    importModelVersionSourceExtra: ImportSource | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class Params(msgspec.Struct, kw_only=True):
    """JSON Schemas, as texts, of what a version takes and gives."""

    input: str
    output: str


class ModelVersion(msgspec.Struct, kw_only=True):
    """A version. Times are RFC 3339 at +08:00; `license` is there where it is known, `error` (ours) where making it failed."""

    modelId: int  # noqa: N815 - the wire's spelling
    modelIdStr: str  # noqa: N815 - the wire's spelling
    modelName: str  # noqa: N815 - the wire's spelling
    modelVersionId: int  # noqa: N815 - the wire's spelling
    modelVersionIdStr: str  # noqa: N815 - the wire's spelling
    version: str
    description: str
    sourceType: str  # noqa: N815 - the wire's spelling
    sourceExtra: SourceExtra  # noqa: N815 - the wire's spelling
    framework: str
    algorithm: str
    modelNet: str  # noqa: N815 - the wire's spelling
    state: Literal["Ready", "Creating", "Fail"]
    ioMode: str  # noqa: N815 - the wire's spelling
    ioLength: str  # noqa: N815 - the wire's spelling
    copyright: str
    license: str | UnsetType = UNSET
    property: dict[str, Any]
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    deployResource: list[str]  # noqa: N815 - the wire's spelling
    supportOptions: list[str]  # noqa: N815 - the wire's spelling
    trainType: str  # noqa: N815 - the wire's spelling
    error: str | UnsetType = UNSET
    params: Params | UnsetType = UNSET


class Model(msgspec.Struct, kw_only=True):
    """A set with its newest versions first, at most 100."""

    modelId: int  # noqa: N815 - the wire's spelling
    modelIdStr: str  # noqa: N815 - the wire's spelling
    modelName: str  # noqa: N815 - the wire's spelling
    source: Literal["UserCreate", "PlatformPreset"]
    modelType: int  # noqa: N815 - the wire's spelling
    createUserId: int = 0  # noqa: N815 - the wire's spelling
    createUser: str = ""  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    description: str
    trainType: str  # noqa: N815 - the wire's spelling
    languageSupport: list[str]  # noqa: N815 - the wire's spelling
    expansion: list[str]
    tags: list[str]
    modelVersionList: list[ModelVersion]  # noqa: N815 - the wire's spelling


class EvaluableVersion(msgspec.Struct, kw_only=True):
    """A version that can be evaluated."""

    modelVersionId: int  # noqa: N815 - the wire's spelling
    modelVersionIdStr: str  # noqa: N815 - the wire's spelling
    version: str
    sourceType: str  # noqa: N815 - the wire's spelling
    framework: str
    algorithm: str
    modelNet: str  # noqa: N815 - the wire's spelling
    trainType: str  # noqa: N815 - the wire's spelling
    description: str


class EvaluableModel(msgspec.Struct, kw_only=True):
    """A set with those of its versions that can be evaluated."""

    modelId: int  # noqa: N815 - the wire's spelling
    modelIdStr: str  # noqa: N815 - the wire's spelling
    modelName: str  # noqa: N815 - the wire's spelling
    source: Literal["UserCreate", "PlatformPreset"]
    modelType: int  # noqa: N815 - the wire's spelling
    trainType: str  # noqa: N815 - the wire's spelling
    modelVersionList: list[EvaluableVersion]  # noqa: N815 - the wire's spelling


class TrainedVersion(msgspec.Struct, kw_only=True):
    """What to publish: `taskId` is the job, `iterationId` the task in it, `step` a checkpoint."""

    taskId: Id  # noqa: N815 - the wire's spelling
    iterationId: Id  # noqa: N815 - the wire's spelling
    step: Annotated[int, Meta(ge=0)] | None = None
    description: str = ""
    format: TrainedFormat | None = None
    """An extension, as in v2's `trainMeta`: gguf, safetensors, or adapter for what LoRA learnt without its base."""
    quantization: TrainedQuantization | None = None
    """An extension: make a gguf smaller."""


class PublishTrainModel(msgspec.Struct, kw_only=True):
    """Into a new set of that name, or into an existing one."""

    isNewModel: bool  # noqa: N815 - the wire's spelling
    versionMeta: TrainedVersion  # noqa: N815 - the wire's spelling
    modelName: str | None = None  # noqa: N815 - the wire's spelling
    modelId: Id | None = None  # noqa: N815 - the wire's spelling
    tags: list[str] | None = None


class Published(msgspec.Struct, kw_only=True):
    """The version; mind the capitals of `modelIDStr`."""

    modelIDStr: str  # noqa: N815 - the wire's spelling
    modelId: int  # noqa: N815 - the wire's spelling
    version: str
    versionId: int  # noqa: N815 - the wire's spelling
    versionIdStr: str  # noqa: N815 - the wire's spelling


class ListPresets(msgspec.Struct, kw_only=True):
    """Which of the platform's sets. `modelVersionVendor`, `languageSupport` and `expansion` are taken and change nothing."""

    pageNo: PageNo | None = None  # noqa: N815 - the wire's spelling
    pageSize: PageSize | None = None  # noqa: N815 - the wire's spelling
    nameFilter: str | None = None  # noqa: N815 - the wire's spelling
    modelType: list[int] | None = None  # noqa: N815 - the wire's spelling
    modelVersionVendor: list[str] | None = None  # noqa: N815 - the wire's spelling
    ctxLength: list[str] | None = None  # noqa: N815 - the wire's spelling
    languageSupport: list[str] | None = None  # noqa: N815 - the wire's spelling
    expansion: list[str] | None = None
    orderBy: str | None = None  # noqa: N815 - the wire's spelling
    order: Literal["asc", "desc"] | None = None


class ListUsers(msgspec.Struct, kw_only=True):
    """Which of the user's sets; `orderBy` is create_time, modify_time or name."""

    pageNo: PageNo | None = None  # noqa: N815 - the wire's spelling
    pageSize: PageSize | None = None  # noqa: N815 - the wire's spelling
    nameFilter: str | None = None  # noqa: N815 - the wire's spelling
    modelType: list[int] | None = None  # noqa: N815 - the wire's spelling
    orderBy: str | None = None  # noqa: N815 - the wire's spelling
    order: Literal["asc", "desc"] | None = None


class ModelList(ConsoleReply[list[Model]], kw_only=True):
    """A page of sets; `totalCount` (ours) is how many match."""

    totalCount: int  # noqa: N815 - the wire's spelling


class DeleteModels(msgspec.Struct, kw_only=True):
    """Which sets."""

    modelIDs: Annotated[list[Id], Meta(min_length=1, max_length=100)]  # noqa: N815 - the wire's spelling


class DeleteVersions(msgspec.Struct, kw_only=True):
    """Which versions."""

    modelVersionIds: Annotated[list[Id], Meta(min_length=1, max_length=100)]  # noqa: N815 - the wire's spelling


def _modelrepo(
    name: str, path: str, request: type[Any], reply: type[Any], en: str, zh: str
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.models.{name}",
        dialect="v1",
        method="POST",
        path=f"/wenxinworkshop/modelrepo/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.1",
    )


DETAIL = _modelrepo(
    "model_detail",
    "modelDetail",
    NameModel,
    ConsoleReply[Model],
    "Show a model set with its versions.",
    "获取模型详情。",
)
VERSION_DETAIL = _modelrepo(
    "model_version_detail",
    "modelVersionDetail",
    NameVersion,
    ConsoleReply[ModelVersion],
    "Show a model version.",
    "获取模型版本详情。",
)
PUBLISH = _modelrepo(
    "publish_train_model",
    "publishTrainModel",
    PublishTrainModel,
    ConsoleReply[Published],
    "Make what a training task left a model version.",
    "训练任务发布为模型。",
)
PRESET_LIST = _modelrepo(
    "model_preset_list",
    "model/preset/list",
    ListPresets,
    ModelList,
    "List the platform's model sets.",
    "获取预置模型列表。",
)
USER_LIST = _modelrepo(
    "model_user_list",
    "model/user/list",
    ListUsers,
    ModelList,
    "List the user's model sets.",
    "获取我的模型列表。",
)
BATCH_DELETE = _modelrepo(
    "model_batch_delete",
    "model/batchDelete",
    DeleteModels,
    ConsoleReply[bool],
    "Delete model sets with all their versions.",
    "批量删除模型。",
)
VERSION_BATCH_DELETE = _modelrepo(
    "model_version_batch_delete",
    "model/version/batchDelete",
    DeleteVersions,
    ConsoleReply[bool],
    "Delete model versions.",
    "批量删除模型版本。",
)
EVALUABLE_LIST = _modelrepo(
    "eval_model_list",
    "eval/model/list",
    Nothing,
    ConsoleReply[list[EvaluableModel]],
    "List the model versions that can be evaluated.",
    "查看可评估的模型列表。",
)
