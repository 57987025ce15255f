"""What to do to texts: the operators of each stage with their arguments, as Qianfan's `operationsV2` spells them.

Source: qianfan_api D.9 (`/wenxinworkshop/etl/create`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.operators import base

if TYPE_CHECKING:
    from pathlib import Path

SAVES = "save_pipeline_"
"""Begins the names of steps that Qianfan puts behind each stage in its answers; they do nothing to a text."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operator and its arguments."""

    name: str
    args: dict[str, Any] = {}


class Stages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operators of each stage, in the order in which they run."""

    clean: list[Step | str] = []
    filter: list[Step | str] = []
    deduplication: list[Step | str] = []
    desensitization: list[Step | str] = []


class Custom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How operators of third parties run, each in a process of its own.

    Attributes:
        on_failure: What follows a crash, a hang or an answer that is none: ``stop`` ends the run with an error that names the
            operator; ``skip`` lets the batch pass by it, and the report counts the rows and says why.
        timeout_seconds: Longest answer to one batch.
        memory_bytes: Address space of the process.
    """

    on_failure: Literal["stop", "skip"] = "stop"
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0
    memory_bytes: Annotated[int, msgspec.Meta(ge=256 << 20)] = 4 << 30


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole recipe.

    Attributes:
        operations: The operators.
        language: ISO 639-1 code of all texts, or ``"auto"``.
        field: The column or key that holds the text.
        max_row_bytes: Longer rows are dropped unread, so that one row cannot fill the memory.
        custom: How operators of third parties run.
    """

    operations: Stages = msgspec.field(name="operationsV2", default=Stages())
    language: str = "auto"
    field: str = "text"
    max_row_bytes: Annotated[int, msgspec.Meta(ge=1 << 10, le=1 << 30)] = 16 << 20
    custom: Custom = Custom()

    def steps(self) -> list[tuple[str, Step]]:
        """Every step with its stage, in the order in which they run."""
        found: list[tuple[str, Step]] = []
        for stage in base.STAGES:
            for given in getattr(self.operations, stage):
                step = Step(given) if isinstance(given, str) else given
                if not step.name.startswith(SAVES):
                    found.append((stage, step))
        return found


def everything() -> Recipe:
    """Every operator that can run here, with its defaults."""
    stages: dict[str, list[Step | str]] = {stage: [] for stage in base.STAGES}
    for operator in base.available():
        if not operator.missing:
            stages[operator.stage].append(Step(operator.name))
    return Recipe(Stages(**stages))


def read(file: Path) -> Recipe:
    """The recipe in a YAML or JSON file: `operationsV2` and the other fields, or the stages alone.

    Raises:
        ConfigurationError: The file cannot be read, or is no recipe; the message says where.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the recipe {file} cannot be read: {error.strerror}") from None
    try:
        return parse(_decoded(content, is_json=file.suffix == ".json"))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{file} is no recipe: {error}") from None


def parse(given: Any) -> Recipe:
    """A recipe from what was decoded.

    Raises:
        msgspec.ValidationError: It is none.
    """
    if isinstance(given, dict):
        fields = cast("dict[Any, Any]", given)
        if fields and set(fields) <= set(base.STAGES):
            return Recipe(msgspec.convert(fields, Stages))
    return msgspec.convert(given, Recipe)


def _decoded(content: bytes, *, is_json: bool) -> Any:
    if is_json:
        return msgspec.json.decode(content)
    try:
        import yaml
    except ImportError:
        raise ConfigurationError(
            'recipes in YAML need pyyaml: pip install "yangfan[data]"; a .json file needs nothing'
        ) from None
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        place = " ".join(str(error).split())
        raise msgspec.ValidationError(f"not YAML: {place}") from None
