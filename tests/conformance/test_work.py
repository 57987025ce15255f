"""Prompt optimisation, evaluation and batch inference through the published package, unchanged (specification D.12 to D.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import serving

import yangfan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Programs


def test_qianfan_optimises_evaluates_and_batches_here(programs: Programs, tmp_path: Path):
    with (
        serving(tmp_path) as server,
        yangfan.Client(server.base_url, bearer=server.bearer, version=2) as client,
    ):
        samples = client.files.upload(
            b'{"prompt": "sail", "response": "sail"}\n', "evals", name="s.jsonl"
        )
        queries = client.files.upload(b'{"id": "1", "query": "sail"}\n', "batch", name="q.jsonl")
        found = programs.run(
            "qianfan_work",
            environ={
                "QIANFAN_BASE_URL": server.base_url,
                "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
                "QIANFAN_ACCESS_KEY": server.access_key,
                "QIANFAN_SECRET_KEY": server.secret_access_key,
                "FILE_ID": samples.id,
                "QUERIES_ID": queries.id,
            },
        )
    assert "Say {topic}" in found["optimised"]
    assert found["scores"] == [1.0, 0.0]
    assert "1 of 1 exactly as expected" in found["summary"]
    assert (found["state"], found["metric"]["accuracy"]) == ("Done", 1.0)
    assert found["export"][0] == "Done"
    assert found["listed"] == 1
    assert found["batch"] == ["Done", 1]
    assert found["batches"] == [True]
