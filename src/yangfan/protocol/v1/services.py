"""`/wenxinworkshop/service/…`: services in v1 (specification D.3).

Ids are numbers here and strings since 2024; both are taken everywhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint

ServiceStatus = Literal["Done", "New", "Deploying", "Failed", "Stopped", "Serving"]
"""Done: ready, and loaded by the first call; Serving: an engine runs."""

ChargeStatus = Literal["OPENED", "FREE", "NOTOPEN", "STOP"]
Id = Annotated[int, Meta(ge=0, le=1 << 62)] | Annotated[str, Meta(min_length=1, max_length=256)]


class ApplyService(msgspec.Struct, kw_only=True):
    """A model version to publish, and where."""

    modelVersionId: Id  # noqa: N815 - the wire's spelling
    modelId: Id | None = None  # noqa: N815 - the wire's spelling
    name: Annotated[str, Meta(max_length=128)] | None = None
    uri: Annotated[str, Meta(max_length=128)] | None = None
    replicas: Annotated[int, Meta(ge=1, le=64)] | None = None
    poolType: int | None = None  # noqa: N815 - the wire's spelling
    description: Annotated[str, Meta(max_length=500)] | None = None


class Applied(msgspec.Struct, kw_only=True):
    """That it was taken, and the service's number."""

    result: bool
    serviceId: int  # noqa: N815 - the wire's spelling
    serviceIdStr: str  # noqa: N815 - the wire's spelling


class ServiceDetail(msgspec.Struct, kw_only=True):
    """Which service."""

    serviceId: Id  # noqa: N815 - the wire's spelling


class VMConfig(msgspec.Struct, kw_only=True):
    """The machines of a service; here there is one, and nothing is rented."""

    resourceId: str = ""  # noqa: N815 - the wire's spelling
    instanceCount: int = 0  # noqa: N815 - the wire's spelling
    CPUNum: int = 0
    memory: int = 0
    GPUType: str = ""
    GPUNum: int = 0
    volumeId: str = ""  # noqa: N815 - the wire's spelling


class Detail(msgspec.Struct, kw_only=True):
    """A service."""

    id: int
    serviceIdStr: str  # noqa: N815 - the wire's spelling
    modelId: str  # noqa: N815 - the wire's spelling
    modelName: str  # noqa: N815 - the wire's spelling
    modelType: int  # noqa: N815 - the wire's spelling
    templateType: int = 0  # noqa: N815 - the wire's spelling
    iterationId: str = ""  # noqa: N815 - the wire's spelling
    modelVersion: str = ""  # noqa: N815 - the wire's spelling
    version: str = ""
    name: str
    uri: str
    fullUri: str  # noqa: N815 - the wire's spelling
    applyStatus: int = 0  # noqa: N815 - the wire's spelling
    serviceStatus: ServiceStatus  # noqa: N815 - the wire's spelling
    sourceType: str = "UserCreate"  # noqa: N815 - the wire's spelling
    onlineTime: int = 0  # noqa: N815 - the wire's spelling
    callUnitPrice: float = 0.0  # noqa: N815 - the wire's spelling
    description: str = ""
    devApiId: int = 0  # noqa: N815 - the wire's spelling
    apiId: int = 0  # noqa: N815 - the wire's spelling
    vmConfig: VMConfig  # noqa: N815 - the wire's spelling
    timeout: int = 0
    qps: float = 0.0
    noAuthAccess: bool = False  # noqa: N815 - the wire's spelling
    hasDeploying: bool = False  # noqa: N815 - the wire's spelling
    openDcl: bool = False  # noqa: N815 - the wire's spelling
    payType: str = ""  # noqa: N815 - the wire's spelling
    creator: str = ""
    createTime: int = 0  # noqa: N815 - the wire's spelling
    modifyTime: int = 0  # noqa: N815 - the wire's spelling


class ListServices(msgspec.Struct, kw_only=True):
    """Which types to list; Python spells it one way, Go and Java the other."""

    apiTypefilter: list[str] | None = None  # noqa: N815 - the wire's spelling
    apiTypeFilter: list[str] | None = None  # noqa: N815 - the wire's spelling


class ListedVersion(msgspec.Struct, kw_only=True):
    """A model version behind a listed service."""

    aiModelId: str  # noqa: N815 - the wire's spelling
    aiModelVersionId: str  # noqa: N815 - the wire's spelling
    trainType: str  # noqa: N815 - the wire's spelling
    serviceStatus: ServiceStatus  # noqa: N815 - the wire's spelling


class ListedService(msgspec.Struct, kw_only=True):
    """A service that calls may name: the last two segments of `url` are its type and its endpoint."""

    serviceId: int  # noqa: N815 - the wire's spelling
    serviceUuid: str  # noqa: N815 - the wire's spelling
    name: str
    url: str
    apiType: str  # noqa: N815 - the wire's spelling
    chargeStatus: ChargeStatus  # noqa: N815 - the wire's spelling
    versionList: list[ListedVersion]  # noqa: N815 - the wire's spelling


class Listed(msgspec.Struct, kw_only=True):
    """Preset services, and those that callers made."""

    common: list[ListedService]
    custom: list[ListedService]


class ListedApp(msgspec.Struct, kw_only=True):
    """An application, its API Key, and the numbers of the services that it may call. Secrets are not shown: `sk` is empty."""

    id: str
    name: str
    ak: str
    sk: str
    apiIds: str  # noqa: N815 - the wire's spelling


class AppList(msgspec.Struct, kw_only=True):
    """All applications."""

    appList: list[ListedApp]  # noqa: N815 - the wire's spelling


class ApplyReply(msgspec.Struct):
    """Reply of apply."""

    log_id: str
    result: Applied


class DetailReply(msgspec.Struct):
    """Reply of detail."""

    log_id: str
    result: Detail


class ListReply(msgspec.Struct):
    """Reply of list."""

    log_id: str
    result: Listed


class AppListReply(msgspec.Struct):
    """Reply of appList."""

    log_id: str
    result: AppList


def _service(
    name: str,
    path: str,
    request: type[Any] | None,
    reply: type[Any],
    en: str,
    zh: str,
    *,
    method: Literal["GET", "POST"] = "POST",
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"v1.services.{name}",
        dialect="v1",
        method=method,
        path=f"/wenxinworkshop/service/{path}",
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.3",
    )


APPLY = _service(
    "apply", "apply", ApplyService, ApplyReply, "Publish a model version.", "发布模型版本为服务。"
)
DETAIL = _service(
    "detail", "detail", ServiceDetail, DetailReply, "Show a service.", "查询服务详情。"
)
LIST = _service(
    "list",
    "list",
    ListServices,
    ListReply,
    "List what calls may name: presets and services.",
    "查询预置服务与自定义服务列表。",
)
APP_LIST = _service(
    "app_list",
    "appList",
    None,
    AppListReply,
    "List applications and what they may call.",
    "查询应用列表。",
    method="GET",
)
