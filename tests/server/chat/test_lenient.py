"""What lenient servers put right in v1, and what stays refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from tests.conftest import Server
from tests.server.conftest import Caller

from yangfan.protocol.v1.chat import ChatRequest, ContentPart, FunctionCall, ImageUrl, Message
from yangfan.server.chat.lenient import put_right

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "hi"}


def right(*messages: Message, system: str | None = None) -> ChatRequest:
    return put_right(ChatRequest(messages=list(messages), system=system))


def test_system_turns_move_into_the_system_field() -> None:
    request = right(
        Message("system", "a"), Message("user", "hi"), Message("developer", "b"), system="first"
    )
    assert request.system == "first\na\nb"
    assert request.messages == [Message("user", "hi")]


def test_neighbours_of_one_role_become_one_turn() -> None:
    request = right(
        Message("user", "a"),
        Message("user", "b"),
        Message("assistant", "c"),
        Message("system", "s"),
        Message("assistant", "d"),
        Message("user", "e"),
    )
    assert request.messages == [
        Message("user", "a\nb"),
        Message("assistant", "c\nd"),
        Message("user", "e"),
    ]


def test_parts_are_joined_as_parts() -> None:
    image = ContentPart("image_url", image_url=ImageUrl("https://example.com/a.png"))
    request = right(Message("user", "look"), Message("user", [image]))
    assert request.messages == [Message("user", [ContentPart("text", text="look"), image])]


def test_calls_and_their_results_stay_apart() -> None:
    call = Message("assistant", "", function_call=FunctionCall("f", "{}"))
    result = Message("function", "1", name="f")
    assert right(call, call, result, result).messages == [call, call, result, result]


@pytest.fixture(scope="module")
def lenient(
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Caller]:
    home = tmp_path_factory.mktemp("lenient")
    with start_server(home, environ={"YANGFAN_LENIENT": "true"}) as server:
        yield Caller(server)


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([SYSTEM, USER], "hi"),
        ([USER, SYSTEM], "hi"),
        ([USER, USER], "hi\nhi"),
        ([SYSTEM, USER, USER, {"role": "assistant", "content": "a"}, USER], "hi"),
    ],
)
def test_a_lenient_server_answers_what_a_strict_one_refuses(
    echo: Caller, lenient: Caller, messages: Sequence[Mapping[str, Any]], answer: str
) -> None:
    assert lenient.v1({"messages": messages}).json["result"] == answer
    assert echo.v1({"messages": messages}).json["error_code"] == 336006


@pytest.mark.parametrize(
    "messages",
    [
        [SYSTEM],
        [USER, {"role": "assistant", "content": "a"}],
        [{"role": "assistant", "content": "a"}, USER],
        [{"role": "bot", "content": "a"}],
    ],
)
def test_what_leaves_nothing_to_answer_stays_refused(
    lenient: Caller, messages: Sequence[Mapping[str, Any]]
) -> None:
    assert lenient.v1({"messages": messages}).json["error_code"] in {336003, 336006}


def test_v2_takes_a_system_turn_anywhere(echo: Caller, lenient: Caller) -> None:
    body = {"model": "ernie-speed-8k", "messages": [USER, SYSTEM, USER]}
    assert lenient.v2(body).json["choices"][0]["message"]["content"] == "hi"
    assert echo.v2(body).status == 400
