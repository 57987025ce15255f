"""What the tests of plugins share; each module has a `server` of its own."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.conftest import Server

from yangfan import Client


@pytest.fixture(scope="module")
def client(server: Server) -> Generator[Client]:
    """A client of the module's server, with every key."""
    with Client(
        server.base_url,
        api_key=server.api_key,
        secret_key=server.secret_key,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        yield client
