"""Who gets how much memory."""

from __future__ import annotations

from pathlib import Path

from yangfan.engines.base import EngineSpec
from yangfan.server.deployments.placement import (
    BASE_BYTES,
    FACTOR,
    KEPT_FREE_BYTES,
    Placement,
    available_bytes,
    estimate_bytes,
)
from yangfan.server.models import Plan

MB = 1_000_000


def test_what_loads_counts_until_it_shows_in_what_is_free():
    free = 1000 * MB + KEPT_FREE_BYTES
    placement = Placement(None, lambda: free)
    assert placement.claim("a", 600 * MB) is None
    assert placement.claim("b", 600 * MB) == ("it needs about 600 MB of memory and 400 MB are free")
    free -= 600 * MB
    placement.loaded("a")
    assert placement.claim("b", 300 * MB) is None
    placement.release("b")
    assert placement.room_bytes() == 400 * MB


def test_limit_of_the_settings_holds_beside_what_is_free():
    placement = Placement(500 * MB, lambda: None)
    assert placement.claim("a", 300 * MB) is None
    placement.loaded("a")
    assert placement.refusal(300 * MB) is not None
    assert placement.impossible(400 * MB) is None
    assert "all services together may have 500 MB" in (placement.impossible(600 * MB) or "")
    placement.release("a")
    assert placement.claimed_bytes == 0


def test_nothing_is_refused_where_nobody_knows():
    assert Placement(None, lambda: None).claim("a", 1 << 50) is None


def test_estimate_is_the_files_and_something_around_them(tmp_path: Path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"x" * MB)
    plan = Plan("m", "llama_cpp", EngineSpec("m", path=str(file), adapters={"a": str(file)}))
    assert estimate_bytes(plan) == BASE_BYTES + int(2 * MB * FACTOR)
    folder = Plan("m", "transformers", EngineSpec("m", path=str(tmp_path)))
    assert estimate_bytes(folder) == BASE_BYTES + int(MB * FACTOR)


def test_this_machine_says_what_is_free():
    free = available_bytes()
    assert free is None or free > 0
