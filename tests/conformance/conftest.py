"""Runs other people's clients as the programs that their users write, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
PROGRAM_SECONDS = 120


class Programs:
    """Runs `programs/NAME.py` with a clean environment plus what is given; returns what it found."""

    def run(
        self,
        name: str,
        *arguments: str,
        environ: Mapping[str, str],
        seconds: float = PROGRAM_SECONDS,
    ) -> dict[str, Any]:
        """Run to the end; a failure shows the program's own output."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("QIANFAN_", "OPENAI_"))
        }
        done = subprocess.run(
            [sys.executable, str(PROGRAMS / f"{name}.py"), *arguments],
            env={**inherited, **environ},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.rpartition("RESULT")[2])


@pytest.fixture(scope="session")
def programs() -> Programs:
    """The runner."""
    return Programs()
