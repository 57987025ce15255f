"""What programs that compute are told by their environment; whoever starts one starts it with this."""

from __future__ import annotations

import os
from typing import Final

OPENMP_SPINS: Final = 2000
"""Rounds (some 25 µs) that a thread of GNU OpenMP, which llama.cpp and PyTorch compute with, waits for the others before it sleeps.

Its own default is 300,000. On a machine whose cores have other work, too, a thread that spins keeps the one it waits for from running:
SmolLM2 gave 1.3 tokens a second beside ten busy processes on two cores, and gives 8 with this; on an idle machine nothing changes.
`GOMP_SPINCOUNT` in the environment of `yangfan serve` has precedence, and so has `OMP_WAIT_POLICY`, which means the same less exactly.
"""

_HARMLESS: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
)


def environment() -> dict[str, str]:
    """The environment of a child process: this one's, with what its libraries should do where nobody said otherwise."""
    whole = {**os.environ}
    if "OMP_WAIT_POLICY" in whole:
        return whole
    return {"GOMP_SPINCOUNT": str(OPENMP_SPINS), **whole}


def environment_of_strangers() -> dict[str, str]:
    """The environment of a program that is not ours: where it finds itself, and none of the keys that this process was given."""
    return {name: value for name, value in environment().items() if name in _HARMLESS}
