"""The Hugging Face source against an imitation of its documented file API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from yangfan.errors import FetchError, SourceUnavailable
from yangfan.hub.sources import hf
from yangfan.hub.uri import parse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hub.conftest import Hub

    from yangfan.hub.sources.base import Workspace


async def test_a_listing_tells_commit_sizes_and_the_checksums_of_large_files(
    hub: Hub, workspace: Workspace
) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.add("config.json", b"{}", large=False)
    listing = await hf.create(parse("hf:org/model"), workspace).list()
    assert listing.revision == hub.COMMIT
    large, small = listing.files
    assert (large.path, large.size_bytes, len(large.sha256 or "")) == ("m.gguf", len(hub.GGUF), 64)
    assert (small.path, small.size_bytes, small.sha256, small.version) == (
        "config.json",
        2,
        None,
        "0" * 40,
    )


async def test_a_long_listing_is_read_page_by_page_from_the_same_host(
    hub: Hub, workspace: Workspace
) -> None:
    for number in range(25):
        hub.add(f"{number}.json", b"{}")
    hub.page_size = 10
    listing = await hf.create(parse("hf:org/model"), workspace).list()
    assert len({file.path for file in listing.files}) == 25
    assert len(hub.requests) == 4


async def test_an_endless_listing_is_refused(
    hub: Hub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hf, "MAX_PAGES", 3)
    for number in range(5):
        hub.add(f"{number}.json", b"{}")
    hub.page_size = 1
    with pytest.raises(FetchError, match="too many files"):
        await hf.create(parse("hf:org/model"), workspace).list()


async def test_a_revision_with_slashes_is_asked_for(hub: Hub, workspace: Workspace) -> None:
    hub.add("m.gguf", hub.GGUF)
    await hf.create(parse("hf:org/model@refs/pr/1"), workspace).list()
    assert hub.requests[0].path == "/api/models/org/model/revision/refs%2Fpr%2F1"


async def test_an_absent_repository_is_said_to_be_absent(hub: Hub, workspace: Workspace) -> None:
    with pytest.raises(SourceUnavailable, match=r"org/absent.* does not exist"):
        await hf.create(parse("hf:org/absent"), workspace).list()


async def test_the_token_goes_to_the_hub_and_not_to_its_cdn(
    hub: Hub, workspace: Workspace, tmp_path: Path
) -> None:
    hub.add("文件 #1.gguf", hub.GGUF)
    settings = msgspec.structs.replace(workspace.settings, hf_token="s3cret")
    source = hf.create(parse("hf:org/model"), msgspec.structs.replace(workspace, settings=settings))
    listing = await source.list()
    seen: list[int] = []
    await source.fetch(listing.files[0], tmp_path / "part", seen.append)
    assert (tmp_path / "part").read_bytes() == hub.GGUF
    assert seen[-1] == len(hub.GGUF)
    assert all(
        (request.headers.get("authorization") == "Bearer s3cret") != (request in hub.downloads)
        for request in hub.requests
    )
