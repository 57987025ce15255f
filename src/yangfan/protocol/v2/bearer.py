"""`GET /v1/BCE-BEARER/token`: a short-lived bearer token for a signed request (specification A.4)."""

from __future__ import annotations

import msgspec

from yangfan.protocol.endpoint import Endpoint

DEFAULT_LIFETIME_SECONDS = 1000
MAX_LIFETIME_SECONDS = 2592000


class BearerToken(msgspec.Struct):
    """A new, distinct token on every call. Times are UTC, `YYYY-MM-DDThh:mm:ss.SSSZ`."""

    userId: str  # noqa: N815 - the wire's spelling
    token: str
    status: str
    createTime: str  # noqa: N815 - the wire's spelling
    expireTime: str  # noqa: N815 - the wire's spelling


BEARER_TOKEN: Endpoint[None, BearerToken] = Endpoint(
    name="iam.bearer_token",
    dialect="iam",
    method="GET",
    path="/v1/BCE-BEARER/token",
    request=None,
    reply=BearerToken,
    auth="signature",
    summary="Get a short-lived bearer token; query parameter expireInSeconds.",
    summary_zh="获取短期 Bearer Token，参数 expireInSeconds 为有效秒数。",
    spec="A.4",
)
