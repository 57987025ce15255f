"""Peers in environments of their own, made on first use; no library is needed here, for peers' programs import this, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = Path("~/.cache/yangfan-bench").expanduser()


class UnavailableError(Exception):
    """A peer cannot be installed or run here; the text says why in one line."""


def install(side: str) -> str:
    """A peer's own environment, made on first use; its interpreter.

    Raises:
        UnavailableError: It cannot be installed, usually because no package index is reachable.
    """
    folder = FOLDER / f"peer-{side}"
    wanted = "\n".join(requirements(side))
    finished, python = folder / "installed", folder / "bin/python"
    if finished.is_file() and finished.read_text("utf-8") == wanted:
        return str(python)
    print(f"installing {side} into {folder}", file=sys.stderr, flush=True)
    run([sys.executable, "-m", "venv", "--clear", str(folder)])
    run([str(python), "-m", "pip", "install", "-qr", str(HERE / f"requirements-{side}.txt")])
    finished.write_text(wanted, "utf-8")
    return str(python)


def requirements(side: str) -> list[str]:
    """Packages of a peer, with their versions."""
    lines = (HERE / f"requirements-{side}.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def run(command: list[str], timeout_seconds: float | None = None) -> str:
    """Run a program to its end; what it printed.

    Raises:
        UnavailableError: It failed.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout_seconds
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise UnavailableError(f"{Path(command[1]).name} failed: {lines[-1]}")
    return done.stdout
