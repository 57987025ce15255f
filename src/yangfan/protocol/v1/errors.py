"""v1's error table: one row per class of `yangfan.errors`, read by the server to encode and by the SDK to decode.

Source: specification B.13 (https://cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh). The HTTP status is always 200.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from yangfan import errors


class Row(NamedTuple):
    """One code: the class that it means, and the documented text that our message begins with (empty: ours alone)."""

    code: int
    kind: type[errors.RefusedError]
    text: str = ""


TABLE: tuple[Row, ...] = (
    Row(1, errors.InternalError, "Unknown error"),
    Row(2, errors.Overloaded, "Service temporarily unavailable"),
    Row(3, errors.ModelNotFound, "Unsupported openapi method"),
    Row(3, errors.EndpointNotFound, "Unsupported openapi method"),
    Row(3, errors.NotFound, "Unsupported openapi method"),
    Row(4, errors.RateLimited, "Open api request limit reached"),
    Row(6, errors.Forbidden, "No permission to access data"),
    Row(6, errors.AppForbidden, "No permission to access data"),
    Row(6, errors.ModelForbidden, "No permission to access data"),
    Row(6, errors.ModelOffline, "No permission to access data"),
    Row(13, errors.InternalError, "Get service token failed"),
    Row(14, errors.SignatureInvalid, "IAM Certification failed"),
    Row(14, errors.BearerInvalid, "IAM Certification failed"),
    Row(15, errors.Overloaded, "app not exists or create failed"),
    Row(17, errors.QuotaExceeded, "Open api daily request limit reached"),
    Row(18, errors.RateLimited, "Open api qps request limit reached"),
    Row(19, errors.TotalQuotaExceeded, "Open api total request limit reached"),
    Row(100, errors.Unauthenticated, "Invalid parameter"),
    Row(110, errors.TokenInvalid, "Access token invalid or no longer valid"),
    Row(111, errors.TokenExpired, "Access token expired"),
    Row(336000, errors.InternalError, "Internal error"),
    Row(336001, errors.MalformedArgument, "Invalid Argument"),
    Row(336002, errors.MalformedJSON, "Invalid JSON"),
    Row(336003, errors.Invalid),
    Row(336003, errors.Conflict),
    Row(336003, errors.BadSample),
    Row(336003, errors.InvalidImage),
    Row(336004, errors.BodyTooLarge, "Invalid input size"),
    Row(336004, errors.HeadersTooLarge, "Invalid input size"),
    Row(336005, errors.ImageUnreadable, "image decode failed"),
    Row(336006, errors.InvalidMessages),
    Row(336007, errors.TooManyCharacters),
    Row(336100, errors.EngineFailed, "Try again"),
    Row(336100, errors.Overloaded, "Try again"),
    Row(336101, errors.MethodNotAllowed, "Invalid HTTP method"),
    Row(336103, errors.ContextTooLong, "Prompt tokens too long"),
    Row(336104, errors.InvalidSystem, "Invalid Argument, system"),
    Row(336105, errors.InvalidUserSetting, "Invalid Argument, user_setting"),
    Row(336117, errors.Overloaded, "Service overloaded"),
    Row(336200, errors.ImageFailed, "image generation failed"),
    Row(336201, errors.Invalid, "image generation failed"),
    Row(336202, errors.Invalid, "image generation failed"),
    Row(336203, errors.Invalid, "image generation failed"),
    Row(336204, errors.Invalid, "image generation failed"),
    Row(336205, errors.Invalid, "image generation failed"),
    Row(336303, errors.PluginFailed, "plugin call failed"),
    Row(336501, errors.RequestRateLimited, "Rate limit reached for RPM"),
    Row(336502, errors.TokenRateLimited, "Rate limit reached for TPM"),
    Row(336503, errors.PreemptibleLimited, "rate limit reached for preemptible resource"),
    Row(500000, errors.InternalError, "Internal error"),
)

PREFERRED: dict[type[errors.RefusedError], int] = {
    errors.InternalError: 336000,
    errors.Overloaded: 336100,
    errors.EngineFailed: 336100,
    errors.RateLimited: 18,
    errors.QuotaExceeded: 17,
}
"""Where several codes mean one class: the one that the server sends."""

RETRYABLE = frozenset({2, 15, 18, 336100, 336501, 336502})
"""Codes on which the official SDK retries inference calls by default (specification B.13)."""

GATEWAY_BELOW = 336000
"""Codes below this one come from the gateway and carry no `id`."""


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """A v1 failure. Python clients parse its first line only, so it must stay one line. Management calls name it by `log_id`."""

    error_code: int
    error_msg: str
    id: str = ""
    log_id: str = ""


def row_of(kind: type[errors.RefusedError]) -> Row:
    """The row that the server sends for an error class or its nearest listed ancestor."""
    for ancestor in kind.__mro__:
        preferred = PREFERRED.get(ancestor)
        for row in TABLE:
            if row.kind is ancestor and (preferred is None or row.code == preferred):
                return row
    return Row(336000, errors.InternalError, "Internal error")


def _kind_of(error: errors.RefusedError) -> type[errors.RefusedError]:
    """The class that decides the code: wrong types in some fields have codes of their own."""
    param = error.param or ""
    if isinstance(error, errors.MalformedArgument):
        if param == "system":
            return errors.InvalidSystem
        if param == "user_setting":
            return errors.InvalidUserSetting
        if param.startswith("messages["):
            return errors.InvalidMessages
    return type(error)


def to_body(error: errors.RefusedError, request_id: str) -> ErrorBody:
    """Encode: the documented text first, then ours."""
    row = row_of(_kind_of(error))
    if row.text and error.message and not error.message.startswith(row.text):
        text = f"{row.text}: {error.message}"
    else:
        text = error.message or row.text
    return ErrorBody(row.code, text, request_id if row.code >= GATEWAY_BELOW else "")


def from_body(body: ErrorBody, *, status: int, request_id: str | None) -> errors.RefusedError:
    """Decode: the class that the server raised, or InternalError for a code that the table lacks.

    Where a code stands for several classes, the documented text decides, then the first row.
    """
    rows = [row for row in TABLE if row.code == body.error_code]
    told = [row for row in rows if row.text and body.error_msg.startswith(row.text)]
    kind = next((row.kind for row in told or rows), errors.InternalError)
    error = kind(body.error_msg)
    error.code, error.status, error.request_id = body.error_code, status, request_id or body.id
    return error
