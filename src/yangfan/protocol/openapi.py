"""An OpenAPI 3.1 document made from Endpoint values (https://spec.openapis.org/oas/v3.1.0).

OpenAPI tells operations apart by path and method, while Actions share one path. Each Action
therefore gets a path key that carries its query, such as ``/v2/apikey?Action=CreateApiKey``: it
keeps its own request and reply types, and Swagger UI shows it as it is and sends it as it stands.
(The other way, one operation whose body is a `oneOf` of all bodies, cannot tie the body to the
query.)
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from yangfan.protocol import sse
from yangfan.protocol.v1 import chat as v1_chat
from yangfan.protocol.v1 import embeddings as v1_embeddings
from yangfan.protocol.v1 import errors as v1_errors
from yangfan.protocol.v1 import oauth
from yangfan.protocol.v1 import rerank as v1_rerank
from yangfan.protocol.v1.envelope import EnvelopeError
from yangfan.protocol.v2 import chat as v2_chat
from yangfan.protocol.v2 import embeddings as v2_embeddings
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.protocol.v2 import keys
from yangfan.protocol.v2 import rerank as v2_rerank

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yangfan.errors import RefusedError
    from yangfan.protocol.endpoint import Auth, Dialect, Endpoint

Json: TypeAlias = dict[str, Any]

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_FILE: Json = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_PACKAGE = __name__.rpartition(".")[0] + "."

_DIALECTS: dict[Dialect, str] = {
    "v1": "Qianfan v1 inference. The HTTP status is always 200; refusals carry `error_code`. "
    "千帆 v1 推理，HTTP 状态恒为 200，错误见 `error_code`。",
    "data": "Qianfan v1 management of data and prompts. The HTTP status is 200; `success` says how it went. "
    "千帆 v1 数据与 Prompt 管理，HTTP 状态为 200，结果见 `success`。",
    "v2": "Qianfan v2 inference, in OpenAI's shape. 千帆 v2 推理，OpenAI 形式。",
    "oauth": "Access tokens for v1. v1 所用的 access_token。",
    "iam": "Bearer tokens for v2. v2 所用的 Bearer Token。",
    "action": "Management, one `?Action=` each. 管理接口，以 `?Action=` 区分。",
}

_REFUSALS: dict[Dialect, type[msgspec.Struct]] = {
    "v1": v1_errors.ErrorBody,
    "data": EnvelopeError,
    "v2": v2_errors.ErrorBody,
    "oauth": oauth.TokenError,
    "iam": keys.ActionError,
    "action": keys.ActionError,
}

_ALWAYS_200: frozenset[Dialect] = frozenset({"v1", "data"})
"""Where a refusal has the status of a success."""

_SIGNATURE: Json = {"bceAuthV1": [], "bceDate": []}
_SECURITY: dict[Auth, list[Json]] = {
    "none": [],
    "inference": [{"bearer": []}, {"accessToken": []}, _SIGNATURE],
    "signature": [_SIGNATURE],
}

_SECURITY_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A v2 key, `bce-v3/ALTAK-…/…`. v2 的 API Key。",
    },
    "accessToken": {
        "type": "apiKey",
        "in": "query",
        "name": "access_token",
        "description": "From `POST /oauth/2.0/token`. 由 `POST /oauth/2.0/token` 获取。",
    },
    "bceAuthV1": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "bce-auth-v1 signature; `yangfan sign METHOD URL` prints it. "
        "bce-auth-v1 签名，由 `yangfan sign METHOD URL` 给出。",
    },
    "bceDate": {
        "type": "apiKey",
        "in": "header",
        "name": "x-bce-date",
        "description": "Time of the signature, printed beside it. 签名时间，与签名一同给出。",
    },
}

_HEADERS: dict[str, str] = {
    "X-Baidu-Request-Id": "The caller's `Request_id`, or a new one. 请求编号。",
    "X-Yangfan-Model": "The model that really answered. 实际作答的模型。",
    "X-Ratelimit-Limit-Requests": "Requests a minute allowed. 每分钟请求数上限。",
    "X-Ratelimit-Limit-Tokens": "Tokens a minute allowed. 每分钟 token 数上限。",
    "X-Ratelimit-Remaining-Requests": "Requests left. 剩余请求数。",
    "X-Ratelimit-Remaining-Tokens": "Tokens left. 剩余 token 数。",
}

_QUESTION = "1加1为什么等于2?"
_ANSWER = "因为皮亚诺公理如此定义加法。"
_EXAMPLES: dict[type[msgspec.Struct], msgspec.Struct] = {
    type(body): body
    for body in (
        v1_chat.ChatRequest(messages=[v1_chat.Message("user", _QUESTION)]),
        v2_chat.ChatRequest(model="ernie-speed-8k", messages=[v2_chat.Message("user", _QUESTION)]),
        v1_embeddings.EmbeddingsRequest(input=[_QUESTION]),
        v2_embeddings.EmbeddingsRequest(model="embedding-v1", input=[_QUESTION]),
        v1_rerank.RerankRequest(query=_QUESTION, documents=[_ANSWER, _QUESTION]),
        v2_rerank.RerankRequest(
            model="bce-reranker-base_v1", query=_QUESTION, documents=[_ANSWER, _QUESTION]
        ),
        oauth.TokenRequest("client_credentials", "API_KEY", "SECRET_KEY"),
        keys.CreateKey(kind="oauth", name="laptop"),
        keys.RevokeKey("KEY_ID"),
    )
}
"""A body to start from, for requests whose optional fields would hide the few that matter."""


def document(
    endpoints: Sequence[Endpoint[Any, Any]], *, title: str, version: str, servers: Sequence[str]
) -> Json:
    """Describe `endpoints` as an OpenAPI 3.1 document; equal arguments give equal documents.

    Args:
        endpoints: What to describe, in the order to show it; no two share method, path and Action.
        title: Name of the API.
        version: Version of what is described.
        servers: Base URLs, absolute or relative to the place of the document.

    Returns:
        The document as JSON values. English comes first in every text, Chinese after it.
    """
    refs, schemas = _schemas(endpoints)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        operations = paths.setdefault(_path_key(endpoint), {})
        assert endpoint.method.lower() not in operations, f"{endpoint.name} is there twice"
        operations[endpoint.method.lower()] = _operation(endpoint, refs)
    spoken = {endpoint.dialect for endpoint in endpoints}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": url} for url in servers],
        "tags": [
            {"name": dialect, "description": text}
            for dialect, text in _DIALECTS.items()
            if dialect in spoken
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": _v2_refusals(refs) if "v2" in spoken else {},
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in _HEADERS.items()
            },
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _schemas(endpoints: Sequence[Endpoint[Any, Any]]) -> tuple[Mapping[Any, Json], Json]:
    """A reference for every type that `endpoints` name, and the schemas that they refer to."""
    types: dict[Any, None] = {}
    for endpoint in endpoints:
        refusal = _REFUSALS[endpoint.dialect]
        types |= dict.fromkeys((endpoint.request, endpoint.reply, endpoint.stream, refusal))
    types.pop(None, None)
    references, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    refs = {kind: _short(ref) for kind, ref in zip(types, references, strict=True)}
    schemas = _short({name: components[name] for name in sorted(components)})
    for kind, example in _EXAMPLES.items():
        if kind in refs:
            _behind(refs[kind], schemas)["examples"] = [msgspec.to_builtins(example)]
    if v1_errors.ErrorBody in refs:
        _behind(refs[v1_errors.ErrorBody], schemas)["properties"]["error_code"] |= {
            "enum": sorted({row.code for row in v1_errors.TABLE}),
            "description": _codes((row.code, row.kind, row.text) for row in v1_errors.TABLE),
        }
    return refs, schemas


def _short(value: object) -> Any:
    """Drop our package from the names that msgspec qualifies because two dialects share them."""
    if isinstance(value, dict):
        items = cast("Json", value).items()
        return {key.removeprefix(_PACKAGE): _short(item) for key, item in items}
    if isinstance(value, list):
        return [_short(item) for item in cast("list[object]", value)]
    return value.replace(f"/{_PACKAGE}", "/") if isinstance(value, str) else value


def _behind(reference: Json, schemas: Json) -> Json:
    return schemas[reference["$ref"].rpartition("/")[2]]


def _path_key(endpoint: Endpoint[Any, Any]) -> str:
    return f"{endpoint.path}?Action={endpoint.action}" if endpoint.action else endpoint.path


def _operation(endpoint: Endpoint[Any, Any], refs: Mapping[Any, Json]) -> Json:
    description = endpoint.summary_zh
    if endpoint.aliases:
        paths = ", ".join(f"`{path}`" for path in endpoint.aliases)
        description += f"\n\nAlso at 亦可用：{paths}"
    operation: Json = {
        "operationId": endpoint.name,
        "tags": [endpoint.dialect],
        "summary": endpoint.summary,
        "description": description,
        "security": _SECURITY[endpoint.auth],
        "responses": _responses(endpoint, refs),
    }
    names = re.findall(r"{(\w+)}", endpoint.path)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    if endpoint.request is not None:
        content: Json = {_JSON: {"schema": refs[endpoint.request]}}
        if endpoint.request is bytes:
            content = _FILE
        elif endpoint.dialect == "oauth":
            content = {_FORM: {"schema": _form(_EXAMPLES[endpoint.request])}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _form(example: msgspec.Struct) -> Json:
    """A form's fields are text and never null, whatever the type that they are read into says."""
    fields: dict[str, str] = msgspec.to_builtins(example)
    return {
        "type": "object",
        "required": list(fields),
        "properties": {name: {"type": "string", "default": text} for name, text in fields.items()},
    }


def _responses(endpoint: Endpoint[Any, Any], refs: Mapping[Any, Json]) -> Json:
    """Success and refusals. v1 puts both under 200; v2 has statuses; the others have one shape."""
    reply, refusal = refs[endpoint.reply], refs[_REFUSALS[endpoint.dialect]]
    if endpoint.dialect in _ALWAYS_200:
        reply = {"anyOf": [reply, refusal]}
    content: Json = _FILE if endpoint.reply is bytes else {_JSON: {"schema": reply}}
    if endpoint.stream is not None:
        content[sse.CONTENT_TYPE] = {"schema": refs[endpoint.stream]}
    responses: Json = {
        "200": {
            "description": _success(endpoint),
            "headers": {
                name: {"$ref": f"#/components/headers/{name}"}
                for name in _HEADERS
                if name == "X-Baidu-Request-Id" or endpoint.stream is not None
            },
            "content": content,
        }
    }
    if endpoint.dialect == "v2":
        for status in _v2_statuses():
            responses[str(status)] = {"$ref": f"#/components/responses/v2.{status}"}
    elif endpoint.dialect not in _ALWAYS_200:
        responses["default"] = {
            "description": "Refused. 拒绝。",
            "content": {_JSON: {"schema": refusal}},
        }
    return responses


def _success(endpoint: Endpoint[Any, Any]) -> str:
    texts = ["The answer. 结果。"]
    if endpoint.dialect == "v1":
        texts.append("Refusals have status 200 too, and `error_code`. 拒绝时状态同为 200。")
    if endpoint.dialect == "data":
        texts.append("Refusals have status 200 too, and `success: false`. 拒绝时状态同为 200。")
    if endpoint.stream is not None:
        last = "`data: [DONE]`" if endpoint.dialect == "v2" else "`is_end: true`"
        texts.append(
            f"With `stream: true`, server-sent events, the last with {last}; the schema is that of "
            f"one event's data. 流式返回为 SSE，以 {last} 结束，所列为单个事件的数据。"
        )
    return " ".join(texts)


def _v2_statuses() -> list[int]:
    return sorted({row.status for row in v2_errors.TABLE})


def _v2_refusals(refs: Mapping[Any, Json]) -> Json:
    """One reusable response per HTTP status of v2, listing its codes."""
    content = {_JSON: {"schema": refs[v2_errors.ErrorBody]}}
    responses: Json = {}
    for status in _v2_statuses():
        rows = [row for row in v2_errors.TABLE if row.status == status]
        codes = _codes((row.code, row.kind, row.text) for row in rows)
        responses[f"v2.{status}"] = {
            "description": f"{HTTPStatus(status).phrase}.\n\n{codes}",
            "content": content,
        }
    return responses


def _codes(rows: Iterable[tuple[int | str, type[RefusedError], str]]) -> str:
    """A Markdown list of codes; a row with no documented text has the meaning of its class."""
    lines = [f"* `{code}`: {text or kind().message}" for code, kind, text in rows]
    return "\n".join(dict.fromkeys(lines))
