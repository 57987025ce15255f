"""Drawing over pictures (specification C.1), as JSON and as the form that OpenAI's clients send."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.server.conftest import Caller, Reply
from tests.server.drawing import data_uri, png

from yangfan.errors import MalformedArgument
from yangfan.server import pictures
from yangfan.server.http.forms import json_of_form

PATHS = ("/v2/images/edits", "/v1/images/edits", "/v2/v1/images/edits")
PICTURE = png(300, 200)
BOUNDARY = "b0undary"


def form(**fields: str | bytes) -> bytes:
    parts: list[bytes] = []
    for name, value in fields.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head += '; filename="a.png"\r\nContent-Type: image/png'
        content = value if isinstance(value, bytes) else value.encode()
        parts.append(head.encode() + b"\r\n\r\n" + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def send(echo: Caller, body: bytes | dict[str, Any], path: str = PATHS[0]) -> Reply:
    if isinstance(body, dict):
        return echo.ask("POST", path, body, echo.bearer())
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return echo.ask("POST", path, body, echo.bearer(), content_type=kind)


def drawn(reply: Reply) -> list[bytes]:
    assert reply.status == 200, reply.body
    return [base64.b64decode(item["b64_json"]) for item in reply.json["data"]]


def test_a_form_and_json_draw_the_same(echo: Caller):
    fields = {"model": "irag-1.0", "prompt": "a cat", "response_format": "b64_json"}
    as_json = send(
        echo, {**fields, "image": data_uri(PICTURE), "mask": data_uri(PICTURE), "n": 2, "seed": 7}
    )
    as_form = send(echo, form(**fields, image=PICTURE, mask=PICTURE, n="2", seed="7"))
    assert drawn(as_form) == drawn(as_json)
    assert [pictures.measure(file)[1:] for file in drawn(as_form)] == [(384, 256)] * 2
    listed = send(echo, form(**fields, **{"image[]": PICTURE}, size="512x256"))
    assert [pictures.measure(file)[1:] for file in drawn(listed)] == [(512, 256)]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_answers_by_url(echo: Caller, path: str):
    body = {"model": "irag-1.0", "prompt": "a cat", "image": data_uri(PICTURE)}
    reply = send(echo, body, path).json
    assert list(reply) == ["id", "created", "data", "usage"]
    assert "/pictures/" in reply["data"][0]["url"]


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({}, "invalid_image_genration_refer_image", "image: 0 pictures came"),
        (
            {"image": b"no picture"},
            "invalid_image_genration_refer_image",
            "image: it is no picture",
        ),
        (
            {"image": png(100, 100)},
            "invalid_image_genration_refer_image",
            "image: the picture is 100x100",
        ),
        (
            {"image": PICTURE, "mask": b"no"},
            "invalid_image_genration_refer_image",
            "mask: it is no picture",
        ),
        ({"image": PICTURE, "n": "two"}, "invalid_argument", "`n`: expected `int`, got 'two'"),
        ({"image": PICTURE, "n": "5"}, "invalid_argument", "`n`: must be a number <= 4"),
        (
            {"image": PICTURE, "strength": "2"},
            "invalid_argument",
            "`strength`: must be a number <= 1",
        ),
        ({"image": PICTURE, "size": "1x1"}, "invalid_argument", "256 to 2048"),
        ({"image": PICTURE, "prompt": ""}, "invalid_image_genration_prompt", "say what to draw"),
        ({"image": PICTURE, "model": ""}, "invalid_model", "model is empty"),
    ],
)
def test_refusals_name_the_field(
    echo: Caller, fields: dict[str, str | bytes], code: str, says: str
):
    reply = send(echo, form(**{"model": "irag-1.0", "prompt": "a cat", **fields}))
    error = reply.json["error"]
    assert (400 <= reply.status < 500, error["code"]) == (True, code)
    assert says in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        form(image=PICTURE)[:-20],
        form(image=PICTURE)[4:],
        b"--b0undary\r\nX: y\r\n\r\nz\r\n--b0undary--\r\n",
        b"--b0undary\r\n\r\n--b0undary--",
        b"".join(form(**{f"f{n}": "x"})[:-14] for n in range(70)),
    ],
)
def test_a_broken_form_is_refused(echo: Caller, body: bytes):
    reply = send(echo, body)
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_argument")


def test_files_of_a_form_keep_every_byte():
    noise = bytes(range(256)) * 40 + b"\r\n--b0undar\r\n\n\r\0"
    headers = [(b"content-type", b'multipart/form-data; boundary="b0undary"')]
    scope = {"headers": headers}
    read = json.loads(json_of_form(form(a=noise, b="文 字", n="3"), scope, {"n": int}))
    assert base64.b64decode(read["a"].partition(",")[2]) == noise
    assert (read["b"], read["n"]) == ("文 字", 3)
    twice = form(a="1")[:-14] + form(a="2")
    assert json.loads(json_of_form(twice, scope, {})) == {"a": ["1", "2"]}
    plain = {"headers": [(b"content-type", b"application/json")]}
    assert json_of_form(b"{}", plain, {}) == b"{}"
    with pytest.raises(MalformedArgument):
        json_of_form(b"x", scope, {})
