# Generated from _async by scripts/unasync.py; edit there.
"""`client.charge`: capacity of models, in tokens a minute and in compute units."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client.types import JSON, ComputeUnits, TPMResource
from yangfan.protocol.v2.charge import (
    AUTO_RELEASE_TPM,
    DESCRIBE_TPM,
    PURCHASE_TPM,
    RELEASE_TPM,
    RESIZE_TPM,
)
from yangfan.protocol.v2.units import (
    AUTO_RELEASE_UNIT,
    DESCRIBE_UNIT,
    DESCRIBE_UNITS,
    PURCHASE_SERVICE_RESOURCE,
    PURCHASE_UNITS,
    RELEASE_UNIT,
    RESIZE_UNIT,
)

if TYPE_CHECKING:
    from yangfan.client._sync.session import Session
    from yangfan.protocol.v2 import charge as wire
    from yangfan.protocol.v2.units import ServiceUnits


class Charge:
    """Capacity of models. Every call is signed: the client needs access_key and secret_access_key.

    Against Baidu's cloud these calls cost money.
    """

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def purchase_tpm(
        self, model: str, count: int, *, prepaid_months: int | None = None
    ) -> str:
        """Add capacity to a model; the id of what was added.

        On a Yangfan server a model that has any capacity takes as many tokens a minute, from all keys together.

        Args:
            model: Any name of the model.
            count: Units of 1,000 tokens a minute, at least 1.
            prepaid_months: After so many months of 30 days it is released; never by default.
        """
        body: JSON = {"model": model, "purchaseCount": count, "billing": _billing(prepaid_months)}
        call = self._session.management_call(PURCHASE_TPM, body)
        return (self._session.fetch(call, PURCHASE_TPM.reply)).result.instanceId

    def list_tpm(self, model: str) -> tuple[TPMResource, ...]:
        """The capacity that was added to a model, oldest first."""
        call = self._session.management_call(DESCRIBE_TPM, {"model": model})
        reply = self._session.fetch(call, DESCRIBE_TPM.reply)
        return tuple(map(_resource, reply.result.instances))

    def release_tpm(self, model: str, resource_id: str) -> None:
        """Take capacity from a model.

        Raises:
            NotFound: The model has none of that id.
        """
        body: JSON = {"model": model, "instanceId": resource_id}
        call = self._session.management_call(RELEASE_TPM, body)
        self._session.fetch(call, RELEASE_TPM.reply)

    def resize_tpm(self, resource_id: str, count: int) -> None:
        """Change how much it is, in units of 1,000 tokens a minute.

        Raises:
            NotFound: There is none of that id.
        """
        body: JSON = {"instanceId": resource_id, "count": count}
        call = self._session.management_call(RESIZE_TPM, body)
        self._session.fetch(call, RESIZE_TPM.reply)

    def auto_release_tpm(self, resource_id: str, release_at: datetime | None) -> None:
        """Have it released at a time to come; None cancels that.

        Args:
            resource_id: Its id.
            release_at: When; aware.

        Raises:
            Invalid: The time is over.
            NotFound: There is none of that id.
        """
        body: JSON = {"instanceId": resource_id}
        if release_at is not None:
            body["releaseTime"] = _time(release_at)
        call = self._session.management_call(AUTO_RELEASE_TPM, body)
        self._session.fetch(call, AUTO_RELEASE_TPM.reply)

    def purchase_units(
        self,
        service: str,
        count: int,
        *,
        prepaid_months: int | None = None,
        release_at: datetime | None = None,
    ) -> str:
        """Add compute units to a service; the id of what was added.

        On a Yangfan server the service is a served model, and each unit allows it as many requests and tokens a minute again
        as it is allowed without any.

        Args:
            service: Any name of the model; in Baidu's cloud a ``svco-…``.
            count: How many units, 1 to 1,000.
            prepaid_months: After so many months of 30 days they are released; never by default.
            release_at: When they are released instead; aware.
        """
        billing = _billing(prepaid_months)
        if release_at is not None:
            billing["releaseTime"] = _time(release_at)
        body: JSON = {"serviceId": service, "billing": billing, "replicasCount": count}
        call = self._session.management_call(PURCHASE_SERVICE_RESOURCE, body)
        return (self._session.fetch(call, PURCHASE_SERVICE_RESOURCE.reply)).result.instanceId

    def reserve_units(
        self,
        count: int,
        *,
        region: str = "bj",
        kind: str = "cpu",
        prepaid_months: int | None = None,
    ) -> str:
        """Buy compute units for no service yet; the id of what was bought.

        Args:
            count: How many units, 1 to 1,000.
            region: Where they run in Baidu's cloud: bj or bd.
            kind: On what: cpu, or gpu-1 to gpu-6.
            prepaid_months: After so many months of 30 days they are released; never by default.
        """
        body: JSON = {
            "computeUnitCount": count,
            "computeUnitConfig": {"region": region, "type": kind},
            "billing": _billing(prepaid_months),
        }
        call = self._session.management_call(PURCHASE_UNITS, body)
        return (self._session.fetch(call, PURCHASE_UNITS.reply)).result.instanceId

    def list_units(self, service: str) -> tuple[ComputeUnits, ...]:
        """The compute units of a service that are not released, oldest first."""
        call = self._session.management_call(DESCRIBE_UNITS, {"serviceId": service})
        reply = self._session.fetch(call, DESCRIBE_UNITS.reply)
        return tuple(_units(service, item) for item in reply.result.instances)

    def get_units(self, service: str, unit_id: str) -> ComputeUnits:
        """Compute units by their id, released or not.

        Raises:
            NotFound: The service has none of that id.
        """
        body: JSON = {"serviceId": service, "instanceId": unit_id}
        call = self._session.management_call(DESCRIBE_UNIT, body)
        reply = self._session.fetch(call, DESCRIBE_UNIT.reply)
        return _units(service, reply.result.instance)

    def release_units(self, service: str, unit_id: str) -> None:
        """Take compute units from a service.

        Raises:
            NotFound: The service has none of that id, or they are released.
        """
        body: JSON = {"serviceId": service, "instanceId": unit_id}
        call = self._session.management_call(RELEASE_UNIT, body)
        self._session.fetch(call, RELEASE_UNIT.reply)

    def resize_units(self, unit_id: str, count: int) -> None:
        """Change how many compute units there are, 1 to 1,000.

        Raises:
            NotFound: There are none of that id, or they are released.
        """
        body: JSON = {"instanceId": unit_id, "count": count}
        call = self._session.management_call(RESIZE_UNIT, body)
        self._session.fetch(call, RESIZE_UNIT.reply)

    def auto_release_units(self, unit_id: str, release_at: datetime | None) -> None:
        """Have compute units released at a time to come; None cancels that.

        Args:
            unit_id: Their id.
            release_at: When; aware.

        Raises:
            Invalid: The time is over.
            NotFound: There are none of that id, or they are released.
        """
        body: JSON = {"instanceId": unit_id}
        if release_at is not None:
            body["releaseTime"] = _time(release_at)
        call = self._session.management_call(AUTO_RELEASE_UNIT, body)
        self._session.fetch(call, AUTO_RELEASE_UNIT.reply)


def _billing(prepaid_months: int | None) -> JSON:
    if prepaid_months is None:
        return {"paymentTiming": "Postpaid"}
    reservation = {"reservationTimeUnit": "Month", "reservationLength": prepaid_months}
    return {"paymentTiming": "Prepaid", "reservation": reservation}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _units(service: str, item: ServiceUnits) -> ComputeUnits:
    return ComputeUnits(
        id=item.instanceId,
        service=service,
        count=item.replicasCount,
        status=item.status,
        started_at=_moment(item.startTime),
        releases_at=None if item.expiredTime == "-" else _moment(item.expiredTime),
    )


def _resource(item: wire.TPMInstance) -> TPMResource:
    return TPMResource(
        id=item.instanceId,
        rpm=item.rpm,
        tpm=item.tpm,
        status=item.status,
        started_at=_moment(item.startTime),
        releases_at=None if item.expiredTime == "-" else _moment(item.expiredTime),
    )


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise errors.BadReply(f"{text!r} is not a time") from None
