"""What workers are given to fetch as the server does."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from yangfan.errors import ConfigurationError
from yangfan.hub.access import FILE, HubAccess, load, save
from yangfan.hub.s3 import S3Settings
from yangfan.hub.sources.base import HubSettings


def test_a_worker_reads_what_the_server_wrote_and_nobody_else_can(tmp_path: Path) -> None:
    given = HubAccess(
        hubs=HubSettings(
            hf_token="s3cret-token",
            s3=S3Settings(access_key_id="me", secret_access_key="s3cret-key"),
        ),
        egress_allow=("10.0.0.0/8",),
        egress_proxy="http://user:s3cret@proxy:3128",
        nodes=("ssh b yangfan worker node",),
        rendezvous="10.0.0.1:29400",
    )
    root = tmp_path / "home"
    save(root, given)
    save(root, given)
    assert load(root) == given
    assert stat.S_IMODE((root / FILE).stat().st_mode) == 0o600
    assert [file.name for file in root.iterdir()] == [FILE]
    assert "s3cret" not in repr(given)


def test_where_nothing_was_written_it_is_as_after_installing(tmp_path: Path) -> None:
    assert load(tmp_path) == HubAccess()
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read; start the server"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write"):
        save(tmp_path / "file", HubAccess())
