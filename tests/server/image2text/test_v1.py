"""v1 image understanding, in and out (specification B.9)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest
from tests.server.conftest import Caller, Reply
from tests.server.drawing import data_uri, png, png_that_claims

PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop/image2text"
FILE = png()
IMAGE = base64.b64encode(FILE).decode()
SEEN = f"[image/png, {len(FILE)} bytes, {hashlib.sha256(FILE).hexdigest()[:8]}]"


def call(caller: Caller, body: dict[str, Any], endpoint: str = "fuyu_8b") -> Reply:
    return caller.ask("POST", f"{PREFIX}/{endpoint}", body, caller.bearer())


@pytest.mark.parametrize("endpoint", ["fuyu_8b", "Fuyu-8B", "echo"])
@pytest.mark.parametrize("image", [IMAGE, data_uri(FILE)])
def test_the_model_sees_the_picture_and_then_the_question(echo: Caller, endpoint: str, image: str):
    reply = call(echo, {"prompt": " what?", "image": image}, endpoint)
    assert reply.headers["X-Yangfan-Model"] == "echo"
    body = reply.json
    assert re.fullmatch(r"as-[0-9a-z]{10}", body.pop("id"))
    assert body.pop("created") > 0
    usage = body.pop("usage")
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert body == {
        "object": "chat.completion",
        "result": f"{SEEN} what?",
        "is_truncated": False,
        "is_safe": 1,
        "finish_reason": "normal",
    }


def test_stream_has_the_documented_fields_and_ends_with_is_end(echo: Caller):
    events = call(echo, {"prompt": " what?", "image": IMAGE, "stream": True}).events
    assert {event["id"] for event in events} == {events[0]["id"]}
    assert {event["object"] for event in events} == {"chat.completion"}
    assert {event["is_safe"] for event in events} == {1}
    assert [event["sentence_id"] for event in events] == list(range(len(events)))
    assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
    assert "".join(event["result"] for event in events) == f"{SEEN} what?"
    assert events[-1]["finish_reason"] == "normal"


def test_limit_and_stop_end_the_answer(echo: Caller):
    body = {"prompt": " what is it", "image": IMAGE}
    short = call(echo, {**body, "max_output_tokens": 2}).json
    assert (short["is_truncated"], short["finish_reason"]) == (True, "length")
    stopped = call(echo, {**body, "stop": [" is"]}).json
    assert (stopped["result"], stopped["finish_reason"]) == (f"{SEEN} what", "stop")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"prompt": "a"}, 336003, "^image can not be empty"),
        ({"image": IMAGE}, 336003, "^prompt can not be empty"),
        ({"prompt": " ", "image": IMAGE}, 336003, "^prompt can not be empty"),
        ({"prompt": "a", "image": IMAGE[:-3]}, 336005, "^image decode failed: image is not base64"),
        ({"prompt": "a", "image": "https://x/y.png"}, 336005, "image is not base64"),
        ({"prompt": "a", "image": "aGVsbG8="}, 336005, "image is no picture"),
        ({"prompt": "a", "image": data_uri(b"GIF89a", "image/gif")}, 336005, "image is no picture"),
        ({"prompt": "a", "image": 5}, 336001, "`image`: expected `str"),
        ({"prompt": "a", "image": base64.b64encode(png(1, 1)).decode()}, 336003, "1 x 1 pixels"),
        (
            {"prompt": "a", "image": base64.b64encode(png_that_claims(20000, 20000)).decode()},
            336003,
            "20000 x 20000 pixels.*resize",
        ),
        ({"prompt": "a", "image": "A" * 5_600_000}, 336003, "image is larger than the 4194304"),
        ({"prompt": "a", "image": IMAGE, "temperature": 0}, 336003, "temperature"),
        ({"prompt": "a", "image": IMAGE, "top_p": 1.1}, 336003, "top_p"),
        ({"prompt": "a", "image": IMAGE, "top_k": 0}, 336003, "top_k"),
        ({"prompt": "a", "image": IMAGE, "penalty_score": 2.5}, 336003, "penalty_score"),
        ({"prompt": "a", "image": IMAGE, "stop": ["a"] * 5}, 336003, "stop"),
        ({"prompt": "a", "image": IMAGE, "max_output_tokens": 3000}, 336003, r"in \[2, 2048\]"),
    ],
)
def test_refusals_say_what_to_change(
    echo: Caller, stream: bool, body: dict[str, Any], code: int, says: str
):
    reply = call(echo, {**body, "stream": stream})
    assert reply.json["error_code"] == code, reply.json
    assert re.search(says, reply.json["error_msg"]), reply.json["error_msg"]


@pytest.mark.parametrize("endpoint", ["ernie_speed", "embedding-v1", "none-such"])
def test_names_that_read_no_pictures_are_refused(echo: Caller, endpoint: str):
    reply = call(echo, {"prompt": "a", "image": IMAGE}, endpoint)
    assert reply.json["error_code"] == 3
    assert endpoint in reply.json["error_msg"]


def test_the_list_of_models_says_what_fuyu_is_for(echo: Caller):
    models = echo.ask("GET", "/v2/models", None, echo.bearer()).json["data"]
    assert [model["type"] for model in models if model["id"] == "fuyu-8b"] == ["image2text"]
