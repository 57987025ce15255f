"""Pictures through the published `qianfan` and `openai` packages, unchanged (specification B.3, B.9, C.2)."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


FILE = b"\x89PNG\r\n\x1a\n" + b"".join(
    (
        _chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 0)),
        _chunk(b"IDAT", zlib.compress((b"\0" + b"\xff\0\0" * 8) * 6)),
        _chunk(b"IEND", b""),
    )
)
IMAGE = base64.b64encode(FILE).decode()
SEEN = f"[image/png, {len(FILE)} bytes, {hashlib.sha256(FILE).hexdigest()[:8]}]"


@pytest.mark.parametrize("version", ["1", "2"])
def test_pictures_are_read_in_both_dialects(
    echo_server: Server, programs: Programs, version: str
) -> None:
    environ = {
        "QIANFAN_BASE_URL": echo_server.base_url,
        "QIANFAN_CONSOLE_API_BASE_URL": echo_server.base_url,
        "QIANFAN_DISABLE_CACHE": "true",
    }
    if version == "1":
        environ |= {"QIANFAN_AK": echo_server.api_key, "QIANFAN_SK": echo_server.secret_key}
    else:
        environ |= {"QIANFAN_BEARER_TOKEN": echo_server.bearer}
    found = programs.run("qianfan_pictures", version, IMAGE, environ=environ)
    answer = f"{SEEN} what is this?"
    if version == "2":
        assert found["chat"]["choices"][0]["message"]["content"] == answer
        deltas = [event["choices"][0]["delta"] for event in found["chat_stream"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == answer
        return
    assert found["chat"]["result"] == answer
    assert "".join(event["result"] for event in found["chat_stream"]) == answer
    for name in ("sync", "async"):
        assert found[name]["result"] == f"{SEEN} what?"
        assert (found[name]["object"], found[name]["is_safe"]) == ("chat.completion", 1)
    assert "".join(event["result"] for event in found["stream"]) == f"{SEEN} what?"
    assert [event["is_end"] for event in found["stream"]][-2:] == [False, True]
    assert found["no_picture"] == 336005


@pytest.mark.parametrize("path", ["/v2", "/v1"])
def test_vision_messages_read_as_openai_promises(
    echo_server: Server, programs: Programs, path: str
) -> None:
    environ = {"BASE_URL": echo_server.base_url + path, "API_KEY": echo_server.bearer}
    found = programs.run("openai_pictures", IMAGE, environ=environ)
    assert found == {
        "sync": f"what is this? {SEEN}",
        "stream": f"what is this? {SEEN}",
        "private": "invalid_image_url",
        "no_picture": "invalid_image_url",
    }
