"""Having prompts rewritten and searched for. An optimisation is its job, and nothing beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid, NotFound
from yangfan.server.evaluation.logic import DEFAULT_JUDGE, require_published

if TYPE_CHECKING:
    from yangfan.server.datasets import Datasets
    from yangfan.server.evaluation.logic import Names
    from yangfan.server.evaluation.types import OptimisationOrder
    from yangfan.server.files import Files
    from yangfan.server.jobs import Job, Jobs

KIND = "optimise_prompt"
MEASURED = ("exact", "accuracy", "f1", "bleu_4", "rouge", "json_validity", "regex")
"""Scorers that need no arguments and no model."""


class Optimisations:
    """All optimisations.

    Args:
        jobs: Who works on them.
        files: Where samples may come from.
        datasets: Where else.
        names: What an order may name.
        at_once: Samples that are asked side by side.
    """

    def __init__(
        self,
        jobs: Jobs,
        files: Files,
        datasets: Datasets,
        names: Names,
        *,
        at_once: int,
    ) -> None:
        self._jobs = jobs
        self._files = files
        self._datasets = datasets
        self._names = names
        self._at_once = at_once

    async def create(self, app_id: str, order: OptimisationOrder) -> str:
        """Have a prompt rewritten; the optimisation's id, ``task-…``.

        Raises:
            Invalid: There is no such scorer.
            NotFound: There is no such dataset or file.
            ModelNotFound: There is no such model.
            Conflict: A dataset version is not published, or a model version that no service serves cannot run here.
        """
        if order.scorer not in MEASURED:
            raise Invalid(
                f"scorer must be one of {', '.join(MEASURED)}, got {order.scorer[:64]!r}",
                param="scorer",
            )
        borrowed: dict[str, dict[str, Any]] = {}
        model, _ = await self._names.model(order.model or DEFAULT_JUDGE, {}, borrowed)
        task_model = ""
        if order.task_model:
            task_model, _ = await self._names.model(order.task_model, {}, borrowed)
        spec: dict[str, Any] = {
            "content": order.content,
            "operations": order.operations,
            "model": model,
            "task_model": task_model,
            "borrowed": borrowed,
            "scorer": order.scorer,
            "budget": order.budget,
            "seed": order.seed,
            "at_once": self._at_once,
        }
        dataset = order.dataset
        if dataset.startswith("file-"):
            file = await self._files.get(dataset, app_id)
            spec["samples"] = str(self._files.content(file.sha256))
        elif dataset:
            version = await self._datasets.version(dataset)
            require_published(version)
            spec["manifest"] = msgspec.to_builtins(version.manifest)
            spec["blobs"] = str(self._datasets.blobs.root)
        job = await self._jobs.submit(KIND, spec, account=app_id)
        return f"task-{job.id.removeprefix('jb-')}"

    async def get(self, id: str, app_id: str) -> Job:
        """The job of an application's optimisation.

        Raises:
            NotFound: It has none of that id.
        """
        try:
            job = await self._jobs.get(f"jb-{id.removeprefix('task-')}")
        except NotFound:
            job = None
        if job is None or job.kind != KIND or job.account != app_id:
            raise NotFound(f"no optimisation {id[:64]!r}; singleOptimize/create makes one")
        return job

    async def stop(self, id: str, app_id: str) -> None:
        """End it.

        Raises:
            NotFound: The application has none of that id.
            Conflict: It has ended.
        """
        await self._jobs.cancel((await self.get(id, app_id)).id)
