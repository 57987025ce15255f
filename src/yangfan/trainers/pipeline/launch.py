"""The worker's side: start a trainer, hear its events, ask it to stop, and say why it died."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.computing import environment
from yangfan.errors import ConfigurationError, EngineFailed
from yangfan.trainers.pipeline.libraries import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from yangfan.trainers.base import TrainSpec

LOG = "trainer.log"
SPEC = "spec.json"
TAIL_BYTES = 2000
MEETING_SECONDS = 180
"""How long the processes of several machines wait for each other."""

_SIOCGIFADDR = 0x8915
"""Asks Linux for the address of an interface (netdevice(7))."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Machines(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run's processes are.

    Attributes:
        processes: On each machine.
        nodes: Machines.
        node_rank: Which of them this one is; the first tells what happens and keeps what comes out.
        rendezvous: ``host:port`` of the first, as the others reach it.
    """

    processes: int = 1
    nodes: int = 1
    node_rank: int = 0
    rendezvous: str = ""

    @property
    def several(self) -> bool:
        """Whether there is more than one process."""
        return self.processes * self.nodes > 1


def command(spec: Path, machines: Machines) -> list[str]:
    """The program that runs a specification: one process, or torchrun with several.

    Raises:
        ConfigurationError: There are several machines, and no place to meet.
    """
    program = ["-m", "yangfan.trainers", str(spec)]
    if not machines.several:
        return [sys.executable, *program]
    meeting = ["--standalone"]
    if machines.nodes > 1:
        if not machines.rendezvous:
            raise ConfigurationError(
                "a run on several machines needs a rendezvous host:port that all of them reach"
            )
        meeting = [
            f"--nnodes={machines.nodes}",
            f"--node-rank={machines.node_rank}",
            "--rdzv-backend=static",  # ranks as they are given: c10d may make another machine the first
            f"--rdzv-endpoint={machines.rendezvous}",
            f"--rdzv-conf=timeout={MEETING_SECONDS}",
        ]
    start = [sys.executable, "-m", "torch.distributed.run", *meeting]
    return [*start, f"--nproc-per-node={machines.processes}", *program, "--distributed"]


def interface(rendezvous: str) -> str:
    """The network interface by which a place is reached; "" where that cannot be told.

    Without being told, gloo takes the one that the host's own name stands for, which often is the loopback.
    """
    host, _, port = rendezvous.rpartition(":")
    with (
        contextlib.suppress(OSError, ValueError, OverflowError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way,
    ):
        way.connect((host, int(port)))  # nothing is sent
        wanted = way.getsockname()[0]
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has no address
                asked = struct.pack("256s", name.encode())
                told = fcntl.ioctl(way.fileno(), _SIOCGIFADDR, asked)
                if socket.inet_ntoa(told[20:24]) == wanted:
                    return name
    return ""


class Trainer:
    """A trainer's process.

    Args:
        spec: What it is to do.
        machines: On how many.
    """

    def __init__(self, spec: TrainSpec, machines: Machines | None = None) -> None:
        self._spec = spec
        self._output = Path(spec.output)
        self._machines = machines or Machines()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            ConfigurationError: It cannot be started.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        path = self._output / SPEC
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self._spec), indent=2))
        threads = {"OMP_NUM_THREADS": str(self._spec.threads)} if self._spec.threads else {}
        network = interface(self._machines.rendezvous) if self._machines.nodes > 1 else ""
        own = {"GLOO_SOCKET_IFNAME": network} if network else {}
        with (self._output / LOG).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, and a path
                command(path, self._machines),
                env={**own, **environment(), **QUIET, **threads},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Make sure that it has ended."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    @property
    def pid(self) -> int:
        """Process id of the program that was started."""
        assert self._process is not None
        return self._process.pid

    def events(self) -> Iterator[dict[str, Any]]:
        """What it tells, to its end. The part of a run on another machine than the first tells nothing but failures.

        Raises:
            EngineFailed: It died without telling its end; another attempt goes on from the last checkpoint.
        """
        process = self._process
        assert process is not None
        assert process.stdout is not None
        ended = False
        for line in process.stdout:
            try:
                event = _decode(line)
            except msgspec.MsgspecError:
                continue
            ended = ended or event.get("event") == "end"
            yield event
        status = process.wait()
        if not ended and (status or self._machines.node_rank == 0):
            raise EngineFailed(self._death(status))

    def stop(self, kill_after_seconds: float) -> None:
        """Ask it to write a checkpoint and end; kill it if it takes longer."""
        process = self._process
        if process is None or self._stopped:
            return
        self._stopped = True
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        timer = threading.Timer(kill_after_seconds, process.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        """End it at once."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def _death(self, status: int) -> str:
        if status == -signal.SIGKILL and not self._stopped:
            how = (
                "was killed: most likely there was not enough memory; raise gradient_accumulation_steps, lower micro_batch_size or "
                "max_seq_len, or switch gradient_checkpointing on"
            )
        elif status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
        else:
            how = f"ended with status {status}"
        try:
            tail = (self._output / LOG).read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            tail = ""
        return f"the trainer {how}. It last printed:\n{tail.strip()}"
