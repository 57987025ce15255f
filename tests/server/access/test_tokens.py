"""Tokens are signed statements: nothing in them can be changed."""

from __future__ import annotations

import re

import pytest

from yangfan.server.access.tokens import Statement, TokenMint

MINT = TokenMint(b"k" * 32)
OTHER = TokenMint(b"o" * 32)


def access_token() -> str:
    return MINT.access_token(7, now_seconds=1_700_000_000, lifetime_seconds=2592000)


def test_access_token_looks_like_baidus_and_says_what_was_put_in():
    token = access_token()
    assert re.fullmatch(r"24\.[0-9a-f]{48}\.2592000\.1702592000\.282335-7", token)
    assert MINT.read_access_token(token) == Statement(7, 1_702_592_000)


def test_bearer_looks_like_baidus_and_says_what_was_put_in():
    token = MINT.bearer(7, expires_seconds=1_700_000_123)
    assert re.fullmatch(r"bce-v3/ALTAK-[0-9A-Za-z]{22}/[0-9a-f]{40}", token)
    assert MINT.read_bearer(token) == Statement(7, 1_700_000_123)


@pytest.mark.parametrize("number", [1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("expires", [1, 2**33, 2**40 - 1])
def test_bearer_holds_every_number_and_time(number: int, expires: int):
    token = MINT.bearer(number, expires_seconds=expires)
    assert MINT.read_bearer(token) == Statement(number, expires)


def test_no_two_tokens_are_equal():
    assert len({access_token() for _ in range(100)}) == 100
    assert len({MINT.bearer(1, expires_seconds=9) for _ in range(100)}) == 100


def changed(token: str) -> list[str]:
    """The token with each character replaced, removed or doubled, and cut at each place."""
    found: list[str] = []
    for at, character in enumerate(token):
        found += [token[:at] + other + token[at + 1 :] for other in "0aZ.-/" if other != character]
        found += [token[:at] + token[at + 1 :], token[:at] + character + token[at:], token[:at]]
    return [text for text in found if text != token]


def test_access_token_with_any_character_changed_is_no_token():
    for text in changed(access_token()):
        assert MINT.read_access_token(text) is None, text


def test_bearer_with_any_character_changed_is_no_token():
    for text in changed(MINT.bearer(7, expires_seconds=1_700_000_000)):
        assert MINT.read_bearer(text) is None, text


def test_token_of_another_key_is_no_token():
    token = OTHER.access_token(7, now_seconds=0, lifetime_seconds=9)
    assert MINT.read_access_token(token) is None
    assert MINT.read_bearer(OTHER.bearer(7, expires_seconds=9)) is None


def test_signature_of_one_use_is_no_signature_of_the_other():
    assert MINT.read_bearer(access_token()) is None
    assert MINT.read_access_token(MINT.bearer(7, expires_seconds=9)) is None


def test_secret_is_not_in_the_repr():
    assert "kkk" not in repr(MINT)
