"""What programs that compute are told by their environment; whoever starts one starts it with this."""

from __future__ import annotations

import os
from typing import Final

OPENMP_SPINS: Final = 10_000
"""Rounds (some 0.1 ms) that a thread of GNU OpenMP, which llama.cpp and PyTorch compute with, waits for the others before it sleeps.

Its own default is 300,000. On a machine whose cores have other work, too, a thread that spins keeps the one it waits for from running:
beside ten busy processes on two cores SmolLM2 gave 0.7 tokens a second in llama.cpp, and gives 9 with this. Fewer rounds than the pauses
between two products of PyTorch make its threads sleep in each: on an idle machine it gave 22 tokens a second with 2,000, and gives 30.
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
