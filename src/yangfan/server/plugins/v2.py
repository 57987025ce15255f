"""v2: the plugins that there are, and the Actions of /v2/plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.errors import NotFound
from yangfan.protocol.v2 import plugins as wire
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success

if TYPE_CHECKING:
    from yangfan.plugins.base import Plugin
    from yangfan.server.plugins.logic import Plugins
    from yangfan.server.plugins.types import Application


def routes(plugins: Plugins) -> list[Route]:
    """What this file answers."""

    async def installed(call: Call[None]) -> Reply:
        del call
        return Reply(wire.PluginList(data=_listed(plugins)))

    async def one(call: Call[None]) -> Reply:
        name = call.params["plugin"]
        for each in _listed(plugins):
            if each.id == name:
                return Reply(each)
        raise NotFound(f"there is no plugin {name[:64]!r}; `yangfan plugins list` shows them")

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
        Route(wire.INSTALLED, installed),
        Route(wire.INSTALLED_ONE, one),
        Route(wire.CREATE, create),
        Route(wire.LIST, list_all),
        Route(wire.SHOW, show),
        Route(wire.MODIFY, modify),
        Route(wire.DELETE, delete),
    ]


def _listed(plugins: Plugins) -> list[wire.PluginFacts]:
    catalogue = plugins.catalogue
    return [*map(_facts, catalogue.all), *(_broken(*each) for each in catalogue.broken.items())]


def _facts(plugin: Plugin) -> wire.PluginFacts:
    manifest, missing = plugin.manifest, plugin.missing
    return wire.PluginFacts(
        id=manifest.id,
        version=manifest.version,
        origin=plugin.origin,
        state="missing" if missing else "ready",
        problem=missing,
        name=wire.PluginTexts(manifest.name.zh, manifest.name.en),
        description=wire.PluginTexts(manifest.description.zh, manifest.description.en),
        tools=[wire.PluginTool(manifest.tool, manifest.told, dict(manifest.inputs))],
        question=manifest.question,
        permissions=[*manifest.permissions],
        settings=[
            wire.PluginSetting(name, setting.description, setting.secret)
            for name, setting in manifest.settings.items()
        ],
    )


def _broken(name: str, why: str) -> wire.PluginFacts:
    texts = wire.PluginTexts(name, name)
    return wire.PluginFacts(
        id=name,
        version="",
        origin="",
        state="broken",
        problem=why,
        name=texts,
        description=texts,
        tools=[],
        permissions=[],
    )


def _application(application: Application) -> wire.PluginApplication:
    return wire.PluginApplication(
        name=application.name,
        plugins=[*application.plugins],
        model=application.model,
        prompt=application.prompt,
        knowledgeBaseIds=[*application.base_ids],
        createTime=moment(application.created_ms),
    )
