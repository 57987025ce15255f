"""The programs in examples/ run as they stand, with settings from the environment."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.client.conftest import Playback

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


async def run(
    playback: Playback, name: str, *arguments: str, typed: str = ""
) -> tuple[int, str, str]:
    environ = {
        **os.environ,
        "YANGFAN_BASE_URL": playback.url,
        "YANGFAN_BEARER": "bce-v3/ALTAK-a/b",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONWARNINGS": "error",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / name,
        *arguments,
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(typed.encode()), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def test_one_question(playback: Playback, v2_answer: Any):
    playback.json(v2_answer, headers={"X-Yangfan-Model": "smollm2"})
    code, out, error = await run(playback, "chat.py", "为什么?")
    assert (code, out, error) == (0, "因为 1+1=2。\n", "12 tokens, answered by smollm2\n")
    assert playback.calls[0].json()["messages"] == [{"role": "user", "content": "为什么?"}]


async def test_a_refusal_is_one_line(playback: Playback):
    playback.json({"error": {"code": "invalid_model", "message": "there are: echo"}}, status=401)
    code, out, error = await run(playback, "chat.py")
    assert (code, out, error) == (1, "", "ModelNotFound: there are: echo\n")


async def test_a_conversation_remembers_its_turns(playback: Playback):
    for text in ("一", "二"):
        chunk = {"id": "as-1", "choices": [{"index": 0, "delta": {"content": text}}]}
        playback.events(chunk, done=True)
    code, out, error = await run(playback, "chat_stream.py", typed="甲\n乙\n\n")
    assert (code, out, error) == (0, "> 一\n> 二\n> ", "")
    turns = playback.calls[1].json()["messages"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "甲"),
        ("assistant", "一"),
        ("user", "乙"),
    ]


async def test_several_questions_at_once(playback: Playback, v2_answer: Any):
    playback.json(v2_answer, v2_answer)
    code, out, error = await run(playback, "chat_async.py", "甲?", "乙?")
    assert (code, error) == (0, "")
    assert out == "甲?\n因为 1+1=2。\n\n乙?\n因为 1+1=2。\n\n"
