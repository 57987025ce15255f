"""When a call is sent again, and after how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from yangfan import errors
from yangfan.client.retry import Retry, is_passing

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

OVERLOADED = errors.Overloaded(code=336100, status=200)


def test_bounds_double_and_jitter_spreads_over_all_of_them():
    retry = Retry(max_retries=10, first_wait_seconds=0.5, max_wait_seconds=3)
    waits = [retry.wait_seconds(failures, OVERLOADED, 1.0) for failures in range(1, 6)]
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert retry.wait_seconds(3, OVERLOADED, 0.25) == 0.5
    assert retry.wait_seconds(3, OVERLOADED, 0.0) == 0.0


def test_the_number_of_retries_is_kept():
    retry = Retry(max_retries=2)
    assert retry.wait_seconds(2, OVERLOADED, 0.5) is not None
    assert retry.wait_seconds(3, OVERLOADED, 0.5) is None
    assert Retry(max_retries=0).wait_seconds(1, OVERLOADED, 0.5) is None


def test_retry_after_is_waited_for_but_not_for_ever():
    retry = Retry(max_wait_seconds=60)
    asked = errors.RequestRateLimited(
        retry_after_seconds=7, code="rpm_rate_limit_exceeded", status=429
    )
    wait = retry.wait_seconds(1, asked, 0.0)
    assert wait == 7.0
    assert 7 < (retry.wait_seconds(1, asked, 0.9) or 0) < 8
    too_long = errors.RequestRateLimited(
        retry_after_seconds=61, code="rpm_rate_limit_exceeded", status=429
    )
    assert retry.wait_seconds(1, too_long, 0.5) is None


@pytest.mark.parametrize("code", [2, 15, 18, 336100, 336501, 336502])
def test_documented_v1_codes_are_passing(code: int):
    assert is_passing(errors.RefusedError(code=code, status=200))


@pytest.mark.parametrize("code", [1, 3, 4, 6, 14, 17, 110, 336003, 336006, 336103, 336503])
def test_other_v1_codes_are_not(code: int):
    assert not is_passing(errors.RefusedError(code=code, status=200))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_statuses_of_v2_that_pass(status: int):
    assert is_passing(errors.RefusedError(code="any", status=status))


@pytest.mark.parametrize(
    "error",
    [
        errors.RefusedError(code="x", status=400),
        errors.RefusedError(code="x", status=401),
        errors.DeadlineExceeded(),
        errors.BadReply(),
        errors.ConfigurationError(),
    ],
)
def test_what_does_not_pass(error: errors.YangfanError):
    assert not is_passing(error)


def test_a_failed_connection_passes():
    assert is_passing(errors.ConnectionFailed())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_passing_failure_is_tried_again_and_again(
    connect: Connect, playback: Playback, v1_answer: Any, v2_answer: Any, version: int, stream: bool
):
    if version == 1:
        busy: Any = {"error_code": 336501, "error_msg": "Rate limit reached for RPM"}
        playback.json(busy, busy)
        events: list[Any] = [{"id": "as-1", "result": "好", "is_end": True}]
    else:
        busy = {"error": {"code": "rpm_rate_limit_exceeded", "message": "m", "type": "t"}}
        playback.json(busy, status=429, headers={"Retry-After": "3"})
        playback.raw(b"<h1>Bad gateway</h1>", status=502)
        events = [{"id": "as-1", "choices": [{"index": 0, "delta": {"content": "好"}}]}]
    if stream:
        playback.events(*events, done=True)
    else:
        playback.json(v1_answer if version == 1 else v2_answer)
    client = connect(version=version)
    answer = await client.chat(stream=stream)
    if stream:
        answer = await client.of(answer.result())
    assert answer.text
    assert len(playback.calls) == 3
    assert len({call.header("Request_id") for call in playback.calls}) == 1
    first, second = client.waits
    assert (3 if version == 2 else 0) <= first <= (3.5 if version == 2 else 0.5)
    assert 0 <= second <= 1


async def test_the_last_failure_is_raised_when_retries_are_used_up(
    connect: Connect, playback: Playback
):
    busy = {"error_code": 18, "error_msg": "Open api qps request limit reached"}
    playback.json(busy, busy, busy)
    client = connect(version=1, max_retries=2)
    with pytest.raises(errors.RateLimited):
        await client.chat()
    assert (len(playback.calls), len(client.waits)) == (3, 2)


async def test_no_retries_when_none_are_wanted(connect: Connect, playback: Playback):
    playback.json({"error_code": 336100, "error_msg": "Try again"})
    with pytest.raises(errors.EngineFailed):
        await connect(version=1, max_retries=0).chat()
    assert len(playback.calls) == 1


async def test_a_connection_that_drops_before_the_reply_is_tried_again(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.raw(status=0)
    playback.json(v2_answer)
    client = connect()
    assert (await client.chat()).text
    assert len(playback.calls) == 2
