"""Function calls and schemas through the published packages, unchanged: on the echo model and on one that computes.

That one is very small and its template knows no tools, so what it must get right is what the engine makes certain.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

CITY_AND_UNIT = {"city", "unit"}


def _openai(programs: Any, server: Any, model: str, **environ: str) -> Any:
    where = {"BASE_URL": f"{server.base_url}/v2", "API_KEY": server.bearer, "MODEL": model}
    return programs.run("openai_tools", environ={**where, **environ})


def _qianfan(programs: Any, server: Any) -> Any:
    return programs.run(
        "qianfan_functions",
        environ={
            "QIANFAN_BASE_URL": server.base_url,
            "QIANFAN_AK": server.api_key,
            "QIANFAN_SK": server.secret_key,
            "QIANFAN_DISABLE_CACHE": "true",
        },
    )


def _check_openai_shapes(found: Any) -> None:
    for kind, name in (("required", "get_weather"), ("named", "get_time")):
        choice = found[kind]
        (call,) = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        assert call["type"] == "function"
        assert call["id"]
        if kind == "named":
            assert call["function"]["name"] == name
        json.loads(call["function"]["arguments"])
    assert found["none"]["message"]["tool_calls"] is None
    *_, last = found["stream"]
    assert last["choices"][0]["finish_reason"] == "tool_calls"
    calls = [
        call
        for chunk in found["stream"]
        for call in chunk["choices"][0]["delta"]["tool_calls"] or ()
    ]
    assert [call["index"] for call in calls] == [0]
    assert found["helper"] == [calls[0]["function"]["arguments"]]
    assert found["after"]["finish_reason"] in {"stop", "length", "tool_calls"}
    older = found["older"]
    assert older["finish_reason"] == "function_call"
    assert older["message"]["function_call"]["name"] == "get_time"
    assert older["message"]["tool_calls"] is None
    called = [
        chunk["choices"][0]["delta"]["function_call"]
        for chunk in found["older_stream"]
        if chunk["choices"][0]["delta"]["function_call"]
    ]
    assert [call["name"] for call in called] == ["get_time"]
    json.loads(called[0]["arguments"])
    assert found["older_stream"][-1]["choices"][0]["finish_reason"] == "function_call"
    assert found["older_after"]["finish_reason"] in {"stop", "length"}
    assert found["bad_schema"]["code"] == "invalid_argument"
    assert "minItems: is above maxItems" in found["bad_schema"]["text"]


def _check_qianfan_shapes(found: Any) -> None:
    whole = found["whole"]
    assert whole["result"] == ""
    assert whole["finish_reason"] == "function_call"
    assert whole["function_call"]["name"] == "get_weather"
    assert isinstance(whole["function_call"]["thoughts"], str)
    *early, last = found["stream"]
    assert not any("function_call" in event for event in early)
    assert last["is_end"]
    assert last["result"] == ""
    assert last["function_call"]["name"] == "get_weather"
    assert found["after"]["result"] or found["after"]["function_call"]
    assert found["react"]["result"] == ""
    for called in (found["react"], found["react_stream"][-1]):
        assert called["function_call"]["name"] == "get_weather"
        json.loads(called["function_call"]["arguments"])
    assert found["react_after"]["result"] or found["react_after"]["function_call"]


def test_openai_reads_tools_from_the_echo_model(echo_server: Server, programs: Programs) -> None:
    found = _openai(programs, echo_server, "echo")
    _check_openai_shapes(found)
    assert json.loads(found["json_object"]["message"]["content"])["echo"]


def test_qianfan_reads_functions_from_the_echo_model(
    echo_server: Server, programs: Programs
) -> None:
    found = _qianfan(programs, echo_server)
    _check_qianfan_shapes(found)
    assert found["react_stream"][-1]["function_call"] == found["react"]["function_call"]


def test_openai_reads_tools_and_schemas_from_a_model(
    chat_server: Server, programs: Programs
) -> None:
    found = _openai(programs, chat_server, "tiny-chat", PARSE="yes")
    _check_openai_shapes(found)
    for kind in ("required", "named"):
        (call,) = found[kind]["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"]).keys() == CITY_AND_UNIT
    assert found["parsed"].keys() == {"sky", "degrees", "windy"}
    if found["json_object"]["finish_reason"] == "stop":
        assert isinstance(json.loads(found["json_object"]["message"]["content"]), dict)


def test_openai_reads_tools_and_schemas_from_a_hugging_face_folder(
    folder_server: Server, programs: Programs
) -> None:
    found = _openai(programs, folder_server, "tiny-chat", PARSE="yes")
    _check_openai_shapes(found)
    for kind in ("required", "named"):
        (call,) = found[kind]["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"]).keys() == CITY_AND_UNIT
    assert found["parsed"].keys() == {"sky", "degrees", "windy"}


def test_qianfan_reads_functions_from_a_model(chat_server: Server, programs: Programs) -> None:
    found = _qianfan(programs, chat_server)
    _check_qianfan_shapes(found)
    for kind in ("whole", "react"):
        assert json.loads(found[kind]["function_call"]["arguments"]).keys() == {"city"}
