"""`client.images` of both clients, against documented replies."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from yangfan import Image, Usage, errors

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

PICTURE = base64.b64encode(b"a file").decode()
USAGE = {"prompt_tokens": 4, "total_tokens": 4}
PAIR: dict[str, Any] = {"access_key": "ALTAK-id", "secret_access_key": "secret", "version": 1}
V2: dict[str, Any] = {"version": 2, "bearer": "bce-v3/ALTAK-a/b"}


async def test_v1_draws_under_the_path_of_the_preset(connect: Connect, playback: Playback):
    playback.json({"data": [{"b64_image": PICTURE, "index": 1}], "usage": USAGE})
    client = connect(**PAIR)
    result = await client.of(
        client.client.images.generate(
            "a", model="Stable-Diffusion-XL", guidance_scale=3.0, sampler="LMS", user="me"
        )
    )
    (call,) = playback.calls
    assert call.path.endswith("/text2image/sd_xl")
    assert call.json() == {"prompt": "a", "cfg_scale": 3.0, "sampler_index": "LMS", "user_id": "me"}
    assert [image.data for image in result] == [b"a file"]
    assert (len(result), result.usage) == (1, Usage(4, 0, 4))


async def test_v2_sends_bytes_as_a_data_uri_and_saves(
    connect: Connect, playback: Playback, tmp_path: Path
):
    playback.json({"data": [{"b64_json": PICTURE}]})
    client = connect(**V2)
    result = await client.of(
        client.client.images.generate("a", model="m", reference=b"xyz", guidance_scale=2.0)
    )
    body = playback.calls[0].json()
    assert body["refer_image"] == "data:application/octet-stream;base64,eHl6"
    assert (body["model"], body["guidance"], body["response_format"]) == ("m", 2.0, "b64_json")
    path = result[0].save(tmp_path / "a.png")
    assert path.read_bytes() == b"a file"
    with pytest.raises(errors.ConfigurationError, match="cannot write"):
        result[0].save(path, overwrite=False)


async def test_a_picture_by_url_says_where_it_is(connect: Connect, playback: Playback):
    playback.json({"data": [{"url": "https://example.com/a.png"}]})
    client = connect(**V2)
    (image,) = await client.of(client.client.images.generate("a", model="m"))
    assert image == Image(url="https://example.com/a.png")
    with pytest.raises(errors.ConfigurationError, match=r"get https://example\.com/a\.png"):
        image.save("never.png")


@pytest.mark.parametrize(
    ("settings", "option"), [(V2, "style"), (V2, "sampler"), (PAIR, "reference")]
)
async def test_an_option_of_the_other_dialect_is_refused(
    connect: Connect, playback: Playback, settings: dict[str, Any], option: str
):
    client = connect(**settings)
    given: dict[str, Any] = {option: "x"}
    with pytest.raises(errors.ConfigurationError, match=f"{option} is a field of v"):
        await client.of(client.client.images.generate("a", model="m", **given))


@pytest.mark.parametrize("reply", [{"id": "x"}, {"data": []}, {"data": [{"b64_json": "@"}]}])
async def test_a_reply_without_pictures_is_a_bad_one(
    connect: Connect, playback: Playback, reply: dict[str, Any]
):
    playback.json(reply)
    client = connect(**V2)
    with pytest.raises(errors.BadReply):
        await client.of(client.client.images.generate("a", model="m"))


async def test_v2_draws_over_a_picture(connect: Connect, playback: Playback):
    playback.json({"data": [{"b64_json": PICTURE}]})
    client = connect(**V2)
    result = await client.of(
        client.client.images.edit(
            "a", b"xyz", model="m", mask="https://example.com/m.png", guidance_scale=2.0, n=1
        )
    )
    (call,) = playback.calls
    assert call.path == "/v2/images/edits"
    assert call.json() == {
        "model": "m",
        "prompt": "a",
        "response_format": "b64_json",
        "image": "data:application/octet-stream;base64,eHl6",
        "mask": "https://example.com/m.png",
        "n": 1,
        "guidance": 2.0,
    }
    assert result[0].data == b"a file"


async def test_v1_draws_over_no_picture(connect: Connect):
    client = connect(**PAIR)
    with pytest.raises(errors.ConfigurationError, match="version=2"):
        await client.of(client.client.images.edit("a", b"xyz", model="m"))
