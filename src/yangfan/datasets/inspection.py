"""Measuring rows: words, repetition, special characters, flagged words, language and perplexity of each, and what a version looks like.

What is measured of a shard is a shard of its own with the same rows in the same order, so that versions that share shards share
what was measured. The measures are those of the cleaning operators; a measure whose library is not installed is missing (null).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.datasets import shards
from yangfan.datasets.shards import BlobFolder, arrow
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from yangfan.datasets.manifest import Manifest, Shard

MEASURES: Mapping[str, str] = {
    "words": "filter_check_number_words",
    "word_repetition": "filter_check_word_repetition_removal",
    "character_repetition": "filter_check_character_repetition_removal",
    "special_characters": "filter_check_special_characters",
    "flagged_words": "filter_check_flagged_words",
    "language_probability": "filter_check_lang_id",
    "perplexity": "filter_check_perplexity",
}
"""Name of each measure, and the operator that measures it."""

COLUMNS = (*MEASURES, "characters", "language", "text_hash", "simhash")
NEAR_DISTANCE = 4
"""Bits in which the simhashes of near-duplicates differ at most: the default of `deduplication_simhash`."""
ROWS_AT_ONCE = 2_000
BINS = 20
TOP = 20


class Histogram(msgspec.Struct, frozen=True):
    """How many rows have which value.

    Attributes:
        edges: Borders of the bins, one more than there are bins; the last bin has its upper border.
        counts: Rows in each.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How a measure is spread over the rows that have it.

    Attributes:
        rows: How many have it.
        percentiles: Its value at 1, 5, 25, 50, 75, 95 and 99 percent of them, by the number as text.
        histogram: From the 1st to the 99th percentile; what lies outside is in the first and last bin.
    """

    rows: int
    mean: float
    minimum: float
    maximum: float
    percentiles: dict[str, float]
    histogram: Histogram


class Insight(msgspec.Struct, frozen=True, kw_only=True):
    """What a version looks like.

    Attributes:
        rows: How many rows were looked at.
        characters: Characters of all of them.
        duplicates: Rows whose text stands in an earlier row already.
        largest_duplicates: The texts that stand there most often: how often, and the number of the first row with it.
        near_duplicates: Rows whose simhash is within `NEAR_DISTANCE` bits of that of an earlier row that is no such row itself: those that
            `deduplication_simhash` would take out, rows with the same text among them. None where simhashes cannot be made.
        nearest_duplicates: The first of them with another text: number of the row, and in how many bits it differs.
        languages: Rows of each language, by ISO 639-1 code; "" for those without letters.
        measures: How each measure is spread.
        missing: Measures that could not be made, and what to install for them.
    """

    rows: int
    characters: int
    duplicates: int
    largest_duplicates: tuple[tuple[int, int], ...]
    languages: dict[str, int]
    measures: dict[str, Spread]
    missing: dict[str, str]
    near_duplicates: int | None = None
    nearest_duplicates: tuple[tuple[int, int], ...] = ()


class Measurer:
    """Measures texts with the operators that can run here.

    Attributes:
        missing: Measures that cannot be made, and what to install.
    """

    def __init__(self) -> None:
        from yangfan.operators import base

        self._base = base
        self._measures: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        for name, operator in MEASURES.items():
            try:
                self._measures[name] = base.create(operator, {}, base.Common())
            except ConfigurationError as error:
                self.missing[name] = error.message
        self._simhash = base.load("deduplication_simhash")
        if lacking := base.missing(self._simhash):
            self.missing["near_duplicates"] = f"deduplication_simhash needs {lacking}"

    def measure(self, strings: Sequence[str]) -> dict[str, list[Any]]:
        """One list for each of `COLUMNS`."""
        from yangfan.operators._texts import Texts

        texts = Texts(strings)
        found: dict[str, list[Any]] = {
            name: [float(value) for value in measure.measure(texts)]
            for name, measure in self._measures.items()
        }
        for name in self.missing:
            found[name] = [None] * len(strings)
        near = found.pop("near_duplicates", None)
        found["simhash"] = near or self._simhash.fingerprints(texts).tolist()
        found["characters"] = [float(len(text)) for text in strings]
        found["language"] = self._languages(texts, strings)
        found["text_hash"] = [
            int.from_bytes(
                hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(),
                "big",
                signed=True,
            )
            for text in strings
        ]
        return found

    def _languages(self, texts: Any, strings: Sequence[str]) -> list[str]:
        """The likeliest language of each text, by the model where it is installed, else by its letters."""
        model = self._measures.get("language_probability")
        if model is None:
            return list(texts.languages)
        return [model.likeliest(text) for text in strings]


def measure_shard(
    blobs: BlobFolder,
    manifest: Manifest,
    shard: Shard,
    measurer: Measurer,
    tell: Callable[[int], None] = lambda _rows: None,
) -> str:
    """Measure the rows of a shard; sha256 of the Parquet file of what was measured.

    Args:
        blobs: Where it is and where that goes.
        manifest: A version that has it.
        shard: Which.
        measurer: Measures.
        tell: Told how many of its rows are done.

    Raises:
        ConfigurationError: The shard is not here, or the disk is full.
    """
    pa, pq = arrow(), arrow("pyarrow.parquet")
    schema = _schema(pa)
    part = blobs.part(".parquet")
    done = 0
    with pq.ParquetWriter(part, schema, compression="zstd", store_schema=False) as writer:
        for batch in shards.read_batches(blobs, manifest, ["text"], shard.first_row, shard.rows):
            found = measurer.measure(batch.column(0).to_pylist())
            writer.write_table(pa.Table.from_pydict(found, schema=schema))
            done += batch.num_rows
            tell(done)
    return blobs.adopt(part)


def _schema(pa: Any) -> Any:
    kinds = {"language": pa.string(), "text_hash": pa.int64(), "simhash": pa.uint64()}
    return pa.schema([pa.field(name, kinds.get(name, pa.float64())) for name in COLUMNS])


def statistics_of(
    blobs: BlobFolder,
    manifest: Manifest,
    statistics: Mapping[str, str],
    places: Iterable[int],
) -> dict[int, dict[str, Any]]:
    """What was measured of rows at some places of a version; places in shards that nobody measured are left out.

    Args:
        blobs: Where it is.
        manifest: The version.
        statistics: sha256 of what was measured, by that of the shard.
        places: Which rows.
    """
    pq = arrow("pyarrow.parquet")
    found: dict[int, dict[str, Any]] = {}
    wanted = sorted(set(places))
    for shard in manifest.shards:
        end = shard.first_row + shard.rows
        here = [place for place in wanted if shard.first_row <= place < end]
        sha256 = statistics.get(shard.sha256)
        if not here or sha256 is None or not blobs.has(sha256):
            continue
        with pq.ParquetFile(blobs.path(sha256), memory_map=True) as file:
            start = shard.first_row
            for number in range(file.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                inside = [place for place in here if start <= place < start + rows]
                if inside:
                    table = file.read_row_group(number)
                    for place in inside:
                        (line,) = table.slice(place - start, 1).to_pylist()
                        found[place] = line
                start += rows
    return found


def insight_of(
    blobs: BlobFolder,
    manifest: Manifest,
    statistics: Mapping[str, str],
    missing: Mapping[str, str],
    memory_bytes: int = 256 << 20,
) -> Insight:
    """What a version looks like, from what was measured of all its shards.

    Args:
        blobs: Where it is.
        manifest: The version.
        statistics: sha256 of what was measured, by that of the shard.
        missing: Measures that could not be made.
        memory_bytes: What looking for near-duplicates may take.

    Raises:
        ConfigurationError: What was measured of a shard is not here.
    """
    import numpy as np

    pa, pq = arrow(), arrow("pyarrow.parquet")
    tables = [
        pq.read_table(blobs.path(statistics[shard.sha256]), schema=_schema(pa))
        for shard in manifest.shards
    ]
    table = pa.concat_tables(tables) if tables else _schema(pa).empty_table()
    hashes = table.column("text_hash").to_numpy()
    unique, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    del unique
    order = np.argsort(-counts, kind="stable")[:TOP]
    measures = {
        name: spread
        for name in (*MEASURES, "characters")
        if (spread := _spread(table.column(name).drop_null().to_numpy())) is not None
    }
    languages = Counter[str](table.column("language").to_pylist())
    near, nearest = _near_duplicates(table.column("simhash"), memory_bytes)
    return Insight(
        rows=table.num_rows,
        characters=manifest.characters,
        duplicates=int((counts - 1).sum()),
        largest_duplicates=tuple(
            (int(counts[index]), int(first[index])) for index in order if counts[index] > 1
        ),
        languages=dict(languages.most_common(TOP)),
        measures=measures,
        missing=dict(missing),
        near_duplicates=near,
        nearest_duplicates=nearest,
    )


def _near_duplicates(
    simhashes: Any, memory_bytes: int
) -> tuple[int | None, tuple[tuple[int, int], ...]]:
    """How many rows nearly repeat an earlier one, and the first of those that do not wholly."""
    if simhashes.null_count:
        return None, ()
    from yangfan.operators import base

    found, nearest = 0, list[tuple[int, int]]()
    with tempfile.TemporaryDirectory(prefix="yangfan-near-") as folder:
        common = base.Common(folder=Path(folder), memory_bytes=memory_bytes)
        operator: Any = base.create("deduplication_simhash", {"distance": NEAR_DISTANCE}, common)
        try:
            for start in range(0, len(simhashes), ROWS_AT_ONCE):
                prints = simhashes.slice(start, ROWS_AT_ONCE).to_numpy()
                keep, values = operator.decide(prints)
                found += int((~keep).sum())
                if len(nearest) < TOP:
                    near = (~keep & (values > 0)).nonzero()[0]
                    nearest += [(start + int(row), int(values[row])) for row in near]
        finally:
            operator.close()
    return found, tuple(nearest[:TOP])


def is_whole(blobs: BlobFolder, sha256: str) -> bool:
    """Whether what was measured of a shard is here, with everything that is measured today."""
    if not blobs.has(sha256):
        return False
    return {*COLUMNS} <= {*arrow("pyarrow.parquet").read_schema(blobs.path(sha256)).names}


def _spread(values: Any) -> Spread | None:
    import numpy as np

    if not len(values):
        return None
    points = (1, 5, 25, 50, 75, 95, 99)
    found = np.percentile(values, points)
    low, high = float(found[0]), float(found[-1])
    if high <= low:
        low, high = low - 0.5, low + 0.5
    counts, edges = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    return Spread(
        rows=len(values),
        mean=float(values.mean()),
        minimum=float(values.min()),
        maximum=float(values.max()),
        percentiles={str(point): float(value) for point, value in zip(points, found, strict=True)},
        histogram=Histogram(
            tuple(float(edge) for edge in edges), tuple(int(count) for count in counts)
        ),
    )
