"""The templates that come with the platform (presets.toml): read once, never changed."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.templates import HyperParameters, Identifier, variables_of
from yangfan.protocol.v1.prompts import Framework, Scene
from yangfan.server.prompts.types import Content, Label, Template, Version

if TYPE_CHECKING:
    from yangfan.server.prompts.store import Key
    from yangfan.server.prompts.types import Filter

ADDED_MS = 1_767_225_600_000
"""When they are said to have been made: the first moment of 2026."""


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=1, lt=1000)]
    name: str
    color: str


class _Template(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=1, lt=10_000)]
    name: str
    label: str
    language: str
    text: str
    identifier: Identifier = "{}"
    framework: Framework = 0
    negative_text: str = ""
    parameters: HyperParameters | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    label: dict[str, _Label]
    template: list[_Template]


class Presets:
    """The templates of the file, in its order.

    Attributes:
        labels: Their labels by id.
    """

    def __init__(self) -> None:
        """Read the file that comes with the package."""
        data = resources.files("yangfan.server.prompts").joinpath("presets.toml").read_bytes()
        file = msgspec.toml.decode(data, type=_File)
        by_key = {key: _label(label) for key, label in file.label.items()}
        self.labels = {label.id: label for label in by_key.values()}
        self._all = [_template(template, by_key) for template in file.template]
        self._by_key: dict[Key, Template] = {}
        for template in self._all:
            for key in (template.number, template.id, template.name):
                assert key not in self._by_key, f"presets.toml has {key} twice"
                self._by_key[key] = template

    def find(self, key: Key) -> Template | None:
        """The one of that integer id, ``pt-…`` or name."""
        return self._by_key.get(key)

    def filtered(self, wanted: Filter) -> list[Template]:
        """Those that are wanted, in the order of the file."""
        if wanted.preset is False:
            return []
        part, ids = wanted.name.casefold(), set(wanted.label_ids)
        return [
            template
            for template in self._all
            if part in template.name.casefold() and ids <= {label.id for label in template.labels}
        ]


def _label(label: _Label) -> Label:
    return Label(
        label.number, _id("pl-", label.name), label.name, label.color, "", ADDED_MS, preset=True
    )


def _template(template: _Template, labels: dict[str, Label]) -> Template:
    content = Content(
        text=template.text.strip("\n"),
        identifier=template.identifier,
        variables=variables_of(template.text, template.identifier),
        negative_text=template.negative_text.strip("\n"),
        negative_variables=variables_of(template.negative_text, template.identifier),
        framework=template.framework,
        parameters=template.parameters,
    )
    scene: Scene = 2 if template.label == "image" else 1
    found = (labels[template.label], labels[template.language])
    return Template(
        number=template.number,
        id=_id("pt-", template.name),
        name=template.name,
        preset=True,
        scene=scene,
        labels=found,
        creator="",
        created_ms=ADDED_MS,
        modified_ms=ADDED_MS,
        latest=1,
        version=Version(1, content, (), "", "", ADDED_MS),
    )


def _id(prefix: str, name: str) -> str:
    """The same in every release and on every machine."""
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:16]
