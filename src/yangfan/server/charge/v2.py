"""v2: the Actions of /v2/charge that make sense without a bill (specification D.15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.protocol.v2.charge import (
    AUTO_RELEASE_TPM,
    DESCRIBE_TPM,
    PURCHASE_TPM,
    RELEASE_TPM,
    RESIZE_TPM,
    AutoReleaseTPM,
    DescribeTPM,
    PurchaseTPM,
    ReleaseTPM,
    ResizeTPM,
    TPMInstance,
    TPMList,
    TPMPurchased,
)
from yangfan.server.charge.times import lifetime_seconds, release_ms
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.server.charge.logic import Charge
    from yangfan.server.charge.types import Capacity


def routes(
    charge: Charge, model_of: Callable[[str], str], rpm_of: Callable[[str], int]
) -> list[Route]:
    """What this file answers.

    Args:
        charge: The capacity.
        model_of: The served model that a name means. Raises ModelNotFound.
        rpm_of: Requests a minute of a served model, to show.
    """

    async def purchase(call: Call[PurchaseTPM]) -> Reply:
        wanted = call.request
        capacity = await charge.purchase(
            model_of(wanted.model),
            wanted.purchaseCount,
            wanted.billing.paymentTiming,
            lifetime_seconds(wanted.billing),
        )
        return success(TPMPurchased(capacity.id))

    async def describe(call: Call[DescribeTPM]) -> Reply:
        wanted = call.request
        model = model_of(wanted.model)
        found = [
            _wire(capacity, wanted.model, rpm_of(model))
            for capacity in charge.of(model)
            if wanted.paymentTiming in {None, capacity.payment}
            and wanted.instanceId in {None, capacity.id}
            and wanted.status in {None, "Running"}
        ]
        return success(TPMList(found))

    async def release(call: Call[ReleaseTPM]) -> Reply:
        await charge.release(call.request.instanceId, model_of(call.request.model))
        return success(True)  # noqa: FBT003 - the result of the Action

    async def resize(call: Call[ResizeTPM]) -> Reply:
        await charge.resize(call.request.instanceId, call.request.count)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def auto_release(call: Call[AutoReleaseTPM]) -> Reply:
        await charge.release_at(
            call.request.instanceId, release_ms(call.request.releaseTime, "ReleaseTPMResource")
        )
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(PURCHASE_TPM, purchase),
        Route(DESCRIBE_TPM, describe),
        Route(RELEASE_TPM, release),
        Route(RESIZE_TPM, resize),
        Route(AUTO_RELEASE_TPM, auto_release),
    ]


def _wire(capacity: Capacity, model: str, rpm: int) -> TPMInstance:
    return TPMInstance(
        instanceId=capacity.id,
        model=model,
        paymentTiming="Prepaid" if capacity.payment == "Prepaid" else "Postpaid",
        rpm=rpm,
        tpm=capacity.tpm,
        startTime=moment(capacity.started_ms),
        expiredTime="-" if capacity.release_ms is None else moment(capacity.release_ms),
    )
