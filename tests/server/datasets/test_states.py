"""What both dialects show of importing and exporting, state by state (specification D.7, D.8)."""

from __future__ import annotations

import pytest

from yangfan.datasets.formats import DataFormat
from yangfan.server.datasets import Datasets, v1, v2
from yangfan.server.datasets.types import TaskState

NOTHING = v1.Progress(0, 0, 0)


@pytest.mark.parametrize(
    ("state", "importing", "exporting", "word"),
    [
        ("running", 1, 1, "Importing"),
        ("succeeded", 2, 2, "ImportFinished"),
        ("failed", 3, 3, "ImportFailed"),
        ("aborted", 4, 3, "ImportFailed"),
    ],
)
async def test_import_and_export_are_shown_as_they_are(
    datasets: Datasets, state: TaskState, importing: int, exporting: int, word: str
) -> None:
    made = await datasets.create("poems", DataFormat.TEXT)
    async with datasets.database.write() as connection:
        await datasets.begin(connection, made.id, "import", "jb-1")
        await datasets.begin(connection, made.id, "export", "jb-2")
        if state != "running":
            await datasets.end(connection, made.id, "import", state, error="why", error_code=7)
            await datasets.end(connection, made.id, "export", state)
    version = await datasets.version(made.id)
    info = v1._info(version, NOTHING)  # pyright: ignore[reportPrivateUsage] - what the call answers
    assert (info.importStatus, info.exportStatus) == (importing, exporting)
    assert (info.importRecordCount, info.exportRecordCount) == (1, 1)
    shown = v2._version(version)  # pyright: ignore[reportPrivateUsage] - what the Action answers
    assert shown.importStatus == word
    if state != "running":
        assert info.importErrorInfo == {"errCode": 7, "errMsg": "why"}
