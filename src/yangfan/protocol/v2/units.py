"""Compute units: replicas' worth of capacity for a served model (specification D.15), under the old URL and the newer ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.charge import Billing, PaymentTiming, Time
from yangfan.protocol.v2.keys import ActionReply

UnitCount = Annotated[int, Meta(ge=1, le=1000, description="How many units.")]
Region = Literal["bj", "bd", "sz", "gz", "yq", "global"]
UnitType = Literal["cpu", "gpu-1", "gpu-2", "gpu-3", "gpu-4", "gpu-5", "gpu-6"]
UnitStatus = Literal["Creating", "Running", "Releasing", "Released"]
RenewUnit = Literal["Hour", "Day", "Month"]
RenewTime = Annotated[int, Meta(ge=1, le=12)]


class UnitBilling(Billing, kw_only=True):
    """How units are paid for. Nothing is paid here; prepaid units end with their reservation unless they renew themselves."""

    releaseTime: Time | None = None  # noqa: N815 - the wire's spelling
    autoRenew: bool = False  # noqa: N815 - the wire's spelling
    autoRenewTimeUnit: RenewUnit | None = None  # noqa: N815 - the wire's spelling
    autoRenewTime: RenewTime | None = None  # noqa: N815 - the wire's spelling


class UnitConfig(msgspec.Struct, kw_only=True):
    """Where and on what they run in Baidu's cloud; kept and shown here."""

    region: Region = "bj"
    type: UnitType = "cpu"


class PurchaseServiceResource(msgspec.Struct, kw_only=True):
    """Units for a served model, which `serviceId` names."""

    serviceId: str  # noqa: N815 - the wire's spelling
    replicasCount: UnitCount  # noqa: N815 - the wire's spelling
    billing: UnitBilling = msgspec.field(default_factory=UnitBilling)


class PurchaseUnits(msgspec.Struct, kw_only=True):
    """Units, for a served model if `serviceId` names one."""

    serviceId: str | None = None  # noqa: N815 - the wire's spelling
    computeUnitCount: UnitCount  # noqa: N815 - the wire's spelling
    computeUnitConfig: UnitConfig = msgspec.field(default_factory=UnitConfig)  # noqa: N815 - the wire's spelling
    billing: UnitBilling = msgspec.field(default_factory=UnitBilling)


class DescribeUnits(msgspec.Struct, kw_only=True):
    """Which units to list."""

    serviceId: str | None = None  # noqa: N815 - the wire's spelling
    paymentTiming: PaymentTiming | None = None  # noqa: N815 - the wire's spelling
    region: Region | None = None
    type: UnitType | None = None


class OneUnit(msgspec.Struct, kw_only=True):
    """Which units; if `serviceId` is given they must be its own."""

    serviceId: str | None = None  # noqa: N815 - the wire's spelling
    instanceId: str  # noqa: N815 - the wire's spelling


class ResizeUnit(msgspec.Struct, kw_only=True):
    """How many units an instance becomes."""

    instanceId: str  # noqa: N815 - the wire's spelling
    count: UnitCount


class AutoReleaseUnit(msgspec.Struct, kw_only=True):
    """When units are given back by themselves; never, if no time is given or they renew themselves.

    `qianfan`'s `create_auto_renew_rules` sends this Action with the fields of a renewal, also for capacity in tokens a minute.
    """

    instanceId: str  # noqa: N815 - the wire's spelling
    instanceType: Literal["ComputingUnit", "TPM"] = "ComputingUnit"  # noqa: N815 - the wire's spelling
    releaseTime: Time | None = None  # noqa: N815 - the wire's spelling
    autoRenewTimeUnit: RenewUnit | None = None  # noqa: N815 - the wire's spelling
    autoRenewTime: RenewTime | None = None  # noqa: N815 - the wire's spelling


class UnitsPurchased(msgspec.Struct):
    """The units just added."""

    instanceId: str  # noqa: N815 - the wire's spelling


class UnitInstance(msgspec.Struct, kw_only=True):
    """Units that were bought together. `expiredTime` is ``-`` if they do not end."""

    instanceId: str  # noqa: N815 - the wire's spelling
    serviceId: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    region: Region = "bj"
    type: UnitType = "cpu"
    status: str
    computeUnitCount: int  # noqa: N815 - the wire's spelling
    replicasCount: int = 0  # noqa: N815 - the wire's spelling
    paymentTiming: PaymentTiming  # noqa: N815 - the wire's spelling
    startTime: str  # noqa: N815 - the wire's spelling
    expiredTime: str = "-"  # noqa: N815 - the wire's spelling


class UnitList(msgspec.Struct):
    """Units that are not released, oldest first."""

    computeUnitInstanceList: list[UnitInstance]  # noqa: N815 - the wire's spelling


class ServiceUnits(msgspec.Struct, kw_only=True):
    """Units of a service, as /v2/charge and /v2/serviceresources show them (Baidu's pages klvuk3qob, glvuk4b7a)."""

    instanceId: str  # noqa: N815 - the wire's spelling
    paymentTiming: PaymentTiming  # noqa: N815 - the wire's spelling
    replicasCount: int  # noqa: N815 - the wire's spelling
    status: str
    startTime: str  # noqa: N815 - the wire's spelling
    expiredTime: str = "-"  # noqa: N815 - the wire's spelling


class ServiceUnitsList(msgspec.Struct):
    """A service's units that are not released, oldest first."""

    instances: list[ServiceUnits]


class ServiceUnitsDetail(msgspec.Struct):
    """Units of a service, released ones as well."""

    instance: ServiceUnits


class ServiceUsage(msgspec.Struct):
    """Who uses the units."""

    serviceId: str  # noqa: N815 - the wire's spelling
    replicasCount: int  # noqa: N815 - the wire's spelling


class UnitDetail(msgspec.Struct):
    """Units, released ones as well, and the served model that has them."""

    computeUnitInstance: UnitInstance  # noqa: N815 - the wire's spelling
    serviceUsageList: list[ServiceUsage]  # noqa: N815 - the wire's spelling


def _unit(
    name: str,
    path: str,
    action: str,
    request: type[Any],
    reply: type[Any],
    en: str,
    zh: str,
    *aliases: str,
) -> Endpoint[Any, Any]:
    return Endpoint(
        name=name,
        dialect="action",
        method="POST",
        path=path,
        aliases=aliases,
        action=action,
        request=request,
        reply=reply,
        auth="signature",
        summary=en,
        summary_zh=zh,
        spec="D.15",
    )


_OLD, _NEW, _SERVICE = "/v2/charge", "/v2/computeunit", "/v2/serviceresources"
_PURCHASE_TEXTS = ("Add compute units to a served model.", "为服务购买算力单元。")
_LIST_TEXTS = ("List compute units that are not released.", "查询算力单元列表。")
_SHOW_TEXTS = ("Show compute units, released ones as well.", "查询算力单元详情。")

PURCHASE_SERVICE_RESOURCE = _unit(
    "v2.charge.purchase_service_resource",
    _OLD,
    "PurchaseServiceResource",
    PurchaseServiceResource,
    ActionReply[UnitsPurchased],
    *_PURCHASE_TEXTS,
)
PURCHASE_FOR_SERVICE = _unit(
    "v2.serviceresources.purchase_compute_unit",
    _SERVICE,
    "PurchaseComputeUnit",
    PurchaseUnits,
    ActionReply[UnitsPurchased],
    *_PURCHASE_TEXTS,
)
PURCHASE_UNITS = _unit(
    "v2.computeunit.purchase_compute_unit",
    _NEW,
    "PurchaseComputeUnit",
    PurchaseUnits,
    ActionReply[UnitsPurchased],
    "Buy compute units, for a served model or in advance.",
    "购买算力单元，可不指定服务。",
)
DESCRIBE_UNITS = _unit(
    "v2.charge.describe_compute_units",
    _OLD,
    "DescribeComputeUnits",
    DescribeUnits,
    ActionReply[ServiceUnitsList],
    *_LIST_TEXTS,
    _SERVICE,
)
DESCRIBE_UNITS_NEW = _unit(
    "v2.computeunit.describe_compute_units",
    _NEW,
    "DescribeComputeUnits",
    DescribeUnits,
    ActionReply[UnitList],
    *_LIST_TEXTS,
)
DESCRIBE_UNIT = _unit(
    "v2.charge.describe_compute_unit",
    _OLD,
    "DescribeComputeUnit",
    OneUnit,
    ActionReply[ServiceUnitsDetail],
    *_SHOW_TEXTS,
    _SERVICE,
)
DESCRIBE_UNIT_NEW = _unit(
    "v2.computeunit.describe_compute_unit",
    _NEW,
    "DescribeComputeUnit",
    OneUnit,
    ActionReply[UnitDetail],
    *_SHOW_TEXTS,
)
RELEASE_UNIT = _unit(
    "v2.charge.release_compute_unit",
    _OLD,
    "ReleaseComputeUnit",
    OneUnit,
    ActionReply[bool],
    "Give compute units back.",
    "释放算力单元。",
    _SERVICE,
    _NEW,
)
RESIZE_UNIT = _unit(
    "v2.charge.resize_compute_unit",
    _OLD,
    "ResizeComputeUnit",
    ResizeUnit,
    ActionReply[bool],
    "Change how many units an instance is.",
    "调整算力单元数量。",
    _SERVICE,
    _NEW,
)
AUTO_RELEASE_UNIT = _unit(
    "v2.charge.auto_release_compute_unit",
    _OLD,
    "AutoReleaseComputeUnit",
    AutoReleaseUnit,
    ActionReply[bool],
    "Give compute units back by themselves at a time, or cancel that.",
    "设置或取消算力单元的自动释放时间。",
    _SERVICE,
    _NEW,
)
