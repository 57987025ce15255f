"""What the memory of this machine gives: the limit of how fast a model's weights can be read, and so of one stream of tokens."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_BYTES = 1 << 30
"""Far more than a core's own caches hold. A last-level cache shared with other machines may still hold a part of it."""

_PASSES = 5


def read_bytes_per_second() -> float:
    """Bytes a second that all cores together read, the best of some passes over a gigabyte; a core adds up its part."""
    cores = len(os.sched_getaffinity(0))
    parts = np.array_split(np.ones(_BYTES // 8, dtype=np.int64), cores)
    best = 0.0
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(_PASSES):
            began = time.perf_counter()
            total = sum(pool.map(np.sum, parts))
            seconds = time.perf_counter() - began
            assert total == _BYTES // 8
            best = max(best, _BYTES / seconds)
    return best
