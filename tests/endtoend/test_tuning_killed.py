"""kill -9 of the server, and of the server with its worker, in the middle of a run: it goes on by itself and ends bit-equal."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import serving
from tests.tuning_data import seed, trainable

import yangfan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Server

    from yangfan.client.types import TuningTask

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="the extra tuning is not installed"
)
WAIT_SECONDS = 120.0
HYPER = {
    "epoch": 40,
    "batchSize": 4,
    "maxSeqLen": 64,
    "saveStep": 10,
    "loraDropout": 0.1,
    "learningRate": 0.003,
}


def client_of(server: Server) -> yangfan.Client:
    return yangfan.Client(
        server.base_url,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    )


def until(client: yangfan.Client, task: str, condition: Callable[[TuningTask], bool]) -> TuningTask:
    end = time.monotonic() + WAIT_SECONDS
    while not condition(now := client.tuning.get(task)):
        assert now.status != "Failed", now
        assert time.monotonic() < end, now
        time.sleep(0.05)
    return now


def workers(job: str) -> list[int]:
    """Processes that work on a job of ours."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if job.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def left(server: Server, client: yangfan.Client, task: str) -> Any:
    """What a run measured, and the digest of each file that it left."""
    rows = [(row.step, row.loss, row.gradient_norm) for row in client.tuning.metrics(task)]
    final = server.home / "tuning" / task / "final"
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in final.iterdir()}
    return rows, files


@pytest.mark.model
@pytest.mark.large
def test_a_run_whose_server_and_worker_are_killed_ends_bit_equal(
    tmp_path: Path, tiny_chat_folder: Path
) -> None:
    home = tmp_path / "home"
    dataset = seed(home)
    base = trainable(tiny_chat_folder, tmp_path / "base")
    with serving(home) as server, client_of(server) as client:
        client.models.create_set("base")
        client.models.wait(client.models.import_("base", str(base)).id)
        untouched = client.tuning.create("base", dataset, split_percent=20, hyper_parameters=HYPER)
        assert client.tuning.wait(untouched.id).status == "Done"
        expected = left(server, client, untouched.id)
        killed = client.tuning.create("base", dataset, split_percent=20, hyper_parameters=HYPER)
        until(client, killed.id, lambda now: now.step > 10)
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait()
    with serving(home) as server, client_of(server) as client:
        until(client, killed.id, lambda now: now.step > 25 or now.ended)
        for pid in (server.pid, *workers(killed.work_id)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.process.wait()
    with serving(home) as server, client_of(server) as client:
        assert client.tuning.wait(killed.id).status == "Done"
        logs = " ".join(line.text for line in client.jobs.logs(killed.work_id))
        assert left(server, client, killed.id) == expected
        assert "checkpoint" in logs
