"""The mapping, checked against events recorded from llama.cpp."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from yangfan.engines.base import (
    ChatRequest,
    Delta,
    Finish,
    FunctionCall,
    Message,
    Part,
    Sampling,
    Tool,
    Usage,
)
from yangfan.engines.wire.chat import (
    DeltaReader,
    decode_reply,
    encode_request,
    gather_reply,
    read_deltas,
)
from yangfan.errors import ContextTooLong, EngineFailed, Invalid

USAGE = {
    "completion_tokens": 3,
    "prompt_tokens": 32,
    "total_tokens": 35,
    "prompt_tokens_details": {"cached_tokens": 31},
}


def encode(request: ChatRequest, *, stream: bool = False) -> dict[str, Any]:
    return json.loads(encode_request("m", request, stream=stream))


def ask(**fields: Any) -> ChatRequest:
    return ChatRequest((Message("user", "hi"),), **fields)


def event(delta: dict[str, Any] | None = None, *, index: int = 0, **fields: Any) -> bytes:
    """A chunk with one choice, or without any if `delta` is None."""
    finish = fields.pop("finish", None)
    choices = [] if delta is None else [{"finish_reason": finish, "index": index, "delta": delta}]
    return json.dumps({"choices": choices, "id": "chatcmpl-1", **fields}).encode()


def read(*events: bytes, answers: int = 1) -> list[Delta]:
    reader = DeltaReader(answers)
    deltas = [delta for data in events for delta in reader.read(data)]
    assert reader.done
    return deltas


# Requests -----------------------------------------------------------------------------------------


def test_a_plain_request_says_no_more_than_it_must() -> None:
    assert encode(ask()) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_every_sampling_parameter_has_its_name() -> None:
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        top_k=7,
        repetition_penalty=1.1,
        frequency_penalty=0.2,
        presence_penalty=0.3,
        max_output_tokens=9,
        seed=0,
        stop=("a", "b"),
        logit_bias={"5": -1.0},
    )
    body = encode(ask(sampling=sampling))
    del body["model"], body["messages"]
    assert body == {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 7,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.3,
        "max_tokens": 9,
        "seed": 0,
        "cache_prompt": False,
        "stop": ["a", "b"],
        "verbose": True,
        "logit_bias": {"5": -1.0},
    }


def test_a_stream_asks_for_usage_and_progress() -> None:
    body = encode(ask(), stream=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["timings_per_token"] is True
    assert "return_progress" not in body
    assert "verbose" not in body
    long = ChatRequest((Message("user", "word " * 300),))
    assert encode(long, stream=True)["return_progress"] is True


def test_other_wishes_pass_through() -> None:
    wish = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    body = encode(ask(n=2, response_format=wish, logprobs=True, top_logprobs=0))
    assert body["n"] == 2
    assert body["response_format"] == wish
    assert body["logprobs"] is True
    assert body["top_logprobs"] == 0


def test_messages_keep_parts_calls_and_names() -> None:
    image = Part(image_url="data:image/png;base64,xx", detail="low")
    call = FunctionCall("f", '{"x":1}', id="c1")
    request = ChatRequest(
        (
            Message("user", (Part(text="look"), image), name="ann"),
            Message("assistant", None, function_calls=(call, FunctionCall("g", "{}"))),
            Message("tool", "42", tool_call_id="c1"),
        )
    )
    assert encode(request)["messages"] == [
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "look"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,xx", "detail": "low"},
                },
            ],
        },
        {
            "role": "assistant",
            "tool_calls": [
                {"type": "function", "id": "c1", "function": {"name": "f", "arguments": '{"x":1}'}},
                {"type": "function", "id": "call_1", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
    ]


TOOLS = (Tool("f", "does f", {"type": "object"}), Tool("g"))


def test_tools_are_offered_with_the_choice() -> None:
    body = encode(ask(tools=TOOLS, tool_choice="auto", parallel_tool_calls=False))
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "does f",
                "parameters": {"type": "object"},
            },
        },
        {"type": "function", "function": {"name": "g"}},
    ]
    assert body["tool_choice"] == "auto"
    assert body["parallel_tool_calls"] is False


def test_one_function_is_required_by_offering_only_that_one() -> None:
    body = encode(ask(tools=TOOLS, tool_choice="function:g"))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == "required"


def test_a_choice_without_tools_is_not_sent() -> None:
    body = encode(ask(tool_choice="auto", parallel_tool_calls=True))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_choosing_a_tool_that_is_not_offered_is_refused() -> None:
    with pytest.raises(Invalid, match="the tools are: f, g") as refused:
        encode(ask(tools=TOOLS, tool_choice="function:h"))
    assert refused.value.param == "tool_choice"


# Whole replies ------------------------------------------------------------------------------------


def reply(message: dict[str, Any], finish: str, **fields: Any) -> bytes:
    choices = [{"finish_reason": finish, "index": 0, "message": message}]
    return json.dumps({"choices": choices, "usage": USAGE, "unknown": 1, **fields}).encode()


def test_a_whole_reply_has_text_finish_and_usage() -> None:
    decoded = decode_reply(reply({"content": "hello", "reasoning_content": "hm"}, "stop"))
    (answer,) = decoded.answers
    assert (answer.text, answer.reasoning, answer.finish) == ("hello", "hm", Finish.NATURAL)
    assert decoded.usage == Usage(32, 3, 31)


@pytest.mark.parametrize(
    ("finish", "fields", "expected"),
    [
        ("stop", {}, Finish.NATURAL),
        ("stop", {"__verbose": {"stop_type": "eos", "prompt": "long"}}, Finish.NATURAL),
        ("stop", {"__verbose": {"stop_type": "word"}}, Finish.STOP_STRING),
        ("length", {"__verbose": {"stop_type": "limit"}}, Finish.LENGTH),
        ("tool_calls", {}, Finish.FUNCTION_CALL),
        ("content_filter", {}, Finish.CONTENT_FILTER),
    ],
)
def test_a_finish_says_what_ended_the_answer(
    finish: str, fields: dict[str, Any], expected: Finish
) -> None:
    assert decode_reply(reply({"content": "x"}, finish, **fields)).answers[0].finish is expected


def test_a_whole_reply_has_its_function_calls() -> None:
    call = {"type": "function", "id": "c1", "function": {"name": "f", "arguments": '{"x":1}'}}
    (answer,) = decode_reply(reply({"content": None, "tool_calls": [call]}, "stop")).answers
    assert answer.function_calls == (FunctionCall("f", '{"x":1}', "c1"),)
    assert answer.finish is Finish.FUNCTION_CALL


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"choices": 5}',
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": "\xff"}, "finish_reason": "stop"}], "usage": {}}',
        reply({"content": "x"}, "exploded"),
        b'{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":null}],"usage":{}}',
    ],
)
def test_nonsense_is_a_failed_engine(body: bytes) -> None:
    with pytest.raises(EngineFailed):
        decode_reply(body)


# Streams ------------------------------------------------------------------------------------------


def test_a_stream_ends_with_finish_and_final_usage_on_one_delta() -> None:
    deltas = read(
        event({"role": "assistant", "content": None}),
        event(
            {"role": "assistant", "content": None}, prompt_progress={"total": 32, "processed": 9}
        ),
        event({"content": "He"}, timings={"cache_n": 31, "prompt_n": 1, "predicted_n": 1}),
        event({"content": "y"}, timings={"cache_n": 31, "prompt_n": 1, "predicted_n": 2}),
        event({}, finish="length"),
        event(usage=USAGE),
        b"[DONE]",
    )
    assert deltas == [
        Delta("He", usage=Usage(32, 1, 31)),
        Delta("y", usage=Usage(32, 2, 31)),
        Delta(finish=Finish.LENGTH, usage=Usage(32, 3, 31)),
    ]


def test_each_answer_of_a_stream_finishes_and_the_last_delta_counts_both() -> None:
    deltas = read(
        event({"content": "a"}, index=1, timings={"prompt_n": 5, "predicted_n": 1}),
        event({"content": "b"}, index=0, timings={"prompt_n": 5, "predicted_n": 1}),
        event({}, index=1, finish="stop", __verbose={"stop_type": "word"}),
        event(usage={"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}),
        event({"content": "c"}, index=0, timings={"prompt_n": 5, "predicted_n": 2}),
        event({}, index=0, finish="length", __verbose={"stop_type": "limit"}),
        event(usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}),
        b"[DONE]",
        answers=2,
    )
    assert [(delta.index, delta.text, delta.finish) for delta in deltas] == [
        (1, "a", None),
        (0, "b", None),
        (0, "c", None),
        (1, "", Finish.STOP_STRING),
        (0, "", Finish.LENGTH),
    ]
    assert [delta.usage for delta in deltas[1:3]] == [Usage(5, 2), Usage(5, 3)]
    assert deltas[-1].usage == Usage(5, 3)


def test_function_calls_arrive_whole_with_the_finish() -> None:
    def fragment(index: int, **function: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "function": function}]}

    first = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]}
    deltas = read(
        event(first),
        event(fragment(0, arguments='{"city":')),
        event(fragment(0, arguments='"北京"}')),
        event(fragment(1, name="g", arguments="{}")),
        event({}, finish="tool_calls"),
        event(usage=USAGE),
        b"[DONE]",
    )
    (last,) = deltas
    assert last.finish is Finish.FUNCTION_CALL
    assert last.function_calls == (
        FunctionCall("f", '{"city":"北京"}', "c1"),
        FunctionCall("g", "{}"),
    )


def test_reasoning_and_log_probabilities_stream() -> None:
    logprobs = {"content": [{"token": "x", "logprob": -1.0}]}
    choice = {"index": 0, "delta": {"content": ""}, "logprobs": logprobs, "finish_reason": None}
    deltas = read(
        event({"reasoning_content": "hm"}),
        json.dumps({"choices": [choice]}).encode(),
        event({}, finish="stop"),
        event(usage=USAGE),
        b"[DONE]",
    )
    assert deltas[0] == Delta(reasoning="hm")
    assert deltas[1].logprobs == logprobs


@pytest.mark.parametrize(
    "events",
    [
        [b"[DONE]"],
        [event({"content": "a"}), b"[DONE]"],
        [event({}, finish="stop"), b"[DONE]"],
        [event(usage=USAGE), b"[DONE]"],
        [b"{"],
        [b'{"choices":[{"index":0}]}'],
        [event({"content": "a"}, index=3, timings={"predicted_n": 1})],
        [event({"content": "a"}, index=-1, timings={"predicted_n": 1})],
        [event({"content": "a"}, index=3)],
        [b'{"error":{"code":500,"message":"Compute error.","type":"server_error"}}'],
        [b'{"error":{"message":"no code"}}'],
    ],
)
def test_a_stream_of_nonsense_is_a_failed_engine(events: list[bytes]) -> None:
    with pytest.raises(EngineFailed):
        read(*events)


def test_an_error_inside_a_stream_is_what_it_says() -> None:
    error = {
        "code": 400,
        "type": "exceed_context_size_error",
        "message": "m",
        "n_prompt_tokens": 9,
        "n_ctx": 8,
    }
    with pytest.raises(ContextTooLong, match="9 tokens and the model takes 8"):
        read(json.dumps({"error": error}).encode())


async def play(*events: bytes) -> AsyncGenerator[bytes]:
    for data in events:
        yield data


async def test_a_stream_that_just_ends_is_a_failed_engine() -> None:
    events = play(event({"content": "a"}), event({}, finish="stop"), event(usage=USAGE))
    with pytest.raises(EngineFailed, match="middle of the answer"):
        _ = [delta async for delta in read_deltas(events, 1)]


async def test_closing_the_deltas_closes_the_events() -> None:
    closed = False

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal closed
        try:
            while True:
                yield event({"content": "a"})
        finally:
            closed = True

    deltas = read_deltas(endless(), 1)
    assert (await anext(deltas)).text == "a"
    await deltas.aclose()
    assert closed


async def test_a_gathered_stream_is_a_whole_reply() -> None:
    token = {"token": "x", "logprob": -1.0}
    call = FunctionCall("f", "{}")

    async def deltas() -> AsyncGenerator[Delta]:
        yield Delta("b", index=1, logprobs={"content": [token]})
        yield Delta("a", index=0, reasoning="hm")
        yield Delta("c", index=1, logprobs={"content": [token]})
        yield Delta(index=1, finish=Finish.LENGTH)
        yield Delta(index=0, finish=Finish.FUNCTION_CALL, function_calls=(call,), usage=Usage(5, 3))

    gathered = await gather_reply(deltas(), 2)
    first, second = gathered.answers
    assert (first.text, first.reasoning, first.function_calls) == ("a", "hm", (call,))
    assert (first.finish, first.logprobs) == (Finish.FUNCTION_CALL, None)
    assert (second.text, second.finish) == ("bc", Finish.LENGTH)
    assert second.logprobs == {"content": [token, token]}
    assert gathered.usage == Usage(5, 3)
