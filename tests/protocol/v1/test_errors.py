"""v1's table of errors: the SDK raises the class that the server raised (specification B.13)."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from yangfan import errors
from yangfan.protocol.v1 import errors as table

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.RefusedError) and kind is not errors.RefusedError
]

DOCUMENTED = {
    1, 2, 3, 4, 6, 13, 14, 15, 17, 18, 19, 100, 110, 111, 336000, 336001, 336002, 336003, 336004, 336005, 336006,
    336007, 336100, 336101, 336103, 336104, 336105, 336117, *range(336200, 336206), 336303, 336501, 336502, 336503,
    500000,
}  # fmt: skip

MERGED: dict[type[errors.RefusedError], type[errors.RefusedError]] = {
    errors.BadSample: errors.Invalid,
    errors.TooManyTasks: errors.Invalid,
    errors.Overloaded: errors.EngineFailed,
    errors.UpstreamFailed: errors.EngineFailed,
    errors.ContentRefused: errors.Forbidden,
    errors.UserSettingRefused: errors.Forbidden,
    errors.FunctionsRefused: errors.Forbidden,
    errors.ImageRefused: errors.Forbidden,
    errors.EndpointNotFound: errors.ModelNotFound,
    errors.NotFound: errors.ModelNotFound,
    errors.AppForbidden: errors.Forbidden,
    errors.ModelForbidden: errors.Forbidden,
    errors.ModelOffline: errors.Forbidden,
    errors.BearerInvalid: errors.SignatureInvalid,
    errors.HeadersTooLarge: errors.BodyTooLarge,
    errors.Conflict: errors.Invalid,
    errors.InvalidPluginArgument: errors.Invalid,
    errors.InvalidImage: errors.Invalid,
    errors.InvalidImagePrompt: errors.Invalid,
    errors.InvalidReferenceImage: errors.Invalid,
    errors.BadClientCredentials: errors.Unauthenticated,
    errors.OfflineLimited: errors.PreemptibleLimited,
}
"""Classes that share a code with another: what they arrive as. OAuth has errors of its own."""


def sent_and_read(error: errors.RefusedError) -> errors.RefusedError:
    raw = msgspec.json.encode(table.to_body(error, "as-0123456789"))
    assert b"\n" not in raw
    return table.from_body(
        msgspec.json.decode(raw, type=table.ErrorBody), status=200, request_id=None
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_survives_the_way_to_the_caller(kind: type[errors.RefusedError]):
    arrived = sent_and_read(kind("what\nhappened"))
    assert type(arrived) in {kind, MERGED.get(kind)}
    assert "what\nhappened" in arrived.message
    assert (type(arrived.code), arrived.status) == (int, 200)


@pytest.mark.parametrize("kind", list(MERGED))
def test_only_classes_with_a_shared_code_change(kind: type[errors.RefusedError]):
    first, second = table.row_of(kind).code, table.row_of(MERGED[kind]).code
    assert first == second


def test_every_documented_code_is_in_the_table():
    assert {row.code for row in table.TABLE} == DOCUMENTED


def test_a_preferred_row_exists_for_its_class():
    for kind, code in table.PREFERRED.items():
        assert table.row_of(kind).code == code
        assert table.row_of(kind).kind is kind


def test_the_documented_text_stands_once_in_front_of_ours():
    assert (
        table.to_body(errors.MalformedJSON("at byte 3"), "").error_msg == "Invalid JSON: at byte 3"
    )
    assert (
        table.to_body(errors.MalformedJSON("Invalid JSON: at byte 3"), "").error_msg
        == "Invalid JSON: at byte 3"
    )
    assert table.to_body(errors.Invalid("top_p is too large"), "").error_msg == "top_p is too large"


@pytest.mark.parametrize(
    ("param", "code"),
    [("system", 336104), ("user_setting", 336105), ("messages[0].role", 336006), ("stop", 336001)],
)
def test_a_malformed_field_may_have_a_code_of_its_own(param: str, code: int):
    assert (
        table.to_body(errors.MalformedArgument("must be text", param=param), "").error_code == code
    )


def test_the_id_is_left_out_below_336000():
    assert table.to_body(errors.TokenExpired(), "as-1").id == ""
    assert table.to_body(errors.InvalidMessages(), "as-1").id == "as-1"


def test_a_class_without_a_row_is_sent_as_its_nearest_ancestor():
    class Special(errors.ContextTooLong):
        """More special."""

    assert table.row_of(Special).code == 336103
    assert table.row_of(errors.RefusedError).code == 336000


def test_an_unknown_code_is_a_defect_of_the_server():
    error = table.from_body(table.ErrorBody(424242, "new"), status=200, request_id="r-1")
    assert type(error) is errors.InternalError
    assert (error.code, error.message, error.request_id) == (424242, "new", "r-1")


def test_retryable_codes_are_those_of_the_official_sdk():
    assert {2, 15, 18, 336100, 336501, 336502} == table.RETRYABLE
    assert {row.code for row in table.TABLE} >= table.RETRYABLE
