"""The clients as a whole: what they show, what they load, and that both are the same."""

from __future__ import annotations

import inspect
import logging
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import yangfan
from yangfan import AsyncClient, Client
from yangfan.client._async.stream import AsyncChatStream
from yangfan.client._sync.stream import ChatStream

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

ROOT = Path(__file__).resolve().parents[2]
UNASYNC = ROOT / "scripts" / "unasync.py"


def surface(thing: object) -> dict[str, str]:
    """Public names with their signatures, in plain words."""
    found: dict[str, str] = {}
    for name in dir(thing):
        if name.startswith("_") and name != "__call__":
            continue
        value = getattr(thing, name)
        if callable(value):
            found[name] = re.sub(r"\bAsync(?=[A-Z])", "", str(inspect.signature(value)))
        else:
            found[name] = type(value).__name__.removeprefix("Async")
    return found


def test_both_clients_have_the_same_public_surface():
    one, other = Client(), AsyncClient()
    assert surface(one) == surface(other)
    for resource in ("chat", "models", "keys", "tokens"):
        assert surface(getattr(one, resource)) == surface(getattr(other, resource))
    assert surface(ChatStream) == surface(AsyncChatStream)
    assert inspect.signature(Client) == inspect.signature(AsyncClient)


def test_the_sync_files_are_current_and_say_that_they_are_generated():
    result = subprocess.run(
        [sys.executable, UNASYNC, "--check"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")
    for path in (ROOT / "src/yangfan/client/_sync").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# Generated from _async by scripts/unasync.py")
        assert not re.search(
            r"\b(async|await)\b", re.sub(r"#.*|`_async`", "", text.partition('"""')[2])
        )


def test_the_check_notices_a_file_that_is_not_current(tmp_path: Path):
    folder = tmp_path / "src/yangfan/client"
    (folder / "_async").mkdir(parents=True)
    (folder / "_async/a.py").write_text("async def f() -> None:\n    await g()\n")
    script = tmp_path / "scripts/unasync.py"
    script.parent.mkdir()
    script.write_text(UNASYNC.read_text(encoding="utf-8"), encoding="utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, check=False
        )

    assert run("--check").returncode == 1
    assert run().returncode == 0
    written = folder / "_sync/a.py"
    assert (
        written.read_text()
        == "# Generated from _async by scripts/unasync.py; edit there.\ndef f() -> None:\n    g()\n"
    )
    assert run("--check").returncode == 0
    (folder / "_sync/left_over.py").write_text("")
    assert "left_over.py" in run("--check").stdout
    assert run().returncode == 0
    assert not (folder / "_sync/left_over.py").exists()


def test_the_repr_shows_where_and_who_but_no_secret():
    bearer = "bce-v3/ALTAK-0123456789abcdefghijk/" + "0" * 40
    assert (
        repr(Client("http://host:1", bearer=bearer))
        == "Client('http://host:1', bearer='bce-v3/ALTAK-…****')"
    )
    assert repr(AsyncClient()) == "AsyncClient('http://127.0.0.1:8000')"


def test_a_client_says_where_it_calls_and_in_which_dialect():
    client = Client("http://host:1", api_key="a", secret_key="b")
    assert (client.base_url, client.version) == ("http://host:1", 1)


async def test_settings_come_from_the_environment(
    connect: Connect, playback: Playback, v2_answer: Any, monkeypatch: pytest.MonkeyPatch
):
    playback.json(v2_answer)
    monkeypatch.setenv("QIANFAN_BASE_URL", playback.url)
    monkeypatch.setenv("QIANFAN_BEARER_TOKEN", "bce-v3/ALTAK-env/1")
    assert (await connect(None).chat()).text
    assert playback.calls[0].header("Authorization") == "Bearer bce-v3/ALTAK-env/1"


async def test_a_client_closes_at_the_end_of_its_block(playback: Playback, v2_answer: Any):
    playback.json(v2_answer, v2_answer)
    with Client(playback.url) as client:
        assert client.chat("?", model="m").text
    async with AsyncClient(playback.url) as client:
        assert (await client.chat("?", model="m")).text


async def test_nothing_is_printed_and_no_secret_is_logged(
    connect: Connect,
    playback: Playback,
    v1_answer: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    playback.json({"error_code": 110, "error_msg": "Access token invalid"}, v1_answer)
    with caplog.at_level(logging.DEBUG):
        await connect(api_key="the-app-key", secret_key="the-app-secret").chat()
    assert capfd.readouterr() == ("", "")
    assert playback.tokens_issued == 2
    for secret in ("24.token", "the-app-secret"):
        assert secret not in caplog.text


def test_import_is_quick_and_light():
    program = (
        "import time; start = time.process_time(); import yangfan; yangfan.Client;"
        " print(time.process_time() - start);"
        " import sys; print([name for name in sys.modules if name.split('.')[0] in"
        " {'httpx2', 'torch', 'typer', 'rich', 'starlette', 'uvicorn'} or name.startswith(('yangfan.server', 'yangfan.engines'))])"
    )
    best_seconds = 10.0
    deadline = time.monotonic() + 20
    while best_seconds > 0.15 and time.monotonic() < deadline:
        result = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        seconds, modules = result.stdout.splitlines()
        assert modules == "[]"
        best_seconds = min(best_seconds, float(seconds))
    assert best_seconds <= 0.15


def test_every_public_name_can_be_loaded():
    for name in yangfan.__all__:
        assert getattr(yangfan, name) is not None
    assert set(yangfan.__all__) <= set(dir(yangfan))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", yangfan.__version__)


def test_a_package_that_was_not_installed_has_version_0(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert yangfan.__version__ == "0"


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        _ = yangfan.Cleint  # pyright: ignore[reportAttributeAccessIssue] - the point of the test
