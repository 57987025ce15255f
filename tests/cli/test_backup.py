"""`yangfan backup` beside a running server, and `yangfan restore` into another home."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command
from tests.conftest import serving


def test_a_restored_platform_knows_its_keys(yangfan: Command, tmp_path: Path):
    made = yangfan("keys", "create", "--name", "kept")
    assert made.status == 0
    file, home = tmp_path / "platform.tar", tmp_path / "new"
    done = yangfan("backup", str(file))
    assert (done.status, "keep it as you keep a key" in done.out) == (0, True)
    taken = yangfan("restore", str(file))
    assert (taken.status, "another server (pid" in taken.err) == (1, True)
    assert json.loads(yangfan("backup", str(file), "--no-models", "--json").out)["blobs"] == 0
    restored = yangfan("restore", str(file), "--home", str(home), "--json")
    assert restored.status == 0, restored.err
    assert json.loads(restored.out)["rows"] > 3
    again = yangfan("restore", str(file), "--home", str(home))
    assert (again.status, "--replace" in again.err) == (1, True)
    old = json.loads((yangfan.home / "server.json").read_text("utf-8"))
    with serving(home) as server:
        assert (server.bearer, server.secret_access_key) == (
            old["bearer"],
            old["secret_access_key"],
        )
        listed = yangfan("keys", "list", environ={"YANGFAN_HOME": str(home)})
        assert "kept" in listed.out


def test_a_home_without_a_platform_is_told(yangfan: Command, tmp_path: Path):
    empty = yangfan("backup", str(tmp_path / "x.tar"), "--home", str(tmp_path / "empty"))
    assert (empty.status, "there is no platform in" in empty.err) == (1, True)
    (tmp_path / "no.tar").write_bytes(b"no")
    other = yangfan("restore", str(tmp_path / "no.tar"), "--home", str(tmp_path / "new"))
    assert (other.status, "is no backup" in other.err) == (1, True)
