"""Web pages that call from a browser, as browsers ask (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route as Page
from tests.server.http.conftest import Answer, OpenSite, endpoint, repeat, streaming

from yangfan.errors import ConfigurationError, Unauthenticated
from yangfan.server.http import Route
from yangfan.server.http.cors import Origins

PAGE = "https://chat.example.com"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
}


def nobody(*_: object) -> None:
    raise Unauthenticated("who are you?")


async def test_browser_that_asks_first_is_let_in_without_a_key(open_site: OpenSite):
    site = await open_site(
        [Route(endpoint(auth="inference"), repeat)],
        origins=Origins(["*"], keys=True),
        authenticate=nobody,
    )
    line = await site.connect()
    for path in ("/v2/ask", "/v2/nothing"):
        line.ask(
            path, "", "OPTIONS", PREFLIGHT | {"Access-Control-Request-Private-Network": "true"}
        )
        heard = await line.hear()
        assert (heard.status, heard.body) == (204, b"")
        told = {
            name.removeprefix("access-control-"): value
            for name, value in heard.headers.items()
            if name.startswith("access-control-")
        }
        assert told == {
            "allow-origin": "*",
            "allow-methods": "GET, HEAD, POST, DELETE",
            "allow-headers": "authorization,content-type,x-stainless-lang",
            "allow-private-network": "true",
            "expose-headers": "*",
            "max-age": "7200",
        }
        assert "vary" not in heard.headers


async def test_answers_refusals_and_streams_may_be_read_by_the_page(open_site: OpenSite):
    async def events() -> AsyncGenerator[Answer]:
        yield Answer("only")

    site = await open_site(
        [Route(endpoint(), repeat), Route(endpoint("/v2/flow"), streaming(events))],
        origins=Origins([PAGE + "/"], keys=True),
    )
    for path, body, status in [
        ("/v2/ask", "{}", 200),
        ("/v2/ask", "[", 400),
        ("/v2/flow", "{}", 200),
        ("/v2/nothing", "{}", 404),
    ]:
        heard = await site.ask(path, body, headers={"Origin": PAGE})
        assert heard.status == status
        assert heard.headers["access-control-allow-origin"] == PAGE
        assert heard.headers["vary"] == "Origin"
        assert heard.headers["access-control-expose-headers"] == "*"


async def test_programs_are_told_nothing_of_pages(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], origins=Origins(["*"], keys=True))
    assert not [name for name in (await site.ask()).headers if name.startswith("access")]


async def test_page_that_is_not_listed_is_told_where_to_list_it(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], origins=Origins([PAGE], keys=True))
    other = {"Origin": "https://other.example"}
    heard = await site.ask("/v2/ask", "", "OPTIONS", PREFLIGHT | other)
    assert heard.status == 401
    assert "pages of https://other.example may not call" in heard.json["error"]["message"]
    assert "cors_origins" in heard.json["error"]["message"]
    assert "access-control-allow-origin" not in heard.headers
    # It needs a key, which a stranger's page does not have, so it is answered; the browser keeps that from the page.
    heard = await site.ask(headers=other)
    assert heard.status == 200
    assert "access-control-allow-origin" not in heard.headers


async def test_server_without_keys_refuses_strangers_pages(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], origins=Origins([], keys=False))
    for origin in ("https://evil.example", "null", "http://x.evil.example"):
        heard = await site.ask(headers={"Origin": origin, "Content-Type": "text/plain"})
        assert heard.status == 401
        assert f"pages of {origin} may not call it" in heard.json["error"]["message"]
    assert (await site.ask(headers={"Origin": "http://x"})).status == 200  # its own page, /docs
    assert (await site.ask()).status == 200


async def test_pages_of_this_machine_may_be_let_in_together(open_site: OpenSite):
    site = await open_site(
        [Route(endpoint(), repeat)], origins=Origins(["localhost", "app://obsidian.md"], keys=False)
    )
    for origin in (
        "http://localhost:5173",
        "http://127.0.0.1",
        "https://[::1]:8443",
        "app://obsidian.md",
    ):
        heard = await site.ask(headers={"Origin": origin})
        assert (heard.status, heard.headers["access-control-allow-origin"]) == (200, origin)
    for origin in (
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://evil.example/localhost",
        "http://localhost:80@evil.example",
    ):
        assert (await site.ask(headers={"Origin": origin})).status == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("yangfan", 200),
        ("host.docker.internal", 200),
        ("chat.example.com:8000", 200),
        ("evil.example:8000", 401),
        ("127.0.0.1.evil.example", 401),
        ("[evil.example]", 401),
    ],
)
async def test_server_without_keys_answers_to_its_own_names_alone(
    open_site: OpenSite, host: str, status: int
):
    # A page of evil.example whose name its owner lets point here asks without an Origin, or with one like the Host.
    site = await open_site([Route(endpoint(), repeat)], origins=Origins([PAGE], keys=False))
    line = await site.connect()
    for origin in ("", f"Origin: http://{host}\r\n"):
        line.send(f"POST /v2/ask HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: 2\r\n\r\n{{}}")
        heard = await line.hear()
        assert heard.status == status
        assert status == 200 or "call it localhost" in heard.json["error"]["message"]


async def test_page_of_the_server_is_not_for_strangers_pages(open_site: OpenSite):
    async def metrics(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("figures")

    site = await open_site(
        [Route(endpoint(), repeat)],
        origins=Origins(["*"], keys=True),
        pages=Starlette(routes=[Page("/metrics", metrics)]),
        page_paths=["/metrics"],
    )
    heard = await site.ask("/metrics", "", "GET", {"Origin": PAGE})
    assert heard.body == b"figures"
    assert "access-control-allow-origin" not in heard.headers


async def test_header_names_that_are_none_are_not_repeated(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], origins=Origins(["*"], keys=True))
    odd = {"Access-Control-Request-Headers": "a\u00e9<script>"}
    heard = await site.ask("/v2/ask", "", "OPTIONS", PREFLIGHT | odd)
    assert heard.status == 204
    assert "access-control-allow-headers" not in heard.headers


async def test_other_options_are_no_question_of_a_browser(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], origins=Origins(["*"], keys=True))
    heard = await site.ask(method="OPTIONS")
    assert (heard.status, heard.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("origin", ["chat.example.com", "https://a/b", "https://*.a", "://a", ""])
def test_what_is_no_origin_is_refused(origin: str):
    with pytest.raises(ConfigurationError, match="cors_origins must be"):
        Origins([origin], keys=True)
