"""What can be wrong with a machine, checked one by one. Nothing here changes anything."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from yangfan import extensions
from yangfan.errors import ConfigurationError
from yangfan.hub import catalogue
from yangfan.hub.store import ModelStore
from yangfan.server import settings as server_settings
from yangfan.server.db import Database, journal_mode
from yangfan.server.home import MIN_FREE_BYTES, Home
from yangfan.server.settings import EMBEDDED_MODELS, Settings
from yangfan.server.upstreams import ask_upstream, from_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["ok", "warning", "problem"]

COMFORTABLE_FREE_BYTES = 1_000_000_000
"""Below this there is room to start, but not for another model."""

CLOCK_WARNING_SECONDS = 60
CLOCK_PROBLEM_SECONDS = 300
"""How far a clock may be off; from the second on, signatures are refused."""

OLDEST_POSTGRESQL = 14
"""The oldest release that PostgreSQL's authors still mend."""

DATABASE_TIMEOUT_SECONDS = 5.0

PLAUSIBLE_YEARS = range(2026, 2100)
PROBE_TIMEOUT_SECONDS = 2.0

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*;.*\bextra == ['\"]([a-z]+)['\"]")
_EXTRAS = ("server", "llama", "torch")


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        check: What was looked at.
        state: ok; warning: it works, but not as well as it could; problem: something will fail.
        detail: What there is.
        advice: What to do; empty if there is nothing to do.
    """

    check: str
    state: State
    detail: str
    advice: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What answers at an address: whether it is a Yangfan server, its health, and its clock if it told the time."""

    ours: bool
    healthy: bool
    time: datetime | None


def examine(flags: Mapping[str, object], environ: Mapping[str, str]) -> list[Finding]:
    """Run every check.

    Args:
        flags: Settings given on the command line.
        environ: The process's environment.
    """
    chosen, wrong = load_settings(flags, environ)
    home = Home(chosen.home_path)
    answer = probe(chosen.host, chosen.port) if chosen.port else None
    running = running_server(home) or answer
    return [
        *wrong,
        check_python(sys.version_info[:3]),
        check_extras(),
        check_disk(home.path),
        check_writable(home.path),
        check_database(chosen.database),
        *(check_engine(name) for name in extensions.names("yangfan.engines")),
        *(check_model(ModelStore(chosen.model_store_path), name) for name in EMBEDDED_MODELS),
        *(check_upstream(chosen, name) for name in chosen.upstreams),
        check_port(chosen.host, chosen.port, answer),
        check_clock(
            datetime.now(UTC), running.time if running is not None and running.ours else None
        ),
    ]


def load_settings(
    flags: Mapping[str, object], environ: Mapping[str, str]
) -> tuple[Settings, list[Finding]]:
    """The settings that `yangfan serve` would use; the defaults and a finding if they are not valid."""
    try:
        return server_settings.load(flags, environ), []
    except ConfigurationError as error:
        home = flags.get("home") or environ.get("YANGFAN_HOME") or Settings().home
        return Settings(home=str(home)), [
            Finding("settings", "problem", error.message, "correct it")
        ]


def check_python(version: tuple[int, int, int]) -> Finding:
    """Python is new enough."""
    text = ".".join(map(str, version))
    if version < (3, 11, 0):
        return Finding("Python", "problem", text, "install Python 3.11 or newer")
    return Finding("Python", "ok", f"{text}, {platform.machine()}")


def check_extras() -> Finding:
    """Which extras of the package are installed whole."""
    missing: dict[str, list[str]] = {extra: [] for extra in _EXTRAS}
    for requirement in importlib.metadata.requires("yangfan") or ():
        match = _REQUIREMENT.match(requirement)
        if match is not None and match[2] in missing and not _is_installed(match[1]):
            missing[match[2]].append(match[1])
    here = ", ".join(extra for extra, lacking in missing.items() if not lacking)
    lacking = [extra for extra, names in missing.items() if names]
    advice = f'pip install "yangfan[{",".join(lacking)}]" adds the rest' if lacking else ""
    return Finding("extras", "ok", f"installed: {here or 'none'}", advice)


def check_disk(folder: Path) -> Finding:
    """There is room on the disk of the home folder."""
    free_bytes = shutil.disk_usage(_existing(folder)).free
    detail = f"{free_bytes / 1e9:.1f} GB free at {folder}"
    if free_bytes < MIN_FREE_BYTES:
        return Finding("disk", "problem", detail, "free some space, or choose another --home")
    if free_bytes < COMFORTABLE_FREE_BYTES:
        return Finding("disk", "warning", detail, "free some space before you pull models")
    return Finding("disk", "ok", detail)


def check_writable(folder: Path) -> Finding:
    """The home folder can be written, or made."""
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        detail = f"cannot write to {existing}: {error.strerror}"
        return Finding(
            "home folder", "problem", detail, "correct its owner, or choose another --home"
        )
    made = "" if existing == folder else ", will be made"
    return Finding("home folder", "ok", f"{folder} can be written{made}")


def check_sqlite(version: tuple[int, int, int]) -> Finding:
    """Which journal mode this SQLite allows."""
    mode = journal_mode(version)
    why = "" if mode == "WAL" else ": safe, slower; before 3.51.3 WAL can lose commits"
    return Finding("SQLite", "ok", f"{'.'.join(map(str, version))}, journal mode {mode}{why}")


def check_database(url: str | None) -> Finding:
    """The database can be used: PostgreSQL if the settings name one, SQLite otherwise."""
    if url is None:
        return check_sqlite(sqlite3.sqlite_version_info)
    try:
        version, vector = asyncio.run(_ask_postgresql(url))
    except ConfigurationError as error:
        advice = "start it, or correct the setting `database`"
        return Finding("PostgreSQL", "problem", error.message, advice)
    except TimeoutError:
        detail = f"it does not answer within {DATABASE_TIMEOUT_SECONDS:g} s"
        return Finding("PostgreSQL", "problem", detail, "look whether host and port are right")
    if int(version.partition(".")[0]) < OLDEST_POSTGRESQL:
        advice = f"upgrade it to {OLDEST_POSTGRESQL} or newer; nothing older is tested"
        return Finding("PostgreSQL", "warning", version, advice)
    if vector is None:
        advice = "install the extension where PostgreSQL runs, if texts are to be searched by meaning there"
        return Finding("PostgreSQL", "warning", f"{version}, without pgvector", advice)
    return Finding("PostgreSQL", "ok", f"{version}, pgvector {vector}")


async def _ask_postgresql(url: str) -> tuple[str, str | None]:
    database = Database(url)
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT_SECONDS):
            return await database.about_postgresql()
    finally:
        await database.close()


def check_engine(name: str) -> Finding:
    """An engine can run here."""
    try:
        missing: str | None = extensions.load("yangfan.engines", name).missing()
    except ImportError as error:
        return Finding(
            f"engine {name}", "problem", f"it does not load: {error}", "reinstall yangfan"
        )
    if missing is None:
        return Finding(f"engine {name}", "ok", "can run here")
    return Finding(f"engine {name}", "warning", "its library is not installed", missing)


def check_model(store: ModelStore, name: str) -> Finding:
    """A model that is served by default is here."""
    model = store.get(name)
    if model is not None and store.is_intact(model):
        return Finding("default model", "ok", f"{name} at {model.path}")
    entry = catalogue.load().find(name)
    size = "" if entry is None else f" ({entry.size_bytes / 1e6:.0f} MB)"
    state = "is not here" if model is None else "is damaged"
    advice = f"`yangfan pull {name}`{size}, or let `yangfan serve` fetch it"
    return Finding("default model", "warning", f"{name} {state}", advice)


def check_upstream(chosen: Settings, name: str) -> Finding:
    """Whether an upstream of the settings answers, asked as the server would; those of the database, `yangfan upstreams test` asks."""
    title = f"upstream {name}"
    try:
        upstream = from_settings(name, chosen.upstreams[name])
    except ConfigurationError as error:
        return Finding(title, "problem", error.message, "correct it")
    with tempfile.TemporaryDirectory() as folder:
        reason = asyncio.run(
            ask_upstream(upstream, Path(folder), chosen.egress_allow, chosen.egress_proxy)
        )
    if not reason:
        return Finding(title, "ok", f"{upstream.base_url} answers")
    return Finding(
        title,
        "warning",
        reason,
        "see that its address and key are right; whatever it serves here fails until it answers",
    )


def check_port(host: str, port: int, answer: Answer | None) -> Finding:
    """The port is free, or a server of ours has it.

    Args:
        host: Where the server would listen.
        port: On which port; 0 for any.
        answer: What answers there now.
    """
    check = f"port {port}"
    if answer is not None and answer.ours:
        if answer.healthy:
            return Finding(check, "ok", "a Yangfan server answers there")
        advice = "look at GET /healthz and at logs/server.log in its home folder"
        return Finding(
            check, "warning", "a Yangfan server answers there, but not every model does", advice
        )
    try:
        with _socket(host) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
    except OSError as error:
        detail = (
            "another program has it" if answer is not None else f"cannot be used: {error.strerror}"
        )
        return Finding(check, "problem", detail, "stop that program, or `yangfan serve --port 0`")
    return Finding(check, "ok", f"free on {host}")


def check_clock(now: datetime, server_time: datetime | None) -> Finding:
    """The clock is right enough for signatures and tokens.

    Args:
        now: This machine's time; aware.
        server_time: The time that a running server told; aware. None if there is none.
    """
    detail = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    advice = "set the clock, such as with `timedatectl set-ntp true`"
    if now.year not in PLAUSIBLE_YEARS:
        return Finding("clock", "problem", f"{detail}: that year cannot be", advice)
    if server_time is None:
        return Finding("clock", "ok", detail)
    off_seconds = abs((now - server_time).total_seconds())
    detail = f"{detail}, {off_seconds:.0f} s from the running server's"
    if off_seconds >= CLOCK_PROBLEM_SECONDS:
        return Finding("clock", "problem", f"{detail}: it refuses signatures", advice)
    if off_seconds >= CLOCK_WARNING_SECONDS:
        return Finding("clock", "warning", detail, advice)
    return Finding("clock", "ok", detail)


def running_server(home: Home) -> Answer | None:
    """What answers at the address in the home folder's `server.json`; None if there is none."""
    try:
        url = msgspec.json.decode(home.server_file.read_bytes(), type=dict[str, object])["base_url"]
        parts = urlsplit(str(url))
        return probe(parts.hostname or "", parts.port or 80)
    except (OSError, KeyError, ValueError, msgspec.MsgspecError):
        return None


def probe(host: str, port: int, timeout_seconds: float = PROBE_TIMEOUT_SECONDS) -> Answer | None:
    """Ask whoever listens at an address for its health; None if nobody does."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(reachable, port, timeout=timeout_seconds)
    try:
        connection.connect()
    except OSError:
        return None
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/healthz")
            reply = connection.getresponse()
            health = msgspec.json.decode(reply.read(65536), type=dict[str, object])
        except (OSError, http.client.HTTPException, msgspec.MsgspecError):
            return Answer(ours=False, healthy=False, time=None)
    ours = isinstance(health.get("models"), dict) and "status" in health
    return Answer(ours=ours, healthy=reply.status == 200, time=_date(reply.headers.get("Date")))


def _date(header: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(header or "")
    except ValueError:
        return None


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def _existing(path: Path) -> Path:
    """`path`, or the nearest one above it that exists and may be looked at."""
    return next(above for above in (path, *path.parents) if os.access(above, os.F_OK))


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
