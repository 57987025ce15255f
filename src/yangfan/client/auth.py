"""Ways to authorize a call, each written once as a generator that both clients drive.

`authorize` yields the requests that it needs answered first (fetching a token), is sent their replies, and returns the
call's request with its credentials. It does no I/O: the client sends, and holds a lock meanwhile so that many calls
fetch one token.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias
from urllib.parse import urlencode

import msgspec

from yangfan import errors
from yangfan.client import replies
from yangfan.client.exchange import Reply, Request
from yangfan.client.settings import BAIDU_HOSTS, Settings
from yangfan.client.types import AccessToken, BearerToken
from yangfan.protocol import signing
from yangfan.protocol.v1.oauth import TOKEN
from yangfan.protocol.v2.bearer import BEARER_TOKEN

BEARER_LIFETIME_SECONDS = 43200
"""How long a fetched bearer token shall hold; the official SDK asks for the same."""

RENEW_BEFORE = timedelta(seconds=60)
"""A token this close to its end is replaced first."""

Flow: TypeAlias = Generator[Request, Reply, Request]
Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


class Auth(Protocol):
    """One way to authorize calls."""

    def authorize(self, request: Request) -> Flow:
        """Return `request` with credentials, after the requests that it yields were answered."""
        ...

    def renew(self, request: Request, error: errors.RefusedError) -> bool:
        """Learn that `request` was refused with `error`; True if another try would carry fresh credentials."""
        ...


class NoAuth:
    """No credentials."""

    def authorize(self, request: Request) -> Flow:
        """Return it as it is."""
        yield from ()
        return request

    def renew(self, request: Request, error: errors.RefusedError) -> bool:  # noqa: ARG002 - the protocol's signature
        """There is nothing to renew."""
        return False


@dataclass(slots=True)
class FixedBearer:
    """A long-lived bearer key."""

    bearer: str = field(repr=False)

    def authorize(self, request: Request) -> Flow:
        """Add the key."""
        yield from ()
        return _with_bearer(request, self.bearer)

    def renew(self, request: Request, error: errors.RefusedError) -> bool:  # noqa: ARG002 - the protocol's signature
        """A key that was given cannot be renewed."""
        return False


@dataclass(slots=True)
class Signature:
    """bce-auth-v1: every request carries its own signature."""

    access_key: str
    secret_access_key: str = field(repr=False)
    now: Clock = utc_now

    def authorize(self, request: Request) -> Flow:
        """Add the signature."""
        yield from ()
        return self.sign(request)

    def sign(self, request: Request) -> Request:
        """`request` with Authorization, Host and x-bce-date."""
        signed = signing.sign(
            self.access_key,
            self.secret_access_key,
            method=request.method,
            url=request.url,
            now=self.now(),
        )
        return request.with_headers(*signed.headers.items())

    def renew(self, request: Request, error: errors.RefusedError) -> bool:  # noqa: ARG002 - the protocol's signature
        """A new signature would be refused as this one was."""
        return False


@dataclass(slots=True)
class FetchedBearer:
    """A bearer token fetched with a signature, and again before it ends."""

    signature: Signature
    iam_url: str
    now: Clock = utc_now
    _token: BearerToken | None = None

    def authorize(self, request: Request) -> Flow:
        """Fetch a token if there is none that holds, and add it."""
        token = self._token
        if token is None or token.expires_at - RENEW_BEFORE <= self.now():
            reply = yield self.signature.sign(bearer_request(self.iam_url, BEARER_LIFETIME_SECONDS))
            token = self._token = read_bearer(reply)
        return _with_bearer(request, token.token)

    def renew(self, request: Request, error: errors.RefusedError) -> bool:
        """Drop the token that was refused."""
        if not isinstance(error, errors.BearerInvalid):
            return False
        if self._token and ("Authorization", f"Bearer {self._token.token}") in request.headers:
            self._token = None
        return True


@dataclass(slots=True)
class OAuth:
    """An access_token in the query, fetched with an application's key pair and again when it is refused (110, 111)."""

    v1_url: str
    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    access_token: str = field(repr=False)
    now: Clock = utc_now
    _ends_at: datetime | None = None

    def authorize(self, request: Request) -> Flow:
        """Fetch a token if there is none that holds, and add it."""
        ended = self._ends_at is not None and self._ends_at - RENEW_BEFORE <= self.now()
        if not self.access_token or ended:
            reply = yield token_request(self.v1_url, self.api_key, self.secret_key)
            token = read_token(reply)
            self.access_token = token.token
            self._ends_at = self.now() + timedelta(seconds=token.expires_in_seconds)
        return request.with_query("access_token", self.access_token)

    def renew(self, request: Request, error: errors.RefusedError) -> bool:
        """Drop the token that was refused, if there is a pair to fetch another with."""
        if not self.api_key or not isinstance(error, errors.TokenInvalid | errors.TokenExpired):
            return False
        if self.access_token and request.url.endswith(f"access_token={self.access_token}"):
            self.access_token = ""
        return True


def for_v1(settings: Settings, now: Clock = utc_now) -> Auth:
    """How to authorize v1 inference: OAuth, else a signature, else a bearer key (Yangfan servers), else nothing."""
    given = settings.credentials
    if given.has_oauth:
        return OAuth(settings.v1_url, given.api_key, given.secret_key, given.access_token, now)
    if given.has_signature:
        return Signature(given.access_key, given.secret_access_key, now)
    return FixedBearer(given.bearer) if given.bearer else NoAuth()


def for_v2(settings: Settings, now: Clock = utc_now) -> Auth:
    """How to authorize v2 inference: a bearer key, else one fetched with a signature, else OAuth (Yangfan servers)."""
    given = settings.credentials
    if given.bearer:
        return FixedBearer(given.bearer)
    if given.has_signature:
        return FetchedBearer(
            Signature(given.access_key, given.secret_access_key, now), settings.iam_url, now
        )
    if not given.has_oauth:
        return NoAuth()
    if any(host in settings.v2_url for host in BAIDU_HOSTS):
        raise errors.ConfigurationError(
            "Baidu's v2 API takes no api_key and secret_key pair: pass bearer='bce-v3/ALTAK-…', or access_key and"
            " secret_access_key"
        )
    return OAuth(settings.v1_url, given.api_key, given.secret_key, given.access_token, now)


def for_management(settings: Settings, now: Clock = utc_now) -> Signature:
    """How to authorize `?Action=` and IAM calls: a signature.

    Raises:
        ConfigurationError: There is no pair to sign with.
    """
    given = settings.credentials
    if not given.has_signature:
        raise errors.ConfigurationError(
            "this call must be signed: pass access_key and secret_access_key, or set YANGFAN_ACCESS_KEY and"
            " YANGFAN_SECRET_ACCESS_KEY"
        )
    return Signature(given.access_key, given.secret_access_key, now)


def token_request(v1_url: str, api_key: str, secret_key: str) -> Request:
    """The request for an OAuth token; the pair goes into the body, where access logs do not see it."""
    form = {"grant_type": "client_credentials", "client_id": api_key, "client_secret": secret_key}
    headers = (
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "application/json"),
    )
    return Request(TOKEN.method, v1_url + TOKEN.path, headers, urlencode(form).encode())


def read_token(reply: Reply) -> AccessToken:
    """The token in a reply.

    Raises:
        BadClientCredentials: The pair is wrong.
        BadReply: The reply is not a token.
    """
    document = replies.checked(reply)
    token, seconds = document.get("access_token"), document.get("expires_in", 2592000)
    if not isinstance(token, str) or not isinstance(seconds, int):
        raise errors.BadReply("the reply to the token request has no access_token")
    return AccessToken(token, seconds)


def bearer_request(iam_url: str, expires_in_seconds: int) -> Request:
    """The request for a bearer token, still to be signed."""
    url = f"{iam_url}{BEARER_TOKEN.path}?expireInSeconds={expires_in_seconds}"
    return Request(BEARER_TOKEN.method, url, (("Accept", "application/json"),))


def read_bearer(reply: Reply) -> BearerToken:
    """The token in a reply.

    Raises:
        SignatureInvalid: The signature does not verify.
        BadReply: The reply is not a token.
    """
    try:
        token = msgspec.convert(replies.checked(reply), BEARER_TOKEN.reply)
        created, ends = (
            datetime.fromisoformat(text) for text in (token.createTime, token.expireTime)
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise errors.BadReply(
            f"the reply to the bearer-token request is not a token: {error}"
        ) from None
    return BearerToken(token.token, created, ends)


def _with_bearer(request: Request, bearer: str) -> Request:
    return request.with_headers(("Authorization", f"Bearer {bearer}"))
