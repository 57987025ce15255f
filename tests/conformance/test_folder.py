"""A Hugging Face folder, served by its path, through the published packages, unchanged. Its tools and schemas are in test_functions.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

NAME = "tiny-chat"
SHOW_SECONDS = 60


def test_openai_chats_whole_and_streamed(folder_server: Server, programs: Programs) -> None:
    found = programs.run(
        "openai_chat",
        environ={
            "BASE_URL": f"{folder_server.base_url}/v2",
            "API_KEY": folder_server.bearer,
            "SERVED": NAME,
        },
    )
    assert found["sync"]["choices"][0]["message"]["content"]
    assert found["sync"]["usage"]["completion_tokens"] <= 24
    *chunks, last = found["stream"]
    usage = last["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert found["async_stream"]
    assert found["answers"] == 2
    assert found["raw_headers"]["x-yangfan-model"] == NAME
    assert {NAME, "ernie-speed-8k"} <= set(found["models"])


def _qianfan(programs: Programs, server: Server, version: str) -> dict[str, Any]:
    environ = {
        "QIANFAN_BASE_URL": server.base_url,
        "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
        "QIANFAN_IAM_BASE_URL": server.base_url,
        "QIANFAN_ACCESS_KEY": server.access_key,
        "QIANFAN_SECRET_KEY": server.secret_access_key,
        "QIANFAN_DISABLE_CACHE": "true",
    }
    return programs.run("qianfan_chat", version, environ=environ)


def test_qianfan_v1_chats_whole_and_streamed(folder_server: Server, programs: Programs) -> None:
    found = _qianfan(programs, folder_server, "1")
    assert found["sync"]["body"]["result"]
    assert found["sync"]["headers"]["x-yangfan-model"] == NAME
    for kind in ("stream", "async_stream"):
        assert "".join(event["result"] for event in found[kind])
        assert found[kind][-1]["usage"]["completion_tokens"] > 0
    assert found["error"]["code"] == 336003


def test_qianfan_v2_chats_whole_and_streamed(folder_server: Server, programs: Programs) -> None:
    found = _qianfan(programs, folder_server, "2")
    assert found["sync"]["body"]["choices"][0]["message"]["content"]
    for kind in ("stream", "async_stream"):
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in found[kind])


def test_show_tells_of_a_folder(tiny_chat_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "yangfan", "models", "show", str(tiny_chat_folder), "--json"]
    shown = subprocess.run(
        command,
        env={**os.environ, "YANGFAN_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SHOW_SECONDS,
        check=True,
    )
    card = json.loads(shown.stdout)
    assert (card["name"], card["kind"], card["format"]) == (NAME, "chat", "safetensors")
    assert card["engine"] == "transformers"
