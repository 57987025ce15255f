"""LiteLLM's proxy, the peer that most people use: in a virtual environment of its own, set up as its guide says for production.

One worker, no database, a master key; the cost map comes with the package (https://docs.litellm.ai/docs/proxy/prod).
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from load import HOST, Target
from processes import Running, running, wait_for
from report import say

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

VERSION = "1.106.2"
"""The version that is compared; pinned, because two releases of this package were once stolen."""

FOLDER = Path("~/.cache/yangfan-bench/litellm").expanduser()
_ENVIRON = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONWARNINGS": "ignore",
}


class UnavailableError(Exception):
    """LiteLLM cannot be installed here; the text says why in one line."""


def install() -> None:
    """Install LiteLLM on first use (about 700 MB, a minute or two).

    Raises:
        UnavailableError: pip failed, usually because no package index is reachable.
    """
    finished = FOLDER / "version"
    if finished.is_file() and finished.read_text() == VERSION:
        return
    say(f"installing LiteLLM {VERSION} into {FOLDER}")
    python = str(FOLDER / "bin/python")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(FOLDER)],
        [python, "-m", "pip", "install", "--quiet", f"litellm[proxy]=={VERSION}"],
    ):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines() or ["no reason given"]
            raise UnavailableError(f"{command[2]} failed: {lines[-1]}")
    finished.write_text(VERSION)


@contextmanager
def proxy(upstreams: Sequence[Target]) -> Generator[list[Running]]:
    """One running proxy with a model for each upstream, in their order; the same process under several names."""
    key = f"sk-{secrets.token_hex(16)}"
    names = [f"upstream-{number}" for number in range(len(upstreams))]
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": _parameters(upstream)}
            for name, upstream in zip(names, upstreams, strict=True)
        ],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False, "set_verbose": False},
    }
    with tempfile.TemporaryDirectory(prefix="litellm-bench-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(json.dumps(config))  # JSON is YAML
        port = _free_port()
        command = [str(FOLDER / "bin/litellm"), "--config", str(file), "--num_workers", "1"]
        command += ["--host", HOST, "--port", str(port)]
        started = time.perf_counter()
        with running(command, _ENVIRON) as process:
            wait_for(lambda: _alive(port), process, "litellm")
            seconds = time.perf_counter() - started
            targets = [Target(port, "/v1/chat/completions", key, name) for name in names]
            yield [Running(target, process.pid, started, seconds) for target in targets]


def _parameters(upstream: Target) -> dict[str, str]:
    return {
        "model": f"openai/{upstream.model}",
        "api_base": f"http://{HOST}:{upstream.port}/v1",
        "api_key": upstream.bearer,
    }


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


def _alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health/liveliness", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        time.sleep(0.05)
        return False
