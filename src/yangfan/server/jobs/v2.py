"""v2: the platform's own Actions on jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from yangfan.protocol.v2 import jobs as wire
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.actions import moment, success
from yangfan.server.jobs.logic import LOG_PAGE_LINES
from yangfan.server.jobs.types import BEFORE_ALL, LogPlace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from yangfan.server.jobs.logic import Jobs
    from yangfan.server.jobs.types import Job, LogLine


def routes(jobs: Jobs) -> list[Route]:
    """What this file answers."""

    async def describe_all(call: Call[wire.DescribeJobs]) -> Reply:
        request = call.request
        wanted = {"kind": request.kind, "state": request.state, "subject": request.subject}
        found = await jobs.list(
            after=request.marker,
            limit=request.maxKeys + 1,
            **{name: value for name, value in wanted.items() if value is not None},
        )
        page = found[: request.maxKeys]
        more = page[-1].id if len(found) > len(page) else UNSET
        return success(wire.JobList(items=[_wire(job) for job in page], nextMarker=more))

    async def describe(call: Call[wire.NamedJob]) -> Reply:
        return success(_wire(await jobs.get(call.request.id)))

    async def logs(call: Call[wire.DescribeJobLogs]) -> Reply:
        request = call.request
        await jobs.get(request.id)
        found = await jobs.log(request.id, after=_place(request.marker), limit=request.maxKeys + 1)
        page = [_line(line) for line in found[: request.maxKeys]]
        more = page[-1].marker if len(found) > len(page) else UNSET
        return success(wire.JobLog(items=page, nextMarker=more))

    async def watch(call: Call[wire.WatchJob]) -> Stream:
        await jobs.get(call.request.id)
        return Stream(_events(jobs, call.request))

    async def cancel(call: Call[wire.NamedJob]) -> Reply:
        return success(_wire(await jobs.cancel(call.request.id)))

    async def pause(call: Call[wire.NamedJob]) -> Reply:
        return success(_wire(await jobs.pause(call.request.id)))

    async def resume(call: Call[wire.NamedJob]) -> Reply:
        return success(_wire(await jobs.resume(call.request.id)))

    async def delete(call: Call[wire.NamedJob]) -> Reply:
        await jobs.delete(call.request.id)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.DESCRIBE_JOBS, describe_all, body=lambda body, _scope: body or b"{}"),
        Route(wire.DESCRIBE_JOB, describe),
        Route(wire.DESCRIBE_JOB_LOGS, logs),
        Route(wire.WATCH_JOB, watch),
        Route(wire.CANCEL_JOB, cancel),
        Route(wire.PAUSE_JOB, pause),
        Route(wire.RESUME_JOB, resume),
        Route(wire.DELETE_JOB, delete),
    ]


async def _events(jobs: Jobs, wanted: wire.WatchJob) -> AsyncGenerator[wire.JobEvent]:
    """The job at each change; before a final state is told, every line is."""
    place = _place(wanted.marker)
    async for job in jobs.watch(wanted.id):
        while True:
            lines = await jobs.log(wanted.id, after=place) if wanted.logs else ()
            place = lines[-1].place if lines else place
            if len(lines) < LOG_PAGE_LINES:
                break
            yield wire.JobEvent(job=_wire(job), lines=[_line(line) for line in lines])
        yield wire.JobEvent(job=_wire(job), lines=[_line(line) for line in lines])


def _wire(job: Job) -> wire.Job:
    progress = job.progress
    return wire.Job(
        id=job.id,
        kind=job.kind,
        subject=job.subject,
        state=job.state,
        desired=job.desired,
        progress=wire.JobProgress(
            done=progress.done,
            total=UNSET if progress.total is None else progress.total,
            unit=progress.unit,
            note=progress.note,
        ),
        attempts=job.attempts,
        maxAttempts=job.max_attempts,
        error=UNSET if job.error is None else wire.JobFailure(job.error.code, job.error.message),
        result=UNSET if job.result is None else job.result,
        createTime=_iso(job.created_ms),
        startTime=_time(job.started_ms),
        finishTime=_time(job.finished_ms),
    )


def _line(line: LogLine) -> wire.JobLogLine:
    place = line.place
    return wire.JobLogLine(
        marker=f"{place.fence}.{place.number}",
        attempt=place.fence,
        time=_iso(line.at_ms),
        text=line.text,
    )


def _place(marker: str | None) -> LogPlace:
    if marker is None:
        return BEFORE_ALL
    fence, _, number = marker.partition(".")
    return LogPlace(int(fence), int(number))


def _time(ms: int | None) -> str | UnsetType:
    return UNSET if ms is None else _iso(ms)


def _iso(ms: int) -> str:
    return moment(ms)
