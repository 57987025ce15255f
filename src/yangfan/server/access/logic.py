"""Who is this? Keys, tokens and signatures, checked in memory; changes go to the database first."""

from __future__ import annotations

import asyncio
import hmac
import string
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from yangfan import errors
from yangfan.protocol import signing
from yangfan.protocol.v1.oauth import TOKEN_LIFETIME_SECONDS
from yangfan.server.access.secrets import Vault, random_text
from yangfan.server.access.tokens import TokenMint
from yangfan.server.access.types import NO_LIMITS, App, Credentials, Key, Kind
from yangfan.server.http import Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yangfan.protocol.endpoint import Auth
    from yangfan.server.access.store import KeyStore
    from yangfan.server.usage import Limits

_BEARER_ID_LENGTH = 21
_HEX = "0123456789abcdef"
_LOWER = string.ascii_lowercase + string.digits


MAX_SEEN_TOKENS = 4096
BATCH_KIND = "batch_inference"
"""Kind of the jobs whose calls cost less, and are booked apart."""

"""Tokens whose signature is not computed again; each costs some 200 bytes."""

_NEVER = float("inf")
_INVALID_TOKEN = "Access token invalid or no longer valid; get a new one from /oauth/2.0/token"  # noqa: S105 - a text


class _Seen(NamedTuple):
    """A token that was once verified: its key, its end, and who that is."""

    key: Key
    expires_seconds: float
    principal: Principal


class Access:
    """All keys, and the checks that every request goes through.

    Args:
        store: Where keys live.
        vault: Hashing, sealing, signing keys.
        required: Whether credentials are asked for at all.
        worker_account: The application for which a worker with that token calls, and the kind of its work; raises what is wrong with a token.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        store: KeyStore,
        vault: Vault,
        *,
        required: bool = True,
        worker_account: Callable[[str], tuple[str, str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start empty; `load` reads the keys."""
        self._store = store
        self._vault = vault
        self._mint = TokenMint(vault.token_key)
        self._required = required
        self._worker_account = worker_account
        self._clock = clock
        self._by_id: dict[str, Key] = {}
        self._by_number: dict[int, Key] = {}
        self._apps: dict[str, App] = {}
        self._changing_apps = asyncio.Lock()
        self._seen_access_tokens: dict[str, _Seen] = {}
        self._seen_bearers: dict[str, _Seen] = {}
        self._decoy = vault.hash("decoy")

    async def load(self) -> Credentials:
        """Read every key, make the built-in ones at the first start, and return those for their owner."""
        self._apps = {app.id: app for app in await self._store.apps()}
        for key in await self._store.all():
            self._remember(key)
        if not any(key.builtin for key in self._by_id.values()):
            await self._create_builtin()
        return self._builtin()

    # Checks on every request

    def authenticate(self, scope: Mapping[str, Any], needs: Auth) -> Principal:
        """Who sends this request, from its raw head.

        Raises:
            Unauthenticated: Nobody we know; the subclass tells which kind of credential was wrong.
            AppForbidden: The `appid` header names another application than the key's.
        """
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        authorization = _header(headers, b"authorization")
        if needs == "signature":
            principal = self._signed(scope, authorization)
        elif not self._required:
            return Principal("anonymous", "", "none")
        else:
            principal = self._inference(scope, authorization)
        app_id = _header(headers, b"appid")
        if app_id and app_id != principal.app_id:
            known = any(key.app_id == app_id for key in self._by_id.values())
            raise errors.AppForbidden(
                f"the appid header names {app_id[:64]!r}, which is not "
                + (
                    f"the application of this key, {principal.app_id}"
                    if known
                    else "an application here"
                )
            )
        return principal

    def _inference(self, scope: Mapping[str, Any], authorization: str) -> Principal:
        query: bytes = scope["query_string"]
        if b"access_token=" in query:
            values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(
                "access_token", [""]
            )
            return self._access_token(values[-1])
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() in {"bearer", "accesscode"}:
            return self._bearer(rest.strip())
        if authorization.startswith(signing.VERSION):
            return self._signed(scope, authorization)
        if scheme.lower() == "job" and self._worker_account is not None:
            app_id, kind = self._worker_account(rest.strip())
            what = "batches" if kind == BATCH_KIND else "jobs"
            return Principal(f"{what}-of-{app_id}" if app_id else what, app_id, "job")
        if scope["path"].startswith("/rpc/"):
            raise errors.TokenInvalid(
                "Access token invalid or no longer valid; add ?access_token= from /oauth/2.0/token, or sign the request"
            )
        raise errors.BearerInvalid(
            "send Authorization: Bearer <key>; `yangfan keys create` makes one"
        )

    def _access_token(self, token: str) -> Principal:
        seen = self._seen_access_tokens.get(token) or self._read_access_token(token)
        now_seconds = self._clock()
        if not self._is_usable(seen.key, now_seconds):
            raise errors.TokenInvalid(_INVALID_TOKEN)
        if seen.expires_seconds <= now_seconds:
            raise errors.TokenExpired("Access token expired; get a new one from /oauth/2.0/token")
        return seen.principal

    def _read_access_token(self, token: str) -> _Seen:
        if token.startswith("bce-v3/"):
            raise errors.TokenInvalid(
                "Access token invalid or no longer valid; this is a bearer key, send it as Authorization: Bearer <key>"
            )
        statement = self._mint.read_access_token(token)
        key = self._by_number.get(statement.key_number) if statement is not None else None
        if statement is None or key is None:
            raise errors.TokenInvalid(_INVALID_TOKEN)
        return _see(self._seen_access_tokens, token, key, statement.expires_seconds)

    def _bearer(self, token: str) -> Principal:
        seen = self._seen_bearers.get(token) or self._read_bearer(token)
        now_seconds = self._clock()
        if (
            seen is None
            or seen.expires_seconds <= now_seconds
            or not self._is_usable(seen.key, now_seconds)
        ):
            raise errors.BearerInvalid(
                "the bearer key is unknown, expired or revoked; see `yangfan keys list`"
            )
        return seen.principal

    def _is_usable(self, key: Key, now_seconds: float) -> bool:
        """Whether the key is still as it was when its token was verified, and may be used."""
        known = self._by_id.get(key.id)
        return known is key and key.status(int(now_seconds * 1000)) == "enable"

    def _read_bearer(self, token: str) -> _Seen | None:
        pieces = token.split("/")
        key = self._by_id.get(pieces[1] if len(pieces) == 3 else "")
        expected = key.secret_hash if key is not None and key.kind == "bearer" else self._decoy
        # The same work for a known and an unknown id, so that time tells nothing.
        genuine = hmac.compare_digest(self._vault.hash(token), expected)
        if key is not None and genuine:
            return _see(self._seen_bearers, token, key, _NEVER)
        statement = self._mint.read_bearer(token)
        issuer = self._by_number.get(statement.key_number) if statement is not None else None
        if statement is None or issuer is None:
            return None
        return _see(self._seen_bearers, token, issuer, statement.expires_seconds)

    def _signed(self, scope: Mapping[str, Any], authorization: str) -> Principal:
        if not authorization:
            raise errors.SignatureInvalid(
                "sign the request with bce-auth-v1; `yangfan sign METHOD URL` prints the headers",
                reason="MissingAuthenticationHeader",
            )
        parsed = signing.parse(authorization)
        key = self._by_id.get(parsed.access_key)
        if key is None or key.kind != "signature" or key.status(self._now_ms()) != "enable":
            raise errors.SignatureInvalid("Could not find credential.", reason="InvalidAccessKeyId")
        assert key.secret_sealed is not None
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        request = signing.SignedRequest(
            method=scope["method"],
            path=raw_path.decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=[(name.decode("latin-1"), _text(value)) for name, value in scope["headers"]],
        )
        forwarded = _header(scope["headers"], b"x-forwarded-host")
        signing.verify(
            request,
            parsed,
            self._vault.open(key.secret_sealed, key.id),
            now=datetime.fromtimestamp(self._clock(), UTC),
            hosts=(forwarded,) if forwarded else (),
        )
        return _principal(key)

    # Issuing

    def issue_access_token(self, api_key: str | None, secret_key: str | None) -> str:
        """A new access token for an application's pair.

        Raises:
            BadClientCredentials: With the words that the official SDKs compare (specification A.1).
        """
        key = self._by_id.get(api_key or "")
        usable = key is not None and key.kind == "oauth" and key.status(self._now_ms()) == "enable"
        expected = key.secret_hash if key is not None and usable else self._decoy
        genuine = hmac.compare_digest(self._vault.hash(secret_key or ""), expected)
        if key is None or not usable:
            raise errors.BadClientCredentials("unknown client id")
        if not genuine:
            raise errors.BadClientCredentials("Client authentication failed")
        return self._mint.access_token(
            key.number, now_seconds=int(self._clock()), lifetime_seconds=TOKEN_LIFETIME_SECONDS
        )

    def issue_bearer(self, principal: Principal, *, expires_seconds: int) -> str:
        """A new short-lived bearer token for who signed the request."""
        return self._mint.bearer(
            self._by_id[principal.key_id].number, expires_seconds=expires_seconds
        )

    @property
    def account_id(self) -> str:
        """Id of this installation's account, 32 hex digits."""
        return self._vault.account_id

    # Managing keys

    def all(self) -> list[Key]:
        """Every key, oldest first."""
        return sorted(self._by_id.values(), key=lambda key: key.number)

    def limits_of(self, key_id: str) -> Limits:
        """What a key may use; nothing is limited for callers without one."""
        key = self._by_id.get(key_id)
        return NO_LIMITS if key is None else key.limits

    async def create(
        self,
        kind: Kind,
        name: str,
        lifetime_seconds: int | None,
        limits: Limits = NO_LIMITS,
        *,
        lenient: bool = False,
        app_id: str | None = None,
    ) -> tuple[Key, str]:
        """Make a key; the key and its secret, which is not kept readable unless signatures need it.

        Without an `app_id` it gets an application of its own, called as itself.

        Raises:
            NotFound: There is no such application.
        """
        now_ms = self._now_ms()
        new_app = self._draft_app(name) if app_id is None else None
        key, secret = self._draft(
            kind, name=name, app_id=new_app.id if new_app else app_id or "", now_ms=now_ms
        )
        key = replace(key, limits=limits, lenient=lenient)
        if lifetime_seconds is not None:
            key = replace(key, expires_ms=now_ms + lifetime_seconds * 1000)
        if kind != "signature":
            key = replace(key, secret_sealed=None)
        # An application that is deleted meanwhile would leave a key that nobody revoked.
        async with self._changing_apps:
            if new_app is None:
                self._app(key.app_id)
            (stored,) = await self._store.add([key], new_app)
            if new_app is not None:
                self._apps[new_app.id] = new_app
            self._remember(stored)
        return stored, secret

    async def revoke(self, key_id: str) -> bool:
        """End a key for good; False if there is none of that id."""
        key = await self._store.revoke(key_id, self._now_ms())
        if key is None:
            return False
        self._remember(key)
        return True

    # Managing applications

    def apps(self) -> list[tuple[App, int]]:
        """Every application, oldest first, and how many of its keys may be used."""
        now_ms = self._now_ms()
        usable = Counter(
            key.app_id for key in self._by_id.values() if key.status(now_ms) == "enable"
        )
        return [(app, usable[app.id]) for app in self._apps.values()]

    async def create_app(self, name: str) -> App:
        """Make an application without keys."""
        app = self._draft_app(name)
        await self._store.add([], app)
        self._apps[app.id] = app
        return app

    async def delete_app(self, app_id: str) -> None:
        """Delete an application and revoke its keys.

        Raises:
            NotFound: There is no such application.
            Invalid: It is the built-in one.
        """
        async with self._changing_apps:
            if self._app(app_id).builtin:
                raise errors.Invalid(
                    f"{app_id} is the built-in application, which stays; `yangfan keys revoke` ends single keys",
                    param="appId",
                )
            keys = await self._store.delete_app(app_id, self._now_ms())
            del self._apps[app_id]
            for key in keys:
                self._remember(key)

    def _app(self, app_id: str) -> App:
        app = self._apps.get(app_id)
        if app is None:
            raise errors.NotFound(
                f"no application {app_id[:64]!r}; `yangfan apps list` shows the applications"
            )
        return app

    def _draft_app(self, name: str, *, builtin: bool = False) -> App:
        return App(f"app-{random_text(8, _LOWER)}", name, builtin, self._now_ms())

    async def _create_builtin(self) -> None:
        app = self._draft_app("built-in", builtin=True)
        kinds: tuple[Kind, ...] = ("oauth", "signature", "bearer")
        drafts = [
            replace(
                self._draft(kind, name="built-in", app_id=app.id, now_ms=app.created_ms)[0],
                builtin=True,
            )
            for kind in kinds
        ]
        for key in await self._store.add(drafts, app):
            self._remember(key)
        self._apps[app.id] = app

    def _builtin(self) -> Credentials:
        found: dict[str, tuple[str, str]] = {}
        for key in self.all():
            if key.builtin and key.secret_sealed is not None:
                found[key.kind] = (key.id, self._vault.open(key.secret_sealed, key.id))
        return Credentials(*found["oauth"], *found["signature"], bearer=found["bearer"][1])

    def _draft(self, kind: Kind, *, name: str, app_id: str, now_ms: int) -> tuple[Key, str]:
        if kind == "oauth":
            key_id, secret = random_text(24), random_text(32)
        elif kind == "signature":
            key_id, secret = f"ALTAK{random_text(_BEARER_ID_LENGTH)}", random_text(32)
        else:
            key_id = f"ALTAK-{random_text(_BEARER_ID_LENGTH)}"
            secret = f"bce-v3/{key_id}/{random_text(40, _HEX)}"
        hashed, sealed = self._vault.hash(secret), self._vault.seal(secret, key_id)
        return Key(
            0, key_id, kind, name, app_id, hashed, sealed, builtin=False, created_ms=now_ms
        ), secret

    def _remember(self, key: Key) -> None:
        self._by_id[key.id] = key
        self._by_number[key.number] = key

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _see(seen: dict[str, _Seen], token: str, key: Key, expires_seconds: float) -> _Seen:
    """Remember a token whose signature was right; what may change since is checked on every use."""
    if len(seen) >= MAX_SEEN_TOKENS:
        seen.clear()
    entry = seen[token] = _Seen(key, expires_seconds, _principal(key))
    return entry


def _principal(key: Key) -> Principal:
    return Principal(key.id, key.app_id, key.kind, key.lenient)


def _header(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str:
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
