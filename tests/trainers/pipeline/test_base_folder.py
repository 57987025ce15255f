"""A base is a folder, or a GGUF file that is turned back into one; whatever else it is, is refused with what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from yangfan.engines.wire.types import ChatMessage
from yangfan.errors import ConfigurationError
from yangfan.hub.disk import sha256_of
from yangfan.hub.store import ModelStore
from yangfan.trainers.base import BaseFile
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.base_folder import lay_out
from yangfan.trainers.pipeline.rows import Row
from yangfan.trainers.pipeline.tokens import Words
from yangfan.weights.safetensors import SafetensorsFile

pytestmark = pytest.mark.skipif(libraries.missing() is not None, reason=str(libraries.missing()))


def keep(root: Path, *paths: Path) -> list[BaseFile]:
    """Files in a store."""
    store, found = ModelStore(root), list[BaseFile]()
    for path in paths:
        part = store.partial_folder("amv-1") / path.name
        shutil.copyfile(path, part)
        file = BaseFile(path.name, sha256_of(part), part.stat().st_size)
        store.adopt(part, file.sha256)
        found.append(file)
    return found


@pytest.mark.model
def test_a_gguf_file_is_turned_back_into_the_folder_that_it_was_made_of(
    tiny_chat_folder: Path, tiny_chat_gguf: Path, tmp_path: Path
) -> None:
    files = keep(tmp_path / "store", tiny_chat_gguf)
    folder = lay_out(files, str(tmp_path / "store"), tmp_path / "base", "tiny")
    assert {path.name for path in tmp_path.iterdir()} == {"store", "base"}
    made, original = (
        SafetensorsFile(each / "model.safetensors") for each in (folder, tiny_chat_folder)
    )
    assert {name: info.shape for name, info in made.tensors.items()} == {
        name: info.shape for name, info in original.tensors.items()
    }
    row = Row(1, "", {})
    ours, theirs = Words(folder), Words(tiny_chat_folder)
    messages = [ChatMessage("user", "Say 3: 你好")]
    assert ours.prompt(row, messages) == theirs.prompt(row, messages)
    assert ours.answer(row, messages, "yes") == theirs.answer(row, messages, "yes")


def test_what_cannot_be_turned_back_says_what_to_do(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    (tmp_path / "m.gguf").write_bytes(b"GGUF and nothing more")
    damaged = keep(tmp_path / "store", tmp_path / "m.gguf")
    with pytest.raises(ConfigurationError, match=r"of broken cannot be turned back.*import hf:"):
        lay_out(damaged, store, tmp_path / "base", "broken")
    with pytest.raises(ConfigurationError, match="the model none cannot be trained: it is neither"):
        lay_out([], store, tmp_path / "base", "none")
