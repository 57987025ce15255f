"""The document follows OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0) and says what the Endpoints say."""

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

import yangfan.protocol
from yangfan.protocol import openapi
from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1 import chat as v1_chat
from yangfan.protocol.v1 import errors as v1_errors
from yangfan.protocol.v1 import oauth
from yangfan.protocol.v2 import chat as v2_chat
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.protocol.v2 import keys

Json = dict[str, Any]


def every_endpoint() -> list[Endpoint[Any, Any]]:
    found: dict[str, Endpoint[Any, Any]] = {}
    for module in pkgutil.walk_packages(yangfan.protocol.__path__, "yangfan.protocol."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Endpoint):
                endpoint = cast("Endpoint[Any, Any]", value)
                found[endpoint.name] = endpoint
    return list(found.values())


def describe(*endpoints: Endpoint[Any, Any]) -> Json:
    return openapi.document(
        endpoints or every_endpoint(), title="Yangfan", version="1.2.3", servers=["."]
    )


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def operation_of(document: Json, name: str) -> Json:
    return next(op for _, _, op in operations(document) if op["operationId"] == name)


def nodes(value: object) -> Iterator[Json]:
    """Every object in the document, the document itself first."""
    if isinstance(value, dict):
        node = cast("Json", value)
        yield node
        for item in node.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from nodes(item)


def resolve(document: Json, reference: str) -> Any:
    assert reference.startswith("#/")
    target: Any = document
    for step in reference[2:].split("/"):
        target = target[step]
    return target


def test_document_has_the_fixed_fields_of_openapi_3_1():
    document = describe()
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "Yangfan", "version": "1.2.3"}
    assert document["servers"] == [{"url": "."}]
    for path, method, operation in operations(document):
        assert path.startswith("/")
        assert method in {"get", "post", "delete"}
        assert operation["responses"]
        assert operation["summary"]
        assert operation["description"]
    for kind in document["components"].values():
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in kind)


def test_every_reference_leads_somewhere():
    document = describe()
    references = [node["$ref"] for node in nodes(document) if "$ref" in node]
    assert references
    for reference in references:
        assert resolve(document, reference)


def test_every_response_has_a_description():
    document = describe()
    for _, _, operation in operations(document):
        for response in operation["responses"].values():
            shown = resolve(document, response["$ref"]) if "$ref" in response else response
            assert shown["description"]
            assert shown["content"]


def test_every_endpoint_is_there_under_its_method_path_and_action():
    document = describe()
    described = {
        (method, path, operation["operationId"]) for path, method, operation in operations(document)
    }
    wanted = {
        (e.method.lower(), e.path + (f"?Action={e.action}" if e.action else ""), e.name)
        for e in every_endpoint()
    }
    assert described == wanted


def test_actions_that_share_a_path_keep_their_own_types():
    document = describe(keys.CREATE_KEY, keys.REVOKE_KEY)
    bodies = {
        path: operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for path, _, operation in operations(document)
    }
    assert bodies == {
        "/v2/apikey?Action=CreateApiKey": "#/components/schemas/CreateKey",
        "/v2/apikey?Action=DeleteApiKey": "#/components/schemas/RevokeKey",
    }


def test_an_endpoint_given_twice_is_a_mistake_of_the_caller():
    with pytest.raises(AssertionError, match=re.escape("keys.create is there twice")):
        describe(keys.CREATE_KEY, keys.CREATE_KEY)


def test_path_parameters_are_declared():
    operation = operation_of(describe(), "v1.chat")
    assert operation["parameters"] == [
        {"name": "endpoint", "in": "path", "required": True, "schema": {"type": "string"}}
    ]


def test_ranges_of_the_wire_types_appear():
    schema = describe()["components"]["schemas"]["v1.chat.ChatRequest"]
    temperature = schema["properties"]["temperature"]
    assert {"type": "number", "exclusiveMinimum": 0, "maximum": 1} in temperature["anyOf"]
    assert temperature["description"].startswith("(0, 1.0]")


def test_types_of_one_name_in_two_dialects_stay_apart():
    schemas = describe()["components"]["schemas"]
    assert "model" not in schemas["v1.chat.ChatRequest"]["properties"]
    assert "model" in schemas["v2.chat.ChatRequest"]["properties"]


def test_streams_are_described_by_the_schema_of_one_event():
    document = describe()
    for endpoint in every_endpoint():
        content = operation_of(document, endpoint.name)["responses"]["200"]["content"]
        assert ("text/event-stream" in content) == (endpoint.stream is not None)
    content = operation_of(document, "v2.chat")["responses"]["200"]["content"]
    assert content["text/event-stream"]["schema"] == {"$ref": "#/components/schemas/ChatChunk"}


def test_v1_refusals_share_status_200_and_list_every_code():
    document = describe()
    responses = operation_of(document, "v1.chat")["responses"]
    assert list(responses) == ["200"]
    refusal = {"$ref": "#/components/schemas/v1.errors.ErrorBody"}
    assert refusal in responses["200"]["content"]["application/json"]["schema"]["anyOf"]
    code = resolve(document, refusal["$ref"])["properties"]["error_code"]
    assert code["enum"] == sorted({row.code for row in v1_errors.TABLE})
    assert "* `336100`: Try again" in code["description"]


def test_v2_refusals_list_every_code_under_its_status():
    document = describe()
    responses = operation_of(document, "v2.chat")["responses"]
    for row in v2_errors.TABLE:
        response = resolve(document, responses[str(row.status)]["$ref"])
        assert f"* `{row.code}`: " in response["description"]


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("oauth.token", "TokenError"),
        ("iam.bearer_token", "ActionError"),
        ("keys.list", "ActionError"),
    ],
)
def test_other_dialects_have_one_shape_of_refusal(name: str, schema: str):
    refused = operation_of(describe(), name)["responses"]["default"]
    reference = {"$ref": f"#/components/schemas/{schema}"}
    assert refused["content"] == {"application/json": {"schema": reference}}


def test_each_operation_takes_the_credentials_of_its_endpoint():
    document = describe()
    schemes = document["components"]["securitySchemes"]
    for _, _, operation in operations(document):
        for alternative in operation["security"]:
            assert set(alternative) <= set(schemes)
    signed: list[Json] = [{"bceAuthV1": [], "bceDate": []}]
    assert operation_of(document, "oauth.token")["security"] == []
    assert operation_of(document, "keys.create")["security"] == signed
    assert operation_of(document, "v2.chat")["security"] == [
        {"bearer": []},
        {"accessToken": []},
        *signed,
    ]
    assert schemes["accessToken"]["name"] == "access_token"
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["bceAuthV1"]["name"] == "Authorization"


def test_descriptions_speak_both_languages_and_name_the_aliases():
    operation = operation_of(describe(), "v2.chat")
    assert operation["summary"] == v2_chat.CHAT.summary
    assert v2_chat.CHAT.summary_zh in operation["description"]
    for alias in v2_chat.CHAT.aliases:
        assert f"`{alias}`" in operation["description"]


@pytest.mark.parametrize("request_type", [v1_chat.ChatRequest, v2_chat.ChatRequest, keys.CreateKey])
def test_examples_are_valid_requests(request_type: type[msgspec.Struct]):
    schemas = describe()["components"]["schemas"]
    named = [schema for schema in schemas.values() if schema.get("title") == request_type.__name__]
    examples = [example for schema in named for example in schema["examples"]]
    assert any(_accepts(request_type, example) for example in examples)


def _accepts(request_type: type[msgspec.Struct], example: object) -> bool:
    decoded = msgspec.convert(example, request_type)
    return msgspec.to_builtins(decoded) == example


def test_token_request_is_a_form_of_texts():
    content = operation_of(describe(), "oauth.token")["requestBody"]["content"]
    schema = content["application/x-www-form-urlencoded"]["schema"]
    assert schema["required"] == [f.name for f in msgspec.structs.fields(oauth.TokenRequest)]
    assert {field["type"] for field in schema["properties"].values()} == {"string"}


def test_a_document_holds_only_what_its_endpoints_need():
    document = describe(oauth.TOKEN)
    assert set(document["components"]["schemas"]) == {"TokenRequest", "TokenReply", "TokenError"}
    assert [tag["name"] for tag in document["tags"]] == ["oauth"]
    assert document["components"]["responses"] == {}


def test_output_is_the_same_in_every_process():
    program = (
        "import hashlib, msgspec; from yangfan.protocol import openapi\n"
        "from yangfan.protocol.v1 import chat; from yangfan.protocol.v2 import chat as chat2\n"
        "d = openapi.document([chat.CHAT, chat2.CHAT], title='t', version='1', servers=['.'])\n"
        "print(hashlib.sha256(msgspec.json.encode(d)).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
