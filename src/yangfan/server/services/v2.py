"""v2: the list of model names (specification C.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.protocol.v2.models import MODEL, MODELS, Model, ModelList
from yangfan.server.http import Call, Reply, Route

if TYPE_CHECKING:
    from yangfan.server.services.logic import Services
    from yangfan.server.services.service import Service


def routes(services: Services) -> list[Route]:
    """What this file answers."""

    async def models(call: Call[None]) -> Reply:
        del call
        return Reply(ModelList(data=[_model(name, service) for name, service in services.names()]))

    async def model(call: Call[None]) -> Reply:
        name = call.params["model"]
        return Reply(_model(name, services.resolve(name).service))

    return [Route(MODELS, models), Route(MODEL, model)]


def _model(name: str, service: Service) -> Model:
    return Model(id=name, created=service.created, type="chat", served_by=service.name)
