"""One result a line although the worker and the server are killed with -9 in between; `make batch-storm` does the same at length."""

from __future__ import annotations

from pathlib import Path

from tests.batch_storm import storm


def test_each_line_has_one_result_whoever_is_killed(tmp_path: Path):
    account = storm(tmp_path / "home", lines=500, kills=2)
    assert account.right, account
    assert (account.workers_killed, account.servers_killed) == (1, 1)
