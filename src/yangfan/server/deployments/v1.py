"""v1: services as `/wenxinworkshop/service/…` tells of them (specification D.3)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from yangfan.protocol.v1 import services as wire
from yangfan.server.deployments.logic import New
from yangfan.server.deployments.runner import FLEET
from yangfan.server.deployments.types import Filter
from yangfan.server.deployments.urls import listed_url_of, url_of
from yangfan.server.http import Call, Reply, Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from yangfan.protocol.presets import PresetType
    from yangfan.server.access import Access
    from yangfan.server.deployments.logic import Deployments
    from yangfan.server.deployments.types import View
    from yangfan.server.services import Services

ALL = 1000
"""Most services of callers in one list: it has no pages."""

_MODEL_TYPES: Mapping[PresetType, int] = {
    "chat": 0,
    "completions": 0,
    "text2image": 1,
    "embeddings": 4,
    "reranker": 4,
    "image2text": 5,
}


def routes(deployments: Deployments, services: Services, access: Access) -> list[Route]:
    """What this file answers."""

    async def apply(call: Call[wire.ApplyService]) -> Reply:
        wanted = call.request
        view = await deployments.create(
            New(
                reference=str(wanted.modelVersionId),
                set_id=str(wanted.modelId or ""),
                name=wanted.name or "",
                suffix=wanted.uri or "",
                description=wanted.description or "",
                replicas=wanted.replicas or 1,
                creator=call.principal.key_id,
            )
        )
        applied = wire.Applied(
            result=True, serviceId=view.service.number, serviceIdStr=view.service.id
        )
        return Reply(wire.ApplyReply(_log_id(), applied))

    async def detail(call: Call[wire.ServiceDetail]) -> Reply:
        view = await deployments.get(str(call.request.serviceId))
        return Reply(wire.DetailReply(_log_id(), _detail(view, call.scope)))

    async def list_all(call: Call[wire.ListServices]) -> Reply:
        types = {*(call.request.apiTypefilter or ()), *(call.request.apiTypeFilter or ())}
        wanted = Filter(types=frozenset(types) or None)
        views, _ = await deployments.page(wanted, None, ALL)
        own = {view.service.suffix for view in views}
        common = [
            item
            for item in _presets(services, call.scope)
            if item.name not in own and (not types or item.apiType in types)
        ]
        custom = [_custom(view, call.scope) for view in views]
        return Reply(wire.ListReply(_log_id(), wire.Listed(common=common, custom=custom)))

    async def app_list(call: Call[None]) -> Reply:
        del call
        views, _ = await deployments.page(Filter(), None, ALL)
        ids = ",".join(str(view.service.number) for view in views)
        keys = {key.app_id: key.id for key in access.all() if key.kind == "oauth"}
        apps = [
            wire.ListedApp(id=app.id, name=app.name, ak=keys.get(app.id, ""), sk="", apiIds=ids)
            for app, _ in access.apps()
        ]
        return Reply(wire.AppListReply(_log_id(), wire.AppList(appList=apps)))

    def no_body(body: bytes, scope: Mapping[str, Any]) -> bytes:
        del scope
        return body or b"{}"

    return [
        Route(wire.APPLY, apply),
        Route(wire.DETAIL, detail),
        Route(wire.LIST, list_all, body=no_body),
        Route(wire.APP_LIST, app_list),
    ]


def _presets(services: Services, scope: Mapping[str, Any]) -> Iterator[wire.ListedService]:
    """Everything that is answered without a service of its own, under the names of the official SDKs."""
    for number, listed in enumerate(services.offered(apart_from=FLEET), 1):
        version = wire.ListedVersion(
            aiModelId="",
            aiModelVersionId=listed.service.name,
            trainType=listed.service.name,
            serviceStatus="Done",
        )
        yield wire.ListedService(
            serviceId=number,
            serviceUuid=f"preset-{number}",
            name=listed.name,
            url=listed_url_of(scope, listed.type, listed.suffix),
            apiType=listed.type,
            chargeStatus="FREE",
            versionList=[version],
        )


def _custom(view: View, scope: Mapping[str, Any]) -> wire.ListedService:
    service = view.service
    versions = [
        wire.ListedVersion(
            aiModelId=state.deployment.set_id,
            aiModelVersionId=state.deployment.reference,
            trainType=state.deployment.reference,
            serviceStatus=status_of(view),
        )
        for state in view.deployments
        if state.deployment.role != "previous"
    ]
    return wire.ListedService(
        serviceId=service.number,
        serviceUuid=service.id,
        name=service.name,
        url=listed_url_of(scope, service.type, service.suffix),
        apiType=service.type,
        chargeStatus="FREE",
        versionList=versions,
    )


def status_of(view: View) -> wire.ServiceStatus:
    """v1's serviceStatus."""
    if view.status == "Serving" and not view.loaded:
        return "Done"
    return view.status


def _detail(view: View, scope: Mapping[str, Any]) -> wire.Detail:
    service, stable = view.service, view.stable
    return wire.Detail(
        id=service.number,
        serviceIdStr=service.id,
        modelId=stable.set_id,
        modelName=stable.reference,
        modelType=_MODEL_TYPES[service.type],
        modelVersion=stable.reference,
        version=str(stable.generation),
        name=service.name,
        uri=service.suffix,
        fullUri=url_of(scope, service.type, service.suffix),
        serviceStatus=status_of(view),
        onlineTime=service.created_ms // 1000,
        description=service.description,
        vmConfig=wire.VMConfig(instanceCount=stable.replicas),
        qps=service.qps,
        hasDeploying=view.status == "Deploying"
        or any(state.deployment.role == "candidate" for state in view.deployments),
        creator=service.creator,
        createTime=service.created_ms // 1000,
        modifyTime=service.modified_ms // 1000,
    )


def _log_id() -> str:
    return uuid.uuid4().hex
