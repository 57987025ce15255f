"""`client.chat(…)` of both clients against replies as specification B.4 and C.3 document them."""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from yangfan import errors
from yangfan.client.types import RateLimit, SearchResult, Usage

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

CHAT_V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/"
HEADERS = {
    "X-Baidu-Request-Id": "r-1",
    "X-Yangfan-Model": "smollm2",
    "X-Ratelimit-Limit-Requests": "300",
    "X-Ratelimit-Limit-Tokens": "300000",
    "X-Ratelimit-Remaining-Requests": "299",
    "X-Ratelimit-Remaining-Tokens": "299000",
}


async def test_v2_answers_a_question(connect: Connect, playback: Playback, v2_answer: Any):
    playback.json(v2_answer, headers=HEADERS)
    result = await connect(bearer="bce-v3/ALTAK-a/b").chat("1加1为什么等于2?")
    assert (result.text, str(result)) == ("因为 1+1=2。", "因为 1+1=2。")
    assert (result.id, result.created, result.model) == ("as-0123456789", 1700000000, "ernie_speed")
    assert (result.served_model, result.request_id, result.finish_reason) == (
        "smollm2",
        "r-1",
        "normal",
    )
    assert result.usage == Usage(7, 5, 12)
    assert result.rate_limit == RateLimit(300, 300000, 299, 299000)
    assert result.raw == v2_answer
    (call,) = playback.calls
    assert (call.method, call.path, call.query) == ("POST", "/v2/chat/completions", "")
    assert call.header("Authorization") == "Bearer bce-v3/ALTAK-a/b"
    assert call.header("Content-Type") == "application/json"
    assert call.json() == {
        "model": "ernie_speed",
        "messages": [{"role": "user", "content": "1加1为什么等于2?"}],
    }


async def test_v1_answers_a_question(connect: Connect, playback: Playback, v1_answer: Any):
    playback.json(v1_answer, headers=HEADERS)
    result = await connect(version=1).chat(
        "1加1为什么等于2?", model="ERNIE-Speed-8K", temperature=0.5
    )
    assert (result.text, result.finish_reason, result.model) == (
        "因为 1+1=2。",
        "normal",
        "ERNIE-Speed-8K",
    )
    assert (result.served_model, result.request_id) == ("smollm2", "r-1")
    assert (result.is_truncated, result.need_clear_history, result.ban_round) == (
        False,
        False,
        None,
    )
    assert result.usage == Usage(7, 5, 12)
    assert result.rate_limit == RateLimit(300, 300000, 299, 299000)
    (call,) = playback.calls
    assert call.path == CHAT_V1 + "ernie_speed"
    assert call.json() == {
        "messages": [{"role": "user", "content": "1加1为什么等于2?"}],
        "temperature": 0.5,
    }


async def test_a_conversation_goes_on_with_the_answers_text(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer)
    result = await connect().chat()
    assert result.message == {"role": "assistant", "content": "因为 1+1=2。"}


async def test_every_documented_field_of_a_v1_answer_is_typed(
    connect: Connect, playback: Playback, v1_answer: Any
):
    v1_answer |= {
        "result": "",
        "is_truncated": True,
        "need_clear_history": True,
        "ban_round": -1,
        "flag": 2,
        "is_safe": 0,
        "finish_reason": "function_call",
        "function_call": {"name": "weather", "arguments": '{"city": "北京"}', "thoughts": "查天气"},
        "search_info": {
            "search_results": [
                {"index": 1, "url": "https://a.example", "title": "甲", "datasource_id": "x"}
            ],
            "rewrite_query": "北京 天气",
        },
    }
    v1_answer["usage"] |= {"tool_tokens": 3, "tool_usage": [{"name": "search", "tool_point": 2}]}
    playback.json(v1_answer)
    result = await connect(version=1).chat()
    (call,) = result.function_calls
    assert (call.name, call.arguments, call.thoughts) == ("weather", '{"city": "北京"}', "查天气")
    assert (result.is_truncated, result.need_clear_history, result.ban_round) == (True, True, -1)
    assert (result.flag, result.is_safe, result.finish_reason) == (2, False, "function_call")
    assert result.search_results == (SearchResult(1, "https://a.example", "甲"),)
    assert result.search_query == "北京 天气"
    assert (result.usage.tool_tokens, result.usage.tool_usage[0].points) == (3, 2)


async def test_pages_of_the_search_tool_of_v1_are_typed(
    connect: Connect, playback: Playback, v1_answer: Any
):
    page = {"index": 1, "url": "https://a.example", "title": "甲"}
    v1_answer["tools_info"] = {
        "name": "baidu_search",
        "rewrite_query": "问",
        "baidu_search": [page],
    }
    playback.json(v1_answer)
    result = await connect(version=1).chat()
    assert result.search_results == (SearchResult(1, "https://a.example", "甲"),)
    assert result.search_query == "问"


async def test_every_documented_field_of_a_v2_answer_is_typed(
    connect: Connect, playback: Playback, v2_answer: Any
):
    call = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    v2_answer["choices"] = [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "reasoning_content": "想一想",
                "tool_calls": [call, {**call, "id": "call-2"}],
            },
            "finish_reason": "tool_calls",
            "flag": 1,
            "ban_round": 0,
            "need_clear_history": True,
            "logprobs": {"content": []},
        },
        {"index": 1, "message": {"role": "assistant", "content": "二"}, "finish_reason": "length"},
    ]
    v2_answer["usage"] |= {
        "prompt_tokens_details": {"cached_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    v2_answer["search_results"] = [{"index": 1, "url": "https://a.example", "title": "甲"}]
    playback.json(v2_answer)
    result = await connect().chat(n=2)
    first, second = result.choices
    assert [call.id for call in result.function_calls] == ["call-1", "call-2"]
    assert [call.index for call in result.function_calls] == [0, 1]
    assert (result.text, result.reasoning, first.finish_reason) == ("", "想一想", "tool_calls")
    assert (result.flag, result.ban_round, result.need_clear_history) == (1, 0, True)
    assert first.logprobs == {"content": []}
    assert (second.index, second.text, second.finish_reason) == (1, "二", "length")
    assert (result.usage.cached_tokens, result.usage.reasoning_tokens) == (6, 4)
    assert result.search_results == (SearchResult(1, "https://a.example", "甲"),)


@pytest.mark.parametrize("version", [1, 2])
async def test_an_answer_can_go_on_as_a_turn(
    connect: Connect, playback: Playback, v1_answer: Any, v2_answer: Any, version: int
):
    v1_answer |= {"result": "", "function_call": {"name": "weather", "arguments": "{}"}}
    tool_call = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "weather", "arguments": "{}"},
    }
    v2_answer["choices"][0]["message"] = {
        "role": "assistant",
        "content": "",
        "tool_calls": [tool_call],
    }
    playback.json(
        v1_answer if version == 1 else v2_answer, v1_answer if version == 1 else v2_answer
    )
    client = connect(version=version)
    asked: dict[str, Any] = {"role": "user", "content": "天气?"}
    result = await client.chat([asked])
    call = result.function_calls[0]
    told = {"role": "tool", "tool_call_id": call.id or call.name, "content": "{}"}
    await client.chat([asked, result.message, told])
    turns = playback.calls[-1].json()["messages"]
    if version == 1:
        assert turns[1]["function_call"] == {"name": "weather", "arguments": "{}"}
        assert turns[2] == {"role": "function", "name": "weather", "content": "{}"}
    else:
        assert turns[1]["tool_calls"] == [tool_call]
        assert turns[2] == told


@pytest.mark.parametrize("version", [1, 2])
async def test_unknown_and_null_fields_are_ignored(
    connect: Connect, playback: Playback, v1_answer: Any, v2_answer: Any, version: int
):
    v1_answer |= {"new_field": {"a": [None]}, "ban_round": None, "search_info": None, "flag": None}
    v1_answer["usage"]["plugins"] = None
    v2_answer |= {"system_fingerprint": None, "search_results": None, "usage": None, "new": 1}
    v2_answer["choices"][0] |= {"logprobs": None, "ban_round": None, "extra": {}}
    playback.json(v1_answer if version == 1 else v2_answer)
    result = await connect(version=version).chat()
    assert result.text == "因为 1+1=2。"
    assert result.ban_round is None


async def test_limits_are_none_when_no_header_says_them(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer, headers={"X-Ratelimit-Limit-Requests": "many"})
    result = await connect().chat()
    assert (result.rate_limit, result.served_model, result.request_id) == (None, None, None)


async def test_each_call_has_its_own_request_id(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer, v2_answer, v2_answer)
    client = connect()
    await client.chat()
    await client.chat()
    await client.chat(request_id="mine")
    first, second, third = (call.header("Request_id") for call in playback.calls)
    assert first
    assert first.startswith("yangfan-py-")
    assert len(first.rpartition("-")[2]) == 16
    assert first != second
    assert third == "mine"


async def test_headers_of_client_and_call_are_sent(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer)
    await connect(headers={"X-One": "1", "X-Two": "1"}, app_id="app-1").chat(
        extra_headers={"X-Two": "2"}
    )
    (call,) = playback.calls
    assert (call.header("X-One"), call.header("X-Two"), call.header("appid")) == ("1", "2", "app-1")


async def test_v1_sends_no_appid(connect: Connect, playback: Playback, v1_answer: Any):
    playback.json(v1_answer)
    await connect(version=1, app_id="app-1").chat()
    assert playback.calls[0].header("appid") is None


@pytest.mark.parametrize(
    ("document", "kind", "code"),
    [
        ({"error_code": 3, "error_msg": "Unsupported openapi method"}, errors.NotFound, 3),
        (
            {"error_code": 17, "error_msg": "Open api daily request limit reached"},
            errors.QuotaExceeded,
            17,
        ),
        (
            {"error_code": 336002, "error_msg": "Invalid JSON", "id": "as-1"},
            errors.MalformedJSON,
            336002,
        ),
        (
            {"error_code": 336006, "error_msg": "odd number", "id": "as-1"},
            errors.InvalidMessages,
            336006,
        ),
        (
            {"error_code": 336007, "error_msg": "the max input characters is 2"},
            errors.TooManyCharacters,
            336007,
        ),
        (
            {"error_code": 336103, "error_msg": "Prompt tokens too long"},
            errors.ContextTooLong,
            336103,
        ),
        ({"error_code": 987654, "error_msg": "new"}, errors.InternalError, 987654),
    ],
)
async def test_v1_errors_inside_http_200_are_raised(
    connect: Connect, playback: Playback, document: Any, kind: type[errors.RefusedError], code: int
):
    playback.json(document)
    with pytest.raises(kind) as caught:
        await connect(version=1).chat()
    assert (caught.value.code, caught.value.status, caught.value.message) == (
        code,
        200,
        document["error_msg"],
    )


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "malformed_json", errors.MalformedJSON),
        (400, "invalid_messages", errors.InvalidMessages),
        (400, "tokens_too_long", errors.ContextTooLong),
        (401, "invalid_model", errors.ModelNotFound),
        (401, "invalid_iam_token", errors.BearerInvalid),
        (403, "account_overdue", errors.QuotaExceeded),
        (405, "method_not_supported", errors.MethodNotAllowed),
        (200, "invalid_argument", errors.Invalid),
        (404, "something_new", errors.NotFound),
        (413, "characters_too_long", errors.BodyTooLarge),
    ],
)
async def test_v2_errors_are_raised(
    connect: Connect, playback: Playback, status: int, code: str, kind: type[errors.RefusedError]
):
    document = {"error": {"code": code, "message": "what", "type": "t"}, "id": "as-1"}
    playback.json(document, status=status, headers=HEADERS)
    with pytest.raises(kind) as caught:
        await connect().chat()
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (
        code,
        status,
        "r-1",
    )
    assert len(playback.calls) == 1


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"<html>nginx</html>", 200, "not JSON"),
        (b"[1]", 200, "not an object"),
        (b"\xff\xfe{}", 200, "not JSON"),
        (b"{}", 200, "no choices"),
        (b'{"choices": 5}', 200, "not a v2 answer"),
        (b'{"choices": [{"message": {"content": 5}}]}', 200, "not a v2 answer"),
        (b"", 302, "redirects to"),
        (b"[" * 100000, 200, "not JSON"),
    ],
)
async def test_what_is_no_answer_is_a_bad_reply(
    connect: Connect, playback: Playback, body: bytes, status: int, text: str
):
    playback.raw(body, status=status)
    with pytest.raises(errors.BadReply, match=text):
        await connect().chat()


async def test_a_v1_field_of_a_wrong_type_is_a_bad_reply(connect: Connect, playback: Playback):
    playback.json({"result": 5})
    with pytest.raises(errors.BadReply, match="not a v1 answer"):
        await connect(version=1).chat()


async def test_a_failure_without_a_known_body_is_told_by_its_status(
    connect: Connect, playback: Playback
):
    playback.raw(b"<h1>Forbidden</h1>", status=403)
    with pytest.raises(errors.Forbidden, match="HTTP 403"):
        await connect().chat()


async def test_an_option_that_does_not_exist_is_named_with_the_closest_one(connect: Connect):
    with pytest.raises(errors.ConfigurationError, match="did you mean temperature"):
        await connect().chat(temprature=0.5)
    with pytest.raises(errors.ConfigurationError, match=r"there are: .*top_p"):
        await connect().chat(qqqq=1)


async def test_a_timeout_that_cannot_be_is_refused(connect: Connect):
    with pytest.raises(errors.ConfigurationError, match="timeout_seconds"):
        await connect().chat(timeout_seconds=0)


async def test_mappings_and_sequences_of_any_kind_are_sent(
    connect: Connect, playback: Playback, v2_answer: Any
):
    playback.json(v2_answer)
    turn = MappingProxyType({"role": "user", "content": "问"})
    await connect().chat(deque([turn]), stop=deque(["。"]), metadata=MappingProxyType({"a": "b"}))
    sent = playback.calls[0].json()
    assert (sent["messages"], sent["stop"], sent["metadata"]) == ([dict(turn)], ["。"], {"a": "b"})


async def test_a_function_call_in_v1s_place_is_read_in_v2(
    connect: Connect, playback: Playback, v2_answer: Any
):
    v2_answer["choices"][0]["message"]["function_call"] = {"name": "f", "arguments": "{}"}
    playback.json(v2_answer)
    assert (await connect().chat()).function_calls[0].name == "f"


async def test_search_without_pages_gives_none(
    connect: Connect, playback: Playback, v1_answer: Any
):
    v1_answer["search_info"] = {"rewrite_query": "问"}
    playback.json(v1_answer)
    result = await connect(version=1).chat()
    assert (result.search_results, result.search_query) == ((), "问")


async def test_what_json_cannot_say_is_refused(connect: Connect):
    with pytest.raises(errors.ConfigurationError, match="JSON"):
        await connect().chat(extra_body={"x": object()})
    with pytest.raises(errors.ConfigurationError, match="list of mappings"):
        await connect().chat(["hello"])
