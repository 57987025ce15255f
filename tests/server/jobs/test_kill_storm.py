"""The small form of `make kill-storm`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kill_storm import Storm

KILLS = 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_step_happens_once_whoever_is_killed_when(
    database_target: Path | str, tmp_path: Path
):
    url = database_target if isinstance(database_target, str) else None
    account = Storm(tmp_path, url, seed=4).rage(KILLS, jobs=2, steps=10, pause_seconds=0.05)
    assert account.right, str(account)
    assert account.workers_killed + account.servers_killed == KILLS
    assert account.servers_killed >= 1
