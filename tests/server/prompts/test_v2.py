"""v2's prompt templates (specification D.13), their versions and labels, on a real server."""

from __future__ import annotations

import concurrent.futures
import re
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import serving
from tests.server.conftest import Caller
from tests.server.prompts.conftest import Templates


def test_template_is_created_rendered_modified_and_deleted(templates: Templates):
    id_ = templates.create("v2 whole", "Hi {{name}}", variableIdentifier="{{}}", note="first")
    shown = templates.show(id_, name="Jin")
    assert re.fullmatch(r"pt-[0-9a-f]{16}", id_)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown.pop("createTime"))
    shown.pop("updateTime")
    shown.pop("creatorName")
    assert shown == {
        "templateId": id_,
        "templateName": "v2 whole",
        "templateContent": "Hi {{name}}",
        "content": "Hi Jin",
        "templateVariables": ["name"],
        "variableIdentifier": "{{}}",
        "labels": [],
        "type": "User",
        "sceneType": "TextToText",
        "frameworkType": 0,
        "version": 1,
        "latestVersion": 1,
        "versionLabels": [],
        "note": "first",
        "undefinedVariables": [],
    }
    same = {"templateId": id_, "templateContent": "Hi {{name}}", "templateName": "v2 renamed"}
    assert templates.result("ModifyPromptTemplate", **same)["version"] == 1
    changed = templates.result(
        "ModifyPromptTemplate", templateId=id_, templateContent="Bye {{name}}"
    )
    assert changed == {"templateId": id_, "version": 2}
    assert templates.show("v2 renamed")["content"] == "Bye {{name}}"
    assert templates.result("DeletePromptTemplate", templateId=id_) is True
    assert templates.act("DescribePromptTemplate", {"templateId": id_}).status == 404


def test_versions_stay_and_labels_move(templates: Templates):
    id_ = templates.create("moving", "one {what}")
    for text in ("two {what}", "three {what} {when}"):
        templates.result("ModifyPromptTemplate", templateId=id_, templateContent=text, note=text)

    def point(label: str, **body: Any) -> int:
        body.setdefault("templateId", "moving")
        return templates.result("LabelPromptTemplate", label=label, **body)["version"]

    assert point("production", version=1) == 1
    assert point("staging", templateId="moving@2") == 2
    assert point("newest") == 3
    assert templates.show("moving@production", what="x")["content"] == "one x"
    assert templates.show(f"{id_}@staging", what="x")["content"] == "two x"
    assert templates.show("moving@latest", what="x")["undefinedVariables"] == ["when"]
    assert templates.show("moving@3")["versionLabels"] == ["newest"]
    assert point("production", templateId="moving@staging") == 2
    assert templates.show("moving@production")["versionLabels"] == ["production", "staging"]
    rolled = templates.result("RollbackPromptTemplate", templateId=id_, version=1)
    assert rolled["version"] == 4
    newest = templates.show("moving", what="x")
    assert (newest["content"], newest["note"]) == ("one x", "rolled back to version 1")
    page = templates.result("DescribePromptTemplateVersions", templateId=id_, maxKeys=3)
    assert [(item["version"], item["labels"]) for item in page["items"]] == [
        (1, []),
        (2, ["production", "staging"]),
        (3, ["newest"]),
    ]
    assert page["pageInfo"]["nextMarker"] == "4"
    reverse = {"templateId": id_, "pageReverse": True, "marker": "2"}
    newest_first = templates.result("DescribePromptTemplateVersions", **reverse)["items"]
    assert [item["version"] for item in newest_first] == [2, 1]
    assert templates.result("UnlabelPromptTemplate", templateId=id_, label="newest") is True
    again = templates.act("UnlabelPromptTemplate", {"templateId": id_, "label": "newest"})
    assert (again.status, "has no label 'newest'" in again.json["message"]) == (404, True)


def test_changing_at_once_loses_no_version(templates: Templates):
    id_ = templates.create("busy", "0")

    def change(number: int) -> int:
        body = {"templateId": id_, "templateContent": f"text {number}"}
        return templates.result("ModifyPromptTemplate", **body)["version"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(change, range(16)))
    assert sorted(versions) == list(range(2, 18))
    texts = {templates.show(f"busy@{version}")["content"] for version in versions}
    assert texts == {f"text {number}" for number in range(16)}


def test_templates_are_paged_from_the_oldest_on(templates: Templates):
    ids = [templates.create(f"v2 page {n}", "x") for n in range(3)]

    def page(**body: Any) -> tuple[list[str], str | None]:
        found = templates.result("DescribePromptTemplates", **body)
        info = found["pageInfo"]
        assert info["isTruncated"] == ("nextMarker" in info)
        return [item["templateId"] for item in found["items"]], info.get("nextMarker")

    assert page(name="v2 page", maxKeys=2) == (ids[:2], ids[2])
    assert page(name="v2 page", maxKeys=2, marker=ids[2]) == (ids[2:], None)
    assert page(name="v2 page", pageReverse=True, marker=ids[1]) == (ids[1::-1], None)
    # Presets are the oldest, and pages go on from them to one's own.
    found, following = page(maxKeys=47)
    assert len(found) == 47
    border, _ = page(maxKeys=3, marker=following)
    oldest, _ = page(type="User", maxKeys=2)
    assert border == [following, *oldest]
    back, following = page(maxKeys=2, marker=oldest[0], pageReverse=True)
    assert back[0] == oldest[0]
    assert page(type="Preset", maxKeys=1, pageReverse=True)[0] == back[1:]
    assert page(maxKeys=1, marker=following, pageReverse=True)[0] == [following]


def test_several_are_deleted_or_none(templates: Templates):
    ids = [templates.create(f"several {n}", "x") for n in range(2)]
    refused = templates.act("DeletePromptTemplates", {"templateIds": [*ids, "pt-none"]})
    assert refused.status == 404
    assert templates.show(ids[0])["content"] == "x"
    assert templates.result("DeletePromptTemplates", templateIds=[*ids, "several 0"]) is True
    assert templates.act("DescribePromptTemplate", {"templateId": ids[1]}).status == 404


def test_presets_are_read_and_not_changed(templates: Templates):
    shown = templates.show("翻译", target_language="法语", domain="法律", text="你好")
    assert shown["content"].endswith("你好")
    assert (shown["type"], shown["undefinedVariables"]) == ("Preset", [])
    for action, body in (
        ("ModifyPromptTemplate", {"templateContent": "x"}),
        ("DeletePromptTemplate", {}),
        ("LabelPromptTemplate", {"label": "production"}),
        ("RollbackPromptTemplate", {"version": 1}),
    ):
        refused = templates.act(action, {"templateId": shown["templateId"], **body})
        assert (refused.status, refused.json["code"]) == (409, "OperationNotAllowed")
        assert "make your own from it" in refused.json["message"]
    versions = templates.result("DescribePromptTemplateVersions", templateId="翻译")["items"]
    assert [item["version"] for item in versions] == [1]
    mine = templates.create("翻译", "mine {text}")
    assert templates.show("翻译", text="x")["content"] == "mine x"
    assert templates.show(shown["templateId"])["type"] == "Preset"
    templates.result("DeletePromptTemplate", templateId=mine)
    assert templates.show("翻译")["type"] == "Preset"


def test_labels_are_made_listed_and_deleted(templates: Templates):
    first, second = templates.result("CreatePromptLabel", name=["v2 a", "v2 b"])
    assert re.fullmatch(r"pl-[0-9a-f]{12}", first["labelId"])
    id_ = templates.create("v2 labelled", "x", labels=[first["labelId"], "v2 b"])
    assert {label["labelName"] for label in templates.show(id_)["labels"]} == {"v2 a", "v2 b"}
    listed = templates.result("DescribePromptTemplates", labelIds=[second["labelId"]])["items"]
    assert [item["templateId"] for item in listed] == [id_]
    newest = templates.result("DescribePromptLabels", maxKeys=1, pageReverse=True)
    assert newest["items"][0]["labelId"] == second["labelId"]
    following = newest["pageInfo"]["nextMarker"]
    rest = templates.result("DescribePromptLabels", marker=following, pageReverse=True, maxKeys=100)
    assert rest["items"][0]["labelId"] == first["labelId"]
    assert templates.result("DeletePromptLabel", labelId=first["labelId"]) is True
    assert [label["labelName"] for label in templates.show(id_)["labels"]] == ["v2 b"]
    for body, status in (
        ({"labelId": first["labelId"]}, 404),
        ({"labelId": "中文"}, 409),
    ):
        assert templates.act("DeletePromptLabel", body).status == status
    twice = templates.act("CreatePromptLabel", {"name": ["v2 b"]})
    assert (twice.status, twice.json["code"]) == (409, "OperationNotAllowed")


def test_name_is_taken_once(templates: Templates):
    templates.create("taken", "x")
    other = templates.create("free", "x")
    for action, body in (
        ("CreatePromptTemplate", {"templateName": "taken", "templateContent": "y"}),
        ("ModifyPromptTemplate", {"templateId": other, "templateName": "taken"}),
    ):
        refused = templates.act(action, body)
        assert (refused.status, refused.json["code"]) == (409, "OperationNotAllowed")
        assert "there is a template called 'taken'; change that one" in refused.json["message"]


def test_everything_survives_a_restart(tmp_path: Path):
    with serving(tmp_path) as server:
        templates = Templates(Caller(server))
        templates.create("kept", "one")
        templates.result("ModifyPromptTemplate", templateId="kept", templateContent="two")
        templates.result("LabelPromptTemplate", templateId="kept@1", label="production")
    with serving(tmp_path) as server:
        templates = Templates(Caller(server))
        assert templates.show("kept@production")["content"] == "one"
        assert templates.show("kept")["content"] == "two"


@pytest.mark.parametrize(
    "reference",
    [
        "nothing",
        "pt-0000000000000000",
        "99999999999999999999",
        2**63,
        -1,
        "taken@9",
        "taken@none",
        "@",
        "a@b@c",
    ],
)
def test_what_is_not_there_is_said(templates: Templates, reference: str | int):
    refused = templates.act("DescribePromptTemplate", {"templateId": reference})
    assert (refused.status, refused.json["code"]) == (404, "ResourceNotFound"), refused.body
    assert "lists" in refused.json["message"]
