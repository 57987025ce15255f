"""v2's error table: one row per class of `yangfan.errors`, read by the server to encode and by the SDK to decode.

Source: specification C.6 (https://cloud.baidu.com/doc/qianfan-api/s/Om9b4yj3w). The HTTP status is the real one.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from yangfan import errors


class Row(NamedTuple):
    """One code with its status and type, the class that it means, and the documented text (empty: ours alone)."""

    status: int
    code: str
    type: str
    kind: type[errors.RefusedError]
    text: str = ""


_BAD = "invalid_request_error"
_DENIED = "access_denied"
_RATE = "rate_limit_exceeded"
_INTERNAL = "Internal_error"
_UNSAFE = "unsafe_request"

TABLE: tuple[Row, ...] = (
    Row(400, "malformed_json", _BAD, errors.MalformedJSON, "Invalid Argument"),
    Row(400, "invalid_argument", _BAD, errors.Invalid),
    Row(400, "invalid_argument", _BAD, errors.MalformedArgument),
    Row(400, "invalid_argument", _BAD, errors.InvalidUserSetting),
    Row(400, "invalid_argument", _BAD, errors.Conflict),
    Row(400, "invalid_argument", _BAD, errors.BadSample),
    Row(400, "invalid_argument", _BAD, errors.NotFound),
    Row(400, "invalid_messages", _BAD, errors.InvalidMessages),
    Row(400, "invalid_messages", _BAD, errors.InvalidSystem),
    Row(400, "characters_too_long", _BAD, errors.TooManyCharacters),
    Row(400, "tokens_too_long", _BAD, errors.ContextTooLong, "Prompt tokens too long"),
    Row(400, "invalid_image_genration_prompt", _BAD, errors.InvalidImagePrompt),
    Row(400, "invalid_image_genration_refer_image", _BAD, errors.InvalidReferenceImage),
    Row(400, "invalid_image_url", _BAD, errors.InvalidImage),
    Row(400, "invalid_image_url", _BAD, errors.ImageUnreadable, "image decode failed"),
    Row(400, "invalid_plugin_argument", _BAD, errors.InvalidPluginArgument),
    Row(400, "image_url_unsafe", _UNSAFE, errors.ImageRefused),
    Row(400, "invalid_model", _BAD, errors.MalformedArgument, "model is empty"),
    Row(413, "characters_too_long", _BAD, errors.BodyTooLarge),
    Row(431, "invalid_argument", _BAD, errors.HeadersTooLarge),
    Row(
        401,
        "invalid_model",
        _BAD,
        errors.ModelNotFound,
        "The model does not exist or you do not have access to it.",
    ),
    Row(401, "invalid_model", _BAD, errors.ModelForbidden, "No permission to use the model"),
    Row(401, "invalid_appid", _BAD, errors.AppForbidden, "No permission to use the appid"),
    Row(401, "invalid_iam_token", _BAD, errors.BearerInvalid, "IAM Certification failed"),
    Row(401, "invalid_iam_token", _BAD, errors.Unauthenticated, "IAM Certification failed"),
    Row(401, "no_parameter_permission", _DENIED, errors.Forbidden),
    Row(403, "system_unsafe", _UNSAFE, errors.ContentRefused),
    Row(403, "user_setting_unsafe", _UNSAFE, errors.UserSettingRefused),
    Row(403, "functions_unsafe", _UNSAFE, errors.FunctionsRefused),
    Row(
        403,
        "account_overdue",
        _DENIED,
        errors.QuotaExceeded,
        "Access denied due to overdue account",
    ),
    Row(403, "model_offline", _DENIED, errors.ModelOffline, "The model is offline"),
    Row(404, "path_not_found", _BAD, errors.EndpointNotFound),
    Row(405, "method_not_supported", _BAD, errors.MethodNotAllowed),
    Row(
        429,
        "rpm_rate_limit_exceeded",
        _RATE,
        errors.RequestRateLimited,
        "Rate limit reached for RPM",
    ),
    Row(
        429, "tpm_rate_limit_exceeded", _RATE, errors.TokenRateLimited, "Rate limit reached for TPM"
    ),
    Row(429, "input_tpm_rate_limit_exceeded", _RATE, errors.TokenRateLimited),
    Row(429, "output_tpm_rate_limit_exceeded", _RATE, errors.TokenRateLimited),
    Row(
        429,
        "user_rate_limit_exceeded",
        _RATE,
        errors.RateLimited,
        "qps request limit by APP ID reached",
    ),
    Row(429, "Offline_batch_reasoning_refused", _RATE, errors.OfflineLimited),
    Row(429, "preemptible_rate_limit_exceeded", _RATE, errors.PreemptibleLimited),
    Row(
        429,
        "cluster_rate_limit_exceeded",
        _RATE,
        errors.Overloaded,
        "request limit by resouce cluster reached",
    ),
    Row(429, "cluster_rpm_rate_limit_exceeded", _RATE, errors.RequestRateLimited),
    Row(429, "cluster_tpm_rate_limit_exceeded", _RATE, errors.TokenRateLimited),
    Row(500, "internal_error", _INTERNAL, errors.InternalError, "Internal error"),
    Row(500, "dispatch_internal_error", _INTERNAL, errors.EngineFailed, "Internal error"),
    Row(500, "dispatch_internal_error", _INTERNAL, errors.PluginFailed, "Plugin call failed"),
    Row(500, "dispatch_internal_error", _INTERNAL, errors.UpstreamFailed, "Upstream error"),
    Row(500, "image_generation_interal_error", _INTERNAL, errors.ImageFailed),
)

RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Statuses on which OpenAI's client retries; ours does the same."""


class ErrorDetail(msgspec.Struct):
    """What went wrong; `type` groups the codes."""

    code: str
    message: str
    type: str = ""


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """A v2 failure."""

    error: ErrorDetail
    id: str = ""


def row_of(kind: type[errors.RefusedError]) -> Row:
    """The row that the server sends for an error class or its nearest listed ancestor."""
    for ancestor in kind.__mro__:
        for row in TABLE:
            if row.kind is ancestor:
                return row
    return next(row for row in TABLE if row.kind is errors.InternalError)


def to_body(error: errors.RefusedError, request_id: str) -> tuple[int, ErrorBody]:
    """Encode: status and body, the documented text first, then ours."""
    row = row_of(type(error))
    if isinstance(error, errors.MalformedArgument):
        param = error.param or ""
        if param == "model":
            row = next(row for row in TABLE if row.code == "invalid_model" and row.status == 400)
        elif param.startswith("messages"):
            row = row_of(errors.InvalidMessages)
    if row.text and error.message and not error.message.startswith(row.text):
        text = f"{row.text}{'' if row.text.endswith('.') else ':'} {error.message}"
    else:
        text = error.message or row.text
    return row.status, ErrorBody(ErrorDetail(row.code, text, row.type), request_id)


def from_body(body: ErrorBody, *, status: int, request_id: str | None) -> errors.RefusedError:
    """Decode: the class that the server raised, or a class by status for a code that the table lacks.

    Where a code stands for several classes, the documented text decides, then the first row.
    """
    rows = [row for row in TABLE if row.code == body.error.code and row.status == status]
    told = [row for row in rows if row.text and body.error.message.startswith(row.text)]
    kind = next((row.kind for row in told or rows), None)
    if kind is None:
        kind = next((row.kind for row in TABLE if row.code == body.error.code), None)
    if kind is None:
        kind = _BY_STATUS.get(status, errors.InternalError if status >= 500 else errors.Invalid)
    error = kind(body.error.message)
    error.code, error.status, error.request_id = body.error.code, status, request_id or body.id
    return error


_BY_STATUS: dict[int, type[errors.RefusedError]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    409: errors.Conflict,
    429: errors.RateLimited,
    503: errors.Overloaded,
}
