"""Questions about what is handed over with them, pictures, documents and tables, sync and streamed, with Qianfan's own client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import qianfan
from qianfan.errors import APIError
from tests.conftest import Server, serving, wait_until
from tests.plugins.image_questions.drawn import drawn
from tests.server.drawing import data_uri, png, png_that_claims
from typer.testing import CliRunner

from yangfan import Client
from yangfan.cli import application
from yangfan.errors import ConfigurationError, Invalid

pytest.importorskip("rapidocr", reason="yangfan[pictures] is not installed")

TABLE = drawn(2, seed=5)[1]
CHATOCR = ["uuid-chatocr"]


MANUAL = "# Router\n\nThe warranty lasts two years.\n\n# 休假\n\n每位员工每年有十五天带薪年假。"
PAGES = {
    "/table.png": TABLE.data,
    "/manual.md": MANUAL.encode(),
    "/handbook": MANUAL.encode(),
    "/broken.pdf": b"%PDF-1.7 no more",
    "/huge.txt": b"x" * (10 * 1024 * 1024 + 1),
}


class Serving(BaseHTTPRequestHandler):
    """A few files, and nothing else."""

    def do_GET(self) -> None:
        """One of them."""
        body = PAGES.get(self.path)
        self.send_response(404 if body is None else 200)
        if self.path == "/handbook":
            self.send_header("Content-Type", "text/markdown; charset=utf-8")
        self.send_header("Content-Length", str(len(body or b"no")))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body or b"no")

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


def test_nothing_that_was_handed_over_stays(client: Client, server: Server, site: str) -> None:
    """Neither while its application is there, nor once that is deleted."""
    client.plugins.create("brief", [*CHATOCR, "ChatFile"], prompt="{context}{question}")
    before = files_of(server.home)
    client.plugins.ask("brief", "x", file=TABLE.data)
    client.plugins.ask("brief", "x", file=f"{site}/table.png")
    client.plugins.ask("brief", "warranty?", plugins=["ChatFile"], file=f"{site}/manual.md")
    for _ in ("there", "deleted"):
        assert files_of(server.home) == before
        # Other tests may be reading documents at this moment.
        wait_until(
            lambda: not list(Path(tempfile.gettempdir()).glob("yangfan-chatfile-*")),
            "the documents to be gone",
        )
        database = b"".join(path.read_bytes() for path in server.home.glob("*.db*"))
        assert database
        assert TABLE.data[100:200] not in database
        assert b"warranty lasts" not in database
        client.plugins.delete("brief")
        client.plugins.create("brief", CHATOCR)
    client.plugins.delete("brief")


def files_of(home: Path) -> set[Path]:
    return {
        path
        for path in home.rglob("*")
        if path.is_file() and ".db" not in path.name and path.parent.name not in {"usage", "logs"}
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
    chart = tmp_path / "chart.svg"
    drawn = run("plugins", "use", "eChart", "饼图：苹果12，梨8", "--output", str(chart))
    assert drawn.exit_code == 0, drawn.output
    assert chart.read_text("utf-8").startswith("<svg ")
    shown = run("plugins", "use", "eChart", "饼图：苹果12，梨8", "--json")
    assert json.loads(shown.stdout)["response"]["option"]["series"][0]["type"] == "pie"
    manual = tmp_path / "manual.md"
    manual.write_text(MANUAL, "utf-8")
    told = run("plugins", "use", "ChatFile", "How long is the warranty?", "--file", str(manual))
    assert "two years" in told.stdout
    missing = run("plugins", "ask", "seer", "x", "--file", str(tmp_path / "none.png"))
    assert isinstance(missing.exception, ConfigurationError)
    assert "cannot read" in missing.exception.message


# ERNIE plugins


def test_qianfans_client_draws_a_chart(official: Any) -> None:
    """The example of Qianfan's documentation; echo is no model that could read it, so the rules do."""
    messages = [
        {
            "role": "user",
            "content": "帮我画一个饼状图：8月的用户反馈中，BUG有100条，需求有100条，使用咨询100条，总共300条反馈",
        }
    ]
    reply: Any = official().do(messages, plugins=["eChart"])
    (info,) = reply["plugin_info"]
    assert info["plugin_id"] == "eChart:1.0.0"
    assert info["status"] == "2"
    response = json.loads(info["plugin_resp"])
    assert response["source"] == "rules"
    assert response["option"]["series"][0]["data"][1] == {"name": "需求", "value": 100.0}
    assert response["svg"].startswith("<svg ")
    assert json.loads(info["plugin_req"]) == {"query": messages[0]["content"]}
    (meta,) = reply["plugin_metas"]
    assert meta["pluginMameForModel"] == "eChart"
    assert meta["pluginNameForHuman"] == "E言易图"
    assert "| BUG | 100 |" in reply["result"], "echo says what it was told"
    usage = reply["usage"]
    assert usage["plugins"][0]["name"] == "eChart"
    assert 0 < usage["plugins"][0]["total_tokens"] < usage["total_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert (reply["need_clear_history"], reply["is_truncated"]) == (False, False)


@pytest.mark.parametrize("model", ["EBPlugin", "EBPluginV2"])
def test_qianfans_client_streams(official: Any, site: str, model: str) -> None:
    asked = f"<img>表.png</img>这张表里有什么？<url>{site}/table.png</url>"
    plugin = official(model=model)
    events = list(plugin.do([{"role": "user", "content": asked}], plugins=["ImageAI"], stream=True))
    names = [event.body.get("_event", "") for event in events]
    if model == "EBPluginV2":
        assert names == ["pluginMeta", "plugin", "plugin", *["chat"] * (len(names) - 3)]
    else:
        assert set(names) == {""}
    meta, running, done, *chat = [event.body for event in events]
    assert meta["plugin_metas"][0]["pluginId"] == "uuid-chatocr:1.0.0"
    assert (running["sentence_id"], done["sentence_id"]) == (0, 1)
    assert (running["plugin_info"][0]["status"], done["plugin_info"][0]["status"]) == ("1", "2")
    assert json.loads(done["plugin_info"][0]["plugin_resp"])["error_msg"] == "success"
    assert [event["sentence_id"] for event in chat] == list(range(len(chat)))
    assert [event["is_end"] for event in chat] == [False] * (len(chat) - 1) + [True]
    text = "".join(event["result"] for event in chat)
    assert f"{len(TABLE.data)} bytes" in text
    assert text.endswith("这张表里有什么？")
    assert "<url>" not in text
    assert chat[-1]["usage"]["total_tokens"] > 0


def test_a_document_is_asked_about_also_later_in_the_conversation(official: Any, site: str) -> None:
    first = f"<file>manual.md</file><url>{site}/manual.md</url> 年假有多少天？"
    messages = [{"role": "user", "content": first}]
    reply: Any = official().do(messages, plugins=["ChatFile"])
    assert "每位员工每年有十五天带薪年假" in reply["result"]
    response = json.loads(reply["plugin_info"][0]["plugin_resp"])
    assert response["fileName"] == "manual.md"
    assert {each["headings"] for each in response["passages"]} == {"Router", "休假"}
    messages += [
        {"role": "assistant", "content": "十五天。"},
        {"role": "user", "content": "And how long is the warranty?"},
    ]
    reply = official().do(messages, plugins=["ChatFile", "eChart"])
    assert "The warranty lasts two years." in reply["result"]
    plain: Any = official().do(
        [{"role": "user", "content": "你好"}], plugins=["ChatFile", "eChart", "ImageAI"]
    )
    assert plain["result"] == "你好", "no plugin has anything to do"
    assert plain["plugin_info"] == []
    lone: Any = official().do([{"role": "user", "content": "画一个图"}], plugins=["eChart"])
    assert lone["result"].startswith("请求中没有可以画成图表的数据")


def test_the_sdk_uses_plugins(client: Client, site: str, tmp_path: Path) -> None:
    answer = client.plugins.use("eChart", "bar chart: Jan 12, Feb 15")
    assert answer.plugin == "eChart"
    assert answer.response["option"]["xAxis"]["data"] == ["Jan", "Feb"]
    path = tmp_path / "手册.md"
    path.write_text(MANUAL, "utf-8")
    for file in (path, f"{site}/manual.md", f"{site}/handbook"):
        answer = client.plugins.use("ChatFile", "How long is the warranty?", file=file)
        assert "two years" in answer.text
    assert client.plugins.use("ChatFile", "年假？", file=path).response["fileName"] == "手册.md"


def test_what_ernie_plugins_refuse(client: Client, official: Any, site: str) -> None:
    for plugins, messages, text in (
        ([], [("user", "x")], "plugins names 1 to 3 of eChart, ImageAI, ChatFile, got none"),
        (["eChart", "none"], [("user", "x")], "got eChart, none"),
        (["eChart"], [], "an odd number"),
        (["eChart"], [("user", "x"), ("assistant", "y")], "an odd number"),
        (["eChart"], [("system", "x")], r"messages\[0\] is 'system'"),
        (["eChart"], [("user", "x" * 4801)], "1 to 4800 characters besides its file, got 4801"),
        (["ImageAI"], [("user", "no picture")], "needs a picture"),
        (["ChatFile"], [("user", "no document")], "needs a document"),
    ):
        body = [{"role": role, "content": content} for role, content in messages]
        with pytest.raises(Invalid, match=text):
            client.plugins.converse(body, plugins)
    for file, text in (
        (f"{site}/none.md", "status 404"),
        (f"{site}/huge.txt", "bytes"),
        (f"{site}/broken.pdf", "broken.pdf"),
        ("http://10.0.0.1/a.pdf", "public address"),
        ("file:///etc/passwd", "https URL or a data URI"),
        ("data:application/pdf;base64,@", "base64"),
        ("data:application/x-dosexec;name=a.exe;base64,TVo=", "kinds of document"),
    ):
        with pytest.raises(Invalid, match=text):
            client.plugins.use("ChatFile", "x", file=file)
    messages = [{"role": "user", "content": f"<file>a.md</file><url>{site}/none.md</url>x"}]
    with pytest.raises(APIError, match="status 404"):
        list(official(model="EBPluginV2").do(messages, plugins=["ChatFile"], stream=True))


def test_a_long_conversation_forgets_its_beginning(client: Client) -> None:
    turn = [{"role": "user", "content": "a" * 2000}, {"role": "assistant", "content": "b" * 2000}]
    body = [*turn, *turn, {"role": "user", "content": "c" * 1000}]
    answer = client.plugins.converse(body, ["ChatFile", "ImageAI"])
    assert answer.text == "c" * 1000
    assert answer.total_tokens < 3000
