"""Models that are on this machine already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yangfan.errors import FetchError, SourceUnavailable
from yangfan.hub.pull import pull

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hub.conftest import Hub

    from yangfan.egress import Egress
    from yangfan.hub.store import ModelStore


async def test_a_file_is_copied_in(
    hub: Hub, tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    (tmp_path / "Mine.gguf").write_bytes(hub.GGUF)
    model = await pull(f"file:{tmp_path}/Mine.gguf", store=store, egress=egress)
    assert model.name == "mine"
    assert model.path.read_bytes() == hub.GGUF
    assert model.path.stat().st_ino != (tmp_path / "Mine.gguf").stat().st_ino


async def test_a_folder_is_copied_in_with_its_subfolders(
    hub: Hub, tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    folder = tmp_path / "bge"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(hub.SAFETENSORS)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "empty.txt").touch()
    (folder / "tokenizer.json").symlink_to("1_Pooling/config.json")
    model = await pull(f"file:{folder}", store=store, egress=egress, kind="embeddings")
    paths = [file.path for file in model.manifest.files]
    assert paths == ["1_Pooling/config.json", "empty.txt", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside.json"])
async def test_a_link_that_leaves_the_folder_is_refused(
    hub: Hub, tmp_path: Path, store: ModelStore, egress: Egress, target: str
) -> None:
    folder = tmp_path / "bge"
    folder.mkdir()
    (tmp_path / "outside.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(hub.SAFETENSORS)
    (folder / "config.json").symlink_to(target)
    with pytest.raises(FetchError, match="links to a place outside"):
        await pull(f"file:{folder}", store=store, egress=egress)
    assert store.list() == []


async def test_an_absent_path_is_named(tmp_path: Path, store: ModelStore, egress: Egress) -> None:
    with pytest.raises(SourceUnavailable, match=r"absent\.gguf cannot be read"):
        await pull(f"file:{tmp_path}/absent.gguf", store=store, egress=egress)
