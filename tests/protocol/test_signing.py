"""bce-auth-v1 against Baidu's own signer, and in every form that the official SDKs send (specification A.3)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from baidubce.auth import bce_v1_signer  # pyright: ignore[reportMissingTypeStubs] - the official signer has none
from baidubce.auth.bce_credentials import (  # pyright: ignore[reportMissingTypeStubs] - as above
    BceCredentials,
)
from hypothesis import given
from hypothesis import strategies as st

from yangfan.errors import SignatureInvalid
from yangfan.protocol import signing

AK, SK = "ALTAK-0123456789", "0123456789abcdef0123456789abcdef"
NOW = datetime(2024, 1, 1, tzinfo=UTC)
STAMP = "2024-01-01T00:00:00Z"
CHAT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/ernie_speed"
OURS = signing.sign(AK, SK, method="POST", url=f"http://127.0.0.1:8866{CHAT}", now=NOW)


def official(
    method: str, path: str, params: dict[str, str], headers: dict[str, str], signed: list[str]
) -> str:
    """The Authorization header that Baidu's signer makes."""
    sign: Any = bce_v1_signer.sign  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped
    made: bytes = sign(
        BceCredentials(AK, SK),
        method.encode(),
        path.encode(),
        {name.encode(): value.encode() for name, value in headers.items()},
        {name.encode(): value.encode() for name, value in params.items()},
        NOW.timestamp(),
        1800,
        [name.encode() for name in signed],
    )
    return made.decode()


def by_hand(
    method: str, uri: str, query: str, headers: list[str], signed: str, seconds: int = 1800
) -> str:
    """The header as A.3 spells it, step by step: what Java, Go and JavaScript do."""
    prefix = f"bce-auth-v1/{AK}/{STAMP}/{seconds}"
    key = hmac.new(SK.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    canonical = f"{method}\n{uri}\n{query}\n" + "\n".join(sorted(headers))
    signature = hmac.new(key.encode(), canonical.encode(), hashlib.sha256).hexdigest()
    return f"{prefix}/{signed}/{signature}"


def check(
    authorization: str,
    *,
    method: str = "POST",
    path: str = CHAT,
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    now: datetime = NOW,
    **options: Any,
) -> None:
    request = signing.SignedRequest(method, path, query, headers)
    signing.verify(request, signing.parse(authorization), SK, now=now, **options)


WIRE = (("Host", "127.0.0.1:8866"), ("x-bce-date", STAMP), ("Content-Type", "application/json"))


def test_a_signature_is_the_published_algorithms():
    assert (
        OURS.canonical
        == f"POST\n{CHAT}\n\nhost:127.0.0.1%3A8866\nx-bce-date:2024-01-01T00%3A00%3A00Z"
    )
    assert OURS.headers["Authorization"] == (
        "bce-auth-v1/ALTAK-0123456789/2024-01-01T00:00:00Z/1800/host;x-bce-date/"
        "c6e1b6d25babb842020d437343a22213d9e5924035c56292ff2dcdda327eae93"
    )
    assert OURS.headers["Host"] == "127.0.0.1:8866"
    assert OURS.headers["x-bce-date"] == STAMP


words = st.text(min_size=1, max_size=8)
tokens = st.text(alphabet="abcdefghijklmnop-", min_size=1, max_size=8)


@given(
    method=st.sampled_from(["GET", "POST"]),
    path=words.filter(lambda path: "/" not in path),
    params=st.dictionaries(
        words.filter(lambda key: key.lower() != "authorization"), st.text(max_size=8), max_size=4
    ),
    headers=st.dictionaries(
        tokens.map(lambda name: f"h-{name}"),
        st.text(alphabet="ab /:;=é", min_size=1, max_size=8).filter(str.strip),
        max_size=4,
    ),
)
def test_signatures_equal_those_of_baidus_own_signer(
    method: str, path: str, params: dict[str, str], headers: dict[str, str]
):
    raw = "/" + quote(path, safe="-._~")
    url = f"http://host:8000{raw}?{urlencode(params, quote_via=quote)}"
    ours = signing.sign(AK, SK, method=method, url=url, now=NOW, headers=list(headers.items()))
    everything = {**headers, "host": "host:8000", "x-bce-date": STAMP}
    assert ours.headers["Authorization"] == official(
        method, raw, params, everything, sorted(everything)
    )


@given(st.binary(max_size=40))
def test_encoding_keeps_only_unreserved_characters(data: bytes):
    assert signing.encode(data) == quote(data, safe="-._~")
    assert signing.encode(data, keep_slash=True) == quote(data, safe="-._~/")


def test_what_we_sign_we_accept():
    headers = tuple(OURS.headers.items())
    check(OURS.headers["Authorization"], headers=headers)


def test_pythons_form_is_accepted():
    """All of its own headers, the underscored one too, listed in any order."""
    wire = (*WIRE, ("Request_id", "sdk-py-0.4.12-0123456789abcdef"))
    names = ["x-bce-date", "request_id", "host", "content-type"]
    check(official("POST", CHAT, {}, dict(wire), names), headers=wire)
    action = official("POST", "/v2/service", {"Action": "DescribeServices"}, dict(wire), names)
    check(action, path="/v2/service", query="Action=DescribeServices", headers=wire)


def test_javascripts_form_is_accepted():
    """The default set of headers, content-length among them."""
    wire = (*WIRE, ("Content-Length", "42"), ("Request_id", "x"))
    lines = [
        "host:127.0.0.1%3A8866",
        "content-length:42",
        "content-type:application%2Fjson",
        "x-bce-date:2024-01-01T00%3A00%3A00Z",
    ]
    signed = "content-length;content-type;host;x-bce-date"
    check(by_hand("POST", CHAT, "Action=A", lines, signed), query="Action=A", headers=wire)
    check(by_hand("POST", CHAT, "", lines, ""), headers=wire)


def test_javas_form_is_accepted():
    """The host without its port."""
    lines = ["host:127.0.0.1", "x-bce-date:2024-01-01T00%3A00%3A00Z"]
    check(by_hand("POST", CHAT, "", lines, "host;x-bce-date"), headers=WIRE)


def test_gos_form_is_accepted():
    """The query inside the encoded path, and the host without its port."""
    uri = "/v1/BCE-BEARER/token%3FexpireInSeconds%3D3600"
    lines = [
        "content-type:application%2Fjson",
        "host:127.0.0.1",
        "x-bce-date:2024-01-01T00%3A00%3A00Z",
    ]
    check(
        by_hand("GET", uri, "", lines, "content-type;host;x-bce-date", 300),
        method="GET",
        path="/v1/BCE-BEARER/token",
        query="expireInSeconds=3600",
        headers=WIRE,
    )


def test_bce_headers_are_covered_though_not_listed():
    wire = (*WIRE, ("X-Bce-Request-Id", "abc"))
    lines = ["host:127.0.0.1%3A8866", "x-bce-date:2024-01-01T00%3A00%3A00Z", "x-bce-request-id:abc"]
    authorization = by_hand("POST", CHAT, "", lines, "host")
    check(authorization, headers=wire)
    with pytest.raises(SignatureInvalid):
        check(authorization, headers=(*WIRE, ("X-Bce-Request-Id", "abd")))


def test_empty_headers_and_empty_query_values_are_canonical():
    lines = ["host:127.0.0.1%3A8866", "x-bce-date:2024-01-01T00%3A00%3A00Z"]
    authorization = by_hand("POST", CHAT, "a=&b=1&b=2&c=%20", lines, "host;x-empty;x-bce-date")
    check(authorization, query="c=%20&b=2&a&b=1&authorization=z", headers=(*WIRE, ("X-Empty", " ")))


def test_a_path_signed_as_it_was_sent_is_accepted():
    lines = ["host:127.0.0.1%3A8866", "x-bce-date:2024-01-01T00%3A00%3A00Z"]
    authorization = by_hand("POST", "/v2/models/a%2fb", "", lines, "host;x-bce-date")
    check(authorization, path="/v2/models/a%2fb", headers=WIRE)


def test_a_request_without_a_host_does_not_verify():
    with pytest.raises(SignatureInvalid):
        check(OURS.headers["Authorization"], headers=(("x-bce-date", STAMP),))


def test_the_host_behind_a_proxy_may_be_named():
    lines = ["host:api.example.com", "x-bce-date:2024-01-01T00%3A00%3A00Z"]
    authorization = by_hand("POST", CHAT, "", lines, "host;x-bce-date")
    with pytest.raises(SignatureInvalid):
        check(authorization, headers=WIRE)
    check(authorization, headers=WIRE, hosts=["api.example.com:443"])


def test_long_expiries_are_accepted():
    lines = ["host:127.0.0.1%3A8866", "x-bce-date:2024-01-01T00%3A00%3A00Z"]
    authorization = by_hand("POST", CHAT, "", lines, "host;x-bce-date", 180000)
    check(authorization, headers=WIRE, now=NOW + timedelta(seconds=180000))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"path": CHAT + "x"},
        {"query": "a=1"},
        {"headers": (("Host", "evil:1"), ("x-bce-date", STAMP))},
        {"headers": (("Host", "127.0.0.1:8866"), ("x-bce-date", "2024-01-01T00:00:01Z"))},
    ],
)
def test_a_request_that_was_changed_does_not_verify(change: dict[str, Any]):
    arguments: dict[str, Any] = {"headers": tuple(OURS.headers.items()), **change}
    with pytest.raises(SignatureInvalid) as caught:
        check(OURS.headers["Authorization"], **arguments)
    assert caught.value.reason == "SignatureDoesNotMatch"


def test_another_secret_does_not_verify():
    forged = signing.sign(AK, SK + "x", method="POST", url=f"http://127.0.0.1:8866{CHAT}", now=NOW)
    with pytest.raises(SignatureInvalid):
        check(forged.headers["Authorization"], headers=tuple(forged.headers.items()))


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(1801, "RequestExpired"), (-301, "RequestExpired"), (1800, None), (-300, None)],
)
def test_a_signature_holds_for_its_time_only(seconds: int, reason: str | None):
    arguments: dict[str, Any] = {
        "headers": tuple(OURS.headers.items()),
        "now": NOW + timedelta(seconds=seconds),
    }
    if reason is None:
        check(OURS.headers["Authorization"], **arguments)
        return
    with pytest.raises(SignatureInvalid, match="clock") as caught:
        check(OURS.headers["Authorization"], **arguments)
    assert caught.value.reason == reason


def test_the_host_must_be_signed():
    authorization = by_hand("POST", CHAT, "", ["x-bce-date:2024-01-01T00%3A00%3A00Z"], "x-bce-date")
    with pytest.raises(SignatureInvalid, match="Host") as caught:
        check(authorization, headers=WIRE)
    assert caught.value.reason == "MissingAuthenticationHeader"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bce-auth-v1",
        "bce-auth-v2/ak/2024-01-01T00:00:00Z/1800/host/abc",
        "bce-auth-v1/ak/2024-01-01T00:00:00Z/1800/host",
        "bce-auth-v1/ak/2024-01-01/1800/host/abc",
        "bce-auth-v1/ak/2024-01-01T00:00:00Z/soon/host/abc",
        "bce-auth-v1/ak/2024-01-01T00:00:00Z/-1/host/abc",
        "bce-auth-v1/ak/2024-01-01T00:00:00Z/1e3/host/abc",
        "bce-auth-v1/ak/2024-01-01T00:00:00Z/²/host/abc",
        "bce-auth-v1/ak/2024-01-01T00:00:00Z/9999999999/host/abc",
        "bce-auth-v1/ak/2024-01-01T00:00:00Z/1800/host/abc/more",
    ],
)
def test_a_malformed_header_is_refused(header: str):
    with pytest.raises(SignatureInvalid) as caught:
        signing.parse(header)
    assert caught.value.reason == "InvalidAuthorization"


def test_a_timestamp_that_is_no_date_is_refused():
    parsed = replace(signing.parse(OURS.headers["Authorization"]), timestamp="2024-13-41T00:00:00Z")
    with pytest.raises(SignatureInvalid, match="not a date"):
        signing.verify(signing.SignedRequest("POST", CHAT, "", WIRE), parsed, SK, now=NOW)


@given(st.text(max_size=80))
def test_any_text_as_a_header_is_parsed_or_refused(header: str):
    with contextlib.suppress(SignatureInvalid):
        assert str(signing.parse(header)).startswith("bce-auth-v1/")


def test_a_signature_of_any_characters_only_fails():
    parsed = replace(OURS.authorization, signature="é\udc80")
    with pytest.raises(SignatureInvalid):
        signing.verify(
            signing.SignedRequest("POST", CHAT, "", tuple(OURS.headers.items())),
            parsed,
            SK,
            now=NOW,
        )
