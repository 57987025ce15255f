"""What workers ask of the `Lender` (`yangfan.protocol.worker`): each call carries a token that opens one job at one fence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import YangfanError
from yangfan.protocol import worker as wire
from yangfan.server.deployments.lending import Borrower
from yangfan.server.http import Call, Reply, Route
from yangfan.server.jobs import worker_endpoint

if TYPE_CHECKING:
    from yangfan.server.deployments.lending import Lender
    from yangfan.server.jobs import JobMint


def routes(lender: Lender, mint: JobMint) -> list[Route]:
    """What this file answers. The gateway asks for no credentials here; `borrower` does."""

    def borrower(call: Call[Any]) -> Borrower:
        found = mint.claimed(call.scope["headers"])
        return Borrower(found.job_id, found.fence)

    async def borrow(call: Call[wire.BorrowModel]) -> Reply:
        asked, who = call.request, borrower(call)
        await lender.require(who)
        try:
            loan = await lender.borrow(who, asked.version, asked.options)
        except YangfanError as error:
            # The work goes on and says so; an HTTP status would tell the worker that it has lost its job.
            return Reply(wire.BorrowedModel(state="failed", message=error.message))
        return Reply(wire.BorrowedModel(state=loan.state, name=loan.name, message=loan.message))

    async def give_back(call: Call[wire.ReturnModel]) -> Reply:
        asked = call.request
        await lender.give_back(borrower(call), asked.version, asked.options, keep=asked.keep)
        return Reply(wire.ReturnedModel())

    return [
        Route(worker_endpoint(wire.MODELS_PATH, wire.BorrowModel, wire.BorrowedModel), borrow),
        Route(worker_endpoint(wire.MODELS_PATH, wire.ReturnModel, wire.ReturnedModel), give_back),
    ]
