"""A batch on the echo engine whose worker and server are killed with -9 again and again: each line has one result in the end.

python -m tests.batch_storm --lines 10000 --kills 10
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Server, serving

import yangfan
from yangfan.client.batches import Batch

END_SECONDS = 600.0
LOOK_SECONDS = 0.02


@dataclass
class Account:
    """What happened and what is left."""

    lines: int
    workers_killed: int = 0
    servers_killed: int = 0
    results: int = 0
    missing: int = 0
    doubled: int = 0
    wrong: int = 0
    state: str = ""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether every line has its one answer."""
        return (self.state, self.results, self.missing, self.doubled, self.wrong) == (
            "completed",
            self.lines,
            0,
            0,
            0,
        )


def storm(home: Path, lines: int, kills: int, seed: int = 0) -> Account:
    """Run a batch, kill what works on it at moments spread over it, and count its results."""
    draw, account, began = random.Random(seed), Account(lines), time.monotonic()
    moments = sorted(draw.sample(range(lines // 50, lines * 3 // 4), kills))
    with ExitStack() as stack:
        server = stack.enter_context(serving(home))
        client = _client(stack, server)
        id = client.batches.create(b"".join(map(_request, range(lines)))).id
        for number, moment in enumerate(moments):
            batch = _until(client, id, moment)
            if batch.final:
                break
            if number % 2:
                server.process.kill()
                server.process.wait()
                account.servers_killed += 1
                stack.close()
                server = stack.enter_context(serving(home))
                client = _client(stack, server)
            else:
                account.workers_killed += _kill_worker(home, batch.job_id)
        batch = _until(client, id, lines + 1)
        account.state = batch.state
        found = Counter[str]()
        for result in client.batches.results(id):
            found[result.custom_id] += 1
            body = result.body or {}
            said = body["choices"][0]["message"]["content"] if body else None
            account.wrong += said != f"line {result.custom_id}"
    account.results = found.total()
    account.missing = sum(str(number) not in found for number in range(lines))
    account.doubled = sum(count > 1 for count in found.values())
    account.seconds = time.monotonic() - began
    return account


def _client(stack: ExitStack, server: Server) -> yangfan.Client:
    return stack.enter_context(yangfan.Client(server.base_url, bearer=server.bearer, version=2))


def _request(number: int) -> bytes:
    message = {"role": "user", "content": f"line {number}"}
    body = {"model": "echo", "messages": [message]}
    line = {
        "custom_id": str(number),
        "method": "POST",
        "url": "/v2/chat/completions",
        "body": body,
    }
    return json.dumps(line).encode() + b"\n"


def _until(client: yangfan.Client, id: str, answered: int) -> Batch:
    end = time.monotonic() + END_SECONDS
    while True:
        batch = client.batches.get(id)
        if batch.final or batch.completed >= answered:
            return batch
        if time.monotonic() > end:
            break
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"the batch has {batch.completed} answers after {END_SECONDS:g} s")


def _kill_worker(home: Path, job_id: str) -> int:
    """End the worker of a job as a crash would; how many were there to end."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError, ValueError, ProcessLookupError):
            pid = json.loads((home / "jobs" / job_id / "worker.json").read_text())["pid"]
            os.kill(pid, signal.SIGKILL)
            return 1
        time.sleep(LOOK_SECONDS)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the storm; 0 if every line has one result."""
    parser = argparse.ArgumentParser(prog="batch-storm")
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="batch-storm-") as folder:
        account = storm(Path(folder) / "home", given.lines, given.kills, given.seed)
    print(account)
    return 0 if account.right else 1


if __name__ == "__main__":
    raise SystemExit(main())
