# Generated from _async by scripts/unasync.py; edit there.
"""`client.cleaning` and `client.augmentation`: versions of datasets made out of others (Yangfan servers)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan import errors
from yangfan.client.processing import (
    POLL_SECONDS,
    augmentation_of,
    cleaning_of,
    preview_of,
    recipe_of,
    row_of,
)
from yangfan.protocol.v2 import dataprocessing as wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

    from yangfan.client._sync.session import Session
    from yangfan.client.processing import (
        AugmentationTask,
        CleanedRow,
        CleaningPreview,
        CleaningTask,
    )
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint


class _Calls:
    """What both share."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def _call(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.management_call(endpoint, body)
        return (self._session.fetch(call, endpoint.reply)).result

    def _pages(self, endpoint: Endpoint[Any, Any], body: JSON) -> Iterator[Any]:
        while True:
            page = self._call(endpoint, body)
            yield page
            marker = page.pageInfo.nextMarker
            if not page.pageInfo.isTruncated or marker is UNSET:
                return
            body = {**body, "marker": marker}


class Cleaning(_Calls):
    """Cleaning of datasets. Every call is signed: it needs access_key and secret_access_key.

    A recipe is what `yangfan data clean` takes: ``{"clean": ["remove_emoji"], "filter": [{"name": …, "args": {…}}]}``.
    """

    def create(
        self,
        source: str,
        recipe: Mapping[str, Any],
        *,
        into: str | None = None,
        name: str = "",
        idempotency_key: str = "",
    ) -> CleaningTask:
        """Begin to clean a version of a dataset; the source never changes.

        Args:
            source: The version, ``NAME:VERSION`` or ``ds-…``, of any format: each text of a row is cleaned.
            recipe: What to do.
            into: An unpublished version without rows; by default a new version of the same dataset.
            name: For people.
            idempotency_key: A second call with the same key gets the first one's task.

        Raises:
            NotFound: There is no such version.
            Invalid: The recipe is not right, or the destination has another format.
            Conflict: The destination has rows, or the source has edits that are not released.
        """
        body: JSON = {"srcDatasetVersionId": source, "recipe": recipe_of(recipe), "taskName": name}
        if into is not None:
            body["dstDatasetVersionId"] = into
        if idempotency_key:
            body["idempotencyKey"] = idempotency_key
        made = self._call(wire.CREATE_CLEAN, body)
        return self.get(made.taskId)

    def preview(
        self, source: str, recipe: Mapping[str, Any], *, rows: int = 50
    ) -> CleaningPreview:
        """What a recipe would do to the first rows; nothing is written.

        Raises:
            NotFound: There is no such version.
            Invalid: The recipe is not right, or an operator failed.
        """
        body: JSON = {
            "srcDatasetVersionId": source,
            "recipe": recipe_of(recipe),
            "maxRows": rows,
        }
        return preview_of(self._call(wire.PREVIEW_CLEAN, body))

    def get(self, id: str) -> CleaningTask:
        """A cleaning as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return cleaning_of(self._call(wire.DESCRIBE_CLEAN, {"taskId": id}))

    def list(self) -> tuple[CleaningTask, ...]:
        """All cleanings, the youngest first."""
        pages = self._pages(wire.LIST_CLEAN, {"maxKeys": 100})
        return tuple([cleaning_of(task) for page in pages for task in page.taskList])

    def wait(self, id: str, *, timeout_seconds: float | None = None) -> CleaningTask:
        """The cleaning once it has ended, however it did.

        Raises:
            NotFound: There is none of that id.
            DeadlineExceeded: It has not ended in time.
        """
        give_up = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not (found := self.get(id)).final:
            if give_up is not None and time.monotonic() >= give_up:
                raise errors.DeadlineExceeded(f"{id} has not ended within {timeout_seconds:g} s")
            self._session.transport.sleep(POLL_SECONDS)
        return found

    def rows(
        self, id: str, kind: Literal["dropped", "changed"] = "dropped"
    ) -> Iterator[CleanedRow]:
        """The rows that a cleaning dropped or changed, and why.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended.
        """
        for page in self._pages(
            wire.CLEAN_REASONS, {"taskId": id, "kind": kind, "maxKeys": 1000}
        ):
            for item in page.items:
                yield row_of(item)

    def pause(self, id: str) -> CleaningTask:
        """Stop, to go on later from the last saved place.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended.
        """
        return cleaning_of(self._call(wire.PAUSE_CLEAN, {"taskId": id}))

    def resume(self, id: str) -> CleaningTask:
        """Go on.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has ended.
        """
        return cleaning_of(self._call(wire.RESUME_CLEAN, {"taskId": id}))

    def undo(self, id: str) -> None:
        """Take back what a cleaning made: its version is deleted, the source is as it always was.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended, or wrote into a version that was there before.
        """
        self._call(wire.UNDO_CLEAN, {"taskId": id})

    def delete(self, id: str) -> None:
        """Forget a cleaning and its reasons, stopping it if it runs; what it made stays.

        Raises:
            NotFound: There is none of that id.
        """
        self._call(wire.DELETE_CLEAN, {"taskId": id})


class Augmentation(_Calls):
    """Samples that a model makes out of those of a dataset. Every call is signed: it needs access_key and secret_access_key."""

    def create(  # noqa: PLR0913 - what to make, one argument each
        self,
        source: str,
        model: str,
        *,
        into: str | None = None,
        count: int = 100,
        seeds_in_prompt: int = 3,
        similarity_threshold: float = 0.7,
        evolution: Mapping[str, int] | None = None,
        iterations: int = 1,
        context: str = "",
        words: str = "",
        requests_per_minute: int = 0,
        name: str = "",
        idempotency_key: str = "",
    ) -> AugmentationTask:
        """Begin to make samples.

        Args:
            source: The version with the seeds, ``NAME:VERSION`` or ``ds-…``.
            model: A model that the platform serves, its own or another server's.
            into: An unpublished version without rows; by default a new version of the same dataset.
            count: How many to make by self-instruct, 1 to 5000.
            seeds_in_prompt: Examples in one question, 1 to 10.
            similarity_threshold: Prompts whose ROUGE-L with another is at least this are left out, 0 to 1.
            evolution: In place of `count`: how many by each strategy, addConstraint, complexScene, direction, precondition.
            iterations: Rounds of evolution, 1 to 10.
            context: What all of them have to do with.
            words: What they are about.
            requests_per_minute: At most so many questions; 0 for as many as there is room for.
            name: For people.
            idempotency_key: A second call with the same key gets the first one's task.

        Raises:
            NotFound: There is no such version or model.
            Invalid: The source has no samples, or the format is not right.
            Conflict: The destination has rows, or the source has edits that are not released.
        """
        body: JSON = {
            "taskName": name,
            "srcDatasetVersionId": source,
            "promptModel": model,
            "promptContext": context,
            "similarityThreshold": similarity_threshold,
            "numSeedFewshot": seeds_in_prompt,
            "numInstancesToGenerate": count,
            "requestsPerMinute": requests_per_minute,
        }
        if into is not None:
            body["dstDatasetVersionId"] = into
        if evolution or words:
            body["promptEvol"] = {"genWord": words, **(evolution or {})}
            body["promptIteration"] = {"enable": iterations > 1, "maxIterations": iterations}
        if idempotency_key:
            body["idempotencyKey"] = idempotency_key
        made = self._call(wire.CREATE_AUGMENT, body)
        return self.get(made.taskId)

    def get(self, id: str) -> AugmentationTask:
        """An augmentation as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return augmentation_of(self._call(wire.DESCRIBE_AUGMENT, {"taskId": id}))

    def list(self) -> tuple[AugmentationTask, ...]:
        """All augmentations, the youngest first."""
        pages = self._pages(wire.LIST_AUGMENT, {"maxKeys": 100})
        return tuple([augmentation_of(task) for page in pages for task in page.taskList])

    def wait(self, id: str, *, timeout_seconds: float | None = None) -> AugmentationTask:
        """The augmentation once it has ended, however it did.

        Raises:
            NotFound: There is none of that id.
            DeadlineExceeded: It has not ended in time.
        """
        give_up = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not (found := self.get(id)).final:
            if give_up is not None and time.monotonic() >= give_up:
                raise errors.DeadlineExceeded(f"{id} has not ended within {timeout_seconds:g} s")
            self._session.transport.sleep(POLL_SECONDS)
        return found

    def delete(self, id: str) -> None:
        """Forget an augmentation, stopping it if it runs; what it made stays.

        Raises:
            NotFound: There is none of that id.
        """
        self._call(wire.DELETE_AUGMENT, {"taskId": id})
