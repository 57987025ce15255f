"""v2's table of errors: the SDK raises the class that the server raised (specification C.6)."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from yangfan import errors
from yangfan.protocol.v2 import errors as table

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.RefusedError) and kind is not errors.RefusedError
]

DOCUMENTED = {
    (400, "malformed_json"), (400, "invalid_model"), (400, "invalid_messages"), (400, "characters_too_long"),
    (400, "tokens_too_long"), (400, "invalid_argument"), (400, "invalid_image_genration_prompt"),
    (400, "invalid_image_genration_refer_image"), (400, "invalid_image_url"), (400, "invalid_plugin_argument"),
    (400, "image_url_unsafe"), (401, "no_parameter_permission"), (401, "invalid_model"), (401, "invalid_appid"),
    (401, "invalid_iam_token"), (403, "system_unsafe"), (403, "user_setting_unsafe"), (403, "functions_unsafe"),
    (403, "account_overdue"), (403, "model_offline"), (405, "method_not_supported"),
    (429, "rpm_rate_limit_exceeded"), (429, "tpm_rate_limit_exceeded"), (429, "input_tpm_rate_limit_exceeded"),
    (429, "output_tpm_rate_limit_exceeded"), (429, "Offline_batch_reasoning_refused"),
    (429, "preemptible_rate_limit_exceeded"), (429, "user_rate_limit_exceeded"),
    (429, "cluster_rate_limit_exceeded"), (429, "cluster_rpm_rate_limit_exceeded"),
    (429, "cluster_tpm_rate_limit_exceeded"), (500, "internal_error"), (500, "dispatch_internal_error"),
    (500, "image_generation_interal_error"),
}  # fmt: skip

MERGED: dict[type[errors.RefusedError], type[errors.RefusedError]] = {
    errors.BadSample: errors.Invalid,
    errors.TooManyTasks: errors.Invalid,
    errors.MalformedArgument: errors.Invalid,
    errors.InvalidUserSetting: errors.Invalid,
    errors.Conflict: errors.Invalid,
    errors.NotFound: errors.Invalid,
    errors.InvalidSystem: errors.InvalidMessages,
    errors.BadClientCredentials: errors.BearerInvalid,
    errors.SignatureInvalid: errors.BearerInvalid,
    errors.TokenInvalid: errors.BearerInvalid,
    errors.TokenExpired: errors.BearerInvalid,
    errors.Unauthenticated: errors.BearerInvalid,
    errors.RateLimited: errors.RateLimited,
    errors.TotalQuotaExceeded: errors.QuotaExceeded,
}
"""Classes that share a code with another: what they arrive as."""


def sent_and_read(error: errors.RefusedError) -> errors.RefusedError:
    status, body = table.to_body(error, "as-0123456789")
    raw = msgspec.json.encode(body)
    assert b"\n" not in raw
    return table.from_body(
        msgspec.json.decode(raw, type=table.ErrorBody), status=status, request_id=None
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_survives_the_way_to_the_caller(kind: type[errors.RefusedError]):
    arrived = sent_and_read(kind("what\nhappened"))
    assert type(arrived) in {kind, MERGED.get(kind)}
    assert "what\nhappened" in arrived.message
    assert isinstance(arrived.code, str)
    assert arrived.status is not None
    assert 400 <= arrived.status < 600


@pytest.mark.parametrize("kind", list(MERGED))
def test_only_classes_with_a_shared_code_change(kind: type[errors.RefusedError]):
    first, second = table.row_of(kind), table.row_of(MERGED[kind])
    assert (first.status, first.code) == (second.status, second.code)


def test_every_documented_code_is_in_the_table_with_its_status():
    assert {(row.status, row.code) for row in table.TABLE} >= DOCUMENTED


def test_one_code_with_two_statuses_is_two_classes():
    empty = sent_and_read(errors.MalformedArgument("model is empty", param="model"))
    unknown = sent_and_read(errors.ModelNotFound("there are: echo"))
    assert (empty.code, empty.status, type(empty)) == (
        "invalid_model",
        400,
        errors.MalformedArgument,
    )
    assert (unknown.code, unknown.status, type(unknown)) == (
        "invalid_model",
        401,
        errors.ModelNotFound,
    )


def test_malformed_messages_have_a_code_of_their_own():
    _, body = table.to_body(errors.MalformedArgument("must be a list", param="messages"), "")
    assert body.error.code == "invalid_messages"


def test_a_class_without_a_row_is_sent_as_an_internal_error():
    assert table.row_of(errors.RefusedError).kind is errors.InternalError


def test_the_documented_text_stands_once_in_front_of_ours():
    _, body = table.to_body(errors.ContextTooLong("600 tokens, 512 fit"), "")
    assert body.error.message == "Prompt tokens too long: 600 tokens, 512 fit"
    _, body = table.to_body(errors.ContextTooLong(body.error.message), "")
    assert body.error.message == "Prompt tokens too long: 600 tokens, 512 fit"


def test_a_known_code_with_another_status_keeps_its_class():
    body = table.ErrorBody(table.ErrorDetail("tokens_too_long", "m"))
    assert type(table.from_body(body, status=200, request_id=None)) is errors.ContextTooLong


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Invalid),
        (401, errors.Unauthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.MethodNotAllowed),
        (409, errors.Conflict),
        (418, errors.Invalid),
        (429, errors.RateLimited),
        (500, errors.InternalError),
        (503, errors.Overloaded),
        (504, errors.InternalError),
    ],
)
def test_an_unknown_code_is_told_by_its_status(status: int, kind: type[errors.RefusedError]):
    body = table.ErrorBody(table.ErrorDetail("brand_new", "m"), "as-1")
    error = table.from_body(body, status=status, request_id=None)
    assert type(error) is kind
    assert (error.code, error.status, error.request_id) == ("brand_new", status, "as-1")
