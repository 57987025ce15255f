"""The published `qianfan` package's FineTune class and its trainer, unchanged, against our server with a very small model."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import serving
from tests.tuning_data import trainable

import yangfan
from yangfan import errors

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        importlib.util.find_spec("peft") is None, reason="the extra tuning is not installed"
    ),
]

TRAINING_SECONDS = 330.0
"""Three runs, each in two processes that load their libraries first, on processors that others use, too."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server without a model."""
    with serving(tmp_path_factory.mktemp("tuning")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Generator[yangfan.Client]:
    """Ours."""
    keys: dict[str, Any] = {
        "access_key": server.access_key,
        "secret_access_key": server.secret_access_key,
    }
    with yangfan.Client(server.base_url, bearer=server.bearer, **keys) as client:
        yield client


@pytest.fixture(scope="module")
def found(
    server: Server, client: yangfan.Client, tiny_chat_folder: Path, programs: Programs
) -> dict[str, Any]:
    """What the program found."""
    home = server.home
    rows = home / "faq.jsonl"
    turns = (
        {"prompt": f"Say only: yes {n}", "response": [["The sea was calm."]]} for n in range(10)
    )
    rows.write_text("".join(f"{json.dumps([turn])}\n" for turn in turns), "utf-8")
    dataset = client.datasets.create("faq", "PromptResponse").id
    assert client.datasets.import_files(dataset, rows).state == "succeeded"
    client.datasets.publish(dataset)
    folder = trainable(tiny_chat_folder, home / "base")
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
    return programs.run(
        "qianfan_tuning", str(folder), dataset, environ=environ, seconds=TRAINING_SECONDS
    )


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


@pytest.mark.model
def test_what_lora_learnt_is_served_beside_its_base(
    client: yangfan.Client, found: dict[str, Any]
) -> None:
    """The same run as the trainer's, published once more without its base; two services of it share an engine."""
    version = client.tuning.publish(found["task"]["taskId"], "beside", format="adapter")
    assert (version.format, version.status) == ("adapter", "Ready")
    assert version.parity is not None
    assert version.parity["passed"] is True, version.parity
    for name in ("one", "two"):
        client.services.wait(client.services.create(version.id, name).id)
    texts: set[str] = set()
    for name in ("tuned", "one", "two"):
        reply = client.chat("Say only: yes", model=name, temperature=0.01, max_output_tokens=8)
        texts.add(reply.text)
    assert len(texts) == 1  # merged or beside, once or twice
    with pytest.raises(errors.Conflict, match=f"{version.id} is an adapter for it"):
        client.models.delete(found["task"]["baseModelId"])


@pytest.mark.model
def test_a_dataset_that_a_run_reads_stays(client: yangfan.Client, found: dict[str, Any]) -> None:
    assert found["answer"]  # the model and the dataset are there
    run = client.tuning.create("base", "faq:1", hyper_parameters={"epoch": 50, "maxSeqLen": 64})
    try:
        with pytest.raises(errors.Conflict, match=f"the tuning task {run.id} uses it"):
            client.datasets.delete_version("faq:1")
        with pytest.raises(errors.Conflict, match="is in use"):
            client.models.delete(run.base_id)
    finally:
        client.tuning.stop(run.id)
        assert client.tuning.wait(run.id).status == "Stopped"
    client.tuning.delete(run.id)
