"""Add, change, try out and remove upstreams while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import structlog

from yangfan.engines import remote
from yangfan.engines.base import EngineSpec
from yangfan.errors import (
    ConfigurationError,
    Conflict,
    EngineFailed,
    Invalid,
    NotFound,
    RefusedError,
)
from yangfan.server.services import Replica
from yangfan.server.upstreams.fleet import UpstreamFleet
from yangfan.server.upstreams.traffic import Traffic
from yangfan.server.upstreams.types import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from yangfan.protocol.presets import Presets
    from yangfan.server.services import ServicePolicy, Services
    from yangfan.server.settings import UpstreamSettings
    from yangfan.server.upstreams.store import UpstreamStore

SLOTS = 1024
"""Calls that one upstream may have under way; its own limits are usually lower, and it tells them itself."""

MAX_UPSTREAMS = 32
"""Upstreams side by side; each is a process."""

FIRST_LIST_SECONDS = 5.0
"""How long the start waits for the lists of upstreams; one that is slower is listed as soon as it answers."""

REFRESH_SECONDS = 600.0
"""Pause between two looks at what an upstream lists."""

ASK_SECONDS = 20.0
"""Longest time for the list of one that is only asked once."""

RETRY_SECONDS = 15.0
"""The same while it does not answer."""

RETIRE_SECONDS = 300.0
"""Longest time that calls on a changed or removed upstream may take to end."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_log = structlog.get_logger("yangfan.upstreams")


class Trial(NamedTuple):
    """What came of asking an upstream for its models."""

    ok: bool
    message: str
    models: int
    milliseconds: int


@dataclass(slots=True)
class _Running:
    upstream: Upstream
    engine: remote.RemoteEngine
    replica: Replica
    fleet: UpstreamFleet
    refreshing: asyncio.Task[None] | None = None
    error: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event)


class Upstreams:
    """Every upstream of this installation.

    Args:
        store: Those that callers added.
        services: Where their models become names.
        presets: Qianfan's names.
        policy: Waiting and overload of each model.
        allow: Hosts and networks that may be private, or spoken to by http.
        proxy: Proxy for outbound connections.
        workdir: Name to the folder for the child's log.
    """

    def __init__(
        self,
        store: UpstreamStore,
        services: Services,
        presets: Presets,
        policy: ServicePolicy,
        *,
        allow: Sequence[str],
        proxy: str | None,
        workdir: Callable[[str], Path],
    ) -> None:
        self._store = store
        self._services = services
        self._presets = presets
        self._policy = policy
        self._allow = tuple(allow)
        self._proxy = proxy
        self._workdir = workdir
        self._running: dict[str, _Running] = {}
        self._traffic: dict[str, Traffic] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()

    async def start(self, settings: Mapping[str, UpstreamSettings]) -> None:
        """Open those of the settings, then those of the database. One that is down keeps nobody waiting.

        Raises:
            ConfigurationError: A table of the settings is not right, or a key cannot be opened.
        """
        fixed = [from_settings(name, table) for name, table in settings.items()]
        names = {upstream.name for upstream in fixed}
        kept = [upstream for upstream in await self._store.all() if upstream.name not in names]
        opened = await asyncio.gather(*(self._open(upstream) for upstream in (*fixed, *kept)))
        for running in opened:
            self._publish(running)
        waits = [running.tried.wait() for running in opened]
        if waits:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_LIST_SECONDS):
                    await asyncio.gather(*waits)

    async def stop(self) -> None:
        """Close all of them."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(self._close(running) for running in self._running.values()))
        self._running.clear()

    def all(self) -> list[Upstream]:
        """Every upstream, in the order in which they are asked."""
        return [running.upstream for running in self._running.values()]

    @property
    def traffic(self) -> Mapping[str, Traffic]:
        """By name of the upstream, what was counted since the start; also of those that are there no more."""
        return self._traffic

    def state(self, name: str) -> tuple[int, str]:
        """How many models an upstream offers, and what went wrong when it was last asked; "" if nothing did."""
        running = self._get(name)
        return len(running.fleet.services), running.error

    async def create(self, upstream: Upstream) -> Upstream:
        """Add one; its models answer at once.

        Raises:
            Invalid: Its name or address is not usable.
            Conflict: There is one of that name.
        """
        upstream = replace(_checked(upstream), created_ms=int(time.time() * 1000), managed=True)
        async with self._changing:
            if upstream.name in self._running:
                raise Conflict(
                    f"there is an upstream named {upstream.name!r} already; change that one, or choose another name",
                    param="name",
                )
            if len(self._running) >= MAX_UPSTREAMS:
                raise Conflict(
                    f"there are {MAX_UPSTREAMS} upstreams already, which is the most; remove one first"
                )
            await self._store.put(upstream)
            await self._start(upstream)
        return upstream

    async def modify(self, name: str, changes: Mapping[str, Any]) -> Upstream:
        """Change some of its fields; calls under way end on the old one.

        Raises:
            NotFound: There is none of that name.
            Conflict: It is kept in the settings file.
            Invalid: Its new address is not usable.
        """
        async with self._changing:
            old = self._managed(name)
            upstream = _checked(replace(old.upstream, **changes))
            if (
                upstream.base_url != old.upstream.base_url
                and "secret" not in changes
                and upstream.secret
            ):
                raise Invalid(
                    "a new baseUrl needs the key to be given again, so that nobody can lead it to another server",
                    param="apiKey",
                )
            await self._store.put(upstream)
            await self._start(upstream)
            self._retire(old)
        return upstream

    async def remove(self, name: str) -> None:
        """Forget it and its key.

        Raises:
            NotFound: There is none of that name.
            Conflict: It is kept in the settings file.
        """
        async with self._changing:
            old = self._managed(name)
            await self._store.remove(name)
            del self._running[name]
            self._services.detach(name)
            self._retire(old)

    async def test(self, name: str) -> Trial:
        """Ask it for its models now, which costs nothing there.

        Raises:
            NotFound: There is none of that name.
        """
        running = self._get(name)
        began = time.monotonic()
        await self._look(running)
        took = int((time.monotonic() - began) * 1000)
        models = len(running.fleet.services)
        return Trial(not running.error, running.error or "it answers", models, took)

    async def _start(self, upstream: Upstream) -> None:
        running = await self._open(upstream)
        self._publish(running)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LIST_SECONDS):
                await running.tried.wait()

    async def _open(self, upstream: Upstream) -> _Running:
        workdir = self._workdir(f"upstream-{upstream.name}")
        workdir.mkdir(parents=True, exist_ok=True)
        engine = _engine(upstream, workdir, self._allow, self._proxy)
        engine.tell = self._traffic.setdefault(upstream.name, Traffic()).add
        replica = Replica(engine)
        running = _Running(
            upstream,
            engine,
            replica,
            UpstreamFleet(upstream, engine, replica, self._policy, self._presets),
        )
        try:
            await replica.start()
        except EngineFailed as error:
            running.error = error.message
            replica.last_error = error.message
            _log.error("upstream does not start", upstream=upstream.name, error=error.message)
        return running

    def _publish(self, running: _Running) -> None:
        name = running.upstream.name
        self._running[name] = running
        self._services.attach(running.fleet)
        running.refreshing = asyncio.create_task(self._refresh(running), name=f"models of {name}")

    async def _refresh(self, running: _Running) -> None:
        """Look again and again at what the upstream lists."""
        while True:
            await self._look(running)
            running.tried.set()
            if running.error and running.upstream.models is None:
                _log.warning(
                    "upstream does not list its models",
                    upstream=running.upstream.name,
                    error=running.error,
                )
            await asyncio.sleep(RETRY_SECONDS if running.error else REFRESH_SECONDS)

    async def _look(self, running: _Running) -> None:
        try:
            found = await running.engine.models()
        except Exception as error:  # noqa: BLE001 - whatever it was: a list is no reason to end the refreshing
            running.error = str(error)
            return
        running.error = ""
        seen = tuple((model.id, model.type) for model in found)
        if seen == running.upstream.seen:
            return
        running.fleet.list(seen)
        running.upstream = replace(running.upstream, seen=seen)
        self._services.forget()
        if running.upstream.managed:
            await self._store.see(running.upstream.name, seen)

    def _retire(self, running: _Running) -> None:
        task = asyncio.create_task(self._close_when_idle(running))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _close_when_idle(self, running: _Running) -> None:
        try:
            with contextlib.suppress(TimeoutError, EngineFailed):
                async with asyncio.timeout(RETIRE_SECONDS):
                    while (await running.engine.slots()).busy:  # noqa: ASYNC110 - the child tells nothing by itself
                        await asyncio.sleep(0.2)
        finally:
            await self._close(running)

    async def _close(self, running: _Running) -> None:
        if running.refreshing is not None:
            running.refreshing.cancel()
            await asyncio.gather(running.refreshing, return_exceptions=True)
        await running.replica.stop()

    def _get(self, name: str) -> _Running:
        running = self._running.get(name)
        if running is None:
            known = ", ".join(self._running) or "none yet"
            raise NotFound(f"no upstream {name[:64]!r}; there are: {known}")
        return running

    def _managed(self, name: str) -> _Running:
        running = self._get(name)
        if not running.upstream.managed:
            raise Conflict(f"the upstream {name!r} is kept in the settings file; change it there")
        return running


def _engine(
    upstream: Upstream, workdir: Path, allow: Sequence[str], proxy: str | None
) -> remote.RemoteEngine:
    options = {
        "base_url": upstream.base_url,
        "dialect": upstream.dialect,
        "secret": upstream.secret,
        "allow": tuple(allow),
        "proxy": proxy,
        "ca_file": upstream.ca_file,
        "first_byte_timeout_seconds": upstream.first_byte_timeout_seconds,
        "idle_timeout_seconds": upstream.idle_timeout_seconds,
    }
    return remote.create(EngineSpec(upstream.name, slots=SLOTS, options=options), workdir)


async def ask_upstream(
    upstream: Upstream, workdir: Path, allow: Sequence[str], proxy: str | None
) -> str:
    """Why an upstream does not list its models, asked without a server; "" if it does. `workdir` is for the child's log."""
    engine = _engine(upstream, workdir, allow, proxy)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await engine.start()
            await engine.models()
    except TimeoutError:
        return f"the upstream {upstream.name} did not answer within {ASK_SECONDS:g} s"
    except RefusedError as error:
        return error.message
    finally:
        await engine.stop()
    return ""


def from_settings(name: str, table: UpstreamSettings) -> Upstream:
    """The upstream of a table [upstreams.NAME].

    Raises:
        ConfigurationError: The address, the name or the key file is not usable.
    """
    if table.key is not None and table.key_file is not None:
        raise ConfigurationError(
            f"settings: upstreams.{name} has both `key` and `key_file`; keep one"
        )
    secret = table.key or ""
    if table.key_file is not None:
        path = Path(table.key_file).expanduser()
        try:
            secret = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(
                f"settings: upstreams.{name}: cannot read the key file {path}"
            ) from None
    try:
        return _checked(
            Upstream(
                name,
                table.base_url,
                table.dialect,
                secret,
                table.models,
                table.kinds,
                table.rename,
                table.presets,
                table.first_byte_timeout_seconds,
                table.idle_timeout_seconds,
                int(time.time() * 1000),
                managed=False,
                ca_file=table.ca_file,
            )
        )
    except Invalid as error:
        raise ConfigurationError(f"settings: upstreams.{name}: {error.message}") from None


def _checked(upstream: Upstream) -> Upstream:
    """The upstream with its address in order; errors never repeat the key."""
    if not _NAME.fullmatch(upstream.name):
        raise Invalid(
            "the name of an upstream is 1 to 64 letters, digits, dots, dashes and underscores, such as baidu",
            param="name",
        )
    wrong = "baseUrl must be an address such as https://qianfan.baidubce.com/v2, without user, query and fragment"
    try:
        parts = urlsplit(upstream.base_url)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and not (parts.query or parts.fragment)
            and upstream.base_url.isascii()
            and upstream.base_url.isprintable()
            and " " not in upstream.base_url
        )
    except ValueError:
        usable = False
    if not usable:
        raise Invalid(wrong, param="baseUrl")
    if not (upstream.secret.isascii() and upstream.secret.isprintable()) or " " in upstream.secret:
        raise Invalid("apiKey must be printable ASCII without spaces", param="apiKey")
    return replace(upstream, base_url=upstream.base_url.rstrip("/"))
