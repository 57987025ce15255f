"""What the tests of plugins share; each module has a `server` of its own."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.conftest import Server

from yangfan import Client


@pytest.fixture(scope="module")
def client(server: Server) -> Generator[Client]:
    """A client of the module's server, with every key."""
    with server.client() as client:
        yield client
