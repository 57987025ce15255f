"""Tuning: what can be tuned, jobs, their runs as durable jobs, and what a run leaves.

A run that somebody stops is a durable job that is paused: it goes on bit by bit where it was, if somebody wants that.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from yangfan import extensions
from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.server.http.call import new_id
from yangfan.server.jobs import Hooks
from yangfan.server.models import Artifact
from yangfan.server.tuning import recipes, rewards, runs
from yangfan.server.tuning.store import USES
from yangfan.server.tuning.types import (
    ENDED,
    Checkpoint,
    NewTask,
    RunStatus,
    TrainingData,
    TuningJob,
    TuningTask,
    View,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.jobs import Job, JobError, Jobs
    from yangfan.server.models import Page, Registry, Version
    from yangfan.server.tuning.recipes import Recipes, Scale
    from yangfan.server.tuning.store import TuningStore
    from yangfan.server.tuning.types import DataOf

DRAWS = "text_to_image"
"""The trainer whose rows are files."""

TRAIN = "train"
"""Kind of the durable jobs: a file in `yangfan.worker.works`."""

ID_LENGTH = 12
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "gguf")
MAX_MODELS = 100
MAX_SPLIT_PERCENT = 100


async def _no_data(reference: str) -> TrainingData:
    raise NotFound(f"there is no dataset version {reference[:80]!r}")


def missing() -> str | None:
    """None if runs can train on this machine, otherwise how to install what they need."""
    if any(importlib.util.find_spec(name) is None for name in LIBRARIES):
        return 'pip install "yangfan[tuning]"'
    return None


class Folders(NamedTuple):
    """Where `runs` leave what they write, one folder each, and the `blobs` in which datasets keep their rows."""

    runs: Path
    blobs: Path


class Tuning:
    """Tuning.

    Args:
        store: Rows.
        jobs: Who trains.
        registry: The models to train.
        folders: Where runs leave what they write, and where datasets keep their rows.
        data_of: Finds what a dataset version holds.
        presets: Which model answers one of Qianfan's names, by the settings.
        processes: Processes of a run on each machine, one for each GPU; 0 for all GPUs of the machine.
        machines: How many there are that a run can be on.
        missing: Says what is not installed.
        trainers: Names of the ways of training that there are; the files of `yangfan.trainers` if None.
    """

    def __init__(  # noqa: PLR0913 - what it stands on, one by one
        self,
        store: TuningStore,
        jobs: Jobs,
        registry: Registry,
        folders: Folders,
        *,
        data_of: DataOf = _no_data,
        presets: Mapping[str, str] | None = None,
        processes: int = 0,
        machines: int = 1,
        missing: Callable[[], str | None] = missing,
        trainers: Collection[str] | None = None,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._registry = registry
        self._folders = folders
        self._data_of = data_of
        self._presets = {name.casefold(): model for name, model in (presets or {}).items()}
        self._processes, self._machines = processes, machines
        self._missing = missing
        self.recipes = _usable(
            recipes.load(), extensions.names("yangfan.trainers") if trainers is None else trainers
        )
        jobs.register(TRAIN, _TrainHooks(self))

    # What can be tuned

    async def models(self) -> list[tuple[str, Version]]:
        """What can be tuned here: the names that stand for it, and the model version behind each."""
        found = [(version.set_name, version) for version in await self._candidates()]
        if found:
            for name in self.recipes.presets:
                with contextlib.suppress(NotFound, Invalid):
                    found.append((name, await self._preset(name)))
        return found

    async def _candidates(self, *, drawing: bool = True) -> list[Version]:
        """The newest version of every set that can be trained, the user's own sets first; with those that draw or without."""
        found: list[Version] = []
        for source in ("UserCreate", "PlatformPreset"):
            lines, _ = await self._registry.numbered_sets(
                source,
                types=["Text2Text", "Text2Image"] if drawing else ["Text2Text"],
                page_size=MAX_MODELS,
            )
            for line in lines:
                able = [
                    version
                    for version in line.versions
                    if self._why_not(version) is None and (drawing or version.kind == "chat")
                ]
                found += able[:1]
        return found

    async def base(self, name: str) -> Version:
        """The model version to train that a name means.

        Raises:
            NotFound: No model is called so.
            Invalid: It cannot be trained; the message says why and what can.
        """
        if name.casefold() in {preset.casefold() for preset in self.recipes.presets}:
            return await self._preset(name)
        try:
            version = await self._registry.find(name)
        except NotFound:
            raise await self._unknown(name) from None
        why = self._why_not(version)
        if why is not None:
            raise Invalid(f"{version.name} cannot be tuned: {why}", param="model")
        return version

    async def _preset(self, name: str) -> Version:
        """What stands for one of Qianfan's names."""
        wanted = self._presets.get(name.casefold())
        if wanted is not None:
            return await self.base(wanted)
        candidates = await self._candidates(drawing=False)
        if not candidates:
            raise Invalid(
                f"no model is here that could be tuned as {name}: import one in Hugging Face's form first, such as"
                " yangfan models import hf:OWNER/NAME",
                param="model",
            )
        # What a GGUF file was rounded to is the worse beginning.
        exact = [each for each in candidates if each.format == "safetensors"] or candidates
        return exact[-1] if exact[-1].is_preset else exact[0]

    async def _unknown(self, name: str) -> NotFound:
        known = ", ".join(each for each, _ in await self.models())
        return NotFound(
            f"no model {name[:80]!r} can be tuned; there are: {known or 'none'}. Any model in Hugging Face's form can be:"
            " yangfan models import hf:OWNER/NAME"
        )

    def _why_not(self, version: Version) -> str | None:
        """Why a version cannot be trained; None if it can."""
        if version.state != "Ready":
            return f"it is {version.state}"
        if version.kind not in {"chat", "images"}:
            return (
                f"it is for {version.kind}, and only models that chat, complete or draw are tuned"
            )
        if version.format == "adapter":
            return f"it is an adapter; train its base, {version.parent_id}, or go on from its run with incrementTaskId"
        if version.format not in {"safetensors", "gguf", "diffusers"}:
            return (
                f"its format is {version.format}; import it in Hugging Face's form (safetensors):"
                " yangfan models import hf:OWNER/NAME"
            )
        if version.is_preset and self._registry.files.get(version.set_name) is None:
            return f"it is not on this machine yet; `yangfan pull {version.set_name}` fetches it"
        return None

    # Jobs

    async def create_job(
        self,
        name: str,
        model: str,
        mode: str,
        *,
        description: str = "",
        scale: str | None = None,
        hyper_parameters: Mapping[str, Any] | None = None,
        account: str = "",
    ) -> TuningJob:
        """Make a job.

        Args:
            name: For people.
            model: One of `models`, or a version of the registry.
            mode: Way of training.
            description: For people.
            scale: How much is trained where a task does not say.
            hyper_parameters: What tasks begin with.
            account: Whose it is.

        Raises:
            NotFound: There is no such model.
            Invalid: The model cannot be trained so, or a hyper-parameter is not allowed.
        """
        self.recipes.mode(mode)
        base = await self.base(model)
        given = dict(hyper_parameters or {})
        way = self.recipes.for_base(mode, base.kind)
        if scale is not None or given:
            checked = self._scale(way, scale)
            self.recipes.check(way, checked, given, base.facts.context_tokens)
        return await self._store.add_job(
            {
                "id": new_id("job-", ID_LENGTH),
                "name": name,
                "description": description,
                "model": model,
                "mode": mode,
                "base_id": base.id,
                "scale": scale or "",
                "hyper_parameters": given,
                "account": account,
                "created_ms": self._registry.now_ms(),
            }
        )

    def _scale(self, mode: str, *given: str | None) -> Scale:
        """The first that says one, else the mode's first."""
        named = next((scale for scale in given if scale), self.recipes.mode(mode).scales[0])
        return self.recipes.scale(mode, named)

    async def set_mode(self, job: TuningJob, mode: str) -> None:
        """Give a job another way of training: v1 says the way at each run, and no sooner.

        Raises:
            Invalid: There is no such way, or the job has runs already, which were trained otherwise.
        """
        self.recipes.mode(mode)
        if not await self._store.set_mode(job, mode):
            raise Invalid(
                f"the runs of {job.id} train with {job.mode}; make another task for {mode}",
                param="trainMode",
            )

    async def job(self, reference: str | int) -> TuningJob:
        """The job of that id (``job-…``) or v1's integer.

        Raises:
            NotFound: There is none.
        """
        wanted = _wanted(reference)
        found = await self._store.find_job(**wanted)
        if found is None:
            raise NotFound(
                f"there is no tuning job {str(reference)[:80]!r}; DescribeFineTuningJobs lists them"
            )
        return found

    async def jobs(
        self, page: Page, *, model: str | None = None, mode: str | None = None
    ) -> tuple[list[TuningJob], str | None]:
        """A page of jobs in order of creation, and the id of the one that follows it.

        Raises:
            NotFound: There is no job of the id to begin with.
        """
        if page.first_id is not None:
            await self.job(page.first_id)
        wanted = {"model": model, "mode": mode}
        found = await self._store.page_jobs(
            page.first_id,
            page.size + 1,
            newest_first=page.newest_first,
            **{name: value for name, value in wanted.items() if value},
        )
        follows = found[page.size].id if len(found) > page.size else None
        return found[: page.size], follows

    async def delete_job(self, reference: str | int) -> None:
        """Delete a job with all its runs.

        Raises:
            NotFound: There is none.
            Conflict: A run of it has not ended.
        """
        job = await self.job(reference)
        views = [view async for view in self._all_tasks(job)]
        for view in views:
            await self._require_free(view)
        for view in views:
            await self._delete(view)
        await self._store.remove_job(job.number)

    async def _all_tasks(self, job: TuningJob) -> AsyncGenerator[View]:
        first: str | None = None
        while True:
            found = await self._store.page_tasks(first, 101, newest_first=False, job_id=job.id)
            for task in found[:100]:
                yield await self._view(task, job)
            if len(found) <= 100:
                return
            first = found[100].id

    # Tasks

    async def create_task(self, new: NewTask) -> TuningTask:
        """Begin a run.

        Raises:
            NotFound: There is no such job, dataset version, or run to go on from.
            Invalid: Something in it is not allowed; the parameter is named.
            Conflict: Training cannot be done on this server; the message says what to install.
        """
        lacking = self._missing()
        if lacking is not None:
            raise Conflict(f"tuning needs libraries that are not installed here: {lacking}")
        job = await self.job(new.job_id)
        base = await self._registry.version(job.base_id)
        way = self.recipes.for_base(job.mode, base.kind)
        scale = self._scale(way, new.scale, job.scale)
        parameters = self.recipes.check(
            way,
            scale,
            {**job.hyper_parameters, **new.hyper_parameters},
            base.facts.context_tokens,
        )
        nodes = self._nodes(way, new.more.get("resourceConfig"))
        wanted = rewards.wanted(new.more.get("rewardConfig"), self.recipes.mode(way).trainer)
        order, used = await self._data(way, new.dataset, new.more)
        adapter, files = "", [msgspec.to_builtins(file) for file in base.files]
        if new.increment_task_id:
            adapter, files = await self._increment(job, new, files)
            used.append((await self.task(new.increment_task_id)).task.id)
        account, key = new.account, new.idempotency_key
        task_id = _task_id(account, key)
        for number, source in enumerate((*order["train"], *order["validation"])):
            if "uri" in source:
                source["folder"] = str(self.output(task_id) / "rows" / str(number))
        hyper = {**recipes.for_trainer(parameters), "rewards": rewards.rules(wanted)}
        if wanted.taskId is not None:
            order["reward_model"], reward_task = await self._reward_model(wanted)
            used.append(reward_task)
        spec: dict[str, Any] = {
            **order,
            "mode": self.recipes.mode(way).trainer,
            "method": recipes.METHODS[scale],
            "store": str(self._registry.files.root),
            "files": files,
            "blobs": str(self._folders.blobs),
            "adapter": adapter,
            "base_model": base.name,
            "seed": hyper.pop("seed"),
            "hyper_parameters": hyper,
            "output": str(self.output(task_id)),
            "processes": self._processes,
            "nodes": nodes,
        }
        values = {
            "id": task_id,
            "job_id": job.id,
            "scale": scale,
            "hyper_parameters": parameters,
            "dataset": dict(new.dataset),
            "more": {**new.more, USES: used},
            "increment_task_id": new.increment_task_id or "",
            "increment_step": new.increment_step,
            "state": "running",
            "error": "",
            "result": {},
            "created_ms": self._registry.now_ms(),
            "finished_ms": None,
        }
        async with self._store.write() as connection:
            work = await self._jobs.submit(
                TRAIN,
                spec,
                account=account,
                subject=task_id,
                idempotency_key=key,
                connection=connection,
            )
            if await self._store.find_task(connection, id=task_id) is None:
                await self._store.add_task(connection, {**values, "work_id": work.id})
        made = await self._store.find_task(id=task_id)
        assert made is not None, "it was inserted or there before"
        return made

    def _nodes(self, way: str, resources: Mapping[str, Any] | None) -> int:
        """How many machines a run is on."""
        wanted = int((resources or {}).get("nodeNum", 1))
        if wanted > self._machines:
            raise Invalid(
                f"resourceConfig.nodeNum is {wanted}, and runs can be on {self._machines} here: name other machines in the settings"
                " tuning_nodes and tuning_rendezvous, or ask for fewer",
                param="resourceConfig.nodeNum",
            )
        if wanted > 1 and self.recipes.mode(way).trainer == DRAWS:
            raise Invalid(
                "resourceConfig.nodeNum must be 1 for models that draw: their pictures are on one machine",
                param="resourceConfig.nodeNum",
            )
        return wanted

    async def _reward_model(self, wanted: rewards.Wanted) -> tuple[dict[str, Any], str]:
        """The part of a run's order that says what scores answers, and the run that left it."""
        view = await self.task(wanted.taskId or "")
        rewards.require_reward_model(view)
        checkpoint = _checkpoint(view, wanted.checkpointStep, "rewardConfig.checkpointStep")
        base = await self._registry.version(view.job.base_id)
        return rewards.reward_model(view, base, checkpoint.folder, wanted.weight), view.task.id

    def output(self, task_id: str) -> Path:
        """Where a run leaves what it writes."""
        return self._folders.runs / task_id

    async def _data(
        self, way: str, dataset: Mapping[str, Any], more: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        """The part of a run's order that says what is learned from, and the ids of the dataset versions."""
        kind = dataset.get("sourceType", "Platform")
        if kind not in {"Platform", "Bos"}:
            raise Invalid(
                "datasetConfig.sourceType must be Platform (published dataset versions) or Bos (files of the S3-compatible store that the"
                " settings name)",
                param="datasetConfig.sourceType",
            )
        corpus: Mapping[str, Any] = more.get("corpusConfig") or {}
        if corpus.get("config"):
            raise Invalid(
                "corpusConfig asks for a corpus of Baidu's, and none is here: import the rows to mix in as a dataset, and give it"
                " with a samplingRate among datasetConfig.versions",
                param="corpusConfig",
            )
        split = dataset.get("splitRatio")
        if split is not None and not 0 <= split <= MAX_SPLIT_PERCENT:
            raise Invalid(
                f"splitRatio must be from 0 to {MAX_SPLIT_PERCENT} percent; got {split}",
                param="splitRatio",
            )
        train, used = await self._sources(way, kind, dataset["versions"])
        held_out, more_used = await self._sources(way, kind, dataset.get("evalVersions") or ())
        told = {
            "train": train,
            "validation": held_out,
            "split_percent": 0 if held_out else float(split or 0),
        }
        return told, [*used, *more_used]

    async def _sources(
        self, way: str, kind: str, versions: Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        formats = self.recipes.mode(way).formats
        found: list[dict[str, Any]] = []
        used: list[str] = []
        for version in versions:
            rate = version.get("samplingRate", 1.0)
            if kind == "Bos" and not version.get("versionId"):
                found.append({**_bucket(version, formats), "sampling_rate": rate})
                continue
            reference = version.get("versionId")
            if not reference:
                raise Invalid(
                    "datasetConfig.versions needs a versionId in each, for sourceType is Platform",
                    param="datasetConfig.versions.versionId",
                )
            data = await self._data_of(reference)
            if not data.is_published:
                raise Invalid(
                    f"the dataset version {data.name} is not published; publish it, so that nothing changes it while it is learned from",
                    param="datasetConfig.versions",
                )
            if data.data_format not in formats:
                raise Invalid(
                    f"{way} learns from rows of the format {' or '.join(formats)}, and {data.name} has {data.data_format}",
                    param="datasetConfig.versions",
                )
            if not data.rows:
                raise Invalid(
                    f"the dataset version {data.name} has no rows; import some",
                    param="datasetConfig.versions",
                )
            found.append(
                {"manifest": dict(data.manifest), "sampling_rate": rate, "name": data.name}
            )
            used.append(data.id)
        return found, used

    async def _increment(
        self, job: TuningJob, new: NewTask, files: list[Any]
    ) -> tuple[str, list[Any]]:
        """Where a run goes on from another: the adapter's folder, and the files of the model below it."""
        before = await self.task(new.increment_task_id or "")
        if before.job.base_id != job.base_id:
            raise Invalid(
                f"incrementTaskId: {before.task.id} trains {before.job.model}, and this job {job.model}; both must train the same model",
                param="incrementTaskId",
            )
        if before.status not in ENDED:
            raise Invalid(
                f"incrementTaskId: {before.task.id} has not ended; go on from it when it has",
                param="incrementTaskId",
            )
        if not before.checkpoints:
            raise Invalid(
                f"incrementTaskId: {before.task.id} left no checkpoint", param="incrementTaskId"
            )
        if new.increment_step is None and len(before.checkpoints) > 1:
            raise Invalid(
                f"incrementCheckpointStep must be given, for {before.task.id} has the checkpoints {_steps(before)}",
                param="incrementCheckpointStep",
            )
        checkpoint = _checkpoint(before, new.increment_step, "incrementCheckpointStep")
        if before.task.scale != "FullFineTuning":
            return checkpoint.folder, files
        name = f"amv-{before.task.id}-{checkpoint.step}"
        kept = await asyncio.to_thread(
            runs.keep_files, self._registry.files, name, Path(checkpoint.folder)
        )
        return "", kept

    async def task(self, reference: str | int) -> View:
        """A run by its id (``task-…``) or v1's integer.

        Raises:
            NotFound: There is none.
        """
        found = await self._store.find_task(**_wanted(reference))
        if found is None:
            raise NotFound(
                f"there is no tuning task {str(reference)[:80]!r}; DescribeFineTuningTasks lists a job's"
            )
        return await self._view(found)

    async def tasks(
        self, page: Page, job: str | int | None = None
    ) -> tuple[list[View], str | None]:
        """A page of a job's runs (of all jobs if None), and the id of the one that follows it.

        Raises:
            NotFound: There is no such job, or no run of the id to begin with.
        """
        wanted = {} if job is None else {"job_id": (await self.job(job)).id}
        if page.first_id is not None:
            await self.task(page.first_id)
        found = await self._store.page_tasks(
            page.first_id, page.size + 1, newest_first=page.newest_first, **wanted
        )
        follows = found[page.size].id if len(found) > page.size else None
        return [await self._view(task) for task in found[: page.size]], follows

    async def _view(self, task: TuningTask, job: TuningJob | None = None) -> View:
        job = job or await self.job(task.job_id)
        work: Job | None = None
        with contextlib.suppress(NotFound):
            work = await self._jobs.get(task.work_id)
        output = self.output(task.id)
        checkpoints = await asyncio.to_thread(runs.checkpoints, output, task.result)
        last = runs.last_row(work, task.result)
        published = await self._registry.store.made_by(task.id)
        return View(task, job, work, _status(task, work), checkpoints, last, tuple(published))

    async def metrics(self, reference: str | int) -> list[dict[str, Any]]:
        """Everything that a run measured, in order, in the trainers' words.

        Raises:
            NotFound: There is none.
        """
        view = await self.task(reference)
        return await asyncio.to_thread(
            runs.metrics, self.output(view.task.id), view.task.result, view.last
        )

    async def watch(self, reference: str | int) -> AsyncGenerator[View]:
        """A run now and at each change, until it is Done, Failed or Stopped, or this server is about to end.

        Raises:
            NotFound: There is none.
        """
        view = await self.task(reference)
        try:
            async for _ in self._jobs.watch(view.task.work_id):
                view = await self.task(view.task.id)
                yield view
                if view.status in ENDED:
                    return
        except NotFound:
            yield await self.task(view.task.id)

    async def stop(self, reference: str | int) -> bool:
        """Let a run stop at its next step, where it writes a checkpoint; False if it does not run or is not known."""
        try:
            view = await self.task(reference)
        except NotFound:
            return False
        if view.status in ENDED or view.work is None:
            return False
        await self._jobs.pause(view.work.id)
        async with self._store.write() as connection:
            await self._store.change_task(
                connection, view.task.number, finished_ms=self._registry.now_ms()
            )
        return True

    async def resume(self, reference: str | int) -> None:
        """Let a stopped run go on from its last checkpoint.

        Raises:
            NotFound: There is none.
            Conflict: It is not stopped.
        """
        view = await self.task(reference)
        if view.status != "Stopped" or view.work is None or view.task.state != "running":
            raise Conflict(
                f"{view.task.id} is {view.status or 'new'}, and only a run that was stopped goes on; begin another with incrementTaskId"
            )
        await self._jobs.resume(view.work.id)
        async with self._store.write() as connection:
            await self._store.change_task(connection, view.task.number, finished_ms=None)

    async def delete(self, reference: str | int) -> None:
        """Delete a run with its checkpoints; models that were published stay.

        Raises:
            NotFound: There is none.
            Conflict: It has not ended.
        """
        view = await self.task(reference)
        await self._require_free(view)
        await self._delete(view)

    async def _require_free(self, view: View) -> None:
        _require_ended(view)
        user = await self._store.user_of_part(view.task.id)
        if user is not None:
            raise Conflict(
                f"{view.task.id} is in use: {user} learns by it; stop that and delete it first"
            )

    async def _delete(self, view: View) -> None:
        if view.work is not None and not view.work.final:
            await self._jobs.cancel(view.work.id)
        await self._store.remove_task(view.task.number)
        for checkpoint in view.checkpoints:
            self._registry.files.forget(f"amv-{view.task.id}-{checkpoint.step}")
        await asyncio.to_thread(shutil.rmtree, self.output(view.task.id), ignore_errors=True)

    async def user_of(self, version_id: str) -> str | None:
        """The run that needs a model version now, or will if it goes on; None if none does."""
        return await self._store.user_of(version_id)

    async def user_of_part(self, used: str, connection: AsyncConnection) -> str | None:
        """The run that reads a dataset version now, or will if it goes on; None if none does."""
        return await self._store.user_of_part(used, connection)

    async def artifact(self, task_id: str, step: int | None) -> Artifact:
        """What a run left, for the registry to make a version of.

        Args:
            task_id: The run.
            step: Of the checkpoint; the last if None.

        Raises:
            NotFound: There is no such run.
            Conflict: It has not ended.
            Invalid: It has no such checkpoint.
        """
        view = await self.task(task_id)
        if view.status not in ENDED:
            raise Conflict(
                f"{view.task.id} is {view.status or 'new'}; wait for its end, or stop it, before you publish it"
            )
        if not view.checkpoints:
            why = f": {view.task.error}" if view.task.error else ""
            raise Conflict(f"{view.task.id} is {view.status} and left nothing to publish{why}")
        checkpoint = _checkpoint(view, step, "step")
        base = await self._registry.version(view.job.base_id)
        order = {} if view.work is None else view.work.spec
        files = [msgspec.to_builtins(file) for file in base.files]
        trained_on = order.get("files") or files
        held_out = {name: order.get(name) for name in ("train", "validation", "split_percent")}
        return Artifact(
            spec={
                "files": trained_on,
                "base": _stored_as(base) if trained_on == files else "",
                "method": recipes.METHODS[view.task.scale],
                "mode": self.recipes.mode(self.recipes.for_base(view.job.mode, base.kind)).trainer,
                "trained": checkpoint.folder,
                "base_model": base.name,
                "blobs": str(self._folders.blobs),
                "seed": view.task.hyper_parameters.get("seed", 42),
                **{name: value for name, value in held_out.items() if value is not None},
            },
            kind="rerank" if view.job.mode == "RM" else base.kind,
            parent_id=base.id,
            origin={
                "jobId": view.job.id,
                "jobName": view.job.name,
                "taskId": view.task.id,
                "step": checkpoint.step,
                "baseModel": base.facts.architecture or base.set_name,
            },
        )

    # What the end of a durable job means, within its transaction

    async def ended(self, connection: AsyncConnection, job: Job, state: str, **values: Any) -> None:
        """A run has ended."""
        task = await self._store.find_task(connection, id=job.subject)
        if task is not None:
            await self._store.change_task(
                connection, task.number, state=state, finished_ms=self._registry.now_ms(), **values
            )


class _TrainHooks(Hooks):
    """For runs."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """Keep what came out."""
        await self._tuning.ended(connection, job, "succeeded", result=result)

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """Tell why."""
        await self._tuning.ended(connection, job, "failed", error=error.message or error.code)

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Tell that."""
        await self._tuning.ended(connection, job, "stopped")


def _task_id(account: str, key: str) -> str:
    """A new id, or the one that the same call got before."""
    if not key:
        return new_id("task-", ID_LENGTH)
    return f"task-{hashlib.sha256(f'{account}/{key}'.encode()).hexdigest()[:ID_LENGTH]}"


def _usable(found: Recipes, trainers: Collection[str]) -> Recipes:
    """The ways of training for which there is a trainer."""
    modes = {name: mode for name, mode in found.modes.items() if mode.trainer in trainers}
    return msgspec.structs.replace(found, modes=modes)


def _status(task: TuningTask, work: Job | None) -> RunStatus:
    match task.state:
        case "succeeded":
            return "Done"
        case "failed":
            return "Failed"
        case "stopped":
            return "Stopped"
        case "running":
            if work is None:
                return "Failed"
            return {"queued": "Waiting", "paused": "Stopped"}.get(work.state, "Running")  # pyright: ignore[reportReturnType]


def _wanted(reference: str | int) -> dict[str, Any]:
    if isinstance(reference, int) or reference.isdecimal():
        return {"number": int(reference) if len(str(reference)) < 10 else 0}
    return {"id": reference}


def _bucket(version: Mapping[str, Any], formats: Sequence[str]) -> dict[str, Any]:
    """The source that stands for a file or folder of a bucket."""
    uri = str(version.get("versionBosUri") or "")
    if uri.partition(":")[0] not in {"bos", "s3"}:
        raise Invalid(
            "datasetConfig.versions needs a versionBosUri in each, for sourceType is Bos: bos:/bucket/folder/ or bos:/bucket/file.jsonl",
            param="datasetConfig.versions.versionBosUri",
        )
    return {"uri": uri, "name": uri, "formats": list(formats)}


def _stored_as(version: Version) -> str:
    """The name of a version in the model store."""
    return version.set_name if version.is_preset else version.id


def _checkpoint(view: View, step: int | None, param: str) -> Checkpoint:
    """The checkpoint of a step; the last if None."""
    if step is None and view.checkpoints:
        return view.checkpoints[-1]
    for checkpoint in view.checkpoints:
        if checkpoint.step == step:
            return checkpoint
    raise Invalid(
        f"{view.task.id} has no checkpoint at step {step}; there are: {_steps(view)}", param=param
    )


def _steps(view: View) -> str:
    return ", ".join(str(each.step) for each in view.checkpoints) or "none"


def _require_ended(view: View) -> None:
    if view.status not in ENDED:
        raise Conflict(f"{view.task.id} is {view.status or 'new'}; stop it before you delete it")
