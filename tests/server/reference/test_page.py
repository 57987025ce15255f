"""The reference page over real HTTP, as a browser without internet sees it."""

import hashlib
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette

from yangfan.protocol.v1 import oauth
from yangfan.protocol.v2 import chat
from yangfan.server.reference import Reference
from yangfan.server.reference.page import ASSETS

SWAGGER_UI_VERSION = "5.35.0"
SWAGGER_UI_SHA256 = "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2"


class Reply:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    reference = Reference([chat.CHAT, oauth.TOKEN], "1.2.3")
    config = uvicorn.Config(Starlette(routes=reference.routes), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=5)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Reply:
    """One request with the path on the wire exactly as given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=names)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def test_document_describes_the_given_endpoints_and_version(port: int):
    reply = ask(port, "/openapi.json")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    document = msgspec.json.decode(reply.body)
    assert document["info"]["version"] == "1.2.3"
    assert list(document["paths"]) == ["/v2/chat/completions", "/oauth/2.0/token"]


def test_page_and_all_it_asks_for_come_from_this_server(port: int):
    page = ask(port, "/docs")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert {link.rpartition("/")[2] for link in links} == {*ASSETS, "openapi.json"}
    for link in links:
        assert ask(port, f"/{link}").status == 200


def test_page_runs_no_inline_script_and_names_no_other_host(port: int):
    page = ask(port, "/docs").body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\bon\w+=|\bstyle=|<style", page)
    for text in (page, ask(port, "/docs/assets/start.js").body.decode()):
        assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/docs", "/docs/assets/start.js", "/docs/assets/no"]
)
def test_every_answer_carries_the_strict_headers(port: int, path: str):
    headers = ask(port, path).headers
    assert "default-src 'self';" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", *(f"/docs/assets/{n}" for n in ASSETS)])
def test_a_browser_that_has_it_gets_304_without_a_body(port: int, path: str):
    first = ask(port, path)
    assert first.headers["cache-control"] == "no-cache"
    again = ask(port, path, If_None_Match=f'"other", W/{first.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert ask(port, path, If_None_Match='"other"').status == 200


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/assets/swagger-ui.css"])
def test_head_answers_as_get_without_a_body(port: int, path: str):
    get, head = ask(port, path), ask(port, path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_refused(port: int, method: str):
    for path in ("/openapi.json", "/docs", "/docs/assets/start.js"):
        reply = ask(port, path, method)
        assert reply.status == 405
        assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "name",
    [
        "../page.py",
        "..%2fpage.py",
        "%2e%2e/page.py",
        "%2e%2e%2fpage.py",
        "..%5cpage.py",
        "%252e%252e%252fpage.py",
        "start.js/../../page.py",
        "start.js%00.css",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "",
        ".",
        "..",
        "README.md",
        "index.html",
        "START.JS",
    ],
)
def test_no_path_reaches_a_file_that_is_not_listed(port: int, name: str):
    reply = ask(port, f"/docs/assets/{name}")
    assert reply.status == 404
    assert b"import" not in reply.body


def test_swagger_ui_is_the_version_that_the_readme_of_the_folder_names():
    folder = Path(__file__).parents[3] / "src/yangfan/server/reference/assets"
    assert f"`swagger-ui-dist` {SWAGGER_UI_VERSION}," in (folder / "README.md").read_text()
    bundle = (folder / "swagger-ui-bundle.js").read_bytes()
    assert hashlib.sha256(bundle).hexdigest() == SWAGGER_UI_SHA256
    assert (folder / "LICENSE").is_file()


def test_nothing_is_computed_before_the_first_visit():
    twice = [chat.CHAT, chat.CHAT]
    reference = Reference(twice, "1")
    assert len(reference.routes) == 3
