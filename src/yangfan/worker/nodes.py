"""The other machines of a training run, seen from the first (decision 0024; what is said is in `yangfan.worker.node`).

The worker of the run starts each part by a command of the setting `tuning_nodes`, copies there what is read, and holds all of them until
its own trainer has ended. One that dies takes the others along, and the next attempt goes on from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import queue
import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from yangfan import errors
from yangfan.computing import environment
from yangfan.errors import ConfigurationError, EngineFailed, YangfanError
from yangfan.hub.disk import sha256_of
from yangfan.hub.lock import try_lock
from yangfan.worker.node import CHUNK_BYTES, Hello, Part, PartFile, Word, hello, named_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Self

    from yangfan.trainers.base import TrainSpec
    from yangfan.trainers.pipeline.launch import Machines, Trainer
    from yangfan.worker.task import Task

ANSWER_SECONDS = 120.0
"""How long a machine may take to answer: a shell, Python, PyTorch."""

PATIENCE_SECONDS = 300.0
"""How long a machine is asked again that does not answer: it may be starting."""

AGAIN_SECONDS = 5.0
COPY_SECONDS = 6 * 3600.0
SETTLE_SECONDS = 10.0
"""How long one waits for what the other machines have to say of a failure."""

KILL_SECONDS = 5.0
POLL_SECONDS = 0.5
LOCK = "nodes.lock"
TAIL_BYTES = 1000


class _Node:
    """One other machine.

    Args:
        rank: Its number; the first machine is 0.
        command: What starts `yangfan worker node` there.
        log: Where it prints.

    Attributes:
        failure: What a process there told that it failed at.
        death: How it ended, if it did not end well.
    """

    def __init__(self, rank: int, command: str, log: Path) -> None:
        self.rank, self._command, self._log = rank, command, log
        self.failure: Exception | None = None
        self.death = ""
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        try:
            with log.open("wb") as printed:
                self._process = subprocess.Popen(  # noqa: S603 - a command of the server's owner, in the settings
                    shlex.split(command),
                    env=environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=printed,
                )
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self}: it cannot be started: {error}") from error
        threading.Thread(target=self._listen, daemon=True).start()

    def __str__(self) -> str:
        """For messages."""
        return f"machine {self.rank} of the run, `{self._command}`"

    def hear(self, task: Task, seconds: float) -> bytes:
        """The next line that it says.

        Raises:
            EngineFailed: It ended, or says nothing.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            task.check()
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=POLL_SECONDS)
                if line is None:
                    raise EngineFailed(self._gone())
                return line
        raise EngineFailed(f"{self}: it has said nothing for {seconds:g} s{self._tail()}")

    def greet(self, task: Task, own: Hello) -> None:
        """Hear who is there.

        Raises:
            ConfigurationError: It cannot take part.
            EngineFailed: It does not answer.
        """
        while True:
            line = self.hear(task, ANSWER_SECONDS)
            with contextlib.suppress(
                msgspec.MsgspecError
            ):  # a shell may print a greeting of its own
                found = msgspec.json.decode(line, type=Hello)
                break
        if found.missing:
            raise ConfigurationError(f"{self}: training needs libraries there: {found.missing}")
        if found.version != own.version:
            raise ConfigurationError(
                f"{self}: it has Yangfan {found.version}, and this machine {own.version}; install the same on all"
            )
        if bool(found.gpus) != bool(own.gpus):
            raise ConfigurationError(
                f"{self}: it has {found.gpus} GPUs, and this machine {own.gpus}; a run is on GPUs everywhere or nowhere"
            )

    def send(self, task: Task, part: Part, places: dict[str, Path]) -> None:
        """Say what is to be done, and copy the files that are not there yet."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(part) + b"\n")
            self._process.stdin.flush()
            needed = self._word(task, ANSWER_SECONDS).needed or ()
            sizes = {file.path: file.size_bytes for file in part.files}
            told = sum(sizes[path] for path in needed)
            task.log(f"machine {self.rank}: copying {len(needed)} files, {told} bytes")
            for path in needed:
                with places[path].open("rb") as content:
                    while data := content.read(CHUNK_BYTES):
                        task.check()
                        self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            # What it said last tells why.
            self._word(task, ANSWER_SECONDS)
            raise EngineFailed(self._gone()) from None

    def get_ready(self, task: Task) -> None:
        """Wait until it has all and has reached this machine."""
        while not self._word(task, COPY_SECONDS).ready:
            pass

    def begin(self) -> None:
        """All are ready."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # whoever watches it notices
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()

    def watch(self, lost: Callable[[], None]) -> None:
        """Hear it to its end, and tell if that is a bad one."""
        has_ended = False
        while (line := self._lines.get()) is not None:
            word = _decoded(line)
            if word.failed is not None and self.failure is None:
                self.failure = _failure(self, word.failed)
                lost()
            if word.ended is not None:
                has_ended = True
                if word.ended:
                    self.death = f"{self}: {word.printed}"
                    lost()
        if not has_ended:
            self.death = self._gone()
            lost()

    def close(self) -> None:
        """Let it end, and make sure that it does."""
        process = self._process
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def _word(self, task: Task, seconds: float) -> Word:
        word = _decoded(self.hear(task, seconds))
        if word.refused:
            raise ConfigurationError(f"{self}: {word.refused}")
        return word

    def _gone(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        status = self._process.returncode
        how = "its connection is gone" if status is None else f"it ended with status {status}"
        return (
            f"{self}: {how}; the command must start `yangfan worker node` there, which says one line of JSON when it is there. Try it in"
            f" a terminal{self._tail()}"
        )

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            text = self._log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").strip()
            if text:
                return f". It last printed:\n{text}"
        return ""


class Nodes:
    """The other machines of a run; none, if there is but one.

    Args:
        task: The job.
        spec: What the trainer of this machine is given.
        machines: How many there are, and where they meet.
        processes: Of each machine; 0 for one on each GPU.
        commands: What starts each part.
        lock: A file: runs on several machines take turns, for they meet in one place.
        patience_seconds: How long a machine is asked again that does not answer.

    Attributes:
        machines: As given.
    """

    def __init__(
        self,
        task: Task,
        spec: TrainSpec,
        machines: Machines,
        *,
        processes: int,
        commands: Sequence[str],
        lock: Path,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._task, self._spec, self.machines = task, spec, machines
        self._processes, self._lock = processes, lock
        self._patience_seconds = patience_seconds
        self._commands = commands[: machines.nodes - 1]
        self._nodes: list[_Node] = []
        self._watchers: list[threading.Thread] = []
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start the parts, to where all of them wait for the first.

        Raises:
            ConfigurationError: A machine cannot take part; the message says why.
            EngineFailed: A machine does not answer.
            Stopped: Somebody wants that.
        """
        if self.machines.nodes == 1:
            return self
        if len(self._commands) < self.machines.nodes - 1 or not self.machines.rendezvous:
            raise ConfigurationError(
                f"this run wants {self.machines.nodes} machines: name the others in the setting tuning_nodes, and in tuning_rendezvous"
                " host:port of this one, as they reach it"
            )
        try:
            self._open.enter_context(_turn(self._task, self._lock))
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the parts."""
        for node in self._nodes:
            node.close()
        for watcher in self._watchers:
            watcher.join(SETTLE_SECONDS)
        self._open.close()

    def _start(self) -> None:
        task, machines = self._task, self.machines
        Path(self._spec.output).mkdir(parents=True, exist_ok=True)
        own = hello()
        for rank in range(1, machines.nodes):
            self._nodes.append(self._answering(rank, own))
        places = dict(named_files(self._spec))
        files = tuple(
            PartFile(path=path, sha256=sha256_of(file), size_bytes=file.stat().st_size)
            for path, file in places.items()
        )
        with _listening(machines.rendezvous):
            for node in self._nodes:
                part = Part(
                    spec=self._spec,
                    files=files,
                    processes=self._processes,
                    nodes=machines.nodes,
                    node_rank=node.rank,
                    rendezvous=machines.rendezvous,
                )
                node.send(task, part, places)
            for node in self._nodes:
                node.get_ready(task)
        for node in self._nodes:
            node.begin()

    def _answering(self, rank: int, own: Hello) -> _Node:
        """A machine that answers, asked again for a while."""
        until = time.monotonic() + self._patience_seconds
        log = Path(self._spec.output, f"machine-{rank}.log")
        is_told = False
        while True:
            node = _Node(rank, self._commands[rank - 1], log)
            try:
                node.greet(self._task, own)
            except BaseException as error:
                node.close()
                if not isinstance(error, EngineFailed) or time.monotonic() >= until:
                    raise
                if not is_told:
                    self._task.log(f"{error.message}\nasking again for a while")
                    is_told = True
                again = time.monotonic() + AGAIN_SECONDS
                while time.monotonic() < again:
                    self._task.check()
                    time.sleep(POLL_SECONDS)
            else:
                return node

    def end_with(self, trainer: Trainer) -> None:
        """From now on, a part that dies ends the trainer of this machine."""

        def lost() -> None:
            trainer.stop(KILL_SECONDS)

        for node in self._nodes:
            watcher = threading.Thread(target=node.watch, args=(lost,), daemon=True)
            watcher.start()
            self._watchers.append(watcher)

    def cause(self, met: Exception) -> Exception:
        """Why a run failed: what this machine's trainer met is often only that another one's is gone."""
        if not self._nodes or (isinstance(met, YangfanError) and not isinstance(met, EngineFailed)):
            return met
        until = time.monotonic() + SETTLE_SECONDS
        for watcher in self._watchers:
            watcher.join(max(0.0, until - time.monotonic()))
        named = [node.failure for node in self._nodes if isinstance(node.failure, YangfanError)]
        deaths = [EngineFailed(node.death) for node in self._nodes if node.death]
        return [*named, *deaths, met][0]


@contextlib.contextmanager
def _turn(task: Task, lock: Path) -> Generator[None]:
    """Wait until no other run is on several machines."""
    is_told = False
    while True:
        with try_lock(lock) as taken:
            if taken:
                yield
                return
        if not is_told:
            task.log("waiting for another run on several machines to end")
            is_told = True
        task.check()
        time.sleep(POLL_SECONDS)


def _listening(rendezvous: str) -> socket.socket:
    """Answer where the processes will meet, so that the others can look whether they reach this machine.

    Raises:
        ConfigurationError: That is no place of this machine.
    """
    host, _, port = rendezvous.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        # On all addresses, as PyTorch does: behind a translation of addresses the one in the setting is not on this machine.
        return socket.create_server(("", int(port)), family=found[0][0], backlog=64)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(
            f"this machine cannot wait for the others at {rendezvous} ({error}): the setting tuning_rendezvous must be host:port, of"
            " this machine and of a port that nothing else uses, such as 10.0.0.1:29400"
        ) from error


def _decoded(line: bytes) -> Word:
    try:
        return msgspec.json.decode(line, type=Word)
    except msgspec.MsgspecError:
        return Word()


def _failure(node: _Node, end: dict[str, object]) -> Exception:
    kind = getattr(errors, str(end.get("kind")), None)
    message = f"{node}: {end.get('message')}"
    if isinstance(kind, type) and issubclass(kind, YangfanError):
        return kind(message)
    return RuntimeError(message)
