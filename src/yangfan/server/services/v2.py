"""v2: the list of model names (specification C.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.protocol.v2.models import MODEL, MODELS, Model, ModelList
from yangfan.server.http import Call, Reply, Route

if TYPE_CHECKING:
    from yangfan.server.services.logic import Listed, Services


def routes(services: Services) -> list[Route]:
    """What this file answers."""

    async def models(call: Call[None]) -> Reply:
        del call
        return Reply(ModelList(data=[_model(listed) for listed in services.names()]))

    async def model(call: Call[None]) -> Reply:
        return Reply(_model(services.find(call.params["model"])))

    return [Route(MODELS, models), Route(MODEL, model)]


def _model(listed: Listed) -> Model:
    return Model(
        id=listed.name,
        created=listed.service.created,
        type=listed.type,
        served_by=listed.service.name,
    )
