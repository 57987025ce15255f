"""Single files from a web server, over real TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yangfan.errors import ConfigurationError, SourceUnavailable
from yangfan.hub.pull import pull
from yangfan.hub.uri import parse

if TYPE_CHECKING:
    from tests.hub.conftest import Hub

    from yangfan.egress import Egress
    from yangfan.hub.sources.base import Workspace
    from yangfan.hub.store import ModelStore


@pytest.mark.parametrize("heads", [True, False])
async def test_a_file_arrives_and_its_signature_is_not_recorded(
    secure_hub: Hub, store: ModelStore, secure_egress: Egress, heads: bool
) -> None:
    secure_hub.add("my model.gguf", secure_hub.GGUF)
    secure_hub.heads = heads
    url = f"https://127.0.0.1:{secure_hub.port}/cdn/my%20model.gguf"
    model = await pull(f"{url}?sig=s3cret", store=store, egress=secure_egress)
    assert model.path.read_bytes() == secure_hub.GGUF
    assert model.manifest.source == url
    assert [file.path for file in model.manifest.files] == ["my model.gguf"]


async def test_a_cut_continues_if_the_file_is_still_the_same(
    secure_hub: Hub, store: ModelStore, secure_egress: Egress
) -> None:
    secure_hub.add("m.gguf", secure_hub.GGUF)
    secure_hub.cuts = [100_000]
    url = f"https://127.0.0.1:{secure_hub.port}/cdn/m.gguf"
    model = await pull(url, store=store, egress=secure_egress, settings=secure_hub.settings)
    assert model.path.read_bytes() == secure_hub.GGUF
    last = secure_hub.requests[-1].headers
    assert (last["range"], last["if-range"]) == ("bytes=100000-", '"1"')


async def test_a_part_that_is_longer_than_the_file_has_become_starts_over(
    secure_hub: Hub, store: ModelStore, secure_egress: Egress
) -> None:
    secure_hub.add("m.gguf", secure_hub.GGUF)
    secure_hub.heads = False
    secure_hub.cuts = [100_000, 0, 0, 0, 0, 0]
    url = f"https://127.0.0.1:{secure_hub.port}/cdn/m.gguf"
    with pytest.raises(SourceUnavailable):
        await pull(url, store=store, egress=secure_egress, settings=secure_hub.settings)
    secure_hub.add("m.gguf", secure_hub.GGUF[:50_000])
    model = await pull(url, store=store, egress=secure_egress, settings=secure_hub.settings)
    assert model.path.read_bytes() == secure_hub.GGUF[:50_000]


async def test_an_untrusted_certificate_is_refused(
    secure_hub: Hub, store: ModelStore, egress: Egress
) -> None:
    secure_hub.add("m.gguf", secure_hub.GGUF)
    url = f"https://127.0.0.1:{secure_hub.port}/cdn/m.gguf"
    with pytest.raises(SourceUnavailable, match="certificate"):
        await pull(url, store=store, egress=egress, settings=secure_hub.settings)


@pytest.mark.parametrize("uri", ["https:m.gguf", "https://host/", "https://host"])
def test_an_address_without_a_file_is_refused(workspace: Workspace, uri: str) -> None:
    from yangfan.hub.sources import https

    with pytest.raises(ConfigurationError, match="names no file"):
        https.create(parse(uri), workspace)
