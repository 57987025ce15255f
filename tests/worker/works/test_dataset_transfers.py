"""The works on datasets under a real server with real workers, killed and not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.data_storm import storm

from yangfan.errors import Invalid
from yangfan.worker.works import export_dataset, import_dataset


def test_imports_and_exports_that_are_killed_leave_what_undisturbed_ones_leave(
    tmp_path: Path,
) -> None:
    for account in storm(tmp_path, kills=2, export_kills=1, rows=15_000, seed=1):
        assert account.kills >= 1
        assert account.equal
        assert account.rows == 15_000


@pytest.mark.parametrize("work", [import_dataset, export_dataset])
def test_a_spec_of_another_kind_is_refused(work: Any) -> None:
    class Task(msgspec.Struct):
        spec: dict[str, Any]

    with pytest.raises(Invalid, match="missing required field"):
        work.run(Task({"store": "/tmp"}))
