"""Datasets and samples through the published package, unchanged (specification D.7, D.8, D.11, E.4)."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest
from tests.conftest import Server, serving

from yangfan import Client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Programs


@pytest.fixture(name="server")
def server_fixture(tmp_path: Path) -> Generator[Server]:
    pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    with serving(tmp_path) as server:
        yield server


def test_qianfan_keeps_its_datasets_here(programs: Programs, server: Server, tmp_path: Path):
    with Client(
        server.base_url,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        filled = client.datasets.create("filled", "PromptResponse")
        rows = [{"prompt": f"Question {n}", "response": f"Answer {n}"} for n in range(5)]
        client.datasets.add(filled.id, [*rows, {"prompt": "Question 5"}])
    found = programs.run(
        "qianfan_datasets",
        filled.id,
        environ={
            "QIANFAN_BASE_URL": server.base_url,
            "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
            "QIANFAN_ACCESS_KEY": server.access_key,
            "QIANFAN_SECRET_KEY": server.secret_access_key,
            "QIANFAN_RELEASE_STATUS_POLLING_INTERVAL": "0.1",
            "QIANFAN_CACHE_DIR": str(tmp_path / "cache"),
        },
    )
    assert found["source"] == [True, True, "conformance", 1, 20, 2000, "sysBos"]
    assert found["empty"] == "no data exists in dataset"
    assert "there is a dataset called 'conformance'" in found["twice"]
    assert found["states"] == [[-1, 0, 0], [-1, 0, 0]]
    assert found["deleted"] == {"versionCount": 0}
    assert found["one"] == '[{"prompt":"Question 0","response":[["Answer 0"]]}]'
    assert [text[12:22] for text in found["some"]] == ["Question 1", "Question 2", "Question 3"]
    assert found["annotated"] is True
    assert found["listed"] == [6, 5]
    assert found["gone"] == {"failedOnes": None}
    assert found["released"] == [True, True]
    assert found["info"] == [2, 5, 4]
    assert "is published, so it never changes again" in found["refused"]
    assert found["v2 made"] == ["dg-", "ds-", 1]
    assert found["v2 bos"] == ["BOS", "bos:/bucket/folder/"]
    assert found["v2 second"] == [2, "second"]
    assert found["v2 info"] == ["Created", "Unpublished", "PromptResponse"]
    assert found["v2 list"] == ["filled", "conformance", "conformance v2", "conformance bos"]
    assert found["v2 versions"] == [1, True]
    assert found["v2 published"] == "Published"
    assert found["v2 deleted"] == [True, True]
