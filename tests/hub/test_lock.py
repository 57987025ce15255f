from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from yangfan.hub.lock import lock, try_lock

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from yangfan.hub.lock import try_lock
with try_lock(Path(sys.argv[1])) as taken:
    print(taken, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [(False, False, False), (True, False, False), (False, True, False), (True, True, True)],
)
def test_only_shared_holders_get_along(
    tmp_path: Path, first: bool, second: bool, taken: bool
) -> None:
    file = tmp_path / "lock"
    with try_lock(file, shared=first) as one, try_lock(file, shared=second) as two:
        assert one
        assert two is taken
    with try_lock(file) as again:
        assert again


async def test_a_waiter_is_told_once_and_gets_the_lock_when_its_holder_is_killed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "lock"
    told: list[bool] = []
    holder = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"

        def waiting() -> None:
            told.append(True)
            holder.kill()

        async with asyncio.timeout(10), lock(file, waiting=waiting):
            assert told == [True]
