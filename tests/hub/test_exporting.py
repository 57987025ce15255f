"""Models on their way out of the store."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.hub.s3_server import Store, serving
from tests.small_models import llama_folder

from yangfan.egress import Egress
from yangfan.errors import ConfigurationError, SourceUnavailable
from yangfan.hub import s3 as s3_module
from yangfan.hub.exporting import Exported, ExportOrder, export_model
from yangfan.hub.importing import ImportOrder, import_model
from yangfan.hub.sources.base import HubSettings
from yangfan.hub.store import ModelStore, StoredFile


class Stop(BaseException):
    pass


def ignore(done: float, total: float | None, unit: str, note: str) -> None:
    assert total is None or done <= total


@pytest.fixture
async def files(tmp_path: Path, store: ModelStore, egress: Egress) -> tuple[StoredFile, ...]:
    order = ImportOrder(source=str(llama_folder(tmp_path / "mine")), name="amv-1")
    return (await import_model(order, store=store, egress=egress, tell=ignore)).files


@pytest.fixture
def s3() -> Generator[Store]:
    with serving() as server:
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


async def exported(
    files: tuple[StoredFile, ...], store: ModelStore, target: str | Path, form: str, **more: Any
) -> Exported:
    order = msgspec.convert({"files": files, "target": str(target), "form": form}, ExportOrder)
    more.setdefault("tell", ignore)
    return await export_model(order, store=store, egress=Egress(allow=["127.0.0.1"]), **more)


async def test_a_folder_holds_the_files_and_their_sums(
    tmp_path: Path, store: ModelStore, files: tuple[StoredFile, ...]
) -> None:
    target = tmp_path / "out" / "mine"
    found = await exported(files, store, target, "folder")
    there = contents(target)
    sums = there.pop("SHA256SUMS")
    assert there == contents(tmp_path / "mine")
    assert found.sha256 == hashlib.sha256(sums).hexdigest()
    assert sums.decode().splitlines()[1] == f"{files[1].sha256}  {files[1].path}"
    assert found.size_bytes == sum(len(content) for content in there.values())
    # Nothing of the store can be changed through what was exported.
    assert all((target / file.path).stat().st_nlink == 1 for file in files)
    assert stat.S_IMODE((target / "config.json").stat().st_mode) & 0o200
    assert await exported(files, store, target, "folder") == found


async def test_what_is_there_already_is_not_written_over(
    tmp_path: Path, store: ModelStore, files: tuple[StoredFile, ...]
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "config.json").write_text("mine")
    with pytest.raises(ConfigurationError, match="is something else"):
        await exported(files, store, target, "folder")
    assert (target / "config.json").read_text() == "mine"
    (target / "config.json").unlink()
    (target / "config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is something else"):
        await exported(files, store, target, "folder")
    assert not (tmp_path / "elsewhere").exists()


async def test_a_folder_goes_on_behind_its_whole_files(
    tmp_path: Path, store: ModelStore, files: tuple[StoredFile, ...]
) -> None:
    def stop(done: float, total: float | None, unit: str, note: str) -> None:
        if note == "model.safetensors":
            raise Stop

    with pytest.raises(Stop):
        await exported(files, store, tmp_path / "out", "folder", tell=stop)
    before = (tmp_path / "out" / "config.json").stat().st_mtime_ns
    assert not (tmp_path / "out" / "model.safetensors").exists()
    await exported(files, store, tmp_path / "out", "folder")
    assert (tmp_path / "out" / "config.json").stat().st_mtime_ns == before


async def test_a_zip_holds_the_same_and_equal_models_make_equal_zips(
    tmp_path: Path, store: ModelStore, files: tuple[StoredFile, ...], egress: Egress
) -> None:
    found = await exported(files, store, tmp_path / "a.zip", "zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        there = {name: archive.read(name) for name in archive.namelist()}
    there.pop("SHA256SUMS")
    assert there == contents(tmp_path / "mine")
    assert found.sha256 == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert found.size_bytes == (tmp_path / "a.zip").stat().st_size
    assert (await exported(files, store, tmp_path / "b.zip", "zip")).sha256 == found.sha256
    order = ImportOrder(source=str(tmp_path / "a.zip"), name="amv-2")
    assert (await import_model(order, store=store, egress=egress, tell=ignore)).files == files


async def test_a_zip_that_was_ended_leaves_nothing(
    tmp_path: Path, store: ModelStore, files: tuple[StoredFile, ...]
) -> None:
    def stop(done: float, total: float | None, unit: str, note: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        await exported(files, store, tmp_path / "out" / "a.zip", "zip", tell=stop)
    assert list((tmp_path / "out").iterdir()) == []


async def test_a_bucket_gets_large_files_in_parts_and_goes_on_behind_them(
    s3: Store,
    store: ModelStore,
    files: tuple[StoredFile, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_module, "PART_BYTES", 5000)
    settings = HubSettings(s3=s3.settings)
    states: list[dict[str, Any]] = []

    def save(state: Mapping[str, Any]) -> None:
        states.append(msgspec.json.decode(msgspec.json.encode(state)))
        if len(states[-1].get("etags", [])) == 2:
            raise Stop

    with pytest.raises(Stop):
        await exported(files, store, "s3:models/out/", "s3", settings=settings, save=save)
    assert "out/model.safetensors" not in s3.objects
    before = len(s3.log)
    found = await exported(
        files, store, "s3:models/out/", "s3", settings=settings, state=states[-1]
    )
    uploaded = {key.removeprefix("out/"): content for key, content in s3.objects.items()}
    sums = uploaded.pop("SHA256SUMS")
    assert uploaded == contents(tmp_path / "mine")
    assert (found.location, found.sha256) == ("s3:models/out/", hashlib.sha256(sums).hexdigest())
    again = [line for line in s3.log[before:] if line.startswith("PUT")]
    assert not any("config.json" in line and "tokenizer" not in line for line in again)
    assert (
        min(line.partition("partNumber=")[2][:1] for line in again if "partNumber" in line) == "3"
    )
    assert s3.uploads == {}


async def test_an_upload_that_the_store_forgot_begins_anew_at_the_next_attempt(
    s3: Store, store: ModelStore, files: tuple[StoredFile, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "PART_BYTES", 5000)
    states: list[Mapping[str, Any]] = []
    stale = {"key": "out/model.safetensors", "upload": "gone", "etags": ['"x"'], "finished": []}
    more = {"settings": HubSettings(s3=s3.settings), "save": states.append}
    with pytest.raises(SourceUnavailable, match="NoSuchUpload"):
        await exported(files, store, "s3:models/out", "s3", state=stale, **more)
    await exported(files, store, "s3:models/out", "s3", state=states[-1], **more)
    assert len(s3.objects["out/model.safetensors"]) == next(
        file.size_bytes for file in files if file.path == "model.safetensors"
    )


@pytest.mark.parametrize(
    ("target", "form", "reason"),
    [
        ("relative/path", "folder", "must be a whole path"),
        ("/tmp/model.tar", "zip", r"ends in \.zip"),
        ("/tmp/x", "s3", "is no s3:bucket/folder/"),
        ("hf:a/b", "s3", "is no s3:bucket/folder/"),
        ("s3:models/../../x", "s3", "cannot be stored safely"),
        ("/proc/nowhere/x", "folder", "cannot write"),
    ],
)
async def test_a_target_that_is_none_is_refused(
    store: ModelStore, files: tuple[StoredFile, ...], target: str, form: str, reason: str
) -> None:
    from yangfan.errors import YangfanError

    with pytest.raises(YangfanError, match=reason):
        await exported(files, store, target, form)


async def test_a_model_that_is_no_longer_whole_is_not_exported(
    tmp_path: Path, store: ModelStore, files: tuple[StoredFile, ...]
) -> None:
    (store.root / "blobs" / files[0].sha256).unlink()
    with pytest.raises(ConfigurationError, match="no longer in the store"):
        await exported(files, store, tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()
