"""A server process from start to clean end: lock the home, take the port, build the platform, listen, stop on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from yangfan.errors import ConfigurationError
from yangfan.server import app, logs
from yangfan.server.holding import holding
from yangfan.server.home import Home
from yangfan.server.http.listener import ReadLimits, bind, listener_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.hub.pull import Progress
    from yangfan.server.settings import Settings

_log = structlog.get_logger("yangfan.server")


class Ready(msgspec.Struct, frozen=True):
    """What a ready file says: where the server is and how to get in. Handle it as a secret."""

    base_url: str
    api_key: str
    secret_key: str
    access_key: str
    secret_access_key: str
    bearer: str
    pid: int
    models: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """No secrets."""
        return f"Ready({self.base_url!r}, pid={self.pid})"


def run(
    settings: Settings,
    *,
    ready_file: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[Ready], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: Everything about the server.
        ready_file: Written (mode 0600, all at once) when the server can answer, removed at the end.
        progress: Told about model downloads.
        announce: Told when the server can answer.

    Raises:
        ConfigurationError: Port taken, home unusable, setting wrong: the message says what to change.
        FetchError: A model could not be fetched.
        EngineFailed: A model could not be loaded.
    """
    # Keys, database and logs are the owner's alone, whatever the folder's own mode.
    os.umask(0o077)
    home = Home(settings.home_path)
    home.prepare()
    with home.locked():
        logs.configure(home.log, settings.log_level)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, home, ready_file, progress, announce))


async def _serve(
    settings: Settings,
    home: Home,
    ready_file: Path | None,
    progress: Callable[[Progress], None] | None,
    announce: Callable[[Ready], None] | None,
) -> None:
    ending = asyncio.Event()
    starting = asyncio.current_task()
    assert starting is not None
    loop = asyncio.get_running_loop()
    started = outdone = False

    def give_way() -> None:
        nonlocal outdone
        outdone = True
        end()

    def end() -> None:
        ending.set()
        if not started:
            starting.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    files = [home.server_file] + ([ready_file] if ready_file is not None else [])
    for file in files:
        file.unlink(
            missing_ok=True
        )  # a server that was killed leaves them, and whoever waits must not read those
    try:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(
                holding(settings.database, standby=settings.standby, lost=give_way)
            )
            socket = stack.enter_context(bind(settings.host, settings.port))
            base_url = _base_url(settings.host, socket.getsockname()[1])
            async with app.build(settings, home, progress=progress, base_url=base_url) as platform:
                listener = listener_for(
                    platform.app,
                    ReadLimits(settings.max_header_bytes, settings.read_timeout_seconds),
                )
                listening = asyncio.create_task(listener.serve(sockets=[socket]))
                await listener.listening.wait()
                started = True
                _settle_garbage_collector()
                ready = Ready(
                    base_url=base_url,
                    **asdict(platform.credentials),
                    pid=os.getpid(),
                    models=tuple(service.name for service in platform.services.all),
                )
                try:
                    for file in files:
                        write_private(file, msgspec.json.format(msgspec.json.encode(ready)) + b"\n")
                    _log.info("ready", base_url=ready.base_url, models=ready.models)
                    if announce is not None:
                        announce(ready)
                    await asyncio.wait(
                        [asyncio.ensure_future(ending.wait()), listening],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    for file in files:
                        file.unlink(missing_ok=True)
                    platform.jobs.changes.close()  # whoever watches a job would hold up the end
                    listener.should_exit = True
                    await listening
                    _log.info("stopped")
    except asyncio.CancelledError:
        if not ending.is_set():
            raise
    if outdone:
        raise ConfigurationError("another server has taken over the database; this one has ended")


def _settle_garbage_collector() -> None:
    """Leave what was built for good out of every later collection, and collect less often: requests make no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, in one step.

    Raises:
        ConfigurationError: The folder does not exist or cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _base_url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
    return f"http://{shown}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None
