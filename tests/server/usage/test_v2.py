"""Limits, quotas and usage as callers meet them: on a real server, in both dialects."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import serving, wait_until
from tests.server.conftest import Caller, Reply
from tests.server.usage.conftest import Grant, Holder, granted

USAGE = "/v2/usage?Action=DescribeUsage"

PROMPT_TOKENS = 3
"""`user: hi` to the echo model."""

ANSWER_TOKENS = 1


def describe(caller: Caller, body: dict[str, Any]) -> Reply:
    return caller.ask("POST", USAGE, body, caller.signed("POST", USAGE))


def ratelimit(reply: Reply) -> tuple[int, int, int, int]:
    """Limits and remainders, requests before tokens."""
    names = ("Limit-Requests", "Remaining-Requests", "Limit-Tokens", "Remaining-Tokens")
    return tuple(int(reply.headers[f"X-Ratelimit-{name}"]) for name in names)  # pyright: ignore[reportReturnType] - four names


def refused(holder: Holder, **body: Any) -> tuple[Any, Any]:
    """How each dialect says no to the same call: v1's code, v2's status and code."""
    first, second = holder.v1(**body), holder.v2(**{_V2.get(k, k): v for k, v in body.items()})
    assert first.status == 200
    return first.json.get("error_code"), (second.status, second.json["error"]["code"])


_V2 = {"max_output_tokens": "max_tokens"}


def test_usage_is_counted_by_day_key_and_model_in_both_dialects(echo: Caller, grant: Grant):
    holder = grant(name="counted")
    holder.v1()
    holder.v2()
    assert holder.v1(stream=True).events[-1]["is_end"]
    assert holder.v2(stream=True).events[-1] == "[DONE]"
    (item,) = describe(echo, {"keyId": holder.key_id}).json["result"]["items"]
    assert item == {
        "date": datetime.now(UTC).date().isoformat(),
        "keyId": holder.key_id,
        "model": "echo",
        "requests": 4,
        "promptTokens": 4 * PROMPT_TOKENS,
        "completionTokens": 4 * ANSWER_TOKENS,
        "totalTokens": 4 * (PROMPT_TOKENS + ANSWER_TOKENS),
        "priceShare": 1.0,
    }


def test_usage_agrees_with_what_the_answers_say(grant: Grant):
    holder = grant()
    replies = [holder.v2().json["usage"]["total_tokens"] for _ in range(3)]
    assert holder.used() == {"requests": 3, "totalTokens": sum(replies)}


def test_usage_is_shown_for_the_days_and_the_model_asked_for(echo: Caller, grant: Grant):
    holder = grant()
    holder.v2()
    today = datetime.now(UTC).date().isoformat()
    key = {"keyId": holder.key_id}
    shown = {
        name: len(describe(echo, {**key, **body}).json["result"]["items"])
        for name, body in {
            "today": {"startDate": today, "endDate": today},
            "the model": {"model": "echo"},
            "another model": {"model": "another"},
            "long ago": {"startDate": "2001-01-01", "endDate": "2001-12-31"},
            "the first days of all": {"endDate": "0001-01-01"},
        }.items()
    }
    assert shown == {
        "today": 1,
        "the model": 1,
        "another model": 0,
        "long ago": 0,
        "the first days of all": 0,
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            {"startDate": "2026-02-30"},
            "startDate must be a day such as 2026-01-31, got '2026-02-30'",
        ),
        ({"endDate": "yesterday"}, "param[endDate] invalid"),
        (
            {"startDate": "2026-02-02", "endDate": "2026-02-01"},
            "startDate must not be after endDate",
        ),
        ({"keyId": 5}, "param[keyId] invalid"),
    ],
)
def test_usage_of_impossible_days_is_refused(echo: Caller, body: dict[str, Any], says: str):
    reply = describe(echo, body)
    assert (reply.status, reply.json["code"]) == (400, "InappropriateJSON")
    assert says in reply.json["message"]


def test_calls_that_are_refused_use_nothing(grant: Grant):
    holder = grant(rpm=1)
    assert holder.v2(temperature=9).status == 400
    assert holder.v1(messages=[]).json["error_code"] == 336003
    assert holder.used() == {"requests": 0, "totalTokens": 0}
    assert holder.v2().status == 200, "the only request of the minute is still there"


# Requests a minute


def test_requests_beyond_the_limit_are_refused_in_both_dialects(grant: Grant):
    holder = grant(rpm=2)
    assert (holder.v1().json["result"], holder.v2().status) == ("hi", 200)
    assert refused(holder) == (336501, (429, "rpm_rate_limit_exceeded"))
    message = holder.v1().json["error_msg"]
    assert re.match(
        r"Rate limit reached for RPM: the limit is 2 requests a minute, 0 are left .* try again in \d+ s",
        message,
    )


def test_retry_after_is_when_the_limit_has_room_again(grant: Grant):
    holder = grant(rpm=1)
    started = time.monotonic()
    assert holder.v2().status == 200
    reply = holder.v2()
    assert 60 - (time.monotonic() - started) <= int(reply.headers["Retry-After"]) <= 60
    assert f"try again in {reply.headers['Retry-After']} s" in reply.json["error"]["message"]


def test_a_caller_who_waits_as_told_gets_in(grant: Grant):
    holder = grant(rpm=60)
    while (reply := holder.v2()).status == 200:
        pass
    assert reply.headers["Retry-After"] == "1"
    wait_until(lambda: holder.v2().status == 200, "room for another request", 5.0)


def test_requests_a_second_of_an_application_are_refused_in_both_dialects(tmp_path: Path):
    with serving(tmp_path, environ={"YANGFAN_APP_QPS": "1"}) as server:
        holder = granted(Caller(server))
        told: list[Reply] = []

        def refused_in(call: Callable[[], Reply]) -> bool:
            told.append(call())
            return b'"hi"' not in told[-1].body

        wait_until(lambda: refused_in(holder.v1), "two calls of v1 within a second")
        assert told[-1].json["error_code"] == 18
        wait_until(lambda: refused_in(holder.v2), "two calls of v2 within a second")
        assert told[-1].json["error"]["code"] == "user_rate_limit_exceeded"
        assert (told[-1].status, told[-1].headers["Retry-After"]) == (429, "1")


# Tokens a minute


def test_tokens_beyond_the_limit_are_refused_in_both_dialects(grant: Grant):
    holder = grant(tpm=10)
    assert holder.v2(max_tokens=7).json["usage"]["total_tokens"] == PROMPT_TOKENS + ANSWER_TOKENS
    assert refused(holder, max_output_tokens=7) == (336502, (429, "tpm_rate_limit_exceeded"))
    reply = holder.v2(max_tokens=7)
    assert 1 <= int(reply.headers["Retry-After"]) <= 24, "four tokens come back at ten a minute"


def test_what_was_reserved_and_not_used_can_be_used_again(grant: Grant):
    holder = grant(tpm=100)
    for _ in range(15):
        assert holder.v2(max_tokens=30).status == 200
    assert ratelimit(holder.v2(max_tokens=2))[3] >= 100 - 16 * (PROMPT_TOKENS + ANSWER_TOKENS)


def test_a_call_that_no_minute_has_room_for_is_told_to_ask_for_less(grant: Grant):
    reply = grant(tpm=10).v2(max_tokens=100)
    assert reply.status == 429
    assert "Retry-After" not in reply.headers
    assert (
        "this call may need 103 tokens and the limit is 10 a minute"
        in reply.json["error"]["message"]
    )
    assert "lower max_output_tokens" in reply.json["error"]["message"]


def test_a_caller_who_asks_for_no_length_gets_what_the_limit_allows(grant: Grant):
    reply = grant(tpm=10).v2(messages=[{"role": "user", "content": "a " * 5}])
    assert (reply.status, reply.json["choices"][0]["finish_reason"]) == (200, "length")
    assert reply.json["usage"]["total_tokens"] <= 10


# Headers


def test_headers_are_generous_where_nothing_is_limited(grant: Grant):
    holder = grant()
    assert ratelimit(holder.v1()) == ratelimit(holder.v2()) == (10**6, 10**6, 10**9, 10**9)


def test_headers_tell_the_limits_and_what_is_left_in_both_dialects(grant: Grant):
    holder = grant(rpm=3, tpm=1000)
    told = [ratelimit(holder.v1()), ratelimit(holder.v2()), ratelimit(holder.v2(stream=True))]
    assert [numbers[:3] for numbers in told] == [(3, 2, 1000), (3, 1, 1000), (3, 0, 1000)]
    left = [numbers[3] for numbers in told]
    assert 996 <= left[0] <= 1000, "what was not used is back before the answer is sent"
    assert left[2] < 900, "a stream that begins holds what it may use at most"
    assert ratelimit(holder.v2())[:3] == (3, 0, 1000), "refusals tell as well"


# Quotas


def test_daily_quota_ends_in_both_dialects(grant: Grant):
    holder = grant(dailyTokens=10)
    assert holder.v2(max_tokens=7).status == 200
    assert refused(holder, max_output_tokens=7) == (17, (403, "account_overdue"))
    assert "6 of the key's 10 tokens are left" in holder.v1(max_output_tokens=7).json["error_msg"]
    assert holder.v2(max_tokens=3).status == 200, "what fits is answered"


def test_total_quota_ends_in_both_dialects(grant: Grant):
    holder = grant(totalTokens=10)
    assert holder.v2(max_tokens=7).status == 200
    assert refused(holder, max_output_tokens=7) == (19, (403, "account_overdue"))


# Allowed models, expiry


def test_key_may_call_the_models_on_its_list_only(grant: Grant):
    holder = grant(models=["ERNIE-4.0-8K"])
    assert refused(holder) == (6, (401, "invalid_model"))
    message = holder.v2().json["error"]["message"]
    assert message.startswith("No permission to use the model: the key may call ernie-4.0-8k, not")
    assert holder.used()["requests"] == 0


@pytest.mark.parametrize("name", ["ERNIE-4.0-8K", "ernie-4.0-8k", "completions_pro"])
def test_any_spelling_of_an_allowed_model_opens_every_spelling(grant: Grant, name: str):
    holder = grant(models=[name])
    assert holder.v1("completions_pro").json["result"] == "hi"
    assert holder.v2("ernie-4.0-8k").status == 200


def test_served_model_on_the_list_opens_every_name_that_it_answers_to(grant: Grant):
    holder = grant(models=["Echo"])
    assert (holder.v1().json["result"], holder.v2("ernie-4.0-8k").status) == ("hi", 200)


def test_limits_of_a_key_are_listed(echo: Caller, grant: Grant):
    limits = {"models": ["echo"], "rpm": 1, "tpm": 2, "dailyTokens": 3, "totalTokens": 4}
    holder = grant(**limits, lenient=True)
    items = echo.result("DescribeApiKeys", {})["items"]
    (item,) = (item for item in items if item["keyId"] == holder.key_id)
    assert {name: item[name] for name in (*limits, "lenient")} == {**limits, "lenient": True}
    plain = grant()
    (item,) = (i for i in echo.result("DescribeApiKeys", {})["items"] if i["keyId"] == plain.key_id)
    assert not set(limits) & set(item)
    assert item["lenient"] is False


@pytest.mark.parametrize(
    "limits",
    [
        {"rpm": 0},
        {"tpm": -1},
        {"dailyTokens": 0},
        {"totalTokens": 10**16},
        {"rpm": "many"},
        {"models": []},
        {"models": [""]},
        {"models": "echo"},
        {"lenient": "yes"},
    ],
)
def test_impossible_limits_are_refused(echo: Caller, limits: dict[str, Any]):
    reply = echo.action("CreateApiKey", limits)
    (name,) = limits
    assert (reply.status, reply.json["code"]) == (400, "InappropriateJSON")
    assert f"param[{name}" in reply.json["message"]


def test_expired_key_is_refused_in_both_dialects(grant: Grant):
    holder = grant(expireInSeconds=1, rpm=1000)
    assert holder.v2().status == 200
    wait_until(lambda: holder.v2().status == 401, "the key to expire")
    assert refused(holder) == (14, (401, "invalid_iam_token"))
