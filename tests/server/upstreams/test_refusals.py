"""What an upstream refuses and what only it has to say, as callers of both dialects see it, and how often it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.conftest import Server
from tests.server.conftest import Caller
from tests.server.drawing import data_uri, png

ASK = {"messages": [{"role": "user", "content": "hello"}]}
ANSWERS: dict[str, tuple[int, dict[str, str]]] = {
    "broken": (500, {"code": "internal_error", "message": "boom"}),
    "busy": (429, {"code": "rpm_rate_limit_exceeded", "message": "Rate limit reached for RPM"}),
    "long": (400, {"code": "tokens_too_long", "message": "Prompt tokens too long"}),
    "odd": (400, {"code": "invalid_argument", "message": "the length of messages must be odd"}),
    "unsafe": (403, {"code": "system_unsafe", "message": "no"}),
    "persona": (403, {"code": "user_setting_unsafe", "message": "no"}),
    "tools": (403, {"code": "functions_unsafe", "message": "no"}),
    "seen": (400, {"code": "image_url_unsafe", "message": "no"}),
    "gone": (403, {"code": "model_offline", "message": "The model is offline"}),
    "drawn": (400, {"code": "invalid_image_genration_prompt", "message": "prompt is invalid"}),
    "keyless": (401, {"code": "invalid_iam_token", "message": "IAM Certification failed"}),
    "poor": (403, {"code": "account_overdue", "message": "Access denied due to overdue account"}),
}
"""Model to what it is refused with."""

PAGE = {"index": 1, "url": "https://a.example", "title": "A"}
PICTURE = data_uri(png())


def _judged(body: dict[str, Any]) -> dict[str, Any]:
    """An answer, and the flag that the question names."""
    question = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    said = {"role": "assistant", "content": "no"}
    part = {"delta": said} if body.get("stream") else {"message": said}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    choice |= {"text": "no"} if "prompt" in body else part
    if question.startswith("flag "):
        choice |= {"flag": int(question[5:]), "ban_round": -1, "need_clear_history": True}
    return {"choices": [choice], "search_results": [PAGE]}


class Cloud(BaseHTTPRequestHandler):
    """Refuses each model as its name says; "careful" searches and judges, "embed-all" reads pictures."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012 - one server, one list
    body: dict[str, Any] = {}  # noqa: RUF012 - the last one

    def do_GET(self) -> None:
        names = [*ANSWERS, "careful", "embed-all"]
        self._reply(200, {"object": "list", "data": [{"id": name} for name in names]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["model"])
        type(self).body = body
        if body["model"] == "embed-all":
            vectors = [
                {"embedding": [0.6, 0.8], "index": place} for place in range(len(body["input"]))
            ]
            self._reply(200, {"data": vectors, "usage": {"total_tokens": 5}})
        elif body["model"] == "careful":
            self._reply(200, _judged(body), stream=bool(body.get("stream")))
        else:
            status, error = ANSWERS[body["model"]]
            self._reply(status, {"error": error})

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def _reply(self, status: int, body: object, *, stream: bool = False) -> None:
        data = json.dumps(body).encode()
        if stream:
            data = b"data: %b\n\ndata: [DONE]\n\n" % data
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def caller(
    start_server: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Caller]:
    """A server whose only upstream is the cloud that refuses."""
    folder = tmp_path_factory.mktemp("refusals")
    cloud = ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    thread = threading.Thread(target=cloud.serve_forever, daemon=True)
    thread.start()
    config = folder / "yangfan.toml"
    config.write_text(
        'models = []\negress_allow = ["127.0.0.1"]\n[presets]\n"ernie-4.0-8k" = "broken"\n"ernie-lite-8k" = "absent"\n'
        f'[upstreams.cloud]\ndialect = "qianfan"\nbase_url = "http://127.0.0.1:{cloud.server_port}/v2"\n'
    )
    with start_server(folder / "home", models=(), options=("--config", str(config))) as server:
        yield Caller(server)
    cloud.shutdown()
    cloud.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("model", "v1", "status", "code"),
    [
        ("broken", 336100, 500, "dispatch_internal_error"),
        ("busy", 336501, 429, "rpm_rate_limit_exceeded"),
        ("long", 336103, 400, "tokens_too_long"),
        ("odd", 336003, 400, "invalid_argument"),
        ("unsafe", 6, 403, "system_unsafe"),
        ("persona", 6, 403, "user_setting_unsafe"),
        ("tools", 6, 403, "functions_unsafe"),
        ("seen", 6, 400, "image_url_unsafe"),
        ("gone", 6, 403, "model_offline"),
        ("drawn", 336003, 400, "invalid_image_genration_prompt"),
        ("keyless", 336100, 500, "dispatch_internal_error"),
        ("poor", 336100, 500, "dispatch_internal_error"),
    ],
)
def test_a_refusal_is_told_in_both_dialects_and_never_repeated(
    caller: Caller, model: str, v1: int, status: int, code: str
) -> None:
    for stream in (False, True):
        Cloud.asked.clear()
        old = caller.v1({**ASK, "stream": stream}, model)
        new = caller.v2({**ASK, "model": model, "stream": stream})
        assert Cloud.asked == [model, model]
        assert old.json["error_code"] == v1
        assert (new.status, new.json["error"]["code"]) == (status, code)
        text = ANSWERS[model][1]["message"]
        assert text in old.json["error_msg"]
        assert text in new.json["error"]["message"]
        if model == "busy":
            assert new.headers["Retry-After"] == "7"
        if model in {"keyless", "poor"}:
            assert "renew the key" in new.json["error"]["message"]


def test_limits_of_our_own_hold_for_somebody_elses_model(caller: Caller) -> None:
    def keys(name: str, body: dict[str, Any]) -> Any:
        return caller.result(name, body)

    made = keys("CreateApiKey", {"kind": "bearer", "tpm": 50})
    headers = {"Authorization": f"Bearer {made['secret']}"}
    Cloud.asked.clear()
    body = {
        "model": "odd",
        "messages": [{"role": "user", "content": "x" * 4000}],
        "max_tokens": 100,
    }
    refused = caller.ask("POST", "/v2/chat/completions", body, headers)
    assert (refused.status, Cloud.asked) == (429, [])


def test_the_settings_give_preset_names_to_an_upstreams_models(caller: Caller) -> None:
    assert "boom" in caller.v1(ASK, "completions_pro").json["error_msg"]
    missing = caller.v1(ASK, "ernie-lite-8k").json
    assert (missing["error_code"], "'absent'" in missing["error_msg"]) == (3, True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("flag", [1, 2, 3, 4])
def test_what_moderation_says_elsewhere_comes_through(
    caller: Caller, flag: int, stream: bool
) -> None:
    verdict = {"flag": flag, "ban_round": -1, "need_clear_history": True}
    ask = {"messages": [{"role": "user", "content": f"flag {flag}"}], "stream": stream}
    old, new = caller.v1(ask, "careful"), caller.v2({**ask, "model": "careful"})
    told = old.events[-1] if stream else old.json
    (choice,) = (new.events[-2] if stream else new.json)["choices"]
    for found in (told, choice):
        assert {name: found[name] for name in verdict} == verdict
    assert told["is_safe"] == 0
    reasons = ("normal", "stop") if flag == 1 else ("content_filter", "content_filter")
    assert (told["finish_reason"], choice["finish_reason"]) == reasons
    path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions/careful"
    body = {"prompt": f"flag {flag}", "stream": stream}
    gone_on = caller.ask("POST", path, body, caller.bearer())
    assert (gone_on.events[-1] if stream else gone_on.json)["is_safe"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_what_search_finds_elsewhere_comes_through(caller: Caller, stream: bool) -> None:
    """The tool as qianfan's BaiduSearchTool sends it."""
    search = {"name": "baidu_search", "baidu_search": {"channel": "normal", "top_n": 2}}
    choice = {"type": "tool", "tool": {"name": "baidu_search"}}
    asked = {"tools": [{"type": "tool", "tool": search}], "tool_choice": choice}
    reply = caller.v1({**ASK, **asked, "stream": stream}, "careful")
    told = reply.events[-1] if stream else reply.json
    assert Cloud.body["web_search"] == {"enable": True, "enable_trace": True}
    assert Cloud.body["trace_number"] == 2
    assert told["search_info"] == {"search_results": [PAGE]}
    assert told["tools_info"]["name"] == "baidu_search"
    assert told["tools_info"]["baidu_search"] == [PAGE]
    assert told["need_clear_history"] is False
    plain = caller.v1({**ASK, "disable_search": True, "trace_number": 4}, "careful").json
    assert Cloud.body["web_search"] == {"enable": False}
    assert (Cloud.body["trace_number"], "tools_info" in plain) == (4, False)

    body = {"model": "careful", "web_search": {"enable": True}, "trace_number": 3}
    reply = caller.v2({**ASK, **body, "stream": stream})
    assert (Cloud.body["web_search"], Cloud.body["trace_number"]) == ({"enable": True}, 3)
    assert (reply.events[-2] if stream else reply.json)["search_results"] == [PAGE]


def test_a_picture_becomes_a_vector_where_a_model_elsewhere_reads_it(caller: Caller) -> None:
    def embed(given: object) -> Any:
        body = {"model": "embed-all", "input": given}
        return caller.ask("POST", "/v2/embeddings", body, caller.bearer())

    for given in ([{"text": "a", "image": PICTURE}], {"text": "a", "image": PICTURE}):
        answer = embed(given).json
        assert Cloud.body["input"] == [{"text": "a", "image": PICTURE}]
        assert [item["embedding"] for item in answer["data"]] == [[0.6, 0.8]]
        assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert embed([{"image": PICTURE}]).json["data"]
    assert Cloud.body["input"] == [{"image": PICTURE}]
    assert len(embed(["a", {"text": "b"}]).json["data"]) == 2
    assert Cloud.body["input"] == ["a", "b"]
    Cloud.asked.clear()
    wrong: dict[str, list[object]] = {
        "a picture is the only element of input": ["a", {"image": PICTURE}],
        "input[0].image must be an https URL or a data URI": [{"image": "no"}],
        "holds no text": [{}],
    }
    for text, given in wrong.items():
        refused = embed(given)
        assert (refused.status, text in refused.json["error"]["message"]) == (400, True)
    assert Cloud.asked == []
