"""v1 calls of one Yangfan, answered by another that plays Baidu's v2 cloud."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server
from tests.server.conftest import Caller, Reply
from tests.server.drawing import data_uri, png

from yangfan.server import pictures

CANARY = "bce-v3/ALTAK-canary/5ecretcanary5ecretcanary"
ASK = {"messages": [{"role": "user", "content": "hello 世界"}]}
V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/"


@pytest.fixture(scope="module")
def bridge(
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server without upstreams yet, that may reach this machine."""
    home = tmp_path_factory.mktemp("bridge")
    with start_server(
        home, environ={"YANGFAN_EGRESS_ALLOW": "127.0.0.1", "YANGFAN_PRESETS": "ernie-lite-8k=echo"}
    ) as server:
        yield server


@pytest.fixture(scope="module")
def caller(bridge: Server) -> Caller:
    return Caller(bridge)


def action(caller: Caller, name: str, body: dict[str, Any]) -> Any:
    path = f"/v2/upstream?Action={name}"
    return caller.ask("POST", path, body, caller.signed("POST", path))


@pytest.fixture(scope="module")
def cloud(caller: Caller, echo_server: Server) -> dict[str, Any]:
    """The other server, added as an upstream named baidu."""
    body = {
        "name": "baidu",
        "baseUrl": f"{echo_server.base_url}/v2",
        "dialect": "qianfan",
        "apiKey": echo_server.bearer,
        "rename": {"chatglm2-6b-32k": "deepseek-v3"},
    }
    reply = action(caller, "CreateUpstream", body)
    assert reply.status == 200, reply.body
    return reply.json["result"]


def test_a_v1_call_is_answered_by_the_cloud(caller: Caller, cloud: dict[str, Any]) -> None:
    assert cloud["modelCount"] > 50
    reply = caller.v1(ASK, "completions_pro")
    assert reply.headers["X-Yangfan-Model"] == "ernie-4.0-8k"
    body = reply.json
    assert body["result"] == "hello 世界"
    assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}
    streamed = caller.v1({**ASK, "stream": True}, "completions_pro").events
    assert "".join(event["result"] for event in streamed) == "hello 世界"
    assert streamed[-1]["is_end"] is True
    assert streamed[-1]["usage"] == body["usage"]


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("ernie-3.5-8k-0205", "ernie-3.5-8k-0205"),  # the cloud lists it
        ("chatglm2_6b_32k", "deepseek-v3"),  # renamed
        ("echo", "echo"),
        ("ernie-lite-8k", "echo"),  # the settings give it to a model of this machine
        ("ernie-speed-8k", "ernie-speed-8k"),
    ],
)
def test_every_name_finds_its_model(caller: Caller, asked: str, answers: str) -> None:
    assert caller.v1(ASK, asked).headers["X-Yangfan-Model"] == answers


@pytest.mark.usefixtures("cloud")
def test_functions_of_v1_become_tools_and_come_back(caller: Caller) -> None:
    functions: list[Any] = [
        {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}}
    ]
    asked: dict[str, Any] = {
        **ASK,
        "functions": functions,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    }
    first = caller.v1(asked, "completions_pro").json
    assert first["function_call"]["name"] == "weather"
    assert json.loads(first["function_call"]["arguments"]) == {"echo": "hello 世界"}
    messages = [
        *ASK["messages"],
        {"role": "assistant", "content": "", "function_call": first["function_call"]},
        {"role": "function", "name": "weather", "content": '{"t":25}'},
    ]
    second = caller.v1({"messages": messages, "functions": functions}, "completions_pro").json
    assert second["result"]
    assert "error_code" not in second


@pytest.mark.usefixtures("cloud")
def test_v2_embeddings_rerank_and_completions_pass(caller: Caller) -> None:
    headers = caller.bearer()
    vectors = caller.ask(
        "POST", "/v2/embeddings", {"model": "baidu/echo", "input": ["a", "b"]}, headers
    )
    assert vectors.status == 401  # the cloud calls echo a model for chat
    vectors = caller.ask(
        "POST", "/v2/embeddings", {"model": "embedding-v1", "input": ["a", "b"]}, headers
    )
    assert (vectors.status, len(vectors.json["data"])) == (200, 2)
    sorted_ = caller.ask(
        "POST",
        "/v2/rerank",
        {"model": "bce-reranker-base", "query": "a", "documents": ["b", "a"]},
        headers,
    )
    assert sorted_.json["results"][0]["index"] == 1
    went_on = caller.ask(
        "POST", "/v2/completions", {"model": "sqlcoder-7b", "prompt": "SELECT"}, headers
    )
    assert went_on.json["choices"][0]["text"] == "SELECT"


@pytest.mark.usefixtures("cloud")
def test_token_ids_are_the_clouds_to_read(caller: Caller) -> None:
    def go_on(prompt: object) -> Reply:
        body = {"model": "sqlcoder-7b", "prompt": prompt, "echo": True}
        return caller.ask("POST", "/v2/completions", body, caller.bearer())

    ids = list(map(ord, "SELECT 1"))
    went_on = go_on([ids])
    assert went_on.json["choices"][0]["text"] == "SELECT 1SELECT 1"
    assert went_on.json["usage"]["prompt_tokens"] == 8
    refused = go_on([1_114_112])
    assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_argument")
    assert "prompt[0]: echo has no token 1114112" in refused.json["error"]["message"]
    vectors = [
        caller.ask(
            "POST", "/v2/embeddings", {"model": "embedding-v1", "input": given}, caller.bearer()
        ).json["data"]
        for given in (ids, ["SELECT 1"])
    ]
    assert vectors[0] == vectors[1]


@pytest.mark.usefixtures("cloud")
def test_pictures_are_edited_by_a_server_of_either_dialect(
    caller: Caller, echo_server: Server
) -> None:
    easel = {"name": "easel", "baseUrl": f"{echo_server.base_url}/v2", "apiKey": echo_server.bearer}
    reply = action(caller, "CreateUpstream", {**easel, "dialect": "openai"})
    assert reply.status == 200, reply.body
    picture = data_uri(png(300, 200))
    asked = {"prompt": "a cat", "image": picture, "mask": picture, "response_format": "b64_json"}
    asked = {**asked, "seed": 7, "n": 2}
    wanted = Caller(echo_server).ask(
        "POST", "/v2/images/edits", {**asked, "model": "irag-1.0"}, Caller(echo_server).bearer()
    )
    for upstream in ("baidu", "easel"):
        body = {**asked, "model": f"{upstream}/irag-1.0"}
        drawn = caller.ask("POST", "/v2/images/edits", body, caller.bearer())
        assert drawn.status == 200, drawn.body
        files = [base64.b64decode(item["b64_json"]) for item in drawn.json["data"]]
        assert [pictures.measure(file)[1:] for file in files] == [(384, 256)] * 2
        if upstream == "baidu":  # a seed is no field of OpenAI's
            assert drawn.json["data"] == wanted.json["data"]
        assert drawn.json["usage"]["prompt_tokens"] == wanted.json["usage"]["prompt_tokens"]
    assert action(caller, "DeleteUpstream", {"name": "easel"}).status == 200


@pytest.mark.usefixtures("cloud")
def test_calls_to_it_are_counted_and_timed(caller: Caller, cloud: dict[str, Any]) -> None:
    def counted(outcome: str) -> float:
        shown = caller.ask("GET", "/metrics").body.decode()
        head = f'yangfan_upstream_requests_total{{outcome="{outcome}",upstream="baidu"}} '
        return sum(
            float(line.removeprefix(head)) for line in shown.splitlines() if line.startswith(head)
        )

    del cloud
    fine, refused = counted("ok"), counted("ModelNotFound")
    for name in ("baidu/echo", "baidu/nobody"):
        body = {"model": name, **ASK}
        caller.ask("POST", "/v2/chat/completions", body, caller.bearer())
    assert (counted("ok"), counted("ModelNotFound")) == (fine + 1, refused + 1)
    shown = caller.ask("GET", "/metrics").body.decode()
    assert 'yangfan_upstream_duration_seconds_count{upstream="baidu"}' in shown


@pytest.mark.usefixtures("cloud")
def test_a_count_without_the_tokenizer_says_that_it_is_an_estimate(caller: Caller) -> None:
    path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/tokenizer/erniebot"
    counted = caller.ask(
        "POST", path, {"model": "ernie-4.0-8k", "prompt": "hello big 世界"}, caller.bearer()
    )
    assert counted.json["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert counted.headers["X-Yangfan-Tokens"] == "estimated"
    counted = caller.ask("POST", path, {"model": "echo", "prompt": "hello"}, caller.bearer())
    assert "X-Yangfan-Tokens" not in counted.headers


@pytest.mark.usefixtures("cloud")
def test_a_hundred_streams_lose_nothing(caller: Caller) -> None:
    def ask(number: int) -> str:
        body = {"messages": [{"role": "user", "content": f"line {number} " * 20}], "stream": True}
        return "".join(event["result"] for event in caller.v1(body, "completions_pro").events)

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(ask, range(100)))
    assert answers == [f"line {number} " * 20 for number in range(100)]


def test_an_upstream_is_managed_while_the_server_runs(caller: Caller, echo_server: Server) -> None:
    address = f"{echo_server.base_url}/v2"
    made = action(
        caller,
        "CreateUpstream",
        {"name": "other", "baseUrl": address, "apiKey": CANARY, "models": ["echo", "far"]},
    )
    assert made.json["result"]["apiKey"] == "…nary"
    again = action(caller, "CreateUpstream", {"name": "other", "baseUrl": address})
    assert (again.status, CANARY in again.body.decode()) == (409, False)
    trial = action(caller, "TestUpstream", {"name": "other"}).json["result"]
    assert trial["ok"] is False
    assert "renew the key" in trial["message"]
    # The cloud's 401 is about our key, so a caller must not see it as one about theirs.
    refused = caller.v2({"model": "far", **ASK})
    assert (refused.status, refused.json["error"]["code"]) == (500, "dispatch_internal_error")
    assert "the upstream other failed" in refused.json["error"]["message"]
    assert caller.v1(ASK, "far").json["error_code"] == 336100
    moved = action(caller, "ModifyUpstream", {"name": "other", "baseUrl": "https://example.com/v2"})
    assert moved.status == 400
    changed = action(caller, "ModifyUpstream", {"name": "other", "apiKey": echo_server.bearer})
    assert changed.status == 200
    answer = caller.v2({"model": "other/echo", **ASK}).json
    assert answer["choices"][0]["message"]["content"] == "hello 世界"
    listed = action(caller, "DescribeUpstreams", {}).json["result"]["items"]
    assert "other" in [item["name"] for item in listed]
    assert echo_server.bearer not in json.dumps(listed)
    assert action(caller, "DeleteUpstream", {"name": "other"}).json["result"] is True
    assert caller.v2({"model": "other/echo", **ASK}).status == 401
    assert action(caller, "TestUpstream", {"name": "other"}).status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a/b", "baseUrl": "https://example.com"},
        {"name": "a", "baseUrl": "ftp://example.com"},
        {"name": "a", "baseUrl": "https://user:word@example.com"},
        {"name": "a", "baseUrl": "https://example.com", "apiKey": "two\r\nlines"},
    ],
)
def test_what_cannot_be_used_is_refused(caller: Caller, body: dict[str, Any]) -> None:
    assert action(caller, "CreateUpstream", body).status == 400


@pytest.mark.usefixtures("cloud")
def test_keys_are_nowhere_in_the_open(bridge: Server, echo_server: Server, caller: Caller) -> None:
    action(
        caller,
        "CreateUpstream",
        {"name": "canary", "baseUrl": f"{echo_server.base_url}/v2", "apiKey": CANARY},
    )
    assert caller.v2({"model": "canary/echo", **ASK}).status == 500
    keys = (CANARY.encode(), CANARY[-20:].encode(), echo_server.bearer.encode())
    for file in (file for file in bridge.home.rglob("*") if file.is_file()):
        data = file.read_bytes()
        assert not any(key in data for key in keys), file
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        assert CANARY.encode() not in command
    action(caller, "DeleteUpstream", {"name": "canary"})


def test_an_upstream_that_is_down_does_not_stop_the_start(
    start_server: Callable[..., AbstractContextManager[Server]], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(CANARY + "\n")
    config = tmp_path / "yangfan.toml"
    config.write_text(
        'models = []\negress_allow = ["127.0.0.1"]\n[upstreams.down]\nbase_url = "http://127.0.0.1:9/v2"\n'
        f'dialect = "qianfan"\nmodels = ["ernie-4.0-8k"]\nkey_file = "{key}"\n'
    )
    with start_server(tmp_path / "home", models=(), options=("--config", str(config))) as server:
        caller = Caller(server)
        names = [
            model["id"]
            for model in caller.ask("GET", "/v2/models", None, caller.bearer()).json["data"]
        ]
        assert "ernie-4.0-8k" in names
        refused = caller.v1(ASK, "completions_pro").json
        assert refused["error_code"] == 336100
        assert "cannot be reached" in refused["error_msg"]
