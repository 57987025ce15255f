"""Calling an operation of an OpenAPI document: inputs become a request, the answer becomes text for a model. Pure but for the guard's fetch."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import quote, urlencode

import msgspec

from yangfan.errors import InvalidPluginArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.egress import Egress
    from yangfan.server.plugins.tools import Parameter, Tool

MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
MAX_TOLD_CHARS: Final = 16_000
"""Of an answer, for a model."""

_SEPARATORS = {"comma": ",", "space": " ", "pipe": "|"}


class Auth(NamedTuple):
    """How callers show who they are: none, bearer, basic, header or query; the name of the field; and the secret."""

    kind: str
    name: str
    secret: str

    def __repr__(self) -> str:
        """No secret."""
        return f"Auth({self.kind}, {self.name})"

    def fields(self) -> dict[str, str]:
        """Header fields to send."""
        if self.kind == "bearer":
            return {"authorization": f"Bearer {self.secret}"}
        if self.kind == "basic":
            return {"authorization": f"Basic {base64.b64encode(self.secret.encode()).decode()}"}
        return {self.name.lower(): self.secret} if self.kind == "header" else {}


class Request(NamedTuple):
    """What is sent."""

    url: str
    headers: dict[str, str]
    content: bytes | None


class Told(NamedTuple):
    """What a model, or a caller who tries a tool, is told of an answer."""

    text: str
    failed: bool = False


def request_of(tool: Tool, base_url: str, auth: Auth, inputs: Mapping[str, Any]) -> Request:
    """What an operation's inputs, which were checked, become.

    Raises:
        InvalidPluginArgument: One cannot be written where it goes.
    """
    path = tool.path
    query: list[tuple[str, str]] = []
    headers = {"accept": "application/json, text/*;q=0.9, */*;q=0.5"}
    content: bytes | None = None
    for parameter in tool.parameters:
        if parameter.input not in inputs:
            continue
        value = inputs[parameter.input]
        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", _segment(parameter, value))
        elif parameter.place == "query":
            query += _pairs(parameter, value)
        elif parameter.place == "header":
            headers[parameter.name.lower()] = _field(parameter, value)
        else:
            headers["content-type"], content = parameter.style, _body(parameter, value)
    if auth.kind == "query":
        query.append((auth.name, auth.secret))
    headers.update(auth.fields())
    url = base_url.rstrip("/") + quote(path, safe="/%:@!$&'()*+,;=-._~")
    return Request(f"{url}?{urlencode(query, quote_via=quote)}" if query else url, headers, content)


async def call(
    egress: Egress,
    tool: Tool,
    base_url: str,
    auth: Auth,
    inputs: Mapping[str, Any],
    timeout_seconds: float,
) -> Told:
    """Call an operation through the guard.

    Raises:
        InvalidPluginArgument: An input cannot be written where it goes.
        FetchError: The guard refuses the address, or there is no usable answer.
    """
    request = request_of(tool, base_url, auth, inputs)
    async with egress.open(
        request.url,
        max_bytes=MAX_ANSWER_BYTES,
        headers=request.headers,
        method=tool.method,
        content=request.content,
        timeout_seconds=timeout_seconds,
        private=auth.fields(),
    ) as response:
        content = await response.read()
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        status = response.status
    text = _readable(content, kind)
    if auth.secret:
        text = text.replace(auth.secret, "…")
    if status >= 300:
        return Told(f"HTTP {status}: {text}", failed=True)
    return Told(text or f"HTTP {status}, without a body")


def clipped(text: str) -> str:
    """A text as long as a model is told it."""
    if len(text) <= MAX_TOLD_CHARS:
        return text
    return (
        f"{text[:MAX_TOLD_CHARS]}\n… ({len(text) - MAX_TOLD_CHARS} more characters were left out)"
    )


def _readable(content: bytes, kind: str) -> str:
    if not content:
        return ""
    if kind.endswith("json"):
        try:
            return clipped(msgspec.json.encode(msgspec.json.decode(content)).decode())
        except (msgspec.MsgspecError, RecursionError):
            pass
    if kind.startswith("text/") or kind.endswith(("json", "xml", "yaml", "x-www-form-urlencoded")):
        return clipped(content.decode("utf-8", "replace"))
    return f"{len(content)} bytes of {kind or 'an unknown type'}, which are no text"


def _segment(parameter: Parameter, value: Any) -> str:
    text = ",".join(map(_plain, _items(value)))
    if text in {"", ".", ".."}:
        raise InvalidPluginArgument(
            f"{parameter.input} is a part of the path and cannot be {text!r}", param=parameter.input
        )
    return quote(text, safe=",")


def _field(parameter: Parameter, value: object) -> str:
    text = _json(value) if parameter.style == "json" else ",".join(map(_plain, _items(value)))
    if not text.isprintable() or not text.isascii():
        raise InvalidPluginArgument(
            f"{parameter.input} is a header field and takes printable ASCII on one line",
            param=parameter.input,
        )
    return text


def _pairs(parameter: Parameter, value: Any) -> list[tuple[str, str]]:
    name = parameter.name
    if parameter.style == "json":
        return [(name, _json(value))]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        if parameter.style == "deep":
            return [(f"{name}[{key}]", _plain(each)) for key, each in items]
        if parameter.style == "explode":
            return [(key, _plain(each)) for key, each in items]
    if isinstance(value, list) and parameter.style == "explode":
        return [(name, _plain(each)) for each in cast("list[Any]", value)]
    return [(name, _SEPARATORS.get(parameter.style, ",").join(map(_plain, _items(value))))]


def _body(parameter: Parameter, value: object) -> bytes:
    if parameter.style == "application/x-www-form-urlencoded":
        if not isinstance(value, dict):
            raise InvalidPluginArgument(
                f"{parameter.input} must be an object", param=parameter.input
            )
        items = cast("dict[str, Any]", value).items()
        return urlencode({key: _plain(each) for key, each in items}).encode()
    if parameter.style == "text/plain":
        return _plain(value).encode("utf-8", "replace")
    return msgspec.json.encode(value)


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return cast("list[Any]", value)
    if isinstance(value, dict):
        return [each for pair in cast("dict[str, Any]", value).items() for each in pair]
    return [value]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
