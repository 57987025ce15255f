"""Training under a real server with real workers: a small model, real rows, real kills."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import serving, wait_until
from tests.server.jobs.conftest import Desk

from yangfan.datasets import formats
from yangfan.datasets.formats import DataFormat
from yangfan.datasets.shards import BlobFolder, ShardWriter
from yangfan.server.jobs import Job
from yangfan.trainers.pipeline import libraries

pytestmark = pytest.mark.skipif(libraries.missing() is not None, reason=str(libraries.missing()))


END_SECONDS = 150.0
"""Steps take milliseconds, but four processes in a row load their libraries first, on processors that others use, too."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Generator[Desk]:
    with serving(tmp_path_factory.mktemp("train") / "home") as server:
        yield Desk(server)


def stored(desk: Desk, folder: Path) -> list[dict[str, Any]]:
    """The files of a model folder, in the server's store."""
    blobs = desk.server.home / "blobs"
    found: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".gguf" or not path.is_file():
            continue
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / sha256).write_bytes(content)
        found.append({"path": path.name, "sha256": sha256, "size_bytes": len(content)})
    return found


def dataset(blobs: Path, rows: list[object], data_format: DataFormat) -> dict[str, Any]:
    """A source of a training."""
    with ShardWriter(BlobFolder(blobs), data_format, rows_per_shard=5) as writer:
        for number, row in enumerate(rows):
            writer.add(f"r{number}", formats.parse(data_format, row))
        manifest = writer.finish()
    return {"manifest": msgspec.to_builtins(manifest), "name": "faq:1"}


TALKS: list[object] = [[{"prompt": f"Say {n}", "response": [[f"yes {n}"]]}] for n in range(12)]


def order(desk: Desk, folder: Path, output: Path, **changes: Any) -> dict[str, Any]:
    hyper = {"epoch": 40, "batch_size": 4, "learning_rate": 5e-3, "lora_dropout": 0.1}
    blobs = desk.server.home / "blobs" / "datasets"
    rows = changes.pop("rows", TALKS)
    return {
        "mode": "sft",
        "method": "lora",
        "store": str(desk.server.home),
        "files": stored(desk, folder),
        "blobs": str(blobs),
        "train": [dataset(blobs, rows, DataFormat.PROMPT_RESPONSE)],
        "split_percent": 20,
        "base_model": "tiny-chat",
        "hyper_parameters": {**hyper, "checkpoint_interval": 20, **changes.pop("hyper", {})},
        "output": str(output),
        "dtype": "float32",
        "threads": 1,
        **changes,
    }


def ended(desk: Desk, id: str) -> Job:
    wait_until(lambda: desk.ask("get", id).final, "the end", END_SECONDS)
    return desk.ask("get", id)


def curve(result: dict[str, Any]) -> list[Any]:
    keys = ("step", "loss", "grad_norm", "learning_rate", "eval_loss")
    return [[row.get(key) for key in keys] for row in result["metrics"]]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_killed_run_ends_bit_equal_to_one_never_touched(
    desk: Desk, tiny_chat_folder: Path, tmp_path: Path
) -> None:
    results: list[dict[str, Any]] = []
    for name in ("untouched", "killed"):
        output = tmp_path / name
        id = desk.ask("submit", "train", order(desk, tiny_chat_folder, output)).id
        if name == "killed":
            desk.until(id, lambda job: job.checkpoint.get("step", 0) >= 20, "a checkpoint")
            os.kill(desk.worker(id), signal.SIGKILL)
        job = ended(desk, id)
        assert (job.state, job.error) == ("succeeded", None)
        results.append(dict(job.result or {}))
    untouched, killed = results
    assert untouched["facts"]["resumed_from"] == ""
    assert killed["facts"]["resumed_from"].startswith("step-")
    assert len(curve(untouched)) == 120
    assert curve(untouched) == curve(killed)
    assert digests(Path(untouched["final"])) == digests(Path(killed["final"]))
    assert set(untouched["scores"]) == {"bleu_4", "rouge_1", "rouge_2", "rouge_l"}
    assert untouched["scores"] == killed["scores"]
    page = Path(untouched["report"]).read_text("utf-8")
    assert "ROUGE" in page.upper()
    assert "http" not in page.replace("http-equiv", "")


def test_a_cancelled_run_leaves_a_checkpoint_of_its_last_step(
    desk: Desk, tiny_chat_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "cancelled"
    hyper = {"epoch": 1000, "checkpoint_interval": 100_000, "checkpoint_count": 3}
    id = desk.ask("submit", "train", order(desk, tiny_chat_folder, output, hyper=hyper)).id
    desk.until(id, lambda job: job.progress.done > 3, "some steps")
    desk.ask("cancel", id)
    assert ended(desk, id).state == "cancelled"
    manifests = list(output.glob("checkpoints/step-*/manifest.json"))
    assert len(manifests) == 1
    assert json.loads(manifests[0].read_bytes())["step"] > 3


@pytest.mark.large
def test_a_row_that_cannot_be_learnt_from_is_named(
    desk: Desk, tiny_chat_folder: Path, tmp_path: Path
) -> None:
    rows = [*TALKS[:3], [{"prompt": "And now?"}]]
    id = desk.ask(
        "submit",
        "train",
        order(desk, tiny_chat_folder, tmp_path / "bad", rows=rows, split_percent=0),
    ).id
    job = ended(desk, id)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.code == "Invalid"
    assert job.error.message == (
        "row 4 (faq:1 r3) cannot be learnt from: it has no answer; annotate it, or use the mode PostPretrain for plain text"
    )


@pytest.mark.large
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_mid_run_is_gone_on_from_by_the_next(
    tmp_path: Path, tiny_chat_folder: Path, number: signal.Signals
) -> None:
    output = tmp_path / "run"
    with serving(tmp_path / "home") as server:
        desk = Desk(server)
        hyper = {"epoch": 150, "checkpoint_interval": 50}
        id = desk.ask("submit", "train", order(desk, tiny_chat_folder, output, hyper=hyper)).id
        desk.until(id, lambda job: job.checkpoint.get("step", 0) >= 50, "a checkpoint")
        server.process.send_signal(number)
        server.process.wait(60)
    with serving(tmp_path / "home") as server:
        job = ended(Desk(server), id)
    assert (job.state, job.error) == ("succeeded", None)
    result = dict(job.result or {})
    assert result["facts"]["resumed_from"].startswith("step-")
    assert [row["step"] for row in result["metrics"]] == list(range(1, 451))
    if number == signal.SIGTERM:  # the worker had time for a checkpoint of its last step
        assert int(result["facts"]["resumed_from"].removeprefix("step-")) % 50
