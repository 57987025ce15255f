"""What an upstream refuses, as callers of both dialects see it, and how often it is asked."""

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

ASK = {"messages": [{"role": "user", "content": "hello"}]}
ANSWERS: dict[str, tuple[int, dict[str, str]]] = {
    "broken": (500, {"code": "internal_error", "message": "boom"}),
    "busy": (429, {"code": "rpm_rate_limit_exceeded", "message": "Rate limit reached for RPM"}),
    "long": (400, {"code": "tokens_too_long", "message": "Prompt tokens too long"}),
    "odd": (400, {"code": "invalid_argument", "message": "the length of messages must be odd"}),
    "unsafe": (403, {"code": "system_unsafe", "message": "no"}),
    "gone": (403, {"code": "model_offline", "message": "The model is offline"}),
    "keyless": (401, {"code": "invalid_iam_token", "message": "IAM Certification failed"}),
    "poor": (403, {"code": "account_overdue", "message": "Access denied due to overdue account"}),
}
"""Model to what it is refused with."""


class Cloud(BaseHTTPRequestHandler):
    """Refuses each model as its name says."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012 - one server, one list

    def do_GET(self) -> None:
        self._reply(200, {"object": "list", "data": [{"id": name} for name in ANSWERS]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["model"])
        status, error = ANSWERS[body["model"]]
        self._reply(status, {"error": error})

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def _reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
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
        f'[upstreams.cloud]\nbase_url = "http://127.0.0.1:{cloud.server_port}/v1"\n'
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
        ("gone", 3, 401, "invalid_model"),
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
