from __future__ import annotations

import errno
import hashlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import pytest

from yangfan.errors import ConfigurationError, FetchError
from yangfan.hub.lock import try_lock
from yangfan.hub.store import Manifest, ModelStore, StoredFile, StoredModel

if TYPE_CHECKING:
    from pathlib import Path


def put(store: ModelStore, name: str, files: dict[str, bytes]) -> StoredModel:
    """Store a model as a pull does."""
    stored: list[StoredFile] = []
    for path, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        part = store.partial_folder(name) / digest
        part.write_bytes(content)
        store.adopt(part, digest)
        stored.append(StoredFile(path, digest, len(content)))
    return store.publish(
        Manifest(
            name=name,
            kind="chat",
            format="gguf" if any(path.endswith(".gguf") for path in files) else "safetensors",
            licence="MIT",
            source="file:/x",
            revision="",
            files=tuple(stored),
            created=datetime.now(UTC),
        )
    )


def blobs(store: ModelStore) -> set[bytes]:
    return {path.read_bytes() for path in (store.root / "blobs").iterdir()}


def test_an_empty_store_has_nothing(store: ModelStore) -> None:
    assert store.get("m") is None
    assert store.list() == []
    assert not store.remove("m")
    assert not store.root.exists()


def test_a_model_is_found_after_it_was_published(store: ModelStore) -> None:
    model = put(store, "m", {"a/m.gguf": b"one", "config.json": b"{}"})
    assert store.get("m") == model
    assert ModelStore(store.root).list() == [model]
    assert model.path == model.folder / "a/m.gguf"
    assert model.size_bytes == 5
    assert store.is_intact(model)
    assert store.damaged(model) == ()


def test_files_of_equal_content_are_kept_once(store: ModelStore) -> None:
    first = put(store, "m", {"m.gguf": b"same"})
    second = put(store, "n", {"n.gguf": b"same"})
    assert first.path.stat().st_ino == second.path.stat().st_ino
    assert blobs(store) == {b"same"}


def test_files_are_copied_where_links_are_impossible(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> NoReturn:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    model = put(store, "m", {"m.gguf": b"copied"})
    assert model.path.read_bytes() == b"copied"


def test_removal_takes_the_blobs_that_nobody_else_uses(store: ModelStore) -> None:
    put(store, "m", {"m.gguf": b"mine", "config.json": b"shared"})
    other = put(store, "n", {"n.gguf": b"yours", "config.json": b"shared"})
    assert store.remove("m")
    assert store.list() == [other]
    assert store.damaged(other) == ()
    assert blobs(store) == {b"yours", b"shared"}


def test_removal_leaves_blobs_alone_while_a_pull_runs(store: ModelStore) -> None:
    put(store, "m", {"m.gguf": b"mine"})
    with try_lock(store.store_lock_file(), shared=True):
        assert store.remove("m")
        assert blobs(store) == {b"mine"}
    store.collect()
    assert blobs(store) == set()


def test_a_model_that_is_being_pulled_is_not_removed(store: ModelStore) -> None:
    put(store, "m", {"m.gguf": b"mine"})
    with try_lock(store.lock_file("m")), pytest.raises(ConfigurationError, match="being pulled"):
        store.remove("m")
    assert store.get("m") is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "m"}'])
def test_an_unreadable_manifest_is_no_model(store: ModelStore, content: bytes) -> None:
    put(store, "m", {"m.gguf": b"mine"})
    (store.root / "models/m/manifest.json").write_bytes(content)
    assert store.get("m") is None
    assert store.list() == []


def test_a_manifest_that_points_outside_is_no_model(store: ModelStore) -> None:
    put(store, "m", {"m.gguf": b"mine"})
    manifest = store.root / "models/m/manifest.json"
    manifest.write_text(manifest.read_text().replace("m.gguf", "../../x.gguf"))
    assert store.get("m") is None


@pytest.mark.parametrize("name", ["", ".", "..", "A", "a/b", "-a", "a" * 65, "a\n", "名"])
def test_a_name_that_is_no_name_is_refused(store: ModelStore, name: str) -> None:
    for action in (store.get, store.remove, store.lock_file, store.partial_folder):
        with pytest.raises(ConfigurationError, match="cannot be the name of a model"):
            action(name)


def test_a_path_that_leaves_the_folder_is_not_published(store: ModelStore) -> None:
    with pytest.raises(FetchError, match="cannot be stored safely"):
        put(store, "m", {"../m.gguf": b"x"})


def test_damage_is_told_by_size_and_by_content(store: ModelStore) -> None:
    model = put(store, "m", {"m.gguf": b"right", "n.json": b"fine"})
    model.path.chmod(0o600)
    model.path.write_bytes(b"wrong")
    assert store.is_intact(model)
    assert [file.path for file in store.damaged(model)] == ["m.gguf"]
    model.path.write_bytes(b"longer than before")
    assert not store.is_intact(model)


def test_space_that_is_there_is_no_error(store: ModelStore) -> None:
    store.require_free(0)
    with pytest.raises(ConfigurationError, match="no space on the disk"):
        store.require_free(2**62)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot make the folder"):
        ModelStore(tmp_path / "file").require_free(0)
