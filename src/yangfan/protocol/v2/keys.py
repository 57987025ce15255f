"""`POST /v2/apikey?Action=…`: the platform's own keys. An extension of ours in the shape of Qianfan's Actions (C.7)."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint

T = TypeVar("T")

KeyKind = Literal["bearer", "oauth", "signature"]
"""bearer: one string for v2; oauth: api_key and secret_key for v1; signature: access_key and secret_access_key."""


MAX_PER_MINUTE = 1_000_000_000
MAX_TOKENS = 1_000_000_000_000_000


class ActionReply(msgspec.Struct, Generic[T]):
    """Every Action's success: `{requestId, result}`."""

    requestId: str  # noqa: N815 - the wire's spelling
    result: T


class ActionError(msgspec.Struct):
    """Every Action's failure, with a real HTTP status."""

    requestId: str  # noqa: N815 - the wire's spelling
    code: str
    message: str


class CreateKey(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What kind of key to make."""

    kind: KeyKind = "bearer"
    name: Annotated[str, Meta(max_length=64, description="For people; not unique.")] = ""
    expireInSeconds: Annotated[int, Meta(ge=1)] | None = None  # noqa: N815 - the wire's spelling
    models: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=256)]],
            Meta(
                min_length=1, max_length=256, description="Names that it may call; all if absent."
            ),
        ]
        | None
    ) = None
    rpm: Annotated[int, Meta(ge=1, le=MAX_PER_MINUTE, description="Requests a minute.")] | None = (
        None
    )
    tpm: (
        Annotated[
            int, Meta(ge=1, le=MAX_PER_MINUTE, description="Tokens a minute, prompt and answer.")
        ]
        | None
    ) = None
    dailyTokens: (  # noqa: N815 - the wire's spelling
        Annotated[int, Meta(ge=1, le=MAX_TOKENS, description="Tokens a UTC day.")] | None
    ) = None
    totalTokens: (  # noqa: N815 - the wire's spelling
        Annotated[int, Meta(ge=1, le=MAX_TOKENS, description="Tokens ever.")] | None
    ) = None
    lenient: Annotated[
        bool, Meta(description="Put v1 messages right instead of refusing them.")
    ] = False
    appId: (  # noqa: N815 - the wire's spelling
        Annotated[str, Meta(description="Application it belongs to; a new one if absent.")] | None
    ) = None


class Key(msgspec.Struct, kw_only=True):
    """A key without its secret. Times are UTC, `YYYY-MM-DDThh:mm:ssZ`; a limit that is absent does not exist."""

    keyId: str  # noqa: N815 - the wire's spelling
    kind: KeyKind
    name: str = ""
    status: Literal["enable", "revoked", "expired"] = "enable"
    appId: str = ""  # noqa: N815 - the wire's spelling
    createTime: str  # noqa: N815 - the wire's spelling
    expireTime: str | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    models: list[str] | UnsetType = UNSET
    rpm: int | UnsetType = UNSET
    tpm: int | UnsetType = UNSET
    dailyTokens: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    totalTokens: int | UnsetType = UNSET  # noqa: N815 - the wire's spelling
    lenient: bool = False


class NewKey(msgspec.Struct, kw_only=True):
    """A key just made: the only time that its secret is shown. For kind bearer, `secret` is the whole bearer string."""

    keyId: str  # noqa: N815 - the wire's spelling
    kind: KeyKind
    secret: str
    name: str = ""
    appId: str = ""  # noqa: N815 - the wire's spelling


class ListKeys(msgspec.Struct):
    """Nothing to say."""


class KeyList(msgspec.Struct):
    """All keys, oldest first."""

    items: list[Key]


class RevokeKey(msgspec.Struct):
    """Which key to end for good."""

    keyId: str  # noqa: N815 - the wire's spelling


CREATE_KEY = Endpoint(
    name="keys.create",
    dialect="action",
    method="POST",
    path="/v2/apikey",
    action="CreateApiKey",
    request=CreateKey,
    reply=ActionReply[NewKey],
    auth="signature",
    summary="Create a key; its secret is shown this once.",
    summary_zh="创建密钥，密文仅在此时返回一次。",
    spec="C.7",
)

LIST_KEYS = Endpoint(
    name="keys.list",
    dialect="action",
    method="POST",
    path="/v2/apikey",
    action="DescribeApiKeys",
    request=ListKeys,
    reply=ActionReply[KeyList],
    auth="signature",
    summary="List keys without their secrets.",
    summary_zh="列出密钥（不含密文）。",
    spec="C.7",
)

REVOKE_KEY = Endpoint(
    name="keys.revoke",
    dialect="action",
    method="POST",
    path="/v2/apikey",
    action="DeleteApiKey",
    request=RevokeKey,
    reply=ActionReply[bool],
    auth="signature",
    summary="Revoke a key at once and for good.",
    summary_zh="立即且永久吊销密钥。",
    spec="C.7",
)
