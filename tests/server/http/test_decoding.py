"""Validation errors in words."""

from __future__ import annotations

import gzip
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from yangfan.errors import Invalid, MalformedArgument, MalformedJSON
from yangfan.server.http.decoding import BodyDecoder


class Inner(msgspec.Struct):
    role: str
    size: Annotated[int, Meta(ge=1)] = 1


class Body(msgspec.Struct):
    items: list[Inner] = []
    ratio: Annotated[Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="x")] = None
    words: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=3)]], Meta(max_length=2)
    ] = []
    color: Literal["red", "blue"] = "red"
    flags: dict[str, bool] = {}


class Shape(msgspec.Struct):
    size: Literal["512x512", "64x64"] | Literal["auto"] | None = None
    count: Annotated[Literal[10, 9] | None, Meta(description="x")] = None


class Deep(msgspec.Struct):
    shapes: list[Shape | None] = []
    other: dict[str, Literal["a"]] = {}


DECODER = BodyDecoder(Body)


def test_unknown_and_missing_fields_are_fine():
    assert DECODER.decode(b'{"nothing": 1}') == Body()


@pytest.mark.parametrize(
    ("body", "kind", "param", "message"),
    [
        ("{", MalformedJSON, None, "the body is not JSON in UTF-8: Input data was truncated"),
        ("[]", MalformedArgument, None, "expected `object`, got `array`"),
        ('{"items": 5}', MalformedArgument, "items", "`items`: expected `array`, got `int`"),
        (
            '{"items": [{"role": 1}]}',
            MalformedArgument,
            "items[0].role",
            "`items[0].role`: expected `str`, got `int`",
        ),
        (
            '{"items": [{"role": "a"}, {}]}',
            MalformedArgument,
            "items[1]",
            "`items[1]`: object missing required field `role`",
        ),
        (
            '{"items": [{"role": "a", "size": 0}]}',
            Invalid,
            "items[0].size",
            "`items[0].size`: must be a number >= 1",
        ),
        ('{"ratio": 0}', Invalid, "ratio", "`ratio`: must be a number > 0.0"),
        ('{"ratio": 1.5}', Invalid, "ratio", "`ratio`: must be a number <= 1.0"),
        ('{"words": [""]}', Invalid, "words[0]", "`words[0]`: must be a text of length >= 1"),
        ('{"words": ["four"]}', Invalid, "words[0]", "`words[0]`: must be a text of length <= 3"),
        ('{"words": ["a","b","c"]}', Invalid, "words", "`words`: must be a list of length <= 2"),
        (
            '{"color": "green"}',
            Invalid,
            "color",
            "`color`: invalid enum value 'green'; must be one of blue, red",
        ),
        ('{"color": 1}', MalformedArgument, "color", "`color`: expected `str`, got `int`"),
        (
            '{"flags": {"a": 1}}',
            MalformedArgument,
            "flags[...]",
            "`flags[...]`: expected `bool`, got `int`",
        ),
    ],
)
def test_error_names_the_field_and_says_what_it_must_be(
    body: str, kind: type[Invalid], param: str | None, message: str
):
    with pytest.raises(Invalid) as raised:
        DECODER.decode(body.encode())
    assert (type(raised.value), raised.value.param, raised.value.message) == (kind, param, message)


def test_number_beyond_64_bits_is_out_of_range():
    with pytest.raises(Invalid) as raised:
        DECODER.decode(b'{"items": [{"role": "a", "size": %b}]}' % (b"9" * 5000))
    assert type(raised.value) is Invalid
    assert raised.value.param == "items[0].size"


@pytest.mark.parametrize("body", [b"\xff", b'{"color": "\xff"}', b"", b"\x00"])
def test_bytes_that_are_no_text_are_malformed_json(body: bytes):
    with pytest.raises(MalformedJSON, match="not JSON in UTF-8"):
        DECODER.decode(body)


def test_deep_nesting_is_refused_in_words():
    with pytest.raises(MalformedJSON, match="nested too deeply; send flat JSON"):
        DECODER.decode(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_values_that_are_allowed_are_told_wherever_the_field_stands():
    decoder = BodyDecoder(Deep)
    for body, told in [
        (
            b'{"shapes": [null, {"size": "1x1"}]}',
            "`shapes[1].size`: invalid enum value '1x1'; must be one of 512x512, 64x64, auto",
        ),
        (
            b'{"shapes": [{"count": 3}]}',
            "`shapes[0].count`: invalid enum value 3; must be one of 9, 10",
        ),
        (b'{"other": {"x": "b"}}', "`other[...]`: invalid enum value 'b'"),
    ]:
        with pytest.raises(Invalid) as raised:
            decoder.decode(body)
        assert raised.value.message == told


def test_mark_of_byte_order_is_passed_over():
    body = b"\xef\xbb\xbf" + b'{"color": "blue"}'
    assert DECODER.decode(body) == Body(color="blue")
    with pytest.raises(MalformedJSON):
        DECODER.decode(b"\xef\xbb\xbf" * 3 + b"{")


def test_compressed_body_is_told_to_be_sent_as_it_is():
    with pytest.raises(MalformedJSON, match="the body is compressed; send it as it is"):
        DECODER.decode(gzip.compress(b"{}"))
