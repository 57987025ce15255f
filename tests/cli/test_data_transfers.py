"""`yangfan data import` and `export` against a real server, and through them the SDK's."""

from __future__ import annotations

import json
import uuid
import zipfile
from pathlib import Path

import pytest
from tests.cli.conftest import Command

pytest.importorskip("pyarrow", reason="the extra `data` is not installed")

ROWS = '{"q": "你好", "a": "hi"}\nno json\n{"q": "b", "a": "c"}\n'


def test_files_go_in_and_come_out_again(yangfan: Command, tmp_path: Path) -> None:
    name = f"cli-{uuid.uuid4()}"
    file, refused = tmp_path / "rows.jsonl", tmp_path / "refused.jsonl"
    file.write_text(ROWS, "utf-8")
    columns = ("--column", "prompt=q", "--column", "response=a")
    done = yangfan.inside(
        "data", "import", name, str(file), "--create", "PromptResponse", *columns,
        "--refused", str(refused),
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.out == "2 rows taken, 1 refused\n"
    assert "rows.jsonl 2: the row is no JSON" in done.err
    assert json.loads(refused.read_text("utf-8"))["line"] == 2
    for ending in ("zip", "csv"):
        out = tmp_path / f"out.{ending}"
        done = yangfan.inside("data", "export", name, str(out))
        assert (done.status, done.out) == (0, f"2 rows written: {out}\n"), done.err
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["data.jsonl"]
    assert "你好" in (tmp_path / "out.csv").read_text("utf-8-sig")


def test_what_cannot_be_says_what_to_change(yangfan: Command, tmp_path: Path) -> None:
    name = f"cli-{uuid.uuid4()}"
    (tmp_path / "bad.jsonl").write_text("no json\n")
    missing = yangfan.inside("data", "import", name, str(tmp_path / "none.jsonl"))
    assert (missing.status, "there is no file" in missing.err) == (1, True)
    unmade = yangfan.inside("data", "import", name, str(tmp_path / "bad.jsonl"))
    assert (unmade.status, "there is no dataset version" in unmade.err) == (1, True)
    bad = yangfan.inside(
        "data", "import", name, str(tmp_path / "bad.jsonl"), "--create", "Role", "--json"
    )
    assert (bad.status, json.loads(bad.out)["bad_rows"]) == (1, 1)
    assert "the import failed: bad.jsonl 1" in bad.err
    column = yangfan.inside("data", "import", name, "s3:b/x", "--column", "prompt")
    assert "--column takes FIELD=COLUMN" in column.err
    empty = yangfan.inside("data", "export", name, str(tmp_path / "o.zip"))
    assert (empty.status, "has no rows to export" in empty.err) == (1, True)
    odd = yangfan.inside("data", "export", name, str(tmp_path / "o.docx"))
    assert "no format that is known; there are: .jsonl" in odd.err
