"""`POST /v2/usage?Action=DescribeUsage`: what was used. An extension of ours in the shape of Qianfan's Actions (C.7)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.keys import ActionReply

Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="A UTC day, YYYY-MM-DD.")]


class DescribeUsage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which usage to show."""

    startDate: Date | None = None  # noqa: N815 - the wire's spelling
    """First day; by default the 30th day back, counting `endDate`."""
    endDate: Date | None = None  # noqa: N815 - the wire's spelling
    """Last day; today by default."""
    keyId: str | None = None  # noqa: N815 - the wire's spelling
    """One key's usage only."""
    model: str | None = None
    """One served model's usage only."""


class UsageItem(msgspec.Struct, kw_only=True):
    """What one key used of one model on one day. Tokens are counted by the model's own tokenizer."""

    date: str
    keyId: str  # noqa: N815 - the wire's spelling
    model: str
    requests: int
    promptTokens: int  # noqa: N815 - the wire's spelling
    completionTokens: int  # noqa: N815 - the wire's spelling
    totalTokens: int  # noqa: N815 - the wire's spelling
    priceShare: float = 1.0  # noqa: N815 - the wire's spelling
    """What they cost of the price of calls that are answered at once: batches cost less."""


class UsageList(msgspec.Struct):
    """By day, then key, then model."""

    items: list[UsageItem]


DESCRIBE_USAGE = Endpoint(
    name="usage.describe",
    dialect="action",
    method="POST",
    path="/v2/usage",
    action="DescribeUsage",
    request=DescribeUsage,
    reply=ActionReply[UsageList],
    auth="signature",
    summary="Show requests and tokens by day, key and model.",
    summary_zh="按日期、密钥和模型查看请求数与 Token 用量。",
    spec="C.7",
)
