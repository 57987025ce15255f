"""One call, from an Endpoint to a request."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import msgspec

from yangfan import errors
from yangfan.client.exchange import Request
from yangfan.client.version import package_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client.auth import Auth
    from yangfan.client.retry import Retry
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint

T = TypeVar("T")

_ALPHANUMERIC = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Call:
    """A request with what it takes to send it.

    Attributes:
        request: Complete but for its credentials.
        auth: How to authorize it.
        retry: When to send it again.
        timeout_seconds: Longest silence of the server.
    """

    request: Request
    auth: Auth
    retry: Retry
    timeout_seconds: float


def request_of(
    endpoint: Endpoint[Any, Any],
    base_url: str,
    *,
    path: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str],
) -> Request:
    """The request of an endpoint.

    Args:
        endpoint: What to call.
        base_url: Where.
        path: The endpoint's path with its parameter filled in; None when it has none.
        body: JSON, None for none.
        headers: Further headers; they win.
    """
    query = f"?{urlencode({'Action': endpoint.action})}" if endpoint.action else ""
    own = [
        ("Accept", "application/json, text/event-stream"),
        ("User-Agent", f"yangfan-py/{package_version()}"),
    ]
    if body is not None:
        own.append(("Content-Type", "application/json"))
    request = Request(
        endpoint.method, f"{base_url}{path or endpoint.path}{query}", tuple(own), body or b""
    )
    return request.with_headers(*headers.items())


def new_request_id() -> str:
    """A fresh value for the Request_id header: ``yangfan-py-0.1.0-`` and 16 characters."""
    return f"yangfan-py-{package_version()}-{''.join(secrets.choice(_ALPHANUMERIC) for _ in range(16))}"


def convert(document: JSON, reply_type: type[T]) -> T:
    """A decoded reply as its protocol type.

    Raises:
        BadReply: It does not fit.
    """
    try:
        return msgspec.convert(document, reply_type)
    except msgspec.ValidationError as error:
        raise errors.BadReply(f"the reply is not what the API promises: {error}") from None
