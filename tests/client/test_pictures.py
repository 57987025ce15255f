"""`client.image2text` and `image_part` of both clients: what is sent (specification B.9, C.2)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from yangfan import errors, image_part

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.conftest import Connect, Playback


FILE = b"\x89PNG\r\n\x1a\n and so on"
IMAGE = base64.b64encode(FILE).decode()
URI = f"data:image/png;base64,{IMAGE}"
USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
V1_REPLY = {
    "id": "as-0123456789",
    "object": "chat.completion",
    "created": 1700000000,
    "result": "a cat",
    "is_safe": 1,
    "usage": USAGE,
}
V2_REPLY = {
    "id": "as-0123456789",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "fuyu-8b",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a cat"}}],
    "usage": USAGE,
}


async def look(client: Any, image: Any = FILE, **options: Any) -> Any:
    return await client.of(client.client.image2text("what?", image, model="Fuyu-8B", **options))


def test_image_part_takes_bytes_paths_and_addresses(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(FILE)
    for image in (FILE, path, URI):
        assert image_part(image) == {"type": "image_url", "image_url": {"url": URI}}
    assert image_part("https://x/y.png", detail="low") == {
        "type": "image_url",
        "image_url": {"url": "https://x/y.png", "detail": "low"},
    }


def test_image_part_says_what_is_wrong(tmp_path: Path):
    for image, says in {
        b"hello": "these bytes: no PNG",
        tmp_path / "none.png": "cannot read .*none.png",
        tmp_path: "cannot read",
        "a.png": r"must be an https URL.*pathlib\.Path",
    }.items():
        with pytest.raises(errors.ConfigurationError, match=says):
            image_part(image)


async def test_v1_sends_the_file_in_base64(connect: Connect, playback: Playback, tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(FILE)
    for image in (FILE, path, URI):
        playback.json(V1_REPLY)
        result = await look(connect(version=1), image, stop="x", temperature=0.5, user="me")
        assert (result.text, result.is_safe, result.model) == ("a cat", True, "Fuyu-8B")
    for call in playback.calls:
        assert call.path == "/rpc/2.0/ai_custom/v1/wenxinworkshop/image2text/fuyu_8b"
        assert call.json() == {
            "prompt": "what?",
            "image": IMAGE,
            "stop": ["x"],
            "temperature": 0.5,
            "user_id": "me",
        }


async def test_v2_asks_in_a_chat(connect: Connect, playback: Playback):
    playback.json(V2_REPLY)
    result = await look(connect(version=2), "https://x/y.png", system="Be brief.")
    assert result.text == "a cat"
    (call,) = playback.calls
    assert call.path == "/v2/chat/completions"
    assert call.json() == {
        "model": "Fuyu-8B",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                    {"type": "text", "text": "what?"},
                ],
            },
        ],
    }


async def test_v1_has_no_addresses_and_no_personas(connect: Connect):
    with pytest.raises(errors.ConfigurationError, match="takes a file, not an address"):
        await look(connect(version=1), "https://x/y.png")
    with pytest.raises(errors.ConfigurationError, match="system is a field of v2"):
        await look(connect(version=1), system="Be brief.")
