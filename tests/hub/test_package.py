"""Sources out of a wheel: only what is wanted, only from the very file, and nothing that leads elsewhere."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

import pytest

from yangfan.errors import ChecksumMismatch, FetchError
from yangfan.hub import package
from yangfan.hub.progress import ignore


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only index that pip knows."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def address(index: Path, *members: str | zipfile.ZipInfo, digest: str | None = None) -> str:
    """Publish tiny_model 1.0 with these members; the address of its folder src."""
    wheel, info = index / "tiny_model-1.0-py3-none-any.whl", "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for member in members:
            archive.writestr(member, b"text")
        archive.writestr(
            f"{info}/METADATA", b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", b"")
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"pypi:tiny-model==1.0@sha256:{digest}#src/"


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def target(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    return folder


async def test_wanted_files_come_out_below_the_folder(index: Path, tmp_path: Path) -> None:
    uri = address(index, "src/a/b.c", "src/top.txt", "src/docs/c.md", "other/d.c")
    folder = target(tmp_path)
    await package.unpack(uri, folder, lambda path: not path.startswith("docs/"), ignore)
    assert files_below(folder) == {"a/b.c", "top.txt"}
    assert {path.partition("/")[0] for path in files_below(tmp_path)} == {"index", "sources"}


@pytest.mark.parametrize("name", ["src/../../evil.c", "src//etc/evil.c", "src/a\\..\\evil.c"])
async def test_names_that_lead_out_are_refused(index: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(FetchError, match="leads out"):
        await package.unpack(address(index, name), target(tmp_path), lambda _: True, ignore)
    assert not any("evil" in path for path in files_below(tmp_path))


async def test_links_are_refused(index: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("src/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(FetchError, match="not an ordinary file"):
        await package.unpack(address(index, link), target(tmp_path), lambda _: True, ignore)


async def test_another_file_than_the_pinned_one_is_refused(index: Path, tmp_path: Path) -> None:
    uri = address(index, "src/a.c", digest="0" * 64)
    with pytest.raises(ChecksumMismatch):
        await package.unpack(uri, target(tmp_path), lambda _: True, ignore)
    assert files_below(tmp_path / "sources") == set()
