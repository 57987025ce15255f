"""Inputs against their JSON Schema. References lead nowhere but into the schema itself, and patterns take linear time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import ConfigurationError, InvalidPluginArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOLD = 3
"""How many of the faults are told."""


class Inputs:
    """The inputs of one tool.

    Args:
        schema: JSON Schema of an object.

    Raises:
        ConfigurationError: It is no schema, or refers to something outside of itself.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # 8 MB that a server without plugins in use does without.
        import jsonschema_rs

        try:
            self._validator = jsonschema_rs.validator_for(
                dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions()
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            told = getattr(error, "message", None) or str(error).splitlines()[0]
            raise ConfigurationError(f"inputs is no JSON Schema that can be used: {told}") from None

    def check(self, values: Mapping[str, Any], tool: str) -> None:
        """Say what is wrong with inputs.

        Raises:
            InvalidPluginArgument: Something is; the message names the inputs.
        """
        faults = [
            f"{'.'.join(map(str, error.instance_path)) or 'inputs'}: {error.message}"
            for error, _ in zip(
                self._validator.iter_errors(dict(values)), range(MAX_TOLD), strict=False
            )
        ]
        if faults:
            raise InvalidPluginArgument(f"{tool}: {'; '.join(faults)[:1000]}", param="inputs")
