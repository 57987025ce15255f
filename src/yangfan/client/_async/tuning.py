"""`client.tuning`: train models on datasets, follow that, and publish what comes out (Yangfan servers)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan import errors
from yangfan.client import replies
from yangfan.client import tuning as read
from yangfan.client.jobs import check_stream, refuse
from yangfan.protocol.v2 import registry
from yangfan.protocol.v2 import tuning as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from yangfan.client._async.models import AsyncModels
    from yangfan.client._async.session import AsyncSession
    from yangfan.client.exchange import Request
    from yangfan.client.transport import AsyncIncoming
    from yangfan.client.types import (
        JSON,
        ModelVersion,
        TunableModel,
        TuningJob,
        TuningLine,
        TuningMetric,
        TuningTask,
    )
    from yangfan.protocol.endpoint import Endpoint

PAGE = 100
MAX_BROKEN_STREAMS = 30
PAUSE_SECONDS = 1.0
"""Between a stream that broke and the next."""


class AsyncTuning:
    """Tuning. Every call is signed: it needs access_key and secret_access_key.

    A tuning job names a model and a way of training; each of its tasks is one run. `models`, `create`, `jobs`, `list`, `get`, `stop`
    and `delete` also work against Baidu's cloud; the rest is of Yangfan servers.
    """

    def __init__(self, session: AsyncSession, models: AsyncModels) -> None:
        """Made by the client."""
        self._session = session
        self._models = models

    async def models(self) -> tuple[TunableModel, ...]:
        """What can be tuned, how, and what every hyper-parameter may be."""
        return tuple(map(read.model_of, await self._call(wire.SUPPORTED_MODELS)))

    async def create(  # noqa: PLR0913 - what a run is made of, one argument each
        self,
        model: str,
        datasets: str | Iterable[str] | Mapping[str, float],
        *,
        mode: str = "SFT",
        scale: str | None = None,
        name: str = "",
        description: str = "",
        split_percent: float = 0,
        eval_datasets: Iterable[str] = (),
        hyper_parameters: Mapping[str, Any] | None = None,
        after: str | None = None,
        after_step: int | None = None,
        rewards: Mapping[str, Any] | None = None,
        nodes: int | None = None,
        job: str | None = None,
        idempotency_key: str = "",
    ) -> TuningTask:
        """Begin a run; `watch` and `wait` follow it.

        Args:
            model: One of `models`, or any model version in Hugging Face's form: its id, SET:VERSION or SET@label.
            datasets: Published dataset versions to learn from, by id or NAME:VERSION; a mapping says how often each row of one is taken,
                0.01 to 10.
            mode: SFT, PostPretrain, DPO, KTO, RM, RFT: what `models` lists.
            scale: LoRA, FullFineTuning or PromptTuning; the first that the mode offers by default.
            name: For people; made up by default.
            description: For people.
            split_percent: Percent of the rows that are held out for measuring, 0 to 100.
            eval_datasets: Datasets to hold out instead.
            hyper_parameters: Those that are to differ from the defaults, such as ``{"epoch": 5}``.
            after: A run of the same model to go on from, ``task-…``.
            after_step: The checkpoint of that; needed where it has several.
            rewards: What an answer is worth, for RFT: ``{"rules": [{"scorer": "exact"}]}``, or ``{"taskId": "task-…"}`` of a run of the mode
                RM, or both; the scorers exact, regex, json_validity, f1, rouge, bleu_4 and accuracy take ``parameters`` and a ``weight``.
            nodes: On how many machines; the server has to know of others. One by default.
            job: An existing job to add the run to, ``job-…``; its model and mode hold then.
            idempotency_key: A second call with the same key begins nothing new.

        Raises:
            NotFound: There is no such model, dataset version or run.
            Invalid: Something is not allowed; the message names it.
            Conflict: The server cannot train; the message says what to install.
        """
        rates = (
            dict.fromkeys([datasets] if isinstance(datasets, str) else datasets, 1.0)
            if not hasattr(datasets, "items")
            else dict(datasets)  # pyright: ignore[reportCallIssue, reportArgumentType]
        )
        if job is None:
            made = await self._call(
                wire.CREATE_JOB,
                name=name or f"{mode} {model}"[:100],
                model=model,
                trainMode=mode,
                description=description,
            )
            job = made.jobId
        data: JSON = {
            "sourceType": "Platform",
            "versions": [
                {"versionId": version, "samplingRate": rate} for version, rate in rates.items()
            ],
            "splitRatio": split_percent,
        }
        held_out = [{"versionId": version} for version in eval_datasets]
        if held_out:
            data["evalVersions"] = held_out
        body: JSON = {
            "jobId": job,
            "parameterScale": scale,
            "hyperParameterConfig": dict(hyper_parameters or {}),
            "datasetConfig": data,
            "incrementTaskId": after,
            "incrementCheckpointStep": after_step,
            "rewardConfig": None if rewards is None else dict(rewards),
            "resourceConfig": None if nodes is None else {"nodeNum": nodes},
            "idempotencyKey": idempotency_key or None,
        }
        told = {key: value for key, value in body.items() if value is not None}
        begun = await self._call(wire.CREATE_TASK, **told)
        return await self.get(begun.taskId)

    async def jobs(
        self, *, model: str | None = None, mode: str | None = None
    ) -> tuple[TuningJob, ...]:
        """All tuning jobs in order of creation.

        Args:
            model: Only those that train this.
            mode: Only those that train so.
        """
        wanted = {"model": model, "trainMode": mode}
        body: JSON = {key: value for key, value in wanted.items() if value is not None}
        return tuple(map(read.job_of, await self._pages(wire.LIST_JOBS, "jobList", body)))

    async def list(self, job: str | None = None, *, limit: int = 1000) -> tuple[TuningLine, ...]:
        """Runs, the youngest first.

        Args:
            job: Of this tuning job only.
            limit: How many at most.

        Raises:
            NotFound: There is no such job.
        """
        body: JSON = {"pageReverse": True}
        if job is not None:
            body["jobId"] = job
        found = await self._pages(wire.LIST_TASKS, "taskList", body, limit)
        return tuple(map(read.line_of, found))

    async def get(self, task: str) -> TuningTask:
        """A run as it is now.

        Raises:
            NotFound: There is none of that id.
        """
        return read.task_of(await self._call(wire.SHOW_TASK, taskId=task))

    async def metrics(self, task: str) -> tuple[TuningMetric, ...]:
        """Everything that a run measured, in order.

        Raises:
            NotFound: There is none of that id.
        """
        return tuple(map(read.metric_of, (await self._call(wire.METRICS, taskId=task)).rows))

    async def checkpoints(self, task: str) -> Mapping[int, float | None]:
        """Steps that a run can be published from or gone on from, with the loss there.

        Raises:
            NotFound: There is none of that id.
        """
        return (await self.get(task)).checkpoints

    async def watch(self, task: str) -> AsyncIterator[TuningTask]:
        """A run now and at each change, until it has ended; a connection that breaks is made anew.

        Raises:
            NotFound: There is none of that id.
            UnreachableError: The server was away for about half a minute.
        """
        broken = 0
        while True:
            try:
                incoming = await self._open(task)
            except errors.ConnectionFailed:
                broken += 1
                if broken > MAX_BROKEN_STREAMS:
                    raise
                await self._session.transport.sleep(PAUSE_SECONDS)
                continue
            reader = read.EventReader()
            try:
                while chunk := await incoming.chunk():
                    reader.feed(chunk)
                    while (event := reader.next_event()) is not None:
                        broken = 0
                        yield event
                        if event.ended:
                            return
            except errors.ConnectionFailed:
                pass
            finally:
                await incoming.close()
            broken += 1
            if broken > MAX_BROKEN_STREAMS:
                raise errors.ConnectionFailed("the server ended the stream again and again")
            await self._session.transport.sleep(PAUSE_SECONDS)

    async def wait(self, task: str) -> TuningTask:
        """A run once it is Done, Failed or Stopped.

        Raises:
            NotFound: There is none of that id.
            UnreachableError: The server was away for about half a minute.
        """
        async for event in self.watch(task):
            if event.ended:
                return event
        raise AssertionError("a watch ends with an ended run or an error")

    async def stop(self, task: str) -> bool:
        """Let a run stop at its next step, where it keeps a checkpoint; False if it does not run."""
        return await self._call(wire.STOP_TASK, taskId=task)

    async def resume(self, task: str) -> None:
        """Let a stopped run go on from its last checkpoint, bit by bit as if it had never stopped.

        Raises:
            NotFound: There is none of that id.
            Conflict: It is not stopped.
        """
        await self._call(wire.RESUME_TASK, taskId=task)

    async def delete(self, task: str) -> None:
        """Delete a run with its checkpoints; models that were published stay.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended.
        """
        await self._call(wire.DELETE_TASK, taskId=task)

    async def delete_job(self, job: str) -> None:
        """Delete a tuning job with all its runs.

        Raises:
            NotFound: There is none of that id.
            Conflict: A run has not ended.
        """
        await self._call(wire.DELETE_JOB, jobId=job)

    async def report(self, task: str) -> bytes:
        """A run on one HTML page that needs nothing else.

        Raises:
            NotFound: There is no such run, or it has no report yet.
        """
        path = wire.REPORT.path.replace("{task}", task)
        call = self._session.file_call(wire.REPORT, path)

        async def once(request: Request) -> bytes:
            reply = await self._session.transport.send(
                request, timeout_seconds=call.timeout_seconds
            )
            if reply.status != 200:
                replies.checked(reply)
            return reply.body

        return await self._session.persist(call, once)

    async def publish(
        self,
        task: str,
        set: str,
        *,
        step: int | None = None,
        description: str = "",
        format: registry.TrainedFormat | None = None,
        quantization: registry.TrainedQuantization | None = None,
    ) -> ModelVersion:
        """Make a run a model version, and wait until it is ready; its `parity` says how near what is served is to what was trained.

        Args:
            task: The run.
            set: Name of the model set that gets it; it is made if there is none.
            step: Which checkpoint; the last by default.
            description: For people, at most 300 characters.
            format: gguf (default where the embedded engine can serve it), safetensors, or adapter for what LoRA learnt without its base.
            quantization: Q8_0 or Q4_K_M, to make a gguf smaller.

        Raises:
            NotFound: There is no such run, or it left nothing.
            Conflict: It could not be made; the message says why.
        """
        try:
            owner = await self._models.get_set(set)
        except errors.NotFound:
            await self.get(task)
            owner = await self._models.create_set(set)
        made = await self._models.publish_trained(
            owner.id,
            task,
            step=step,
            description=description,
            format=format,
            quantization=quantization,
        )
        return await self._models.wait(made.id)

    async def _call(self, endpoint: Endpoint[Any, Any], **body: Any) -> Any:
        call = self._session.management_call(endpoint, body)
        return (await self._session.fetch(call, endpoint.reply)).result

    async def _pages(
        self, endpoint: Endpoint[Any, Any], field: str, body: JSON, limit: int = 1_000_000
    ) -> list[Any]:
        found: list[Any] = []
        body = {**body, "maxKeys": min(PAGE, limit)}
        while True:
            page = await self._call(endpoint, **body)
            found += getattr(page, field)
            if not isinstance(page.pageInfo.nextMarker, str) or len(found) >= limit:
                return found[:limit]
            body["marker"] = page.pageInfo.nextMarker

    async def _open(self, task: str) -> AsyncIncoming:
        call = self._session.management_call(wire.WATCH_TASK, {"taskId": task})

        async def once(request: Request) -> AsyncIncoming:
            incoming = await self._session.transport.open(
                request, timeout_seconds=call.timeout_seconds
            )
            if not check_stream(incoming.status, incoming.headers.get("content-type", "")):
                raise refuse(await incoming.read())
            return incoming

        return await self._session.persist(call, once)
