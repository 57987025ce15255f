"""Templates as YAML files: what goes out comes in again, and what is no template is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yangfan.client import prompt_file
from yangfan.client.prompts import Prompt, PromptTag
from yangfan.errors import ConfigurationError
from yangfan.protocol.templates import IDENTIFIERS, Identifier, variables_of

WHOLE = Prompt(
    name="图 picture",
    text="a ((thing))\n  indented: yes\n",
    identifier="(())",
    variables=("thing",),
    scene="image",
    framework="crispe",
    negative_text="no ((bad))",
    negative_variables=("bad",),
    parameters={"model": "m", "temperature": 0.5, "stop": ["。"]},
    tags=(PromptTag("", "图像 Image"),),
)


def test_long_texts_are_blocks_that_git_can_compare():
    assert prompt_file.dumps(WHOLE) == (
        "name: 图 picture\n"
        "scene: image\n"
        "framework: crispe\n"
        "tags:\n"
        "- 图像 Image\n"
        "parameters:\n"
        "  model: m\n"
        "  temperature: 0.5\n"
        "  stop:\n"
        "  - 。\n"
        "identifier: (())\n"
        "template: |\n"
        "  a ((thing))\n"
        "    indented: yes\n"
        "negative_template: no ((bad))\n"
    )
    assert prompt_file.loads(prompt_file.dumps(WHOLE)) == WHOLE


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.sampled_from(IDENTIFIERS),
)
def test_any_text_comes_back(text: str, identifier: str):
    found: Identifier = next(known for known in IDENTIFIERS if known == identifier)
    prompt = Prompt("n", text, found, variables_of(text, found))
    assert prompt_file.loads(prompt_file.dumps(prompt)) == prompt


def test_listed_variables_are_kept():
    prompt = Prompt("n", "{one} {two}", variables=("one",))
    assert "variables:\n- one\n" in prompt_file.dumps(prompt)
    assert prompt_file.loads(prompt_file.dumps(prompt)) == prompt


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no template: Expected `object`, got `null`; name and template must be there"),
        ("name: a", "missing required field `template`"),
        ("name: 1\ntemplate: x", r"Expected `str`, got `int` - at `\$.name`"),
        ("name: a\ntemplate: x\nlable: y", "unknown field `lable`"),
        ("name: a\ntemplate: x\nidentifier: <>", "Invalid enum value '<>'"),
        ("name: a\ntemplate: x\nparameters: {temp: 1}", "no parameter 'temp'; it has model,"),
        ("name: [", "is not YAML: while parsing"),
        ("name: !!python/object/apply:os.system [ls]\ntemplate: x", "is not YAML: could not deter"),
        ("a: &a [x]\nb: [*a, *a]", r"uses a YAML alias \(\*name\); write the text out"),
        ("[" * 5000, "is nested too deeply for a template"),
        ("- a", "Expected `object`, got `array`"),
    ],
)
def test_what_is_no_template_is_said(tmp_path: Path, text: str, says: str):
    file = tmp_path / "p.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=says):
        prompt_file.read(file)


def test_file_that_is_not_there_or_too_large_is_said(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="cannot read"):
        prompt_file.read(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_bytes(b"x" * (prompt_file.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigurationError, match="at most 2000000"):
        prompt_file.read(tmp_path / "large.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot read"):
        prompt_file.read(tmp_path / "bytes.yaml")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("翻译", "翻译.yaml"),
        ("../../etc/passwd", "etc-passwd.yaml"),
        ("a/b\\c:d", "a-b-c-d.yaml"),
        ("...", "pt-1.yaml"),
        ("x" * 100, "x" * 80 + ".yaml"),
    ],
)
def test_file_stays_in_its_folder_whatever_the_template_is_called(name: str, file: str):
    assert prompt_file.file_name(Prompt(name, "x", id="pt-1")) == file
