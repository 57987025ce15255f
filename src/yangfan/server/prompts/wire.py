"""What both dialects read and write alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid
from yangfan.protocol.templates import Identifier, checked_names, variables_of
from yangfan.server.prompts.types import Content, given_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yangfan.protocol.templates import Value
    from yangfan.protocol.v1 import prompts as v1
    from yangfan.protocol.v2 import prompts as v2

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def variables_aside(key: str) -> Callable[[bytes, Mapping[str, Any]], bytes]:
    """Reads a body whose fields, but for `key`, are variables, and puts them into `variables`."""

    def read(body: bytes, scope: Mapping[str, Any]) -> bytes:
        del scope
        try:
            fields = _FIELDS.decode(body)
            given = fields.get("variables")
            variables = {
                name: value for name, value in fields.items() if name not in {key, "variables"}
            }
            if given is not None and bytes(given).lstrip()[:1] == b"{":
                variables |= _FIELDS.decode(given)
            elif given is not None:
                variables["variables"] = given
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body
        aside: dict[str, Any] = {"variables": variables}
        if key in fields:
            aside[key] = fields[key]
        return msgspec.json.encode(aside)

    return read


def values_of(variables: Mapping[str, Any]) -> dict[str, Value]:
    """The values of variables; null is none.

    Raises:
        Invalid: One is a list or an object.
    """
    for name, value in variables.items():
        if isinstance(value, list | dict):
            raise Invalid(
                f"variable {name[:40]} must be a text, a number or a boolean; write lists and objects as text",
                param=name[:40],
            )
    return {name: value for name, value in variables.items() if value is not None}


def content_of(request: v1.CreateTemplate | v2.CreateTemplate) -> Content:
    """What a new template says.

    Raises:
        Invalid: A name that is listed is none.
    """
    identifier = request.variableIdentifier
    negative = request.negativeTemplateContent or ""
    variables = names_of(request.templateVariables, param="templateVariables")
    negative_variables = names_of(
        request.negativeTemplateVariables, param="negativeTemplateVariables"
    )
    return Content(
        text=request.templateContent,
        identifier=identifier,
        variables=_or_found(variables, request.templateContent, identifier),
        negative_text=negative,
        negative_variables=_or_found(negative_variables, negative, identifier),
        framework=request.frameworkType,
        parameters=given_parameters(request.hyperParameters),
    )


def names_of(given: str | list[str] | None, *, param: str) -> tuple[str, ...] | None:
    """Names of variables as the wire lists them, in one text or several; None if it does not.

    Raises:
        Invalid: One of them is no name.
    """
    if given is None:
        return None
    return checked_names(given.split(",") if isinstance(given, str) else given, param=param)


def _or_found(names: tuple[str, ...] | None, text: str, identifier: Identifier) -> tuple[str, ...]:
    return variables_of(text, identifier) if names is None else names
