"""The model names of Qianfan: what each is called, what it takes and its defaults (specification B.12; data: presets.toml)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

PresetType = Literal["chat", "completions", "embeddings", "reranker", "text2image", "image2text"]
"""What a model does; the segment of the v1 path before the suffix."""

Family = Literal["ernie", "open"]
"""ernie: Baidu's own, temperature in (0, 1]; open: open-weight models, temperature in [0, 2]."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One model of Qianfan's.

    Attributes:
        name: As Qianfan spells it, such as ``ERNIE-Speed-8K``.
        type: What it does.
        suffix: Last segment of its v1 path, such as ``ernie_speed``; the name itself for models that only v2 knows.
        family: Whose model it is; decides the range of the temperature.
        max_input_chars: Most characters of messages and system together; None when the platform sets no limit.
        max_input_tokens: The same in tokens.
        max_inputs: Most texts of one call; None when the platform's own limit holds.
        default_output_tokens: Most tokens of an answer when the request does not say; 0 for kinds that write no text.
        max_output_tokens: Highest value that a request may ask for; 0 for kinds that write no text.
        default_temperature: Temperature when the request does not say.
        default_top_p: The same for top_p.
        default_frequency_penalty: The same for the frequency penalty; None for models without one.
        optional_keys: Request fields that Qianfan documents for it.
        vision: Whether it reads pictures.
        aliases: Further names, historic and deprecated ones included.
        v2_name: How v2 spells it, such as ``ernie-speed-8k``.
    """

    name: str
    type: PresetType
    suffix: str
    family: Family
    max_input_chars: int | None
    max_input_tokens: int | None
    max_inputs: int | None
    default_output_tokens: int
    max_output_tokens: int
    default_temperature: float
    default_top_p: float
    optional_keys: frozenset[str]
    vision: bool = False
    aliases: tuple[str, ...] = ()
    default_frequency_penalty: float | None = None
    v2_name: str = ""

    @property
    def spellings(self) -> Iterator[str]:
        """Every name that it answers to: name, suffix, aliases."""
        yield self.name
        yield self.suffix
        yield from self.aliases


class Presets:
    """All presets, found by any of their spellings."""

    def __init__(self, presets: tuple[Preset, ...]) -> None:
        """Index them; where two claim one spelling, the first has it."""
        self.all = presets
        self._by_spelling: dict[str, Preset] = {}
        for preset in presets:
            for spelling in preset.spellings:
                self._by_spelling.setdefault(spelling.casefold(), preset)

    def find(self, name_or_suffix: str) -> Preset | None:
        """The preset of that name, alias or suffix in any letter case; None if there is none."""
        return self._by_spelling.get(name_or_suffix.casefold())


def load() -> Presets:
    """Read the table. Takes milliseconds: keep the result."""
    raw = resources.files("yangfan.protocol").joinpath("presets.toml").read_bytes()
    table = msgspec.toml.decode(raw, type=_Table)
    return Presets(
        tuple(_preset(row, table) for row in (*table.presets.chat, *table.presets.other))
    )


class _Profile(msgspec.Struct, forbid_unknown_fields=True):
    type: PresetType
    family: Family
    max_input_chars: int | None = None
    max_input_tokens: int | None = None
    default_output_tokens: int = 0
    max_output_tokens: int = 0
    default_temperature: float = 0.8
    default_top_p: float = 0.8
    default_frequency_penalty: float | None = None


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    profile: str
    keys: str
    suffix: str = ""
    max_input_chars: int | None = None
    max_input_tokens: int | None = None
    max_inputs: int | None = None
    vision: bool = False
    aliases: tuple[str, ...] = ()
    v2_name: str = ""


class _Rows(msgspec.Struct, forbid_unknown_fields=True):
    chat: list[_Row]
    other: list[_Row]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    optional_keys: dict[str, frozenset[str]]
    profile: dict[str, _Profile]
    presets: _Rows


def _preset(row: _Row, table: _Table) -> Preset:
    profile, keys = table.profile[row.profile], table.optional_keys[row.keys]
    return Preset(
        name=row.name,
        type=profile.type,
        suffix=row.suffix or row.name,
        family=profile.family,
        max_input_chars=row.max_input_chars or profile.max_input_chars,
        max_input_tokens=row.max_input_tokens or profile.max_input_tokens,
        max_inputs=row.max_inputs,
        default_output_tokens=profile.default_output_tokens,
        max_output_tokens=profile.max_output_tokens,
        default_temperature=profile.default_temperature,
        default_top_p=profile.default_top_p,
        optional_keys=keys,
        vision=row.vision or profile.type == "image2text",
        aliases=row.aliases,
        default_frequency_penalty=profile.default_frequency_penalty
        if "frequency_penalty" in keys
        else None,
        v2_name=row.v2_name or row.name.lower().replace(" ", "-"),
    )
