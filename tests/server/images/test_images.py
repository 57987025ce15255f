"""Pictures over the wire from the echo engine, in both dialects (specification B.9, C.4, C.6)."""

from __future__ import annotations

import base64
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Caller
from tests.server.services.conftest import Scripted

from yangfan.egress import Egress
from yangfan.engines.base import ImageRequest
from yangfan.errors import ImageFailed, Invalid
from yangfan.protocol import presets
from yangfan.protocol.v1 import errors as v1_errors
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.server import pictures
from yangfan.server.http.metering import Unmetered
from yangfan.server.images import Images
from yangfan.server.images.shelf import Shelf
from yangfan.server.services import Service, Services
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/sd_xl"
V2 = "/v2/images/generations"
PROMPT = "a red circle"
STYLES = (
    "Base", "3D Model", "Analog Film", "Anime", "Cinematic", "Comic Book", "Craft Clay", "Digital Art", "Enhance", "Fantasy Art",
    "Isometric", "Line Art", "Lowpoly", "Neonpunk", "Origami", "Photographic", "Pixel Art", "Texture",
)  # fmt: skip


def png(width: int, height: int) -> str:
    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def v1(echo: Caller, **fields: object) -> dict[str, Any]:
    return echo.ask("POST", V1, fields, echo.bearer()).json


def v2(echo: Caller, path: str = V2, **fields: object) -> Any:
    return echo.ask("POST", path, {"model": "irag-1.0", **fields}, echo.bearer())


def test_v1_answers_with_every_field(echo: Caller):
    body = v1(echo, prompt=PROMPT, n=2, size="768x1024", seed=7, style="Anime", user_id="me")
    assert list(body) == ["id", "object", "created", "data", "usage"]
    assert body["object"] == "image"
    assert [item["index"] for item in body["data"]] == [1, 2]
    drawn = [base64.b64decode(item["b64_image"]) for item in body["data"]]
    assert [pictures.measure(file) for file in drawn] == [("png", 768, 1024)] * 2
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 3


def test_the_same_seed_draws_the_same_and_the_next_picture_has_the_next_seed(echo: Caller):
    def draw(**fields: object) -> list[str]:
        return [item["b64_image"] for item in v1(echo, prompt=PROMPT, **fields)["data"]]

    first, second = draw(seed=7, n=2)
    assert [first] == draw(seed=7) != draw(seed=9)
    assert [second] == draw(seed=8)


@pytest.mark.parametrize("path", [V2, "/v1/images/generations", "/v2/v1/images/generations"])
def test_every_v2_path_answers_by_url(echo: Caller, path: str):
    body = v2(echo, path, prompt=PROMPT, n=2, size="512x768", quality="hd").json
    assert list(body) == ["id", "created", "data", "usage"]
    assert len(body["data"]) == 2
    for item in body["data"]:
        assert item["url"].startswith(echo.server.base_url + "/pictures/")
        reply = echo.ask("GET", item["url"].removeprefix(echo.server.base_url))
        assert reply.headers["Content-Type"] == "image/png"
        assert pictures.measure(reply.body) == ("png", 512, 768)


def test_v2_answers_in_base64_when_asked(echo: Caller):
    (item,) = v2(echo, prompt=PROMPT, response_format="b64_json", size="auto").json["data"]
    assert pictures.measure(base64.b64decode(item["b64_json"])) == ("png", 1024, 1024)
    assert set(item) == {"b64_json"}


def test_a_picture_to_start_from_is_taken(echo: Caller):
    assert v2(echo, prompt=PROMPT, refer_image=png(128, 512)).status == 200


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({}, "invalid_image_genration_prompt", "prompt is invalid.*say what to draw"),
        ({"prompt": " \n"}, "invalid_image_genration_prompt", "say what to draw"),
        ({"prompt": "a" * 221}, "characters_too_long", "max input characters is 220.*shorten"),
        ({"prompt": "a", "size": "100x100"}, "invalid_argument", "256 to 2048"),
        ({"prompt": "a", "size": "513x512"}, "invalid_argument", "multiples of 8"),
        ({"prompt": "a", "size": "big"}, "invalid_argument", "WIDTHxHEIGHT"),
        ({"prompt": "a", "n": 5}, "invalid_argument", "<= 4"),
        ({"prompt": "a", "seed": -1}, "invalid_argument", ">= 0"),
        (
            {"prompt": "a", "refer_image": png(100, 200)},
            "invalid_image_genration_refer_image",
            "100x200.*128",
        ),
        (
            {"prompt": "a", "refer_image": png(200, 900)},
            "invalid_image_genration_refer_image",
            "4 times",
        ),
        (
            {"prompt": "a", "refer_image": "data:image/png;base64,AAAA"},
            "invalid_image_genration_refer_image",
            "no picture in PNG",
        ),
        (
            {"prompt": "a", "refer_image": "https://127.0.0.1/a.png"},
            "invalid_image_genration_refer_image",
            "not a public address",
        ),
    ],
)
def test_v2_refuses(echo: Caller, fields: dict[str, Any], code: str, says: str):
    reply = v2(echo, **fields)
    assert reply.status == 400
    assert reply.json["error"]["code"] == code
    assert re.search(says, reply.json["error"]["message"])


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({}, 336003, "prompt is invalid"),
        ({"prompt": "a" * 1025}, 336007, "the max input characters is 1024"),
        ({"prompt": "a", "negative_prompt": "a" * 1025}, 336007, "negative_prompt has 1025"),
        ({"prompt": "a", "size": "100x100"}, 336003, "size"),
        ({"prompt": "a", "steps": 9}, 336003, "steps.*>= 10"),
        ({"prompt": "a", "steps": 51}, 336003, "steps.*<= 50"),
        ({"prompt": "a", "cfg_scale": 31}, 336003, "cfg_scale.*<= 30"),
        ({"prompt": "a", "sampler_index": "Oiler"}, 336003, "sampler_index"),
        ({"prompt": "a", "style": "Cubism"}, 336003, "style must be one of Base, .*Anime"),
        ({"prompt": "a", "seed": 4294967296}, 336003, "seed"),
        ({"prompt": 7}, 336001, "prompt"),
    ],
)
def test_v1_refuses(echo: Caller, fields: dict[str, Any], code: int, says: str):
    body = v1(echo, **fields)
    assert body["error_code"] == code
    assert re.search(says, body["error_msg"])


def test_a_model_that_only_chats_is_refused_with_those_that_draw(echo: Caller):
    reply = v2(echo, prompt="a", model="ernie-speed-8k")
    assert reply.status == 401
    assert "not for text2image; text2image is served by: echo" in reply.json["error"]["message"]


def test_a_picture_that_failed_has_a_code_of_its_own():
    error = ImageFailed("the picture came out black; try another seed")
    assert v1_errors.to_body(error, "id").error_code == 336200
    status, body = v2_errors.to_body(error, "id")
    assert (status, body.error.code) == (500, "image_generation_interal_error")
    assert isinstance(v2_errors.from_body(body, status=500, request_id=None), ImageFailed)


async def test_every_style_reaches_the_engine_with_the_prompt_as_it_is():
    engine = Scripted(kinds=frozenset({"images"}))
    replica = Replica(engine)  # pyright: ignore[reportArgumentType] - a double
    services = Services(
        [Service("only", replica, ServicePolicy(1.0, 0), created=0)], presets.load(), {}
    )
    await services.start()
    images = Images(services, Egress())
    request = ImageRequest("a {prompt} %s {0}", "fog", n=2)
    prompts: set[str] = set()
    for style in STYLES:
        await images.answer(images.target("sd_xl"), request, Unmetered(), style=style.upper())
        drawn = engine.drawn[-1]
        assert drawn.prompt.startswith(request.prompt)
        assert drawn.negative_prompt.startswith("fog")
        prompts.add(drawn.prompt)
    assert len(prompts) == len(STYLES)
    with pytest.raises(Invalid, match="style must be one of"):
        images.styled(request, "Cubism")


async def test_the_shelf_forgets_what_is_old_and_what_has_no_room(tmp_path: Path):
    shelf = Shelf(tmp_path / "pictures", max_bytes=250)
    first = Path(await shelf.put(b"a" * 100)).name
    os.utime(tmp_path / "pictures" / first, (1, 1))
    names = [Path(await shelf.put(bytes(100))).name for _ in range(3)]
    kept = {file.name for file in (tmp_path / "pictures").iterdir()}
    assert first not in kept
    assert len(kept) == 2
    assert names[-1] in kept


@pytest.mark.parametrize("name", ["x.png", "..%2fyangfan.db", "A" * 43 + ".png"])
def test_no_other_file_leaves_the_shelf(echo: Caller, name: str):
    assert echo.ask("GET", f"/pictures/{name}").status == 404
