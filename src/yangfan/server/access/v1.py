"""v1: the OAuth token endpoint (specification A.1)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from yangfan.errors import BadClientCredentials
from yangfan.protocol.v1.oauth import TOKEN, TOKEN_LIFETIME_SECONDS, TokenReply, TokenRequest
from yangfan.server.http import Call, Reply, Route

if TYPE_CHECKING:
    from yangfan.server.access.logic import Access

SCOPE = "public brain_all_scope ai_custom_yiyan_com wenxinworkshop_mgr"


def routes(access: Access) -> list[Route]:
    """What this file answers."""

    async def token(call: Call[TokenRequest]) -> Reply:
        request = call.request
        if request.grant_type != "client_credentials":
            word = "unsupported_grant_type" if request.grant_type else "invalid_request"
            raise BadClientCredentials(
                f"grant_type must be client_credentials, got {(request.grant_type or 'nothing')[:64]!r}",
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

    return [Route(TOKEN, token)]
