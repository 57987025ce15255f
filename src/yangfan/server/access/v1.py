"""v1: the OAuth token endpoint (specification A.1)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from yangfan.errors import BadClientCredentials
from yangfan.protocol.v1.oauth import TOKEN, TOKEN_LIFETIME_SECONDS, TokenReply, TokenRequest
from yangfan.server.http import Call, Reply, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.access.logic import Access

SCOPE = "public brain_all_scope ai_custom_yiyan_com wenxinworkshop_mgr"


def routes(access: Access) -> list[Route]:
    """What this file answers."""

    async def token(call: Call[TokenRequest]) -> Reply:
        request = call.request
        if request.grant_type != "client_credentials":
            word = "unsupported_grant_type" if request.grant_type else "invalid_request"
            raise BadClientCredentials(
                f"grant_type must be client_credentials, got {repr(request.grant_type[:64]) if request.grant_type else 'nothing'}",
                oauth_error=word,
            )
        access_token = access.issue_access_token(request.client_id, request.client_secret)
        return Reply(
            TokenReply(
                access_token=access_token,
                expires_in=TOKEN_LIFETIME_SECONDS,
                refresh_token=f"25.{secrets.token_hex(16)}",
                session_key=secrets.token_urlsafe(32),
                session_secret=secrets.token_hex(16),
                scope=SCOPE,
            )
        )

    return [Route(TOKEN, token, body=parameters, tolerated=("GET",))]


def parameters(body: bytes, scope: Mapping[str, Any]) -> bytes:
    """Query, form and JSON body of a token request as one JSON object; the query wins, as for Baidu's own SDKs."""
    found: dict[str, object] = {}
    content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if b"form-urlencoded" in content_type:
        found.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    elif body.strip():
        try:
            found.update(msgspec.json.decode(body, type=dict[str, object]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found.clear()
    found.update(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return msgspec.json.encode(found)
