"""Targets without an engine, for the rules; the echo server is for the shapes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from yangfan.engines.base import EngineSpec
from yangfan.protocol import presets
from yangfan.server.services import Service, Target
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

CONTEXT_TOKENS = 8192


class Still:
    """An engine that is never started."""

    def __init__(self) -> None:
        self.spec = EngineSpec("still", slots=4)
        self.context_tokens = CONTEXT_TOKENS
        self.kinds = frozenset({"chat"})


@pytest.fixture(scope="session")
def target_of() -> Callable[[str], Target]:
    """What a name means on a server that serves one model, `still`."""
    known = presets.load()
    replica = Replica(Still())  # pyright: ignore[reportArgumentType] - only its limits are read
    service = Service("still", replica, ServicePolicy(1.0, 0), created=0)
    return lambda name: Target(name, service, known.find(name))
