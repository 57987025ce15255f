"""The published `qianfan` package's FineTune class and its trainer, unchanged, against our server with a very small model."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import serving
from tests.tuning_data import seed, trainable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        importlib.util.find_spec("peft") is None, reason="the extra tuning is not installed"
    ),
]


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory, tiny_chat_folder: Path, programs: Programs
) -> dict[str, Any]:
    """What the program found."""
    home = tmp_path_factory.mktemp("tuning")
    dataset = seed(home)
    folder = trainable(tiny_chat_folder, home / "base")
    with serving(home) as server:
        environ = {
            "QIANFAN_BASE_URL": server.base_url,
            "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
            "QIANFAN_ACCESS_KEY": server.access_key,
            "QIANFAN_SECRET_KEY": server.secret_access_key,
            "QIANFAN_DISABLE_CACHE": "true",
            "QIANFAN_TRAIN_STATUS_POLLING_INTERVAL": "0.3",
            "QIANFAN_MODEL_PUBLISH_STATUS_POLLING_INTERVAL": "0.3",
            "QIANFAN_DEPLOY_STATUS_POLLING_INTERVAL": "0.3",
            "QIANFAN_CACHE_DIR": str(home / "cache"),
            "HOME": str(home),
            "OMP_NUM_THREADS": "1",
        }
        return programs.run("qianfan_tuning", str(folder), dataset, environ=environ)


@pytest.mark.model
def test_the_fine_tune_class_trains_stops_lists_and_deletes(found: dict[str, Any]) -> None:
    assert {"base", "ERNIE-Speed-8K"} <= {*found["models"]}
    assert "param[hyperParameterConfig.epoch] invalid" in found["refused"]
    assert "epoch must be from 1 to 50; got 99" in found["refused"]
    assert (found["v1_running"], found["v1_stopped"], found["v1_end"]) == ("RUNNING", True, "STOP")
    assert {job["name"] for job in found["jobs"]["jobList"]} >= {"plain", "v1"}
    assert len(found["tasks"]["taskList"]) == 2
    assert found["not_stopped"] is False
    assert found["deleted"] == [True, True]


@pytest.mark.model
def test_the_trainer_goes_from_a_dataset_to_a_service(found: dict[str, Any]) -> None:
    task, version = found["task"], found["version"]
    assert (task["runStatus"], task["runProgress"], task["model"]) == (
        "Done",
        "100%",
        "ERNIE-Speed-8K",
    )
    assert {"BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"} == {*task["metrics"]}
    assert version["sourceInfo"]["trainTaskId"] == task["taskId"]
    assert version["sourceInfo"]["sourceModelId"] == task["baseModelId"]
    assert (version["status"], version["format"]) == ("Ready", "gguf")
    assert version["parity"]["passed"] is True
    source = found["detail"]["sourceExtra"]["trainSourceExtra"]
    assert (source["runIdStr"], source["taskIdStr"]) == (task["taskId"], task["jobId"])
    assert found["endpoint"] == "tuned"
    assert found["answer"]


@pytest.mark.model
def test_the_trainer_goes_on_from_a_run(found: dict[str, Any]) -> None:
    further = found["further"]
    assert further["runStatus"] == "Done"
    assert further["incrementTaskId"] == found["task"]["taskId"]
