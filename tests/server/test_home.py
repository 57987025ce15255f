"""The home folder and its lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yangfan.errors import ConfigurationError
from yangfan.server.home import Home


def test_folder_is_made_for_its_owner_alone(tmp_path: Path):
    home = Home(tmp_path / "a" / "b")
    home.prepare()
    home.prepare()
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in home.path.iterdir()] == ["logs"]


def test_everything_is_inside(tmp_path: Path):
    home = Home(tmp_path)
    inside = (home.database, home.master_key, home.server_file, home.log, home.engine("x"))
    assert len({*inside}) == 5
    assert all(path.is_relative_to(tmp_path) for path in inside)


def test_file_in_the_way_is_told(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("")
    text = rf"cannot write to the home folder {path}: .*; choose another with --home DIR"
    with pytest.raises(ConfigurationError, match=text):
        Home(path).prepare()
    with pytest.raises(ConfigurationError, match="Not a directory"):
        Home(path / "below").prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written_is_told(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="Permission denied; choose another with --home"):
        Home(tmp_path / "home").prepare()


def test_pseudo_file_system_is_told():
    with pytest.raises(ConfigurationError, match="cannot write to the home folder /proc/yangfan"):
        Home(Path("/proc/yangfan")).prepare()


def test_full_disk_is_told_with_numbers(tmp_path: Path):
    with pytest.raises(ConfigurationError) as raised:
        Home(tmp_path, min_free_bytes=2**60).prepare()
    assert f"MiB free at {tmp_path}, {2**40} needed; free some space or choose another disk" in (
        raised.value.message
    )


def test_second_server_is_refused_with_the_firsts_pid(tmp_path: Path):
    first, second = Home(tmp_path), Home(tmp_path)
    with first.locked():
        text = f"another server \\(pid {os.getpid()}\\) uses {tmp_path}; stop it or choose another"
        with pytest.raises(ConfigurationError, match=text), second.locked():
            raise AssertionError("two servers")
    with second.locked():
        pass


def test_lock_ends_with_its_process_however_that_ends(tmp_path: Path):
    program = (
        "import os, pathlib, sys; from yangfan.server.home import Home\n"
        "with Home(pathlib.Path(sys.argv[1])).locked(): os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == 9
    with Home(tmp_path).locked():
        assert (tmp_path / "lock").read_text() == str(os.getpid())
