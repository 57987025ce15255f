"""Somebody else's HTTP server as the child of our child: started on a free port of 127.0.0.1, and gone when our child is."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yangfan.engines.process import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORT_ATTEMPTS = 3
POLL_SECONDS = 0.02


class Server(NamedTuple):
    """A server that answers on 127.0.0.1."""

    process: subprocess.Popen[bytes]
    port: int


def start(command: Sequence[str], environment: Mapping[str, str]) -> Server:
    """Start a server that takes ``--host`` and ``--port``, and return when its ``GET /health`` answers with 200.

    It ends with the process that calls this, on Linux even if that one is killed.

    Args:
        command: Program and arguments, besides its address.
        environment: All of its environment variables.

    Raises:
        SystemExit: It could not be started, or ended before it could answer; what it printed went to stderr.
    """
    name = Path(command[0]).name
    for attempt in range(PORT_ATTEMPTS):
        port = _free_port()
        try:
            process = subprocess.Popen(  # noqa: S603 - a program that the settings name, and no shell
                [*command, "--host", "127.0.0.1", "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                env=environment,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            raise SystemExit(f"{command[0]} could not be started: {error}") from None
        if _answers(process, port):
            return Server(process, port)
        if attempt + 1 == PORT_ATTEMPTS or not _is_taken(port):
            raise SystemExit(f"{name} ended with status {process.returncode}")
    raise AssertionError("the last attempt raises")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; False if it ended first. The parent of all this decides how long that may take."""
    while process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return process.poll() is None
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(POLL_SECONDS)
    return False
