"""What vLLM's server runs in front of all its calls: it asks for a key under some of its paths only, this asks under every one.

The vllm engine copies this file beside the server, whose Python has no yangfan; so it imports nothing but the standard library.
"""

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

_Send = Callable[[dict[str, Any]], Awaitable[None]]
_App = Callable[[dict[str, Any], Any, _Send], Awaitable[None]]


class Guard:
    """ASGI middleware: refuse each call but ``/health`` that lacks the key of ``VLLM_API_KEY``."""

    def __init__(self, app: _App) -> None:
        """Stand in front of `app`."""
        self._app = app
        self._wanted = f"Bearer {os.environ['VLLM_API_KEY']}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: _Send) -> None:
        """Pass the call on, or refuse it."""
        if scope["type"] == "lifespan" or scope.get("path") == "/health" or self._has_key(scope):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [(b"content-type", b"application/json")]
        body = (
            b'{"error":{"message":"the key is missing or wrong","type":"unauthorized","code":401}}'
        )
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _has_key(self, scope: dict[str, Any]) -> bool:
        return any(
            name == b"authorization" and hmac.compare_digest(value, self._wanted)
            for name, value in scope.get("headers", ())
        )
