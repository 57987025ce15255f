"""Read a reply of any dialect: the JSON object, the error it stands for, what its headers say.

Errors are told apart by their shape and not by the dialect that was called, because gateways in front of the real service
answer in their own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import msgspec

from yangfan import errors
from yangfan.client.types import JSON, RateLimit, ReplyInfo
from yangfan.protocol.v1 import errors as v1_errors
from yangfan.protocol.v2 import errors as v2_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.client.exchange import Reply

_SIGNATURE_REASONS = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidAuthorization",
        "MissingAuthenticationHeader",
        "RequestExpired",
        "SignatureDoesNotMatch",
    }
)
_ACTION_CODES: Mapping[str, type[errors.RefusedError]] = {
    "MalformedJSON": errors.MalformedJSON,
    "QuotaExceeded": errors.QuotaExceeded,
}
"""Codes of `?Action=` calls that say more than their status does."""

_LIMITS = {
    "limit_requests": "x-ratelimit-limit-requests",
    "limit_tokens": "x-ratelimit-limit-tokens",
    "remaining_requests": "x-ratelimit-remaining-requests",
    "remaining_tokens": "x-ratelimit-remaining-tokens",
}


def info_of(headers: Mapping[str, str]) -> ReplyInfo:
    """What the headers of a reply (lower-case names) say."""
    limits = {name: _count(headers.get(header)) for name, header in _LIMITS.items()}
    return ReplyInfo(
        request_id=headers.get("x-baidu-request-id"),
        served_model=headers.get("x-yangfan-model"),
        rate_limit=RateLimit(**limits)
        if any(limit is not None for limit in limits.values())
        else None,
    )


def decode(body: bytes) -> JSON:
    """The JSON object in `body`, without its nulls: a null field and an absent one mean the same.

    Raises:
        BadReply: It is not a JSON object in UTF-8.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.BadReply(
            f"the reply is not JSON ({error}); is base_url the address of a Qianfan server?"
        ) from None
    if not isinstance(document, dict):
        raise errors.BadReply(
            "the reply is JSON but not an object; is base_url the address of a Qianfan server?"
        )
    return cast("JSON", _without_nulls(cast("JSON", document)))


def checked(reply: Reply) -> JSON:
    """The JSON object of a reply that is no failure.

    Raises:
        RefusedError: The class that the server raised.
        BadReply: It is not what the API promises.
    """
    if 300 <= reply.status < 400:
        target = reply.headers.get("location", "elsewhere")
        raise errors.BadReply(
            f"the server redirects to {target}; set base_url to the final address"
        )
    try:
        document = decode(reply.body)
    except errors.BadReply:
        if reply.status < 400:
            raise
        raise _by_status(reply) from None
    failure = failure_of(document, status=reply.status, headers=reply.headers)
    if failure is not None:
        raise failure
    if reply.status >= 400:
        raise _by_status(reply)
    return document


def failure_of(
    document: JSON, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> errors.RefusedError | None:
    """The error that a decoded reply or stream event stands for; None if it is no error."""
    headers = headers or {}
    request_id = headers.get("x-baidu-request-id") or headers.get("x-bce-request-id")
    error = (
        _v1_error(document, status, request_id)
        or _v2_error(document, status, request_id)
        or (_action_error(document, status, request_id, headers) if status >= 400 else None)
    )
    if error is not None:
        error.status = status
        error.request_id = error.request_id or request_id
        error.retry_after_seconds = retry_after_seconds(headers, now=datetime.now(UTC))
    return error


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """The wait that a Retry-After header asks for, given in seconds or as a date; None without a usable one."""
    text = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    # Slow to import, and dates are rare here.
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, (moment.astimezone(UTC) - now).total_seconds())


def _v1_error(document: JSON, status: int, request_id: str | None) -> errors.RefusedError | None:
    code = document.get("error_code")
    if not isinstance(code, int) or code == 0:
        return None
    body = v1_errors.ErrorBody(
        code, str(document.get("error_msg", "")), str(document.get("id", ""))
    )
    return v1_errors.from_body(body, status=status, request_id=request_id)


def _v2_error(document: JSON, status: int, request_id: str | None) -> errors.RefusedError | None:
    detail = document.get("error")
    if isinstance(detail, str):
        return _oauth_error(detail, str(document.get("error_description", detail)))
    if not isinstance(detail, dict):
        return None
    detail = cast("JSON", detail)
    code, text = str(detail.get("code", "")), str(detail.get("message", ""))
    return _of_code(code, text, str(document.get("id", "")), status, request_id)


def _oauth_error(word: str, text: str) -> errors.RefusedError:
    error = errors.BadClientCredentials(text, oauth_error=word)
    error.code = word
    return error


def _action_error(
    document: JSON, status: int, request_id: str | None, headers: Mapping[str, str]
) -> errors.RefusedError | None:
    code = str(document.get("code") or headers.get("x-bce-error-code", ""))
    text = str(document.get("message") or headers.get("x-bce-error-message", ""))
    if not code:
        return None
    if code in _SIGNATURE_REASONS:
        error = errors.SignatureInvalid(text or code, reason=code)
        error.code = code
        return error
    request_id = request_id or str(document.get("requestId", ""))
    if code in _ACTION_CODES:
        return _ACTION_CODES[code](text or code, code=code, request_id=request_id)
    return _of_code(code, text, request_id, status, request_id)


def _of_code(
    code: str, text: str, own_id: str, status: int, request_id: str | None
) -> errors.RefusedError:
    body = v2_errors.ErrorBody(v2_errors.ErrorDetail(code, text or code), own_id)
    return v2_errors.from_body(body, status=status, request_id=request_id)


def _by_status(reply: Reply) -> errors.RefusedError:
    """For a failure without a body that we know, such as a proxy's page."""
    excerpt = reply.body[:200].decode("utf-8", "replace").strip()
    error = _of_code(
        "",
        f"HTTP {reply.status} without an error of Qianfan's; it begins: {excerpt!r}",
        "",
        reply.status,
        None,
    )
    error.code = None
    error.request_id = reply.headers.get("x-baidu-request-id")
    error.retry_after_seconds = retry_after_seconds(reply.headers, now=datetime.now(UTC))
    return error


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        items = cast("JSON", value).items()
        return {key: _without_nulls(item) for key, item in items if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in cast("list[object]", value)]
    return value


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None
