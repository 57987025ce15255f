"""An OpenAPI document becomes tools: one for each operation. Pure, and made for documents that mean harm.

Follows OpenAPI 3.0, 3.1 and 3.2 (https://spec.openapis.org/oas/). References lead nowhere but into the document itself; YAML may hold no aliases,
so that nothing in it multiplies; sizes, depths and counts are bounded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
import yaml

from yangfan.errors import ConfigurationError, Invalid
from yangfan.plugins._schema import Inputs
from yangfan.server.plugins.tools import (
    MAX_DESCRIPTION_CHARS,
    MAX_SCHEMA_BYTES,
    MAX_TOOLS,
    Parameter,
    Tool,
    tool_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_JSON_BYTES: Final = 4 * 1024 * 1024
MAX_YAML_BYTES: Final = 1024 * 1024
"""Reading YAML takes fifty times as long as JSON."""

MAX_DEPTH: Final = 64
MAX_NODES: Final = 200_000
MAX_REF_HOPS: Final = 16
MAX_REF_CHARS: Final = 512
MAX_SCHEMAS: Final = 200
"""Schemas that one operation refers to, directly and through others."""

_METHODS = ("get", "put", "post", "delete", "patch")
_OWN_HEADERS = frozenset(
    {
        *("accept", "authorization", "connection", "content-length", "content-type", "cookie"),
        *("host", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization"),
    }
)
"""Header fields that an input never sets: the specification leaves some out, the others would change how the request is read."""

_BODIES = ("application/json", "application/x-www-form-urlencoded", "text/plain")
_NOT_SCHEMA = frozenset({"xml", "externalDocs", "example", "discriminator", "deprecated"})


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a document.

    Attributes:
        title: Of the API.
        description: Likewise.
        base_url: Where its operations are; "" if it does not say.
        tools: Its operations.
        left_out: Operations that cannot be called from here, and why.
        auth: How it wants callers to show who they are: bearer, basic, header or query; none if it does not say.
        auth_name: Of the header field or parameter.
    """

    title: str
    description: str
    base_url: str
    tools: tuple[Tool, ...]
    left_out: tuple[str, ...]
    auth: str
    auth_name: str


def read(text: str, *, source_url: str = "") -> Document:
    """Read a document in JSON or YAML.

    Args:
        text: Of the document.
        source_url: Where it came from, for servers that it names relative to that.

    Raises:
        Invalid: It is no OpenAPI 3 document, too large or too deep, refers to something outside of itself, or has no operation.
    """
    root = _parsed(text)
    version = root.get("openapi")
    if not isinstance(version, str) or not re.fullmatch(r"3\.[0-2](\.\d+)?(-.*)?", version):
        told = f"swagger {root['swagger']!r}"[:32] if "swagger" in root else f"{version!r}"[:32]
        raise Invalid(
            f"the document must say openapi 3.0, 3.1 or 3.2, got {told}; https://converter.swagger.io converts older ones",
            param="document",
        )
    reader = _Reader(root)
    tools, left_out = reader.tools()
    if not tools:
        why = f": {'; '.join(left_out[:3])}" if left_out else ""
        raise Invalid(f"the document has no operation that can be called{why}", param="document")
    info = _mapping(root.get("info"))
    auth, auth_name = reader.auth()
    return Document(
        title=_text(info.get("title"))[:200],
        description=_text(info.get("description"))[:MAX_DESCRIPTION_CHARS],
        base_url=_base_url(root, source_url),
        tools=tuple(tools),
        left_out=tuple(left_out),
        auth=auth,
        auth_name=auth_name,
    )


def _parsed(text: str) -> Mapping[str, Any]:
    content = text.encode("utf-8", "replace")
    if len(content) > MAX_JSON_BYTES:
        raise Invalid(f"the document has more than {MAX_JSON_BYTES} bytes", param="document")
    try:
        if text.lstrip().startswith("{"):
            root = msgspec.json.decode(content)
        else:
            root = _yaml(text, len(content))
    except (msgspec.MsgspecError, yaml.YAMLError, ValueError) as error:
        told = str(error).splitlines()[0][:200]
        raise Invalid(f"the document is neither JSON nor YAML: {told}", param="document") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(root, dict):
        raise Invalid("the document is no object", param="document")
    _check_size(root)
    return cast("dict[str, Any]", root)


def _yaml(text: str, size_bytes: int) -> Any:
    if size_bytes > MAX_YAML_BYTES:
        raise Invalid(
            f"a YAML document has at most {MAX_YAML_BYTES} bytes; send it as JSON", param="document"
        )
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    events: Iterator[Any] = cast("Any", yaml).parse(text, loader)
    for nodes, event in enumerate(events):
        if isinstance(event, yaml.AliasEvent):
            raise Invalid(
                "the document has YAML aliases; write out what they stand for", param="document"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        if nodes > 2 * MAX_NODES:
            raise _too_many()
    return yaml.load(text, loader)  # noqa: S506 - one of the two safe loaders


def _check_size(root: Any) -> None:
    waiting: list[tuple[Any, int]] = [(root, 0)]
    nodes = 0
    while waiting:
        value, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        if nodes > MAX_NODES:
            raise _too_many()
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value)
            waiting += [(each, depth + 1) for each in items.values()]
            if any(not isinstance(key, str | int) for key in items):
                raise Invalid("the document has keys that are no text", param="document")
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in cast("list[Any]", value)]


def _too_deep() -> Invalid:
    return Invalid(f"the document is nested deeper than {MAX_DEPTH}", param="document")


def _too_many() -> Invalid:
    return Invalid(f"the document has more than {MAX_NODES} values", param="document")


class _Reader:
    """Reads the operations of one document."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._old = _text(root.get("openapi")).startswith("3.0")

    def tools(self) -> tuple[list[Tool], list[str]]:
        """Those that can be called, and why the others cannot."""
        tools: dict[str, Tool] = {}
        left_out: list[str] = []
        for path, item in _mapping(self._root.get("paths")).items():
            described = _mapping(self._followed(item))
            for method in _METHODS:
                operation = described.get(method)
                if not isinstance(operation, dict):
                    continue
                if len(tools) >= MAX_TOOLS:
                    raise Invalid(
                        f"the document has more than {MAX_TOOLS} operations; keep those that a model is to call",
                        param="document",
                    )
                where = f"{method.upper()} {path}"
                try:
                    tool = self._tool(
                        str(path), method, cast("dict[str, Any]", operation), described, tools
                    )
                except _Unfit as error:
                    left_out.append(f"{where}: {error}")
                    continue
                tools[tool.name] = tool
        return list(tools.values()), left_out

    def auth(self) -> tuple[str, str]:
        """The first of its security schemes that can be met."""
        schemes = _mapping(_mapping(self._root.get("components")).get("securitySchemes"))
        for described in schemes.values():
            scheme = _mapping(self._followed(described))
            kind = scheme.get("type")
            if kind == "http" and _text(scheme.get("scheme")).lower() in {"bearer", "basic"}:
                return _text(scheme["scheme"]).lower(), ""
            if kind in {"oauth2", "openIdConnect"}:
                return "bearer", ""
            if kind == "apiKey" and scheme.get("in") in {"header", "query"}:
                return _text(scheme["in"]), _text(scheme.get("name"))
        return "none", ""

    def _tool(
        self,
        path: str,
        method: str,
        operation: Mapping[str, Any],
        item: Mapping[str, Any],
        taken: Mapping[str, Tool],
    ) -> Tool:
        if not path.startswith("/") or any(letter in path for letter in "?#\\ "):
            raise _Unfit("its path is none")
        properties: dict[str, Any] = {}
        required: list[str] = []
        parameters: list[Parameter] = []
        schemas = _Schemas(self)
        for described in self._parameters(operation, item):
            self._parameter(described, schemas, properties, required, parameters)
        if set(re.findall(r"\{([^{}]+)\}", path)) - {
            each.name for each in parameters if each.place == "path"
        }:
            raise _Unfit("its path has parameters that it does not describe")
        self._body(operation, schemas, properties, required, parameters)
        inputs: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
        if schemas.definitions:
            inputs["$defs"] = schemas.definitions
        inputs["additionalProperties"] = False
        if len(msgspec.json.encode(inputs)) > MAX_SCHEMA_BYTES:
            raise _Unfit(f"its inputs are described in more than {MAX_SCHEMA_BYTES} bytes")
        try:
            Inputs(inputs)
        except ConfigurationError as error:
            raise _Unfit(error.message) from None
        summary = " ".join(
            filter(None, (_text(operation.get("summary")), _text(operation.get("description"))))
        )
        return Tool(
            name=tool_name(_text(operation.get("operationId")) or f"{method}{path}", taken),
            description=(summary or f"{method.upper()} {path}")[:MAX_DESCRIPTION_CHARS],
            inputs=inputs,
            method=method.upper(),
            path=path,
            parameters=tuple(parameters),
        )

    def _parameter(
        self,
        described: Mapping[str, Any],
        schemas: _Schemas,
        properties: dict[str, Any],
        required: list[str],
        parameters: list[Parameter],
    ) -> None:
        place, name = _text(described.get("in")), _text(described.get("name"))
        if place == "cookie":
            if described.get("required"):
                raise _Unfit(f"it needs the cookie {name[:64]}")
            return
        if place not in {"path", "query", "header"} or not name:
            raise _Unfit(f"a parameter is in {place[:32]!r}")
        if place == "header" and name.lower() in _OWN_HEADERS:
            return
        chosen = name if name not in properties else f"{place}_{name}"
        schema, style = self._schema_of(described, schemas)
        if described.get("description"):
            schema = {**schema, "description": _text(described["description"])[:500]}
        properties[chosen] = schema
        parameters.append(Parameter(chosen, name, cast("Any", place), style))
        if described.get("required") or place == "path":
            required.append(chosen)

    def _parameters(
        self, operation: Mapping[str, Any], item: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        """Those of the path, and of the operation, which win."""
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for listed in (item.get("parameters"), operation.get("parameters")):
            for each in cast("list[Any]", listed) if isinstance(listed, list) else []:
                described = _mapping(self._followed(each))
                found[_text(described.get("in")), _text(described.get("name"))] = described
        return list(found.values())

    def _schema_of(
        self, described: Mapping[str, Any], schemas: _Schemas
    ) -> tuple[dict[str, Any], str]:
        content = _mapping(described.get("content"))
        if content:
            media = _mapping(next(iter(content.values())))
            return schemas.taken(media.get("schema", {})), "json"
        place = described.get("in")
        style = _text(described.get("style")) or ("form" if place == "query" else "simple")
        explode = described.get("explode", style == "form")
        names = {
            "form": "explode" if explode else "comma",
            "simple": "comma",
            "spaceDelimited": "space",
            "pipeDelimited": "pipe",
            "deepObject": "deep",
        }
        if style not in names:
            raise _Unfit(f"a parameter has the style {style[:32]}")
        return schemas.taken(described.get("schema", {})), names[style]

    def _body(
        self,
        operation: Mapping[str, Any],
        schemas: _Schemas,
        properties: dict[str, Any],
        required: list[str],
        parameters: list[Parameter],
    ) -> None:
        if "requestBody" not in operation:
            return
        body = _mapping(self._followed(operation["requestBody"]))
        content = _mapping(body.get("content"))
        chosen = next(
            (
                media
                for wanted in _BODIES
                for media in content
                if media.partition(";")[0].strip().lower() == wanted
                or (wanted == _BODIES[0] and media.partition(";")[0].endswith("+json"))
            ),
            None,
        )
        if chosen is None:
            if body.get("required") or not content:
                raise _Unfit(f"its body is {', '.join(content)[:100] or 'not described'}")
            return
        name = "body" if "body" not in properties else "request_body"
        properties[name] = schemas.taken(_mapping(content[chosen]).get("schema", {}))
        parameters.append(Parameter(name, name, "body", chosen.partition(";")[0].strip().lower()))
        if body.get("required", False):
            required.append(name)

    def _followed(self, value: object) -> object:
        """What a reference leads to."""
        for _ in range(MAX_REF_HOPS):
            if not isinstance(value, dict) or "$ref" not in value:
                return cast("object", value)
            value = self.at(cast("dict[str, Any]", value)["$ref"])
        raise Invalid("references of the document lead in a circle", param="document")

    def at(self, reference: object) -> object:
        """The value at a JSON pointer into the document (RFC 6901)."""
        if not isinstance(reference, str) or len(reference) > MAX_REF_CHARS:
            raise Invalid("a $ref of the document is no short text", param="document")
        if not reference.startswith("#/"):
            raise Invalid(
                f"the document refers to {reference[:100]!r}; only references within it (#/…) are followed",
                param="document",
            )
        value: Any = self._root
        for part in unquote(reference[2:]).split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and key.isdecimal() and len(key) < 7:
                listed = cast("list[Any]", value)
                value = listed[int(key)] if int(key) < len(listed) else None
            else:
                value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
            if value is None:
                raise Invalid(f"the document has nothing at {reference[:100]!r}", param="document")
        return value

    @property
    def old(self) -> bool:
        """Whether its schemas are of OpenAPI 3.0, which wrote null and bounds otherwise."""
        return self._old


class _Unfit(Exception):
    """An operation that cannot be called from here."""


class _Schemas:
    """Schemas of one operation: those that are referred to become its `$defs`, each once."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self.definitions: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def taken(self, schema: object) -> dict[str, Any]:
        """A schema as JSON Schema 2020-12 has it."""
        converted = self._converted(schema)
        return cast("dict[str, Any]", converted) if isinstance(converted, dict) else {}

    def _definition(self, reference: object) -> str:
        target = self._reader.at(reference)
        key = str(reference)
        if key not in self._names:
            if len(self._names) >= MAX_SCHEMAS:
                raise _Unfit(f"it refers to more than {MAX_SCHEMAS} schemas")
            name = tool_name(key.rpartition("/")[2], self.definitions)
            self._names[key] = name
            self.definitions[name] = {}
            self.definitions[name] = self._converted(target)
        return f"#/$defs/{self._names[key]}"

    def _converted(self, schema: object) -> Any:
        if isinstance(schema, list):
            return [self._converted(each) for each in cast("list[Any]", schema)]
        if not isinstance(schema, dict):
            return schema
        given = cast("dict[str, Any]", schema)
        if isinstance(given.get("$ref"), str):
            return {"$ref": self._definition(given["$ref"])}
        if given.keys() & {"$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor"}:
            raise _Unfit("its schemas refer by $id or anchors")
        kept = {str(key): value for key, value in given.items() if key not in _NOT_SCHEMA}
        converted: dict[str, Any] = {}
        for key, value in kept.items():
            if key in {"properties", "patternProperties", "$defs"} and isinstance(value, dict):
                inner = cast("dict[str, Any]", value)
                converted[key] = {str(name): self._converted(each) for name, each in inner.items()}
            elif key in {"enum", "const", "default", "examples", "required"}:
                converted[key] = value
            elif key == "description":
                converted[key] = _text(value)[:500]
            else:
                converted[key] = self._converted(value)
        return _modern(converted) if self._reader.old else converted


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of OpenAPI 3.0 in words of JSON Schema."""
    if schema.pop("nullable", False) is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        is_exclusive = schema.get(exclusive)
        if isinstance(is_exclusive, bool):
            del schema[exclusive]
        if is_exclusive is True and bound in schema:
            schema[exclusive] = schema.pop(bound)
    return schema


def _base_url(root: Mapping[str, Any], source_url: str) -> str:
    servers: Any = root.get("servers")
    listed = cast("list[Any]", servers) if isinstance(servers, list) else []
    first = _mapping(listed[0] if listed else None)
    address = _text(first.get("url"))
    for name, variable in _mapping(first.get("variables")).items():
        address = address.replace(f"{{{name}}}", _text(_mapping(variable).get("default")))
    if source_url:
        address = urljoin(source_url, address or "/")
    return address if urlsplit(address).scheme in {"http", "https"} else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
