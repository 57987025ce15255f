"""Prompt templates as the SDK shows them: rendering, frameworks and differences, without a server."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import msgspec

from yangfan import errors
from yangfan.protocol import templates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from yangfan.protocol.templates import HyperParameters, Identifier, Value
    from yangfan.protocol.v1 import prompt_work as work

Scene = Literal["text", "image"]
"""What the template is for: text to text, or text to image."""

Framework = Literal["none", "basic", "crispe", "few-shot"]
"""How the template is built."""

FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)
"""In the order of their numbers on the wire."""

_WIRE = {
    "model": "modelName",
    "temperature": "temperature",
    "top_p": "topP",
    "penalty_score": "penaltyScore",
    "system": "system",
    "stop": "stop",
    "disable_search": "disableSearch",
    "enable_citation": "enableCitation",
}
"""Parameters in our spelling and the wire's."""

_ONE_DIALECT = frozenset({"disable_search", "enable_citation"})
"""Options that only v1 has; they are kept, and not among `RenderedPrompt.options`."""


class RenderedPrompt(str):
    """The text of a template with its values: a string, ready for `client.chat` and wherever else a text goes.

    Attributes:
        negative: What a picture is not to show, rendered as well; "" for none.
        prompt: The template and the version that it comes from.
        turns: Who says what, where the template spells out a conversation, which `client.chat` asks then; else it alone as the user's turn.
    """

    __slots__ = ("negative", "prompt", "turns")

    negative: str
    prompt: Prompt
    turns: tuple[templates.Turn, ...]

    def __new__(
        cls,
        text: str,
        negative: str,
        prompt: Prompt,
        turns: tuple[templates.Turn, ...] = (),
    ) -> RenderedPrompt:
        """Made by `Prompt.render`."""
        made = super().__new__(cls, text)
        made.negative, made.prompt = negative, prompt
        made.turns = turns or (("user", text),)
        return made

    def __reduce__(
        self,
    ) -> tuple[type[RenderedPrompt], tuple[str, str, Prompt, tuple[templates.Turn, ...]]]:
        """How to copy it."""
        return RenderedPrompt, (str(self), self.negative, self.prompt, self.turns)

    @property
    def options(self) -> dict[str, Any]:
        """The template's parameters as options of a chat: ``client.chat(text, **text.options)``."""
        return {
            name: value
            for name, value in self.prompt.parameters.items()
            if name not in _ONE_DIALECT
        }


@dataclass(frozen=True, slots=True)
class PromptTag:
    """What templates are sorted by; Qianfan calls it a label.

    Attributes:
        id: ``pl-…``.
        name: What it is called.
        color: Of its sign, such as ``#5B8FF9``.
        is_preset: It comes with the platform.
    """

    id: str
    name: str
    color: str = ""
    is_preset: bool = False


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One version of a template, without its text.

    Attributes:
        version: Counts from 1.
        labels: Those that point at it, `latest` left out.
        note: Why, for people.
        creator: Application of the key that made it.
        created_at: When; aware.
        variables: Names of its variables.
    """

    version: int
    labels: tuple[str, ...]
    note: str
    creator: str
    created_at: datetime
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template at one of its versions.

    Attributes:
        id: ``pt-…``.
        name: What it is called.
        text: The template.
        identifier: What stands around a variable's name.
        variables: Names of its variables.
        scene: text or image.
        framework: none, basic, crispe or few-shot.
        negative_text: What a picture is not to show; "" for none.
        negative_variables: Names of the variables in that.
        parameters: How a model is to answer: model, temperature, top_p, penalty_score, system, stop.
        tags: What it is sorted by.
        version: Which version this is.
        latest_version: Which is the newest.
        labels: Labels that point at this version, such as production; `latest` left out.
        note: Why this version, for people.
        is_preset: It comes with the platform.
        created_at: When the template was made; aware. None if it is not on a server.
        updated_at: When it was changed last; aware.
    """

    name: str
    text: str
    identifier: Identifier = "{}"
    variables: tuple[str, ...] = ()
    scene: Scene = "text"
    framework: Framework = "none"
    negative_text: str = ""
    negative_variables: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tags: tuple[PromptTag, ...] = ()
    id: str = ""
    version: int = 1
    latest_version: int = 1
    labels: tuple[str, ...] = ()
    note: str = ""
    is_preset: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def render(
        self, variables: Mapping[str, Value] | None = None, /, **values: Value
    ) -> RenderedPrompt:
        """The text with its variables filled in, here and without asking a server.

        Values are put in as they are: what looks like a variable in a value is text.

        Args:
            variables: Values by name, for names that are no keywords of Python's.
            **values: The same as keywords.

        Raises:
            Invalid: A variable has no value, or the text would be longer than 1,000,000 characters.
        """
        given = {**(variables or {}), **values}
        text = templates.render(self.text, self.identifier, given, self.variables)
        negative = templates.render(
            self.negative_text, self.identifier, given, self.negative_variables
        )
        undefined = list(dict.fromkeys((*text.undefined, *negative.undefined)))
        if undefined:
            raise errors.Invalid(
                f"the template {self.name!r} has no value for {', '.join(undefined)}; give one for each variable",
                param=undefined[0],
            )
        turns = tuple(
            (role, templates.render(each, self.identifier, given, self.variables).text)
            for role, each in templates.turns_of(self.text)
        )
        return RenderedPrompt(text.text, negative.text, self, turns)


def basic(
    instruction: str, *, background: str = "", data: str = "", output_format: str = ""
) -> str:
    """A prompt of the basic framework: what to do, what to know, what to work on, what to give back."""
    return _lines(
        ("指令", instruction),
        ("背景信息", background),
        ("补充数据", data),
        ("输出格式", output_format),
    )


def crispe(
    statement: str,
    *,
    capacity: str = "",
    insight: str = "",
    personality: str = "",
    experiment: str = "",
) -> str:
    """A prompt of the CRISPE framework: capacity and role, insight, statement, personality, experiment."""
    return _lines(
        ("能力与角色", capacity),
        ("背景信息", insight),
        ("指令", statement),
        ("输出风格", personality),
        ("输出范围", experiment),
    )


def few_shot(
    examples: Sequence[tuple[str, str]], *, instruction: str = "", question: str = ""
) -> str:
    """A prompt that shows inputs with their outputs, and asks for the next output.

    Raises:
        Invalid: There is no example.
    """
    if not examples:
        raise errors.Invalid("a few-shot prompt needs an example at least", param="examples")
    pieces = [instruction] if instruction else []
    pieces += [f"输入：{given}\n输出：{wanted}" for given, wanted in examples]
    if question:
        pieces.append(f"输入：{question}\n输出：")
    return "\n\n".join(pieces)


def difference(before: Prompt, after: Prompt) -> str:
    """What changed from one version to another, as a unified diff; "" if nothing did."""
    pieces: list[str] = []
    for part, old, new in (
        ("", before.text, after.text),
        (" negative", before.negative_text, after.negative_text),
        (" settings", _settings(before), _settings(after)),
    ):
        pieces += difflib.unified_diff(
            old.splitlines(),
            new.splitlines(),
            fromfile=f"{before.name}@{before.version}{part}",
            tofile=f"{after.name}@{after.version}{part}",
            lineterm="",
        )
    return "\n".join(pieces)


def parameters_of(wire: HyperParameters) -> dict[str, Any]:
    """The wire's parameters in our spelling; what is not set is left out."""
    found = cast("dict[str, Any]", msgspec.to_builtins(wire))
    return {ours: found[theirs] for ours, theirs in _WIRE.items() if found.get(theirs) is not None}


def hyper_parameters(parameters: Mapping[str, object]) -> dict[str, object]:
    """The reverse.

    Raises:
        ConfigurationError: There is no such parameter.
    """
    unknown = [name for name in parameters if name not in _WIRE]
    if unknown:
        raise errors.ConfigurationError(
            f"a template has no parameter {unknown[0]!r}; it has {', '.join(_WIRE)}"
        )
    return {_WIRE[name]: value for name, value in parameters.items() if value is not None}


def _lines(*parts: tuple[str, str]) -> str:
    return "\n".join(f"{name}：{text}" for name, text in parts if text)


def _settings(prompt: Prompt) -> str:
    shown = {
        "identifier": prompt.identifier,
        "framework": prompt.framework,
        "variables": ", ".join(prompt.variables),
        **prompt.parameters,
    }
    return "\n".join(f"{name}: {value}" for name, value in shown.items())


@dataclass(frozen=True, slots=True)
class TriedPrompt:
    """A prompt of a search.

    Attributes:
        wrong: Why it could not be used; "" if it could.
        change: What was changed of its parent: `instruction`, `form` (its closing line), `examples`, or `examples and form`; "" for what was given.
        parent: Place in the search of what it was made of; None for what was given.
        value: Its score on the samples that decide; None where it did not come so far, or nobody measured.
        low: Lower end of the interval that holds the true value 95 times of a hundred; `high` the upper one.
        ungradeable: How many answers have no grade, by reason.
    """

    content: str
    wrong: str = ""
    change: str = ""
    parent: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    ungradeable: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Optimization:
    """The rewriting of a prompt.

    Attributes:
        id: ``task-…``.
        state: running, done or failed (or stopped).
        content: The prompt as it was; `optimized` as it is now, "" before the end.
        measured: Whether samples decided; otherwise it is a rewriting that nobody measured.
        answers: How many answers were asked for.
        search: Every prompt that was tried, first the one that was given.
        message: Why it failed.
        job_id: What works on it.
    """

    id: str
    state: Literal["running", "done", "failed"]
    content: str
    optimized: str
    measured: bool
    answers: int
    search: tuple[TriedPrompt, ...]
    message: str
    job_id: str


_STATES: dict[int, Literal["running", "done", "failed"]] = {1: "running", 2: "done", 3: "failed"}


def optimization_of(item: work.Optimisation) -> Optimization:
    """What the wire says."""
    return Optimization(
        item.id,
        _STATES[item.processStatus],
        item.content,
        item.optimizeContent,
        item.measured,
        item.answers,
        tuple(map(_tried, item.search)),
        item.message,
        item.jobId,
    )


def _tried(item: Mapping[str, Any]) -> TriedPrompt:
    return TriedPrompt(
        item["content"],
        item.get("wrong", ""),
        item.get("change", ""),
        item.get("parent"),
        item.get("value"),
        item.get("low"),
        item.get("high"),
        item.get("ungradeable", {}),
    )
