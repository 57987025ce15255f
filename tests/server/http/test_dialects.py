"""How each dialect says no (specification A.1, A.3, B.13, C.6, C.7)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from yangfan import errors
from yangfan.protocol.endpoint import Dialect
from yangfan.server.http.dialects import ENCODERS
from yangfan.server.http.routing import WrongMethod


def refusal(dialect: Dialect, error: errors.RefusedError) -> tuple[int, Any, dict[str, str]]:
    status, body, headers = ENCODERS[dialect](error, "as-0123456789")
    found = {name.decode(): value.decode() for name, value in headers}
    return status, msgspec.to_builtins(body), found


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.MalformedJSON("why"), 336002, "Invalid JSON: why"),
        (errors.MalformedArgument("why"), 336001, "Invalid Argument: why"),
        (errors.Invalid("why"), 336003, "why"),
        (errors.InvalidMessages("why"), 336006, "why"),
        (
            errors.TooManyCharacters("the max input characters is 5"),
            336007,
            "the max input characters is 5",
        ),
        (errors.ContextTooLong("9"), 336103, "Prompt tokens too long: 9"),
        (errors.BodyTooLarge("why"), 336004, "Invalid input size: why"),
        (errors.MethodNotAllowed("why"), 336101, "Invalid HTTP method: why"),
        (errors.Overloaded("why"), 336100, "Try again: why"),
        (errors.EngineFailed("why"), 336100, "Try again: why"),
        (errors.InternalError("why"), 336000, "Internal error: why"),
        (errors.RequestRateLimited("why"), 336501, "Rate limit reached for RPM: why"),
        (errors.TokenRateLimited("why"), 336502, "Rate limit reached for TPM: why"),
    ],
)
def test_v1_model_errors_have_status_200_and_an_id(
    error: errors.RefusedError, code: int, text: str
):
    assert refusal("v1", error) == (
        200,
        {"error_code": code, "error_msg": text, "id": "as-0123456789"},
        {},
    )


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            errors.TokenInvalid("Access token invalid or no longer valid"),
            110,
            "Access token invalid or no longer valid",
        ),
        (errors.TokenExpired("Access token expired"), 111, "Access token expired"),
        (errors.SignatureInvalid("why"), 14, "IAM Certification failed: why"),
        (errors.BearerInvalid("why"), 14, "IAM Certification failed: why"),
        (errors.AppForbidden("why"), 6, "No permission to access data: why"),
        (errors.EndpointNotFound("why"), 3, "Unsupported openapi method: why"),
        (errors.ModelNotFound("why"), 3, "Unsupported openapi method: why"),
        (errors.QuotaExceeded("why"), 17, "Open api daily request limit reached: why"),
        (errors.RateLimited("why"), 18, "Open api qps request limit reached: why"),
    ],
)
def test_v1_gateway_errors_have_no_id(error: errors.RefusedError, code: int, text: str):
    assert refusal("v1", error) == (200, {"error_code": code, "error_msg": text}, {})


@pytest.mark.parametrize(
    ("error", "status", "code", "kind"),
    [
        (errors.MalformedJSON("why"), 400, "malformed_json", "invalid_request_error"),
        (errors.Invalid("why"), 400, "invalid_argument", "invalid_request_error"),
        (errors.InvalidMessages("why"), 400, "invalid_messages", "invalid_request_error"),
        (errors.TooManyCharacters("why"), 400, "characters_too_long", "invalid_request_error"),
        (errors.ContextTooLong("why"), 400, "tokens_too_long", "invalid_request_error"),
        (errors.BodyTooLarge("why"), 413, "characters_too_long", "invalid_request_error"),
        (errors.ModelNotFound("why"), 401, "invalid_model", "invalid_request_error"),
        (errors.BearerInvalid("why"), 401, "invalid_iam_token", "invalid_request_error"),
        (errors.TokenExpired("why"), 401, "invalid_iam_token", "invalid_request_error"),
        (errors.AppForbidden("why"), 401, "invalid_appid", "invalid_request_error"),
        (errors.EndpointNotFound("why"), 404, "path_not_found", "invalid_request_error"),
        (errors.RequestRateLimited("why"), 429, "rpm_rate_limit_exceeded", "rate_limit_exceeded"),
        (errors.Overloaded("why"), 429, "cluster_rate_limit_exceeded", "rate_limit_exceeded"),
        (errors.EngineFailed("why"), 500, "dispatch_internal_error", "Internal_error"),
        (errors.InternalError("why"), 500, "internal_error", "Internal_error"),
    ],
)
def test_v2_has_the_real_status(error: errors.RefusedError, status: int, code: str, kind: str):
    found, body, _ = refusal("v2", error)
    assert (found, body["error"]["code"], body["error"]["type"]) == (status, code, kind)
    assert body["error"]["message"].endswith("why")
    assert body["id"] == "as-0123456789"


@pytest.mark.parametrize("dialect", ["v2", "oauth", "action"])
@pytest.mark.parametrize(("seconds", "shown"), [(0.2, "1"), (1, "1"), (4.6, "5")])
def test_waiting_time_is_told_in_whole_seconds(dialect: Dialect, seconds: float, shown: str):
    error = errors.Overloaded("busy", retry_after_seconds=seconds)
    assert refusal(dialect, error)[2]["Retry-After"] == shown


@pytest.mark.parametrize("dialect", ["v2", "oauth", "action", "iam"])
def test_wrong_method_lists_the_allowed_ones(dialect: Dialect):
    status, _, headers = refusal(dialect, WrongMethod("PUT", ["GET", "POST"]))
    assert (status, headers["Allow"]) == (405, "GET, POST")


def test_oauth_errors_have_both_fields_and_the_exact_texts():
    unknown = errors.BadClientCredentials("unknown client id")
    assert refusal("oauth", unknown) == (
        401,
        {"error": "invalid_client", "error_description": "unknown client id"},
        {},
    )
    grant = errors.BadClientCredentials("no", oauth_error="unsupported_grant_type")
    assert refusal("oauth", grant)[:2] == (
        400,
        {"error": "unsupported_grant_type", "error_description": "no"},
    )
    assert refusal("oauth", errors.InternalError("x"))[1]["error"] == "server_error"
    assert refusal("oauth", errors.MalformedJSON("x"))[1]["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("reason", "status", "header"),
    [
        ("InvalidAccessKeyId", 403, "NotFound, cause: Could not find credential."),
        (
            "SignatureDoesNotMatch",
            403,
            "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",
        ),
        ("RequestExpired", 400, "why"),
        ("InvalidAuthorization", 400, "why"),
        ("MissingAuthenticationHeader", 403, "why"),
    ],
)
def test_iam_errors_carry_the_texts_that_the_python_sdk_compares(
    reason: str, status: int, header: str
):
    for dialect in ("iam", "action"):
        found, body, headers = refusal(dialect, errors.SignatureInvalid("why", reason=reason))
        assert (found, body) == (
            status,
            {"requestId": "as-0123456789", "code": reason, "message": "why"},
        )
        assert headers == {
            "X-Bce-Error-Code": reason,
            "X-Bce-Error-Message": header,
            "X-Bce-Request-Id": "as-0123456789",
        }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.MalformedJSON("x"), 336002),
        (errors.Invalid("x"), 336003),
        (errors.Conflict("x"), 336003),
        (errors.NotFound("x"), 3),
        (errors.RateLimited("x"), 18),
        (errors.InternalError("x"), 336000),
    ],
)
def test_data_errors_have_status_200_and_say_that_they_failed(
    error: errors.RefusedError, code: int
):
    status, body, headers = refusal("data", error)
    message = body.pop("message")
    assert status == 200
    assert body == {"log_id": "as-0123456789", "code": code, "status": 400, "success": False}
    assert message["global"].endswith("x")
    assert headers == {}
    assert refusal("data", errors.SignatureInvalid("why"))[0] == 403


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.MalformedJSON("x"), 400, "MalformedJSON"),
        (errors.NotFound("x"), 404, "ResourceNotFound"),
        (errors.Forbidden("x"), 403, "AccessDenied"),
        (errors.BearerInvalid("x"), 403, "AccessDenied"),
        (errors.Conflict("x"), 409, "OperationNotAllowed"),
        (errors.RateLimited("x"), 429, "RequestLimitExceeded"),
        (errors.QuotaExceeded("x"), 403, "QuotaExceeded"),
        (errors.Overloaded("x"), 503, "ServiceUnavailable"),
        (errors.InternalError("x"), 500, "InternalError"),
    ],
)
def test_action_errors_have_bce_codes(error: errors.RefusedError, status: int, code: str):
    found, body, headers = refusal("action", error)
    assert (found, body["code"], headers["X-Bce-Error-Code"]) == (status, code, code)


def test_inappropriate_json_has_the_official_sentence():
    _, body, _ = refusal("action", errors.Invalid("must be >= 1", param="splitRatio"))
    assert body["message"].startswith(
        "The JSON you provided was well-formed and valid, but not appropriate for this operation. param[splitRatio] invalid."
    )


def test_text_in_a_header_stays_ascii_and_on_one_line():
    _, body, headers = refusal("action", errors.NotFound("没有\r\nX-Evil: 1"))
    assert body["message"] == "没有\r\nX-Evil: 1"
    assert headers["X-Bce-Error-Message"].isascii()
    assert "\n" not in headers["X-Bce-Error-Message"]
    assert "\r" not in headers["X-Bce-Error-Message"]
