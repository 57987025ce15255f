"""v2: the Actions on compute units (specification D.15), of which each adds a model's limits once more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from msgspec import UNSET

from yangfan.errors import Invalid
from yangfan.protocol.v2 import units as wire
from yangfan.server.charge.times import lifetime_seconds, release_ms
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.charge.logic import Charge
    from yangfan.server.charge.types import ComputeUnits
    from yangfan.server.charge.units import Units

NOW = "ReleaseComputeUnit"


def routes(units: Units, charge: Charge, model_of: Callable[[str], str]) -> list[Route]:
    """What this file answers.

    Args:
        units: The compute units.
        charge: The capacity in tokens a minute, which one of these Actions can be about.
        model_of: The served model that a name means. Raises ModelNotFound.
    """

    def model(service_id: str | None) -> str | None:
        return None if service_id is None else model_of(service_id)

    async def purchase_for_service(call: Call[wire.PurchaseServiceResource]) -> Reply:
        wanted = call.request
        bought = await units.purchase(
            model_of(wanted.serviceId),
            wanted.replicasCount,
            wanted.billing.paymentTiming,
            _end_ms(wanted.billing),
        )
        return success(wire.UnitsPurchased(bought.id))

    async def purchase(call: Call[wire.PurchaseUnits]) -> Reply:
        wanted = call.request
        bought = await units.purchase(
            model(wanted.serviceId),
            wanted.computeUnitCount,
            wanted.billing.paymentTiming,
            _end_ms(wanted.billing),
            region=wanted.computeUnitConfig.region,
            type_=wanted.computeUnitConfig.type,
        )
        return success(wire.UnitsPurchased(bought.id))

    async def release(call: Call[wire.OneUnit]) -> Reply:
        await units.release(call.request.instanceId, model(call.request.serviceId))
        return success(True)  # noqa: FBT003 - the result of the Action

    async def resize(call: Call[wire.ResizeUnit]) -> Reply:
        await units.resize(call.request.instanceId, call.request.count)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def auto_release(call: Call[wire.AutoReleaseUnit]) -> Reply:
        wanted = call.request
        if (wanted.autoRenewTime is None) != (wanted.autoRenewTimeUnit is None):
            raise Invalid(
                "autoRenewTime and autoRenewTimeUnit go together: give both or neither",
                param="autoRenewTime",
            )
        if wanted.autoRenewTime is not None and wanted.releaseTime is not None:
            raise Invalid(
                "units that renew themselves are not released: give releaseTime or autoRenewTime, not both",
                param="releaseTime",
            )
        # What renews itself does not end, and nothing is paid for it: no rule needs to be kept.
        change = charge.release_at if wanted.instanceType == "TPM" else units.release_at
        await change(wanted.instanceId, release_ms(wanted.releaseTime, NOW))
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.PURCHASE_SERVICE_RESOURCE, purchase_for_service),
        Route(wire.PURCHASE_FOR_SERVICE, purchase),
        Route(wire.PURCHASE_UNITS, purchase),
        *_describing(units, model),
        Route(wire.RELEASE_UNIT, release),
        Route(wire.RESIZE_UNIT, resize),
        Route(wire.AUTO_RELEASE_UNIT, auto_release),
    ]


def _describing(units: Units, model: Callable[[str | None], str | None]) -> list[Route]:
    def found(wanted: wire.DescribeUnits) -> list[ComputeUnits]:
        return [
            item
            for item in units.all(model(wanted.serviceId))
            if wanted.paymentTiming in {None, item.payment}
            and wanted.region in {None, item.region}
            and wanted.type in {None, item.type}
        ]

    def named(wanted: wire.OneUnit) -> ComputeUnits:
        return units.get(wanted.instanceId, model(wanted.serviceId))

    async def describe_all_of_service(call: Call[wire.DescribeUnits]) -> Reply:
        return success(wire.ServiceUnitsList([*map(_of_service, found(call.request))]))

    async def describe_of_service(call: Call[wire.OneUnit]) -> Reply:
        return success(wire.ServiceUnitsDetail(_of_service(named(call.request))))

    async def describe_all(call: Call[wire.DescribeUnits]) -> Reply:
        return success(wire.UnitList([*map(_wire, found(call.request))]))

    async def describe(call: Call[wire.OneUnit]) -> Reply:
        item = named(call.request)
        used = [wire.ServiceUsage(item.model, item.count)] if item.model else []
        return success(wire.UnitDetail(_wire(item), used if item.status == "Running" else []))

    return [
        Route(wire.DESCRIBE_UNITS, describe_all_of_service),
        Route(wire.DESCRIBE_UNITS_NEW, describe_all, body=lambda body, _scope: body or b"{}"),
        Route(wire.DESCRIBE_UNIT, describe_of_service),
        Route(wire.DESCRIBE_UNIT_NEW, describe),
    ]


def _end_ms(billing: wire.UnitBilling) -> int | None:
    """When what is bought ends, ms since the epoch; None for never."""
    if billing.releaseTime is not None:
        return release_ms(billing.releaseTime, NOW)
    seconds = None if billing.autoRenew else lifetime_seconds(billing)
    return None if seconds is None else int((time.time() + seconds) * 1000)


def _of_service(item: ComputeUnits) -> wire.ServiceUnits:
    whole = _wire(item)
    return wire.ServiceUnits(
        instanceId=whole.instanceId,
        paymentTiming=whole.paymentTiming,
        replicasCount=whole.replicasCount,
        status=whole.status,
        startTime=whole.startTime,
        expiredTime=whole.expiredTime,
    )


def _wire(item: ComputeUnits) -> wire.UnitInstance:
    return wire.UnitInstance(
        instanceId=item.id,
        serviceId=UNSET if item.model is None else item.model,
        region=cast("wire.Region", item.region),
        type=cast("wire.UnitType", item.type),
        status=item.status,
        computeUnitCount=item.count,
        replicasCount=item.count,
        paymentTiming="Prepaid" if item.payment == "Prepaid" else "Postpaid",
        startTime=moment(item.started_ms),
        expiredTime="-" if item.release_ms is None else moment(item.release_ms),
    )
