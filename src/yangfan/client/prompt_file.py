"""Prompt templates as YAML files, so that they live in git beside the code that uses them.

    name: greeting
    identifier: '{}'
    template: |-
      Write a greeting for {guest}.
      Two sentences.

Labels such as production are not in a file: they point at versions, and versions live on the server.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from msgspec import Meta

from yangfan.client.prompts import Framework, Prompt, PromptTag, Scene, hyper_parameters
from yangfan.errors import ConfigurationError
from yangfan.protocol.templates import MAX_TEMPLATE_CHARACTERS, Identifier, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_FILE_BYTES = 2_000_000
MAX_DEPTH = 8

_ESCAPED = re.compile("[\r\x85\u2028\u2029\ufeff]")

_Text = Annotated[str, Meta(max_length=MAX_TEMPLATE_CHARACTERS)]


class PromptFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a file says; `variables` only where they are not those in the text."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    template: Annotated[str, Meta(min_length=1, max_length=MAX_TEMPLATE_CHARACTERS)]
    identifier: Identifier = "{}"
    variables: list[str] | None = None
    scene: Scene = "text"
    framework: Framework = "none"
    negative_template: _Text = ""
    negative_variables: list[str] | None = None
    tags: list[str] = []
    parameters: dict[str, Any] = {}
    note: Annotated[str, Meta(max_length=500)] = ""


def read(path: Path) -> Prompt:
    """The template in a file.

    Raises:
        ConfigurationError: The file cannot be read, or holds no template; the message says where.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_FILE_BYTES:
            raise ConfigurationError(
                f"{path} has {size_bytes} bytes, and a template's file at most {MAX_FILE_BYTES}"
            )
        return loads(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None


def loads(text: str, source: str = "the text") -> Prompt:
    """The template in a YAML text.

    Raises:
        ConfigurationError: It holds no template; `source` names it in the message.
    """
    # Slow to import, and most programs have no files of templates.
    import yaml

    try:
        _check_shape(text, source)
        # The safe loader makes plain data only.
        document = yaml.safe_load(text)
        file = msgspec.convert(document, PromptFile)
        parameters = dict(file.parameters)
        hyper_parameters(parameters)
    except (yaml.YAMLError, RecursionError) as error:
        where = " ".join(str(error).split())
        raise ConfigurationError(f"{source} is not YAML: {where}") from None
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{source} holds no template: {error}; name and template must be there"
        ) from None
    negative_names = file.negative_variables
    return Prompt(
        name=file.name,
        text=file.template,
        identifier=file.identifier,
        variables=_names(file.variables, file.template, file.identifier),
        scene=file.scene,
        framework=file.framework,
        negative_text=file.negative_template,
        negative_variables=_names(negative_names, file.negative_template, file.identifier),
        parameters=parameters,
        tags=tuple(PromptTag(id="", name=name) for name in file.tags),
        note=file.note,
    )


def dumps(prompt: Prompt) -> str:
    """A template as YAML: the same text each time, and long texts as blocks that git can compare line by line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # A block can hold neither spaces before a line's end nor a tab in front; YAML quotes those by itself.
        # YAML reads these as line ends or drops them, but for quotes with escapes.
        style = '"' if _ESCAPED.search(value) else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)  # pyright: ignore[reportUnknownMemberType] - as above

    Dumper.add_representer(str, text)
    fields: dict[str, Any] = {"name": prompt.name}
    if prompt.scene != "text":
        fields["scene"] = prompt.scene
    if prompt.framework != "none":
        fields["framework"] = prompt.framework
    if prompt.tags:
        fields["tags"] = [tag.name for tag in prompt.tags]
    if prompt.parameters:
        fields["parameters"] = dict(prompt.parameters)
    fields["identifier"] = prompt.identifier
    fields["template"] = prompt.text
    if prompt.variables != variables_of(prompt.text, prompt.identifier):
        fields["variables"] = list(prompt.variables)
    if prompt.negative_text:
        fields["negative_template"] = prompt.negative_text
        found = variables_of(prompt.negative_text, prompt.identifier)
        if prompt.negative_variables != found:
            fields["negative_variables"] = list(prompt.negative_variables)
    return str(
        yaml.dump(fields, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=1_000_000)
    )


def file_name(prompt: Prompt) -> str:
    """A name for its file that stays in its folder, whatever the template is called."""
    plain = re.sub(r"[^\w-]+", "-", prompt.name).strip("-_")[:80]
    return f"{plain or prompt.id or 'prompt'}.yaml"


def _check_shape(text: str, source: str) -> None:
    """Refuse early what a template does not need: aliases, a few of which can stand for gigabytes, and deep nesting, which is slow.

    Raises:
        ConfigurationError: The text has one of them.
    """
    import yaml

    depth = 0
    events = cast("Iterable[object]", yaml.parse(text, yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType] - its stubs lack the type
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise ConfigurationError(f"{source} uses a YAML alias (*name); write the text out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ConfigurationError(f"{source} is nested too deeply for a template")


def _names(given: list[str] | None, text: str, identifier: Identifier) -> tuple[str, ...]:
    return variables_of(text, identifier) if given is None else tuple(given)
