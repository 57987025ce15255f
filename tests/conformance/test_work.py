"""Prompt optimisation, evaluation and batch inference through the published package, unchanged (specification D.12 to D.14)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.conftest import serving
from tests.hub.s3_server import KEY_ID, SECRET
from tests.hub.s3_server import serving as storing

import yangfan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Programs


def test_qianfan_optimises_evaluates_and_batches_here(programs: Programs, tmp_path: Path):
    with (
        storing() as store,
        serving(
            tmp_path,
            environ={
                "YANGFAN_EGRESS_ALLOW": "127.0.0.1",
                "YANGFAN_S3_ENDPOINT": store.settings.endpoint,
                "YANGFAN_S3_REGION": store.settings.region,
                "YANGFAN_S3_ACCESS_KEY_ID": KEY_ID,
                "YANGFAN_S3_SECRET_ACCESS_KEY": SECRET,
            },
        ) as server,
        yangfan.Client(server.base_url, bearer=server.bearer, version=2) as client,
    ):
        store.objects["in/1.jsonl"] = b'{"id": "1", "query": "mast"}\n'
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
                "FOLDER": str(tmp_path),
            },
        )
        status, progress, folder = found["helped"]
        (answer,) = store.objects[f"out/{folder}/output.jsonl"].splitlines()
    assert "Say {topic}" in found["optimised"]
    assert found["scores"] == [1.0, 0.0]
    assert "1 of 1 exactly as expected" in found["summary"]
    assert (found["state"], found["metric"]["accuracy"]) == ("Done", 1.0)
    assert found["export"][0] == "Done"
    assert found["listed"] == 1
    assert found["batch"] == ["Done", 1]
    assert found["batches"] == [True]
    assert (status, progress) == ("Done", 1)
    assert json.loads(answer)["output"]["result"] == "mast"


def test_qianfan_evaluates_online_and_here(programs: Programs, tmp_path: Path):
    pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    with (
        serving(tmp_path / "home") as server,
        yangfan.Client(
            server.base_url,
            access_key=server.access_key,
            secret_access_key=server.secret_access_key,
        ) as client,
    ):
        client.datasets.create("cities", "PromptResponse")
        rows = [{"prompt": "上海", "response": "上海"}, {"prompt": "red", "response": "red sail"}]
        client.datasets.add("cities", rows)
        version = client.datasets.publish("cities")
        found = programs.run(
            "qianfan_evaluation",
            version.id,
            str(tmp_path),
            environ={
                "QIANFAN_BASE_URL": server.base_url,
                "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
                "QIANFAN_ACCESS_KEY": server.access_key,
                "QIANFAN_SECRET_KEY": server.secret_access_key,
                "QIANFAN_CACHE_DIR": str(tmp_path / "cache"),
                "HOME": str(tmp_path),
            },
        )
        waiting = client.evaluations.get(found["waiting"])
    assert found["online"] == [0.5, pytest.approx(5 / 6), {"-1": 2}]
    (first,), (second,) = found["rows"]
    assert (first["Prompt问题"], first["模型结果"], first["BLEU-4"]) == ("上海", "上海", 1.0)
    assert second["裁判员模型打分"] is None
    # It was asked under its grammar, and repeated what it was told.
    assert second["裁判员模型打分理由"].startswith("the judge gave no verdict in JSON")
    assert found["undownloaded"] == 1
    assert (found["people"], waiting.state) == (None, "RunningWithManualBegin")
    assert found["compared"] == [2, [0.5, 0.5], 4]
    assert found["answered"][1] == {
        "prompt": "red",
        "input_prompt": "red",
        "llm_output": "red",
        "expected_output": "red sail",
    }
    assert found["only"] == {"same": 0.5}
