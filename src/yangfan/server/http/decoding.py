"""JSON bodies to request types, and validation errors to sentences that say what to change."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from yangfan.errors import Invalid, MalformedArgument, MalformedJSON

_PATH = re.compile(r" - at `(?:\$\.?)?(.*)`$")
_BOUND = re.compile(r"^Expected `(\w+)`( of length)? (>=|>|<=|<) (\S+)")


class BodyDecoder:
    """Decodes JSON to one Struct type; made once per endpoint."""

    def __init__(self, kind: type[Any]) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def decode(self, body: bytes) -> Any:
        """Decode and validate.

        Raises:
            MalformedJSON: Not JSON, not UTF-8, or nested too deeply.
            MalformedArgument: A field is missing or has the wrong type; `param` names it.
            Invalid: A field's value is out of its range; `param` names it.
        """
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise explain(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedJSON(f"the body is not JSON in UTF-8: {error}") from None
        except RecursionError:
            raise MalformedJSON("the body is nested too deeply; send flat JSON") from None


def explain(error: msgspec.ValidationError) -> Invalid:
    """A validation error in words: which field, what it must be."""
    text = str(error)
    found = _PATH.search(text)
    param = found.group(1) if found else None
    reason = text[: found.start()] if found else text
    where = f"`{param}`: " if param else ""
    bound = _BOUND.match(reason)
    if bound:
        kind, length, sign, limit = bound.groups()
        what = {"array": "a list", "str": "a text"}.get(kind, "a number")
        return Invalid(f"{where}must be {what}{length or ''} {sign} {limit}", param=param)
    if reason.startswith(
        ("Invalid enum value", "Number out of range", "Integer value out of range")
    ):
        return Invalid(f"{where}{reason[0].lower()}{reason[1:]}", param=param)
    return MalformedArgument(f"{where}{reason[0].lower()}{reason[1:]}", param=param)
