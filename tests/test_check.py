"""`make check` as tests, so that the one test command proves it too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
CHECKS = {
    "format": [BIN / "ruff", "format", "--check", "."],
    "lint": [BIN / "ruff", "check", "."],
    "types": [BIN / "pyright"],
    "imports": [BIN / "lint-imports", "--no-cache"],
    "spelling": [BIN / "codespell"],
    "sync client": [sys.executable, "scripts/unasync.py", "--check"],
    "coverage pages": [sys.executable, "scripts/coverage_table.py", "--check"],
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CHECKS)
def test_check_is_clean(name: str) -> None:
    done = subprocess.run(CHECKS[name], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
