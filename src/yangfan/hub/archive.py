"""Zip and tar archives of strangers: every member checked before a byte is written, and none written under its own name.

Refused with a reason: links, devices, encrypted members, names that are absolute, climb up, or equal another one but for the
spelling, and bombs (too many members, too much from too little, headers larger than any name). Members that are no part of
a model are left where they are. Nothing calls ``extractall``.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

from yangfan.errors import FetchError
from yangfan.hub.content import require_safe_path
from yangfan.hub.disk import full_disk_said_clearly

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from typing import IO

ENDINGS: Final = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS: Final = 10_000
MAX_TOTAL_BYTES: Final = 1024**4
MAX_RATIO: Final = 200
"""Most bytes that one compressed byte may become; deflate's own limit is 1032, weights stay below 3."""
MAX_DIRECTORY_BYTES: Final = 16 * 1024 * 1024
"""Largest list of members of a zip archive."""
MAX_TAR_HEADER_BYTES: Final = 1024 * 1024
"""Largest record of extended attributes in a tar archive; a name has 512 characters at most."""
CHUNK_BYTES: Final = 1024 * 1024

_BROKEN: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    struct.error,
    ValueError,
    OverflowError,
)
"""What the standard library raises for archives that are damaged, or that lie about themselves."""


class Member(NamedTuple):
    """One ordinary file in an archive.

    Attributes:
        path: Its name there.
        size_bytes: Unpacked, as the archive says.
    """

    path: str
    size_bytes: int


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or tar archive, by its content."""
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")) or head[257:262] == b"ustar"


def unpack(
    archive: Path,
    folder: Path,
    *,
    wanted: Callable[[str], bool],
    room: Callable[[int], None],
    progress: Callable[[int, int], None],
    max_members: int = MAX_MEMBERS,
) -> dict[str, Path]:
    """Write the wanted members into a folder, each under a number, and return where each is, by its name in the archive.

    Args:
        archive: The file.
        folder: An existing, empty folder.
        wanted: Whether to take the member of a name; the others are checked, too.
        room: Told the bytes to come before the first one is written; raises if there is no room.
        progress: Told the bytes written, and all that will be; whatever it raises ends the work.
        max_members: Most files that it may hold.

    Raises:
        FetchError: The archive is damaged or no archive, or a member must not be unpacked; the message says which and why.
        ConfigurationError: The disk is full.
    """
    try:
        with full_disk_said_clearly(folder):
            return _unpack(archive, folder, wanted, room, progress, max_members)
    except _BROKEN as error:
        raise FetchError(f"{archive.name} cannot be unpacked: {error}; make it again") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A list of members that names places which cannot be in any file.
        raise FetchError(
            f"{archive.name} cannot be unpacked: it is damaged; make it again"
        ) from error


def _unpack(
    archive: Path,
    folder: Path,
    wanted: Callable[[str], bool],
    room: Callable[[int], None],
    progress: Callable[[int, int], None],
    max_members: int,
) -> dict[str, Path]:
    if _is_zip(archive):
        with _open_zip(archive) as opened:
            members = list(_zip_members(opened, max_members))
            _require_distinct(member.path for member in members)
            chosen = [member for member in members if wanted(member.path)]
            total = _total(members, chosen, room)
            return _write(chosen, folder, total, lambda member: opened.open(member.path), progress)
    with _open_tar(archive) as opened:
        # One pass to know all names before anything is written, a second one to write: a stream tells its names as it goes.
        members = [
            Member(info.name.removeprefix("./"), info.size)
            for info in _tar_infos(opened, max_members)
        ]
        opened.read_to_the_end()
    _require_distinct(member.path for member in members)
    chosen = [member for member in members if wanted(member.path)]
    total = _total(members, chosen, room)
    with _open_tar(archive) as opened:
        infos = {info.name.removeprefix("./"): info for info in _tar_infos(opened, max_members)}
        return _write(
            chosen, folder, total, lambda member: _tar_stream(opened, infos, member), progress
        )


def _write(
    chosen: list[Member],
    folder: Path,
    total_bytes: int,
    open_member: Callable[[Member], IO[bytes]],
    progress: Callable[[int, int], None],
) -> dict[str, Path]:
    places: dict[str, Path] = {}
    done = 0
    for number, member in enumerate(chosen):
        place = folder / str(number)
        with open_member(member) as stream, place.open("xb") as out:
            while chunk := stream.read(CHUNK_BYTES):
                out.write(chunk)
                done += len(chunk)
                if out.tell() > member.size_bytes:
                    raise FetchError(
                        f"{member.path[:200]!r} unpacks to more than the archive says: refused"
                    )
                progress(done, total_bytes)
            if out.tell() != member.size_bytes:
                raise FetchError(
                    f"{member.path[:200]!r} unpacks to less than the archive says: refused"
                )
        places[member.path] = place
    return places


def _total(members: list[Member], chosen: list[Member], room: Callable[[int], None]) -> int:
    everything = sum(member.size_bytes for member in members)
    if everything > MAX_TOTAL_BYTES:
        raise FetchError(
            f"the archive unpacks to {everything} bytes, {MAX_TOTAL_BYTES} are allowed: refused"
        )
    total = sum(member.size_bytes for member in chosen)
    room(total)
    return total


def _require_distinct(paths: Iterator[str]) -> None:
    """Names that one file system or another takes for the same are refused, and files that are folders of others."""
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for path in paths:
        require_safe_path(path)
        folded = unicodedata.normalize("NFC", path).casefold()
        if folded in seen:
            raise FetchError(
                f"the archive holds {seen[folded][:200]!r} and {path[:200]!r}, which are one name on some systems: refused"
            )
        seen[folded] = path
        parts = folded.split("/")
        folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
    for folded, path in seen.items():
        if folded in folders:
            raise FetchError(f"the archive holds {path[:200]!r} as a file and as a folder: refused")


# zip --------------------------------------------------------------------------------------------------


def _is_zip(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(4) in {b"PK\x03\x04", b"PK\x05\x06"}


def _open_zip(archive: Path) -> zipfile.ZipFile:
    with archive.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, size_bytes - 65_557 - 76))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise FetchError(
            f"{archive.name} is no whole zip archive: it has no list of its members; get it again"
        )
    (listed,) = struct.unpack_from("<I", tail, end + 12)
    sixty_four = tail.rfind(b"PK\x06\x06", 0, end)
    if listed == 0xFFFFFFFF and sixty_four >= 0:
        (listed,) = struct.unpack_from("<Q", tail, sixty_four + 40)
    if listed > MAX_DIRECTORY_BYTES:
        raise FetchError(
            f"{archive.name} lists its members in {listed} bytes, {MAX_DIRECTORY_BYTES} are allowed: refused"
        )
    return zipfile.ZipFile(archive)


def _zip_members(opened: zipfile.ZipFile, max_members: int) -> Iterator[Member]:
    infos = opened.infolist()
    if len(infos) > max_members:
        raise FetchError(
            f"the archive holds {len(infos)} files, {max_members} are allowed: refused"
        )
    for info in infos:
        name = info.filename
        # zipfile cuts names at a zero byte and turns some separators; what was really written counts.
        if info.orig_filename != name:
            raise FetchError(f"the archive names a file {info.orig_filename[:200]!r}: refused")
        if info.is_dir():
            require_safe_path(name.rstrip("/"))
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in {0, stat.S_IFREG}:
            raise FetchError(
                f"{name[:200]!r} is a link or a device: refused; put the real file into the archive"
            )
        if info.flag_bits & 0x41:
            raise FetchError(f"{name[:200]!r} is encrypted; make the archive without a password")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise FetchError(
                f"{name[:200]!r} is packed by method {info.compress_type}; use deflate, or store it"
            )
        if info.file_size > MAX_RATIO * max(info.compress_size, 1024):
            raise FetchError(
                f"{name[:200]!r} unpacks from {info.compress_size} to {info.file_size} bytes: refused as a bomb"
            )
        yield Member(name, info.file_size)


# tar --------------------------------------------------------------------------------------------------


class _Capped:
    """The unpacked stream of a tar archive, which hands out no more at once and in all than a model needs."""

    def __init__(self, file: BinaryIO, limit_bytes: int) -> None:
        self._file = file
        self._limit_bytes = limit_bytes

    def read(self, count: int = -1) -> bytes:
        # tarfile reads extended attributes whole, however long they claim to be.
        if not 0 <= count <= MAX_TAR_HEADER_BYTES:
            raise FetchError(f"the archive has a header of {count} bytes: refused as a bomb")
        self._require(self._file.tell() + count)
        return self._file.read(count)

    def seek(self, position: int, whence: int = 0) -> int:
        if whence == os.SEEK_SET:
            self._require(position)
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def _require(self, position: int) -> None:
        if position > self._limit_bytes + 2 * CHUNK_BYTES:
            raise FetchError(
                f"the archive unpacks to more than {self._limit_bytes} bytes: refused as a bomb"
            )


@contextlib.contextmanager
def _open_tar(archive: Path) -> Generator[_Tar]:
    with contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(archive.open("rb"))
        size_bytes = archive.stat().st_size
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        limit = min(MAX_TOTAL_BYTES, size_bytes * (MAX_RATIO if is_packed else 1) + CHUNK_BYTES)
        if is_packed:
            unpacking = stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb"))
            file = cast("BinaryIO", unpacking)
        yield _Tar(fileobj=cast("BinaryIO", _Capped(file, limit)), mode="r")


class _Tar(tarfile.TarFile):
    """Nothing but its members is closed with it: what it reads from is somebody else's."""

    def read_to_the_end(self) -> None:
        """Have the checksum behind a compressed stream compared; tarfile stops where the last member ends."""
        assert self.fileobj is not None
        while self.fileobj.read(CHUNK_BYTES):
            pass


def _tar_infos(opened: tarfile.TarFile, max_members: int) -> Iterator[tarfile.TarInfo]:
    count = 0
    for info in opened:
        count += 1
        if count > max_members:
            raise FetchError(f"the archive holds more than {max_members} files: refused")
        name = info.name.removeprefix("./")
        if info.isdir():
            if name not in {".", ""}:
                require_safe_path(name.rstrip("/"))
            continue
        if info.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or info.issparse():
            raise FetchError(
                f"{name[:200]!r} is a link or a device: refused; put the real file into the archive"
            )
        if info.size < 0:
            raise FetchError(f"{name[:200]!r} has a size of {info.size} bytes: refused")
        yield info


def _tar_stream(
    opened: tarfile.TarFile, infos: dict[str, tarfile.TarInfo], member: Member
) -> IO[bytes]:
    stream = opened.extractfile(infos[member.path])
    assert stream is not None, "only ordinary files are members"
    return stream
