"""v2: the Actions of /v2/plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.protocol.v2 import plugins as wire
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success

if TYPE_CHECKING:
    from yangfan.server.plugins.logic import Plugins
    from yangfan.server.plugins.types import Application


def routes(plugins: Plugins) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[wire.CreatePluginApplication]) -> Reply:
        wanted = call.request
        made = await plugins.create(
            call.principal.app_id,
            wanted.name,
            wanted.plugins,
            model=wanted.model,
            prompt=wanted.prompt,
            base_ids=wanted.knowledgeBaseIds,
        )
        return success(_application(made))

    async def list_all(call: Call[wire.DescribePluginApplications]) -> Reply:
        found = await plugins.all(call.principal.app_id)
        return success(wire.PluginApplications([*map(_application, found)]))

    async def show(call: Call[wire.NamedPluginApplication]) -> Reply:
        return success(_application(await plugins.get(call.request.name, call.principal.app_id)))

    async def modify(call: Call[wire.ModifyPluginApplication]) -> Reply:
        wanted = call.request
        changed = await plugins.modify(
            wanted.name,
            call.principal.app_id,
            plugins=wanted.plugins,
            model=wanted.model,
            prompt=wanted.prompt,
            base_ids=wanted.knowledgeBaseIds,
        )
        return success(_application(changed))

    async def delete(call: Call[wire.NamedPluginApplication]) -> Reply:
        await plugins.delete(call.request.name, call.principal.app_id)
        return success(True)  # noqa: FBT003 - the result of the Action

    return [
        Route(wire.CREATE, create),
        Route(wire.LIST, list_all),
        Route(wire.SHOW, show),
        Route(wire.MODIFY, modify),
        Route(wire.DELETE, delete),
    ]


def _application(application: Application) -> wire.PluginApplication:
    return wire.PluginApplication(
        name=application.name,
        plugins=[*application.plugins],
        model=application.model,
        prompt=application.prompt,
        knowledgeBaseIds=[*application.base_ids],
        createTime=moment(application.created_ms),
    )
