"""OpenAPI documents: what becomes of operations, and documents that mean harm."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from tests.server.plugins.world import DOCUMENT

from yangfan.errors import Invalid, InvalidPluginArgument
from yangfan.server.plugins.openapi import read
from yangfan.server.plugins.operations import Auth, request_of
from yangfan.server.plugins.tools import MAX_TOOLS

GET: dict[str, Any] = {"get": {"operationId": "look"}}


def document(paths: Any = None, **more: Any) -> str:
    whole = {"openapi": "3.1.0", "info": {"title": "t"}, "paths": paths or {"/x": GET}, **more}
    return json.dumps(whole)


def parameter(schema: Any, **more: Any) -> str:
    listed = [{"name": "q", "in": "query", "schema": schema, **more}]
    return document({"/x": {"get": {"operationId": "look", "parameters": listed}}})


def test_json_and_yaml_say_the_same() -> None:
    as_json = read(json.dumps(DOCUMENT))
    assert read(yaml.safe_dump(DOCUMENT, sort_keys=False)) == as_json
    pet = as_json.tools[1].inputs
    assert pet["properties"]["body"] == {"$ref": "#/$defs/Pet"}
    assert pet["$defs"]["Pet"]["properties"] == {
        "name": {"type": ["string", "null"]},
        "age": {"type": "integer", "exclusiveMinimum": 0},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/Pet"}},
    }
    assert as_json.tools[0].inputs["required"] == ["id"]
    assert "Host" not in as_json.tools[0].inputs["properties"]


def test_servers_and_who_asks() -> None:
    server = {"url": "https://{place}.example/v1", "variables": {"place": {"default": "eu"}}}
    assert read(document(servers=[server])).base_url == "https://eu.example/v1"
    relative = document(servers=[{"url": "/v2"}])
    assert read(relative).base_url == ""
    assert (
        read(relative, source_url="https://a.example/api/doc.json").base_url
        == "https://a.example/v2"
    )
    assert read(document(servers=[{"url": "file:///etc"}])).base_url == ""
    for scheme, auth in (
        ({"type": "http", "scheme": "Bearer"}, ("bearer", "")),
        ({"type": "http", "scheme": "basic"}, ("basic", "")),
        ({"type": "oauth2"}, ("bearer", "")),
        ({"type": "apiKey", "in": "query", "name": "k"}, ("query", "k")),
        ({"type": "mutualTLS"}, ("none", "")),
    ):
        found = read(document(components={"securitySchemes": {"one": scheme}}))
        assert (found.auth, found.auth_name) == auth


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no object"),
        ("[]", "is no object"),
        ("{", "neither JSON nor YAML"),
        ("a: [", "neither JSON nor YAML"),
        ("!!python/object/apply:os.system ['true']", "neither JSON nor YAML"),
        ('{"swagger": "2.0"}', "got swagger '2.0'; https://converter"),
        ('{"openapi": "4.0.0"}', "3.0, 3.1 or 3.2"),
        ('{"openapi": "3.1.0"}', "no operation that can be called"),
        ('{"openapi": "3.1.0", "paths": {"x": {"get": {}}}}', "GET x: its path is none"),
        ("[" * 100_000, "nested deeper|neither JSON"),
        ('{"openapi": "3.1.0", "x": ' + "[" * 70 + "]" * 70 + "}", "nested deeper than 64"),
        ('{"openapi": "3.1.0", "x": ' + "[" * 50_000, "nested deeper|neither JSON"),
        ("openapi: 3.1.0\nx: " + "[" * 70 + "]" * 70, "nested deeper than 64"),
        ('{"x": "' + "y" * 4_200_000 + '"}', "more than 4194304 bytes"),
        ("x: " + "y" * 1_100_000, "send it as JSON"),
        (json.dumps({"openapi": "3.1.0", "x": [0] * 200_001}), "more than 200000 values"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "YAML aliases"),
        ("openapi: 3.1.0\n? [a]\n: b", "neither JSON nor YAML"),
        (document({f"/x{n}": GET for n in range(MAX_TOOLS + 1)}), "more than 128 operations"),
        (parameter({"$ref": "https://evil.example/schema.json"}), "only references within it"),
        (parameter({"$ref": "http://127.0.0.1/x"}), "only references within it"),
        (parameter({"$ref": "file:///etc/passwd"}), "only references within it"),
        (parameter({"$ref": "other.json#/x"}), "only references within it"),
        (parameter({"$ref": "#/components/none"}), "has nothing at"),
        (parameter({"$ref": "#/" + "x" * 600}), "no short text"),
        (document({"/x": {"$ref": "#/paths/~1x"}}), "lead in a circle"),
        (
            document({"/x": {"get": {"parameters": [{"$ref": "#/paths/~1x/get/parameters/0"}]}}}),
            "lead in a circle",
        ),
    ],
    ids=range(27),
)
def test_a_document_that_means_harm_is_refused_at_once(text: str, told: str) -> None:
    began = time.monotonic()
    with pytest.raises(Invalid, match=told):
        read(text)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"parameters": [{"name": "c", "in": "cookie", "required": True}]}, "needs the cookie c"),
        ({"parameters": [{"name": "c", "in": "nowhere"}]}, "is in 'nowhere'"),
        ({"parameters": [{"name": "q", "in": "query", "style": "odd"}]}, "has the style odd"),
        (
            {"parameters": [{"name": "q", "in": "query", "schema": {"$id": "https://a.example"}}]},
            "refer by",
        ),
        (
            {"parameters": [{"name": "q", "in": "query", "schema": {"type": "strange"}}]},
            "no JSON Schema",
        ),
        (
            {"parameters": [{"name": "q", "in": "query", "schema": {"enum": ["x" * 70_000]}}]},
            "in more than 65536 bytes",
        ),
        (
            {"requestBody": {"content": {"image/png": {}}, "required": True}},
            "its body is image/png",
        ),
    ],
)
def test_an_operation_that_cannot_be_called_is_left_out(
    operation: dict[str, Any], why: str
) -> None:
    found = read(document({"/x": GET, "/y": {"get": operation}}))
    assert [tool.name for tool in found.tools] == ["look"]
    (left_out,) = found.left_out
    assert left_out.startswith("GET /y: ")
    assert why in left_out


def test_schemas_that_refer_to_many_others_stay_small() -> None:
    """Each of these refers twice to the next: written out they would be 2 to the 60."""
    schemas: dict[str, Any] = {
        f"s{n}": {
            "properties": {
                "a": {"$ref": f"#/components/schemas/s{n + 1}"},
                "b": {"$ref": f"#/components/schemas/s{n + 1}"},
            }
        }
        for n in range(60)
    }
    schemas["s60"] = {"type": "string"}
    listed = [{"name": "q", "in": "query", "schema": {"$ref": "#/components/schemas/s0"}}]
    found = read(document({"/x": {"get": {"parameters": listed}}}, components={"schemas": schemas}))
    assert len(found.tools[0].inputs["$defs"]) == 61


def test_inputs_go_where_the_document_says() -> None:
    parameters: list[dict[str, Any]] = [
        {"name": "id", "in": "path", "required": True, "schema": {}},
        {"name": "id", "in": "query", "schema": {}},
        {"name": "list", "in": "query", "explode": False, "schema": {}},
        {"name": "piped", "in": "query", "style": "pipeDelimited", "schema": {}},
        {"name": "deep", "in": "query", "style": "deepObject", "schema": {}},
        {"name": "json", "in": "query", "content": {"application/json": {"schema": {}}}},
        {"name": "X-Many", "in": "header", "schema": {}},
    ]
    body = {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}}
    operation: dict[str, Any] = {
        "operationId": "all",
        "parameters": parameters,
        "requestBody": body,
    }
    (tool,) = read(document({"/a/{id}": {"post": operation}})).tools
    inputs = {
        "id": 7,
        "query_id": True,
        "list": [1, 2],
        "piped": ["a", "b"],
        "deep": {"k": "v"},
        "json": {"x": [1]},
        "X-Many": ["p", "q"],
        "body": {"m": "ä", "n": None},
    }
    request = request_of(tool, "https://h.example/v1/", Auth("query", "key", "s&t"), inputs)
    assert request.url == (
        "https://h.example/v1/a/7?id=true&list=1%2C2&piped=a%7Cb&deep%5Bk%5D=v&json=%7B%22x%22%3A%5B1%5D%7D&key=s%26t"
    )
    assert request.headers["x-many"] == "p,q"
    assert request.content == b"m=%C3%A4&n=null"
    with pytest.raises(InvalidPluginArgument, match="must be an object"):
        request_of(tool, "https://h.example", Auth("none", "", ""), {"id": 1, "body": "x"})
    basic = request_of(tool, "https://h.example", Auth("basic", "", "u:p"), {"id": 1})
    assert basic.headers["authorization"] == "Basic dTpw"
    assert "u:p" not in repr(Auth("basic", "", "u:p"))
