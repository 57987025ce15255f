"""Manifests: what is refused, and what the refusal says; and that finding plugins imports none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from yangfan.errors import ConfigurationError, InvalidPluginArgument
from yangfan.plugins import base
from yangfan.plugins._schema import Inputs
from yangfan.server.plugins.catalogue import Catalogue

GOOD = """
id = "one"
version = "1.0.0"
tool = "one"
told = "Does one thing."
question = "text"
[name]
zh = "一"
en = "One"
[description]
zh = "一"
en = "One"
[inputs]
type = "object"
required = ["text"]
[inputs.properties.text]
type = "string"
[settings.place]
description = "Where."
default = "here"
"""


def manifest(tmp_path: Path, text: str) -> base.Manifest:
    path = tmp_path / "plugin.toml"
    path.write_text(text, "utf-8")
    return base.read(path)


def test_a_good_one(tmp_path: Path) -> None:
    read = manifest(tmp_path, GOOD)
    assert (read.id, read.question, read.settings["place"].default) == ("one", "text", "here")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('id = "one"', 'id = "a b"', r"plugin\.toml: .*`\$\.id`"),
        ('version = "1.0.0"', 'version = "1"', r"`\$\.version`"),
        ('tool = "one"', 'tool = "a.b"', r"`\$\.tool`"),
        ('tool = "one"', "", "missing required field `tool`"),
        ('told = "Does one thing."', 'told = ""', r"`\$\.told`"),
        ('en = "One"', "", r"missing required field `en` - at `\$\.name`"),
        ('question = "text"', 'question = "words"', "names the input 'words'"),
        ('question = "text"', 'file = "place"', "file names the input 'place'"),
        ('question = "text"', 'permissions = ["root"]', r"Invalid enum value 'root'"),
        ('question = "text"', "colour = 1", "unknown field `colour`"),
        ('required = ["text"]', 'required = ["text", "x"]', "may require nothing else"),
        ('type = "object"', 'type = "array"', 'of type "object"'),
        ('type = "string"', 'type = "strin"', "no JSON Schema that can be used"),
        ('type = "string"', '"$ref" = "http://127.0.0.1:1/x"', "no JSON Schema that can be used"),
        ('type = "string"', '"$ref" = "file:///etc/passwd"', "no JSON Schema that can be used"),
        ("[settings.place]", '[settings."a b"]', "lower-case letters"),
        ("[settings.place]", "[settings", "plugin.toml: "),
    ],
)
def test_a_bad_one_names_file_and_field(tmp_path: Path, old: str, new: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        manifest(tmp_path, GOOD.replace(old, new, 1))


def test_one_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        base.read(tmp_path / "plugin.toml")
    with pytest.raises(ConfigurationError, match="more than 65536 bytes"):
        manifest(tmp_path, GOOD + "#" * 65536)


def test_settings_that_no_plugin_knows(tmp_path: Path) -> None:
    plugin = base.Plugin(manifest(tmp_path, GOOD), "nowhere", "test")
    catalogue = Catalogue({"one": plugin}, {}, {"one": {"place": "there"}})
    assert catalogue.settings_of(plugin) == {"place": "there"}
    assert Catalogue({"one": plugin}, {}, {}).settings_of(plugin) == {"place": "here"}
    with pytest.raises(ConfigurationError, match=r"no plugin 'two' for \[plugins.two\]"):
        Catalogue({"one": plugin}, {}, {"two": {}})
    with pytest.raises(ConfigurationError, match="the plugin knows place"):
        Catalogue({"one": plugin}, {}, {"one": {"colour": 1}})
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        plugin.load()


def test_a_pattern_cannot_hang_the_check() -> None:
    inputs = Inputs({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}})
    with pytest.raises(InvalidPluginArgument, match="one: a: "):
        inputs.check({"a": "a" * 5000 + "!"}, "one")


def test_finding_plugins_imports_none_of_them() -> None:
    program = (
        "import sys; from yangfan.plugins import base; found, broken = base.installed();"
        "assert {'uuid-zhishiku', 'uuid-weatherforecast'} <= found.keys(), found; assert not broken, broken;"
        "loaded = {name for name in sys.modules if name.startswith('yangfan.plugins.')};"
        "print(loaded - {'yangfan.plugins.base', 'yangfan.plugins._schema'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")
