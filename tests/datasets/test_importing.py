"""Rows into shards: nothing lost, everything told, and the same whoever was killed in between."""

from __future__ import annotations

import asyncio
import json
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.hub.s3_server import Store
from tests.hub.s3_server import serving as storing

from yangfan.datasets import importing
from yangfan.datasets.exporting import Exported, ExportOrder, export
from yangfan.datasets.formats import DataFormat, render
from yangfan.datasets.importing import Imported, ImportOrder, Refused, gather, read
from yangfan.datasets.manifest import Manifest
from yangfan.datasets.readers.base import Options
from yangfan.datasets.shards import BlobFolder, read_rows
from yangfan.egress import Egress
from yangfan.errors import ConfigurationError
from yangfan.hub.sources.base import HubSettings

PICTURE = b"\x89PNG\r\n\x1a\n not really"


class Killed(BaseException):
    """In place of kill -9."""


class Bench:
    """A folder of blobs and jobs in it."""

    def __init__(self, folder: Path, **hub: Any) -> None:
        self.folder = folder
        self.blobs = BlobFolder(folder / "blobs")
        self.hub = HubSettings(**hub)
        self.egress = Egress(allow=("127.0.0.1",))
        self.saved: dict[str, Any] = {}
        self.saves = 0
        self.tells = 0
        self.kill_at = -1

    def save(self, state: Mapping[str, Any]) -> None:
        self.saved = json.loads(json.dumps(state))
        self.saves += 1

    def tell(self, done: float, total: float | None, unit: str, note: str) -> None:
        assert 0 <= done <= (total or done) + 1
        self.tells += 1
        if self.tells == self.kill_at:
            raise Killed

    def run(
        self, *sources: Path | str, data_format: str = "PromptResponse", **order: Any
    ) -> Imported:
        options = order.pop("options", Options())
        given = ImportOrder(
            sources=tuple(f"file:{item}" if isinstance(item, Path) else item for item in sources),
            data_format=data_format,
            row_prefix="i1",
            options=options,
            **order,
        )
        state = gather(
            given,
            self.folder / "job",
            egress=self.egress,
            settings=self.hub,
            state=self.saved,
            save=self.save,
            tell=self.tell,
        )
        return read(
            given,
            self.folder / "job",
            blobs=self.blobs,
            refused=self.folder / "refused.jsonl",
            state=state,
            save=self.save,
            tell=self.tell,
        )

    def rows(self, manifest: Manifest) -> list[Any]:
        return [render(manifest.format, row.sample) for row in read_rows(self.blobs, manifest)]

    def export(self, manifest: Manifest, name: str, **order: Any) -> Exported:
        return export(
            ExportOrder(manifest=manifest, **order),
            self.folder / f"job-{name}",
            self.folder / name,
            blobs=self.blobs,
            state=self.saved,
            save=self.save,
            tell=self.tell,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def put(folder: Path, name: str, content: bytes | str) -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def turn(prompt: str, response: str) -> list[dict[str, Any]]:
    return [{"prompt": prompt, "response": [[response]]}]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def refused_of(bench: Bench) -> list[Refused]:
    text = (bench.folder / "refused.jsonl").read_text()
    return [Refused(**json.loads(line)) for line in text.splitlines()]


def test_bad_rows_are_counted_and_kept_with_line_and_reason(bench: Bench, tmp_path: Path) -> None:
    text = lines(turn("a", "b")) + "no json\n" + lines({"other": 1}, turn("c", "d"))
    found = bench.run(put(tmp_path, "a.jsonl", text))
    assert (found.rows, found.bad_rows) == (2, 2)
    assert bench.rows(found.manifest) == [turn("a", "b"), turn("c", "d")]
    assert [row.row_id for row in read_rows(bench.blobs, found.manifest)] == [
        "i1-0000000000",
        "i1-0000000001",
    ]
    first, second = refused_of(bench)
    assert (first.file, first.line, first.row) == ("a.jsonl", 2, "no json\n")
    assert second.line == 3
    assert "'prompt' is missing; fields found: 'other'" in second.reason
    assert found.refused == (first, second)


def test_rows_of_every_file_come_in_the_order_of_the_files(bench: Bench, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("b.csv", "prompt,response\n三,3\n".encode("gbk"))
        archive.writestr("a.jsonl", lines(turn("二", "2")))
        archive.writestr("c.docx", b"x")
        archive.writestr("d.parquet", b"PAR1 and no more")
    first = put(tmp_path, "z.jsonl", lines(turn("一", "1")))
    found = bench.run(first, tmp_path / "all.zip")
    assert [row[0]["prompt"] for row in bench.rows(found.manifest)] == ["一", "二", "三"]
    assert [(count.name, count.rows, count.bad_rows) for count in found.files] == [
        ("z.jsonl", 1, 0),
        ("all.zip/a.jsonl", 1, 0),
        ("all.zip/b.csv", 1, 0),
        ("all.zip/d.parquet", 0, 1),
    ]
    assert found.skipped[0].name == "c.docx"


def test_columns_are_mapped(bench: Bench, tmp_path: Path) -> None:
    options = Options(columns={"prompt": "question", "response": "answer"})
    found = bench.run(put(tmp_path, "a.csv", "question,answer,note\nq,a,n\n"), options=options)
    assert bench.rows(found.manifest) == [[{"prompt": "q", "response": [["a"]], "note": "n"}]]
    text = lines({"question": "q", "answer": "a"}, {"prompt": "x"})
    found = Bench(tmp_path / "two").run(put(tmp_path, "a.jsonl", text), options=options)
    assert (found.rows, found.bad_rows) == (1, 1)
    assert "there is none of answer, question" in found.refused[0].reason


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"PAR1 and no more", "no Parquet file"),
        ("a.xlsx", b"PK\x03\x04", "no whole workbook"),
        ("a.csv", b"", "must name the columns"),
        ("a.bin", b"\x00\x01", "cannot be told"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_says_why(
    name: str, content: bytes, said: str, bench: Bench, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        bench.run(put(tmp_path, name, content))


def test_a_file_that_changes_meanwhile_is_not_read_on(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path, "a.jsonl", lines(turn("a", "b")))
    bench.kill_at = 1
    with pytest.raises(Killed):
        bench.run(file)
    put(tmp_path, "a.jsonl", lines(turn("other", "b")) * 2)
    with pytest.raises(ConfigurationError, match="changed while it was imported"):
        bench.run(file)


def test_pictures_become_blobs_and_come_out_again(bench: Bench, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("cat", "dog"):
            archive.writestr(f"in/{name}.png", PICTURE + name.encode())
        archive.writestr("in/cat.json", json.dumps([{"annotations": "a cat"}]))
    found = bench.run(tmp_path / "p.zip", data_format="PromptImage")
    (cat, dog) = [row.sample for row in read_rows(bench.blobs, found.manifest)]
    assert cat.turns[0].prompt == "a cat"
    assert bench.blobs.read(cat.images[0].sha256) == PICTURE + b"cat"
    assert dog.turns == ()
    bench.saved = {}
    bench.export(found.manifest, "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sorted(archive.namelist()) == ["cat.json", "cat.png", "dog.png"]
        assert json.loads(archive.read("cat.json")) == [{"annotations": "a cat"}]
        assert archive.read("dog.png") == PICTURE + b"dog"


def test_rows_name_pictures_of_their_archive_and_of_no_other(bench: Bench, tmp_path: Path) -> None:
    secret = bench.blobs.put(b"somebody else's")
    rows = [
        {"image": "cat.png", "prompt": "what is it?", "response": "a cat"},
        {"image": "none.png", "prompt": "what is it?"},
        {"image": {"name": "cat.png", "sha256": secret}, "prompt": "and now?"},
    ]
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("in/rows.jsonl", lines(*rows))
        archive.writestr("in/cat.png", PICTURE)
    found = bench.run(tmp_path / "p.zip", data_format="PromptImageResponse")
    assert (found.rows, found.bad_rows) == (2, 1)
    assert "no picture 'none.png'" in found.refused[0].reason
    for row in read_rows(bench.blobs, found.manifest):
        assert bench.blobs.read(row.sample.images[0].sha256) == PICTURE
    other = Bench(tmp_path / "two")
    loose = other.run(put(tmp_path, "a.jsonl", lines(rows[2])), data_format="PromptImageResponse")
    assert [row.sample.images[0].sha256 for row in read_rows(other.blobs, loose.manifest)] == [""]


async def test_files_of_a_store_are_imported(tmp_path: Path) -> None:
    with storing() as store:
        store.objects |= {"d/b.jsonl": lines(turn("b", "2")).encode(), "d/a.txt": b"no row of this"}
        found = await asyncio.to_thread(_from_store, store, tmp_path)
    assert (found.rows, found.bad_rows) == (1, 1)


def _from_store(store: Store, folder: Path) -> Imported:
    return Bench(folder, s3=store.settings, retry_seconds=0.01).run("s3:models/d/")


def ragged(count: int) -> str:
    generator = random.Random(11)
    text: list[str] = []
    for number in range(count):
        text.append(lines(turn(f"问题 {number}", "x" * generator.randrange(300))))
        if generator.random() < 0.02:
            text.append("no json\n")
    return "".join(text)


def test_an_import_that_is_killed_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_SAVE_BYTES", 300_000)
    monkeypatch.setattr("yangfan.datasets.readers.base.ROWS", 100)
    monkeypatch.setattr("yangfan.datasets.readers.jsonl.ROWS", 100)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.jsonl", ragged(4000))
        archive.writestr("two.txt", "no row\n" * 50)
        archive.writestr("three.csv", "prompt,response\n" + "q,a\n" * 3000)
    (tmp_path / "whole").mkdir()
    whole = Bench(tmp_path / "whole")
    wanted = whole.run(tmp_path / "a.zip")
    assert len(wanted.manifest.shards) >= 3
    (tmp_path / "killed").mkdir()
    killed = Bench(tmp_path / "killed")
    generator = random.Random(5)
    kills = 0
    while True:
        killed.tells, killed.kill_at = 0, generator.randrange(1, 25)
        try:
            found = killed.run(tmp_path / "a.zip")
            break
        except Killed:
            kills += 1
    assert kills >= 3
    assert found.manifest == wanted.manifest
    assert (found.rows, found.bad_rows, found.files) == (wanted.rows, wanted.bad_rows, wanted.files)
    assert refused_of(killed) == refused_of(whole)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "xlsx", "parquet"])
def test_an_export_that_is_killed_leaves_what_an_undisturbed_one_leaves(
    kind: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yangfan.datasets.exporting.ROWS", 50)
    monkeypatch.setattr("yangfan.datasets.exporting.SAVE_ROWS", 100)
    found = bench.run(put(tmp_path, "a.jsonl", ragged(900)))
    bench.saved = {}
    wanted = bench.export(found.manifest, f"whole.{kind}", format=kind, archive=False)
    assert wanted.rows == 900
    bench.saved = {}
    generator = random.Random(3)
    for attempt in range(200):
        bench.tells, bench.kill_at = 0, generator.randrange(3, 12) if attempt < 5 else -1
        try:
            again = bench.export(found.manifest, f"killed.{kind}", format=kind, archive=False)
            break
        except Killed:
            assert not (tmp_path / f"killed.{kind}").exists()
    else:
        pytest.fail("it never ends")
    if kind != "xlsx":
        assert again.sha256 == wanted.sha256
    assert again.rows == wanted.rows
    back = Bench(tmp_path / "back")
    (tmp_path / "back").mkdir()
    assert back.rows(back.run(tmp_path / f"killed.{kind}").manifest) == bench.rows(found.manifest)


def test_exports_without_annotations_hold_questions_alone(bench: Bench, tmp_path: Path) -> None:
    found = bench.run(put(tmp_path, "a.jsonl", lines(turn("q", "a"))))
    bench.saved = {}
    bench.export(found.manifest, "out.jsonl", archive=False, with_annotations=False)
    assert (tmp_path / "out.jsonl").read_text() == '[{"prompt":"q"}]\n'


def test_texts_are_exported_as_the_official_client_reads_them(bench: Bench, tmp_path: Path) -> None:
    found = bench.run(put(tmp_path, "a.txt", "one\ntwo\n"), data_format=DataFormat.TEXT.value)
    bench.saved = {}
    bench.export(found.manifest, "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("data.txt") == b"one\ntwo\n"


def test_a_format_that_holds_no_such_rows_is_refused(bench: Bench, tmp_path: Path) -> None:
    found = bench.run(put(tmp_path, "a.jsonl", lines(turn("q", "a"))))
    with pytest.raises(ConfigurationError, match=r"a \.txt file holds texts alone"):
        bench.export(found.manifest, "out.txt", format="txt", archive=False)
    with pytest.raises(ConfigurationError, match="no export to 'pdf'; there are: jsonl"):
        bench.export(found.manifest, "out.pdf", format="pdf", archive=False)
