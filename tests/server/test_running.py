"""The server as a process: how it starts, how it ends, what it leaves behind, what it remembers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.server.conftest import Caller

from yangfan.errors import ConfigurationError
from yangfan.server.running import Ready, write_private

HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
STOP_SECONDS = 10.0
REFUSE_SECONDS = 30.0


def children(pid: int) -> set[int]:
    """Processes that a process started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def gone(pid: int) -> bool:
    """Whether a process ended; one that only waits to be collected has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def end(server: Server, number: signal.Signals) -> int:
    """Send a signal and wait for the end; the exit status."""
    server.process.send_signal(number)
    return server.process.wait(STOP_SECONDS)


def refuse(home: Path, *options: str, **environ: str) -> str:
    """What a server that does not start says: one line, on stderr, exit status 1."""
    command = [sys.executable, "-m", "yangfan", "serve", "--home", str(home), *options]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=REFUSE_SECONDS,
        check=False,
        env={**os.environ, **environ},
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def test_ready_file_says_where_and_how_and_only_to_its_owner(tmp_path: Path):
    with serving(tmp_path) as server:
        (ready,) = tmp_path.glob("ready-*.json")
        for path in (ready, tmp_path / "server.json"):
            assert path.stat().st_mode & 0o777 == 0o600
            facts = json.loads(path.read_text())
            assert set(facts) == {
                "base_url",
                "api_key",
                "secret_key",
                "access_key",
                "secret_access_key",
                "bearer",
                "pid",
                "models",
            }
            assert facts["pid"] == server.process.pid
            assert facts["models"] == ["echo"]
        assert tmp_path.joinpath("secret.key").stat().st_mode & 0o777 == 0o600
        engines = children(server.pid)
        assert engines

        assert f"another server (pid {server.pid}) uses {tmp_path}; stop it or choose" in (
            refuse(tmp_path, "--port", "0", "--model", "echo")
        )
        port = server.base_url.rpartition(":")[2]
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another" in (
            refuse(tmp_path / "other", "--port", port, "--model", "echo")
        )

        assert end(server, signal.SIGTERM) == 0
        assert not list(tmp_path.glob("ready-*.json"))
        assert not (tmp_path / "server.json").exists()
        assert all(map(gone, engines))


def test_interrupt_ends_it_as_cleanly_while_a_client_is_connected(tmp_path: Path):
    with serving(tmp_path) as server:
        caller = Caller(server)
        engines = children(server.pid)
        with socket.create_connection((caller.host, caller.port), 5) as idle:
            assert caller.v1(HI).json["result"] == "hi"
            assert end(server, signal.SIGINT) == 0
            assert idle.recv(1) == b""
        assert all(map(gone, engines))
        output = (tmp_path / "output.log").read_text()
        assert "Traceback" not in output


def test_keys_and_tokens_outlive_restarts_and_crashes(tmp_path: Path):
    with serving(tmp_path) as first:
        caller = Caller(first)
        token = caller.access_token()
        path = "/v1/BCE-BEARER/token?expireInSeconds=600"
        bearer = caller.ask("GET", path, headers=caller.signed("GET", path)).json["token"]
        kept = caller.result("CreateApiKey", {"name": "kept"})
        ended = caller.result("CreateApiKey", {"name": "ended"})
        assert caller.result("DeleteApiKey", {"keyId": ended["keyId"]}) is True
        engines = children(first.pid)
        end(first, signal.SIGKILL)
        wait_until(lambda: all(map(gone, engines)), "the engines to follow their server")
        assert (tmp_path / "server.json").exists(), "a killed server cannot clean up"

    with serving(tmp_path) as second:
        for name in ("api_key", "secret_key", "access_key", "secret_access_key", "bearer"):
            assert getattr(second, name) == getattr(first, name)
        caller = Caller(second)

        def status(secret: str) -> int:
            headers = {"Authorization": f"Bearer {secret}"}
            return caller.ask("GET", "/v2/models", headers=headers).status

        assert status(kept["secret"]) == status(bearer) == 200
        assert status(ended["secret"]) == 401
        assert caller.ask("GET", f"/v2/models?access_token={token}").status == 200
        assert (end(second, signal.SIGTERM), (tmp_path / "server.json").exists()) == (0, False)


def test_stale_ready_file_is_removed_before_anybody_can_believe_it(tmp_path: Path):
    stale = tmp_path / "ready.json"
    stale.write_text("{}")
    text = refuse(tmp_path, "--port", "0", "--model", "no-such-model", "--ready-file", str(stale))
    assert text.startswith("yangfan: no model named 'no-such-model'; there are: ")
    assert not stale.exists()


def test_engine_that_is_killed_is_replaced_while_callers_wait(tmp_path: Path):
    with serving(tmp_path) as server:
        caller = Caller(server)
        for restarts in (1, 2):
            (engine,) = children(server.pid)
            os.kill(engine, signal.SIGKILL)
            assert caller.v1(HI).json["result"] == "hi"
            model = caller.ask("GET", "/healthz").json["models"]["echo"]
            assert (model["ready"], model["restarts"]) == (True, restarts)
            assert children(server.pid) != {engine}


def test_stream_is_cut_with_the_typed_error_when_its_engine_dies(tmp_path: Path):
    with serving(tmp_path, environ={"YANGFAN_ECHO_DELAY_SECONDS": "0.05"}) as server:
        caller = Caller(server)
        body = {"model": "echo", "messages": [{"role": "user", "content": "word " * 300}]}
        events = caller.stream("/v2/chat/completions", {**body, "stream": True})
        assert next(events)["choices"]
        (engine,) = children(server.pid)
        os.kill(engine, signal.SIGKILL)
        *_, last = events
        assert last["error"]["code"] == "dispatch_internal_error"
        assert last["error"]["message"].endswith("try again")


def test_no_auth_lets_this_machine_in_and_keeps_signed_calls_signed(tmp_path: Path):
    with serving(tmp_path, options=["--no-auth"]) as server:
        caller = Caller(server)
        path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"
        assert caller.ask("POST", path, HI).json["result"] == "hi"
        body = {"model": "ernie-speed-8k", **HI}
        assert caller.ask("POST", "/v2/chat/completions", body).status == 200
        wrong = {"Authorization": "Bearer nonsense"}
        assert caller.ask("GET", "/v2/models", headers=wrong).status == 200
        assert caller.ask("POST", "/v2/apikey?Action=DescribeApiKeys", "{}").status == 403
        assert caller.action("DescribeApiKeys", {}).status == 200


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--no-auth", "--host", "0.0.0.0"), "needs a loopback host, not 0.0.0.0"),
        (("--model", "/no/such.gguf"), "no model file /no/such.gguf; give a .gguf file"),
    ],
)
def test_refusal_to_start_is_one_line(tmp_path: Path, options: tuple[str, ...], says: str):
    assert says in refuse(tmp_path, "--port", "0", *options)


@pytest.mark.parametrize("name", ["yangfan.db", "secret.key"])
def test_damaged_home_is_refused_on_one_line(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"this is something else entirely")
    assert name in refuse(tmp_path, "--port", "0", "--model", "echo")


def test_no_secret_reaches_the_log_even_at_debug(tmp_path: Path):
    with serving(tmp_path, options=["--log-level", "debug"]) as server:
        caller = Caller(server)
        secrets = [server.secret_key, server.secret_access_key, server.bearer]
        made = [
            caller.result("CreateApiKey", {"kind": kind, "name": "canary"})
            for kind in ("bearer", "oauth", "signature")
        ]
        secrets += [key["secret"] for key in made]
        token = caller.access_token()
        path = "/v1/BCE-BEARER/token"
        signed = caller.signed("GET", path)
        bearer = caller.ask("GET", path, headers=signed).json["token"]
        secrets += [token, bearer, signed["Authorization"].rpartition("/")[2]]
        for secret in list(secrets):
            caller.ask("GET", "/v2/models", headers={"Authorization": f"Bearer {secret}"})
            caller.ask("GET", f"/v2/models?access_token={secret}")
            caller.ask("GET", f"/nothing/{secret}")
            caller.ask("POST", f"/oauth/2.0/token?client_secret={secret}", secret)
        question = "canary-question-that-is-private"
        caller.v1({"messages": [{"role": "user", "content": question}]})
        caller.v2({"model": question, "messages": [{"role": "user", "content": question}]})
        end(server, signal.SIGTERM)
        logs = list(tmp_path.rglob("*.log"))
        written = "".join(log.read_text("utf-8") for log in logs if log.name != "output.log")
        assert '"level": "debug"' in written
        for secret in [*secrets, question]:
            assert secret not in written
            assert secret not in (tmp_path / "yangfan.db").read_bytes().decode("latin-1")


def test_private_file_is_written_at_once_or_not_at_all(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    write_private(path, b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigurationError, match=r"cannot write .*nowhere/file: No such file"):
        write_private(tmp_path / "nowhere" / "file", b"")


def test_ready_shows_no_secret():
    ready = Ready("http://x", "ak", "hidden1", "ak2", "hidden2", "hidden3", 5)
    assert repr(ready) == "Ready('http://x', pid=5)"
