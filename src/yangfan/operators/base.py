"""What an operator is: a module that is found by its file's name, and the function over a batch that it makes.

A module offers

* ``STAGE``: ``"clean"``, ``"filter"``, ``"deduplication"`` or ``"desensitization"``;
* ``SUMMARY``: what it does, in one line of each language, ``{"en": …, "zh": …}``;
* ``Parameters``: its arguments, a subclass of :class:`Parameters`;
* ``create(parameters, common) -> Operator``;
* where it needs a library: ``missing() -> str``, empty or what to install.

Third parties add one with a file of the same shape: in a folder of operators that whoever runs them names, or with an entry
point in the group ``yangfan.operators``. Such a file is never imported here: `pipeline/isolated.py` runs it in a process of
its own.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np

from yangfan import extensions
from yangfan.errors import ConfigurationError
from yangfan.operators import _tables
from yangfan.operators._texts import AUTO, Flags, Texts, Values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

PACKAGE = "yangfan.operators"
Stage = Literal["clean", "filter", "deduplication", "desensitization"]
STAGES: tuple[Stage, ...] = ("clean", "filter", "deduplication", "desensitization")
"""The order in which the stages run, whatever the order they are asked for in."""

ALIASES: Mapping[str, str] = {
    "filter_check_character_repetition": "filter_check_character_repetition_removal"
}
"""Second spellings on the wire."""

ByLanguage = Literal["by_language"]
"""In place of a cut-off: the published one of each text's language, from the table of languages."""

MEMORY_BYTES = 256 << 20
"""What an operator that remembers may keep in memory, where nobody says otherwise."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of an operator, none by default."""


@dataclass(frozen=True, slots=True)
class Common:
    """What the operators of one run share.

    Attributes:
        language: ISO 639-1 code of all texts, or ``"auto"``: Chinese and English, told apart by their letters.
        folder: Where an operator may keep files while it runs; None for memory.
        memory_bytes: What one that remembers may keep in memory; the rest goes into files, where there is a folder.
    """

    language: str = AUTO
    folder: Path | None = None
    memory_bytes: int = MEMORY_BYTES


@dataclass(frozen=True, slots=True)
class Foreign:
    """An operator of third parties: where its module is.

    Attributes:
        file: The file of it, or None.
        module: The name of it for `import`, where there is no file.
    """

    file: Path | None = None
    module: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operator did to a batch.

    Attributes:
        texts: As many texts as it was given, changed or not.
        keep: Which of them stay; None for all.
        values: What was measured of each, for filters.
        failure: Why the operator did nothing, where it failed and the recipe says to go on without it.
    """

    texts: Texts
    keep: Flags | None = None
    values: Values | None = None
    failure: str = ""


class Operator(Protocol):
    """A rule over a batch of texts. The answer for a text never depends on its batch."""

    def __call__(self, texts: Texts) -> Outcome:
        """Apply the rule."""
        ...

    def reason(self, value: float) -> str:
        """Why a text with this value is dropped."""
        ...


class Remembering(Operator, Protocol):
    """An operator whose answer depends on the texts before, in their order: it can say where it stands, and go on there.

    Called with texts it decides about what it prepared of them. The two are apart so that preparing, which takes most of the
    time, can be done in other processes, while one process decides, batch by batch in order.
    """

    def prepare(self, texts: Texts) -> NDArray[np.uint64]:
        """What the decision needs of each text, one row for each; depends on nothing that was seen before."""
        ...

    def decide(self, prepared: NDArray[np.uint64]) -> tuple[Flags, Values]:
        """Which stay, and what was measured of each; they are remembered."""
        ...

    def save(self) -> dict[str, Any]:
        """Everything so far made durable, and a JSON value that `restore` takes."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where `save` gave `state`."""
        ...

    def close(self) -> None:
        """Let go of files and memory."""
        ...


class Cleaner:
    """Base of operators that change texts and drop none."""

    def __call__(self, texts: Texts) -> Outcome:
        """The changed texts."""
        return Outcome(self.change(texts))

    def change(self, texts: Texts) -> Texts:
        """As many texts, changed where the rule says so."""
        raise NotImplementedError

    def reason(self, value: float) -> str:
        """No text is dropped."""
        raise AssertionError(value)


class Filter:
    """Base of operators that measure texts and drop those outside of a range."""

    measures: str = ""
    """What is measured, in words."""

    def __call__(self, texts: Texts) -> Outcome:
        """Which texts stay, and what was measured."""
        values = self.measure(texts)
        low, high = self.bounds(texts)
        return Outcome(texts, (values >= low) & (values <= high), values)

    def decide(self, texts: Texts) -> Outcome:
        """The same decisions; of a text that stays, what was measured may be missing (nan)."""
        if texts.has_words or not texts.is_chinese.any():
            return self(texts)
        certain = self.certain(texts)
        if certain is None or not certain.any():
            return self(texts)
        keep, values = certain.copy(), np.full(len(texts), np.nan)
        if not certain.all():
            outcome = self(texts.kept(~certain))
            keep[~certain], values[~certain] = outcome.keep, outcome.values
        return Outcome(texts, keep, values)

    def certain(self, texts: Texts) -> Flags | None:
        """Which texts stay for certain, as far as that can be told without cutting Chinese into words; None where nothing can."""
        del texts

    def measure(self, texts: Texts) -> Values:
        """One number for each text."""
        raise NotImplementedError

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The lowest and the highest value that stays, for each text or for all."""
        raise NotImplementedError

    def reason(self, value: float) -> str:
        """The measured value in words."""
        return f"{self.measures} {value:.6g}"


def limits(texts: Texts, cutoff: float | str, name: str) -> Values | float:
    """A cut-off as it was given, or the one of each text's language, which the table has under `name`."""
    return texts.by_language(name) if isinstance(cutoff, str) else cutoff


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an operator, for people."""

    name: str
    default: Any
    type: str
    range: str
    description: str


@dataclass(frozen=True, slots=True)
class Description:
    """An operator, for people."""

    name: str
    stage: str
    summary: Mapping[str, str]
    parameters: list[Parameter] = field(default_factory=list[Parameter])
    missing: str = ""


def available() -> list[Description]:
    """Every operator of our own, in the order of stages."""
    found = [describe(name) for name in extensions.names(PACKAGE) if foreign(name) is None]
    return sorted(found, key=lambda operator: (STAGES.index(operator.stage), operator.name))  # pyright: ignore[reportArgumentType]


def describe(name: str) -> Description:
    """What an operator does and takes.

    Raises:
        UnknownExtension: No such operator; the message lists those that exist.
    """
    module = load(name)
    information = msgspec.inspect.type_info(module.Parameters)
    assert isinstance(information, msgspec.inspect.StructType)
    return Description(
        name,
        module.STAGE,
        module.SUMMARY,
        [_parameter(known, module.Parameters) for known in information.fields],
        missing(module),
    )


def _parameter(known: msgspec.inspect.Field, owner: type[Parameters]) -> Parameter:
    schema = msgspec.json.schema(owner)["$defs"][owner.__name__]["properties"][known.encode_name]
    number = next((kind for kind in schema.get("anyOf", [schema]) if "minimum" in kind), schema)
    low, high = number.get("minimum"), number.get("maximum")
    reach = "" if low is None else f">= {low}" if high is None else f"{low}..{high}"
    kinds = [
        kind.get("type") or kind.get("enum", ["?"])[0] for kind in schema.get("anyOf", [schema])
    ]
    return Parameter(
        known.encode_name,
        None if known.required else known.default,
        " | ".join(kinds),
        reach,
        schema.get("description") or number.get("description", ""),
    )


def load(name: str) -> ModuleType:
    """The module of an operator, under either spelling of its name.

    Raises:
        UnknownExtension: No such operator; the message lists those that exist.
    """
    return extensions.load(PACKAGE, ALIASES.get(name, name))


def foreign(name: str, folder: Path | None = None) -> Foreign | None:
    """Where the operator of third parties with this name is, or None for one of our own or none at all; imports nothing.

    Args:
        name: Its name, which is the name of its file.
        folder: Where operators that are one file lie.
    """
    if folder is not None and name.isidentifier() and (file := folder / f"{name}.py").is_file():
        return Foreign(file.resolve())
    for point in extensions.points(PACKAGE).select(name=name):
        if not point.module.startswith(f"{PACKAGE}."):
            return Foreign(module=point.value)
    return None


def foreigners(folder: Path | None = None) -> dict[str, Foreign]:
    """Every operator of third parties that can be named here, by name; none is imported."""
    points = extensions.points(PACKAGE)
    names = {point.name for point in points}
    if folder is not None:
        names |= {file.stem for file in folder.glob("*.py")}
    found = {name: foreign(name, folder) for name in sorted(names)}
    return {name: place for name, place in found.items() if place is not None}


def missing(module: ModuleType) -> str:
    """What must be installed before the operator can run, or nothing."""
    return getattr(module, "missing", lambda: "")()


def create(name: str, arguments: Mapping[str, Any], common: Common) -> Operator:
    """An operator with its arguments.

    Raises:
        UnknownExtension: No such operator; the message lists those that exist.
        ConfigurationError: An argument is unknown or out of its range, or a library is missing.
    """
    return made(load(name), name, arguments, common)


def made(module: ModuleType, name: str, arguments: Mapping[str, Any], common: Common) -> Operator:
    """As `create`, of a module that is loaded already."""
    parameters = checked(module, name, arguments)
    if common.language != AUTO and common.language not in _tables.languages():
        known = ", ".join((AUTO, *_tables.languages()))
        raise ConfigurationError(f"no language {common.language!r}; there are: {known}")
    return module.create(parameters, common)


def checked(module: ModuleType, name: str, arguments: Mapping[str, Any]) -> Parameters:
    """The arguments of an operator as it takes them.

    Raises:
        ConfigurationError: An argument is unknown or out of its range, or a library is missing.
    """
    try:
        parameters = msgspec.convert(_whole(arguments), module.Parameters)
    except msgspec.ValidationError as error:
        known = ", ".join(module.Parameters.__struct_encode_fields__) or "none"
        raise ConfigurationError(f"{name}: {error}; its arguments are: {known}") from None
    if lacking := missing(module):
        raise ConfigurationError(f"{name} needs {lacking}")
    return parameters


def _whole(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with 4 for 4.0, which Qianfan's client sends for every number."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in arguments.items()
    }


def lacks(package: str, extra: str = "data") -> str:
    """What to install where a package cannot be imported, else nothing."""
    if importlib.util.find_spec(package) is not None:
        return ""
    return f'{package}: pip install "yangfan[{extra}]"'


def no_values(texts: Texts) -> Values:
    """A 0 for each text."""
    return np.zeros(len(texts))
