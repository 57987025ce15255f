"""v2: /v2/batches in OpenAI's shapes (specification C.5), and /v2/batchinference in Qianfan's (D.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from msgspec import UNSET, UnsetType

from yangfan.errors import Invalid
from yangfan.protocol.v2 import batch_inference
from yangfan.protocol.v2 import batches as wire
from yangfan.protocol.v2.memory import PageInfo
from yangfan.server.batches.logic import DEFAULT_WINDOW
from yangfan.server.batches.types import FINAL, Order
from yangfan.server.files import expires_seconds_of
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success

if TYPE_CHECKING:
    from yangfan.server.batches.logic import Batches
    from yangfan.server.batches.types import Batch
    from yangfan.server.jobs import Job

DEFAULT_LISTED = 20
DEFAULT_PAGE = 10
MAX_METADATA_KEY, MAX_METADATA_VALUE = 64, 512
_NEVER = "0000-00-00T00:00:00Z"
_STATES = frozenset({"Queuing", "Running", "Stopping", "Done", "Stopped", "Failed"})


def routes(batches: Batches) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[wire.CreateBatch]) -> Reply:
        asked = call.request
        _check_metadata(asked.metadata or {})
        order = Order(
            endpoint=asked.endpoint,
            input_file_id=asked.input_file_id,
            window=asked.completion_window,
            metadata=asked.metadata,
            output_expires_seconds=_expiry(asked.output_expires_after),
        )
        batch = await batches.create(call.principal.app_id, "openai", order)
        return Reply(_batch(batch, None))

    async def list_all(call: Call[None]) -> Reply:
        query = call.query
        found, has_more = await batches.page(
            call.principal.app_id,
            None,
            query.get("after") or None,
            _limit(query.get("limit")),
            newest_first=True,
        )
        return Reply(
            wire.BatchList(
                data=[_batch(batch, job) for batch, job in found],
                first_id=found[0][0].id if found else None,
                last_id=found[-1][0].id if found else None,
                has_more=has_more,
            )
        )

    async def show(call: Call[None]) -> Reply:
        return Reply(_batch(*await batches.get(call.params["batch_id"], call.principal.app_id)))

    async def cancel(call: Call[None]) -> Reply:
        return Reply(_batch(*await batches.cancel(call.params["batch_id"], call.principal.app_id)))

    return [
        Route(wire.CREATE, create),
        Route(wire.LIST, list_all),
        Route(wire.SHOW, show),
        Route(wire.CANCEL, cancel),
        *_tasks(batches),
    ]


def _tasks(batches: Batches) -> list[Route]:
    """Qianfan's shapes."""

    async def create(call: Call[batch_inference.CreateBatchInferenceTask]) -> Reply:
        batch = await batches.create(call.principal.app_id, "qianfan", _order(call.request))
        return success(batch_inference.CreatedInferenceTask(batch.id))

    async def show(call: Call[batch_inference.NamedInferenceTask]) -> Reply:
        task = _task(*await batches.get(call.request.taskId, call.principal.app_id))
        return Reply(
            batch_inference.ShownInferenceTask(
                requestId=str(uuid4()),
                result=task,
                runStatus=task.runStatus,
                progress=task.progress,
            )
        )

    async def list_all(call: Call[batch_inference.DescribeBatchInferenceTasks]) -> Reply:
        asked = call.request
        unknown = set(asked.runStatus) - _STATES
        if unknown:
            raise Invalid(
                f"runStatus must be of {', '.join(sorted(_STATES))}; got {sorted(unknown)[0][:32]!r}",
                param="runStatus",
            )
        count = asked.maxKeys or DEFAULT_PAGE
        after, found, more = asked.marker or None, list[Any](), True
        while more and len(found) <= count:
            page, more = await batches.page(
                call.principal.app_id, "qianfan", after, 100, newest_first=bool(asked.pageReverse)
            )
            tasks = [_task(batch, job) for batch, job in page]
            found += [
                task for task in tasks if not asked.runStatus or task.runStatus in asked.runStatus
            ]
            after = page[-1][0].id if page else None
        truncated = len(found) > count
        return success(
            batch_inference.BatchInferenceTasks(
                found[:count],
                PageInfo(
                    marker=asked.marker or "",
                    maxKeys=count,
                    isTruncated=truncated,
                    nextMarker=found[count - 1].taskId if truncated else UNSET,
                ),
            )
        )

    async def stop(call: Call[batch_inference.NamedInferenceTask]) -> Reply:
        await batches.pause(call.request.taskId, call.principal.app_id)
        return success(result=True)

    async def resume(call: Call[batch_inference.NamedInferenceTask]) -> Reply:
        await batches.resume(call.request.taskId, call.principal.app_id)
        return success(result=True)

    return [
        Route(batch_inference.CREATE, create),
        Route(batch_inference.SHOW, show),
        Route(batch_inference.LIST, list_all),
        Route(batch_inference.STOP, stop),
        Route(batch_inference.RESUME, resume),
    ]


def _order(asked: batch_inference.CreateBatchInferenceTask) -> Order:
    if asked.afsConfig is not None:
        user = asked.afsConfig.get("userName")
        raise Invalid(
            f"param[userName] invalid: this platform reaches no AFS (user {str(user)[:32]!r}); give inputBosUri and"
            " outputBosUri, or inputFileId",
            param="afsConfig",
        )
    window = asked.completion_window or ""
    if window not in {"", DEFAULT_WINDOW}:
        raise Invalid(
            f"completion_window must be {DEFAULT_WINDOW} or left out, got {window[:16]!r}",
            param="completion_window",
        )
    if not asked.inputFileId:
        for name in ("inputBosUri", "outputBosUri"):
            if not str(getattr(asked, name)).startswith(("bos:/", "s3:/")):
                raise Invalid(
                    f"param[{name}] invalid: it is a folder such as bos:/BUCKET/FOLDER, or give inputFileId",
                    param=name,
                )
    if not (asked.modelId or asked.endpoint):
        raise Invalid("param[modelId] invalid: give modelId or endpoint", param="modelId")
    if asked.endpoint:
        suffix = urlsplit(asked.endpoint).path.rstrip("/").rpartition("/")[2]
        if not suffix:
            raise Invalid(
                "param[endpoint] invalid: it is the URL of a service, or its last part",
                param="endpoint",
            )
        model = suffix
    else:
        model = asked.modelId
    return Order(
        endpoint="/v2/chat/completions",
        input_file_id=asked.inputFileId,
        window=window,
        name=asked.name,
        description=asked.description,
        model=model,
        model_id=asked.modelId,
        parameters={
            **asked.inferenceParams,
            **({"endpoint_url": asked.endpoint} if asked.endpoint else {}),
        },
        input_uri=asked.inputBosUri,
        output_uri=asked.outputBosUri,
        options=asked.engineOptions,
    )


def _run_status(batch: Batch, job: Job | None) -> batch_inference.RunStatus:
    if batch.state in FINAL:
        if batch.state in {"cancelled", "expired"}:
            return "Stopped"
        return "Done" if batch.state == "completed" else "Failed"
    if job is not None:
        if job.state == "paused":
            return "Stopped"
        if job.desired != "run" and not job.final:
            return "Stopping"
        if job.state == "queued" and not batch.outcome.total:
            return "Queuing"
    return "Running"


def _task(batch: Batch, job: Job | None) -> batch_inference.BatchInferenceTask:
    order, outcome = batch.order, batch.outcome
    parameters = dict(order.parameters)
    endpoint = parameters.pop("endpoint_url", "")
    finished = outcome.at.get(batch.state) if batch.state in FINAL else None
    return batch_inference.BatchInferenceTask(
        taskId=batch.id,
        name=order.name or batch.id,
        description=order.description,
        endpoint=endpoint or UNSET,
        modelId=order.model_id or UNSET,
        runStatus=_run_status(batch, job),
        inferenceParams=parameters,
        inputBosUri=order.input_uri,
        outputBosUri=order.output_uri,
        outputDir=batch.id if order.output_uri else "",
        progress=outcome.completed + outcome.failed,
        createTime=moment(batch.created_ms),
        finishTime=_NEVER if finished is None else moment(finished),
        inputTokenUsage=outcome.prompt_tokens,
        outputTokenUsage=outcome.completion_tokens,
        creator=batch.app_id,
        inputFileId=order.input_file_id or UNSET,
        outputFileId=outcome.output_file_id or UNSET,
        message=outcome.refused[0].message if outcome.refused else _note(job),
        jobId=batch.job_id,
    )


def _note(job: Job | None) -> str | UnsetType:
    """What it waits for."""
    return job.progress.note or UNSET if job is not None and not job.final else UNSET


def _batch(batch: Batch, job: Job | None) -> wire.Batch:
    order, outcome = batch.order, batch.outcome
    cancelling = job is not None and not job.final and job.desired == "cancel"
    cancelling = cancelling or (batch.state == "finalizing" and outcome.end == "cancelled")
    shown = wire.Batch(
        id=batch.id,
        endpoint=order.endpoint,
        errors=wire.BatchRefusals(
            [
                wire.BatchRefusal(
                    code=each.code, message=each.message, param=each.param, line=each.line
                )
                for each in outcome.refused
            ]
        )
        if outcome.refused
        else None,
        input_file_id=order.input_file_id,
        completion_window=order.window or DEFAULT_WINDOW,
        status="cancelling" if cancelling else batch.state,
        output_file_id=outcome.output_file_id or None,
        error_file_id=outcome.error_file_id or None,
        created_at=batch.created_ms // 1000,
        expires_at=batch.expires_ms // 1000 or None,
        request_counts=wire.RequestCounts(outcome.total, outcome.completed, outcome.failed),
        usage=wire.BatchUsage(
            input_tokens=outcome.prompt_tokens,
            output_tokens=outcome.completion_tokens,
            total_tokens=outcome.prompt_tokens + outcome.completion_tokens,
        ),
        metadata=order.metadata,
        job_id=batch.job_id,
    )
    for state, ms in outcome.at.items():
        if state != "validating":
            setattr(shown, f"{state}_at", ms // 1000)
    if cancelling or batch.state == "cancelled":
        shown.cancelling_at = shown.finalizing_at
    return shown


def _expiry(given: dict[str, Any] | None) -> int:
    if given is None:
        return 0
    return expires_seconds_of(given.get("anchor"), given.get("seconds"), "output_expires_after")


def _check_metadata(metadata: dict[str, str]) -> None:
    for key, value in metadata.items():
        if len(key) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            raise Invalid(
                f"metadata has keys of at most {MAX_METADATA_KEY} characters and values of at most"
                f" {MAX_METADATA_VALUE}; {key[:32]!r} is longer",
                param="metadata",
            )


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LISTED
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= wire.MAX_LISTED):
        raise Invalid(
            f"limit must be a whole number in [1, {wire.MAX_LISTED}], got {text[:32]!r}",
            param="limit",
        )
    return int(text)
