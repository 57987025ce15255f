"""`yangfan files` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command


def test_file_goes_there_and_back(yangfan: Command, tmp_path: Path):
    file = tmp_path / "requests.jsonl"
    file.write_bytes(b'{"custom_id": "1"}\n')
    made = yangfan.inside("files", "upload", str(file), "--purpose", "batch")
    file_id = made.out.strip()
    assert (made.status, file_id[:5]) == (0, "file-"), made.err
    listed = {
        each["id"]: each for each in json.loads(yangfan.inside("files", "list", "--json").out)
    }
    item = listed[file_id]
    assert (item["name"], item["purpose"]) == ("requests.jsonl", "batch")
    assert f"{file_id}\trequests.jsonl\tbatch\t19 B" in yangfan.inside("files", "list").out
    copy = tmp_path / "copy"
    assert yangfan.inside("files", "download", file_id, "-o", str(copy)).status == 0
    assert copy.read_bytes() == file.read_bytes()
    nowhere = yangfan.inside("files", "download", file_id, "-o", str(tmp_path / "no" / "copy"))
    assert (nowhere.status, "cannot write" in nowhere.err) == (1, True)
    assert yangfan.inside("files", "rm", file_id).status == 0
    gone = yangfan.inside("files", "download", file_id)
    assert (gone.status, "no file" in gone.err) == (1, True)
    refused = yangfan.inside("files", "upload", str(file), "--purpose", "x")
    assert (refused.status, "--purpose must be one of assistants, batch" in refused.err) == (
        1,
        True,
    )
