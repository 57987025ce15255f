"""The ModelScope source against an imitation of its file API."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from yangfan.errors import SourceUnavailable
from yangfan.hub.sources import modelscope
from yangfan.hub.uri import parse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hub.conftest import Hub

    from yangfan.hub.sources.base import Workspace


async def test_a_listing_tells_sizes_and_checksums_of_files_only(
    hub: Hub, workspace: Workspace
) -> None:
    hub.add("sub folder/m.gguf", hub.GGUF)
    listing = await modelscope.create(parse("modelscope:org/model"), workspace).list()
    (file,) = listing.files
    assert file.path == "sub folder/m.gguf"
    assert file.size_bytes == len(hub.GGUF)
    assert file.sha256 == hashlib.sha256(hub.GGUF).hexdigest()
    assert listing.revision == "master"


async def test_a_file_comes_by_way_of_the_cdn(
    hub: Hub, workspace: Workspace, tmp_path: Path
) -> None:
    hub.add("sub folder/m&n.gguf", hub.GGUF)
    source = modelscope.create(parse("modelscope:org/model"), workspace)
    listing = await source.list()
    await source.fetch(listing.files[0], tmp_path / "part", lambda done: None)
    assert (tmp_path / "part").read_bytes() == hub.GGUF


async def test_a_refusal_inside_an_answer_is_told(hub: Hub, workspace: Workspace) -> None:
    source = modelscope.create(parse("modelscope:org/model@v9"), workspace)
    with pytest.raises(SourceUnavailable, match="no such revision"):
        await source.list()
