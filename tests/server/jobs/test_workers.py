"""Real workers under a real server: they finish, are killed, are stopped, and never outlive it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.conftest import Server, wait_until
from tests.postgresql import PostgreSQL
from tests.server.jobs.conftest import WAIT_SECONDS, Desk, workers

from yangfan import Client


def test_a_worker_does_the_work_and_tells_how_far_it_is(desk: Desk):
    id = desk.submit(3)
    job = desk.until(id, lambda job: job.final, "the end")
    assert (job.state, job.error) == ("succeeded", None)
    assert job.result == {"steps": 3, "sum": 6}
    assert (job.progress.done, job.progress.total, job.progress.unit) == (3, 3, "steps")
    assert [line.text for line in desk.ask("log", id)] == ["step 1", "step 2", "step 3"]
    wait_until(lambda: not workers(id), "the worker to end")
    wait_until(lambda: not (desk.server.home / "jobs" / id).exists(), "its folder to go")


def test_a_killed_worker_goes_on_from_its_checkpoint(desk: Desk):
    id = desk.submit(4, pause_seconds=0.5)
    job = desk.until(id, lambda job: job.saves >= 1, "a save")
    os.kill(desk.worker(id), signal.SIGKILL)
    again = desk.until(id, lambda job: job.fence == 2, "the second attempt")
    assert again.checkpoint["done"] >= job.checkpoint["done"] >= 1
    assert again.error is not None
    assert again.error.code == "WorkerLost"
    done = desk.until(id, lambda job: job.final, "the end")
    assert (done.state, done.result) == ("succeeded", {"steps": 4, "sum": 10})
    assert done.saves == 4, "no step was done twice"


def test_a_running_job_is_paused_resumed_and_cancelled(desk: Desk):
    id = desk.submit(1000, pause_seconds=0.2)
    desk.until(id, lambda job: job.saves >= 1, "a save")
    desk.ask("pause", id)
    paused = desk.until(id, lambda job: job.state == "paused", "the pause")
    wait_until(lambda: not workers(id), "the worker to end")
    desk.ask("resume", id)
    desk.until(id, lambda job: job.saves > paused.saves, "a further save")
    desk.ask("cancel", id)
    desk.until(id, lambda job: job.state == "cancelled", "the end")
    wait_until(lambda: not workers(id), "the worker to end")


def test_work_that_refuses_fails_at_once_and_work_that_breaks_is_tried_again(desk: Desk):
    refused, broken, lucky = (
        desk.submit(-1),
        desk.submit(2, fail_at=1),
        desk.submit(2, fail_at=2, fail_times=1),
    )
    unknown = desk.ask("submit", "no_such_work", {}).id
    job = desk.until(refused, lambda job: job.final, "the end")
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.code == "Invalid"
    assert "whole number from 0, got -1" in job.error.message
    assert job.attempts == 1
    job = desk.until(unknown, lambda job: job.final, "the end")
    assert job.error is not None
    assert job.error.code == "UnknownExtension"
    assert "there are: " in job.error.message
    job = desk.until(lucky, lambda job: job.final, "the end")
    assert (job.state, job.result) == ("succeeded", {"steps": 2, "sum": 3})
    job = desk.until(broken, lambda job: job.final, "the end")
    assert (job.state, job.attempts) == ("failed", 3)
    assert job.error is not None
    assert "step 1 cannot be done" in job.error.message
    assert any("Traceback" in line.text for line in desk.ask("log", broken))


def test_workers_end_with_their_server_and_jobs_go_on_with_the_next(
    tmp_path: Path, start_server: Callable[..., AbstractContextManager[Server]]
):
    ids: list[str] = []
    for how in (signal.SIGKILL, signal.SIGTERM):
        with start_server(tmp_path) as server:
            desk = Desk(server)
            id = desk.submit(1000 if not ids else 5, pause_seconds=0.2)
            desk.until(id, lambda job: job.saves >= 1, "a save")
            pids = [desk.worker(each) for each in (*ids, id)]
            server.process.send_signal(how)
            server.process.wait(WAIT_SECONDS)
            ids.append(id)
            for each in ids:
                wait_until(lambda each=each: not workers(each), "the worker to end with its server")
        assert all(pids)
    with start_server(tmp_path) as server:
        desk = Desk(server)
        for id in ids:
            saves = desk.ask("get", id).saves
            desk.until(
                id, lambda job, saves=saves: job.final or job.saves > saves, "a further save"
            )
        done = desk.until(ids[1], lambda job: job.final, "the end")
        assert done.result == {"steps": 5, "sum": 15}
        assert done.saves == 5


def test_a_frozen_worker_loses_its_job_and_one_that_only_works_keeps_it(
    tmp_path: Path, start_server: Callable[..., AbstractContextManager[Server]]
):
    """Beside the frozen one works another, twice as long as the lease, without a pause and without a word."""
    # The frozen one keeps its place until it has ended.
    environ = {"YANGFAN_JOB_LEASE_SECONDS": "3", "YANGFAN_JOBS_AT_ONCE": "3"}
    with start_server(tmp_path, environ=environ) as server:
        desk = Desk(server)
        silent = desk.submit(1, busy_seconds=6.5)
        id = desk.submit(20, pause_seconds=0.1)
        desk.until(id, lambda job: job.saves >= 1, "a save")
        frozen = desk.worker(id)
        os.kill(frozen, signal.SIGSTOP)
        desk.until(id, lambda job: job.fence == 2, "another attempt")
        os.kill(frozen, signal.SIGCONT)
        wait_until(lambda: frozen not in workers(id), "the stale worker to end", WAIT_SECONDS)
        # The stale one cannot undo what the next one does.
        done = desk.until(id, lambda job: job.final, "the end")
        assert (done.state, done.result, done.saves) == (
            "succeeded",
            {"steps": 20, "sum": 210},
            20,
        )
        kept = desk.until(silent, lambda job: job.final, "the end")
        assert (kept.state, kept.fence) == ("succeeded", 1)


def test_a_server_that_stops_does_not_wait_for_those_who_watch(
    tmp_path: Path, start_server: Callable[..., AbstractContextManager[Server]]
):
    with start_server(tmp_path, environ={"YANGFAN_JOBS_AT_ONCE": "0"}) as server:
        desk = Desk(server)
        id = desk.submit(1)
        with Client(server.base_url, **desk.pair) as client:
            watching = client.jobs.watch(id)
            assert next(iter(watching)).job.state == "queued"
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(WAIT_SECONDS)
            assert time.monotonic() - began < 9.0, "uvicorn gives up on connections after 10 s"


def test_the_next_server_on_a_postgresql_goes_on_with_the_jobs_of_a_killed_one(
    tmp_path: Path,
    postgresql: PostgreSQL,
    start_server: Callable[..., AbstractContextManager[Server]],
):
    url = postgresql.new()
    environ = {"YANGFAN_DATABASE": url, "YANGFAN_JOB_LEASE_SECONDS": "3"}
    with start_server(tmp_path / "one", environ=environ) as one:
        key = (one.home / "secret.key").read_bytes()
        desk = Desk(one, url)
        id = desk.submit(6, pause_seconds=0.5)
        desk.until(id, lambda job: job.saves >= 1, "a save")
        one.process.kill()
        one.process.wait()
    other_home = tmp_path / "other"
    other_home.mkdir(mode=0o700)
    (other_home / "secret.key").write_bytes(key)
    with start_server(other_home, environ=environ) as other:
        done = desk.until(id, lambda job: job.final, "the end")
        assert (done.state, done.saves) == ("succeeded", 6), "no step was done twice"
        assert done.fence >= 2
        with Client(other.base_url, **desk.pair) as client:
            assert {job.id for job in client.jobs.list()} == {id}
