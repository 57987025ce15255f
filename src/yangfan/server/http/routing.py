"""From method, path and Action to a handler, by dictionary: the last of many routes costs as much as the first."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from yangfan.errors import EndpointNotFound, Invalid, MethodNotAllowed
from yangfan.server.http.call import Accepted, Call, Download, Reply, Stream

if TYPE_CHECKING:
    from yangfan.protocol.endpoint import Dialect, Endpoint

Handler = Callable[[Call[Any]], Awaitable[Reply | Stream | Download | Accepted]]


BodyReader = Callable[[bytes, Mapping[str, Any]], bytes]


class WrongMethod(MethodNotAllowed):
    """The path takes other methods, those in `allowed`."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"Only {' and '.join(allowed)} requests are accepted, got {method}")
        self.allowed = tuple(allowed)


@dataclass(frozen=True, slots=True)
class Route:
    """An Endpoint and the function that answers it.

    `body` makes the JSON body where a dialect also takes its parameters in other places; `tolerated` are methods that the real
    service takes besides the documented one.
    """

    endpoint: Endpoint[Any, Any]
    handler: Handler
    body: BodyReader | None = None
    tolerated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """The route that a request is for, and its path parameters."""

    route: Route
    params: Mapping[str, str]


_NO_PARAMS: dict[str, str] = {}

Routes = dict[tuple[str, str | None], Match]
"""Routes of one path by method and Action, as matches that serve every request to a path without parameters."""


class RoutingTable:
    """All routes, looked up by exact path, then by path without its last segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Index the routes.

        Raises:
            ValueError: Two routes answer the same method, path and Action.
        """
        self._exact: dict[str, Routes] = {}
        self._parent: dict[str, tuple[str, Routes]] = {}
        self._inner: dict[tuple[str, str], tuple[str, Routes]] = {}
        for route in routes:
            for path in (route.endpoint.path, *route.endpoint.aliases):
                table = self._table_for(path)
                for method in (route.endpoint.method, *route.tolerated):
                    key = (method, route.endpoint.action)
                    if key in table:
                        raise ValueError(f"{key} {path} is answered twice")
                    table[key] = Match(route, _NO_PARAMS)

    def _table_for(self, path: str) -> Routes:
        head, _, last = path.rpartition("/")
        if last.startswith("{"):
            return self._parent.setdefault(head, (last.strip("{}"), {}))[1]
        front, brace, rest = path.partition("/{")
        if brace:
            name, _, tail = rest.partition("}/")
            return self._inner.setdefault((front, tail), (name, {}))[1]
        return self._exact.setdefault(path, {})

    def knows(self, path: str) -> bool:
        """Whether a route answers this path, whatever the method."""
        head, _, last = path.rpartition("/")
        front, _, value = head.rpartition("/")
        inside = bool(last and value) and (front, last) in self._inner
        return path in self._exact or bool(last and head in self._parent) or inside

    def find(self, method: str, path: str, query: bytes) -> Match | None:
        """The route for a request; None when no route knows the path.

        Raises:
            WrongMethod: The path takes another method.
            Invalid: The path takes Actions and the request names none, or an unknown one.
        """
        if method == "HEAD":
            method = "GET"  # The listener leaves the body out.
        table, params = self._exact.get(path), _NO_PARAMS
        if table is None:
            head, _, last = path.rpartition("/")
            parent = self._parent.get(head)
            if parent is None:
                head, _, value = head.rpartition("/")
                parent, last = self._inner.get((head, last)), value
            if parent is None or not last:
                return None
            table, params = parent[1], {parent[0]: last}
        match = table.get((method, None)) or self._by_action(table, method, query)
        return Match(match.route, params) if params else match

    def _by_action(self, table: Routes, method: str, query: bytes) -> Match:
        methods = sorted({known for known, _ in table})
        if method not in methods:
            raise WrongMethod(method, methods)
        action = dict(parse_qsl(query.decode("latin-1"))).get("Action")
        match = table.get((method, action))
        if match is None:
            known = ", ".join(sorted(name for _, name in table if name))
            raise Invalid(
                f"query parameter Action must be one of {known}; got {action!r}", param="Action"
            )
        return match


_ACTION_PATHS = frozenset(
    {
        "/internal/jobs",
        "/internal/knowledge",
        "/v2/apikey",
        "/v2/batchinference",
        "/v2/charge",
        "/v2/computeunit",
        "/v2/finetuning",
        "/v2/eval",
        "/v2/jobs",
        "/v2/knowledgeBase",
        "/v2/plugin",
        "/v2/memory",
        "/v2/model",
        "/v2/promptLabels",
        "/v2/promptTemplates",
        "/v2/service",
        "/v2/serviceresources",
        "/v2/usage",
    }
)


def dialect_of(path: str) -> Dialect:
    """How to speak about a path that no route knows, or that refused before a route was found."""
    if path.startswith("/wenxinworkshop/prompt/"):
        return "data"
    if path.startswith(("/rpc/", "/wenxinworkshop/", "/rest/")):
        return "v1"
    if path.startswith("/oauth/"):
        return "oauth"
    if path.startswith("/v1/BCE-BEARER/"):
        return "iam"
    if path in _ACTION_PATHS or path.startswith("/v2/finetuning/"):
        return "action"
    return "v2"


_SLASHES = re.compile("//+")


def tidied(path: str) -> str:
    """The path without empty segments: base URLs that end in a slash, and bases that begin with one, make them."""
    return _SLASHES.sub("/", path).rstrip("/")


_FRONT = re.compile(r"^/openai/deployments/[^/]+|^/openai|^/api(?=/v[12]/)|^/v[12](?=/v[12]/)")
"""What stands in front too much: other services' prefixes, and versions that both the base URL and the client bring."""

_ELSEWHERE = {
    "/responses": "OpenAI's Responses API is not spoken here; set your client to chat completions",
    "/messages": "Anthropic's API is not spoken here; set your client to OpenAI's chat completions",
    "/llm/lmapi/": "AI Studio's API is not spoken here; set erniebot to api_type qianfan, with an api_base_url that ends in"
    " /rpc/2.0/ai_custom/v1/wenxinworkshop",
    "/api/chat": "Ollama's API is not spoken here; set your client to OpenAI's, with a base URL that ends in /v2",
    "/api/generate": "Ollama's API is not spoken here; set your client to OpenAI's, with a base URL that ends in /v2",
    "/api/tags": "Ollama's API is not spoken here; set your client to OpenAI's, with a base URL that ends in /v2",
}
"""Pieces of paths that clients of other APIs ask for."""


def unknown_path(method: str, path: str, *, known: Callable[[str], bool]) -> EndpointNotFound:
    """What to say about it; `known` tells whether a path would do."""
    shown = f"{method} {path[:200]} does not exist here"
    plain = tidied(path)
    for base in ("", "/v2"):
        better = base + _FRONT.sub("", plain)
        if better != plain and known(better):
            return EndpointNotFound(f"{shown}, but {better} does; mend the client's base URL")
    for piece, advice in _ELSEWHERE.items():
        if piece in plain:
            return EndpointNotFound(f"{shown}: {advice}")
    return EndpointNotFound(f"{shown}; /docs lists every path")
