"""Signed calls in the styles of the official SDKs (A.3), short-lived bearers (A.4), keys by Action."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.conftest import wait_until
from tests.server.conftest import Caller

BEARER_TOKEN = "/v1/BCE-BEARER/token"
V1_CHAT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"
CALL = {"messages": [{"role": "user", "content": "hi"}]}

STYLES: dict[str, dict[str, Any]] = {
    "Python: all headers listed in any order, host with port": {
        "also": {"Request_id": "sdk-py-0.4.12.3-abcdefghijklmnop", "request-source": "qianfan_py"},
        "expiration_seconds": 300,
    },
    "Python: x-bce-date covered though not listed": {"unlisted": True},
    "JavaScript: host with port": {},
    "Java: host without port": {"host_with_port": False},
    "Go: host without port, query in the path": {"host_with_port": False, "query_in_path": True},
    "sample of the documentation: long expiry": {
        "expiration_seconds": 180_000,
        "age_seconds": 86_400,
    },
    "clock five minutes ahead": {"age_seconds": -290},
}


@pytest.mark.parametrize("style", STYLES)
def test_signature_in_the_style_of(echo: Caller, style: str):
    path = f"{BEARER_TOKEN}?expireInSeconds=60"
    headers = echo.signed("GET", path, **STYLES[style])
    reply = echo.ask("GET", path, headers=headers)
    assert reply.status == 200, reply.body
    assert reply.json["status"] == "enable"


@pytest.mark.parametrize("style", STYLES)
def test_signature_on_v1_inference_in_the_style_of(echo: Caller, style: str):
    headers = echo.signed("POST", V1_CHAT, **STYLES[style])
    reply = echo.ask("POST", V1_CHAT, CALL, headers)
    assert reply.json["result"] == "hi", reply.body
    wanted = STYLES[style].get("also", {}).get("Request_id")
    if wanted:
        assert reply.headers["X-Baidu-Request-Id"] == wanted


@pytest.mark.parametrize(
    "query",
    [
        "b=2&a=1",
        "k",
        "k=",
        "a=%E4%BD%A0",
        "a=x%20y",
        "a=~-._",
        "a=1&a=2",
        "A=1&a=1&Authorization=x",
    ],
)
def test_query_is_signed_in_every_spelling(echo: Caller, query: str):
    path = f"{BEARER_TOKEN}?{query}"
    signed = path.replace("&Authorization=x", "")
    reply = echo.ask("GET", path, headers=echo.signed("GET", signed))
    assert reply.status == 200, reply.body


def test_signature_with_an_empty_list_covers_the_default_headers(echo: Caller):
    headers = echo.signed("GET", BEARER_TOKEN, signed_headers="")
    assert "//" in headers["Authorization"]
    assert echo.ask("GET", BEARER_TOKEN, headers=headers).status == 200


def test_signed_call_may_be_repeated(echo: Caller):
    headers = echo.signed("GET", BEARER_TOKEN)
    tokens = {echo.ask("GET", BEARER_TOKEN, headers=headers).json["token"] for _ in range(3)}
    assert len(tokens) == 3, "each call makes a new token"


# Short-lived bearers


@pytest.mark.parametrize(("query", "seconds"), [("", 1000), ("?expireInSeconds=43200", 43_200)])
def test_bearer_token_tells_its_times(echo: Caller, query: str, seconds: int):
    path = BEARER_TOKEN + query
    body = echo.ask("GET", path, headers=echo.signed("GET", path)).json
    assert set(body) == {"userId", "token", "status", "createTime", "expireTime"}
    assert re.fullmatch(r"[0-9a-f]{32}", body["userId"])
    assert re.fullmatch(r"bce-v3/ALTAK-[0-9A-Za-z]{22}/[0-9a-f]{40}", body["token"])
    for name in ("createTime", "expireTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body[name])
    created, expires = (datetime.fromisoformat(body[n]) for n in ("createTime", "expireTime"))
    assert expires - created == timedelta(seconds=seconds)


def test_bearer_token_infers_in_both_dialects_and_then_expires(echo: Caller):
    path = f"{BEARER_TOKEN}?expireInSeconds=1"
    token = echo.ask("GET", path, headers=echo.signed("GET", path)).json["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert echo.ask("GET", "/v2/models", headers=headers).status == 200
    wait_until(
        lambda: echo.ask("GET", "/v2/models", headers=headers).status == 401, "the token to expire"
    )
    path = f"{BEARER_TOKEN}?expireInSeconds=60"
    token = echo.ask("GET", path, headers=echo.signed("GET", path)).json["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert echo.ask("POST", V1_CHAT, CALL, headers).json["result"] == "hi"


# Keys by Action


def listed(caller: Caller) -> dict[str, dict[str, Any]]:
    return {item["keyId"]: item for item in caller.result("DescribeApiKeys", {})["items"]}


@pytest.mark.parametrize("kind", ["bearer", "oauth", "signature"])
def test_key_lives_from_its_creation_to_its_revocation(echo: Caller, kind: str):
    made = echo.result("CreateApiKey", {"kind": kind, "name": "life"})
    assert set(made) == {"keyId", "kind", "secret", "name", "appId"}
    item = listed(echo)[made["keyId"]]
    assert (item["kind"], item["name"], item["status"]) == (kind, "life", "enable")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item["createTime"])
    assert made["secret"] not in str(listed(echo))
    assert opens(echo, kind, made["keyId"], made["secret"])
    assert echo.result("DeleteApiKey", {"keyId": made["keyId"]}) is True
    assert not opens(echo, kind, made["keyId"], made["secret"])
    assert listed(echo)[made["keyId"]]["status"] == "revoked"


def opens(caller: Caller, kind: str, key_id: str, secret: str) -> bool:
    """Whether a key lets its owner in."""
    if kind == "bearer":
        headers = {"Authorization": f"Bearer {secret}"}
        return caller.ask("GET", "/v2/models", headers=headers).status == 200
    if kind == "signature":
        headers = caller.signed("GET", BEARER_TOKEN, access_key=key_id, secret=secret)
        return caller.ask("GET", BEARER_TOKEN, headers=headers).status == 200
    query = f"grant_type=client_credentials&client_id={key_id}&client_secret={secret}"
    return caller.ask("POST", f"/oauth/2.0/token?{query}").status == 200


def test_key_without_a_kind_is_a_bearer(echo: Caller):
    made = echo.result("CreateApiKey", {})
    assert made["kind"] == "bearer"
    assert made["secret"].split("/")[1] == made["keyId"]


def test_key_with_a_lifetime_shows_its_end(echo: Caller):
    made = echo.result("CreateApiKey", {"expireInSeconds": 3600})
    item = listed(echo)[made["keyId"]]
    created, ends = (datetime.fromisoformat(item[n]) for n in ("createTime", "expireTime"))
    assert ends - created == timedelta(hours=1)


def test_builtin_keys_are_listed_first_and_never_with_a_secret(echo: Caller):
    items = echo.result("DescribeApiKeys", {})["items"]
    assert [item["kind"] for item in items[:3]] == ["oauth", "signature", "bearer"]
    assert all("secret" not in item for item in items)


# Applications by Action


def apps(caller: Caller) -> dict[str, dict[str, Any]]:
    return {item["appId"]: item for item in caller.result("DescribeApps", {})["items"]}


def test_application_takes_its_keys_along(echo: Caller):
    made = echo.result("CreateApp", {"name": "gateway"})
    app_id = made["appId"]
    assert re.fullmatch(r"app-[0-9a-z]{8}", app_id)
    assert (made["name"], made["keyCount"]) == ("gateway", 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["createTime"])
    kinds = ("bearer", "oauth", "signature")
    keys = [echo.result("CreateApiKey", {"kind": kind, "appId": app_id}) for kind in kinds]
    assert {key["appId"] for key in keys} == {app_id}
    assert {listed(echo)[key["keyId"]]["appId"] for key in keys} == {app_id}
    assert apps(echo)[app_id] == {**made, "keyCount": 3}
    assert all(opens(echo, key["kind"], key["keyId"], key["secret"]) for key in keys)
    assert echo.result("DeleteApp", {"appId": app_id}) is True
    assert app_id not in apps(echo)
    assert {listed(echo)[key["keyId"]]["status"] for key in keys} == {"revoked"}
    assert not any(opens(echo, key["kind"], key["keyId"], key["secret"]) for key in keys)


def test_key_without_an_application_gets_its_own(echo: Caller):
    first, second = (echo.result("CreateApiKey", {"name": name}) for name in ("a", "b"))
    assert first["appId"] != second["appId"]
    assert (apps(echo)[first["appId"]]["name"], apps(echo)[first["appId"]]["keyCount"]) == ("a", 1)


def test_keys_of_one_application_may_name_it_in_the_header(echo: Caller):
    app_id = echo.result("CreateApp", {})["appId"]
    for _ in range(2):
        key = echo.result("CreateApiKey", {"appId": app_id})
        headers = {"Authorization": f"Bearer {key['secret']}", "appid": app_id}
        assert echo.ask("GET", "/v2/models", headers=headers).status == 200


def test_impossible_changes_of_applications_are_refused(echo: Caller):
    builtin = next(iter(apps(echo)))
    gone = echo.result("CreateApp", {})["appId"]
    echo.result("DeleteApp", {"appId": gone})
    for action, body, status, says in (
        ("DeleteApp", {"appId": builtin}, 400, "the built-in application, which stays"),
        ("DeleteApp", {"appId": gone}, 404, "`yangfan apps list` shows"),
        ("DeleteApp", {}, 400, "appId"),
        ("CreateApiKey", {"appId": gone}, 404, f"no application '{gone}'"),
        ("CreateApp", {"name": "x" * 65}, 400, "name"),
    ):
        reply = echo.action(action, body)
        assert (reply.status, says in reply.json["message"]) == (status, True), reply.body


def test_action_without_a_body_lists_too(echo: Caller):
    path = "/v2/apikey?Action=DescribeApiKeys"
    reply = echo.ask("POST", path, headers=echo.signed("POST", path))
    assert reply.status == 200, reply.body


def test_every_action_reply_has_a_request_id_of_its_own(echo: Caller):
    replies = [echo.action("DescribeApiKeys", {}).json for _ in range(2)]
    assert all(set(reply) == {"requestId", "result"} for reply in replies)
    assert replies[0]["requestId"] != replies[1]["requestId"]
