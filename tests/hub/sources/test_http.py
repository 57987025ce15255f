"""Single files from a web server without TLS: only from hosts that the owner of the server names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yangfan.egress import Egress
from yangfan.errors import EgressDenied
from yangfan.hub.pull import pull

if TYPE_CHECKING:
    from tests.hub.conftest import Hub

    from yangfan.hub.store import ModelStore


async def test_a_host_that_is_named_gives_its_file(hub: Hub, store: ModelStore) -> None:
    hub.add("m.gguf", hub.GGUF)
    url = f"{hub.url}/cdn/m.gguf"
    model = await pull(url, store=store, egress=Egress(allow=["127.0.0.1"]))
    assert model.path.read_bytes() == hub.GGUF
    assert model.manifest.source == url


async def test_any_other_host_must_speak_tls(hub: Hub, store: ModelStore) -> None:
    hub.add("m.gguf", hub.GGUF)
    with pytest.raises(EgressDenied, match="egress_allow"):
        await pull(f"{hub.url}/cdn/m.gguf", store=store, egress=Egress())
    assert not hub.requests
