"""The published `qianfan` package's Model class and resources, unchanged, against our registry (specification D.1, D.2, E.4)."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import Server, serving

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]


@pytest.fixture(scope="module", name="server")
def server_fixture(
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("registry")) as server:
        yield server


def _run(server: Server, programs: Programs, source: Path, mode: str) -> dict[str, Any]:
    environ = {
        "QIANFAN_BASE_URL": server.base_url,
        "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
        "QIANFAN_ACCESS_KEY": server.access_key,
        "QIANFAN_SECRET_KEY": server.secret_access_key,
        "QIANFAN_DISABLE_CACHE": "true",
    }
    seconds = 900 if mode == "compress" else 120
    return programs.run("qianfan_registry", str(source), mode, environ=environ, seconds=seconds)


@pytest.mark.model
def test_a_model_is_imported_found_exported_and_deleted(
    server: Server, programs: Programs, model_path: Path
) -> None:
    found = _run(server, programs, model_path, "plain")

    model_id = found["created"]["modelId"]
    ready = found["ready"]
    assert ready["status"] == "Ready", ready
    assert (ready["modelName"], ready["description"]) == ("official:1", "from the package")
    assert ready["sourceInfo"]["sourceType"] == "Import"
    assert ready["isSupportModelComp"] is True
    assert (ready["format"], ready["architecture"]) == ("gguf", "llama")
    assert ready["tokenLimitations"]["trivial"]["inputTokens"] == ready["contextTokens"] == 8192
    assert ready["parameters"] == 134515008
    assert ready["chatTemplate"]
    assert ready["files"][0]["sizeBytes"] == model_path.stat().st_size

    assert found["set"]["modelIds"] == [model_id]
    assert found["by_name"] == found["set"]["modelSetId"]
    assert found["custom_sets"]["customModelSetList"][0]["modelIds"] == [model_id]
    presets = [each["modelSetName"] for each in found["preset_sets"]["systemModelSetList"]]
    assert "smollm2-135m-instruct" in presets
    assert [each["modelName"] for each in found["presets"]][::-1] == presets
    assert [each["modelName"] for each in found["users"]] == ["official"]
    (listed,) = found["list"]["modelVersionList"]
    assert listed["modelVersionIdStr"] == model_id
    detail = found["detail"]
    assert (detail["state"], detail["ioMode"], detail["ioLength"]) == ("Ready", "chat", "8K")
    assert "Acceleration" in detail["supportOptions"]
    assert "official" in [each["modelName"] for each in found["evaluable"]]
    assert found["completed"] == [found["set"]["modelSetId"], model_id]
    assert found["custom_conf"]["modelApplicationType"] == "chat"
    assert "chatConf" in found["conf"]
    assert found["comps"]["modelCompTaskList"] == []

    assert found["exported"]["status"] == "succeeded", found["exported"]
    assert found["exported"]["downloadPath"].startswith("/v2/model/export/amve-")
    assert "there is no tuning task 'task-1'" in found["publish_error"]

    assert "'dict' object has no attribute" in found["compress_error"]
    assert found["comps_after"]["modelCompTaskList"] == []

    for key in ("model_deleted", "set_deleted"):
        assert found[key] is True
    assert found["gone"]["customModelSetList"] == []


@pytest.mark.model
@pytest.mark.large
@pytest.mark.timeout(900)
def test_a_model_is_compressed(server: Server, programs: Programs, model_path: Path) -> None:
    found = _run(server, programs, model_path, "compress")

    model_id = found["created"]["modelId"]
    compressed, task = found["compressed"], found["comp"]
    assert (compressed["status"], compressed["modelName"]) == ("Ready", "official:2")
    assert compressed["sourceInfo"]["sourceModelId"] == model_id
    assert (task["status"], task["modelId"]) == ("succeeded", compressed["modelId"])
    assert task["sizeAfterBytes"] == compressed["sizeBytes"]
    assert [each["id"] for each in found["listed_comps"]["modelCompTaskList"]] == [task["id"]]
    assert task["perplexityAfter"] > 1
    for key in ("comp_deleted", "version_deleted"):
        assert found[key] is True
