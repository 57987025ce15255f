"""How each dialect says no: one function per dialect from an error to status, headers and body."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from yangfan import errors
from yangfan.protocol.v1 import envelope
from yangfan.protocol.v1 import errors as v1_errors
from yangfan.protocol.v1.oauth import TokenError
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.protocol.v2.keys import ActionError
from yangfan.server.http.routing import WrongMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from yangfan.protocol.endpoint import Dialect

Header = tuple[bytes, bytes]


class Refusal(NamedTuple):
    """An error on the wire."""

    status: int
    body: msgspec.Struct
    headers: tuple[Header, ...] = ()


def _v1(error: errors.RefusedError, answer_id: str) -> Refusal:
    return Refusal(200, v1_errors.to_body(error, answer_id), _hints(error))


def _data(error: errors.RefusedError, answer_id: str) -> Refusal:
    """Always 200, but for a signature that is wrong (specification D)."""
    if isinstance(error, errors.SignatureInvalid):
        return _action(error, answer_id)
    return Refusal(200, envelope.failure(v1_errors.to_body(error, ""), answer_id), _hints(error))


def _v2(error: errors.RefusedError, answer_id: str) -> Refusal:
    status, body = v2_errors.to_body(error, answer_id)
    return Refusal(status, body, _hints(error))


def _oauth(error: errors.RefusedError, answer_id: str) -> Refusal:
    del answer_id
    if isinstance(error, errors.BadClientCredentials):
        status = 401 if error.oauth_error == "invalid_client" else 400
        return Refusal(status, TokenError(error.oauth_error, error.message))
    status, _ = v2_errors.to_body(error, "")
    word = "server_error" if status >= 500 else "invalid_request"
    return Refusal(status, TokenError(word, error.message), _hints(error))


_ACTION_CODES: tuple[tuple[type[errors.RefusedError], int, str], ...] = (
    (errors.MalformedJSON, 400, "MalformedJSON"),
    (errors.Invalid, 400, "InappropriateJSON"),
    (errors.Unauthenticated, 403, "AccessDenied"),
    (errors.Forbidden, 403, "AccessDenied"),
    (errors.NotFound, 404, "ResourceNotFound"),
    (errors.MethodNotAllowed, 405, "MethodNotAllowed"),
    (errors.TooManyTasks, 400, "TaskRunningNumberExceedLimit"),
    (errors.Conflict, 409, "OperationNotAllowed"),
    (errors.RateLimited, 429, "RequestLimitExceeded"),
    (errors.QuotaExceeded, 403, "QuotaExceeded"),
    (errors.Overloaded, 503, "ServiceUnavailable"),
)

_IAM_MESSAGES = {
    "InvalidAccessKeyId": "NotFound, cause: Could not find credential.",
    "SignatureDoesNotMatch": "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",
}
"""Texts that the official Python SDK compares with exactly (specification A.3)."""


def _action(error: errors.RefusedError, answer_id: str) -> Refusal:
    status, code, message = 500, "InternalError", error.message
    for kind, its_status, its_code in _ACTION_CODES:
        if isinstance(error, kind):
            status, code = its_status, its_code
            break
    header_message = message
    if isinstance(error, errors.SignatureInvalid):
        code = error.reason
        header_message = _IAM_MESSAGES.get(code, message)
        status = 400 if code in {"RequestExpired", "InvalidAuthorization"} else 403
    if code == "InappropriateJSON":
        message = (
            "The JSON you provided was well-formed and valid, but not appropriate for this operation."
            f" param[{error.param or ''}] invalid. {message}"
        )
    headers = (
        (b"X-Bce-Error-Code", code.encode()),
        (
            b"X-Bce-Error-Message",
            " ".join(header_message.split()).encode("ascii", "backslashreplace"),
        ),
        (b"X-Bce-Request-Id", answer_id.encode()),
        *_hints(error),
    )
    return Refusal(status, ActionError(answer_id, code, message), headers)


def _hints(error: errors.RefusedError) -> tuple[Header, ...]:
    """HTTP's own headers that say what would work: when, or with which method."""
    if isinstance(error, WrongMethod):
        return ((b"Allow", ", ".join(error.allowed).encode()),)
    if error.retry_after_seconds is not None:
        return ((b"Retry-After", str(max(1, math.ceil(error.retry_after_seconds))).encode()),)
    return ()


ENCODERS: dict[Dialect, Callable[[errors.RefusedError, str], Refusal]] = {
    "v1": _v1,
    "data": _data,
    "v2": _v2,
    "oauth": _oauth,
    "iam": _action,
    "action": _action,
}
"""The second argument is the answer's id (`as-…`), or the request's where the dialect shows that."""
