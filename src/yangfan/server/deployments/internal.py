"""What workers ask of the `Lender` (`yangfan.protocol.worker`): each call carries a token that opens one job at one fence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.errors import YangfanError
from yangfan.protocol import worker as wire
from yangfan.protocol.endpoint import Endpoint
from yangfan.server.deployments.lending import Borrower
from yangfan.server.http import Call, Reply, Route

if TYPE_CHECKING:
    import msgspec

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
        Route(_endpoint(wire.BorrowModel, wire.BorrowedModel), borrow),
        Route(_endpoint(wire.ReturnModel, wire.ReturnedModel), give_back),
    ]


def _endpoint(request: type[msgspec.Struct], reply: type[msgspec.Struct]) -> Endpoint[Any, Any]:
    return Endpoint(
        name=f"internal.{request.__name__}",
        dialect="action",
        method="POST",
        path=wire.MODELS_PATH,
        action=request.__name__,
        request=request,
        reply=reply,
        auth="none",
    )
