"""Plugin applications through the API: from a knowledge base and about the weather, sync and streamed, with Qianfan's own client."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import qianfan
from tests.conftest import EMBEDDINGS_MODEL, Server, serving, wait_until
from tests.plugins.weather.test_weather import ANSWER
from tests.server.plugins.world import a_world
from typer.testing import CliRunner

from yangfan import Client
from yangfan.cli import application
from yangfan.errors import Conflict, Forbidden, Invalid, ModelNotFound, NotFound

WAIT_SECONDS = 120.0


class Provider(ThreadingHTTPServer):
    """A provider of weather that a test can break."""

    daemon_threads = True
    broken = False


class Answering(BaseHTTPRequestHandler):
    """Answers as Open-Meteo does."""

    def do_GET(self) -> None:
        """The same weather everywhere."""
        assert isinstance(self.server, Provider)
        body = b"down" if self.server.broken else json.dumps(ANSWER).encode()
        self.send_response(500 if self.server.broken else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def provider() -> Generator[Provider]:
    with Provider(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    model_cache: Path,
    minilm_folder: Path,
    provider: Provider,
) -> Generator[Server]:
    del minilm_folder
    environ = {
        "YANGFAN_MODEL_STORE": str(model_cache),
        "YANGFAN_EGRESS_ALLOW": "127.0.0.1",
        "YANGFAN_WEATHER_BASE_URL": f"http://127.0.0.1:{provider.server_address[1]}",
    }
    home = tmp_path_factory.mktemp("plugin-home")
    with serving(home, models=("echo", EMBEDDINGS_MODEL), environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def handbook(client: Client) -> str:
    """A plugin application over a knowledge base with two documents."""
    base = client.knowledge.create("handbook")
    client.knowledge.add_texts(
        base.id,
        {
            "手册.md": "# 员工手册\n\n## 休假\n\n每位员工每年有十五天带薪年假。",
            "manual.md": "# Router\n\nThe warranty lasts two years.",
        },
    )
    wait_until(
        lambda: all(each.state == "ready" for each in client.knowledge.documents(base.id)),
        "the documents to be read",
        WAIT_SECONDS,
    )
    client.plugins.create(
        "handbook",
        ["uuid-zhishiku", "uuid-weatherforecast"],
        model="echo",
        knowledge_base_ids=[base.id],
    )
    return "handbook"


@pytest.fixture
def official(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Qianfan's own client, unchanged."""
    config = qianfan.get_config()
    monkeypatch.setattr(config, "BASE_URL", server.base_url)
    monkeypatch.setattr(config, "AK", server.api_key)
    monkeypatch.setattr(config, "SK", server.secret_key)
    monkeypatch.setattr(config, "ACCESS_KEY", server.access_key)
    monkeypatch.setattr(config, "SECRET_KEY", server.secret_access_key)
    return qianfan.Plugin(endpoint="handbook")


def test_an_answer_rests_on_the_documents(client: Client, handbook: str) -> None:
    answer = client.plugins.ask(handbook, "年假有多少天？")
    assert "每位员工每年有十五天带薪年假" in answer.text, "echo says what it was told"
    assert answer.total_tokens > 0
    found = answer.meta["response"]["result"]["responses"]
    assert found[0]["docName"] == "手册.md"
    assert found[0]["content"] == "每位员工每年有十五天带薪年假。"
    assert answer.meta["plugin_id"] == "uuid-zhishiku"
    assert answer.meta["action"] == "llm"
    assert any(
        each["source"] == "每位员工每年有十五天带薪年假。" for each in answer.meta["citations"]
    )


def test_what_the_documents_do_not_hold_is_said(client: Client, handbook: str) -> None:
    answer = client.plugins.ask(handbook, "量子色动力学的拉格朗日量")
    assert answer.text == "抱歉，知识库中没有与该问题相关的内容。"
    assert answer.total_tokens == 0


def test_the_weather(client: Client, handbook: str, provider: Provider) -> None:
    weather = ["uuid-weatherforecast"]
    answer = client.plugins.ask(handbook, "北京今天天气怎么样？", plugins=weather)
    assert "小雨" in answer.text
    assert "2026-11-27T10:00" in answer.text
    assert answer.meta["response"]["source"].startswith("http://127.0.0.1")
    assert "city" in client.plugins.ask(handbook, "How is the weather?", plugins=weather).text
    provider.broken = True
    try:
        answer = client.plugins.ask(handbook, "weather in London", plugins=weather)
    finally:
        provider.broken = False
    assert answer.text == "The weather provider cannot be reached now; try again later."
    assert answer.meta["response"]["retCode"] == 2


def test_the_plugins_that_there_are(client: Client) -> None:
    found = {each.id: each for each in client.plugins.installed()}
    knowledge, weather = found["uuid-zhishiku"], found["uuid-weatherforecast"]
    assert (knowledge.state, knowledge.problem, knowledge.origin) == ("ready", "", "yangfan")
    assert knowledge.name == {"zh": "知识库", "en": "Knowledge base"}
    assert knowledge.permissions == ("knowledge",)
    assert weather.permissions == ("network",)
    assert weather.tools[0].name == "weather_forecast"
    assert weather.tools[0].inputs["required"] == ["query"]
    assert client.plugins.describe("uuid-weatherforecast") == weather
    with pytest.raises(Invalid, match="yangfan plugins list"):
        client.plugins.describe("uuid-none")


def test_qianfans_client(official: Any, handbook: str) -> None:
    reply: Any = official.do("年假有多少天？", plugins=["uuid-zhishiku"], verbose=True)
    assert "十五天" in reply["result"]
    assert reply["meta_info"]["response"]["result"]["responses"][0]["docName"] == "手册.md"
    assert reply["usage"]["total_tokens"] > 0
    events: list[Any] = list(
        official.do("年假有多少天？", plugins=["uuid-zhishiku"], stream=True, verbose=True)
    )
    assert [event["sentence_id"] for event in events] == list(range(len(events)))
    assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
    assert "十五天" in "".join(event["result"] for event in events)
    assert "meta_info" in events[-1].body
    assert "meta_info" not in events[0].body
    (only,) = list(official.do("量子色动力学的拉格朗日量", plugins=["uuid-zhishiku"], stream=True))
    assert only["result"].startswith("抱歉")
    assert only["is_end"] is True
    weather: Any = official.do("上海天气", plugins=["uuid-weatherforecast"])
    assert "小雪" in weather["result"]


def test_history_and_variables(client: Client, handbook: str) -> None:
    base_ids = client.plugins.get(handbook).knowledge_base_ids
    client.plugins.create(
        "polite",
        ["uuid-zhishiku"],
        prompt="{who}:{context}?{question}",
        knowledge_base_ids=base_ids,
    )
    answer = client.plugins.ask(
        "polite",
        "年假有多少天？",
        variables={"who": "老王"},
        history=[("user", "a"), ("assistant", "b")],
    )
    assert "老王:[1]" in answer.text
    assert client.plugins.modify("polite", prompt="").prompt == ""
    assert {each.name for each in client.plugins.list()} >= {"handbook", "polite"}
    client.plugins.delete("polite")
    with pytest.raises(NotFound, match="DescribePluginApplications"):
        client.plugins.get("polite")


def test_errors(client: Client, server: Server, handbook: str) -> None:
    base_ids = client.plugins.get(handbook).knowledge_base_ids
    for plugins, options, text in (
        (["uuid-none"], {}, "there are: .*uuid-zhishiku"),
        (["uuid-zhishiku"], {}, "needs knowledgeBaseIds"),
        (["uuid-zhishiku"], {"knowledge_base_ids": base_ids, "prompt": "x"}, r"needs \{question\}"),
    ):
        with pytest.raises(Invalid, match=text):
            client.plugins.create("wrong", plugins, **options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotFound, match="no knowledge base"):
        client.plugins.create("wrong", ["uuid-zhishiku"], knowledge_base_ids=["kb-none"])
    with pytest.raises(Conflict, match="take another name"):
        client.plugins.create(handbook, ["uuid-weatherforecast"])
    with pytest.raises(ModelNotFound):
        client.plugins.ask("none", "x")
    with pytest.raises(Forbidden, match="may not use the plugin"):
        client.plugins.ask(handbook, "x", plugins=["uuid-chatocr"])
    for query in ("", "x" * 1001):
        with pytest.raises(Invalid, match="query must have 1 to 1000"):
            client.plugins.ask(handbook, query)
    with pytest.raises(Invalid, match="ends with the assistant"):
        client.plugins.ask(handbook, "x", history=[("user", "a")])
    with pytest.raises(Invalid, match="alternates"):
        client.plugins.ask(handbook, "x", history=[("system", "a"), ("user", "b")])
    key = client.keys.create(kind="bearer", name="stranger")
    reply = httpx2.post(
        f"{server.v1}/plugin/{handbook}/",
        json={"query": "x"},
        headers={"Authorization": f"Bearer {key.secret}"},
    )
    assert reply.json()["error_code"] == 6


def test_a_page_is_read_found_and_fetched_again(client: Client) -> None:
    base = client.knowledge.create("pages")

    def ready() -> bool:
        states = {each.state for each in client.knowledge.documents(base.id)}
        assert "failed" not in states
        return states == {"ready"}

    with a_world() as world:
        page = client.knowledge.add_page(base.id, f"{world.url}/rules", metadata={"by": "us"})
        assert page.name == "127.0.0.1-rules.html"
        assert page.metadata == {"by": "us", "source_url": f"{world.url}/rules"}
        wait_until(ready, "the page to be read", WAIT_SECONDS)
        (found,) = client.knowledge.search([base.id], "Where may cats sleep?")
        assert (found.text, found.headings) == ("Cats may sleep on the sofa.", "Rules")
        world.rule = "Cats may sleep nowhere."
        again = client.knowledge.fetch_again(base.id, page.id)
        assert (again.id, again.name) == (page.id, page.name)
        wait_until(ready, "the page to be read again", WAIT_SECONDS)
        (found,) = client.knowledge.search([base.id], "Where may cats sleep?")
        assert found.text == "Cats may sleep nowhere."
        for path, text in (("picture", "is image/png, which is not read"), ("none", "HTTP 404")):
            with pytest.raises(Invalid, match=text):
                client.knowledge.add_page(base.id, f"{world.url}/{path}")
    with pytest.raises(Invalid, match="cannot be fetched"):
        client.knowledge.fetch_again(base.id, page.id)
    (text,) = client.knowledge.add_texts(base.id, {"a.txt": "By hand."})
    with pytest.raises(Invalid, match="was not fetched from the web"):
        client.knowledge.fetch_again(base.id, text.id)
    with pytest.raises(Invalid, match="is not a public address"):
        client.knowledge.add_page(base.id, "https://169.254.169.254/latest/meta-data")


def test_the_command_line(server: Server, handbook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YANGFAN_HOME", str(server.home))

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(application(arguments), [*arguments])
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result

    run("plugins", "create", "sky", "--plugin", "uuid-weatherforecast")
    assert "sky" in run("plugins", "apps").stdout
    assert "uuid-zhishiku" in run("plugins", "list").stdout
    listed = json.loads(run("plugins", "list", "--json").stdout)
    assert {"uuid-zhishiku", "uuid-weatherforecast"} <= {each["id"] for each in listed}
    shown = run("plugins", "show", "uuid-weatherforecast").stdout
    assert "天气 / Weather" in shown
    assert "weather_forecast:" in shown
    assert json.loads(run("plugins", "show", "uuid-zhishiku", "--json").stdout)["permissions"] == [
        "knowledge"
    ]
    assert "小雨" in run("plugins", "ask", "sky", "北京天气").stdout
    assert json.loads(run("plugins", "ask", handbook, "年假有多少天？", "--json").stdout)["meta"][
        "citations"
    ]
    run("plugins", "rm", "sky")
    assert "sky" not in run("plugins", "apps").stdout
