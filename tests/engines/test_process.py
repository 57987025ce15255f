import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from yangfan.computing import OPENMP_SPINS
from yangfan.engines.process import LOG_LIMIT_BYTES, ChildProcess
from yangfan.errors import EngineFailed

ANSWERS = """
link.ready(b'ready ' + link.config.strip())
threading.Event().wait()
"""

WaitUntil = Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]
Start = Callable[[str], ChildProcess]


@pytest.fixture
async def child(tmp_path: Path) -> AsyncGenerator[Start]:
    """Makes a child that runs a program after its ParentLink; it is stopped after the test."""
    children: list[ChildProcess] = []

    def make(program: str) -> ChildProcess:
        source = (
            "import os, signal, subprocess, sys, threading\n"
            "from yangfan.engines.process import ParentLink\n"
            "link = ParentLink()\n" + program
        )
        child = ChildProcess(
            "the test child",
            [sys.executable, "-c", source],
            tmp_path,
            start_timeout_seconds=10.0,
            stop_grace_seconds=0.2,
        )
        children.append(child)
        return child

    yield make
    for each in children:
        await each.stop()


def public_facts(process: ChildProcess) -> bytes:
    """What other processes can see of it: arguments and environment."""
    folder = Path(f"/proc/{process.pid}")
    return (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()


async def test_start_hands_over_the_configuration_and_returns_the_ready_line(child: Start) -> None:
    process = child(ANSWERS)
    assert (await process.start(b'{"secret": 1}')).strip() == b'ready {"secret": 1}'
    assert process.alive
    assert process.pid is not None


async def test_the_configuration_is_not_visible_in_the_process_list(child: Start) -> None:
    process = child(ANSWERS)
    await process.start(b"s3cret")
    assert b"s3cret" not in public_facts(process)


@pytest.mark.parametrize(("given", "spins"), [(None, str(OPENMP_SPINS)), ("7", "7")])
async def test_threads_of_openmp_sleep_soon_unless_the_environment_says_otherwise(
    child: Start, monkeypatch: pytest.MonkeyPatch, given: str | None, spins: str
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    process = child(ANSWERS)
    await process.start(b"")
    assert f"GOMP_SPINCOUNT={spins}\0".encode() in public_facts(process)


async def test_a_child_leads_a_session_of_its_own(child: Start) -> None:
    process = child(ANSWERS)
    await process.start(b"")
    assert process.pid is not None
    assert os.getsid(process.pid) == process.pid


async def test_a_child_that_ends_while_starting_is_quoted(child: Start) -> None:
    process = child("print('no such model'); sys.exit(3)")
    with pytest.raises(EngineFailed, match=r"exit status 3(.|\n)*no such model"):
        await process.start(b"")
    assert not process.alive
    assert process.pid is None


async def test_a_child_that_is_killed_while_starting_is_named(child: Start) -> None:
    process = child("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(EngineFailed, match="killed by SIGKILL"):
        await process.start(b"")


async def test_a_child_that_never_gets_ready_is_ended_at_the_deadline(tmp_path: Path) -> None:
    argv = ["sleep", "60"]
    process = ChildProcess("the slow child", argv, tmp_path, start_timeout_seconds=0.5)
    with pytest.raises(EngineFailed, match=r"not ready after 0.5 s; give it more time"):
        await process.start(b"")
    assert not process.alive


async def test_a_program_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    process = ChildProcess("the test child", ["/no/such/program"], tmp_path)
    with pytest.raises(EngineFailed, match="could not be started"):
        await process.start(b"")
    await process.stop()


async def test_cancelling_a_start_leaves_no_process(child: Start, wait_until: WaitUntil) -> None:
    process = child("threading.Event().wait()")
    starting = asyncio.create_task(process.start(b""))

    async def begun() -> bool:
        return process.alive

    await wait_until(begun, "the child")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not process.alive


async def test_wait_died_returns_when_the_child_is_killed(child: Start) -> None:
    process = child(ANSWERS)
    await process.start(b"")
    assert process.pid is not None
    waiting = asyncio.create_task(process.wait_died())
    await asyncio.sleep(0)
    assert not waiting.done()
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        await waiting
    assert not process.alive


async def test_stop_ends_a_child_that_ignores_sigterm_and_whatever_it_started(
    child: Start, is_running: Callable[[int], bool], wait_until: WaitUntil
) -> None:
    process = child(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "grandchild = subprocess.Popen(['sleep', '60'])\n"
        "link.ready(str(grandchild.pid).encode())\n"
        "threading.Event().wait()\n"
    )
    grandchild_pid = int(await process.start(b""))
    child_pid = process.pid
    assert child_pid is not None
    await process.stop()
    await process.stop()
    assert not is_running(child_pid)

    async def gone() -> bool:
        return not is_running(grandchild_pid)

    await wait_until(gone, "the grandchild to be gone")


async def test_stop_reaches_what_a_polite_child_leaves_behind(
    child: Start, is_running: Callable[[int], bool], wait_until: WaitUntil
) -> None:
    process = child(
        "stubborn = 'import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)'\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', stubborn], stdout=subprocess.PIPE)\n"
        "grandchild.stdout.readline()\n"
        "link.ready(str(grandchild.pid).encode())\n"
        "threading.Event().wait()\n"
    )
    grandchild_pid = int(await process.start(b""))
    await process.stop()

    async def gone() -> bool:
        return not is_running(grandchild_pid)

    await wait_until(gone, "the grandchild's end")


async def test_a_stopped_child_can_start_again(child: Start) -> None:
    process = child(ANSWERS)
    await process.start(b"1")
    await process.stop()
    assert (await process.start(b"2")).strip() == b"ready 2"


async def test_the_log_keeps_what_the_child_printed_and_stays_bounded(child: Start) -> None:
    process = child(
        "for number in range(40000): print(number, 'x' * 60)\n"
        "sys.stdout.flush()\n"
        "link.ready(b'')\n"
        "threading.Event().wait()\n"
    )
    await process.start(b"")
    await process.stop()
    assert process.log_path.stat().st_size <= LOG_LIMIT_BYTES
    assert process.log_tail().splitlines()[-1].startswith("39999 x")
