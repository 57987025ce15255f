"""Workers on this machine: none of an earlier server's is left, and nobody else's process is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from yangfan.executors import local
from yangfan.executors.local import LocalExecutor, Record

SLEEPER = [sys.executable, "-c", "import subprocess, sys; subprocess.run(['sleep', '600'])"]


@pytest.fixture
def orphan():
    process = subprocess.Popen(SLEEPER, start_new_session=True)
    yield process
    process.kill()
    process.wait(10)


def record(root: Path, pid: int, **changes: int | str) -> Path:
    path = root / "jb-1" / local.RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    local._note(path, pid)  # pyright: ignore[reportPrivateUsage] - as the executor does
    changed = msgspec.structs.replace(
        msgspec.json.decode(path.read_bytes(), type=Record), **changes
    )
    path.write_bytes(msgspec.json.encode(changed))
    return path


async def test_a_worker_of_an_earlier_server_is_ended(
    tmp_path: Path, orphan: subprocess.Popen[bytes]
):
    path = record(tmp_path, orphan.pid)
    assert await LocalExecutor(tmp_path).reap() >= 1
    assert orphan.wait(10) == -9
    assert not path.exists()


@pytest.mark.parametrize("changes", [{"boot_id": "another"}, {"start_time": 1}])
async def test_a_process_that_only_has_the_number_of_a_worker_lives(
    tmp_path: Path, orphan: subprocess.Popen[bytes], changes: dict[str, int | str]
):
    path = record(tmp_path, orphan.pid, **changes)
    assert await LocalExecutor(tmp_path).reap() == 0
    assert orphan.poll() is None
    assert not path.exists()


async def test_a_damaged_record_is_passed_over(tmp_path: Path):
    (tmp_path / "jb-1").mkdir()
    (tmp_path / "jb-1" / local.RECORD).write_bytes(b"{")
    assert await LocalExecutor(tmp_path).reap() == 0


def test_folders_are_kept_until_their_job_has_ended(tmp_path: Path):
    executor = LocalExecutor(tmp_path)
    executor.folder("jb-1").mkdir()
    assert executor.kept() == ["jb-1"]
    executor.forget("jb-1")
    executor.forget("jb-2")
    assert executor.kept() == []
