"""What workers ask (`yangfan.protocol.worker`): each call carries a token that opens one job at one fence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.protocol import worker as wire
from yangfan.protocol.endpoint import Endpoint
from yangfan.server.http import Call, Reply, Route
from yangfan.server.jobs.types import JobError, Progress

if TYPE_CHECKING:
    import msgspec

    from yangfan.server.jobs.leases import Leases
    from yangfan.server.jobs.tokens import JobMint
    from yangfan.server.jobs.types import Job


def routes(leases: Leases, mint: JobMint) -> list[Route]:
    """What this file answers. The gateway asks for no credentials here; `claimed` does."""

    def claimed(call: Call[Any]) -> tuple[str, int]:
        found = mint.claimed(call.scope["headers"])
        return found.job_id, found.fence

    async def start(call: Call[wire.StartJob]) -> Reply:
        job = await leases.start(*claimed(call))
        return Reply(
            wire.StartedJob(
                kind=job.kind,
                spec=job.spec,
                state=job.checkpoint,
                saves=job.saves,
                attempt=job.attempts,
                lease_seconds=leases.lease_seconds,
                desired=job.desired,
                token=mint.issue(job.id, job.fence, job.account, job.kind),
            )
        )

    async def beat(call: Call[wire.Beat]) -> Reply:
        now = call.request.progress
        job = await leases.beat(
            *claimed(call),
            None if now is None else Progress(now.done, now.total, now.unit, now.note),
            [(line.number, line.at_ms, line.text) for line in call.request.lines],
        )
        return Reply(
            wire.Beaten(
                desired=job.desired, token=mint.issue(job.id, job.fence, job.account, job.kind)
            )
        )

    async def save(call: Call[wire.SaveState]) -> Reply:
        return _settled(await leases.save(*claimed(call), call.request.number, call.request.state))

    async def finish(call: Call[wire.FinishJob]) -> Reply:
        return _settled(await leases.finish(*claimed(call), call.request.result))

    async def fail(call: Call[wire.FailJob]) -> Reply:
        error = JobError(call.request.code, call.request.message)
        return _settled(await leases.fail(*claimed(call), error, retryable=call.request.retryable))

    async def stop(call: Call[wire.StopJob]) -> Reply:
        return _settled(await leases.stop(*claimed(call)))

    return [
        Route(worker_endpoint(wire.PATH, wire.StartJob, wire.StartedJob), start),
        Route(worker_endpoint(wire.PATH, wire.Beat, wire.Beaten), beat),
        Route(worker_endpoint(wire.PATH, wire.SaveState, wire.Settled), save),
        Route(worker_endpoint(wire.PATH, wire.FinishJob, wire.Settled), finish),
        Route(worker_endpoint(wire.PATH, wire.FailJob, wire.Settled), fail),
        Route(worker_endpoint(wire.PATH, wire.StopJob, wire.Settled), stop),
    ]


def worker_endpoint(
    path: str, request: type[msgspec.Struct], reply: type[msgspec.Struct]
) -> Endpoint[Any, Any]:
    """One call of workers under `path`, named by its request; whoever answers it looks at the token itself (`JobMint.claimed`)."""
    return Endpoint(
        name=f"internal.{request.__name__}",
        dialect="action",
        method="POST",
        path=path,
        action=request.__name__,
        request=request,
        reply=reply,
        auth="none",
    )


def _settled(job: Job) -> Reply:
    return Reply(wire.Settled(job.state))
