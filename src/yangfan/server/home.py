"""The home folder: where everything that lasts is kept, and the lock that keeps a second server out."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Below this a start is refused: a database that cannot commit helps nobody."""


class Home:
    """Paths inside the home folder.

    Args:
        path: The folder; `prepare` makes it.
        min_free_bytes: Room that its disk must have left.
    """

    def __init__(self, path: Path, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        self.path = path
        self._min_free_bytes = min_free_bytes

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "yangfan.db"

    @property
    def master_key(self) -> Path:
        """The key under which secrets are hashed and sealed; keep it with the database."""
        return self.path / "secret.key"

    @property
    def server_file(self) -> Path:
        """Address and credentials of the server that runs now, for the command line on this machine."""
        return self.path / "server.json"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / "logs" / "server.log"

    @property
    def request_log(self) -> Path:
        """One line for each call."""
        return self.path / "logs" / "requests.log"

    @property
    def usage(self) -> Path:
        """Usage that is not in the database yet; keep it with the database."""
        return self.path / "usage"

    @property
    def files(self) -> Path:
        """Files that callers sent, by what they hold."""
        return self.path / "files"

    @property
    def datasets(self) -> Path:
        """Rows and pictures of datasets, by what they hold."""
        return self.path / "datasets"

    @property
    def batches(self) -> Path:
        """Results of batches that are not finished."""
        return self.path / "batches"

    @property
    def knowledge(self) -> Path:
        """Contents of the documents of knowledge bases."""
        return self.path / "knowledge"

    @property
    def evaluations(self) -> Path:
        """Answers and scores of evaluations."""
        return self.path / "evaluations"

    @property
    def processing(self) -> Path:
        """Which rows cleanings dropped or changed, and why."""
        return self.path / "processing"

    @property
    def operators(self) -> Path:
        """Cleaning operators of your own, one file each."""
        return self.path / "operators"

    @property
    def pictures(self) -> Path:
        """Pictures that answers name by URL, for a day."""
        return self.path / "pictures"

    @property
    def uploads(self) -> Path:
        """Files of models on their way into the store."""
        return self.path / "uploads"

    @property
    def exports(self) -> Path:
        """What was exported without saying where to."""
        return self.path / "exports"

    @property
    def dataset_files(self) -> Path:
        """Exports of datasets and rows that imports refused, under names that nobody can guess, for a week."""
        return self.path / "dataset-files"

    @property
    def tuning(self) -> Path:
        """What tuning runs write: a folder each, with checkpoints, metrics and a report."""
        return self.path / "tuning"

    @property
    def backups(self) -> Path:
        """Copies of the database as it was before an upgrade."""
        return self.path / "backups"

    @property
    def jobs(self) -> Path:
        """Scratch folders of the jobs that workers on this machine have at hand."""
        return self.path / "jobs"

    def instance(self) -> str:
        """Name of the server of this folder among those that share a database; made at the first call, then kept.

        Raises:
            ConfigurationError: It cannot be written.
        """
        path = self.path / "instance"
        try:
            if not path.exists():
                temporary = path.with_name(f".instance.{os.getpid()}")
                temporary.write_text(uuid.uuid4().hex, "ascii")
                temporary.replace(path)
            return path.read_text("ascii").strip()
        except OSError as error:
            raise ConfigurationError(f"cannot use {path}: {error.strerror}") from None

    def engine(self, name: str) -> Path:
        """Working folder of an engine."""
        return self.path / "engines" / name

    def prepare(self) -> None:
        """Make the folder, private to its owner, and check that there is room.

        Raises:
            ConfigurationError: It cannot be made or written, or the disk is full.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.log.parent.mkdir(exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"1")
            probe.unlink()
            free_bytes = shutil.disk_usage(self.path).free
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to the home folder {self.path}: {error.strerror}; choose another with --home DIR"
            ) from None
        if free_bytes < self._min_free_bytes:
            raise ConfigurationError(
                f"only {free_bytes // 2**20} MiB free at {self.path}, {self._min_free_bytes // 2**20} needed;"
                " free some space or choose another disk with --home DIR"
            )

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder for this process; the lock ends with the process, however that ends.

        Raises:
            ConfigurationError: Another server holds it.
        """
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise ConfigurationError(
                    f"another server (pid {file.read().strip() or 'unknown'}) uses {self.path}; stop it or choose another --home"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
