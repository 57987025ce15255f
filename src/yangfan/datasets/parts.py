"""From the files that came to what can be read: the format of each, and the members of archives.

An archive of a stranger goes through `yangfan.hub.archive`, which refuses links, devices, names that climb up and bombs, and
writes members under numbers. An archive within an archive is refused. Members that are no data are skipped, and told of.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from yangfan import extensions
from yangfan.datasets.readers.base import MAX_ROW_BYTES, ROWS, Batch, Flaw
from yangfan.errors import ConfigurationError
from yangfan.hub import archive
from yangfan.hub.disk import require_free, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

    from yangfan.datasets.fetching import File, Tell
    from yangfan.datasets.readers.base import Options, Place, Reader

READERS: Final = "yangfan.datasets.readers"
MAX_MEMBERS: Final = 200_000
"""Most files in an archive: pictures come with a file of annotations each."""
PICTURES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")

_NESTED: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_NO_DATA: Final = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


class Picture(NamedTuple):
    """A picture of an archive: its name, where it is, and where its annotation is, "" for nowhere."""

    name: str
    path: str
    annotation: str = ""


class Part(NamedTuple):
    """Something that one reader reads.

    Attributes:
        name: As people call it: of an archive's member, ``archive.zip/member.jsonl``.
        path: Where it is; nowhere if the pictures are the rows.
        format: Name of its reader; ``images`` if the pictures are the rows.
        member: Name within the archive; "" for no archive.
        pictures: Those of the same archive, by name.
    """

    name: str
    path: Path
    format: str
    member: str
    pictures: Mapping[str, Picture]


class Skipped(NamedTuple):
    """A file that is no data, and why."""

    name: str
    reason: str


@functools.cache  # looking for entry points takes longer than reading a small file
def formats() -> dict[str, tuple[str, ...]]:
    """Every format that is read here, with the endings of its files' names."""
    return {name: _module(name).SUFFIXES for name in extensions.names(READERS)}


@functools.cache
def _module(name: str) -> ModuleType:
    return extensions.load(READERS, name)


def by_name(name: str) -> str | None:
    """The format that a file's name says, if any."""
    lower = name.lower()
    for found, suffixes in formats().items():
        if lower.endswith(suffixes):
            return found
    return None


def format_of(file: File, wanted: str | None) -> str:
    """The format of a file: the one asked for, or what its content says, or its name.

    Raises:
        ConfigurationError: None of them is known; the message lists those that are.
    """
    with file.path.open("rb") as opened:
        head = opened.read(4096)
    if head.startswith(b"PK\x03\x04") and b"[Content_Types].xml" in head[:2048]:
        found = "xlsx"
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or head[257:262] == b"ustar":
        found = "xlsx" if file.name.lower().endswith(".xlsx") else "archive"
    elif head.startswith(b"PAR1"):
        found = "parquet"
    elif head.startswith(b"\x1f\x8b"):
        found = "archive" if file.name.lower().endswith((".tar.gz", ".tgz")) else "gzip"
    else:
        found = wanted or by_name(file.name) or _by_look(head)
    if found == "gzip":
        raise ConfigurationError(
            f"{file.name[:200]} is packed by gzip: unpack it, or make a zip of it"
        )
    if found == "archive":
        return found
    known = formats()
    if found in known and (
        found not in {"xlsx", "parquet"} or head[:2] == b"PK" or head[:4] == b"PAR1"
    ):
        return found
    raise ConfigurationError(
        f"the format of {file.name[:200]} cannot be told, or is not what its name says: say which of {', '.join(known)}, or send a zip of such files"
    )


def _by_look(head: bytes) -> str:
    """What a file without a telling name may be: JSON shows itself."""
    return "json" if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["} else ""


def parts_of(
    files: Sequence[File],
    folder: Path,
    *,
    wanted: str | None,
    with_pictures: bool,
    tell: Tell,
) -> tuple[list[Part], list[Skipped]]:
    """What is to be read, in order.

    Args:
        files: What came.
        folder: Existing folder for the members of archives, kept from attempt to attempt; what was unpacked whole is not unpacked again.
        wanted: The format of files whose name does not say it; None for none.
        with_pictures: Whether pictures of archives are rows.
        tell: Told the bytes unpacked.

    Raises:
        ConfigurationError: There is nothing to read; the message says why.
        FetchError: An archive is damaged or must not be unpacked.
    """
    parts: list[Part] = []
    skipped: list[Skipped] = []
    for number, file in enumerate(files):
        kind = format_of(file, wanted)
        if kind != "archive":
            parts.append(Part(file.name, file.path, kind, "", {}))
            continue
        members = _unpacked(file, folder / f"members-{number}", tell)
        found, left = _of_members(file.name, members, wanted, with_pictures=with_pictures)
        parts += found
        skipped += left
    if not parts:
        there = "; ".join(f"{item.name[:100]}: {item.reason}" for item in skipped[:5])
        raise ConfigurationError(f"there is nothing to read in it ({there or 'it is empty'})")
    return parts, skipped


def _unpacked(file: File, folder: Path, tell: Tell) -> dict[str, str]:
    """Where each member is, by its name; from an earlier attempt if that got to the end."""
    index = folder.with_suffix(".json")
    if index.exists():
        return msgspec.json.decode(index.read_bytes(), type=dict[str, str])
    if folder.exists():
        for left in folder.iterdir():
            left.unlink()
    folder.mkdir(exist_ok=True)
    places = archive.unpack(
        file.path,
        folder,
        wanted=lambda name: not _is_no_data(name),
        room=lambda needed: require_free(folder, needed),
        progress=lambda done, total: tell(done, total, "bytes", f"unpacking {file.name[:80]}"),
        max_members=MAX_MEMBERS,
    )
    members = {name: str(place) for name, place in sorted(places.items())}
    write_atomically(index, msgspec.json.encode(members))
    return members


def _is_no_data(name: str) -> bool:
    base = name.rpartition("/")[2]
    return name.startswith(_NO_DATA[0]) or base in _NO_DATA or base.startswith("._")


def _of_members(
    archive_name: str, members: Mapping[str, str], wanted: str | None, *, with_pictures: bool
) -> tuple[list[Part], list[Skipped]]:
    parts: list[Part] = []
    skipped: list[Skipped] = []
    pictures: dict[str, Picture] = {}
    if with_pictures:
        for name, path in members.items():
            if name.lower().endswith(PICTURES):
                annotation = members.get(annotation_name(name), "")
                pictures[name] = Picture(name, path, annotation)
    beside = {annotation_name(name) for name in pictures}
    for name, path in members.items():
        if name in pictures or name in beside:
            continue
        if name.lower().endswith(_NESTED):
            skipped.append(Skipped(name, "an archive within an archive is not unpacked"))
        elif (kind := by_name(name) or wanted) is not None:
            parts.append(Part(f"{archive_name}/{name}", Path(path), kind, name, pictures))
        else:
            skipped.append(Skipped(name, "no format that is read here"))
    if pictures and not parts:
        parts.append(Part(archive_name, Path(), "images", "", pictures))
    return parts, skipped


def annotation_name(picture: str) -> str:
    """Name of the file that says what a picture shows: the same, but for its ending."""
    return f"{picture.rpartition('.')[0]}.json"


def open_part(part: Part, options: Options, scratch: Path) -> Reader:
    """The reader of a part.

    Raises:
        ConfigurationError: It cannot be read at all.
    """
    if part.format == "images":
        return Pictures(tuple(part.pictures.values()))
    return _module(part.format).open(part.path, options, scratch)


class Pictures:
    """A row for each picture of an archive, with what the file beside it says: ``[{"annotations": "…"}]``."""

    is_table = False

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures
        self.total_bytes = len(pictures)

    def batches(self, place: Place) -> Iterator[Batch]:
        """Batches of pictures, in the order of their names."""
        for first in range(place.get("row", 0), len(self._pictures), ROWS):
            batch = Batch()
            for number, picture in enumerate(self._pictures[first : first + ROWS], first + 1):
                try:
                    batch.rows.append({**_annotation(picture.annotation), "image": picture.name})
                    batch.numbers.append(number)
                except ValueError as error:
                    reason = f"the annotation of {picture.name[:200]} cannot be read: {error}"
                    batch.flaws.append(Flaw(number, reason, picture.name))
            batch.place = {"row": first + len(batch)}
            batch.done_bytes = first + len(batch)
            yield batch


def _annotation(path: str) -> dict[str, Any]:
    """What a file of annotations says; {} where there is none. Raises ValueError."""
    if not path:
        return {}
    with Path(path).open("rb") as file:
        content = file.read(MAX_ROW_BYTES + 1)
    if len(content) > MAX_ROW_BYTES:
        raise ValueError(f"it has more than {MAX_ROW_BYTES} bytes")
    try:
        said: Any = msgspec.json.decode(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(said, list) and said:
        said = cast("list[Any]", said)[0]
    if isinstance(said, str):
        return {"annotations": said}
    if not isinstance(said, dict):
        raise ValueError('it is not of the form [{"annotations": "…"}]')  # noqa: TRY004 -- a fault of the file
    return cast("dict[str, Any]", said)
