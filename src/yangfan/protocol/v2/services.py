"""`POST /v2/service?Action=…`: services, a name each in front of deployed model versions (specification D.4).

CreateService to DescribePresetServices are Qianfan's (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/kmm2wd9z1, rmm1us8cr, zmm1slf79).
The other Actions are ours in the same style, and so are the fields that say so. Resources and billing are taken and not needed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions
from yangfan.protocol.v2.keys import ActionReply

RunStatus = Literal["New", "Deploying", "Serving", "Failed", "Stopped"]
ChargeStatus = Literal["NotOpen", "Opened", "Stopped", "Free"]
LoadPolicy = Literal["warm", "onDemand"]
"""warm: engines run all the time; onDemand: the first call loads them. Ours."""

Name = Annotated[str, Meta(min_length=1, max_length=128)]
ServiceId = Annotated[
    str, Meta(min_length=1, max_length=128, description="svco-…, or the urlSuffix.")
]
ModelId = Annotated[
    str,
    Meta(min_length=1, max_length=256, description="amv-…, or the name of a model that is here."),
]
Replicas = Annotated[int, Meta(ge=1, le=64)]
Options = dict[str, Any]
Weight = Annotated[int, Meta(ge=1, le=100, description="Share of the calls, in percent.")]
Bytes = Annotated[int, Meta(ge=1, le=1 << 50)]
Seconds = Annotated[float, Meta(gt=0, le=30 * 86400)]
Bake = Annotated[float, Meta(ge=0, le=86400)]
Priority = Annotated[int, Meta(ge=-1000, le=1000)]
Description = Annotated[str, Meta(max_length=500)]
QPS = Annotated[
    float, Meta(ge=0, le=10_000, description="Calls a second, all callers together; 0 for any.")
]


class ComputeUnit(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A resource that was bought before, and how many replicas are to run on it."""

    instanceId: str | None = None  # noqa: N815 - the wire's spelling
    deploymentReplicasCount: Replicas | None = None  # noqa: N815 - the wire's spelling


class ResourceConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to run on; here the machine decides all but the replicas: `replicasCount`, else those of all units together."""

    region: str | None = None
    type: str | None = None
    qps: QPS | None = None
    replicasCount: Replicas | None = None  # noqa: N815 - the wire's spelling
    replicaComputeUnitCount: int | None = None  # noqa: N815 - the wire's spelling
    deploymentComputeUnitList: list[ComputeUnit] | None = None  # noqa: N815 - the wire's spelling


class CreateService(msgspec.Struct, kw_only=True):
    """A model version, and the name that calls will use. Fields from `loadPolicy` on are ours."""

    modelId: ModelId  # noqa: N815 - the wire's spelling
    modelSetId: str | None = None  # noqa: N815 - the wire's spelling
    name: Annotated[str, Meta(max_length=128)] | None = None
    description: Description | None = None
    urlSuffix: Annotated[str, Meta(max_length=128)] | None = None  # noqa: N815 - the wire's spelling
    protocolVersion: Literal[1, 2] | None = None  # noqa: N815 - the wire's spelling
    deploymentConfig: ResourceConfig | None = None  # noqa: N815 - the wire's spelling
    resourceConfig: ResourceConfig | None = None  # noqa: N815 - the wire's spelling
    billing: dict[str, Any] | None = None
    loadPolicy: LoadPolicy | None = None  # noqa: N815 - the wire's spelling
    idleSeconds: Seconds | None = None  # noqa: N815 - the wire's spelling
    priority: Priority | None = None
    fallback: Annotated[str, Meta(max_length=128)] | None = None
    engineOptions: Options | None = None  # noqa: N815 - the wire's spelling
    memoryBytes: Bytes | None = None  # noqa: N815 - the wire's spelling


class CreatedService(msgspec.Struct):
    """The new service, and the instance that Qianfan would bill."""

    serviceId: str  # noqa: N815 - the wire's spelling
    instanceId: str  # noqa: N815 - the wire's spelling


class DescribeServices(msgspec.Struct, kw_only=True):
    """Which page to show; `marker` is the id to begin with."""

    marker: str | None = None
    maxKeys: Annotated[int, Meta(ge=1, le=100)] | None = None  # noqa: N815 - the wire's spelling
    pageReverse: bool | None = None  # noqa: N815 - the wire's spelling
    name: str | None = None
    serviceType: list[str] | None = None  # noqa: N815 - the wire's spelling
    runStatus: list[str] | None = None  # noqa: N815 - the wire's spelling
    creator: list[str] | str | None = None
    chargeType: str | None = None  # noqa: N815 - the wire's spelling
    payType: str | None = None  # noqa: N815 - the wire's spelling
    protocolVersion: int | None = None  # noqa: N815 - the wire's spelling


class NamedService(msgspec.Struct, kw_only=True):
    """Which one."""

    serviceId: ServiceId  # noqa: N815 - the wire's spelling


class ModifyService(msgspec.Struct, kw_only=True):
    """A model version to roll over to, or, ours, how the service is kept; what is absent stays."""

    serviceId: ServiceId  # noqa: N815 - the wire's spelling
    modelSetId: str | None = None  # noqa: N815 - the wire's spelling
    modelId: ModelId | None = None  # noqa: N815 - the wire's spelling
    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    loadPolicy: LoadPolicy | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    idleSeconds: Seconds | UnsetType | None = UNSET  # noqa: N815 - the wire's spelling
    priority: Priority | UnsetType = UNSET
    fallback: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    qps: QPS | UnsetType = UNSET


class ScaleService(msgspec.Struct, kw_only=True):
    """How many engines are to run side by side."""

    serviceId: ServiceId  # noqa: N815 - the wire's spelling
    replicasCount: Replicas  # noqa: N815 - the wire's spelling


class RolloutService(msgspec.Struct, kw_only=True):
    """Another model version, and the share of the calls that it is to take once it runs well."""

    serviceId: ServiceId  # noqa: N815 - the wire's spelling
    modelId: ModelId  # noqa: N815 - the wire's spelling
    modelSetId: str | None = None  # noqa: N815 - the wire's spelling
    weight: Weight = 100
    replicasCount: Replicas | None = None  # noqa: N815 - the wire's spelling
    engineOptions: Options | None = None  # noqa: N815 - the wire's spelling
    memoryBytes: Bytes | None = None  # noqa: N815 - the wire's spelling
    bakeSeconds: Bake = 10.0  # noqa: N815 - the wire's spelling


class DescribeServiceLogs(msgspec.Struct, kw_only=True):
    """Whose engines' logs to show, and how much of each."""

    serviceId: ServiceId  # noqa: N815 - the wire's spelling
    tailBytes: Annotated[int, Meta(ge=1, le=1 << 20)] = 16384  # noqa: N815 - the wire's spelling


class DescribeServiceEvents(msgspec.Struct, kw_only=True):
    """What happened after an event; `marker` is its number."""

    serviceId: ServiceId  # noqa: N815 - the wire's spelling
    marker: Annotated[int, Meta(ge=0, le=1 << 62)] = 0
    maxKeys: Annotated[int, Meta(ge=1, le=200)] = 100  # noqa: N815 - the wire's spelling


class Deployment(msgspec.Struct, kw_only=True):
    """A model version behind a service, and how it is doing. Ours.

    `role` is stable, candidate or previous (not running; what a rollback goes to).
    """

    deploymentId: str  # noqa: N815 - the wire's spelling
    role: Literal["stable", "candidate", "previous"]
    modelSetId: str  # noqa: N815 - the wire's spelling
    modelId: str  # noqa: N815 - the wire's spelling
    weight: int
    replicasCount: int  # noqa: N815 - the wire's spelling
    readyCount: int  # noqa: N815 - the wire's spelling
    generation: int
    engineOptions: Options  # noqa: N815 - the wire's spelling
    memoryBytes: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    loadingSeconds: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    expectedSeconds: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    failedReason: str = ""  # noqa: N815 - the wire's spelling


class Service(msgspec.Struct, kw_only=True):
    """A service. Fields from `serviceNumber` on are ours."""

    serviceId: str  # noqa: N815 - the wire's spelling
    modelId: str  # noqa: N815 - the model set, as Qianfan has it
    modelVersionId: str  # noqa: N815 - the wire's spelling
    name: str
    description: str
    url: str
    serviceType: str  # noqa: N815 - the wire's spelling
    runStatus: RunStatus  # noqa: N815 - the wire's spelling
    chargeStatus: ChargeStatus  # noqa: N815 - the wire's spelling
    resourceConfig: ResourceConfig  # noqa: N815 - the wire's spelling
    protocolVersion: int  # noqa: N815 - the wire's spelling
    creator: str
    createTime: str  # noqa: N815 - the wire's spelling
    modifyTime: str  # noqa: N815 - the wire's spelling
    serviceNumber: int = 0  # noqa: N815 - the wire's spelling
    urlSuffix: str = ""  # noqa: N815 - the wire's spelling
    failedReason: str = ""  # noqa: N815 - the wire's spelling
    loadPolicy: LoadPolicy = "warm"  # noqa: N815 - the wire's spelling
    loaded: bool = False
    idleSeconds: float | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    priority: int = 0
    fallback: str = ""
    deployments: list[Deployment] = []


class PageInfo(msgspec.Struct, kw_only=True):
    """Where a page stands; `nextMarker` is there if more follows."""

    marker: str
    maxKeys: int  # noqa: N815 - the wire's spelling
    isTruncated: bool  # noqa: N815 - the wire's spelling
    nextMarker: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling


class ServiceList(msgspec.Struct, kw_only=True):
    """A page of services."""

    serviceList: list[Service]  # noqa: N815 - the wire's spelling
    pageInfo: PageInfo  # noqa: N815 - the wire's spelling


class DescribePresetServices(msgspec.Struct, kw_only=True):
    """Which preset services to show; all if nothing is said."""

    serviceIds: list[str] | None = None  # noqa: N815 - the wire's spelling
    serviceType: list[str] | None = None  # noqa: N815 - the wire's spelling
    chargeType: list[str] | None = None  # noqa: N815 - the wire's spelling
    chargeStatus: list[str] | None = None  # noqa: N815 - the wire's spelling
    protocolVersion: int | None = None  # noqa: N815 - the wire's spelling


class PresetService(msgspec.Struct, kw_only=True):
    """A name that this installation answers without a service of its own; `model` is what really answers. That is ours."""

    serviceId: str  # noqa: N815 - the wire's spelling
    name: str
    url: str
    serviceType: str  # noqa: N815 - the wire's spelling
    runStatus: RunStatus  # noqa: N815 - the wire's spelling
    chargeType: Literal["TPM", "Tokens", "Calls", "Free"]  # noqa: N815 - the wire's spelling
    chargeStatus: ChargeStatus  # noqa: N815 - the wire's spelling
    model: str


class PresetServiceList(msgspec.Struct, kw_only=True):
    """Preset services."""

    serviceList: list[PresetService]  # noqa: N815 - the wire's spelling


class DescribeServiceMetric(msgspec.Struct, kw_only=True):
    """Which days, services and applications; usage is kept by day (UTC), so whole days are told."""

    startTime: str  # noqa: N815 - the wire's spelling
    endTime: str  # noqa: N815 - the wire's spelling
    serviceId: list[str] | None = None  # noqa: N815 - the wire's spelling
    appId: str | None = None  # noqa: N815 - the wire's spelling


class Metric(msgspec.Struct, kw_only=True):
    """What an application used of a service."""

    inputTokensTotal: int = 0  # noqa: N815 - the wire's spelling
    outputTokensTotal: int = 0  # noqa: N815 - the wire's spelling
    tokensTotal: int = 0  # noqa: N815 - the wire's spelling
    succeedCallTotal: int = 0  # noqa: N815 - the wire's spelling
    failureCallTotal: int = 0  # noqa: N815 - the wire's spelling
    callTotal: int = 0  # noqa: N815 - the wire's spelling


class AppMetric(msgspec.Struct, kw_only=True):
    """The metric of one application."""

    appId: str  # noqa: N815 - the wire's spelling
    metric: Metric


class ServiceMetric(msgspec.Struct, kw_only=True):
    """The metrics of one service."""

    serviceId: str  # noqa: N815 - the wire's spelling
    serviceName: str  # noqa: N815 - the wire's spelling
    appList: list[AppMetric]  # noqa: N815 - the wire's spelling


class ServiceMetrics(msgspec.Struct, kw_only=True):
    """The metrics of all services that were asked about."""

    startTime: str  # noqa: N815 - the wire's spelling
    endTime: str  # noqa: N815 - the wire's spelling
    serviceList: list[ServiceMetric]  # noqa: N815 - the wire's spelling


class EngineLog(msgspec.Struct, kw_only=True):
    """The end of what an engine printed."""

    engine: str
    text: str


class ServiceLogs(msgspec.Struct, kw_only=True):
    """The logs of a service's engines."""

    logList: list[EngineLog]  # noqa: N815 - the wire's spelling


class ServiceEvent(msgspec.Struct, kw_only=True):
    """Something that happened to a service."""

    number: int
    time: str
    kind: str
    message: str


class ServiceEvents(msgspec.Struct, kw_only=True):
    """What happened to a service, the oldest first."""

    eventList: list[ServiceEvent]  # noqa: N815 - the wire's spelling


_action = Actions("v2.services", "/v2/service", "ours")


CREATE_SERVICE = _action(
    "create_service",
    "CreateService",
    CreateService,
    ActionReply[CreatedService],
    "Publish a model version as a service.",
    "创建服务，发布模型版本。",
    spec="D.4",
)
DESCRIBE_SERVICES = _action(
    "describe_services",
    "DescribeServices",
    DescribeServices,
    ActionReply[ServiceList],
    "List services.",
    "查询服务列表。",
    spec="D.4",
)
DESCRIBE_SERVICE = _action(
    "describe_service",
    "DescribeService",
    NamedService,
    ActionReply[Service],
    "Show a service.",
    "查询服务详情。",
    spec="D.4",
)
DESCRIBE_SERVICE_METRIC = _action(
    "describe_service_metric",
    "DescribeServiceMetric",
    DescribeServiceMetric,
    ActionReply[ServiceMetrics],
    "Show what services were used for, by application.",
    "按应用查询服务调用量。",
    spec="D.4",
)
MODIFY_SERVICE = _action(
    "modify_service",
    "ModifyService",
    ModifyService,
    ActionReply[bool],
    "Roll a service over to another model version, or change how it is kept.",
    "更新服务的模型版本或配置。",
    spec="D.4",
)
DESCRIBE_PRESET_SERVICES = _action(
    "describe_preset_services",
    "DescribePresetServices",
    DescribePresetServices,
    ActionReply[PresetServiceList],
    "List the names that are answered without a service of their own.",
    "查询预置服务列表。",
    spec="D.4",
)
STOP_SERVICE = _action(
    "stop_service",
    "StopService",
    NamedService,
    ActionReply[bool],
    "Stop a service after the calls under way.",
    "停止服务，进行中的调用先完成。",
)
START_SERVICE = _action(
    "start_service",
    "StartService",
    NamedService,
    ActionReply[bool],
    "Start a stopped service.",
    "启动已停止的服务。",
)
DELETE_SERVICE = _action(
    "delete_service",
    "DeleteService",
    NamedService,
    ActionReply[bool],
    "Stop a service and forget it.",
    "删除服务。",
)
SCALE_SERVICE = _action(
    "scale_service",
    "ScaleService",
    ScaleService,
    ActionReply[bool],
    "Change how many engines run side by side.",
    "调整服务副本数。",
)
ROLLOUT_SERVICE = _action(
    "rollout_service",
    "RolloutService",
    RolloutService,
    ActionReply[bool],
    "Give a share of the calls to another model version once it runs well.",
    "灰度发布：新版本健康后承接指定比例的调用。",
)
PROMOTE_SERVICE = _action(
    "promote_service",
    "PromoteService",
    NamedService,
    ActionReply[bool],
    "Give all calls to the version that is being tried.",
    "将灰度版本转为正式版本。",
)
ROLLBACK_SERVICE = _action(
    "rollback_service",
    "RollbackService",
    NamedService,
    ActionReply[bool],
    "Take the version that is being tried back, or go back to the one before.",
    "回滚到上一个版本。",
)
DESCRIBE_SERVICE_LOGS = _action(
    "describe_service_logs",
    "DescribeServiceLogs",
    DescribeServiceLogs,
    ActionReply[ServiceLogs],
    "Show what the engines of a service printed.",
    "查看服务引擎日志。",
)
DESCRIBE_SERVICE_EVENTS = _action(
    "describe_service_events",
    "DescribeServiceEvents",
    DescribeServiceEvents,
    ActionReply[ServiceEvents],
    "Show what happened to a service.",
    "查看服务事件。",
)
