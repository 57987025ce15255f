"""Streams of both clients against events as specification B.4 and C.3 document them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from yangfan import errors
from yangfan.client.types import Usage

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

WORDS = ["1加1", "等于2", "，👩‍💻", "😀"]
EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def v1_event(place: int, text: str, *, is_end: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "id": "as-1",
        "object": "chat.completion",
        "created": 1700000000,
        "sentence_id": place,
        "is_end": is_end,
        "is_truncated": False,
        "result": text,
        "need_clear_history": False,
        "usage": USAGE,
        **more,
    }


def v2_chunk(
    delta: dict[str, Any], finish: str | None = None, *, index: int = 0, **more: Any
) -> dict[str, Any]:
    return {
        "id": "as-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "ernie_speed",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish, "flag": 0}],
        **more,
    }


def v1_events() -> list[dict[str, Any]]:
    events = [v1_event(place, text) for place, text in enumerate(WORDS)]
    return [*events, v1_event(len(WORDS), "", is_end=True, finish_reason="normal")]


def v2_chunks() -> list[dict[str, Any]]:
    chunks = [v2_chunk({"content": text}) for text in WORDS]
    usage: dict[str, Any] = {**v2_chunk({}), "choices": [], "usage": USAGE}
    return [*chunks, v2_chunk({}, "stop"), usage]


def play(playback: Playback, version: int, **options: Any) -> None:
    if version == 1:
        playback.events(*v1_events(), **options)
    else:
        playback.events(*v2_chunks(), done=True, **options)


both_versions = pytest.mark.parametrize("version", [1, 2])


@both_versions
async def test_a_stream_gives_the_text_piece_by_piece(
    connect: Connect, playback: Playback, version: int
):
    play(
        playback,
        version,
        headers={
            "X-Baidu-Request-Id": "r-1",
            "X-Yangfan-Model": "m",
            "X-Ratelimit-Limit-Tokens": "9",
        },
    )
    client = connect(version=version)
    stream = await client.chat(stream=True)
    events = await client.events(stream)
    assert [event.text for event in events if event.text] == WORDS
    assert "".join(map(str, events)) == stream.text == "".join(WORDS)
    assert (stream.request_id, stream.served_model, stream.rate_limit.limit_tokens) == (
        "r-1",
        "m",
        9,
    )
    assert events[-1].usage == Usage(7, 5, 12)
    result = await client.of(stream.result())
    assert (result.text, result.id, result.model) == ("".join(WORDS), "as-1", "ernie_speed")
    assert result.usage == Usage(7, 5, 12)
    assert result.finish_reason == ("normal" if version == 1 else "stop")
    assert (result.request_id, result.is_truncated) == ("r-1", False)
    assert playback.calls[0].json()["stream"] is True


@both_versions
async def test_result_reads_what_is_left(connect: Connect, playback: Playback, version: int):
    play(playback, version)
    client = connect(version=version)
    stream = await client.chat(stream=True)
    assert (await client.of(stream.result())).text == "".join(WORDS)


async def test_v2_streams_ask_for_usage_unless_told_otherwise(connect: Connect, playback: Playback):
    play(playback, 2)
    play(playback, 2)
    client = connect()
    await client.events(await client.chat(stream=True))
    await client.events(await client.chat(stream=True, stream_options={"include_usage": False}))
    asked = [call.json()["stream_options"]["include_usage"] for call in playback.calls]
    assert asked == [True, False]


@both_versions
async def test_characters_cut_anywhere_arrive_whole(
    connect: Connect, playback: Playback, version: int
):
    events = v1_events() if version == 1 else v2_chunks()
    data = b"".join(
        b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events
    )
    data += b"" if version == 1 else b"data: [DONE]\n\n"
    playback.raw(*(data[at : at + 1] for at in range(len(data))), headers=EVENT_STREAM)
    client = connect(version=version)
    stream = await client.chat(stream=True)
    assert (await client.of(stream.result())).text == "".join(WORDS)


async def test_comments_and_line_ends_of_any_kind_are_understood(
    connect: Connect, playback: Playback
):
    chunk = json.dumps(v2_chunk({"content": "好"}), ensure_ascii=False).encode()
    playback.raw(
        b": keep-alive\n\n: OPENROUTER PROCESSING\n\n",
        b"event: message\r\ndata:" + chunk + b"\r\n\r\n: keep-alive\r\n\r\n",
        b"data: [DONE]\n\n",
        headers=EVENT_STREAM,
    )
    client = connect()
    assert [event.text for event in await client.events(await client.chat(stream=True))] == ["好"]


@both_versions
async def test_an_error_instead_of_a_stream_is_raised_by_the_call(
    connect: Connect, playback: Playback, version: int
):
    if version == 1:
        playback.json({"error_code": 336006, "error_msg": "odd", "id": "as-1"})
    else:
        playback.json({"error": {"code": "invalid_messages", "message": "odd"}}, status=400)
    with pytest.raises(errors.InvalidMessages):
        await connect(version=version).chat(stream=True)


@both_versions
async def test_an_error_half_way_is_raised_after_the_events_before_it(
    connect: Connect, playback: Playback, version: int
):
    if version == 1:
        failure: dict[str, Any] = {"error_code": 336100, "error_msg": "Try again"}
        playback.events(v1_event(0, "一"), v1_event(1, "二"), failure)
    else:
        failure = {
            "error": {
                "code": "dispatch_internal_error",
                "message": "engine died",
                "type": "Internal_error",
            }
        }
        playback.events(v2_chunk({"content": "一"}), v2_chunk({"content": "二"}), failure)
    client = connect(version=version)
    stream = await client.chat(stream=True)
    events, error = await client.events_until_failure(stream)
    assert [event.text for event in events] == ["一", "二"]
    assert isinstance(error, errors.EngineFailed)
    assert stream.text == "一二"
    assert len(playback.calls) == 1


@both_versions
@pytest.mark.parametrize("is_cut", [True, False])
async def test_a_stream_without_its_end_is_a_failed_connection(
    connect: Connect, playback: Playback, version: int, is_cut: bool
):
    playback.events(
        v1_event(0, "一") if version == 1 else v2_chunk({"content": "一"}), is_cut=is_cut
    )
    client = connect(version=version)
    stream = await client.chat(stream=True)
    with pytest.raises(errors.ConnectionFailed):
        await client.events(stream)
    assert len(playback.calls) == 1
    assert stream.text == "一"


@both_versions
async def test_a_stream_that_breaks_before_its_first_event_is_asked_for_again(
    connect: Connect, playback: Playback, version: int
):
    playback.raw(b": keep-alive\n\n", headers=EVENT_STREAM, is_cut=True)
    play(playback, version)
    client = connect(version=version)
    stream = await client.chat(stream=True)
    assert (await client.of(stream.result())).text == "".join(WORDS)
    assert len(playback.calls) == 2


async def test_a_silent_stream_passes_its_deadline(connect: Connect, playback: Playback):
    playback.events(v2_chunk({"content": "一"}), wait_after=1)
    client = connect(timeout_seconds=0.2)
    stream = await client.chat(stream=True)
    with pytest.raises(errors.DeadlineExceeded, match="timeout_seconds"):
        await client.events(stream)
    assert stream.text == "一"


@pytest.mark.parametrize(
    "data", [b"data: {broken\n\n", b'data: {"choices": 1}\n\n', b"data: 5\n\n"]
)
async def test_a_malformed_event_is_a_bad_reply(connect: Connect, playback: Playback, data: bytes):
    playback.raw(data, headers=EVENT_STREAM)
    with pytest.raises(errors.BadReply):
        await connect().chat(stream=True)


async def test_json_instead_of_a_stream_is_a_bad_reply(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer)
    with pytest.raises(errors.BadReply, match="asked for a stream but got application/json"):
        await connect().chat(stream=True)


@pytest.mark.parametrize("how", ["break", "close", "with"])
async def test_leaving_early_closes_the_connection(connect: Connect, playback: Playback, how: str):
    playback.endless_events(v2_chunk({"content": "一"}), v2_chunk({"content": "二"}))
    client = connect()
    stream = await client.chat(stream=True)
    if how == "close":
        await client.of(stream.close())
    elif how == "with" and hasattr(stream, "__aenter__"):
        async with stream:
            pass
    elif how == "with":
        with stream:
            pass
    elif hasattr(stream, "__aiter__"):
        async for _ in stream:
            break
    else:
        for _ in stream:
            break
    assert await asyncio.to_thread(playback.caller_left.wait, 5)


async def test_an_event_tells_which_answer_it_belongs_to(connect: Connect, playback: Playback):
    call = {"index": 0, "id": "call-1", "function": {"name": "f", "arguments": "{}"}}
    playback.events(
        v2_chunk({"content": "一", "reasoning_content": "想"}, index=1),
        v2_chunk({"tool_calls": [call]}, "tool_calls", index=1),
        done=True,
    )
    client = connect()
    first, second = await client.events(await client.chat(stream=True, n=2))
    assert (first.index, first.text, first.reasoning, first.finish_reason) == (1, "一", "想", None)
    assert (second.is_end, second.finish_reason, second.function_calls[0].name) == (
        True,
        "tool_calls",
        "f",
    )


@both_versions
async def test_bytes_after_the_end_are_not_read(connect: Connect, playback: Playback, version: int):
    end = (
        [v1_event(0, "好", is_end=True)] if version == 1 else [v2_chunk({"content": "好"}, "stop")]
    )
    playback.raw(
        *(b"data: " + json.dumps(event).encode() + b"\n\n" for event in end),
        b"data: [DONE]\n\ndata: {broken\n\n",
        headers=EVENT_STREAM,
    )
    client = connect(version=version)
    assert [event.text for event in await client.events(await client.chat(stream=True))] == ["好"]


async def test_answers_of_one_stream_are_kept_apart(connect: Connect, playback: Playback):
    playback.events(
        v2_chunk({"role": "assistant", "content": "甲"}, index=0),
        v2_chunk({"content": "子"}, index=1),
        v2_chunk({"content": "乙", "reasoning_content": "想"}, index=0),
        v2_chunk({}, "stop", index=0),
        v2_chunk({"content": "丑"}, "length", index=1),
        done=True,
    )
    client = connect()
    stream = await client.chat(stream=True, n=2)
    result = await client.of(stream.result())
    assert [(choice.text, choice.finish_reason) for choice in result.choices] == [
        ("甲乙", "stop"),
        ("子丑", "length"),
    ]
    assert result.reasoning == "想"


async def test_function_calls_are_put_together_from_their_parts(
    connect: Connect, playback: Playback
):
    def part(index: int | None, arguments: str, **more: str) -> dict[str, Any]:
        place = {} if index is None else {"index": index}
        name = {"name": more["name"]} if "name" in more else {}
        named = {"id": more["id"]} if "id" in more else {}
        return v2_chunk(
            {"tool_calls": [{**place, **named, "function": {**name, "arguments": arguments}}]}
        )

    playback.events(
        part(0, '{"a"', id="call-1", name="f"),
        part(0, ": 1}"),
        part(1, "{}", id="call-2", name="g"),
        part(None, "[]", id="call-3", name="h"),
        v2_chunk({}, "tool_calls"),
        done=True,
    )
    client = connect()
    stream = await client.chat(stream=True)
    calls = (await client.of(stream.result())).function_calls
    assert [(call.id, call.name, call.arguments) for call in calls] == [
        ("call-1", "f", '{"a": 1}'),
        ("call-2", "g", "{}"),
        ("call-3", "h", "[]"),
    ]


async def test_a_v1_stream_keeps_what_any_of_its_events_said(connect: Connect, playback: Playback):
    page = {"index": 1, "url": "https://a.example", "title": "甲"}
    playback.events(
        v1_event(0, "甲", search_info={"search_results": [page]}, is_safe=1),
        v1_event(1, "", flag=4, need_clear_history=True, ban_round=-1, is_truncated=True),
        v1_event(2, "", is_end=True, function_call={"name": "f", "arguments": "{}"}),
    )
    client = connect(version=1)
    result = await client.of((await client.chat(stream=True)).result())
    assert (result.flag, result.ban_round, result.need_clear_history) == (4, -1, True)
    assert (result.is_truncated, result.is_safe) == (True, True)
    assert result.search_results[0].url == "https://a.example"
    assert result.function_calls[0].name == "f"


async def test_log_probabilities_of_a_stream_are_joined(connect: Connect, playback: Playback):
    first, second = v2_chunk({"content": "一"}), v2_chunk({"content": "二"}, "stop")
    first["choices"][0]["logprobs"] = {"content": [{"token": "一", "logprob": -1.0}]}
    second["choices"][0]["logprobs"] = {"content": [{"token": "二", "logprob": -2.0}]}
    playback.events(first, second, done=True)
    client = connect()
    result = await client.of((await client.chat(stream=True, logprobs=True)).result())
    assert [item["token"] for item in result.choices[0].logprobs["content"]] == ["一", "二"]
