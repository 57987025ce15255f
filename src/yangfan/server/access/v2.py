"""v2: short-lived bearer tokens (specification A.4) and the platform's own key Actions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from yangfan.errors import Invalid, NotFound
from yangfan.protocol.v2.apps import (
    CREATE_APP,
    DELETE_APP,
    LIST_APPS,
    App,
    AppList,
    CreateApp,
    DeleteApp,
    ListApps,
)
from yangfan.protocol.v2.bearer import (
    BEARER_TOKEN,
    DEFAULT_LIFETIME_SECONDS,
    MAX_LIFETIME_SECONDS,
    BearerToken,
)
from yangfan.protocol.v2.keys import (
    CREATE_KEY,
    LIST_KEYS,
    REVOKE_KEY,
    CreateKey,
    Key,
    KeyList,
    ListKeys,
    NewKey,
    RevokeKey,
)
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success
from yangfan.server.usage import Limits

if TYPE_CHECKING:
    from yangfan.server.access import types
    from yangfan.server.access.logic import Access


MAX_KEY_LIFETIME_SECONDS = 3_153_600_000
"""A hundred years; far beyond it there are no dates."""


def routes(access: Access) -> list[Route]:
    """What this file answers."""

    async def bearer_token(call: Call[None]) -> Reply:
        lifetime_seconds = _lifetime(call.query.get("expireInSeconds"))
        created = datetime.now(UTC)
        expires = created + timedelta(seconds=lifetime_seconds)
        token = access.issue_bearer(call.principal, expires_seconds=int(expires.timestamp()))
        return Reply(
            BearerToken(
                userId=access.account_id,
                token=token,
                status="enable",
                createTime=_milliseconds(created),
                expireTime=_milliseconds(expires),
            )
        )

    async def create(call: Call[CreateKey]) -> Reply:
        request = call.request
        if (request.expireInSeconds or 0) > MAX_KEY_LIFETIME_SECONDS:
            raise Invalid(
                f"expireInSeconds must be <= {MAX_KEY_LIFETIME_SECONDS}; leave it out for a key that never expires",
                param="expireInSeconds",
            )
        key, secret = await access.create(
            request.kind,
            request.name,
            request.expireInSeconds,
            _limits(request),
            lenient=request.lenient,
            app_id=request.appId,
        )
        return success(
            NewKey(keyId=key.id, kind=key.kind, secret=secret, name=key.name, appId=key.app_id)
        )

    async def list_keys(call: Call[ListKeys]) -> Reply:
        del call
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        return success(KeyList([_wire(key, now_ms) for key in access.all()]))

    async def revoke(call: Call[RevokeKey]) -> Reply:
        if not await access.revoke(call.request.keyId):
            raise NotFound(
                f"no key {call.request.keyId[:64]!r}; `yangfan keys list` shows the keys"
            )
        return success(True)  # noqa: FBT003 - the result of the Action

    async def create_app(call: Call[CreateApp]) -> Reply:
        return success(_wire_app(await access.create_app(call.request.name), 0))

    async def list_apps(call: Call[ListApps]) -> Reply:
        del call
        return success(AppList([_wire_app(app, count) for app, count in access.apps()]))

    async def delete_app(call: Call[DeleteApp]) -> Reply:
        await access.delete_app(call.request.appId)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(CREATE_APP, create_app, body=lambda body, _scope: body or b"{}"),
        Route(LIST_APPS, list_apps, body=lambda body, _scope: body or b"{}"),
        Route(DELETE_APP, delete_app),
        Route(BEARER_TOKEN, bearer_token),
        Route(CREATE_KEY, create),
        Route(LIST_KEYS, list_keys, body=lambda body, _scope: body or b"{}"),
        Route(REVOKE_KEY, revoke),
    ]


def _lifetime(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIFETIME_SECONDS
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIFETIME_SECONDS):
        raise Invalid(
            f"expireInSeconds must be a whole number in [1, {MAX_LIFETIME_SECONDS}], got {text[:32]!r}",
            param="expireInSeconds",
        )
    return int(text)


def _wire(key: types.Key, now_ms: int) -> Key:
    limits = key.limits
    return Key(
        keyId=key.id,
        kind=key.kind,
        name=key.name,
        status=key.status(now_ms),
        appId=key.app_id,
        createTime=moment(key.created_ms),
        expireTime=UNSET if key.expires_ms is None else moment(key.expires_ms),
        models=UNSET if limits.models is None else sorted(limits.models),
        rpm=_given(limits.rpm),
        tpm=_given(limits.tpm),
        dailyTokens=_given(limits.daily_tokens),
        totalTokens=_given(limits.total_tokens),
        lenient=key.lenient,
    )


def _wire_app(app: types.App, key_count: int) -> App:
    return App(appId=app.id, name=app.name, createTime=moment(app.created_ms), keyCount=key_count)


def _limits(request: CreateKey) -> Limits:
    models = request.models
    return Limits(
        models=None if models is None else frozenset(map(str.casefold, models)),
        rpm=request.rpm,
        tpm=request.tpm,
        daily_tokens=request.dailyTokens,
        total_tokens=request.totalTokens,
    )


def _given(limit: int | None) -> int | UnsetType:
    return UNSET if limit is None else limit


def _milliseconds(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
