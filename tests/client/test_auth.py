"""Every way to authorize a call, checked as a server would (specification A.1 to A.6)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from yangfan import AsyncClient, errors
from yangfan.client import auth
from yangfan.client.exchange import Reply, Request
from yangfan.client.settings import Given, load
from yangfan.protocol import signing

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.client.conftest import Connect, Playback, Received

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
PAIR: dict[str, Any] = {"access_key": "ALTAK-id", "secret_access_key": "secret"}
OAUTH: dict[str, Any] = {"api_key": "app-key", "secret_key": "app-secret"}
CALL = Request("POST", "http://host:8000/path")


def verified(call: Received) -> bool:
    """Check the signature of a request as it arrived; raises when it is wrong."""
    header = call.header("Authorization")
    assert header is not None
    request = signing.SignedRequest(call.method, call.path, call.query, call.headers)
    signing.verify(request, signing.parse(header), "secret", now=datetime.now(UTC))
    return True


def drive(
    flow: Generator[Request, Reply, Request], *replies: Reply
) -> tuple[list[Request], Request]:
    """Run a flow; return what it asked for first and what it made of the call."""
    asked: list[Request] = []
    try:
        asked.append(next(flow))
        for reply in replies:
            asked.append(flow.send(reply))  # noqa: PERF401 - what was asked before the end is wanted
    except StopIteration as stop:
        return asked, stop.value
    raise AssertionError("the flow wants more replies")


def token_reply(token: str, seconds: int = 2592000) -> Reply:
    return Reply(200, {}, f'{{"access_token": "{token}", "expires_in": {seconds}}}'.encode())


def bearer_reply(token: str, ends: datetime) -> Reply:
    text = (
        f'{{"userId": "u", "token": "{token}", "status": "enable", "createTime": "2026-11-22T08:00:00.000Z",'
        f' "expireTime": "{ends:%Y-%m-%dT%H:%M:%S.000Z}"}}'
    )
    return Reply(200, {}, text.encode())


async def test_without_credentials_nothing_is_sent(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer)
    await connect().chat()
    (call,) = playback.received
    assert call.header("Authorization") is None
    assert call.query == ""


@pytest.mark.parametrize("version", [1, 2])
async def test_an_oauth_pair_is_exchanged_once_for_a_token_in_the_query(
    connect: Connect, playback: Playback, v1_answer: Any, v2_answer: Any, version: int
):
    playback.json(*[v1_answer if version == 1 else v2_answer] * 2)
    client = connect(**OAUTH, version=version)
    await client.chat()
    await client.chat()
    token, first, second = playback.received
    assert (token.method, token.path, token.query) == ("POST", "/oauth/2.0/token", "")
    assert parse_qs(token.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["app-key"],
        "client_secret": ["app-secret"],
    }
    for call in (first, second):
        assert call.parameter("access_token") == "24.token-1"
        assert call.header("Authorization") is None


@pytest.mark.parametrize("code", [110, 111])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_token_is_renewed_exactly_once(
    connect: Connect, playback: Playback, v1_answer: Any, code: int, stream: bool
):
    refusal = {"error_code": code, "error_msg": "Access token invalid or no longer valid"}
    playback.json(refusal)
    if stream:
        playback.events({"result": "好", "is_end": True})
    else:
        playback.json(v1_answer)
    client = connect(**OAUTH)
    await client.chat(stream=stream)
    assert [call.parameter("access_token") for call in playback.calls] == [
        "24.token-1",
        "24.token-2",
    ]
    playback.json(refusal, refusal)
    with pytest.raises(errors.TokenInvalid if code == 110 else errors.TokenExpired):
        await client.chat()
    assert playback.tokens_issued == 3
    assert client.waits == []


async def test_renewing_a_token_does_not_count_as_a_retry(
    connect: Connect, playback: Playback, v1_answer: Any
):
    playback.json({"error_code": 111, "error_msg": "Access token expired"}, v1_answer)
    assert (await connect(**OAUTH, max_retries=0).chat()).text


async def test_a_given_token_is_used_first_and_renewed_through_the_pair(
    connect: Connect, playback: Playback, v1_answer: Any
):
    playback.json({"error_code": 110, "error_msg": "Access token invalid"}, v1_answer)
    await connect(**OAUTH, access_token="24.old").chat()
    assert [call.parameter("access_token") for call in playback.calls] == ["24.old", "24.token-1"]


async def test_a_given_token_without_a_pair_is_not_renewed(connect: Connect, playback: Playback):
    playback.json({"error_code": 110, "error_msg": "Access token invalid"})
    with pytest.raises(errors.TokenInvalid):
        await connect(access_token="24.old").chat()
    assert playback.tokens_issued == 0


async def test_many_calls_at_once_fetch_one_token(playback: Playback, v1_answer: Any):
    playback.json(*[v1_answer] * 8)
    async with AsyncClient(playback.url, **OAUTH) as client:
        await asyncio.gather(*(client.chat("?", model="m") for _ in range(8)))
    assert playback.tokens_issued == 1


async def test_many_calls_refused_at_once_renew_the_token_once(playback: Playback, v1_answer: Any):
    playback.expired_tokens.add("24.token-1")
    playback.json(*[v1_answer] * 8)
    async with AsyncClient(playback.url, **OAUTH) as client:
        answers = await asyncio.gather(*(client.chat("?", model="m") for _ in range(8)))
    assert all(answer.text for answer in answers)
    assert playback.tokens_issued == 2


async def test_v1_calls_are_signed_with_an_access_key(
    connect: Connect, playback: Playback, v1_answer: Any
):
    playback.json(v1_answer)
    await connect(**PAIR, version=1).chat()
    (call,) = playback.received
    assert verified(call)


async def test_v2_calls_carry_a_bearer_fetched_with_a_signature(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer, v2_answer)
    client = connect(**PAIR)
    await client.chat()
    await client.chat()
    token, first, second = playback.received
    assert (token.method, token.path, token.parameter("expireInSeconds")) == (
        "GET",
        "/v1/BCE-BEARER/token",
        "43200",
    )
    assert verified(token)
    for call in (first, second):
        assert call.header("Authorization") == "Bearer bce-v3/ALTAK-short/1"


async def test_a_refused_fetched_bearer_is_renewed_once(
    connect: Connect, playback: Playback, v2_answer: Any
):
    refusal = {
        "error": {"code": "invalid_iam_token", "message": "IAM Certification failed", "type": "t"}
    }
    playback.json(refusal, status=401)
    playback.json(v2_answer)
    await connect(**PAIR).chat()
    sent = [call.header("Authorization") for call in playback.calls]
    assert sent == ["Bearer bce-v3/ALTAK-short/1", "Bearer bce-v3/ALTAK-short/2"]


@pytest.mark.parametrize("version", [1, 2])
async def test_a_bearer_key_goes_with_either_dialect(
    connect: Connect, playback: Playback, v1_answer: Any, v2_answer: Any, version: int
):
    playback.json(v1_answer if version == 1 else v2_answer)
    await connect(bearer="bce-v3/ALTAK-a/b", version=version).chat()
    assert playback.received[0].header("Authorization") == "Bearer bce-v3/ALTAK-a/b"


async def test_a_refused_bearer_key_is_not_tried_again(connect: Connect, playback: Playback):
    playback.json({"error": {"code": "invalid_iam_token", "message": "no"}}, status=401)
    with pytest.raises(errors.BearerInvalid):
        await connect(bearer="bce-v3/ALTAK-a/b").chat()
    assert len(playback.received) == 1


def test_a_fetched_bearer_is_renewed_before_it_ends():
    clock = [NOW]
    way = auth.FetchedBearer(auth.Signature("ak", "sk"), "http://iam", lambda: clock[0])
    asked, call = drive(way.authorize(CALL), bearer_reply("t-1", NOW + timedelta(hours=1)))
    assert len(asked) == 1
    assert ("Authorization", "Bearer t-1") in call.headers
    clock[0] = NOW + timedelta(minutes=58, seconds=59)
    asked, call = drive(way.authorize(CALL))
    assert asked == []
    clock[0] = NOW + timedelta(minutes=59)
    asked, call = drive(way.authorize(CALL), bearer_reply("t-2", NOW + timedelta(hours=2)))
    assert len(asked) == 1
    assert ("Authorization", "Bearer t-2") in call.headers


def test_a_bearer_that_another_call_has_dropped_is_fetched_again():
    way = auth.FetchedBearer(auth.Signature("ak", "sk"), "http://iam", lambda: NOW)
    _, first = drive(way.authorize(CALL), bearer_reply("t-1", NOW + timedelta(hours=1)))
    assert way.renew(first, errors.BearerInvalid())
    assert way.renew(first, errors.BearerInvalid())
    assert not way.renew(first, errors.Forbidden())
    drive(way.authorize(CALL), bearer_reply("t-2", NOW + timedelta(hours=1)))
    assert way.renew(first, errors.BearerInvalid())
    asked, again = drive(way.authorize(CALL))
    assert asked == []
    assert ("Authorization", "Bearer t-2") in again.headers


def test_an_oauth_token_is_renewed_before_it_ends():
    clock = [NOW]
    way = auth.OAuth("http://host", "ak", "sk", "", lambda: clock[0])
    _, call = drive(way.authorize(CALL), token_reply("t-1", 3600))
    assert call.url == "http://host:8000/path?access_token=t-1"
    clock[0] = NOW + timedelta(minutes=59)
    asked, call = drive(way.authorize(CALL), token_reply("t-2", 3600))
    assert len(asked) == 1
    assert call.url.endswith("access_token=t-2")


def test_a_call_that_was_refused_with_an_older_token_does_not_drop_the_new_one():
    way = auth.OAuth("http://host", "ak", "sk", "old", lambda: NOW)
    _, first = drive(way.authorize(CALL))
    assert way.renew(first, errors.TokenExpired())
    drive(way.authorize(CALL), token_reply("new"))
    assert way.renew(first, errors.TokenExpired())
    asked, again = drive(way.authorize(CALL))
    assert asked == []
    assert again.url.endswith("access_token=new")


def test_a_wrong_oauth_pair_is_a_bad_credential():
    way = auth.OAuth("http://host", "ak", "sk", "", lambda: NOW)
    refusal = Reply(
        401, {}, b'{"error": "invalid_client", "error_description": "unknown client id"}'
    )
    with pytest.raises(errors.BadClientCredentials, match="unknown client id") as caught:
        drive(way.authorize(CALL), refusal)
    assert (caught.value.oauth_error, caught.value.status) == ("invalid_client", 401)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"access_token": 5}', b'{"access_token": "t", "expires_in": "long"}', b"<html>"],
)
def test_a_reply_without_a_token_is_a_bad_reply(body: bytes):
    with pytest.raises(errors.BadReply):
        auth.read_token(Reply(200, {}, body))


@pytest.mark.parametrize("body", [b"{}", b'{"token": "t"}', b"[]"])
def test_a_reply_without_a_bearer_token_is_a_bad_reply(body: bytes):
    with pytest.raises(errors.BadReply):
        auth.read_bearer(Reply(200, {}, body))


def test_a_bearer_token_with_a_time_that_is_none_is_a_bad_reply():
    body = (
        b'{"userId": "u", "token": "t", "status": "enable", "createTime": "x", "expireTime": "y"}'
    )
    with pytest.raises(errors.BadReply, match="not a token"):
        auth.read_bearer(Reply(200, {}, body))


def test_baidus_v2_refuses_an_oauth_pair_with_the_way_out():
    settings = load(Given(base_url="https://qianfan.baidubce.com", version=2, **OAUTH), {})
    with pytest.raises(errors.ConfigurationError, match="pass bearer"):
        auth.for_v2(settings)


def test_management_without_a_pair_says_what_to_pass():
    with pytest.raises(errors.ConfigurationError, match="pass access_key and secret_access_key"):
        auth.for_management(load(Given(bearer="b"), {}))


def test_no_way_shows_its_secret():
    bearer = auth.FixedBearer("verysecret")
    signature = auth.Signature("ak", "verysecret")
    fetched = auth.FetchedBearer(signature, "http://iam", lambda: NOW)
    drive(fetched.authorize(CALL), bearer_reply("verysecret", NOW + timedelta(hours=1)))
    oauth = auth.OAuth("http://host", "verysecret", "verysecret", "verysecret")
    _, call = drive(oauth.authorize(CALL))
    for thing in (bearer, signature, fetched, oauth, call, drive(bearer.authorize(CALL))[1]):
        assert "verysecret" not in repr(thing)
