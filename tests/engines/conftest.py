"""What the engine tests share: the real model and bounded waiting."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from yangfan.engines import llama_cpp

WAIT_SECONDS = 10.0


@pytest.fixture(scope="session")
def native_builds() -> str:
    """Folder of llama.cpp built for this CPU: `YANGFAN_TEST_BUILDS`, or the one of this user's platform; skips where there is none."""
    given = os.environ.get("YANGFAN_TEST_BUILDS", "~/.yangfan/engines/llama_cpp")
    builds = Path(given).expanduser()
    built, reason = llama_cpp.native(builds)
    if not built:
        pytest.skip(f"llama.cpp for this CPU: {reason}; run `yangfan engines build llama_cpp`")
    return str(builds)


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until `condition` holds; fail the test if it never does."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not await condition():  # noqa: ASYNC110  it asks another process
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited {WAIT_SECONDS:g} s in vain for {what}")


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]:
    """The function `until`, because test files cannot import from a conftest."""
    return until


def process_exists(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    """The function `process_exists`."""
    return process_exists
