"""Pictures in chats of both dialects (specification B.3, C.2, C.6)."""

from __future__ import annotations

import hashlib
import re
from typing import Any, cast

import pytest
from tests.server.conftest import Caller, Reply
from tests.server.drawing import data_uri, png, png_that_claims
from tests.server.usage.conftest import granted

from yangfan.egress import Egress
from yangfan.engines.base import ChatRequest, EngineSpec, Message, Part
from yangfan.errors import Invalid
from yangfan.protocol import presets
from yangfan.server.chat import Chat, logic
from yangfan.server.chat.pictures import Pictures
from yangfan.server.http import Unmetered
from yangfan.server.memory import Memory
from yangfan.server.services import Service, Services
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

FILE = png()
GOOD = data_uri(FILE)
SEEN = f"[image/png, {len(FILE)} bytes, {hashlib.sha256(FILE).hexdigest()[:8]}]"
BOMB = data_uri(png_that_claims(20000, 20000))


def message(*urls: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*parts, {"type": "text", "text": " what?"}]}


def v1(caller: Caller, *urls: str, model: str = "ernie-lite-v", stream: bool = False) -> Reply:
    return caller.v1({"messages": [message(*urls)], "stream": stream}, model)


def v2(caller: Caller, *urls: str, model: str = "internvl3-1b", stream: bool = False) -> Reply:
    return caller.v2({"model": model, "messages": [message(*urls)], "stream": stream})


@pytest.mark.parametrize("model", ["ernie-lite-v", "ERNIE-Lite-V", "echo"])
def test_v1_models_for_pictures_see_them(echo: Caller, model: str):
    assert v1(echo, GOOD, model=model).json["result"] == f"{SEEN} what?"
    events = v1(echo, GOOD, model=model, stream=True).events
    assert "".join(event["result"] for event in events) == f"{SEEN} what?"


@pytest.mark.parametrize("model", ["internvl3-1b", "fuyu-8b", "ernie-speed-8k", "echo"])
def test_v2_models_that_can_see_pictures(echo: Caller, model: str):
    reply = v2(echo, GOOD, GOOD, model=model).json
    assert reply["choices"][0]["message"]["content"] == f"{SEEN}{SEEN} what?"


def test_v1_names_that_never_took_pictures_still_take_none(echo: Caller):
    reply = v1(echo, GOOD, model="ernie_speed").json
    assert reply["error_code"] == 336003
    assert "ernie_speed takes no pictures in v1; ask ERNIE-Lite-V" in reply["error_msg"]


REFUSALS = [
    pytest.param(
        [GOOD[:-3]], 336005, "^image decode failed: .*is not base64", id="truncated base64"
    ),
    pytest.param([data_uri(b"hello")], 336005, "is no picture.*PNG", id="wrong magic"),
    pytest.param([data_uri(b"<html>")], 336005, "is no picture", id="HTML"),
    pytest.param([data_uri(png(1, 1))], 336003, "^the image width and height.*1 x 1", id="1 x 1"),
    pytest.param([BOMB], 336003, "20000 x 20000 pixels.*resize", id="header bomb"),
    pytest.param([GOOD] * 17, 336003, "may have 16 pictures, this one has 17", id="too many"),
    pytest.param(["https://127.0.0.1/a.png"], 336003, "127.0.0.1 is not a public", id="loopback"),
    pytest.param(["https://[::1]/a.png"], 336003, "not a public", id="loopback by IPv6"),
    pytest.param(["https://169.254.169.254/"], 336003, "not a public address", id="metadata"),
    pytest.param(["file:///etc/passwd"], 336003, "must be an https URL", id="file"),
    pytest.param(["x.png"], 336003, "must be an https URL", id="path"),
    pytest.param([""], 336003, "must be an https URL", id="empty"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("urls", "code", "says"), REFUSALS)
def test_refusals_say_which_picture_and_what_to_change(
    echo: Caller, stream: bool, urls: list[str], code: int, says: str
):
    old = v1(echo, *urls, stream=stream)
    assert (old.status, old.json["error_code"]) == (200, code)
    new = v2(echo, *urls, stream=stream)
    assert (new.status, new.json["error"]["code"]) == (400, "invalid_image_url")
    for text in (old.json["error_msg"], new.json["error"]["message"]):
        assert re.search(says, text), text
        assert "messages[0].content[" in text or "pictures" in text


def test_v1_takes_smaller_pictures_than_v2(echo: Caller):
    large = data_uri(FILE + bytes(5 * 1024 * 1024))
    assert v1(echo, large).json["error_code"] == 336003
    assert "larger than the 4194304 bytes" in v1(echo, large).json["error_msg"]
    assert v2(echo, large).status == 200
    assert v2(echo, data_uri(FILE + bytes(11 * 1024 * 1024))).status == 400


class Still:
    """An engine that is never started."""

    def __init__(self, name: str, *kinds: str) -> None:
        self.spec = EngineSpec(name, slots=4)
        self.context_tokens = 8192
        self.kinds = frozenset(kinds)


@pytest.fixture
def chat() -> Chat:
    """One model that only chats, and one that reads pictures."""
    services = [
        Service(engine.spec.model, Replica(engine), ServicePolicy(1.0, 0), created=0)  # pyright: ignore[reportArgumentType] - a double
        for engine in (Still("blind", "chat"), Still("seeing", "chat", "vision"))
    ]
    pictures = Pictures(Egress(), max_total_bytes=1024)
    return Chat(Services(services, presets.load(), {}), cast("Memory", None), pictures)


async def test_a_model_that_reads_none_names_those_that_do(chat: Chat):
    request = ChatRequest((Message("user", (Part(image_url=GOOD),)),))
    with pytest.raises(Invalid, match=r"blind reads no pictures here.* that does: seeing"):
        await chat.with_pictures(chat.target("blind"), request, Unmetered(), max_bytes=1024)
    seen = await chat.with_pictures(chat.target("seeing"), request, Unmetered(), max_bytes=1024)
    assert seen == request


def test_names_of_models_for_pictures_go_to_one_that_reads_them(chat: Chat):
    assert chat.target("ernie_speed").model == "blind"
    for name in ("ERNIE-Lite-V", "internvl3", "ernie-4.5-vl-28b-a3b", "fuyu_8b"):
        assert chat.target(name).model == "seeing"
    assert chat.target("fuyu_8b", "image2text").model == "seeing"


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((8, 6), 4096), ((2240, 2240), 6400), ((5999, 5999), 16384)],
)
def test_reservation_has_room_for_every_picture(size: tuple[int, int], tokens: int):
    uri = data_uri(png_that_claims(*size))
    messages = (Message("user", (Part(text="a"), Part(image_url=uri), Part(image_url=uri))),)
    assert logic.most_picture_tokens(messages) == 2 * tokens


FETCHED = [message("https://127.0.0.1/a.png")]


def test_nothing_is_fetched_for_a_key_without_room(echo: Caller):
    holder = granted(echo, rpm=1)
    for _ in range(2):  # a call that fails uses nothing
        assert holder.v2(messages=FETCHED).json["error"]["code"] == "invalid_image_url"
    assert holder.v2().status == 200
    assert holder.v2(messages=FETCHED).json["error"]["code"] == "rpm_rate_limit_exceeded"
    assert holder.v1("echo", messages=FETCHED).json["error_code"] == 336501


def test_nothing_is_fetched_for_a_key_that_may_not_use_the_model(echo: Caller):
    holder = granted(echo, models=["ernie-4.0-8k"])
    assert "may call ernie-4.0-8k" in holder.v2(messages=FETCHED).json["error"]["message"]


def test_a_small_limit_still_has_room_for_a_small_picture(echo: Caller):
    assert granted(echo, tpm=5000).v2(messages=[message(GOOD)], max_tokens=10).status == 200
