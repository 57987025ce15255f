"""The nouns of prompt templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yangfan.protocol.templates import HyperParameters

if TYPE_CHECKING:
    from yangfan.protocol.templates import Identifier
    from yangfan.protocol.v1.prompts import Framework, Scene

LATEST = "latest"
"""The label that the newest version always has."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a version says; never changed once it is written.

    Attributes:
        text: The template.
        identifier: What stands around a variable's name.
        variables: The names of its variables.
        negative_text: What a picture is not to show; "" for none.
        negative_variables: The names of its variables.
        framework: 0 none, 1 basic, 2 CRISPE, 3 few-shot.
        parameters: How a model is to answer; None for its own way.
    """

    text: str
    identifier: Identifier
    variables: tuple[str, ...]
    negative_text: str = ""
    negative_variables: tuple[str, ...] = ()
    framework: Framework = 0
    parameters: HyperParameters | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """What templates are sorted by.

    Attributes:
        number: Its integer id; those of presets are below 1,000.
        id: ``pl-…``.
        creator: Application of the key that made it; "" for a preset.
    """

    number: int
    id: str
    name: str
    color: str
    creator: str
    created_ms: int
    preset: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a template.

    Attributes:
        number: Counts from 1.
        labels: Those that point at it, `latest` left out.
        note: Why, for people.
        creator: Application of the key that made it.
    """

    number: int
    content: Content
    labels: tuple[str, ...]
    note: str
    creator: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Template:
    """A template, and the version of it that is meant.

    Attributes:
        number: Its integer id; those of presets are below 10,000.
        id: ``pt-…``.
        preset: It comes with the platform and cannot be changed.
        scene: 1 text to text, 2 text to image.
        labels: What it is sorted by.
        latest: Number of its newest version.
    """

    number: int
    id: str
    name: str
    preset: bool
    scene: Scene
    labels: tuple[Label, ...]
    creator: str
    created_ms: int
    modified_ms: int
    latest: int
    version: Version


@dataclass(frozen=True, slots=True)
class Filter:
    """Which templates.

    Attributes:
        name: A part of the name, in any case; "" for all.
        preset: Those that come with the platform, or those that do not; None for both.
        label_ids: Those that have all of these.
    """

    name: str = ""
    preset: bool | None = None
    label_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What to change of a template; None leaves it.

    Attributes:
        name: New name.
        label_ids: What it is sorted by from now on.
        variables: Names of variables; with a new text and None, those in the text.
    """

    name: str | None = None
    label_ids: tuple[str, ...] | None = None
    text: str | None = None
    variables: tuple[str, ...] | None = None
    identifier: Identifier | None = None
    negative_text: str | None = None
    negative_variables: tuple[str, ...] | None = None
    framework: Framework | None = None
    parameters: HyperParameters | None = None
    note: str = ""


def given_parameters(parameters: HyperParameters | None) -> HyperParameters | None:
    """Parameters of which none is set are none."""
    return parameters if parameters != HyperParameters() else None
