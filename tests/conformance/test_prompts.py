"""Prompt templates through the published package, unchanged (specification D.13, E.4)."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest
from tests.conftest import Server, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.conftest import Programs


@pytest.fixture(name="server")
def server_fixture(tmp_path: Path) -> Generator[Server]:
    with serving(tmp_path) as server:
        yield server


def test_qianfan_keeps_its_prompts_here(programs: Programs, server: Server):
    found = programs.run(
        "qianfan_prompts",
        environ={
            "QIANFAN_BASE_URL": server.base_url,
            "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
            "QIANFAN_ACCESS_KEY": server.access_key,
            "QIANFAN_SECRET_KEY": server.secret_access_key,
        },
    )
    id_ = found["pushed"]
    assert re.fullmatch(r"pt-[0-9a-f]{16}", id_)
    template = "Write about {topic} in {tone} words."
    assert found["pulled"][:4] == [id_, template, ["topic", "tone"], "User"]
    assert found["rendered"] == "Write about tea in plain words."
    assert found["changed"] == [id_, "Say {word}", ["word"]]
    assert found["copy"] == "Say {word}"
    assert "there is a template called 'hub_prompt'; change that one" in found["twice"]
    assert found["gone"] == "Prompt `hub_prompt` does not exist"
    assert (found["preset"][0], found["preset"][1][-2:]) == ("Preset", "你好")
    text, negative = found["picture"]
    assert "icon of a boat" in text
    assert negative.endswith("waves")
    assert (found["negative"][0][:6], found["negative"][1]) == ("people", [])
    assert found["v1 made"].keys() == {"templateId", "templatePK"}
    info = found["v1 info"]
    assert (info["content"], info["negativeContent"]) == ("a lion", "no wolf")
    assert (info["sceneType"], info["frameworkType"], info["variableIdentifier"]) == (2, 1, "(())")
    assert found["v1 list"] == [1, "console_renamed"]
    assert found["v1 labels"] == 14
    assert found["v1 deleted"] is True
    info = found["v2 info"]
    assert (info["content"], info["templateVariables"]) == ("Hi Jin", ["name"])
    assert info["hyperParameters"] == {"temperature": 0.5}
    assert [label["labelName"] for label in info["labels"]] == ["console label"]
    assert found["v2 list"] == "Bye {{name}}"
    assert found["v2 labels"] == "console label"
    assert found["v2 deleted"] == [True, True]
    assert found["chat"] == ["能力与角色：a clerk\n指令：say hi"] * 2
