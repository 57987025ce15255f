"""Importing somebody's own model, from everywhere that models come from; hostile ones leave nothing behind."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
from tests.hub.conftest import Hub
from tests.hub.s3_server import Store, serving
from tests.small_models import gguf_file, llama_folder

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError, FetchError, SourceUnavailable, YangfanError
from yangfan.hub.importing import Imported, ImportOrder, import_model, parse
from yangfan.hub.sources.base import HubSettings
from yangfan.hub.store import ModelStore

WAIT_SECONDS = 60.0


@pytest.fixture
def s3() -> Generator[Store]:
    with serving() as store:
        yield store


class Told:
    """Remembers how far it was said to be."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float | None, str, str]] = []

    def __call__(self, done: float, total: float | None, unit: str, note: str) -> None:
        self.steps.append((done, total, unit, note))


async def imported(
    source: str | Path,
    store: ModelStore,
    egress: Egress,
    settings: HubSettings | None = None,
    **more: str | None,
) -> Imported:
    order = msgspec.convert({"source": str(source), "name": "amv-1", **more}, ImportOrder)
    return await import_model(order, store=store, egress=egress, settings=settings, tell=Told())


def zipped(folder: Path, path: Path, below: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, below + file.name)
    return path


def tarred(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


def left(store: ModelStore) -> list[str]:
    """What is in the store besides empty folders and locks."""
    files = [file for file in store.root.rglob("*") if file.is_file() and file.suffix != ".lock"]
    return [str(file.relative_to(store.root)) for file in files]


PATHS = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


async def test_a_folder_is_imported_with_its_facts(
    tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    folder = llama_folder(tmp_path / "mine")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (folder / "code.py").write_text("raise SystemExit")
    told = Told()
    order = ImportOrder(source=str(folder), name="amv-1", format="safetensors")
    found = await import_model(order, store=store, egress=egress, tell=told)
    assert [file.path for file in found.files] == PATHS
    assert (found.format, found.kind, found.licence) == ("safetensors", "chat", "apache-2.0")
    assert (found.facts.context_tokens, found.source) == (256, f"file:{folder}")
    stored = store.get("amv-1")
    assert stored is not None
    assert stored.manifest.files == found.files
    assert not store.damaged(stored)
    assert found.size_bytes == stored.size_bytes
    done, total, unit, _ = told.steps[-1]
    assert (done, total, unit) == (found.size_bytes, found.size_bytes, "bytes")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Imported) == found


async def test_a_gguf_file_is_imported(tmp_path: Path, store: ModelStore, egress: Egress) -> None:
    found = await imported(gguf_file(tmp_path / "m.gguf"), store, egress, format="gguf")
    assert [file.path for file in found.files] == ["m.gguf"]
    assert (found.format, found.licence) == ("gguf", "mit")


async def test_two_models_with_the_same_files_store_them_once(
    tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    folder = llama_folder(tmp_path / "mine")
    await imported(folder, store, egress)
    blobs = set((store.root / "blobs").iterdir())
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    second = await imported(zipped(folder, tmp_path / "again.zip"), store, egress, name="amv-2")
    assert second.licence == "mit"
    assert len(set((store.root / "blobs").iterdir()) - blobs) == 1
    assert store.remove("amv-1")
    stored = store.get("amv-2")
    assert stored is not None
    assert not store.damaged(stored)


@pytest.mark.parametrize("below", ["", "some/folder/"])
async def test_an_archive_is_imported_with_or_without_a_folder_in_it(
    tmp_path: Path, store: ModelStore, egress: Egress, below: str
) -> None:
    path = zipped(llama_folder(tmp_path / "mine"), tmp_path / "a.zip", below)
    found = await imported(path, store, egress)
    assert [file.path for file in found.files] == PATHS


async def test_a_tar_archive_is_imported(tmp_path: Path, store: ModelStore, egress: Egress) -> None:
    path = tarred(llama_folder(tmp_path / "mine"), tmp_path / "a.tar.gz")
    assert [file.path for file in (await imported(path, store, egress)).files] == PATHS
    assert not list((store.root / "partial").iterdir())


async def test_a_folder_that_holds_an_archive_alone_is_that_archive(
    tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    (tmp_path / "up-1").mkdir()
    zipped(llama_folder(tmp_path / "mine"), tmp_path / "up-1" / "a.zip")
    found = await imported(f"file:{tmp_path / 'up-1'}", store, egress)
    assert [file.path for file in found.files] == PATHS


async def test_an_archive_comes_over_https(
    secure_hub: Hub, secure_egress: Egress, tmp_path: Path, store: ModelStore
) -> None:
    path = zipped(llama_folder(tmp_path / "mine"), tmp_path / "a.zip")
    secure_hub.add("model.zip", path.read_bytes())
    address = f"https://127.0.0.1:{secure_hub.port}/cdn/model.zip"
    found = await imported(f"{address}?signature=s3cret", store, secure_egress)
    assert [file.path for file in found.files] == PATHS
    assert found.source == address


async def test_a_repository_is_imported_at_its_commit(
    hub: Hub, egress: Egress, tmp_path: Path, store: ModelStore
) -> None:
    for file in llama_folder(tmp_path / "mine").iterdir():
        hub.add(file.name, file.read_bytes(), large=file.suffix == ".safetensors")
    found = await imported("hf:org/model", store, egress, hub.settings, revision="refs/pr/1")
    assert (found.revision, found.source) == (Hub.COMMIT, "hf:org/model@refs/pr/1")
    assert [file.path for file in found.files] == PATHS
    found = await imported("modelscope:org/model", store, egress, hub.settings, name="amv-2")
    assert [file.path for file in found.files] == PATHS


@pytest.mark.parametrize("form", ["folder", "file", "archive"])
async def test_objects_of_an_s3_store_are_imported(
    s3: Store, egress: Egress, tmp_path: Path, store: ModelStore, form: str
) -> None:
    folder = llama_folder(tmp_path / "mine")
    for file in folder.iterdir():
        s3.objects[f"mine/{file.name}"] = file.read_bytes()
    s3.objects["mine-too/config.json"] = b"another model's"
    s3.objects["m.gguf"] = gguf_file(tmp_path / "m.gguf").read_bytes()
    s3.objects["m.zip"] = zipped(folder, tmp_path / "a.zip").read_bytes()
    address = {
        "folder": "s3:models/mine",
        "file": "s3://models/m.gguf",
        "archive": "s3:models/m.zip",
    }
    found = await imported(
        address[form], store, egress, HubSettings(s3=s3.settings, retry_seconds=0.001)
    )
    assert [file.path for file in found.files] == (["m.gguf"] if form == "file" else PATHS)


async def test_a_cut_download_goes_on_where_it_was_cut(
    s3: Store, egress: Egress, tmp_path: Path, store: ModelStore
) -> None:
    s3.objects["m.gguf"] = content = gguf_file(tmp_path / "m.gguf").read_bytes()
    s3.cuts = [100]
    await imported(
        "s3:models/m.gguf", store, egress, HubSettings(s3=s3.settings, retry_seconds=0.001)
    )
    assert sum("GET /models/m.gguf" in line for line in s3.log) == 2
    blob = next((store.root / "blobs").iterdir())
    assert blob.read_bytes() == content


async def test_an_object_that_is_not_there_is_missed(
    s3: Store, egress: Egress, store: ModelStore
) -> None:
    with pytest.raises(SourceUnavailable, match="holds nothing at 'nowhere'"):
        await imported("s3:models/nowhere", store, egress, HubSettings(s3=s3.settings))
    with pytest.raises(ConfigurationError, match="names no object"):
        await imported("s3:models", store, egress, HubSettings(s3=s3.settings))


async def test_an_import_that_is_done_is_found_and_not_made_again(
    tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    path = gguf_file(tmp_path / "m.gguf")
    first = await imported(path, store, egress)
    path.unlink()
    assert await imported(path, store, egress) == first


async def test_what_ends_an_import_keeps_what_came(
    s3: Store, egress: Egress, tmp_path: Path, store: ModelStore
) -> None:
    class Stop(BaseException):
        pass

    def stop(done: float, total: float | None, unit: str, note: str) -> None:
        if note.startswith("downloading model.safetensors"):
            raise Stop

    for file in llama_folder(tmp_path / "mine").iterdir():
        s3.objects[f"mine/{file.name}"] = file.read_bytes()
    order = ImportOrder(source="s3:models/mine", name="amv-1")
    settings = HubSettings(s3=s3.settings)
    with pytest.raises(Stop):
        await import_model(order, store=store, egress=egress, settings=settings, tell=stop)
    assert store.get("amv-1") is None
    before = list(s3.log)
    await imported("s3:models/mine", store, egress, settings)
    again = [line for line in s3.log[len(before) :] if line.startswith("GET /models/mine/")]
    # The rest alone: the file that was cut short had come whole.
    assert [line.rpartition("/")[2] for line in again] == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]


KILLED = """
import asyncio, sys
from pathlib import Path
from yangfan.egress import Egress
from yangfan.hub.importing import ImportOrder, import_model
from yangfan.hub.sources.base import HubSettings
from yangfan.hub.store import ModelStore
def tell(done, total, unit, note):
    print(int(done), flush=True)
asyncio.run(import_model(
    ImportOrder(source="hf:org/model#m.gguf", name="amv-1"), store=ModelStore(Path(sys.argv[1])),
    egress=Egress(allow=["127.0.0.1"]), settings=HubSettings(sys.argv[2], retry_seconds=0.01), tell=tell))
"""


async def test_an_import_that_was_killed_goes_on(
    hub: Hub, egress: Egress, tmp_path: Path, store: ModelStore
) -> None:
    path = gguf_file(tmp_path / "m.gguf", general__description="x" * 400_000)
    hub.add("m.gguf", path.read_bytes())
    hub.stall = threading.Event()
    with subprocess.Popen(  # noqa: ASYNC220 - it is killed, and read before that
        [sys.executable, "-c", KILLED, str(store.root), hub.url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        end = time.monotonic() + WAIT_SECONDS
        while int(process.stdout.readline()) < 100_000:
            assert time.monotonic() < end
        process.send_signal(signal.SIGKILL)
    hub.stall.set()
    hub.stall = None
    assert store.get("amv-1") is None
    found = await imported("hf:org/model#m.gguf", store, egress, hub.settings)
    assert found.size_bytes == path.stat().st_size
    begun = hub.downloads[-1].headers["range"]
    assert int(begun.removeprefix("bytes=").removesuffix("-")) >= 100_000


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": bytes(100)}))


def outside(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/etc/hostname")


def coded(folder: Path) -> None:
    (folder / "config.json").write_text(
        json.dumps({"auto_map": {}, "architectures": ["LlamaForCausalLM"]})
    )


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-50])


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (pickled, "not a safetensors file"),
        (outside, "links to a place outside"),
        (coded, "auto_map"),
        (cut, "does not lie inside the file"),
        (only_pickles, "pickles"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip"])
async def test_a_model_that_is_not_safe_is_refused_and_leaves_nothing(
    tmp_path: Path, store: ModelStore, egress: Egress, spoil: object, reason: str, form: str
) -> None:
    folder = llama_folder(tmp_path / "mine")
    assert callable(spoil)
    spoil(folder)
    if form == "zip" and spoil is outside:
        return  # an archive holds what the link leads to; links in archives are in test_archive.py
    source = folder if form == "folder" else zipped(folder, tmp_path / "a.zip")
    with pytest.raises(YangfanError, match=reason):
        await imported(source, store, egress)
    assert store.get("amv-1") is None
    assert left(store) == []


async def test_a_hostile_archive_is_refused_and_leaves_nothing(
    tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("../../../escaped.json")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"{}"))
    with pytest.raises(FetchError, match="cannot be stored safely"):
        await imported(path, store, egress)
    assert left(store) == []
    assert not list(tmp_path.rglob("escaped*"))  # noqa: ASYNC240 - a few files


async def test_another_format_or_kind_than_ordered_is_refused(
    tmp_path: Path, store: ModelStore, egress: Egress
) -> None:
    path = gguf_file(tmp_path / "m.gguf")
    with pytest.raises(ConfigurationError, match="gguf, and safetensors was ordered"):
        await imported(path, store, egress, format="safetensors")
    with pytest.raises(ConfigurationError, match="for chat, not for images"):
        await imported(path, store, egress, kind="images")
    assert left(store) == []


async def test_a_full_disk_is_said_clearly(
    tmp_path: Path, store: ModelStore, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(llama_folder(tmp_path / "mine"), tmp_path / "a.zip")
    real = os.link

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(ConfigurationError, match="no space on the disk"):
        await imported(path, store, egress)
    monkeypatch.setattr(os, "link", real)
    assert (await imported(path, store, egress)).format == "safetensors"


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("/models/mine", "file:/models/mine"),
        ("models/mine", "file:models/mine"),
        ("hf:a/b", "hf:a/b@v1"),
        ("hf:a/b@v2", "hf:a/b@v2"),
        ("https://host/m.gguf", "https://host/m.gguf"),
    ],
)
def test_a_path_is_an_address_too(source: str, address: str) -> None:
    assert str(parse(ImportOrder(source=source, name="x", revision="v1"))) == address
