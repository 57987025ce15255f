"""Trackers are told of a run: MLflow's REST API by an imitation of it, Weights & Biases by its own package where that is installed."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from yangfan.egress import Egress
from yangfan.hub import access
from yangfan.hub.access import HubAccess
from yangfan.hub.store import ModelStore
from yangfan.server.models import Models
from yangfan.server.settings import Settings, TrackerSettings
from yangfan.trainers.base import MetricRow
from yangfan.worker.trackers import About, Trackers

ABOUT = About("task-1 sft tiny", {"epoch": 3, "learning_rate": 1e-3})
ROWS = [
    MetricRow(step=1, epoch=0.5, loss=2.0, learning_rate=1e-3, time_ms=1000),
    MetricRow(step=2, epoch=1.0, loss=1.0, eval_loss=1.5, more={"reward": 0.5}, time_ms=2000),
]


class Imitation:
    """What MLflow's server remembers."""

    def __init__(self) -> None:
        self.experiments: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.tokens: set[str | None] = set()
        self.is_broken = False

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one call."""
        if self.is_broken:
            return 500, {"error_code": "INTERNAL_ERROR"}
        split = urlsplit(path)
        match split.path.removeprefix("/api/2.0/mlflow/"):
            case "experiments/get-by-name":
                (name,) = parse_qs(split.query)["experiment_name"]
                if name not in self.experiments:
                    return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
                reply = {"experiment": {"experiment_id": str(self.experiments.index(name))}}
            case "experiments/create":
                self.experiments.append(body["name"])
                reply = {"experiment_id": str(len(self.experiments) - 1)}
            case "runs/create":
                id = f"run{len(self.runs)}"
                self.runs[id] = {"name": body["run_name"], "metrics": [], "params": {}}
                reply = {"run": {"info": {"run_id": id}}}
            case "runs/log-batch":
                run, reply = self.runs[body["run_id"]], dict[str, Any]()
                run["metrics"] += body.get("metrics", [])
                run["params"] |= {each["key"]: each["value"] for each in body.get("params", [])}
            case other:
                assert other == "runs/update"
                self.runs[body["run_id"]]["status"], reply = body["status"], {}
        return 200, reply


@pytest.fixture
def imitation() -> Generator[tuple[Imitation, str]]:
    """A server, and where it is."""
    told = Imitation()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            told.tokens.add(self.headers.get("authorization"))
            body = json.loads(self.rfile.read(size) or b"{}")
            status, reply = told.answer(self.path, body)
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield told, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def tracked(uri: str) -> HubAccess:
    trackers = {"mlflow": {"uri": uri, "experiment": "mine", "token": "t0ken"}}
    return HubAccess(egress_allow=("127.0.0.1",), trackers=trackers)


def test_a_run_and_one_that_goes_on_are_one_run_there(
    imitation: tuple[Imitation, str], tmp_path: Path
) -> None:
    told, uri = imitation
    logs: list[str] = []
    with Trackers(tracked(uri), tmp_path, ABOUT, logs.append) as trackers:
        trackers.tell(ROWS[0])
        trackers.ends("stopped")
    assert told.runs["run0"]["status"] == "KILLED"
    with Trackers(tracked(uri), tmp_path, ABOUT, logs.append) as trackers:
        trackers.tell(ROWS[1])
        trackers.ends("done")
    assert logs == []
    assert (told.experiments, [*told.runs], told.tokens) == (["mine"], ["run0"], {"Bearer t0ken"})
    run = told.runs["run0"]
    assert (run["status"], run["name"]) == ("FINISHED", "task-1 sft tiny")
    assert run["params"] == {"epoch": "3", "learning_rate": "0.001"}
    found = {(each["key"], each["step"]): each["value"] for each in run["metrics"]}
    assert found["train/loss", 1] == 2.0
    assert (found["eval/loss", 2], found["train/reward", 2]) == (1.5, 0.5)


def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(
    imitation: tuple[Imitation, str], tmp_path: Path
) -> None:
    told, uri = imitation
    logs: list[str] = []
    with Trackers(tracked(uri), tmp_path, ABOUT, logs.append) as trackers:
        told.is_broken = True
        for row in ROWS * 3:
            trackers.tell(row)
    (line,) = logs
    assert "the tracker mlflow is told nothing more: FetchError: http://127.0.0.1" in line
    assert "500" in line
    assert "t0ken" not in line


def test_an_address_that_the_guard_forbids_is_not_asked(tmp_path: Path) -> None:
    logs: list[str] = []
    forbidden = HubAccess(trackers={"mlflow": {"uri": "http://127.0.0.1:1"}})
    with Trackers(forbidden, tmp_path, ABOUT, logs.append):
        pass
    assert "EgressDenied" in logs[0]


def test_none_is_told_by_default(tmp_path: Path) -> None:
    with Trackers(HubAccess(), tmp_path, ABOUT, pytest.fail) as trackers:
        trackers.tell(ROWS[0])
    assert [*tmp_path.iterdir()] == []


def test_settings_reach_workers_and_are_never_shown(tmp_path: Path) -> None:
    given = {"mlflow": {"uri": "https://m.example", "token": "t0ken"}, "wandb": {"api_key": "k3y"}}
    settings = Settings(home=str(tmp_path), trackers=_settings(given))
    assert "t0ken" not in repr(settings)
    Models(ModelStore(tmp_path), Egress(), settings).admit_workers()
    found = access.load(tmp_path)
    assert found.trackers["mlflow"] == {**given["mlflow"], "experiment": "yangfan"}
    assert found.trackers["wandb"] == {"api_key": "k3y", "project": "yangfan"}
    assert "k3y" not in repr(found)
    assert (tmp_path / access.FILE).stat().st_mode & 0o777 == 0o600


def _settings(given: dict[str, Any]) -> TrackerSettings:
    return msgspec.convert(given, TrackerSettings)


@pytest.mark.filterwarnings("ignore")  # the package warns of its own parts
def test_weights_and_biases_writes_into_the_runs_folder(tmp_path: Path) -> None:
    logs: list[str] = []
    with Trackers(HubAccess(trackers={"wandb": {}}), tmp_path, ABOUT, logs.append) as trackers:
        trackers.tell(ROWS[0])
        trackers.ends("done")
    if importlib.util.find_spec("wandb") is None:
        assert 'pip install "yangfan[wandb]"' in logs[0]
        pytest.skip('pip install "yangfan[wandb]"')
    assert logs == []
    assert [*tmp_path.glob("wandb/offline-run-*/run-*.wandb")]
