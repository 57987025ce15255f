# Generated from _async by scripts/unasync.py; edit there.
"""`client.charge`: capacity of models in tokens a minute."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client.types import JSON, TPMResource
from yangfan.protocol.v2.charge import (
    AUTO_RELEASE_TPM,
    DESCRIBE_TPM,
    PURCHASE_TPM,
    RELEASE_TPM,
    RESIZE_TPM,
)

if TYPE_CHECKING:
    from yangfan.client._sync.session import Session
    from yangfan.protocol.v2 import charge as wire


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
        billing: JSON = {"paymentTiming": "Postpaid"}
        if prepaid_months is not None:
            reservation = {"reservationTimeUnit": "Month", "reservationLength": prepaid_months}
            billing = {"paymentTiming": "Prepaid", "reservation": reservation}
        body: JSON = {"model": model, "purchaseCount": count, "billing": billing}
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
            body["releaseTime"] = release_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        call = self._session.management_call(AUTO_RELEASE_TPM, body)
        self._session.fetch(call, AUTO_RELEASE_TPM.reply)


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
