"""From what came to what is read: formats by name and content, archives with their members, and what is refused of them."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import pytest

from yangfan.datasets.fetching import File
from yangfan.datasets.parts import Part, Skipped, format_of, open_part, parts_of
from yangfan.datasets.readers.base import Options
from yangfan.errors import ConfigurationError, FetchError

ROW = b'{"prompt": "hi"}\n'
PICTURE = b"\x89PNG not really"


def tell(done: float, total: float | None, unit: str, note: str) -> None:
    assert done <= (total or done)


def put(folder: Path, name: str, content: bytes) -> File:
    path = folder / f"file-{name.replace('/', '-')}"
    path.write_bytes(content)
    return File(name, path)


def packed(folder: Path, members: dict[str, bytes], name: str = "a.zip") -> File:
    path = folder / name
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for member, content in members.items():
            archive.writestr(member, content)
    return File(name, path)


def parts(
    file: File, folder: Path, *, wanted: str | None = None, with_pictures: bool = False
) -> tuple[list[Part], list[Skipped]]:
    return parts_of([file], folder, wanted=wanted, with_pictures=with_pictures, tell=tell)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.jsonl", ROW, "jsonl"),
        ("A.CSV", b"a,b\n", "csv"),
        ("a.tab", b"a\tb\n", "tsv"),
        ("a.txt", b"text", "txt"),
        ("download", ROW, "json"),
        ("download", b"PAR1...", "parquet"),
        ("a.jsonl", b"PAR1...", "parquet"),
        ("share", b"PK\x05\x06" + b"\0" * 18, "archive"),
    ],
)
def test_the_format_follows_from_content_and_name(
    name: str, content: bytes, found: str, tmp_path: Path
) -> None:
    assert format_of(put(tmp_path, name, content), None) == found


def test_a_format_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    file = put(tmp_path, "download", b"prompt,response\n")
    with pytest.raises(ConfigurationError, match=r"cannot be told.*csv, json, jsonl, parquet"):
        format_of(file, None)
    assert format_of(file, "csv") == "csv"
    with pytest.raises(ConfigurationError, match="not what its name says"):
        format_of(put(tmp_path, "a.parquet", b"no such"), None)
    with pytest.raises(ConfigurationError, match="packed by gzip: unpack it"):
        format_of(put(tmp_path, "a.jsonl.gz", b"\x1f\x8b\x08"), None)


def test_members_are_read_in_the_order_of_their_names_and_others_are_told_of(
    tmp_path: Path,
) -> None:
    members = {
        "b/two.jsonl": ROW,
        "a/one.csv": b"prompt\nhi\n",
        "__MACOSX/._one.csv": b"x",
        ".DS_Store": b"x",
        "read.me": b"x",
        "inner.zip": b"PK\x05\x06",
        "picture.png": PICTURE,
    }
    found, skipped = parts(packed(tmp_path, members), tmp_path)
    assert [(part.name, part.format) for part in found] == [
        ("a.zip/a/one.csv", "csv"),
        ("a.zip/b/two.jsonl", "jsonl"),
    ]
    assert found[1].path.read_bytes() == ROW
    assert {item.name for item in skipped} == {"read.me", "inner.zip", "picture.png"}
    assert "archive within an archive" in next(
        item.reason for item in skipped if item.name == "inner.zip"
    )


def test_what_was_unpacked_is_not_unpacked_again(tmp_path: Path) -> None:
    file = packed(tmp_path, {"one.jsonl": ROW})
    first, _ = parts(file, tmp_path)
    file.path.write_bytes(b"PK\x05\x06 gone")
    again, _ = parts(file, tmp_path)
    assert again == first


def test_an_archive_that_was_half_unpacked_is_unpacked_anew(tmp_path: Path) -> None:
    (tmp_path / "members-0").mkdir()
    (tmp_path / "members-0" / "0").write_bytes(b"half")
    found, _ = parts(packed(tmp_path, {"one.jsonl": ROW}), tmp_path)
    assert found[0].path.read_bytes() == ROW


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../up.jsonl": ROW}, r"\.\."),
        ({"/root.jsonl": ROW}, "root"),
        ({"a.jsonl": ROW, "A.jsonl": ROW}, "one name on some systems"),
        ({"bomb.jsonl": b"0" * 50_000_000}, "refused as a bomb"),
    ],
)
def test_archives_that_mean_harm_are_refused(
    members: dict[str, bytes], said: str, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=said):
        parts(packed(tmp_path, members), tmp_path)


def test_links_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.jsonl")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(FetchError, match="link or a device"):
        parts(File("a.zip", tmp_path / "a.zip"), tmp_path)


def test_nothing_to_read_says_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing to read.*inner\.zip"):
        parts(packed(tmp_path, {"inner.zip": b"PK"}), tmp_path)


def test_pictures_are_rows_with_what_stands_beside_them(tmp_path: Path) -> None:
    members = {
        "p/cat.png": PICTURE,
        "p/cat.json": json.dumps([{"annotations": "a cat"}]).encode(),
        "p/dog.JPG": PICTURE,
        "p/fox.png": PICTURE,
        "p/fox.json": b"{no json",
    }
    (part,), skipped = parts(packed(tmp_path, members), tmp_path, with_pictures=True)
    assert skipped == []
    (batch,) = open_part(part, Options(), tmp_path).batches({})
    assert batch.rows == [
        {"annotations": "a cat", "image": "p/cat.png"},
        {"image": "p/dog.JPG"},
    ]
    assert batch.numbers == [1, 2]
    (flaw,) = batch.flaws
    assert flaw.number == 3
    assert "p/fox.png" in flaw.reason
    assert list(open_part(part, Options(), tmp_path).batches(batch.place)) == []


def test_pictures_beside_rows_belong_to_them(tmp_path: Path) -> None:
    members = {"rows.jsonl": b'{"image": "p/cat.png"}\n', "p/cat.png": PICTURE}
    (part,), _ = parts(packed(tmp_path, members), tmp_path, with_pictures=True)
    assert part.format == "jsonl"
    assert Path(part.pictures["p/cat.png"].path).read_bytes() == PICTURE
