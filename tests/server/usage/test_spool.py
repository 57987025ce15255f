"""The spool: what is read after a crash is a beginning of what was written, however the file was torn."""

from __future__ import annotations

from pathlib import Path

import pytest

from yangfan.server.usage.spool import Spool, read_records

TEXTS = [b'[1,"a","echo",1,2,3]', b"", "密钥".encode(), b"\x00" * 5, b'["\\n"]']


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    opened = Spool(tmp_path / "usage", segment_bytes=4096)
    opened.open(1)
    return opened


def file_of(folder: Path, number: int = 1) -> Path:
    return folder / "usage" / f"usage-{number:010d}.log"


def test_records_are_read_back_in_order_while_the_file_is_open(spool: Spool):
    for text in TEXTS:
        spool.append(text)
    assert list(spool.read(1)) == TEXTS
    spool.close()


def test_file_torn_at_any_byte_reads_as_a_beginning(spool: Spool, tmp_path: Path):
    for text in TEXTS:
        spool.append(text)
    spool.close()
    data = file_of(tmp_path).read_bytes()
    size = len(data.rstrip(b"\x00"))
    counts: list[int] = []
    for end in range(size + 1):
        for torn in (data[:end], data[:end] + bytes(len(data) - end)):
            read = list(read_records(torn))
            assert read == TEXTS[: len(read)]
            counts.append(len(read))
    assert counts == sorted(counts)
    assert counts[-1] == len(TEXTS)


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_changed_byte_ends_the_reading_before_its_record(spool: Spool, tmp_path: Path, bit: int):
    for text in TEXTS[:3]:
        spool.append(text)
    spool.close()
    data = bytearray(file_of(tmp_path).read_bytes().rstrip(b"\x00"))
    for position in range(len(data)):
        data[position] ^= bit
        read = list(read_records(bytes(data)))
        assert read == TEXTS[: len(read)]
        assert len(read) < 3
        data[position] ^= bit


def test_full_segment_is_followed_by_another(spool: Spool):
    texts = [f"{number:0200d}".encode() for number in range(50)]
    for text in texts:
        spool.append(text)
    assert len(spool.segments()) > 1
    assert [text for number in spool.segments() for text in spool.read(number)] == texts
    spool.sync()
    assert spool.rotate() == spool.segments()[-2]
    spool.forget(spool.segments()[-2])
    assert len(spool.segments()) == 1
    spool.close()


def test_segment_has_its_room_on_the_disk_before_it_is_written(spool: Spool, tmp_path: Path):
    assert file_of(tmp_path).stat().st_blocks * 512 >= 4096
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600
    spool.close()


def test_segment_that_cannot_be_opened_leaves_the_old_one_in_use(spool: Spool, tmp_path: Path):
    spool.append(b"one")
    file_of(tmp_path, 2).mkdir()
    with pytest.raises(OSError, match="exists"):
        spool.rotate()
    spool.append(b"two")
    assert list(spool.read(1)) == [b"one", b"two"]
    spool.close()
