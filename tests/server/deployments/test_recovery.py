"""After kill -9 of the server and of every engine, a new server brings back what is meant to run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.conftest import serving, wait_until
from tests.server.deployments.conftest import WAIT_SECONDS, Console, engines_of


def test_killed_server_and_engines_come_back_by_priority(tmp_path: Path):
    with serving(tmp_path) as server:
        console = Console(server)
        ids = [
            console.create(f"s{number}", priority=number, engineOptions={"prefix": f"{number} "})
            for number in range(3)
        ]
        console.create("off", loadPolicy="onDemand")
        console.act("StopService", serviceId="off")
        console.create("late", loadPolicy="onDemand", idleSeconds=60)
        console.act(
            "RolloutService",
            serviceId="s0",
            modelId="echo",
            weight=50,
            engineOptions={"prefix": "new "},
        )
        wait_until(lambda: "canary" in console.events("s0"), "the canary", WAIT_SECONDS)
        engines = [pid for service_id in ids for pid in engines_of(console, service_id)]
        assert len(engines) == 4
        os.kill(server.pid, signal.SIGKILL)
        for pid in engines:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # engines end with their server
        server.process.wait(10)

    began = time.monotonic()
    with serving(tmp_path) as server:
        console = Console(server)
        # Calls that come before the engines are up wait for them.
        assert [console.says(f"s{number}")[-2:] for number in range(3)] == ["hi"] * 3
        seconds = time.monotonic() - began
        print(f"three services answered {seconds:.1f} s after the start of a killed server")
        assert console.show("off")["runStatus"] == "Stopped"
        wait_until(lambda: console.chat("off").status == 403, "the name of the stopped one", 10)
        assert console.says("late") == "hi"
        console.until("s0", lambda s: sum(d["readyCount"] for d in s["deployments"]) == 2)
        wait_until(
            lambda: {console.says("s0") for _ in range(20)} == {"0 hi", "new hi"},
            "both versions",
            WAIT_SECONDS,
        )
        order = [
            event["number"]
            for number in range(3)
            for event in console.act("DescribeServiceEvents", serviceId=f"s{number}")["eventList"]
            if event["kind"] == "serving"
        ]
        assert len(order) == 6
        # s2 and s1 started first, two at a time; s0 had to wait.
        assert order[1] > min(order[3], order[5])
