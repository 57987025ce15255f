"""The works on models under a real server with real workers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import serving
from tests.server.jobs.conftest import Desk
from tests.small_models import gguf_file, llama_folder

from yangfan.errors import Invalid
from yangfan.hub.store import ModelStore
from yangfan.server.jobs import Job
from yangfan.weights import ggml
from yangfan.worker.works import compress_model, export_model, import_model


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(tmp_path_factory.mktemp("works") / "home") as server:
        yield Desk(server)


def done(desk: Desk, kind: str, **spec: Any) -> Job:
    spec["store"] = str(desk.server.home)
    id = desk.ask("submit", kind, spec).id
    return desk.until(id, lambda job: job.final, "the end")


def result_of(job: Job) -> dict[str, Any]:
    assert (job.state, job.error) == ("succeeded", None)
    assert job.result is not None
    return dict(job.result)


def test_a_model_is_imported_and_exported_by_workers(desk: Desk, tmp_path: Path) -> None:
    folder = llama_folder(tmp_path / "mine")
    job = done(desk, "import_model", source=str(folder), name="amv-aaaaaaaaaaaa")
    result = result_of(job)
    assert (result["format"], result["kind"]) == ("safetensors", "chat")
    assert result["facts"]["chat_template"] == "{{ messages[0].content }}"
    assert result["memory_bytes_estimate"] > 0
    assert (job.progress.done, job.progress.unit) == (result["size_bytes"], "bytes")
    stored = ModelStore(desk.server.home).get("amv-aaaaaaaaaaaa")
    assert stored is not None
    assert [file["sha256"] for file in result["files"]] == [
        file.sha256 for file in stored.manifest.files
    ]
    target = tmp_path / "out" / "mine.zip"
    job = done(desk, "export_model", files=result["files"], target=str(target), form="zip")
    assert result_of(job)["location"] == str(target)
    with zipfile.ZipFile(target) as archive:
        assert json.loads(archive.read("config.json"))["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.skipif(ggml.missing() is not None, reason=str(ggml.missing()))
def test_a_model_is_compressed_by_a_worker(desk: Desk, tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "m.gguf", general__architecture="bert", bert__context_length=64)
    whole = result_of(done(desk, "import_model", source=str(path), name="amv-bbbbbbbbbbbb"))
    job = done(
        desk,
        "compress_model",
        files=whole["files"],
        name="amv-cccccccccccc",
        strategy="Quantization",
        weight="INT8-PTQ",
        source="amv-bbbbbbbbbbbb",
    )
    result = result_of(job)
    assert (result["quantization"], result["size_before"]) == ("Q8_0", whole["size_bytes"])
    assert result["size_after"] == result["size_bytes"]
    assert (result["perplexity_before"], result["facts"]["dtype"]) == (None, "Q8_0")


def test_what_cannot_be_done_fails_once_with_its_reason(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    job = done(desk, "import_model", source=str(tmp_path / "m.gguf"), name="amv-dddddddddddd")
    assert (job.state, job.attempts) == ("failed", 1)
    assert job.error is not None
    assert job.error.code == "ConfigurationError"
    assert "version 0" in job.error.message
    job = done(desk, "compress_model", files=[], name="x", strategy="Sparsity", weight="")
    assert job.error is not None
    assert "strategy Sparsity is not supported" in job.error.message


@pytest.mark.parametrize("work", [import_model, export_model, compress_model])
def test_a_spec_of_another_kind_is_refused(work: Any) -> None:
    class Task(msgspec.Struct):
        spec: dict[str, Any]

    with pytest.raises(Invalid, match="missing required field"):
        work.run(Task({"store": "/tmp"}))
