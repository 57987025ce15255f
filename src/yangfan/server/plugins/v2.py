"""v2: the plugins that there are, and the Actions of /v2/plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.errors import NotFound, PluginFailed
from yangfan.protocol.v2 import plugins as wire
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success
from yangfan.server.plugins.bridges import Wanted

if TYPE_CHECKING:
    from yangfan.plugins.base import Plugin
    from yangfan.server.plugins.bridges import Bridges
    from yangfan.server.plugins.logic import Plugins
    from yangfan.server.plugins.types import Application, Bridge


def routes(plugins: Plugins) -> list[Route]:
    """What this file answers."""

    async def installed(call: Call[None]) -> Reply:
        return Reply(wire.PluginList(data=await _listed(plugins, call.principal.app_id)))

    async def one(call: Call[None]) -> Reply:
        name = call.params["plugin"]
        for each in await _listed(plugins, call.principal.app_id):
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
            mode=wanted.mode,
            limits=_limits(wanted),
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
            mode=wanted.mode,
            **_limits(wanted),
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
        *_bridge_routes(plugins.bridges),
    ]


def _bridge_routes(bridges: Bridges) -> list[Route]:
    async def create(call: Call[wire.CreateBridge]) -> Reply:
        wanted = call.request
        made = await bridges.create(
            call.principal.app_id,
            Wanted(
                id=wanted.id,
                kind=wanted.kind,
                document=wanted.document,
                url=wanted.url,
                program=wanted.program,
                base_url=wanted.baseUrl,
                auth=wanted.auth,
                auth_name=wanted.authName,
                secret=wanted.secret,
                title=wanted.title,
            ),
        )
        return success(_bridge(made))

    async def describe(call: Call[wire.DescribeBridges]) -> Reply:
        found = await bridges.all(call.principal.app_id)
        return success(wire.BridgeList([*map(_bridge, found)]))

    async def modify(call: Call[wire.ModifyBridge]) -> Reply:
        wanted = call.request
        changed = await bridges.modify(
            call.principal.app_id, wanted.id, secret=wanted.secret, document=wanted.document
        )
        return success(_bridge(changed))

    async def delete(call: Call[wire.NamedBridge]) -> Reply:
        await bridges.remove(call.principal.app_id, call.request.id)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def call_tool(call: Call[wire.CallTool]) -> Reply:
        wanted = call.request
        bridge = await bridges.get(call.principal.app_id, call.params["plugin"])
        tool = next((each for each in bridge.tools if each.name == wanted.tool), None)
        if tool is None:
            known = ", ".join(each.name for each in bridge.tools)
            raise NotFound(f"{bridge.id} has no tool {wanted.tool!r}; it has {known}")
        try:
            told = await bridges.call(bridge, tool, wanted.inputs)
        except PluginFailed as error:
            return Reply(wire.ToolAnswer(text=error.message, failed=True))
        return Reply(wire.ToolAnswer(text=told.text, failed=told.failed))

    return [
        Route(wire.CREATE_BRIDGE, create),
        Route(wire.LIST_BRIDGES, describe),
        Route(wire.MODIFY_BRIDGE, modify),
        Route(wire.DELETE_BRIDGE, delete),
        Route(wire.CALL, call_tool),
    ]


def _limits(wanted: wire.CreatePluginApplication | wire.ModifyPluginApplication) -> dict[str, int]:
    limits = {
        "max_steps": wanted.maxSteps,
        "max_tokens": wanted.maxTokens,
        "max_seconds": wanted.maxSeconds,
    }
    return {name: value for name, value in limits.items() if value is not None}


def _bridge(bridge: Bridge) -> wire.Bridge:
    return wire.Bridge(
        id=bridge.id,
        kind=bridge.kind,
        title=bridge.title,
        description=bridge.description,
        address=bridge.address,
        auth=bridge.auth,
        authName=bridge.auth_name,
        hasSecret=bool(bridge.secret),
        tools=[wire.PluginTool(each.name, each.description, each.inputs) for each in bridge.tools],
        leftOut=[*bridge.left_out],
        createTime=moment(bridge.created_ms),
        readTime=moment(bridge.read_ms),
    )


async def _listed(plugins: Plugins, app_id: str) -> list[wire.PluginFacts]:
    catalogue = plugins.catalogue
    return [
        *map(_facts, catalogue.all),
        *map(_bridged, await plugins.bridges.all(app_id)),
        *(_broken(*each) for each in catalogue.broken.items()),
    ]


def _bridged(bridge: Bridge) -> wire.PluginFacts:
    title = bridge.title or bridge.id
    return wire.PluginFacts(
        id=bridge.id,
        version="",
        origin=bridge.kind,
        state="ready",
        name=wire.PluginTexts(title, title),
        description=wire.PluginTexts(bridge.description, bridge.description),
        tools=[wire.PluginTool(each.name, each.description, each.inputs) for each in bridge.tools],
        permissions=["network"],
    )


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
        mode=application.mode,
        maxSteps=application.max_steps,
        maxTokens=application.max_tokens,
        maxSeconds=application.max_seconds,
        createTime=moment(application.created_ms),
    )
