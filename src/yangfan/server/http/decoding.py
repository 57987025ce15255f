"""JSON bodies to request types, and validation errors to sentences that say what to change."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any

import msgspec
import msgspec.inspect

from yangfan.errors import Invalid, MalformedArgument, MalformedJSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GZIP = b"\x1f\x8b"
_INDEX = re.compile(r"\[[^\]]*\]")
_PATH = re.compile(r" - at `(?:\$\.?)?(.*)`$")
_BOUND = re.compile(r"^Expected `(\w+)`( of length)? (>=|>|<=|<) (\S+)")


class BodyDecoder:
    """Decodes JSON to one Struct type; made once per endpoint."""

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind
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
            raise explain(error, self._kind) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if body.startswith(codecs.BOM_UTF8):
                # RFC 8259 lets a reader pass over it; PowerShell and .NET write it.
                return self.decode(body[len(codecs.BOM_UTF8) :])
            if body.startswith(_GZIP):
                raise MalformedJSON(
                    "the body is compressed; send it as it is, without Content-Encoding"
                ) from None
            raise MalformedJSON(f"the body is not JSON in UTF-8: {error}") from None
        except RecursionError:
            raise MalformedJSON("the body is nested too deeply; send flat JSON") from None


def explain(error: msgspec.ValidationError, kind: Any = None) -> Invalid:
    """A validation error in words: which field, what it must be; `kind` is the type that it had to have."""
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
    if reason.startswith("Invalid enum value") and kind is not None and param:
        allowed = _allowed(kind, param)
        must = f"; must be one of {', '.join(allowed)}" if allowed else ""
        return Invalid(f"{where}{reason[0].lower()}{reason[1:]}{must}", param=param)
    if reason.startswith(
        ("Invalid enum value", "Number out of range", "Integer value out of range")
    ):
        return Invalid(f"{where}{reason[0].lower()}{reason[1:]}", param=param)
    return MalformedArgument(f"{where}{reason[0].lower()}{reason[1:]}", param=param)


def _allowed(kind: Any, param: str) -> list[str]:
    """The values that a field of few values takes, found by its path; none if it is within an object of other people's."""
    found: set[str] = set()
    kinds = [msgspec.inspect.type_info(kind)]
    for name in (*_INDEX.sub("", param).split("."), None):
        kinds = list(_plain(kinds))
        if name is None:
            break
        kinds = [
            field.type
            for one in kinds
            if isinstance(one, msgspec.inspect.StructType)
            for field in one.fields
            if field.encode_name == name
        ]
    for one in kinds:
        if isinstance(one, msgspec.inspect.LiteralType):
            found.update(str(value) for value in one.values)
    return sorted(found, key=_as_number)


def _plain(kinds: Iterable[Any]) -> Iterator[Any]:
    """What the types are without constraints, lists and alternatives."""
    for one in kinds:
        if isinstance(one, msgspec.inspect.Metadata):
            yield from _plain([one.type])
        elif isinstance(one, msgspec.inspect.UnionType):
            yield from _plain(one.types)
        elif isinstance(one, msgspec.inspect.ListType):
            yield from _plain([one.item_type])
        else:
            yield one


def _as_number(text: str) -> tuple[float, str]:
    return (float(text), "") if text.isdigit() else (0, text)
