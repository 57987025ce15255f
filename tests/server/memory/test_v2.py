"""System and user memory by the Actions of /v2/memory (specification D.16), and in conversations, on a real server."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import serving
from tests.server.conftest import Caller, Reply

HI = [{"role": "user", "content": "hi"}]
NAME = ("What is your name?", "I am Jin.")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.fixture(scope="module", name="caller")
def caller_fixture(home: Path) -> Generator[Caller]:
    with serving(home) as server:
        yield Caller(server)


def act(caller: Caller, action: str, body: dict[str, Any]) -> Reply:
    path = f"/v2/memory?Action={action}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


def result(caller: Caller, action: str, **body: Any) -> Any:
    reply = act(caller, action, body)
    assert reply.status == 200, reply.body
    return reply.json["result"]


def turns(user: str, system: str, **more: str) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": user, **more},
        {"role": "system", "content": system, **more},
    ]


def system_memory(caller: Caller, *pairs: tuple[str, str], app: str = "shop") -> str:
    memory_id = result(caller, "CreateSystemMemory", appId=app, description="about")
    if pairs:
        body = {"systemMemoryId": memory_id, "memories": [turns(*pair) for pair in pairs]}
        assert result(caller, "ModifySystemMemory", **body) is True
    return memory_id


def test_system_memory_is_created_filled_paged_and_deleted(caller: Caller):
    ids = [system_memory(caller, app="pages") for _ in range(3)]
    assert all(re.fullmatch(r"sm-[0-9a-f]{12}", memory_id) for memory_id in ids)
    page = result(caller, "DescribeSystemMemories", appId="pages", marker="0", maxKeys=2)
    info = {"marker": "0", "maxKeys": 2, "isTruncated": True, "nextMarker": ids[2]}
    first = {"appId": "pages", "systemMemoryId": ids[0], "description": "about"}
    assert (page["items"][0], page["pageInfo"]) == (first, info)
    rest = result(caller, "DescribeSystemMemories", appId="pages", marker=ids[2], maxKeys=2)
    assert [item["systemMemoryId"] for item in rest["items"]] == [ids[2]]
    assert rest["pageInfo"] == {"marker": ids[2], "maxKeys": 2, "isTruncated": False}
    newest = result(caller, "DescribeSystemMemories", appId="pages", pageReverse=True)
    assert [item["systemMemoryId"] for item in newest["items"]] == ids[::-1]
    for pairs in ([turns("a", "b"), turns("c", "d")], [turns(*NAME)]):
        result(caller, "ModifySystemMemory", systemMemoryId=ids[0], memories=pairs)
        shown = result(caller, "DescribeSystemMemory", systemMemoryId=ids[0])
        assert shown == {**first, "memories": pairs}
    for memory_id in ids:
        assert result(caller, "DeleteSystemMemory", systemMemoryId=memory_id) is True
    assert result(caller, "DescribeSystemMemories", appId="pages")["items"] == []


def test_user_memory_is_created_filled_changed_and_deleted(caller: Caller):
    memory_id = result(caller, "CreateUserMemory", appId="shop", description="likes tea")
    mine = {"appId": "shop", "userMemoryId": memory_id}
    assert re.fullmatch(r"um-[0-9a-f]{12}", memory_id)
    result(caller, "ModifyUserMemory", **mine, memories=[turns("a", "b")])
    result(caller, "ModifyUserMemory", **mine, operator="insert", memories=[turns("c", "d")])
    held = result(caller, "DescribeUserMemory", **mine)["memories"]
    assert [[turn["content"] for turn in pair] for pair in held] == [["a", "b"], ["c", "d"]]
    one, two = (pair[0]["memoryContentId"] for pair in held)
    changed = turns("c", "D", memoryContentId=two)
    assert result(caller, "ModifyUserMemoryContent", **mine, memories=[changed]) is True
    only = result(caller, "DescribeUserMemory", **mine, memoryContentId=two)["memories"]
    assert only == [changed]
    assert result(caller, "DeleteUserMemory", **mine, memoryContentId=one) is True
    assert result(caller, "DescribeUserMemory", **mine)["memories"] == [changed]
    listed = result(caller, "DescribeUserMemories", appId="shop")["items"]
    assert [item["userMemoryId"] for item in listed].count(memory_id) == 1
    assert result(caller, "DeleteUserMemory", **mine) is True
    assert act(caller, "DescribeUserMemory", mine).status == 404


def test_memory_survives_a_restart(tmp_path: Path):
    with serving(tmp_path) as server:
        memory_id = system_memory(Caller(server), NAME)
    with serving(tmp_path) as server:
        shown = result(Caller(server), "DescribeSystemMemory", systemMemoryId=memory_id)
    assert shown["memories"] == [turns(*NAME)]


def test_memory_is_put_in_front_and_counts_in_both_dialects(caller: Caller):
    enabled = {
        "enable_system_memory": True,
        "system_memory_id": system_memory(caller, NAME),
        "max_tokens": 5,
    }
    plain = caller.v1({"messages": HI}).json["usage"]["prompt_tokens"]
    v1 = caller.v1({"messages": HI, **enabled}).json
    v2 = caller.v2({"model": "echo", "messages": HI, **enabled}).json
    # The echo engine counts words and line feeds: "system: What is your name?\nI am Jin.\n".
    assert v1["usage"]["prompt_tokens"] == v2["usage"]["prompt_tokens"] > plain + 7
    assert v1["result"] == v2["choices"][0]["message"]["content"] == "hi"
    streamed = caller.v1({"messages": HI, "stream": True, **enabled}).events
    assert streamed[-1]["usage"]["prompt_tokens"] == v1["usage"]["prompt_tokens"]


def test_user_memory_is_found_by_user_id_or_by_its_own_name(caller: Caller):
    memory_id = result(caller, "CreateUserMemory", appId="shop", description="likes green tea")
    plain = caller.v1({"messages": HI}).json["usage"]["prompt_tokens"]
    for name in ("user_id", "user_memory_id"):
        body = {"messages": HI, "enable_user_memory": True, name: memory_id}
        assert caller.v1(body).json["usage"]["prompt_tokens"] > plain


def test_the_level_says_how_much_of_a_user_memory_is_recalled_in_both_dialects(caller: Caller):
    memory_id = result(caller, "CreateUserMemory", appId="shop", description="likes green tea")
    mine = {"appId": "shop", "userMemoryId": memory_id}
    held = [turns(f"fact {place}", "noted") for place in range(300)]
    result(caller, "ModifyUserMemory", **mine, memories=held)

    def prompt_tokens(**fields: Any) -> int:
        enabled = {"enable_user_memory": True, "user_memory_id": memory_id, **fields}
        v1 = caller.v1({"messages": HI, **enabled}).json["usage"]["prompt_tokens"]
        v2 = caller.v2({"model": "echo", "messages": HI, **enabled}).json["usage"]["prompt_tokens"]
        assert v1 == v2
        return v1

    costs = [prompt_tokens(user_memory_level=level) for level in range(5)]
    assert costs == sorted(set(costs))
    assert prompt_tokens() == costs[1]
    assert prompt_tokens(user_memory_extract_level=2) == costs[1]


@pytest.mark.parametrize(
    ("name", "value"), [("user_memory_level", 5), ("user_memory_extract_level", 3)]
)
def test_a_level_that_is_none_is_refused(caller: Caller, name: str, value: int):
    v1 = caller.v1({"messages": HI, name: value}).json
    assert (v1["error_code"], name in v1["error_msg"]) == (336003, True)
    v2 = caller.v2({"model": "echo", "messages": HI, name: value})
    assert (v2.status, v2.json["error"]["code"]) == (400, "invalid_argument")


def test_memory_counts_towards_the_characters_of_the_model(caller: Caller):
    memory_id = system_memory(caller, *[("x" * 4000, "y" * 4000)] * 4)
    body = {"messages": HI, "enable_system_memory": True, "system_memory_id": memory_id}
    assert caller.v1(body).json["error_code"] in {336007, 336104}


def test_memory_of_another_application_is_none(caller: Caller):
    memory_id = system_memory(caller, NAME, app="app-elsewhere")
    body = {"messages": HI, "enable_system_memory": True, "system_memory_id": memory_id}
    refused = caller.v1(body).json
    assert (refused["error_code"], memory_id in refused["error_msg"]) == (336003, True)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"enable_system_memory": True}, "system_memory_id is required"),
        ({"enable_system_memory": True, "system_memory_id": "sm-none"}, "'sm-none' does not exist"),
        ({"enable_user_memory": True, "user_id": "me"}, "user_memory_id is required"),
        ({"enable_user_memory": True, "user_memory_id": "um-none"}, "'um-none' does not exist"),
    ],
)
def test_chat_refuses_a_memory_that_is_not_there(caller: Caller, more: dict[str, Any], says: str):
    v1 = caller.v1({"messages": HI, **more}).json
    assert v1["error_code"] == 336003
    assert says in v1["error_msg"]
    renamed = {("user" if name == "user_id" else name): value for name, value in more.items()}
    v2 = caller.v2({"model": "echo", "messages": HI, **renamed})
    assert (v2.status, v2.json["error"]["code"]) == (400, "invalid_argument")
    assert says in v2.json["error"]["message"]


GONE = {"appId": "shop", "userMemoryId": "um-gone"}


@pytest.mark.parametrize(
    ("action", "body", "status", "says"),
    [
        ("CreateSystemMemory", {}, 400, "appId"),
        ("CreateSystemMemory", {"appId": "a", "description": "x" * 1025}, 400, "1024"),
        ("DescribeSystemMemory", {"systemMemoryId": "um-gone"}, 404, "no system memory 'um-gone'"),
        ("DeleteSystemMemory", {"systemMemoryId": "sm-gone"}, 404, "no system memory"),
        ("DescribeSystemMemories", {"marker": "sm-gone"}, 404, "no system memory"),
        ("DescribeSystemMemories", {"maxKeys": 101}, 400, "<= 100"),
        ("ModifySystemMemory", {"systemMemoryId": "sm-x", "memories": []}, 400, ">= 1"),
        (
            "ModifySystemMemory",
            {"systemMemoryId": "sm-x", "memories": [turns("a", "b")] * 1001},
            400,
            "<= 1000",
        ),
        (
            "ModifySystemMemory",
            {"systemMemoryId": "sm-x", "memories": [turns("a", "b")[::-1]]},
            400,
            "role user and then one of role system",
        ),
        ("ModifyUserMemory", {**GONE, "memories": [turns("a", "b")]}, 404, "no user memory"),
        ("ModifyUserMemoryContent", {**GONE, "memories": [turns("a", "b")]}, 400, "must name"),
        ("DeleteUserMemory", {**GONE, "memoryContentId": "mc-x"}, 404, "no user memory"),
    ],
)
def test_action_that_cannot_be_is_refused_with_what_to_do(
    caller: Caller, action: str, body: dict[str, Any], status: int, says: str
):
    reply = act(caller, action, body)
    assert (reply.status, says in reply.json["message"]) == (status, True), reply.body


def test_memory_holds_no_more_than_a_thousand_pairs(caller: Caller):
    memory_id = result(caller, "CreateUserMemory", appId="shop")
    mine = {"appId": "shop", "userMemoryId": memory_id}
    result(caller, "ModifyUserMemory", **mine, memories=[turns("a", "b")] * 1000)
    one_more = {**mine, "operator": "insert", "memories": [turns("a", "b")]}
    refused = act(caller, "ModifyUserMemory", one_more)
    assert (refused.status, "1001" in refused.json["message"]) == (400, True)
    unknown = turns("a", "b", memoryContentId="mc-none")
    assert act(caller, "ModifyUserMemoryContent", {**mine, "memories": [unknown]}).status == 404
    assert act(caller, "DeleteUserMemory", {**mine, "memoryContentId": "mc-none"}).status == 404


def test_memory_needs_a_signature(caller: Caller):
    path = "/v2/memory?Action=DescribeSystemMemories"
    assert caller.ask("POST", path, {}).status == 403
