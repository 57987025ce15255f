"""v2: /v2/promptTemplates?Action=…PromptOptimization (specification D.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.protocol.v2 import prompt_work as wire
from yangfan.server.evaluation.v1_prompts import order_of, shown
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import success

if TYPE_CHECKING:
    from yangfan.server.evaluation.optimising import Optimisations


def routes(optimisations: Optimisations) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[wire.CreateOptimisation]) -> Reply:
        id = await optimisations.create(call.principal.app_id, order_of(call.request))
        return success(wire.NamedOptimization(id))

    async def show(call: Call[wire.NamedOptimization]) -> Reply:
        id = call.request.taskId
        return success(shown(id, await optimisations.get(id, call.principal.app_id)))

    async def stop(call: Call[wire.NamedOptimization]) -> Reply:
        await optimisations.stop(call.request.taskId, call.principal.app_id)
        return success(result=True)

    return [
        Route(wire.OPTIMISE, create),
        Route(wire.OPTIMISATION, show),
        Route(wire.STOP, stop),
    ]
