"""`/v2/files` (specification C.5) on a real server: OpenAI's own client, our SDK, and forms as no client sends them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.conftest import Server, serving
from tests.server.conftest import Caller

import yangfan
from yangfan import errors

LINES = b'{"custom_id":"1"}\n{"custom_id":"2"}\n'


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("files")) as server:
        yield server


@pytest.fixture(scope="module", name="caller")
def caller_fixture(server: Server) -> Caller:
    return Caller(server)


@pytest.fixture(name="client")
def client_fixture(server: Server) -> Generator[yangfan.Client]:
    with yangfan.Client(server.base_url, bearer=server.bearer) as client:
        yield client


def contents(server: Server) -> list[Path]:
    """What lies on the server's disk."""
    return sorted((server.home / "files").rglob("*/*"))


def form(*fields: tuple[str, bytes], boundary: bytes = b"bound") -> bytes:
    """A form as it goes over the wire; a field's first text is what stands behind `name=`."""
    parts = [
        b"--%b\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n"
        % (boundary, head.encode(), body)
        for head, body in fields
    ]
    return b"".join(parts) + b"--%b--\r\n" % boundary


FILE = ('"file"; filename="a.jsonl"', LINES)
PURPOSE = ('"purpose"', b"batch")


def test_file_is_sent_shown_given_back_and_deleted(server: Server):
    with openai.OpenAI(base_url=f"{server.base_url}/v2", api_key=server.bearer) as client:
        made = client.files.create(file=("requests.jsonl", LINES), purpose="batch")
        assert re.fullmatch(r"file-[0-9a-f]{24}", made.id)
        assert (made.object, made.bytes, made.filename) == ("file", len(LINES), "requests.jsonl")
        assert (made.purpose, made.status) == ("batch", "processed")
        assert client.files.retrieve(made.id) == made
        assert client.files.content(made.id).read() == LINES
        again = client.files.create(file=("other.txt", LINES), purpose="user_data")
        (path,) = contents(server)
        assert path.name == hashlib.sha256(LINES).hexdigest()
        assert [file.id for file in client.files.list()][:2] == [again.id, made.id]
        deleted = client.files.delete(made.id)
        assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "file")
        assert client.files.content(again.id).read() == LINES
        client.files.delete(again.id)
        assert contents(server) == []
        with pytest.raises(openai.BadRequestError, match=r"no file .* GET /v2/files lists"):
            client.files.retrieve(made.id)


def test_files_are_paged_and_belong_to_their_application(
    server: Server, caller: Caller, client: yangfan.Client, tmp_path: Path
):
    (tmp_path / "one.bin").write_bytes(bytes(range(256)))
    one = client.files.upload(tmp_path / "one.bin", "user_data")
    two = client.files.upload(b"2", "evals", name='q"uote\r\n../x.txt')
    assert (one.name, one.size_bytes, two.name) == ("one.bin", 256, "x.txt")
    assert client.files.download(one.id) == bytes(range(256))
    assert [file.id for file in client.files.list()] == [two.id, one.id]
    assert [file.id for file in client.files.list("evals")] == [two.id]
    page = caller.ask("GET", "/v1/files?limit=1&order=asc", headers=caller.bearer()).json
    assert (page["data"][0]["id"], page["has_more"]) == (one.id, True)
    rest = caller.ask("GET", f"/v2/files?after={one.id}&order=asc", headers=caller.bearer()).json
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == ([two.id], False)
    app = caller.result("CreateApp", {"name": "other"})["appId"]
    key = caller.result("CreateApiKey", {"kind": "bearer", "appId": app})["secret"]
    with yangfan.Client(server.base_url, bearer=key) as other:
        assert other.files.list() == ()
        for act in (other.files.get, other.files.download, other.files.delete):
            with pytest.raises(errors.Invalid, match="no file"):
                act(one.id)
    for file in (one, two):
        client.files.delete(file.id)
    assert client.files.list() == ()
    with pytest.raises(errors.ConfigurationError, match="cannot read"):
        client.files.upload(tmp_path / "none", "batch")
    with pytest.raises(errors.ConfigurationError, match="needs a name"):
        client.files.upload(b"x", "batch")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (form(FILE), "purpose must be one of assistants, batch, fine-tune, .*, got ''"),
        (form(FILE, ('"purpose"', b"root")), "got 'root'"),
        (form(PURPOSE), 'the form has no file; send one as the field "file"'),
        (form(PURPOSE, ('"file"', LINES)), 'the field "file" has no file name'),
        (form(PURPOSE, FILE, FILE), "the form has two files; send one"),
        (form(PURPOSE, ('"file"; filename="a.jsonl"', b"")), "the file is empty"),
        (form(PURPOSE, ('"file"; filename="a.txt"', LINES)), r"its name ends in \.jsonl, got 'a"),
        (form(PURPOSE, ('"file"; filename="/"', LINES)), "the file needs a name of at most 255"),
        (form(PURPOSE, FILE)[:-20], "the body ends in the middle"),
        (b"", "the body ends in the middle"),
        (b"{}", "is no multipart/form-data"),
        (form(PURPOSE, FILE, boundary=b"other"), "is no multipart/form-data"),
        (form(*[('"x"', b"")] * 60), "more than 50 fields"),
        (form(('"purpose"', b"x" * 20_000), FILE), "longer than 10000 bytes"),
        (form(('"x"; y="%s"' % ("z" * 20_000), b"")), "Maximum header size exceeded"),
    ],
)
def test_form_is_refused(server: Server, caller: Caller, body: bytes, says: str):
    headers = caller.bearer()
    kind = "multipart/form-data; boundary=bound"
    reply = caller.ask("POST", "/v2/files", body, headers, content_type=kind)
    found: Any = reply.json["error"]
    assert (reply.status, found["code"]) == (400, "invalid_argument")
    assert re.search(says, found["message"]), found
    assert [path for path in (server.home / "files").iterdir() if path.is_file()] == []


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("POST", "/v2/files", "send multipart/form-data with the fields purpose and file"),
        ("GET", "/v2/files?limit=0", r"limit must be a whole number in \[1, 10000\], got '0'"),
        ("GET", "/v2/files?order=up", "order must be asc or desc, got 'up'"),
        ("GET", "/v2/files?after=file-none", "no file 'file-none'; GET /v2/files lists"),
        ("GET", "/v2/files/file-none", "no file 'file-none'"),
        ("GET", "/v2/files/..%5C..%5Csecret.key/content", "no file '"),
        ("DELETE", "/v2/files/file-none", "no file 'file-none'"),
    ],
)
def test_call_is_refused(caller: Caller, method: str, path: str, says: str):
    reply = caller.ask(method, path, None if method != "POST" else "{}", caller.bearer())
    found = reply.json["error"]
    assert (reply.status, found["code"]) == (400, "invalid_argument")
    assert re.search(says, found["message"]), found


def test_strangers_see_nothing_and_wrong_methods_are_told(caller: Caller):
    assert caller.ask("GET", "/v2/files").status == 401
    assert caller.ask("POST", "/v2/files", "x").status == 401
    assert caller.ask("PATCH", "/v2/files/x", "", caller.bearer()).status == 405
    assert caller.ask("POST", "/v2/files/x/content", "", caller.bearer()).status == 405
    assert caller.ask("GET", "/v2/files/x/other", headers=caller.bearer()).status == 404


def test_large_file_goes_through_and_what_was_left_half_done_is_removed(tmp_path: Path):
    with serving(tmp_path, environ={"YANGFAN_MAX_BODY_BYTES": "1024"}) as server:
        with yangfan.Client(server.base_url, bearer=server.bearer) as client:
            made = client.files.upload(b"x" * 3_000_000, "user_data", name="big")
            assert client.files.get(made.id).size_bytes == 3_000_000
        (path,) = contents(server)
        (server.home / "files" / "coming-dead").write_bytes(b"left half done")
        (path.parent / ("0" * 64)).write_bytes(b"nobody's")
    with (
        serving(tmp_path) as server,
        yangfan.Client(server.base_url, bearer=server.bearer) as client,
    ):
        assert contents(server) == [path]
        assert not (server.home / "files" / "coming-dead").exists()
        assert client.files.download(made.id) == b"x" * 3_000_000
