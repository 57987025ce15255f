# Generated from _async by scripts/unasync.py; edit there.
"""`client.datasets`: datasets in versions, their samples, and what they look like (samples, differences, insight: Yangfan servers)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan import errors
from yangfan.client._sync.dataset_transfers import DatasetTransfers
from yangfan.client._sync.processing import Augmentation, Cleaning
from yangfan.client.datasets import (
    arrow_table,
    comparison_of,
    dataset_of,
    insight_of,
    optional,
    page_of,
    row_of,
    sample_of,
    version_of,
)
from yangfan.client.processing import check_succeeded
from yangfan.protocol.v2 import datasets as wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from yangfan.client._sync.session import Session
    from yangfan.client.datasets import (
        Dataset,
        DatasetComparison,
        DatasetInsight,
        DatasetPage,
        DatasetSample,
        DatasetVersion,
    )
    from yangfan.client.processing import AugmentationTask, CleaningTask
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint

POLL_SECONDS = 1.0
"""How often something that takes time is looked at."""


class Datasets(DatasetTransfers):
    """Datasets. Every call is signed: the client needs access_key and secret_access_key.

    A reference is the ``ds-…`` of a version, or ``NAME:VERSION``, or a name alone for its newest version.
    """

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    # Datasets and versions

    def create(
        self,
        name: str,
        data_format: str,
        *,
        description: str = "",
        storage_path: str | None = None,
    ) -> DatasetVersion:
        """Make a dataset; its empty first version.

        Args:
            name: What it is called: at most 100 characters, no colon.
            data_format: PromptResponse, Role, SFT_FIM, Text, DPO_PromptChosenRejected, KTO_PromptChosenRejected, PromptSortedresponses,
                Prompt, PromptImage or PromptImageResponse.
            description: For people.
            storage_path: Baidu's cloud only: ``bos:/bucket/folder/``, where the rows are to be kept.

        Raises:
            Conflict: There is one of that name.
            Invalid: There is no such format, or the name is not allowed.
        """
        body: JSON = {
            "datasetName": name,
            "dataFormat": data_format,
            "storageType": "BOS" if storage_path else "sysStorage",
            "description": description,
        }
        if storage_path:
            body["storagePath"] = storage_path
        return version_of(self._call(wire.CREATE, body))

    def list(self, name: str = "", *, data_format: str | None = None) -> list[Dataset]:
        """Datasets, the oldest first.

        Args:
            name: A part of the name, in any case.
            data_format: Only those of this format.
        """
        wanted: JSON = {"datasetName": name}
        if data_format is not None:
            wanted["dataFormat"] = data_format
        body: JSON = {"maxKeys": 100, "filter": wanted}
        found: list[Dataset] = []
        while True:
            page = self._call(wire.LIST, body)
            found += map(dataset_of, page.datasetList)
            marker = page.pageInfo.nextMarker
            if not page.pageInfo.isTruncated or marker is UNSET:
                return found
            body["marker"] = marker

    def get(self, reference: str) -> DatasetVersion:
        """A version.

        Raises:
            NotFound: There is none.
        """
        return version_of(self._call(wire.SHOW_VERSION, {"versionId": reference}))

    def versions(self, dataset: str) -> list[DatasetVersion]:
        """All versions of a dataset, the oldest first.

        Raises:
            NotFound: There is no such dataset.
        """
        body: JSON = {"datasetId": dataset, "maxKeys": 100}
        found: list[DatasetVersion] = []
        while True:
            page = self._call(wire.LIST_VERSIONS, body)
            found += map(version_of, page.versionList)
            marker = page.pageInfo.nextMarker
            if not page.pageInfo.isTruncated or marker is UNSET:
                return found
            body["marker"] = marker

    def create_version(
        self, dataset: str, *, source: str | None = None, description: str = ""
    ) -> DatasetVersion:
        """Make the next version of a dataset.

        Args:
            dataset: Its name or ``dg-…``.
            source: A version whose samples it begins with; they are shared, not copied. By default it is empty.
            description: For people.

        Raises:
            NotFound: There is no such dataset or source.
            Invalid: The source has another format.
        """
        body: JSON = {"datasetId": dataset, "description": description}
        if source is not None:
            body["sourceVersionId"] = source
        return version_of(self._call(wire.CREATE_VERSION, body))

    def rename(self, dataset: str, name: str) -> Dataset:
        """Give a dataset another name.

        Raises:
            NotFound: There is no such dataset.
            Conflict: There is one of that name.
        """
        body: JSON = {"datasetId": dataset, "datasetName": name}
        return dataset_of(self._call(wire.MODIFY, body))

    def describe(self, reference: str, description: str) -> DatasetVersion:
        """Say something else about a version.

        Raises:
            NotFound: There is no such version.
        """
        body: JSON = {"versionId": reference, "description": description}
        return version_of(self._call(wire.MODIFY_VERSION, body))

    def publish(self, reference: str, *, wait: bool = True) -> DatasetVersion:
        """Make a version final: it never changes again, and can be trained on.

        Args:
            reference: Which version.
            wait: Whether to wait until it is published; many edits take a while.

        Raises:
            NotFound: There is no such version.
            Conflict: Somebody changes its rows right now, or publishing failed.
            Invalid: It has no rows.
        """
        version = version_of(self._call(wire.PUBLISH_VERSION, {"versionId": reference}))
        while wait and version.publish_state == "Publishing":
            self._session.transport.sleep(POLL_SECONDS)
            version = self.get(version.id)
        if version.publish_state not in {"Published", "Publishing"}:
            raise errors.Conflict(f"{version.reference} was not published: {version.error}")
        return version

    def delete(self, dataset: str) -> None:
        """Delete a dataset with all its versions.

        Raises:
            NotFound: There is no such dataset.
            Conflict: Somebody uses one of its versions.
        """
        self._call(wire.DELETE, {"datasetId": dataset})

    def delete_version(self, reference: str) -> None:
        """Delete a version, and with the last one its dataset.

        Raises:
            NotFound: There is no such version.
            Conflict: Somebody uses it.
        """
        self._call(wire.DELETE_VERSION, {"versionId": reference})

    def diff(
        self, before: str, after: str, *, offset: int = 0, limit: int = 20
    ) -> DatasetComparison:
        """What is different between two versions.

        Args:
            before: The earlier one.
            after: The later one.
            offset: Differences to leave out at the beginning.
            limit: How many to show, at most 1000; the counts are of all.

        Raises:
            NotFound: There is no such version.
            Invalid: They have different formats.
        """
        body: JSON = {
            "baseVersionId": before,
            "versionId": after,
            "offset": offset,
            "maxKeys": limit,
        }
        return comparison_of(self._call(wire.COMPARE_VERSIONS, body))

    # Samples

    def samples(
        self,
        reference: str,
        *,
        offset: int = 0,
        limit: int = 100,
        annotated: bool | None = None,
        label: str = "",
        text: str = "",
        imported: tuple[datetime, datetime] | None = None,
        annotated_between: tuple[datetime, datetime] | None = None,
    ) -> DatasetPage:
        """A page of samples.

        Args:
            reference: Of which version.
            offset: Samples to leave out at the beginning.
            limit: How many at most, up to 1000.
            annotated: Only those that are annotated, or only those that are not.
            label: Only those with this label.
            text: Only those that say this, in any case.
            imported: Only those that came in between these moments.
            annotated_between: Only those that were annotated between these moments.

        Raises:
            NotFound: There is no such version.
        """
        body: JSON = {
            "versionId": reference,
            "offset": offset,
            "maxKeys": limit,
            "label": label,
            "text": text,
        }
        if annotated is not None:
            body["annotated"] = annotated
        for name, span in (("importedMs", imported), ("annotatedMs", annotated_between)):
            if span is not None:
                body[name] = [int(moment.timestamp() * 1000) for moment in span]
        return page_of(self._call(wire.LIST_SAMPLES, body))

    def rows(
        self, reference: str, *, text: str = "", label: str = ""
    ) -> Iterator[dict[str, Any]]:
        """All samples as dicts, fetched as they are needed: ``id``, ``labels`` and the fields of each row; turns under ``turns``.

        Args:
            reference: Of which version.
            text: Only those that say this, in any case.
            label: Only those with this label.

        Raises:
            NotFound: There is no such version.
        """
        offset: int | None = 0
        while offset is not None:
            page = self.samples(
                reference, offset=offset, limit=wire.MAX_SAMPLES, text=text, label=label
            )
            for sample in page.samples:
                yield row_of(sample)
            offset = page.next_offset

    def arrow(self, reference: str) -> Any:
        """All samples as a ``pyarrow.Table``.

        Raises:
            NotFound: There is no such version.
            ConfigurationError: pyarrow is not installed.
            Invalid: Rows have fields of different types under one name.
        """
        return arrow_table([row for row in self.rows(reference)])

    def huggingface(self, reference: str) -> Any:
        """All samples as a ``datasets.Dataset`` of Hugging Face's library.

        Raises:
            NotFound: There is no such version.
            ConfigurationError: datasets or pyarrow is not installed.
            Invalid: Rows have fields of different types under one name.
        """
        library = optional("datasets")
        return library.Dataset(self.arrow(reference))

    def add(self, reference: str, rows: Sequence[Any]) -> list[str]:
        """Put samples at the end of a version that is not published; their ids.

        Args:
            reference: Which version.
            rows: Lines of its format's jsonl, at most 1000.

        Raises:
            NotFound: There is no such version.
            Conflict: It is published, or would have too many edits; import a file instead.
            Invalid: A row is not of its format.
        """
        body: JSON = {"versionId": reference, "samples": list(rows)}
        return (self._call(wire.CREATE_SAMPLES, body)).sampleIds

    def annotate(
        self,
        reference: str,
        sample: str,
        content: Any = None,
        *,
        labels: Sequence[str] | None = None,
    ) -> DatasetSample:
        """Say what a sample is to say from now on, and which labels it has; what is left out stays.

        Args:
            reference: Which version.
            sample: Id of the sample.
            content: A line of its format's jsonl.
            labels: Names of labels.

        Raises:
            NotFound: There is no such version or sample.
            Conflict: The version is published.
            Invalid: The content is not of its format.
        """
        body: JSON = {"versionId": reference, "sampleId": sample}
        if content is not None:
            body["content"] = content
        if labels is not None:
            body["labels"] = list(labels)
        return sample_of(self._call(wire.ANNOTATE_SAMPLE, body))

    def delete_samples(self, reference: str, samples: Sequence[str]) -> list[str]:
        """Take samples out of a version; the ids of those that there were not.

        Raises:
            NotFound: There is no such version.
            Conflict: It is published.
        """
        body: JSON = {"versionId": reference, "sampleIds": list(samples)}
        return (self._call(wire.DELETE_SAMPLES, body)).failedIds

    def stats(self, reference: str) -> DatasetInsight:
        """What a version looks like; the first call has the server measure it, and waits.

        Raises:
            NotFound: There is no such version.
            Invalid: It has no rows.
            Conflict: Measuring failed.
        """
        job = ""
        while True:
            found = self._call(wire.INSIGHT, {"versionId": reference})
            if found.status == "Finished":
                return insight_of(found)
            if job not in {"", found.jobId}:
                # The server has begun anew, so the job that was waited for has failed.
                raise errors.Conflict(f"{reference} could not be measured: {found.error}")
            job = found.jobId
            self._session.transport.sleep(POLL_SECONDS)

    def clean(
        self,
        reference: str,
        recipe: Mapping[str, Any],
        *,
        into: str | None = None,
        wait: bool = True,
    ) -> CleaningTask:
        """Clean a version into another, which `CleaningTask.destination` names; the version itself never changes.

        `client.cleaning` has everything else: previews, pauses, reasons of each row, and the way back.

        Args:
            reference: Which version.
            recipe: What `yangfan data clean` takes: ``{"clean": ["remove_emoji"], "filter": [{"name": …, "args": {…}}]}``.
            into: An unpublished version without rows; by default a new version of the same dataset.
            wait: Whether to wait until it has ended.

        Raises:
            NotFound: There is no such version.
            Invalid: The recipe is not right, or the destination has another format.
            Conflict: The destination has rows, the version has edits that are not released, or the cleaning failed.
        """
        cleaning = Cleaning(self._session)
        task = cleaning.create(reference, recipe, into=into)
        if wait:
            task = cleaning.wait(task.id)
            check_succeeded(task)
        return task

    def augment(
        self,
        reference: str,
        model: str,
        *,
        into: str | None = None,
        count: int = 100,
        wait: bool = True,
        **more: Any,
    ) -> AugmentationTask:
        """Have a model make more samples out of those of a version, into another, which `AugmentationTask.destination` names.

        Args:
            reference: The version with the seeds.
            model: A model that the platform serves, its own or another server's.
            into: An unpublished version without rows; by default a new version of the same dataset.
            count: How many to make, 1 to 5000.
            wait: Whether to wait until it has ended.
            more: Everything else that `client.augmentation.create` takes.

        Raises:
            NotFound: There is no such version or model.
            Invalid: It has no samples, or the format is not right.
            Conflict: The destination has rows, the version has edits that are not released, or it failed.
        """
        augmentation = Augmentation(self._session)
        task = augmentation.create(reference, model, into=into, count=count, **more)
        if wait:
            task = augmentation.wait(task.id)
            check_succeeded(task)
        return task

    def _call(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.management_call(endpoint, body)
        return (self._session.fetch(call, endpoint.reply)).result
