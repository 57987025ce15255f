"""`client.models`, `client.keys` and `client.tokens` of both clients."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from yangfan import errors
from yangfan.client.types import App, Key, Model, NewKey, Upstream, UpstreamTrial
from yangfan.protocol import signing

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback, Received

PAIR: dict[str, Any] = {"access_key": "ALTAK-id", "secret_access_key": "secret"}


def assert_signed(call: Received) -> None:
    header = call.header("Authorization")
    assert header is not None
    request = signing.SignedRequest(call.method, call.path, call.query, call.headers)
    signing.verify(request, signing.parse(header), "secret", now=datetime.now(UTC))


async def test_models_are_listed(connect: Connect, playback: Playback):
    playback.json(
        {
            "object": "list",
            "data": [
                {"id": "ernie_speed", "object": "model", "owned_by": "", "created": 0},
                {
                    "id": "echo",
                    "type": "chat",
                    "served_by": "echo",
                    "created": 5,
                    "owned_by": "me",
                    "new": None,
                },
            ],
        }
    )
    client = connect(bearer="bce-v3/ALTAK-a/b")
    assert await client.of(client.client.models.list()) == (
        Model("ernie_speed"),
        Model("echo", "me", 5, "chat", "echo"),
    )
    (call,) = playback.calls
    assert (call.method, call.path, call.body) == ("GET", "/v2/models", b"")
    assert call.header("Authorization") == "Bearer bce-v3/ALTAK-a/b"


async def test_one_model_is_described(connect: Connect, playback: Playback):
    playback.json({"id": "a/b", "object": "model"})
    client = connect()
    assert await client.of(client.client.models.get("a/b")) == Model("a/b")
    assert playback.calls[0].path == "/v2/models/a%2Fb"


async def test_a_model_that_is_not_there_is_not_found(connect: Connect, playback: Playback):
    error = {"code": "invalid_model", "message": "there are: echo", "type": "invalid_request_error"}
    playback.json({"error": error}, status=401)
    client = connect()
    with pytest.raises(errors.ModelNotFound, match="there are: echo"):
        await client.of(client.client.models.get("gpt"))


async def test_a_list_of_another_shape_is_a_bad_reply(connect: Connect, playback: Playback):
    playback.json({"data": [{"name": "x"}]})
    client = connect()
    with pytest.raises(errors.BadReply, match="not what the API promises"):
        await client.of(client.client.models.list())


async def test_a_key_is_made_with_a_signed_call(connect: Connect, playback: Playback):
    made = {"keyId": "ALTAK-new", "kind": "signature", "secret": "s3cret", "name": "ci"}
    playback.json({"requestId": "r-1", "result": made})
    client = connect(**PAIR)
    key = await client.of(
        client.client.keys.create(kind="signature", name="ci", expires_in_seconds=60)
    )
    assert key == NewKey("ALTAK-new", "signature", "ci", "s3cret")
    assert "s3cret" not in repr(key)
    (call,) = playback.received
    assert (call.method, call.path, call.query) == ("POST", "/v2/apikey", "Action=CreateApiKey")
    assert call.json() == {"kind": "signature", "name": "ci", "expireInSeconds": 60}
    assert_signed(call)


async def test_keys_are_listed_with_their_times(connect: Connect, playback: Playback):
    first = {
        "keyId": "k-1",
        "kind": "bearer",
        "name": "",
        "status": "enable",
        "createTime": "2026-11-22T08:00:00Z",
    }
    second = {**first, "keyId": "k-2", "status": "expired", "expireTime": "2026-11-22T09:00:00Z"}
    playback.json({"requestId": "r-1", "result": {"items": [first, second]}})
    client = connect(**PAIR)
    eight, nine = datetime(2026, 11, 22, 8, tzinfo=UTC), datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert await client.of(client.client.keys.list()) == (
        Key("k-1", "bearer", "", "enable", eight),
        Key("k-2", "bearer", "", "expired", eight, nine),
    )
    assert playback.received[0].query == "Action=DescribeApiKeys"


async def test_a_key_time_that_is_none_is_a_bad_reply(connect: Connect, playback: Playback):
    item = {"keyId": "k-1", "kind": "bearer", "createTime": "yesterday"}
    playback.json({"requestId": "r-1", "result": {"items": [item]}})
    client = connect(**PAIR)
    with pytest.raises(errors.BadReply, match="not a time"):
        await client.of(client.client.keys.list())


async def test_a_key_is_revoked(connect: Connect, playback: Playback):
    playback.json({"requestId": "r-1", "result": True})
    client = connect(**PAIR)
    assert await client.of(client.client.keys.revoke("k-1")) is None
    (call,) = playback.received
    assert (call.query, call.json()) == ("Action=DeleteApiKey", {"keyId": "k-1"})


async def test_management_calls_are_not_sent_twice(connect: Connect, playback: Playback):
    playback.json({"requestId": "r-1", "code": "ServiceUnavailable", "message": "busy"}, status=503)
    client = connect(**PAIR)
    with pytest.raises(errors.Overloaded):
        await client.of(client.client.keys.create())
    assert len(playback.received) == 1


async def test_management_without_an_access_key_says_what_to_pass(
    connect: Connect, playback: Playback
):
    client = connect(bearer="b")
    with pytest.raises(errors.ConfigurationError, match="pass access_key and secret_access_key"):
        await client.of(client.client.keys.list())
    with pytest.raises(errors.ConfigurationError, match="pass access_key and secret_access_key"):
        await client.of(client.client.tokens.create_bearer_token())
    with pytest.raises(errors.ConfigurationError, match="needs api_key and secret_key"):
        await client.of(client.client.tokens.create_access_token())
    assert playback.received == []


async def test_an_access_token_is_made_for_other_programs(connect: Connect, playback: Playback):
    client = connect(api_key="a", secret_key="b")
    token = await client.of(client.client.tokens.create_access_token())
    assert (token.token, token.expires_in_seconds) == ("24.token-1", 2592000)
    assert "24.token" not in repr(token)


async def test_a_bearer_token_is_made_for_other_programs(connect: Connect, playback: Playback):
    client = connect(**PAIR)
    token = await client.of(client.client.tokens.create_bearer_token(expires_in_seconds=60))
    assert token.token == "bce-v3/ALTAK-short/1"
    assert token.created_at == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert "ALTAK-short" not in repr(token)
    (call,) = playback.received
    assert call.parameter("expireInSeconds") == "60"
    assert_signed(call)


async def test_upstreams_are_made_listed_tried_and_removed(connect: Connect, playback: Playback):
    item = {
        "name": "baidu",
        "baseUrl": "https://qianfan.baidubce.com/v2",
        "dialect": "qianfan",
        "apiKey": "…x7Qf",
        "modelCount": 3,
        "error": "",
    }
    expected = Upstream(
        name="baidu",
        base_url="https://qianfan.baidubce.com/v2",
        dialect="qianfan",
        masked_key="…x7Qf",
        models=None,
        kinds={},
        rename={},
        presets=True,
        model_count=3,
        error="",
        source="database",
    )
    trial = {"ok": True, "message": "it answers", "modelCount": 3, "milliseconds": 12}
    for result in (item, {"items": [item]}, item, trial, True):
        playback.json({"requestId": "r", "result": result})
    client = connect(**PAIR)
    upstreams = client.client.upstreams
    made = upstreams.create("baidu", expected.base_url, key="secret", dialect="qianfan")
    assert await client.of(made) == expected
    assert await client.of(upstreams.list()) == (expected,)
    assert await client.of(upstreams.modify("baidu", rename={"a": "b"})) == expected
    assert await client.of(upstreams.test("baidu")) == UpstreamTrial(True, "it answers", 3, 12)
    assert await client.of(upstreams.remove("baidu")) is None
    for call in playback.calls:
        assert_signed(call)
    names = "CreateUpstream DescribeUpstreams ModifyUpstream TestUpstream DeleteUpstream"
    assert [call.query for call in playback.calls] == [f"Action={name}" for name in names.split()]
    assert json.loads(playback.calls[2].body) == {"name": "baidu", "rename": {"a": "b"}}


APP = {"appId": "app-1", "name": "ci", "createTime": "2026-11-22T08:00:00Z", "keyCount": 2}


async def test_an_application_is_made_listed_and_deleted(connect: Connect, playback: Playback):
    for result in (APP, {"items": [APP]}, True):
        playback.json({"requestId": "r-1", "result": result})
    client = connect(**PAIR)
    app = App("app-1", "ci", datetime(2026, 11, 22, 8, tzinfo=UTC), 2)
    assert await client.of(client.client.apps.create("ci")) == app
    assert await client.of(client.client.apps.list()) == (app,)
    assert await client.of(client.client.apps.delete("app-1")) is None
    assert [(call.query, call.json()) for call in playback.received] == [
        ("Action=CreateApp", {"name": "ci"}),
        ("Action=DescribeApps", {}),
        ("Action=DeleteApp", {"appId": "app-1"}),
    ]


async def test_an_application_time_that_is_none_is_a_bad_reply(
    connect: Connect, playback: Playback
):
    playback.json({"requestId": "r-1", "result": {**APP, "createTime": "now"}})
    client = connect(**PAIR)
    with pytest.raises(errors.BadReply, match="'now' is not a time"):
        await client.of(client.client.apps.create())


async def test_a_key_is_made_for_an_application(connect: Connect, playback: Playback):
    made = {"keyId": "k", "kind": "bearer", "secret": "s3cret", "appId": "app-1"}
    playback.json({"requestId": "r-1", "result": made})
    client = connect(**PAIR)
    key = await client.of(client.client.keys.create(app_id="app-1"))
    assert key == NewKey("k", "bearer", "", "s3cret", "app-1")
    assert playback.received[0].json() == {"kind": "bearer", "name": "", "appId": "app-1"}
