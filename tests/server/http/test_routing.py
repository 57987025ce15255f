"""Method, path and Action to a handler."""

from __future__ import annotations

import pytest
from tests.server.http.conftest import endpoint, repeat

from yangfan.errors import EndpointNotFound, Invalid
from yangfan.server.http import Route
from yangfan.server.http.routing import (
    RoutingTable,
    WrongMethod,
    dialect_of,
    tidied,
    unknown_path,
)


def table(*routes: Route) -> RoutingTable:
    return RoutingTable(routes)


def test_exact_path_and_its_aliases_find_one_route():
    route = Route(endpoint("/v2/ask", aliases=("/v1/ask",)), repeat)
    for path in ("/v2/ask", "/v1/ask"):
        match = table(route).find("POST", path, b"")
        assert match is not None
        assert match.route is route
        assert match.params == {}


def test_last_segment_becomes_a_parameter():
    match = table(Route(endpoint("/chat/{model}"), repeat)).find("POST", "/chat/ernie_speed", b"")
    assert match is not None
    assert match.params == {"model": "ernie_speed"}


def test_exact_path_wins_over_a_parameter():
    exact, open_ended = Route(endpoint("/chat/new"), repeat), Route(endpoint("/chat/{id}"), repeat)
    match = table(open_ended, exact).find("POST", "/chat/new", b"")
    assert match is not None
    assert match.route is exact


@pytest.mark.parametrize("path", ["/chat/", "/chat", "/chat/a/b", "/", "", "/other/a"])
def test_parameter_is_one_segment_and_not_empty(path: str):
    assert table(Route(endpoint("/chat/{id}"), repeat)).find("POST", path, b"") is None


def test_action_chooses_among_routes_of_one_path():
    create = Route(endpoint("/v2/key", action="Create"), repeat)
    delete = Route(endpoint("/v2/key", action="Delete"), repeat)
    match = table(create, delete).find("POST", "/v2/key", b"a=1&Action=Delete")
    assert match is not None
    assert match.route is delete


@pytest.mark.parametrize("query", [b"", b"Action=", b"Action=create", b"action=Create"])
def test_missing_or_unknown_action_lists_those_that_exist(query: bytes):
    routes = [Route(endpoint("/v2/key", action=name), repeat) for name in ("Create", "Delete")]
    with pytest.raises(Invalid, match="must be one of Create, Delete") as raised:
        RoutingTable(routes).find("POST", "/v2/key", query)
    assert raised.value.param == "Action"


def test_wrong_method_says_which_are_right():
    routes = table(
        Route(endpoint("/v2/ask"), repeat),
        Route(endpoint("/v2/ask", method="GET", name="get"), repeat),
    )
    with pytest.raises(WrongMethod) as raised:
        routes.find("PUT", "/v2/ask", b"")
    assert raised.value.allowed == ("GET", "POST")
    assert raised.value.message == "Only GET and POST requests are accepted, got PUT"


def test_tolerated_method_finds_the_route():
    route = Route(endpoint("/v2/ask"), repeat, tolerated=("GET",))
    match = table(route).find("GET", "/v2/ask", b"")
    assert match is not None
    assert match.route is route


@pytest.mark.parametrize(
    "second",
    [
        endpoint("/v2/ask", name="second"),
        endpoint("/v2/other", aliases=("/v2/ask",)),
    ],
)
def test_two_answers_to_one_call_are_refused(second: object):
    with pytest.raises(ValueError, match="/v2/ask is answered twice"):
        RoutingTable([Route(endpoint("/v2/ask"), repeat), Route(second, repeat)])  # pyright: ignore[reportArgumentType] - parametrised


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/x", "v1"),
        ("/wenxinworkshop/service/list", "v1"),
        ("/rest/2.0/x", "v1"),
        ("/oauth/2.0/x", "oauth"),
        ("/v1/BCE-BEARER/x", "iam"),
        ("/v2/apikey", "action"),
        ("/v2/x", "v2"),
        ("/v1/x", "v2"),
        ("/", "v2"),
    ],
)
def test_unknown_path_is_refused_in_the_dialect_of_its_prefix(path: str, dialect: str):
    assert dialect_of(path) == dialect


def test_unknown_path_is_quoted_at_bounded_length():
    error = unknown_path("GET", "/" + "a" * 10_000, known=lambda _path: False)
    assert isinstance(error, EndpointNotFound)
    assert len(error.message) < 300
    assert error.message.endswith("does not exist here; /docs lists every path")


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/models", "but /v2/models does; mend the client's base URL"),
        ("/v2/v2/models", "but /v2/models does"),
        ("/v2/v1/files/file-1", "but /v1/files/file-1 does"),
        ("/openai/deployments/gpt-4/models", "but /v2/models does"),
        ("/v1/openai/models", "/docs lists every path"),
        ("/v2/responses", "set your client to chat completions"),
        ("/v1/messages", "set your client to OpenAI's chat completions"),
        ("/llm/lmapi/v1/chat/ernie_speed", "set erniebot to api_type qianfan"),
        ("/api/tags", "with a base URL that ends in /v2"),
    ],
)
def test_path_that_a_wrong_base_url_makes_is_told_the_right_one(path: str, advice: str):
    table = RoutingTable(
        [
            Route(endpoint("/v2/models", name="a"), repeat),
            Route(endpoint("/v1/files/{id}", name="b"), repeat),
            Route(endpoint("/v1/files/{id}/content", name="c"), repeat),
        ]
    )
    assert advice in unknown_path("GET", path, known=table.knows).message
    assert table.knows("/v1/files/x/content")
    assert not table.knows("/v1/files/")


@pytest.mark.parametrize(
    ("path", "told"),
    [("//v2//x/", "/v2/x"), ("/v2/x", "/v2/x"), ("/", ""), ("//", ""), ("/v2/x///", "/v2/x")],
)
def test_slashes_too_many_are_left_out(path: str, told: str):
    assert tidied(path) == told
