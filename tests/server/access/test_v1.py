"""`POST /oauth/2.0/token` (specification A.1) as the official clients and others send it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from tests.server.conftest import Caller, Reply

TOKEN = "/oauth/2.0/token"
FORM = "application/x-www-form-urlencoded"


def pair(caller: Caller) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": caller.server.api_key,
        "client_secret": caller.server.secret_key,
    }


def send(caller: Caller, form: str, parameters: Mapping[str, str]) -> Reply:
    query = urlencode(parameters)
    match form:
        case "query, as Go and JS":
            return caller.ask("POST", f"{TOKEN}?{query}")
        case "query and {}, as Python":
            return caller.ask("POST", f"{TOKEN}?{query}", "{}")
        case "form":
            return caller.ask("POST", TOKEN, query, content_type=FORM)
        case "form with a charset":
            return caller.ask("POST", TOKEN, query, content_type=f"{FORM}; charset=utf-8")
        case "JSON":
            return caller.ask("POST", TOKEN, dict(parameters))
        case "GET":
            return caller.ask("GET", f"{TOKEN}?{query}")
        case _:
            raise AssertionError(form)


FORMS = [
    "query, as Go and JS",
    "query and {}, as Python",
    "form",
    "form with a charset",
    "JSON",
    "GET",
]


@pytest.mark.parametrize("form", FORMS)
def test_pair_becomes_a_token_that_works(echo: Caller, form: str):
    reply = send(echo, form, pair(echo))
    assert reply.status == 200
    body = reply.json
    assert set(body) == {
        "access_token",
        "expires_in",
        "refresh_token",
        "session_key",
        "session_secret",
        "scope",
    }
    assert body["expires_in"] == 2592000
    assert re.fullmatch(r"24\.[0-9a-f]{48}\.2592000\.\d{10}\.282335-\d+", body["access_token"])
    assert body["refresh_token"].startswith("25.")
    path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions?access_token="
    call = {"messages": [{"role": "user", "content": "hi"}]}
    assert echo.ask("POST", path + body["access_token"], call).json["result"] == "hi"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"client_id": "nobody"}, "unknown client id"),
        ({"client_secret": "wrong"}, "Client authentication failed"),
        ({"client_secret": "密"}, "Client authentication failed"),
    ],
)
def test_wrong_pair_has_the_exact_texts(echo: Caller, form: str, change: dict[str, str], text: str):
    reply = send(echo, form, {**pair(echo), **change})
    assert reply.status == 401
    assert reply.json == {"error": "invalid_client", "error_description": text}


def test_query_wins_over_the_body(echo: Caller):
    query = urlencode(pair(echo))
    wrong = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x"}
    assert echo.ask("POST", f"{TOKEN}?{query}", wrong).status == 200


def test_token_of_one_call_does_not_end_that_of_another(echo: Caller):
    tokens = [echo.access_token() for _ in range(2)]
    for token in tokens:
        assert echo.ask("GET", f"/v2/models?access_token={token}").status == 200
