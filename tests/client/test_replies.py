"""Errors of any dialect, told apart by their shape (specification A.1, A.3, B.13, C.6, C.7)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from yangfan import errors
from yangfan.client.exchange import Reply
from yangfan.client.replies import checked, failure_of, retry_after_seconds

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def refusal(document: object, status: int, **headers: str) -> errors.RefusedError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(errors.RefusedError) as caught:
        checked(Reply(status, named, json.dumps(document).encode()))
    return caught.value


def test_a_good_reply_is_returned_without_its_nulls():
    body = b'{"a": null, "b": [{"c": null, "d": [null, 1]}], "error": null, "error_code": 0}'
    assert checked(Reply(200, {}, body)) == {"b": [{"d": [None, 1]}], "error_code": 0}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InappropriateJSON", errors.Invalid),
        (400, "MalformedJSON", errors.MalformedJSON),
        (403, "AccessDenied", errors.Forbidden),
        (403, "QuotaExceeded", errors.QuotaExceeded),
        (404, "ResourceNotFound", errors.NotFound),
        (409, "OperationNotAllowed", errors.Conflict),
        (429, "RequestLimitExceeded", errors.RateLimited),
        (503, "ServiceUnavailable", errors.Overloaded),
        (500, "InternalError", errors.InternalError),
    ],
)
def test_errors_of_actions_have_their_class(
    status: int, code: str, kind: type[errors.RefusedError]
):
    error = refusal({"requestId": "r-1", "code": code, "message": "what"}, status)
    assert type(error) is kind
    assert (error.code, error.message, error.status, error.request_id) == (
        code,
        "what",
        status,
        "r-1",
    )


@pytest.mark.parametrize(
    "reason", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestExpired"]
)
def test_refused_signatures_keep_their_reason(reason: str):
    error = refusal({"requestId": "r-1", "code": reason, "message": "what"}, 403)
    assert isinstance(error, errors.SignatureInvalid)
    assert (error.reason, error.status) == (reason, 403)


def test_refused_signatures_are_known_by_headers_alone():
    error = refusal(
        {},
        403,
        x_bce_error_code="SignatureDoesNotMatch",
        x_bce_error_message="no",
        x_bce_request_id="r-1",
    )
    assert isinstance(error, errors.SignatureInvalid)
    assert (error.message, error.request_id) == ("no", "r-1")


def test_oauth_errors_keep_their_word():
    error = refusal({"error": "invalid_client", "error_description": "unknown client id"}, 401)
    assert isinstance(error, errors.BadClientCredentials)
    assert (error.oauth_error, error.message) == ("invalid_client", "unknown client id")


def test_a_code_of_null_is_told_by_the_status():
    error = refusal({"error": {"code": None, "message": "slow down", "type": None}}, 429)
    assert type(error) is errors.RateLimited
    assert error.message == "slow down"


def test_a_json_failure_that_says_nothing_is_told_by_the_status():
    error = refusal({"detail": "Not Found"}, 404)
    assert type(error) is errors.NotFound
    assert "HTTP 404" in error.message
    assert "Not Found" in error.message


def test_the_wait_that_the_server_asks_for_is_kept():
    error = refusal(
        {"error": {"code": "rpm_rate_limit_exceeded", "message": "m"}}, 429, retry_after="7"
    )
    assert isinstance(error, errors.RequestRateLimited)
    assert error.retry_after_seconds == 7.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Sun, 22 Nov 2026 08:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 07:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None):
    assert retry_after_seconds({"retry-after": text}, now=NOW) == seconds


def test_what_is_no_error_is_none():
    assert failure_of({"id": "as-1", "code": "x", "message": "y"}) is None
