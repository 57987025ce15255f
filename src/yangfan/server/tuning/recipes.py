"""Ways of training and their hyper-parameters (data: recipes.toml), and the check of what a caller sends against them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Literal

import msgspec

from yangfan.errors import Invalid

Scale = Literal["FullFineTuning", "LoRA", "PromptTuning"]
"""How much of a model is trained (specification D.6)."""

METHODS: Mapping[str, str] = {
    "FullFineTuning": "full",
    "LoRA": "lora",
    "PromptTuning": "prompt_tuning",
}
"""The same in the trainers' words."""

SEQUENCE = "maxSeqLen"
"""The parameter that no model takes beyond its context."""


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hyper-parameter.

    Attributes:
        name: For people.
        description: What it does.
        type: Of its value.
        check: range (least and most), choice (one of them) or mult_choice (some of them).
        values: What `check` says.
        default: Its value where nobody says.
        field: How trainers spell it, where that is not the same in snake_case.
    """

    name: str
    description: str
    type: Literal["int", "float", "string", "boolean"]
    check: Literal["range", "choice", "mult_choice"]
    values: tuple[Any, ...]
    default: Any
    field: str = ""


class Mode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way of training.

    Attributes:
        trainer: Its name among the trainers.
        formats: Data formats that it learns from.
        scales: What it can train.
        groups: Groups of parameters that only it has.
        bases: Kind of the models that are trained so.
        called: The name that calls use, where that is another way's, too.
        common: The group of parameters that every scale has.
        lora: The group that LoRA adds.
    """

    trainer: str
    formats: tuple[str, ...]
    scales: tuple[Scale, ...]
    groups: tuple[str, ...] = ()
    bases: Literal["chat", "images"] = "chat"
    called: str = ""
    common: str = "common"
    lora: str = "lora"


class Recipes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that recipes.toml says."""

    presets: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    groups: Mapping[str, tuple[str, ...]]
    modes: Mapping[str, Mode]
    defaults: Mapping[str, Mapping[str, Any]]

    def mode(self, name: str) -> Mode:
        """A way of training by the name that calls use.

        Raises:
            Invalid: There is none of that name.
        """
        found = self.modes.get(name)
        if found is None:
            known = ", ".join(self.modes)
            raise Invalid(f"trainMode must be one of {known}; got {name[:80]!r}", param="trainMode")
        return found

    def for_base(self, name: str, kind: str) -> str:
        """The way of training that a call means by a name, for a model of a kind; `mode` knows it.

        Raises:
            Invalid: Models of that kind are not trained so.
        """
        here = {
            found.called or key: key for key, found in self.modes.items() if found.bases == kind
        }
        if name not in here and name not in here.values():
            raise Invalid(
                f"a model for {kind} is trained with {' or '.join(here) or 'nothing'}, not with {name[:80]}",
                param="trainMode",
            )
        return here.get(name, name)

    def scale(self, mode: str, name: str) -> Scale:
        """How much is trained, by the name that calls use.

        Raises:
            Invalid: The mode does not come in it.
        """
        for known in self.mode(mode).scales:
            if known == name:
                return known
        names = ", ".join(self.mode(mode).scales)
        raise Invalid(
            f"parameterScale of {mode} must be one of {names}; got {name[:80]!r}",
            param="parameterScale",
        )

    def recipe(self, mode: str, scale: Scale, context_tokens: int = 0) -> dict[str, Parameter]:
        """The parameters of a mode at a scale, with the defaults and bounds that hold for a model.

        Args:
            mode: Way of training.
            scale: How much is trained.
            context_tokens: Of the model; 0 if nobody knows.
        """
        way = self.mode(mode)
        groups = [way.common, *way.groups]
        groups += {"LoRA": [way.lora], "PromptTuning": ["prompt"]}.get(scale, [])
        told = {**self.defaults.get(mode, {}), **self.defaults.get(scale, {})}
        told |= self.defaults.get(f"{mode}.{scale}", {})
        found: dict[str, Parameter] = {}
        for key in (key for group in groups for key in self.groups[group]):
            parameter = self.parameters[key]
            if key in told:
                parameter = msgspec.structs.replace(parameter, default=told[key])
            if key == SEQUENCE and context_tokens:
                parameter = _within(parameter, context_tokens)
            found[key] = parameter
        return found

    def check(
        self, mode: str, scale: Scale, given: Mapping[str, Any], context_tokens: int = 0
    ) -> dict[str, Any]:
        """Every parameter of a run: what was given where it is allowed, the default otherwise.

        Raises:
            Invalid: A parameter is unknown or not allowed; it is named.
        """
        recipe = self.recipe(mode, scale, context_tokens)
        found = {key: parameter.default for key, parameter in recipe.items()}
        for key, value in given.items():
            parameter = recipe.get(key)
            if parameter is None:
                known = ", ".join(recipe)
                raise _refusal(
                    key,
                    f"{key[:80]} is no hyper-parameter of {mode} with {scale}; there are: {known}",
                )
            if value is not None:
                found[key] = _checked(key, parameter, value)
        return found


@functools.cache
def load() -> Recipes:
    """The recipes of the platform."""
    text = resources.files("yangfan.server.tuning").joinpath("recipes.toml").read_text("utf-8")
    return msgspec.toml.decode(text, type=Recipes)


def for_trainer(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters as trainers spell them: ``maxSeqLen`` is ``max_seq_len``."""
    known = load().parameters
    return {known[key].field or snake_case(key): value for key, value in parameters.items()}


def snake_case(key: str) -> str:
    """``maxSeqLen`` becomes ``max_seq_len``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key).strip(
        "_"
    )


def _within(parameter: Parameter, context_tokens: int) -> Parameter:
    values = tuple(value for value in parameter.values if value <= context_tokens)
    values = values or (context_tokens,)
    return msgspec.structs.replace(
        parameter, values=values, default=min(parameter.default, values[-1])
    )


def _checked(key: str, parameter: Parameter, value: Any) -> Any:
    kinds = {"int": int, "float": float, "string": str, "boolean": bool}
    values: Sequence[Any] = parameter.values
    if parameter.check == "mult_choice":
        try:
            chosen = msgspec.convert(value, list[str])
        except msgspec.ValidationError:
            raise _refusal(key, f"{key} must be a list, some of {_listed(values)}") from None
        wrong = [each for each in chosen if each not in values]
        if wrong or not chosen:
            raise _refusal(key, f"{key} must be some of {_listed(values)}; got {str(wrong)[:80]}")
        return chosen
    if isinstance(value, float) and value.is_integer() and parameter.type == "int":
        value = int(value)
    if parameter.type == "string" and isinstance(value, bool):
        value = str(value)  # the wire has "True" where others have true
    try:
        value = msgspec.convert(value, kinds[parameter.type])
    except msgspec.ValidationError:
        raise _refusal(
            key, f"{key} must be {_article(parameter.type)}; got {str(value)[:80]!r}"
        ) from None
    if parameter.check == "choice":
        if value not in values:
            raise _refusal(key, f"{key} must be one of {_listed(values)}; got {str(value)[:80]}")
    elif not (math.isfinite(value) and values[0] <= value <= values[1]):
        raise _refusal(key, f"{key} must be from {values[0]} to {values[1]}; got {str(value)[:80]}")
    return value


def _refusal(key: str, message: str) -> Invalid:
    return Invalid(message, param=f"hyperParameterConfig.{key[:80]}")


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _article(kind: str) -> str:
    return {
        "int": "a whole number",
        "float": "a number",
        "string": "a text",
        "boolean": "true or false",
    }[kind]
