"""Datasets as the SDK shows them: datasets, versions, samples, differences, insight; rows as Arrow."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from msgspec import UNSET, UnsetType

from yangfan import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yangfan.protocol.v2 import datasets as wire

PublishState = Literal["Unpublished", "Publishing", "Published", "PublishFailed"]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A version of a dataset.

    Attributes:
        id: ``ds-…``.
        dataset_id: ``dg-…``.
        name: Name of the dataset.
        version: Counts from 1.
        reference: ``NAME:VERSION``.
        data_format: What its samples are, such as ``PromptResponse``.
        description: For people.
        samples: How many samples it has.
        annotated: How many of them are annotated.
        characters: Characters of its samples.
        size_mb: Size on the server, in MiB.
        edits: Samples that were changed since the last import or publishing.
        import_state: Created, Importing, ImportFinished or ImportFailed.
        publish_state: Whether it is published, and so never changes again.
        error: Why the last import or publishing failed.
        lineage: Where its samples come from, the oldest first.
        creator: Application that made it.
    """

    id: str
    dataset_id: str
    name: str
    version: int
    reference: str
    data_format: str
    description: str
    samples: int
    annotated: int
    characters: int
    size_mb: float
    edits: int
    import_state: str
    publish_state: PublishState
    error: str
    lineage: tuple[Mapping[str, Any], ...]
    creator: str
    created_at: datetime
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset.

    Attributes:
        id: ``dg-…``.
        name: Unique.
        data_format: What its samples are.
        latest: Its newest version; None if all were deleted.
        creator: Application that made it.
    """

    id: str
    name: str
    data_format: str
    latest: DatasetVersion | None
    creator: str
    created_at: datetime
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class DatasetSample:
    """A sample.

    Attributes:
        id: Names it in all versions of its dataset that have it.
        content: What it says, as a line of its format's jsonl.
        labels: Labels that people put on it.
        annotated: Whether it is annotated.
        imported_at: When it came in.
        annotated_at: When it was annotated here; None if it was not.
        url: Gives what it says to whoever asks, for a day.
        statistics: What was measured of it; None before somebody measured.
    """

    id: str
    content: Any
    labels: tuple[str, ...]
    annotated: bool
    imported_at: datetime
    annotated_at: datetime | None
    url: str = field(repr=False)
    statistics: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """Some samples, and how many there are.

    Attributes:
        total: In the whole window.
        samples: On this page.
        next_offset: Where the next page begins; None behind the last.
    """

    total: int
    samples: tuple[DatasetSample, ...]
    next_offset: int | None


@dataclass(frozen=True, slots=True)
class SampleDifference:
    """A sample that two versions do not have alike; `before` or `after` is None where it is not there."""

    kind: Literal["added", "removed", "changed"]
    id: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class DatasetComparison:
    """What is different between two versions.

    Attributes:
        added: Samples that only the later one has; `removed` that only the earlier one has.
        changed: Samples that say something else, or have other labels.
        differences: Some of them.
    """

    added: int
    removed: int
    changed: int
    differences: tuple[SampleDifference, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """How a measure is spread over samples.

    Attributes:
        rows: Samples that have it.
        percentiles: Its value at 1, 5, 25, 50, 75, 95 and 99 percent.
        edges: Borders of the histogram's bins, one more than `counts`.
        counts: Samples in each bin.
    """

    rows: int
    mean: float
    minimum: float
    maximum: float
    percentiles: Mapping[int, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DatasetInsight:
    """What a version looks like.

    Attributes:
        duplicates: Samples whose text stands in an earlier one already.
        largest_duplicates: How often a text stands there, and the number of the first sample with it.
        near_duplicates: Samples that nearly repeat an earlier one (simhashes within 4 bits), those with the same text among them: what
            cleaning with `deduplication_simhash` would take out; None where the server could not measure it.
        nearest_duplicates: The first of those with another text: number of the sample, and in how many bits it differs.
        languages: Samples of each language, by ISO 639-1 code.
        measures: How words, characters, repetition, special characters, flagged words, language and perplexity are spread.
        missing: Measures that the server could not make, and what it needs.
    """

    rows: int
    characters: int
    duplicates: int
    largest_duplicates: tuple[tuple[int, int], ...]
    near_duplicates: int | None
    nearest_duplicates: tuple[tuple[int, int], ...]
    languages: Mapping[str, int]
    measures: Mapping[str, Spread]
    missing: Mapping[str, str]


def dataset_of(item: wire.Dataset) -> Dataset:
    """A dataset from the wire."""
    latest = item.latestVersion
    return Dataset(
        item.datasetId,
        item.datasetName,
        item.dataFormat,
        None if latest is None else version_of(latest),
        item.creator,
        _time(item.createTime),
        _time(item.modifyTime),
    )


def version_of(item: wire.Version) -> DatasetVersion:
    """A version from the wire."""
    return DatasetVersion(
        id=item.versionId,
        dataset_id=item.datasetId,
        name=item.datasetName,
        version=item.versionNumber,
        reference=item.reference,
        data_format=item.dataFormat,
        description=item.description,
        samples=item.sampleCount,
        annotated=item.annotatedSampleCount,
        characters=item.characterCount,
        size_mb=item.sizeMB,
        edits=item.editCount,
        import_state=item.importStatus,
        publish_state=item.publishStatus,
        error=item.error,
        lineage=tuple(item.lineage),
        creator=item.creator,
        created_at=_time(item.createTime),
        modified_at=_time(item.modifyTime),
    )


def sample_of(item: wire.Sample) -> DatasetSample:
    """A sample from the wire."""
    statistics: Mapping[str, Any] | None = None
    if not isinstance(item.statistics, UnsetType):
        names = item.statistics.__struct_fields__
        statistics = {name: getattr(item.statistics, name) for name in names}
    return DatasetSample(
        item.sampleId,
        item.content,
        tuple(item.labels),
        item.annotated,
        datetime.fromtimestamp(item.importedMs / 1000, UTC),
        datetime.fromtimestamp(item.annotatedMs / 1000, UTC) if item.annotatedMs else None,
        item.url,
        statistics,
    )


def page_of(page: wire.SamplePage) -> DatasetPage:
    """A page from the wire."""
    following = page.nextOffset
    return DatasetPage(
        page.totalCount,
        tuple(map(sample_of, page.samples)),
        None if isinstance(following, UnsetType) else following,
    )


def comparison_of(item: wire.Comparison) -> DatasetComparison:
    """What is different, from the wire."""
    return DatasetComparison(
        item.addedCount,
        item.removedCount,
        item.changedCount,
        tuple(
            SampleDifference(found.kind, found.sampleId, found.before, found.after)
            for found in item.differences
        ),
    )


def insight_of(item: wire.Insight) -> DatasetInsight:
    """What a version looks like, from the wire.

    Raises:
        BadReply: Not all of it is there.
    """
    if (
        item.rows is UNSET
        or item.characters is UNSET
        or item.duplicates is UNSET
        or item.languages is UNSET
        or item.measures is UNSET
    ):
        raise errors.BadReply("the insight is finished, but not all of it is there")
    largest, nearest = item.largestDuplicates, item.nearestDuplicates
    return DatasetInsight(
        rows=item.rows,
        characters=item.characters,
        duplicates=item.duplicates,
        largest_duplicates=tuple(
            (found.count, found.firstRow) for found in ([] if largest is UNSET else largest)
        ),
        near_duplicates=None if item.nearDuplicates is UNSET else item.nearDuplicates,
        nearest_duplicates=tuple(
            (found.row, found.distance) for found in ([] if nearest is UNSET else nearest)
        ),
        languages=item.languages,
        measures={
            name: Spread(
                spread.rows,
                spread.mean,
                spread.minimum,
                spread.maximum,
                {int(point): value for point, value in spread.percentiles.items()},
                tuple(spread.edges),
                tuple(spread.counts),
            )
            for name, spread in item.measures.items()
        },
        missing={} if item.missing is UNSET else item.missing,
    )


def row_of(sample: DatasetSample) -> dict[str, Any]:
    """A sample as a dict: its id, its labels, and the fields of its content; turns of a conversation stand under ``turns``."""
    content: Any = sample.content
    fields: dict[str, Any] = (
        cast("dict[str, Any]", content) if isinstance(content, dict) else {"turns": content}
    )
    return {"id": sample.id, "labels": list(sample.labels), **fields}


def arrow_table(rows: Sequence[Mapping[str, Any]] | Iterable[Mapping[str, Any]]) -> Any:
    """Rows as a ``pyarrow.Table``.

    Raises:
        ConfigurationError: pyarrow is not installed.
        Invalid: Rows have fields of different types under one name.
    """
    pyarrow = optional("pyarrow")
    try:
        return pyarrow.Table.from_pylist(list(rows))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise errors.Invalid(
            f"the rows do not fit into one table ({error}); iterate over `rows` instead"
        ) from None


def optional(module: str) -> Any:
    """A library that is needed here and nowhere else.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise errors.ConfigurationError(
            f"{module} is not installed; type: pip install {module}"
        ) from None


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise errors.BadReply(f"{text!r} is not a time") from None
