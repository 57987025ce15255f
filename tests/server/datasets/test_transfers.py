"""Imports and exports through a server in both dialects: what is told, what is refused, and what is downloaded."""

from __future__ import annotations

import asyncio
import functools
import http.server
import io
import json
import threading
import urllib.request
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, serving, wait_until
from tests.hub.s3_server import KEY_ID, SECRET, Store
from tests.hub.s3_server import serving as storing
from tests.server.conftest import Caller, Reply

from yangfan.datasets.formats import DataFormat
from yangfan.server.datasets import Datasets, DatasetVersion
from yangfan.server.db import Database

WAIT_SECONDS = 60.0
ROWS = '[{"prompt":"你好","response":[["hi"]]}]\nno json\n[{"prompt":"b","response":[["c"]]}]\n'


class Desk:
    """A server, and its datasets as a slice within it sees them."""

    def __init__(self, server: Server, store: Store, shared: str, folder: Path) -> None:
        self.caller, self.server, self.store = Caller(server), server, store
        self.shared, self.folder = shared, folder
        self._made = 0

    def ask(self, method: str, *args: Any) -> Any:
        async def call() -> Any:
            database = Database(self.server.home / "yangfan.db")
            try:
                return await getattr(Datasets(database, self.server.home / "datasets"), method)(
                    *args
                )
            finally:
                await database.close()

        return asyncio.run(call())

    def new(self, data_format: DataFormat = DataFormat.PROMPT_RESPONSE) -> str:
        self._made += 1
        return self.ask("create", f"transfer {self._made}", data_format).id

    def post(self, path: str, body: dict[str, Any]) -> Reply:
        return self.caller.ask("POST", path, body, self.caller.signed("POST", path))

    def v1(self, verb: str, **body: Any) -> Any:
        reply = self.post(f"/wenxinworkshop/dataset/{verb}", body)
        assert (reply.status, reply.json["status"], reply.json["success"]) == (200, 200, True)
        return reply.json["result"]

    def v2(self, action: str, **body: Any) -> Any:
        reply = self.post(f"/v2/dataset?Action={action}", body)
        assert reply.status == 200, reply.body
        return reply.json["result"]

    def ended(self, id: str, kind: Any) -> DatasetVersion:
        found: list[DatasetVersion] = []

        def has_ended() -> bool:
            found[:] = [self.ask("version", id)]
            return found[0].task(kind).state != "running"

        wait_until(has_ended, f"the {kind} to end", WAIT_SECONDS)
        return found[0]

    def imported(self, id: str, *files: str, **how: Any) -> Any:
        task = self.v2("CreateImportTask", versionId=id, files=files, **how)["taskId"]
        self.ended(id, "import")
        return self.v2("DescribeImportTask", taskId=task)

    def exported(self, id: str, **how: Any) -> Any:
        task = self.v2("CreateExportTask", versionId=id, **how)["taskId"]
        self.ended(id, "export")
        return self.v2("DescribeExportTask", taskId=task)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Generator[Desk]:
    folder = tmp_path_factory.mktemp("transfers")
    (folder / "data").mkdir()
    handler = functools.partial(_Quiet, directory=str(folder / "data"))
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    with storing() as store:
        environ = {
            "YANGFAN_EGRESS_ALLOW": "127.0.0.1",
            "YANGFAN_DATA_IMPORT_FOLDERS": str(folder / "data"),
            "YANGFAN_S3_ENDPOINT": store.settings.endpoint,
            "YANGFAN_S3_REGION": store.settings.region,
            "YANGFAN_S3_ACCESS_KEY_ID": KEY_ID,
            "YANGFAN_S3_SECRET_ACCESS_KEY": SECRET,
        }
        with serving(folder / "home", environ=environ) as server:
            yield Desk(server, store, f"http://127.0.0.1:{web.server_port}", folder / "data")
    web.shutdown()
    thread.join()
    web.server_close()


def packed(rows: str = ROWS) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("in/rows.jsonl", rows)
    return out.getvalue()


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_shared_archive_is_imported_and_exported_in_v1(desk: Desk) -> None:
    id = desk.new()
    (desk.folder / "data.zip").write_bytes(packed())
    shared = f"{desk.shared}/data.zip?signature=secret"
    assert desk.v1("import", datasetId=id, annotated=True, importFrom=2, files=[shared]) is True
    version = desk.ended(id, "import")
    assert (version.rows, version.task("import").state) == (2, "succeeded")
    detail = desk.v1("importErrorDetail", datasetId=id, errCode=version.task("import").error_code)
    (row,) = detail["content"]
    assert (row["sampleFileName"], row["textLocation"]) == ("data.zip/in/rows.jsonl", "2")
    assert row["textContent"] == "no json\n"
    assert "no JSON" in row["sampleName"]
    (line,) = fetched(detail["downloadUrl"]).splitlines()
    assert json.loads(line)["line"] == 2
    assert (detail["isZip"], detail["dataType"], detail["projectType"]) == (False, 4, 20)

    assert desk.v1("exportRecord", datasetId=id) == []
    assert desk.v1("export", datasetId=id, exportFormat=0, exportType=1, exportTo=0) is True
    desk.ended(id, "export")
    (record,) = desk.v1("exportRecord", datasetId=id)
    assert (record["status"], record["recordNum"]) == (2, 2)
    assert members(fetched(record["downloadUrl"])) == {
        "data.jsonl": ROWS.replace("no json\n", "").encode()
    }
    assert "T" not in record["finishTime"]


def test_files_are_imported_and_exported_in_v2(desk: Desk) -> None:
    id = desk.new()
    (desk.folder / "rows.csv").write_bytes("问题,回答\n你好,hi\n再见,\n,x\n".encode("gbk"))
    found = desk.imported(
        id, str(desk.folder / "rows.csv"), columns={"prompt": "问题", "response": "回答"}
    )
    assert found["importStatus"] == "ImportFinished"
    assert (found["sampleCount"], found["badSampleCount"], found["progress"]) == (2, 1, 100)
    assert found["refused"][0]["line"] == 4
    assert len(fetched(found["errorUrl"]).splitlines()) == 1
    exported = desk.exported(id, storageType="sysStorage", format="xlsx", archive=False)
    assert exported["exportStatus"] == "ExportFinished", exported
    (desk.folder / "back.xlsx").write_bytes(fetched(exported["downloadUrl"]))
    back = desk.imported(desk.new(), str(desk.folder / "back.xlsx"))
    assert (back["sampleCount"], back["badSampleCount"]) == (2, 0)
    questions = desk.exported(id, withAnnotations=False)
    assert members(fetched(questions["downloadUrl"])) == {
        "data.jsonl": '[{"prompt":"你好"}]\n[{"prompt":"再见"}]\n'.encode()
    }


def test_files_come_from_a_bucket_and_go_to_one(desk: Desk) -> None:
    id = desk.new()
    desk.store.objects["in/rows.jsonl"] = ROWS.encode()
    desk.v1("import", datasetId=id, importFrom=1, files=["models/in/rows.jsonl"])
    assert desk.ended(id, "import").rows == 2
    exported = desk.exported(id, storageType="BOS", storagePath="bos:/models/out/")
    assert exported["storagePath"].startswith("bos:/models/out/ds-")
    key = exported["storagePath"].removeprefix("bos:/models/")
    assert list(members(desk.store.objects[key])) == ["data.jsonl"]
    desk.v1("export", datasetId=id, exportTo=1, storageId="models")
    desk.ended(id, "export")
    record = desk.v1("exportRecord", datasetId=id)[0]
    assert (record["exportTo"], record["storageId"]) == (1, "models")
    assert record["storagePath"] in desk.store.objects


def test_what_was_sent_before_is_imported(desk: Desk) -> None:
    boundary = "yangfan"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n{ROWS}\r\n'
        f"--{boundary}--\r\n"
    )
    reply = desk.caller.ask(
        "POST",
        "/v2/files",
        body,
        desk.caller.bearer(),
        content_type=f"multipart/form-data; boundary={boundary}",
    )
    id = desk.new()
    found = desk.imported(id, reply.json["id"])
    assert (found["sampleCount"], found["files"][0]["name"]) == (2, "rows.jsonl")
    made = desk.post("/v2/model?Action=CreateModelUpload", {}).json["result"]["uploadId"]
    path = f"/v2/model/upload/{made}?path=more.jsonl&offset=0"
    desk.caller.ask("POST", path, ROWS, desk.caller.signed("POST", path))
    assert desk.imported(id, f"upload:{made}")["sampleCount"] == 2
    assert desk.ask("version", id).rows == 4


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("/etc/passwd", "no file that may be imported by its path"),
        ("file:/etc/passwd", "no file that may be imported by its path"),
        ("rows.jsonl", "no address of a file"),
        ("ftp://host/rows.jsonl", "no address of a file"),
        ("file-000000", "no file 'file-000000'"),
        ("upload:up-0", "no upload"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_at_once(file: str, said: str, desk: Desk) -> None:
    id = desk.new()
    reply = desk.post("/v2/dataset?Action=CreateImportTask", {"versionId": id, "files": [file]})
    assert reply.status in {400, 404}
    assert said in reply.json["message"]
    assert desk.ask("version", id).task("import").state == "none"


def test_links_out_of_an_allowed_folder_are_refused(desk: Desk) -> None:
    (desk.folder / "link.jsonl").symlink_to("/etc/passwd")
    body = {"versionId": desk.new(), "files": [str(desk.folder / "link.jsonl")]}
    reply = desk.post("/v2/dataset?Action=CreateImportTask", body)
    assert "no file that may be imported by its path" in reply.json["message"]


def test_an_import_without_a_good_row_fails_and_tells_why(desk: Desk) -> None:
    id = desk.new(DataFormat.DPO)
    (desk.folder / "bad.jsonl").write_text("no json\n" * 3)
    found = desk.imported(id, str(desk.folder / "bad.jsonl"))
    assert (found["importStatus"], found["badSampleCount"]) == ("ImportFailed", 3)
    assert "no JSON" in found["error"]
    version = desk.ask("version", id)
    assert (version.rows, version.task("import").state) == (0, "failed")
    assert "3 of 3 rows were refused" in version.task("import").error
    (desk.folder / "broken.xlsx").write_bytes(b"PK\x03\x04")
    found = desk.imported(id, str(desk.folder / "broken.xlsx"))
    assert found["importStatus"] == "ImportFailed"
    assert "no whole workbook" in found["error"]


def test_exports_that_cannot_be_are_refused_at_once(desk: Desk) -> None:
    id = desk.new()
    reply = desk.post("/v2/dataset?Action=CreateExportTask", {"versionId": id})
    assert (reply.status, "has no rows to export" in reply.json["message"]) == (409, True)
    (desk.folder / "rows.jsonl").write_text(ROWS)
    desk.imported(id, str(desk.folder / "rows.jsonl"))
    for body, said in (
        ({"format": "txt"}, "holds texts alone"),
        ({"storageType": "BOS"}, "storagePath must be bos:/bucket/dir/"),
        ({"storageType": "BOS", "storagePath": "bos:/b/../x"}, "storagePath must be"),
    ):
        reply = desk.post("/v2/dataset?Action=CreateExportTask", {"versionId": id, **body})
        assert reply.status == 400
        assert said in reply.json["message"]
    reply = desk.post("/v2/dataset?Action=DescribeExportTask", {"taskId": "task-none"})
    assert (reply.status, "no export task" in reply.json["message"]) == (404, True)


@pytest.mark.parametrize("name", ["..%2Fyangfan.db", "x" * 43 + ".zip", "x.zip"])
def test_a_file_has_no_other_name_than_its_own(name: str, desk: Desk) -> None:
    reply = desk.caller.ask("GET", f"/datasets/files/{name}")
    assert reply.status == 404
