"""`POST /oauth/2.0/token`: an application's key pair for an access token (specification A.1, RFC 6749 section 4.4)."""

from __future__ import annotations

import msgspec

from yangfan.protocol.endpoint import Endpoint

TOKEN_LIFETIME_SECONDS = 2592000
"""30 days, as Baidu's."""


class TokenRequest(msgspec.Struct, omit_defaults=True):
    """The parameters; they come in the query string or as a form, and only tolerant servers take them as JSON."""

    grant_type: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class TokenReply(msgspec.Struct):
    """A token for v1 inference; several may be valid at once."""

    access_token: str
    expires_in: int
    refresh_token: str
    session_key: str
    session_secret: str
    scope: str


class TokenError(msgspec.Struct):
    """A refusal; clients index both fields, so both are always there."""

    error: str
    error_description: str


TOKEN = Endpoint(
    name="oauth.token",
    dialect="oauth",
    method="POST",
    path="/oauth/2.0/token",
    request=TokenRequest,
    reply=TokenReply,
    auth="none",
    summary="Get an access token for an application's key pair.",
    summary_zh="用应用的 API Key 与 Secret Key 换取 access_token。",
    spec="A.1",
)
