"""`client.tokens`: short-lived tokens, for programs that make their own requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client import auth
from yangfan.protocol.v2.bearer import DEFAULT_LIFETIME_SECONDS

if TYPE_CHECKING:
    from yangfan.client._async.session import AsyncSession
    from yangfan.client.types import AccessToken, BearerToken


class AsyncTokens:
    """Tokens. The client fetches and renews its own; these are for other programs."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session

    async def create_access_token(self) -> AccessToken:
        """A new OAuth token for v1.

        Raises:
            BadClientCredentials: The pair is wrong.
            ConfigurationError: The client has no api_key and secret_key.
        """
        settings = self._session.settings
        given = settings.credentials
        if not given.api_key:
            raise errors.ConfigurationError(
                "an access token needs api_key and secret_key: pass both"
            )
        request = auth.token_request(settings.v1_url, given.api_key, given.secret_key)
        return auth.read_token(
            await self._session.transport.send(request, timeout_seconds=settings.timeout_seconds)
        )

    async def create_bearer_token(
        self, *, expires_in_seconds: int = DEFAULT_LIFETIME_SECONDS
    ) -> BearerToken:
        """A new bearer token for v2.

        Args:
            expires_in_seconds: How long it holds, 1 to 2592000.

        Raises:
            SignatureInvalid: The pair is wrong.
            ConfigurationError: The client has no access_key and secret_access_key.
        """
        settings = self._session.settings
        signature = auth.for_management(settings)
        request = signature.sign(auth.bearer_request(settings.iam_url, expires_in_seconds))
        return auth.read_bearer(
            await self._session.transport.send(request, timeout_seconds=settings.timeout_seconds)
        )
