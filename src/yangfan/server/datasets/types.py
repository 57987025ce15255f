"""The nouns of datasets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.datasets.formats import DataFormat
    from yangfan.datasets.manifest import Manifest

Kind = Literal["import", "export", "release", "clean", "augment", "inspect"]
"""What can be done with a version that takes time."""

TaskState = Literal["none", "running", "succeeded", "failed", "aborted"]
"""How far it is: never begun, going on, or how it ended."""

WRITING: tuple[Kind, ...] = ("import", "clean", "augment", "release")
"""Kinds that change a version's rows; one of them at a time."""

STORED_HERE = "sysBos"
"""v1's `storageType` for what the platform keeps itself."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What a caller said about where the rows are to be kept; shown again, but everything is kept here.

    Attributes:
        type: ``sysBos`` or ``usrBos``, as v1 writes it.
        id: Bucket of the latter.
        path: Folder in it, as the caller wrote it.
    """

    type: str = STORED_HERE
    id: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A dataset: versions under one name.

    Attributes:
        number: Its integer id.
        id: ``dg-…``.
        name: Unique.
        creator: Application of the key that made it.
        latest: Number of its newest version; versions are counted from 1.
    """

    number: int
    id: str
    name: str
    data_format: DataFormat
    storage: Storage
    creator: str
    latest: int
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Task:
    """What was last done with a version, of one kind.

    Attributes:
        state: How far it is.
        job_id: The job that does it; "" where none was needed.
        error: Why it failed, for a person.
        error_code: A number for it; 0 for none.
        count: How often it was begun.
        begun_ms: When the last one was begun.
        ended_ms: When it ended; 0 while it goes on.
    """

    state: TaskState = "none"
    job_id: str = ""
    error: str = ""
    error_code: int = 0
    count: int = 0
    begun_ms: int = 0
    ended_ms: int = 0


NO_TASK = Task()


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A version.

    Attributes:
        number: Its integer id, among those of all datasets.
        id: ``ds-…``.
        group: The dataset that it belongs to.
        version: Counts from 1 within the dataset.
        description: For people.
        manifest: Its rows in shards; edits come on top.
        rows: How many rows it has, edits counted.
        annotated: How many of them are annotated.
        size_bytes: Its shards together.
        characters: Characters of its shards as text.
        labels: How many different labels its rows have; one that an edit takes from its last row counts until edits are in shards.
        edits: How many rows differ from the shards.
        revision: Rises at each change of its rows.
        published: Whether it is published; it never changes again then.
        tasks: What was done with it.
        lineage: Where its rows come from, the oldest first.
        insight: sha256 of the statistics of all its shards; "" before they are made.
    """

    number: int
    id: str
    group: Group
    version: int
    description: str
    manifest: Manifest = field(repr=False)
    rows: int
    annotated: int
    size_bytes: int
    characters: int
    labels: int
    edits: int
    revision: int
    published: bool
    tasks: Mapping[Kind, Task]
    lineage: tuple[Mapping[str, Any], ...]
    insight: str
    creator: str
    created_ms: int
    modified_ms: int

    @property
    def group_id(self) -> str:
        """``dg-…``."""
        return self.group.id

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.group.name

    @property
    def data_format(self) -> DataFormat:
        """What its rows are."""
        return self.group.data_format

    @property
    def reference(self) -> str:
        """``NAME:VERSION``, for people."""
        return f"{self.group.name}:{self.version}"

    def task(self, kind: Kind) -> Task:
        """What was last done with it, of one kind."""
        return self.tasks.get(kind, NO_TASK)

    @property
    def state(self) -> Literal["Unpublished", "Publishing", "Published", "PublishFailed"]:
        """v2's `publishStatus`."""
        if self.published:
            return "Published"
        release = self.task("release").state
        if release == "running":
            return "Publishing"
        return "PublishFailed" if release == "failed" else "Unpublished"
