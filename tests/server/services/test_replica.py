"""An engine process that is kept alive."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal

import pytest
from tests.server.services.conftest import OpenService, Scripted, ask, until

from yangfan.engines.wire import engine as wire_engine
from yangfan.errors import EngineFailed
from yangfan.server.services import replica
from yangfan.server.services.replica import Replica


def replica_of(engine: Scripted) -> Replica:
    return Replica(engine)  # pyright: ignore[reportArgumentType] - a double of the interface


async def test_first_start_that_fails_is_the_callers_to_hear():
    engine = Scripted(starts=[False])
    found = replica_of(engine)
    with pytest.raises(EngineFailed, match="no memory left"):
        await found.start()
    assert not found.ready
    assert not engine.running


async def test_dead_engine_is_restarted_at_once_and_counted():
    engine = Scripted()
    found = replica_of(engine)
    await found.start()
    assert found.ready
    engine.die()
    assert not found.ready
    await until(lambda: found.ready)
    assert (found.restarts, len(engine.starts)) == (1, 2)
    assert engine.starts[1] - engine.starts[0] < replica.FIRST_RESTART_SECONDS
    await found.stop()


async def test_pauses_double_while_starts_fail(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replica, "FIRST_RESTART_SECONDS", 0.02)
    monkeypatch.setattr(replica, "MAX_RESTART_SECONDS", 0.08)
    engine = Scripted(starts=[True] + [False] * 5)
    found = replica_of(engine)
    await found.start()
    engine.die()
    await until(lambda: found.ready)
    assert found.last_error == "no memory left"
    times = engine.starts[1:]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for pause, least in zip(pauses, [0.02, 0.04, 0.08, 0.08, 0.08], strict=True):
        assert pause >= least * 0.95
    await found.stop()


async def test_engine_that_dies_right_after_each_start_is_paused_too(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(replica, "FIRST_RESTART_SECONDS", 0.05)
    engine = Scripted()
    found = replica_of(engine)
    await found.start()
    for restarts in range(1, 4):
        engine.die()
        await until(lambda: found.ready)
        assert found.restarts == restarts
    pauses = [b - a for a, b in itertools.pairwise(engine.starts[1:])]
    assert pauses[0] >= 0.05 * 0.95
    assert pauses[1] >= 0.1 * 0.95
    await found.stop()


async def test_engine_that_ran_long_enough_starts_again_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(replica, "FIRST_RESTART_SECONDS", 30.0)
    monkeypatch.setattr(replica, "STABLE_SECONDS", 0.0)
    engine = Scripted()
    found = replica_of(engine)
    await found.start()
    for _ in range(3):
        await asyncio.sleep(0.01)
        engine.die()
        await until(lambda: found.ready)
    await found.stop()


async def test_unforeseen_failure_of_a_start_does_not_end_the_watch(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(replica, "FIRST_RESTART_SECONDS", 0.01)
    engine = Scripted()
    found = replica_of(engine)
    await found.start()
    good_start, failures = engine.start, [OSError("too many open files")]

    async def start() -> None:
        if failures:
            raise failures.pop()
        await good_start()

    monkeypatch.setattr(engine, "start", start)
    engine.die()
    await until(lambda: found.ready)
    assert found.last_error == "too many open files"
    await found.stop()


async def test_waiting_for_an_engine_ends_when_it_comes_or_time_is_up():
    engine = Scripted(starts=[True] + [False] * 100)
    found = replica_of(engine)
    await found.start()
    clock = asyncio.get_running_loop().time
    assert await found.wait_ready(clock() - 1), "no waiting while it runs"
    engine.die()
    await until(lambda: found.last_error)
    assert not await found.wait_ready(clock() + 0.05)
    await found.stop()


async def test_stop_ends_the_process_and_its_watch(open_service: OpenService):
    service = await open_service()
    pid = service.replica.engine.pid
    assert pid is not None
    await service.replica.stop()
    await service.replica.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert service.replica.restarts == 0


async def test_stop_while_the_engine_is_being_restarted(open_service: OpenService):
    service = await open_service()
    pid = service.replica.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: service.replica.restarts == 1)
    await service.replica.stop()
    assert not service.replica.engine.running


async def test_engine_that_hangs_is_killed_and_started_anew(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(replica, "PROBE_SECONDS", 0.02)
    monkeypatch.setattr(wire_engine, "CONTROL_TIMEOUT_SECONDS", 0.1)
    service = await open_service()
    frozen = service.replica.engine.pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)

    answer = await service.chat(ask("still here"))

    assert answer.answers[0].text == "still here"
    assert service.replica.restarts == 1
    assert service.replica.engine.pid != frozen
    assert service.replica.last_error
    assert "did not answer" in service.replica.last_error
