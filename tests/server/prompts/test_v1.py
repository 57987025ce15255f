"""v1's prompt templates (specification D.13 and B.1), on a real server."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.server.prompts.conftest import Templates


def create(templates: Templates, name: str, text: str, **more: Any) -> Any:
    made = templates.v1("template/create", templateName=name, templateContent=text, **more)
    assert (made["success"], made["status"]) == (True, 200), made
    assert made["log_id"]
    return made["result"]


def test_template_is_created_rendered_updated_listed_and_deleted(templates: Templates):
    ids = create(templates, "v1 whole", "Write about {topic}.", templateVariables="topic")
    assert re.fullmatch(r"pt-[0-9a-f]{16}", ids["templatePK"])
    assert isinstance(ids["templateId"], int)
    for reference in (ids["templatePK"], str(ids["templateId"]), ids["templateId"], "v1 whole"):
        shown = templates.v1("template/info", id=reference, topic="tea")["result"]
        assert shown["content"] == "Write about tea."
    assert {
        "templateId": ids["templateId"],
        "templatePK": ids["templatePK"],
        "templateName": "v1 whole",
        "templateContent": "Write about {topic}.",
        "templateVariables": "topic",
        "variableIdentifier": "{}",
        "labels": [],
        "type": 2,
        "sceneType": 1,
        "frameworkType": 0,
        "hyperParametersStatus": False,
        "version": 1,
        "undefinedVariables": [],
    }.items() <= shown.items()
    changed = templates.v1(
        "template/update",
        templateId=ids["templatePK"],
        templateName="v1 changed",
        templateContent="About [topic], [tone]",
        variableIdentifier="[]",
    )
    assert changed["result"] == ids
    shown = templates.v1("template/info", id=ids["templatePK"], topic="tea")["result"]
    assert (shown["content"], shown["templateVariables"]) == ("About tea, [tone]", "topic,tone")
    assert (shown["version"], shown["undefinedVariables"]) == (2, ["tone"])
    (item,) = templates.v1("template/list", name="V1 CHANGED")["result"]["items"]
    assert "content" not in item
    assert item["templatePK"] == ids["templatePK"]
    assert templates.v1("template/delete", templateId=ids["templatePK"])["result"] is True
    gone = templates.v1("template/delete", templateId=ids["templatePK"])
    assert (gone["success"], gone["status"], gone["code"]) == (False, 400, 3)
    assert "DescribePromptTemplates lists" in gone["message"]["global"]


def test_list_shows_the_newest_first_and_presets_behind(templates: Templates):
    ids = [create(templates, f"page {n}", "x")["templatePK"] for n in range(3)]

    def listed(**body: Any) -> tuple[int, list[str]]:
        found = templates.v1("template/list", **body)["result"]
        return found["total"], [item["templatePK"] for item in found["items"]]

    assert listed(name="page ", type=2) == (3, ids[::-1])
    assert listed(name="page ", offset=1, pageSize=1) == (3, [ids[1]])
    total, first = listed(pageSize=100)
    assert first[:3] == ids[::-1]
    own, _ = listed(type=2)
    presets, names = listed(type=1, pageSize=100)
    assert (total, presets) == (own + 48, 48)
    # Across the border between the two.
    assert listed(offset=own - 1, pageSize=3)[1][1:] == names[:2]
    assert listed(offset=total - 1, pageSize=5)[1] == names[-1:]
    assert listed(offset=total)[1] == []
    assert listed(name="100%_", type=2) == (0, [])


def test_labels_sort_templates(templates: Templates):
    templates.result("CreatePromptLabel", name=["v1 mine"])
    found = templates.v1("label/list", pageSize=100)["result"]
    by_name = {label["labelName"]: label for label in found["items"]}
    assert found["total"] == len(by_name)
    mine, writing = by_name["v1 mine"], by_name["写作 Writing"]
    assert (mine["type"], writing["type"]) == (2, 1)
    ids = create(templates, "labelled", "x", labelIds=[mine["labelId"], writing["labelPK"]])
    shown = templates.v1("template/info", id=ids["templatePK"])["result"]
    assert {label["labelName"] for label in shown["labels"]} == {"v1 mine", "写作 Writing"}
    assert all(label["color"] for label in shown["labels"])
    wanted = [mine["labelPK"], str(writing["labelId"])]
    listed = templates.v1("template/list", labelIds=wanted)["result"]
    assert [item["templatePK"] for item in listed["items"]] == [ids["templatePK"]]
    # The published SDK sends no labels where there are none; that leaves them.
    templates.v1("template/update", templateId=ids["templatePK"], templateContent="y")
    assert len(templates.v1("template/info", id=ids["templatePK"])["result"]["labels"]) == 2
    templates.v1("template/update", templateId=ids["templatePK"], labelIds=[])
    assert templates.v1("template/info", id=ids["templatePK"])["result"]["labels"] == []


def test_picture_template_has_a_negative_text(templates: Templates):
    ids = create(
        templates,
        "picture",
        "a ((thing))",
        variableIdentifier="(())",
        sceneType=2,
        negativeTemplateContent="no ((bad))",
    )
    shown = templates.v1("template/info", id=ids["templatePK"], thing="cat", bad="text")["result"]
    assert (shown["content"], shown["negativeContent"]) == ("a cat", "no text")
    assert (shown["negativeTemplateVariables"], shown["sceneType"]) == ("bad", 2)
    plain = create(templates, "picture alone", "x", sceneType=2, negativeTemplateVariables="")
    listed = templates.v1("template/list", name="picture alone")["result"]["items"][0]
    assert listed["negativeTemplateContent"] == ""
    assert "negativeTemplateVariables" not in listed, "the published SDK splits it at commas"
    assert templates.v1("template/delete", templateId=plain["templateId"])["success"]


def test_parameters_are_kept(templates: Templates):
    parameters = {"modelName": "ernie-speed-8k", "temperature": 0.2, "stop": ["。"]}
    ids = create(templates, "parameters", "x", hyperParameters=parameters, frameworkType=3)
    shown = templates.v1("template/info", id=ids["templatePK"])["result"]
    assert (shown["hyperParameters"], shown["hyperParametersStatus"]) == (parameters, True)
    assert shown["frameworkType"] == 3


def test_old_rendering_call_takes_everything_in_the_query(templates: Templates):
    ids = create(templates, "query", "{one} and {two}")
    query = {"id": ids["templatePK"], "one": "茶", "two": "1&2"}
    path = f"/rest/2.0/wenxinworkshop/api/v1/template/info?{urlencode(query)}"
    caller = templates.caller
    for reply in (
        caller.ask("GET", f"{path}&access_token={caller.access_token()}"),
        caller.ask("GET", path, headers=caller.bearer()),
    ):
        assert reply.json["result"]["content"] == "茶 and 1&2", reply.body
    unknown = caller.ask("GET", path.partition("?")[0], headers=caller.bearer()).json
    assert (unknown["error_code"], unknown["error_msg"]) == (
        336001,
        "Invalid Argument: id is missing; put it and the variables into the query",
    )


@pytest.mark.parametrize("variable", ["id_", "templateId", "variables", "name", "type"])
def test_a_variable_may_be_called_as_a_field(templates: Templates, variable: str):
    ids = create(templates, f"field {variable}", f"<{{{variable}}}>")
    for given in ({variable: "x"}, {"variables": {variable: "x"}}):
        shown = templates.v1("template/info", id=ids["templatePK"], **given)["result"]
        assert shown["content"] == "<x>"


def test_unsigned_call_is_refused_with_a_status(templates: Templates):
    path = "/wenxinworkshop/prompt/template/list"
    reply = templates.caller.ask("POST", path, {})
    assert reply.status == 403
    assert reply.headers["X-Bce-Error-Message"]
    unknown = templates.caller.ask("POST", "/wenxinworkshop/prompt/template/nothing", {})
    assert (unknown.json["success"], unknown.json["code"]) == (False, 3)
