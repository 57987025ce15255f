"""Questions about pictures through the API, sync and streamed, with Qianfan's own client."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import qianfan
from tests.conftest import Server, serving
from tests.plugins.image_questions.drawn import drawn
from tests.server.drawing import data_uri, png, png_that_claims
from typer.testing import CliRunner

from yangfan import Client
from yangfan.cli import application
from yangfan.errors import ConfigurationError, Invalid

pytest.importorskip("rapidocr", reason="yangfan[pictures] is not installed")

TABLE = drawn(2, seed=5)[1]
CHATOCR = ["uuid-chatocr"]


class Serving(BaseHTTPRequestHandler):
    """One picture, and nothing else."""

    def do_GET(self) -> None:
        """The picture at /table.png."""
        found = self.path == "/table.png"
        body = TABLE.data if found else b"no"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Serving) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    environ = {"YANGFAN_EGRESS_ALLOW": "127.0.0.1"}
    with serving(tmp_path_factory.mktemp("pictures-home"), environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Generator[Client]:
    with Client(
        server.base_url,
        api_key=server.api_key,
        secret_key=server.secret_key,
        access_key=server.access_key,
        secret_access_key=server.secret_access_key,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def eyes(client: Client) -> str:
    """An application that reads pictures, whose model is told the text as well."""
    client.plugins.create("eyes", CHATOCR, model="echo", prompt="{who}: {context} ? {question}")
    client.plugins.create("looks", CHATOCR, model="echo")
    return "eyes"


@pytest.fixture
def official(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Qianfan's own client, unchanged."""
    config = qianfan.get_config()
    monkeypatch.setattr(config, "BASE_URL", server.base_url)
    monkeypatch.setattr(config, "AK", server.api_key)
    monkeypatch.setattr(config, "SK", server.secret_key)
    monkeypatch.setattr(config, "ACCESS_KEY", server.access_key)
    monkeypatch.setattr(config, "SECRET_KEY", server.secret_access_key)
    return qianfan.Plugin


def test_qianfans_client_asks_about_a_picture(official: Any, eyes: str, site: str) -> None:
    plugin = official(endpoint=eyes)
    asked = {
        "plugins": CHATOCR,
        "fileurl": f"{site}/table.png",
        "verbose": True,
        "input_variables": {"who": "小明"},
        "history": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    }
    reply: Any = plugin.do(TABLE.question, **asked)
    seen = f"[image/png, {len(TABLE.data)} bytes, {hashlib.sha256(TABLE.data).hexdigest()[:8]}]"
    assert seen in reply["result"], "echo says what it was shown"
    assert "小明: | 城市 |" in reply["result"]
    assert reply["usage"]["total_tokens"] > 0
    meta = reply["meta_info"]
    assert meta["plugin_id"] == "uuid-chatocr"
    assert meta["request"] == {"query": TABLE.question, "filename": "table.png"}
    assert meta["response"]["error_msg"] == "success"
    assert TABLE.is_told(meta["response"]["result"]["layout"])
    assert TABLE.answer in {each["word"] for each in meta["response"]["result"]["ocr_result"]}
    events: list[Any] = list(plugin.do(TABLE.question, stream=True, **asked))
    assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
    assert "".join(event["result"] for event in events) == reply["result"]
    assert events[-1]["meta_info"]["response"]["result"]["ocr_result"]


def test_a_model_that_sees_answers_itself(client: Client, eyes: str) -> None:
    del eyes
    answer = client.plugins.ask("looks", "what?", file=TABLE.data)
    assert (
        answer.text
        == f"[image/png, {len(TABLE.data)} bytes, {hashlib.sha256(TABLE.data).hexdigest()[:8]}]what?"
    )
    assert answer.meta["response"]["result"]["ocr_result"] == []


def test_what_is_refused(client: Client, eyes: str, site: str) -> None:
    with pytest.raises(Invalid, match="needs a picture: give fileurl"):
        client.plugins.ask(eyes, "x")
    for file, text in (
        (png(79, 300), "79 x 300 pixels"),
        (data_uri(png_that_claims(60_000, 60_000)), "60000 x 60000"),
        ("http://169.254.169.254/latest/meta-data", "no\\w* a public address"),
        (f"{site}/none.png", "status 404"),
        ("file:///etc/passwd", "must be an https URL or a data URI"),
        ("ftp://pictures.example/a.png", "must be an https URL or a data URI"),
    ):
        with pytest.raises(Invalid, match=text):
            client.plugins.ask(eyes, "x", file=file)
    for file in (
        b"no picture",
        png(200, 200)[:60],
        "data:image/png;base64,@@",
        "data:text/plain,x",
    ):
        with pytest.raises(Invalid, match=r"no picture|broken|not base64|data URI"):
            client.plugins.ask(eyes, "x", file=file)
    assert client.plugins.ask("looks", "still here?", file=png(80, 80)).text


def test_nothing_of_a_picture_stays(client: Client, server: Server, site: str) -> None:
    client.plugins.create("brief", CHATOCR, prompt="{context}{question}")
    before = files_of(server.home)
    client.plugins.ask("brief", "x", file=TABLE.data)
    client.plugins.ask("brief", "x", file=f"{site}/table.png")
    client.plugins.delete("brief")
    assert files_of(server.home) == before
    database = b"".join(path.read_bytes() for path in server.home.glob("*.db*"))
    assert database
    assert TABLE.data[100:200] not in database


def files_of(home: Path) -> set[Path]:
    return {
        path
        for path in home.rglob("*")
        if path.is_file() and ".db" not in path.name and path.parent.name != "usage"
    }


def test_the_command_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setenv("YANGFAN_HOME", str(server.home))
    picture = tmp_path / "表格.png"
    picture.write_bytes(TABLE.data)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(application(arguments), [*arguments])

    made = run("plugins", "create", "seer", "--pictures", "--prompt", "{context}{question}")
    assert made.exit_code == 0, made.output
    assert client.plugins.get("seer").plugins == ("uuid-chatocr",)
    assert "| 城市 |" in run("plugins", "ask", "seer", "x", "--file", str(picture)).stdout
    missing = run("plugins", "ask", "seer", "x", "--file", str(tmp_path / "none.png"))
    assert isinstance(missing.exception, ConfigurationError)
    assert "cannot read" in missing.exception.message
