"""What a version of a dataset consists of: a list of shards, which versions share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from yangfan.datasets.formats import DataFormat, Sample
from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LABELS = 1000
"""A shard tells no more labels than this, so that a manifest stays small whatever people label."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a version.

    Attributes:
        row_id: Names it in all versions of its group that have it.
        sample: What it says.
        labels: Names of labels that people put on it.
        created_ms: When it came in, ms since the epoch.
        annotated_ms: When it was annotated here; 0 if it was not, or came annotated.
    """

    row_id: str
    sample: Sample
    labels: tuple[str, ...] = ()
    created_ms: int = 0
    annotated_ms: int = 0


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """A Parquet file of rows; never changed.

    Attributes:
        sha256: Its content; its name among the blobs.
        size_bytes: How long it is.
        rows: How many rows it has.
        first_row: How many rows of the version stand before it.
        annotated: How many of its rows are annotated.
        characters: How many characters its samples have as text.
        min_row_id: The smallest id of its rows in order of code points, and
        max_row_id: the largest, so that a row is found without opening every shard.
        labels: Labels that its rows have, in order of code points; no more than `MAX_LABELS`.
    """

    sha256: str
    size_bytes: int
    rows: int
    first_row: int
    annotated: int = 0
    characters: int = 0
    min_row_id: str = ""
    max_row_id: str = ""
    labels: tuple[str, ...] = ()

    def may_have(self, row_id: str) -> bool:
        """Whether a row could be in it."""
        return self.min_row_id <= row_id <= self.max_row_id


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A version: its shards in order.

    Attributes:
        data_format: What its rows are: a value of `DataFormat`.
        shards: Where they are.
        rows: How many there are.
        size_bytes: The shards together.
    """

    data_format: str
    shards: tuple[Shard, ...] = ()
    rows: int = 0
    size_bytes: int = 0

    @classmethod
    def of(cls, data_format: DataFormat, shards: Iterable[Shard] = ()) -> Manifest:
        """The manifest of shards, which are numbered anew in the order given."""
        placed: list[Shard] = []
        rows = 0
        for shard in shards:
            placed.append(msgspec.structs.replace(shard, first_row=rows))
            rows += shard.rows
        return cls(
            data_format=data_format.value,
            shards=tuple(placed),
            rows=rows,
            size_bytes=sum(shard.size_bytes for shard in placed),
        )

    @property
    def format(self) -> DataFormat:
        """What its rows are."""
        return DataFormat(self.data_format)

    @property
    def annotated(self) -> int:
        """How many of its rows are annotated."""
        return sum(shard.annotated for shard in self.shards)

    @property
    def characters(self) -> int:
        """How many characters its samples have as text."""
        return sum(shard.characters for shard in self.shards)

    @property
    def labels(self) -> frozenset[str]:
        """Labels that its rows have."""
        return frozenset(label for shard in self.shards for label in shard.labels)

    @property
    def sha256(self) -> str:
        """Two manifests that are equal have the same."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, text: str | bytes) -> Manifest:
        """From JSON.

        Raises:
            Invalid: It is none.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise Invalid(f"this is no manifest of a dataset: {error}") from None

    def extended(self, more: Manifest) -> Manifest:
        """These rows, and those of another manifest behind them; shards that both have stand there twice.

        Raises:
            Invalid: The other one has another format.
        """
        if more.data_format != self.data_format:
            raise Invalid(
                f"rows of the data format {more.data_format} cannot be put behind rows of {self.data_format}"
            )
        return Manifest.of(self.format, (*self.shards, *more.shards))
