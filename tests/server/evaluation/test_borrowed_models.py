"""Model versions that no service serves: each runs on an engine of its own while it is asked, and is gone afterwards (specification D.14)."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.evaluation.test_evaluation import Console

import yangfan
from yangfan import errors

WAIT_SECONDS = 60.0
SAMPLES = [
    {"prompt": f"question {number}", "response": f"a question {number}"} for number in range(4)
]

MEMORY_BYTES = 400_000_000
"""Room for one echo engine, which is thought to need 268 MB, and not for two."""


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    environ = {"YANGFAN_SERVICES_MEMORY_BYTES": str(MEMORY_BYTES)}
    with serving(tmp_path_factory.mktemp("borrowed") / "home", environ=environ) as server:
        yield server
        log = (server.home / "logs" / "server.log").read_text("utf-8")
        assert "Traceback" not in log, log[-5000:]


def connected(server: Server) -> yangfan.Client:
    return yangfan.Client(
        server.base_url,
        bearer=server.bearer,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    )


@pytest.fixture(scope="module", name="client")
def client_fixture(server: Server) -> Generator[yangfan.Client]:
    with connected(server) as client:
        yield client


def upload(client: yangfan.Client, samples: list[dict[str, str]]) -> str:
    content = "\n".join(map(json.dumps, samples))
    return client.files.upload(content.encode(), "evals", name="samples.jsonl").id


def own(name: str = "", **options: Any) -> dict[str, Any]:
    """The echo model on an engine of its own."""
    named = {"name": name} if name else {}
    return {"modelId": "echo:1", "engineOptions": {"slots": 4, **options}, **named}


def lent_engines(server: Server) -> list[int]:
    """The processes of lent engines: each has a folder of its own."""
    folder = str(server.home / "engines" / "services" / "loan-")
    found: list[int] = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal() and str((process / "cwd").readlink()).startswith(folder):
                found.append(int(process.name))
    return found


def ended(client: yangfan.Client, id: str) -> Any:
    return client.evaluations.wait(id, poll_seconds=0.1, timeout_seconds=WAIT_SECONDS)


def test_versions_run_one_after_another_and_nobody_else_can_reach_them(
    server: Server, client: yangfan.Client
):
    version = client.models.version("echo").id
    id = client.evaluations.create(
        "two versions",
        dataset=upload(client, SAMPLES),
        models=[own("A", prefix="a "), "echo", own("B", prefix="b "), own("C", prefix="a ")],
        scorers=["exact"],
    )
    seen = set[int]()

    def over() -> bool:
        engines = lent_engines(server)
        assert len(engines) <= 1
        seen.update(engines)
        return client.evaluations.get(id).final

    wait_until(over, "the end", WAIT_SECONDS)
    found = client.evaluations.get(id)
    assert found.state == "Successed"
    assert [(each.id, each.state, each.message) for each in found.models] == [
        ("echo:1", "Done", ""),
        ("echo", "Done", ""),
        ("echo:1", "Done", ""),
        ("echo:1", "Done", ""),
    ]
    answers = [each.answer for each in client.evaluations.results(id)]
    assert answers[::4] == ["a question 0", "question 0", "b question 0", "a question 0"]
    values = [model.figures["exact"].value for model in client.evaluations.report(id).models]
    assert values == [1.0, 0.0, 0.0, 1.0]
    assert len(seen) >= 2
    used = client.usage.list(model=version)
    assert sum(each.requests for each in used) >= 8  # C asks what A has asked
    assert [each.id for each in client.services.list()] == []
    with pytest.raises(errors.RefusedError, match="no model"):
        client.chat("hi", model=f"{version}#0")


def test_version_that_cannot_run_fails_alone_and_says_what_to_do(
    server: Server, client: yangfan.Client
):
    dataset = upload(client, SAMPLES)
    broken = own("broken", start_fails=True)
    id = client.evaluations.create(
        "half", dataset=dataset, models=[broken, "echo"], scorers=["exact"]
    )
    found = ended(client, id)
    assert found.state == "Successed"
    failed, done = found.models
    assert (failed.state, done.state) == ("Failed", "Done")
    assert failed.message.startswith("echo:1 cannot be asked: ")
    unit = Console(server).v1("detail", id=id)["result"]["evalUnits"][0]
    assert (unit["state"], unit["message"]) == ("Failed", failed.message)
    broken_report = client.evaluations.report(id).models[0]
    assert (broken_report.answered, broken_report.failed) == (0, 4)
    assert found.message == failed.message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (own(slots=0), "slots must be from 1 to 1024"),
        (own(force=True, adapter="none"), "no adapter 'none'"),
        ({"modelId": "nobody", "engineOptions": {"slots": 2}}, "versions of the registry"),
        ({"modelId": "smollm2-135m-instruct"}, "yangfan pull smollm2-135m-instruct"),
        ({"modelId": "echo", "engineOptions": [1]}, "engineOptions must be an object"),
    ],
)
def test_version_that_can_never_run_is_refused_at_once(
    client: yangfan.Client, model: dict[str, Any], message: str
):
    with pytest.raises(errors.RefusedError, match=message):
        client.evaluations.create("w", dataset="file-x", models=[model], scorers=["exact"])


@pytest.fixture(name="unlike")
def unlike_fixture(server: Server) -> Generator[None]:
    """The echo model, as if its parity gate had failed."""
    change = "UPDATE model_versions SET facts = ? WHERE kind = 'chat' AND id = ?"
    with closing(sqlite3.connect(server.home / "yangfan.db", timeout=30)) as database:
        (row,) = database.execute(
            "SELECT v.id, v.facts FROM model_versions v JOIN model_sets s ON v.set_number = s.number"
            " WHERE s.name = 'echo'"
        ).fetchall()
        facts = {**json.loads(row[1]), "parity": {"passed": False, "reason": "it is too far off"}}
        with database:
            database.execute(change, (json.dumps(facts), row[0]))
        yield
        with database:
            database.execute(change, (row[1], row[0]))


@pytest.mark.usefixtures("unlike")
def test_version_whose_parity_gate_failed_runs_only_by_force(client: yangfan.Client):
    order: dict[str, Any] = {"dataset": upload(client, SAMPLES[:1]), "scorers": ["exact"]}
    with pytest.raises(errors.Conflict, match=r"it is too far off\. Deploy it with force"):
        client.evaluations.create("gate", models=[own()], **order)
    forced = client.evaluations.create("gate", models=[own(force=True)], **order)
    assert ended(client, forced).models[0].state == "Done"


def test_run_waits_for_room_and_tells_so(client: yangfan.Client):
    big = client.services.create("echo", suffix="big", memory_bytes=300_000_000)
    id = client.evaluations.create(
        "waits", dataset=upload(client, SAMPLES), models=[own()], scorers=["exact"]
    )

    def says_so() -> bool:
        # Now and then it tries, and says that instead.
        note = client.evaluations.get(id).models[0].message
        return "waiting for room for echo:1" in note and "stop another service" in note

    wait_until(says_so, "a wait", WAIT_SECONDS)
    client.services.delete(big.id)
    assert ended(client, id).state == "Successed"


def test_run_that_is_stopped_frees_its_engine(server: Server, client: yangfan.Client):
    before = set(lent_engines(server))
    id = client.evaluations.create(
        "stopped",
        dataset=upload(client, SAMPLES),
        models=[own("slow", delay_seconds=30.0)],
        scorers=["exact"],
    )
    wait_until(lambda: set(lent_engines(server)) - before, "an engine", WAIT_SECONDS)
    client.evaluations.stop(id)
    assert ended(client, id).state == "Stopped"
    wait_until(lambda: not set(lent_engines(server)) - before, "its end", WAIT_SECONDS)


def test_killed_worker_and_server_ask_nothing_twice_and_leave_no_engine(tmp_path: Path):
    samples = [{"prompt": f"{number}", "response": f"{number}"} for number in range(12)]
    environ = {"YANGFAN_BATCH_AT_ONCE": "1"}
    with serving(tmp_path, environ=environ) as server, connected(server) as client:
        id = client.evaluations.create(
            "killed",
            dataset=upload(client, samples),
            models=[own("slow", delay_seconds=0.2), own("other", prefix="o ")],
            scorers=["exact"],
        )
        said = tmp_path / "evaluations" / id / "said.jsonl"

        def answers() -> list[str]:
            return said.read_text().splitlines() if said.exists() else []

        wait_until(lambda: len(answers()) >= 2, "answers", WAIT_SECONDS)
        before = answers()[:2]
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        known = len(answers())
        wait_until(lambda: len(answers()) > known, "another worker", WAIT_SECONDS)
        engines = lent_engines(server)
        assert len(engines) == 1
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait(10)
        wait_until(lambda: not lent_engines(server), "the end of the engine", WAIT_SECONDS)
        before = answers()
    with serving(tmp_path, environ=environ) as server, connected(server) as client:
        assert ended(client, id).state == "Successed"
        assert [model.figures["exact"].value for model in client.evaluations.report(id).models] == [
            1.0,
            0.0,
        ]
    lines = answers()
    assert lines[: len(before)] == before
    keys = [json.loads(line)["key"] for line in lines]
    assert len(keys) == len(set(keys)) == 24


def workers_of(server: Server) -> list[int]:
    """The processes that work on its jobs."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal() and b"worker\0run" in (process / "cmdline").read_bytes():
                status = (process / "status").read_text()
                if f"PPid:\t{server.pid}\n" in status:
                    found.append(int(process.name))
    return found
