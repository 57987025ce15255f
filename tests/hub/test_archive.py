"""Archives of strangers: what is in them comes out, and nothing leads out of the folder, grows without end or hides what it is."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from yangfan.errors import ConfigurationError, FetchError
from yangfan.hub.archive import MAX_MEMBERS, is_archive, unpack
from yangfan.hub.content import is_taken


def room(needed_bytes: int) -> None:
    assert needed_bytes >= 0


def ignore(done: int, total: int) -> None:
    assert done <= total


def opened(path: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    places = unpack(path, folder, wanted=is_taken, room=room, progress=ignore)
    assert {place.parent for place in places.values()} <= {folder}
    return {name: place.read_bytes() for name, place in places.items()}


def make_zip(path: Path, members: Mapping[Any, bytes], compression: int = 0) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice, which is the point
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str, bytes | Callable[[tarfile.TarInfo], None]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.partition("#")[0])
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                content(info)
                archive.addfile(info)
    return path


GOOD = {"m/config.json": b"{}", "m/weights.safetensors": b"x" * 3000, "m/code.py": b"exec()"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_what_belongs_to_a_model_comes_out(tmp_path: Path, name: str) -> None:
    make = make_zip if name == "a.zip" else make_tar
    path = make(tmp_path / name, dict(GOOD))
    assert is_archive(path)
    found = opened(path, tmp_path / "out")
    assert found == {"m/config.json": b"{}", "m/weights.safetensors": b"x" * 3000}


def test_a_file_of_weights_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"GGUF" + bytes(600))
    assert not is_archive(tmp_path / "m")


def linked(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


HOSTILE_ZIPS: dict[str, tuple[dict[str | zipfile.ZipInfo, bytes], str]] = {
    "climbs up": ({"../../evil.json": b"{}"}, "cannot be stored safely"),
    "climbs in the middle": ({"a/../../evil.json": b"{}"}, "cannot be stored safely"),
    "absolute": ({"/etc/evil.json": b"{}"}, "cannot be stored safely"),
    "a drive": ({"C:/evil.json": b"{}"}, "cannot be stored safely"),
    "a backslash": ({"..\\evil.json": b"{}"}, "cannot be stored safely"),
    "a control character": ({"a\x1b.json": b"{}"}, "cannot be stored safely"),
    "a folder that climbs": ({"../up/": b""}, "cannot be stored safely"),
    "a file that nobody wants climbs": ({"../x.exe": b""}, "cannot be stored safely"),
    "a link": ({linked("config.json"): b"/etc/passwd"}, "link or a device"),
    "one name in two cases": ({"Config.json": b"1", "config.JSON": b"2"}, "one name on some"),
    "one name in two forms": ({"é.json": b"1", "e\u0301.json": b"2"}, "one name on some"),
    "a file that is a folder": ({"a.json": b"1", "a.json/b.json": b"2"}, "file and as a folder"),
    "a bomb": ({"config.json": bytes(9_000_000)}, "bomb"),
}


@pytest.mark.parametrize("case", HOSTILE_ZIPS)
def test_a_hostile_zip_is_refused_before_anything_is_written(tmp_path: Path, case: str) -> None:
    members, reason = HOSTILE_ZIPS[case]
    path = make_zip(tmp_path / "a.zip", members, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(FetchError, match=reason):
        opened(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert {file.name for file in tmp_path.iterdir()} == {"a.zip", "out"}


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {zipfile.ZipInfo("a.json"): b"1", "a.json": b"2"})
    with pytest.raises(FetchError, match="one name"):
        opened(path, tmp_path / "out")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.json": b"{}"})
    data = path.read_bytes()
    central = data.index(b"PK\x01\x02")
    path.write_bytes(data[: central + 8] + b"\x01" + data[central + 9 :])
    with pytest.raises(FetchError, match="without a password"):
        opened(path, tmp_path / "out")


def test_a_strange_packing_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.json": b"{}"}, compression=zipfile.ZIP_LZMA)
    with pytest.raises(FetchError, match="method 14"):
        opened(path, tmp_path / "out")


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.json": b" " * 5000}, compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    central = data.index(b"PK\x01\x02")
    path.write_bytes(data[: central + 24] + struct.pack("<I", 10) + data[central + 28 :])
    with pytest.raises(FetchError, match=r"cannot be unpacked|more than|less than"):
        opened(path, tmp_path / "out")


def test_a_list_of_members_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.json": b"{}"})
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    path.write_bytes(data[: end + 12] + struct.pack("<I", 1 << 30) + data[end + 16 :])
    with pytest.raises(FetchError, match="lists its members in"):
        opened(path, tmp_path / "out")


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = make_zip(
        tmp_path / "a.zip", {f"{number}.json": b"" for number in range(MAX_MEMBERS + 1)}
    )
    with pytest.raises(FetchError, match="10001 files"):
        opened(path, tmp_path / "out")


@pytest.mark.parametrize("cut", [1, 30, 200])
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_an_archive_that_was_cut_is_refused(tmp_path: Path, name: str, cut: int) -> None:
    make = make_zip if name == "a.zip" else make_tar
    path = make(tmp_path / name, dict(GOOD))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(FetchError):
        opened(path, tmp_path / "out")


def typed(kind: bytes, target: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, target

    return change


HOSTILE_TARS: dict[str, tuple[dict[str, bytes | Callable[[tarfile.TarInfo], None]], str]] = {
    "climbs up": ({"../evil.json": b"{}"}, "cannot be stored safely"),
    "absolute": ({"/etc/evil.json": b"{}"}, "cannot be stored safely"),
    "a symbolic link": ({"a.json": typed(tarfile.SYMTYPE, "/etc/passwd")}, "link or a device"),
    "a hard link": ({"a.json": typed(tarfile.LNKTYPE, "/etc/passwd")}, "link or a device"),
    "a device": ({"a.json": typed(tarfile.CHRTYPE)}, "link or a device"),
    "a pipe": ({"a.json": typed(tarfile.FIFOTYPE)}, "link or a device"),
    "a link, then a file through it": (
        {"a": typed(tarfile.SYMTYPE, "/tmp"), "a/b.json": b"{}"},
        "link or a device",
    ),
    "a name twice": ({"a.json": b"1", "a.json#again": b"2"}, "one name"),
    "a folder that climbs": ({"../up": typed(tarfile.DIRTYPE)}, "cannot be stored safely"),
}


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_a_hostile_tar_is_refused_before_anything_is_written(
    tmp_path: Path, case: str, ending: str
) -> None:
    members, reason = HOSTILE_TARS[case]
    path = make_tar(tmp_path / f"a{ending}", members)
    with pytest.raises(FetchError, match=reason):
        opened(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tar_bomb_is_refused(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar.gz", {"a.json": bytes(40_000_000)})
    assert path.stat().st_size < 50_000
    with pytest.raises(FetchError, match="bomb"):
        opened(path, tmp_path / "out")


def test_extended_attributes_without_end_are_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 8 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(FetchError, match="header of 8589934592 bytes"):
        opened(path, tmp_path / "out")


def test_noise_behind_the_sign_of_an_archive_is_refused(tmp_path: Path) -> None:
    for name, content in {
        "a.zip": b"PK\x03\x04" + bytes(100),
        "a.tar.gz": b"\x1f\x8b" + bytes(100),
        "b.tar.gz": gzip.compress(b"no tar at all" * 100),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FetchError):
            opened(tmp_path / name, tmp_path / f"out-{name}")


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", dict(GOOD))
    (tmp_path / "out").mkdir()

    def none(needed_bytes: int) -> None:
        raise ConfigurationError(f"no space for {needed_bytes}")

    with pytest.raises(ConfigurationError, match="no space for 3002"):
        unpack(path, tmp_path / "out", wanted=is_taken, room=none, progress=ignore)
    assert list((tmp_path / "out").iterdir()) == []


def test_whoever_is_told_can_end_it(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        raise Stop

    path = make_zip(tmp_path / "a.zip", dict(GOOD))
    (tmp_path / "out").mkdir()
    with pytest.raises(Stop):
        unpack(path, tmp_path / "out", wanted=is_taken, room=room, progress=stop)
