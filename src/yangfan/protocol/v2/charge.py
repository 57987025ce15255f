"""`POST /v2/charge?Action=…`: capacity of models in tokens a minute (specification D.15)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Actions
from yangfan.protocol.v2.keys import ActionReply

Units = Annotated[
    int, Meta(ge=1, le=1_000_000, description="Capacity in units of 1,000 tokens a minute.")
]
PaymentTiming = Literal["Postpaid", "Prepaid"]
Time = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", description="UTC, YYYY-MM-DDThh:mm:ssZ."
    ),
]


class Reservation(msgspec.Struct, kw_only=True):
    """For how long prepaid capacity is bought; a month has 30 days."""

    reservationTimeUnit: Literal["Hour", "Day", "Month"] = "Month"  # noqa: N815 - the wire's spelling
    reservationLength: Annotated[int, Meta(ge=1, le=1000)] = 1  # noqa: N815 - the wire's spelling


class Billing(msgspec.Struct, kw_only=True):
    """How capacity is paid for. Nothing is paid here; prepaid capacity ends with its reservation."""

    paymentTiming: PaymentTiming = "Postpaid"  # noqa: N815 - the wire's spelling
    reservation: Reservation | None = None


class PurchaseTPM(msgspec.Struct, kw_only=True):
    """Capacity to add to a model."""

    model: str
    purchaseCount: Units  # noqa: N815 - the wire's spelling
    billing: Billing = msgspec.field(default_factory=Billing)


class DescribeTPM(msgspec.Struct, kw_only=True):
    """Whose capacity to show."""

    model: str
    paymentTiming: PaymentTiming | None = None  # noqa: N815 - the wire's spelling
    instanceId: str | None = None  # noqa: N815 - the wire's spelling
    status: str | None = None


class ReleaseTPM(msgspec.Struct, kw_only=True):
    """Which capacity to give back."""

    model: str
    instanceId: str  # noqa: N815 - the wire's spelling


class ResizeTPM(msgspec.Struct, kw_only=True):
    """How large an instance becomes."""

    instanceId: str  # noqa: N815 - the wire's spelling
    count: Units


class AutoReleaseTPM(msgspec.Struct, kw_only=True):
    """When an instance is given back by itself; never, if no time is given."""

    instanceId: str  # noqa: N815 - the wire's spelling
    releaseTime: Time | None = None  # noqa: N815 - the wire's spelling


class TPMPurchased(msgspec.Struct):
    """The capacity just added."""

    instanceId: str  # noqa: N815 - the wire's spelling


class TPMInstance(msgspec.Struct, kw_only=True):
    """Capacity that a model has. `expiredTime` is ``-`` if it does not end."""

    instanceId: str  # noqa: N815 - the wire's spelling
    model: str | UnsetType = UNSET
    paymentTiming: PaymentTiming  # noqa: N815 - the wire's spelling
    rpm: int
    tpm: int
    status: Literal["Running"] = "Running"
    startTime: str  # noqa: N815 - the wire's spelling
    expiredTime: str = "-"  # noqa: N815 - the wire's spelling


class TPMList(msgspec.Struct):
    """All of it, oldest first."""

    instances: list[TPMInstance]


_charge = Actions("v2.charge", "/v2/charge", "D.15")


PURCHASE_TPM = _charge(
    "purchase_tpm_resource",
    "PurchaseTPMResource",
    PurchaseTPM,
    ActionReply[TPMPurchased],
    "Add capacity in tokens a minute to a model.",
    "为模型购买 TPM 配额。",
)
DESCRIBE_TPM = _charge(
    "describe_tpm_resource",
    "DescribeTPMResource",
    DescribeTPM,
    ActionReply[TPMList],
    "List the capacity that was added to a model.",
    "查看模型的 TPM 配额。",
)
RELEASE_TPM = _charge(
    "release_tpm_resource",
    "ReleaseTPMResource",
    ReleaseTPM,
    ActionReply[bool],
    "Give capacity back.",
    "释放 TPM 配额。",
)
RESIZE_TPM = _charge(
    "resize_tpm_resource",
    "ResizeTPMResource",
    ResizeTPM,
    ActionReply[bool],
    "Change how much capacity an instance is.",
    "调整 TPM 配额数量。",
)
AUTO_RELEASE_TPM = _charge(
    "auto_release_tpm_resource",
    "AutoReleaseTPMResource",
    AutoReleaseTPM,
    ActionReply[bool],
    "Give capacity back by itself at a time, or cancel that.",
    "设置或取消 TPM 配额的自动释放时间。",
)
