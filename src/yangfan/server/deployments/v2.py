"""v2: the Actions of /v2/service (specification D.4), and ours in their style."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan.errors import Invalid
from yangfan.protocol.v2 import services as wire
from yangfan.server.deployments.logic import MAX_REPLICAS, New
from yangfan.server.deployments.runner import FLEET
from yangfan.server.deployments.types import Filter
from yangfan.server.deployments.urls import url_of
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.server.access import Access
    from yangfan.server.deployments.logic import Deployments
    from yangfan.server.deployments.types import DeploymentState, View
    from yangfan.server.services import Services
    from yangfan.server.usage import Usage

DEFAULT_PAGE = 10
ALL = 1000
_RUN_STATUSES = frozenset({"New", "Deploying", "Serving", "Failed", "Stopped"})
_CHANGES = {
    "name": "name",
    "description": "description",
    "idleSeconds": "idle_seconds",
    "priority": "priority",
    "fallback": "fallback",
    "qps": "qps",
}
DAY_SECONDS = 86_400


def routes(
    deployments: Deployments, services: Services, access: Access, usage: Usage
) -> list[Route]:
    """What this file answers."""
    return [
        *_qianfan_routes(deployments, services, access, usage),
        *_own_routes(deployments),
    ]


def _qianfan_routes(
    deployments: Deployments, services: Services, access: Access, usage: Usage
) -> list[Route]:
    async def create(call: Call[wire.CreateService]) -> Reply:
        wanted = call.request
        resources = wanted.resourceConfig or wanted.deploymentConfig or wire.ResourceConfig()
        view = await deployments.create(
            New(
                reference=wanted.modelId,
                set_id=wanted.modelSetId or "",
                name=wanted.name or "",
                suffix=wanted.urlSuffix or "",
                description=wanted.description or "",
                replicas=_replicas(resources),
                warm=wanted.loadPolicy != "onDemand",
                idle_seconds=wanted.idleSeconds,
                priority=wanted.priority or 0,
                fallback=wanted.fallback or "",
                protocol_version=wanted.protocolVersion or 1,
                resource_type=resources.type or "",
                qps=resources.qps or 0.0,
                options=wanted.engineOptions or {},
                memory_bytes=wanted.memoryBytes,
                creator=call.principal.key_id,
            )
        )
        instance = f"unit-{view.service.id.removeprefix('svco-')}"
        return success(wire.CreatedService(view.service.id, instance))

    async def list_all(call: Call[wire.DescribeServices]) -> Reply:
        wanted = call.request
        count = wanted.maxKeys or DEFAULT_PAGE
        views, next_id = await deployments.page(
            _filter(wanted),
            wanted.marker or None,
            count,
            newest_first=bool(wanted.pageReverse),
        )
        info = wire.PageInfo(
            marker=wanted.marker or "",
            maxKeys=count,
            isTruncated=next_id is not None,
            nextMarker=UNSET if next_id is None else next_id,
        )
        listed = [_service(view, call.scope) for view in views]
        return success(wire.ServiceList(serviceList=listed, pageInfo=info))

    async def show(call: Call[wire.NamedService]) -> Reply:
        return success(_service(await deployments.get(call.request.serviceId), call.scope))

    async def metric(call: Call[wire.DescribeServiceMetric]) -> Reply:
        return success(await _metrics(call.request, deployments, access, usage))

    async def modify(call: Call[wire.ModifyService]) -> Reply:
        wanted = call.request
        changes: dict[str, Any] = {
            column: value
            for field, column in _CHANGES.items()
            if (value := getattr(wanted, field)) is not UNSET
        }
        if wanted.loadPolicy is not UNSET:
            changes["warm"] = wanted.loadPolicy == "warm"
        if wanted.modelId is None and not changes:
            raise Invalid(
                "name a modelId to roll over to, or something to change: name, description, loadPolicy, idleSeconds, priority,"
                " fallback, qps",
                param="modelId",
            )
        if changes:
            await deployments.update(wanted.serviceId, changes)
        if wanted.modelId is not None:
            await deployments.rollout(
                wanted.serviceId, wanted.modelId, set_id=wanted.modelSetId or ""
            )
        return success(True)  # noqa: FBT003 - the result of the Action

    async def presets(call: Call[wire.DescribePresetServices]) -> Reply:
        found = _presets(call.request, services, call.scope)
        return success(wire.PresetServiceList(serviceList=found))

    def no_body(body: bytes, scope: Mapping[str, Any]) -> bytes:
        del scope
        return body or b"{}"

    return [
        Route(wire.CREATE_SERVICE, create),
        Route(wire.DESCRIBE_SERVICES, list_all, body=no_body),
        Route(wire.DESCRIBE_SERVICE, show),
        Route(wire.DESCRIBE_SERVICE_METRIC, metric),
        Route(wire.MODIFY_SERVICE, modify),
        Route(wire.DESCRIBE_PRESET_SERVICES, presets, body=no_body),
    ]


def _own_routes(deployments: Deployments) -> list[Route]:
    async def stop(call: Call[wire.NamedService]) -> Reply:
        await deployments.stop_service(call.request.serviceId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def start(call: Call[wire.NamedService]) -> Reply:
        await deployments.start_service(call.request.serviceId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def delete(call: Call[wire.NamedService]) -> Reply:
        await deployments.remove(call.request.serviceId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def scale(call: Call[wire.ScaleService]) -> Reply:
        await deployments.scale(call.request.serviceId, call.request.replicasCount)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def rollout(call: Call[wire.RolloutService]) -> Reply:
        wanted = call.request
        await deployments.rollout(
            wanted.serviceId,
            wanted.modelId,
            set_id=wanted.modelSetId or "",
            weight=wanted.weight,
            replicas=wanted.replicasCount,
            options=wanted.engineOptions,
            memory_bytes=wanted.memoryBytes,
            bake_seconds=wanted.bakeSeconds,
        )
        return success(True)  # noqa: FBT003 - the result of the Action

    async def promote(call: Call[wire.NamedService]) -> Reply:
        await deployments.promote(call.request.serviceId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def rollback(call: Call[wire.NamedService]) -> Reply:
        await deployments.rollback(call.request.serviceId)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def logs(call: Call[wire.DescribeServiceLogs]) -> Reply:
        found = await deployments.logs(call.request.serviceId, call.request.tailBytes)
        listed = [wire.EngineLog(engine=name, text=text) for name, text in found]
        return success(wire.ServiceLogs(logList=listed))

    async def events(call: Call[wire.DescribeServiceEvents]) -> Reply:
        wanted = call.request
        found = await deployments.events(wanted.serviceId, wanted.marker, wanted.maxKeys)
        listed = [
            wire.ServiceEvent(
                number=event.number,
                time=moment(event.at_ms),
                kind=event.kind,
                message=event.message,
            )
            for event in found
        ]
        return success(wire.ServiceEvents(eventList=listed))

    return [
        Route(wire.STOP_SERVICE, stop),
        Route(wire.START_SERVICE, start),
        Route(wire.DELETE_SERVICE, delete),
        Route(wire.SCALE_SERVICE, scale),
        Route(wire.ROLLOUT_SERVICE, rollout),
        Route(wire.PROMOTE_SERVICE, promote),
        Route(wire.ROLLBACK_SERVICE, rollback),
        Route(wire.DESCRIBE_SERVICE_LOGS, logs),
        Route(wire.DESCRIBE_SERVICE_EVENTS, events),
    ]


def _replicas(resources: wire.ResourceConfig) -> int:
    if resources.replicasCount is not None:
        return resources.replicasCount
    units = resources.deploymentComputeUnitList or ()
    count = sum(unit.deploymentReplicasCount or 0 for unit in units) or 1
    if count > MAX_REPLICAS:
        raise Invalid(
            f"the units have {count} replicas together; a service has {MAX_REPLICAS} at most",
            param="deploymentConfig.deploymentComputeUnitList",
        )
    return count


def _presets(
    wanted: wire.DescribePresetServices, services: Services, scope: Mapping[str, Any]
) -> list[wire.PresetService]:
    types = _folded(wanted.serviceType)
    free = all(not asked or "Free" in asked for asked in (wanted.chargeType, wanted.chargeStatus))
    return [
        wire.PresetService(
            serviceId=f"svco-{listed.suffix}",
            name=listed.name,
            url=url_of(scope, listed.type, listed.suffix),
            serviceType=listed.type,
            runStatus="Serving",
            chargeType="Free",
            chargeStatus="Free",
            model=listed.service.name,
        )
        for listed in services.offered(apart_from=FLEET)
        if free
        and (types is None or listed.type.casefold() in types)
        and (not wanted.serviceIds or f"svco-{listed.suffix}" in wanted.serviceIds)
    ]


def _filter(wanted: wire.DescribeServices) -> Filter:
    statuses = None if not wanted.runStatus else frozenset(wanted.runStatus)
    if statuses is not None and not statuses <= _RUN_STATUSES:
        unknown = ", ".join(sorted(statuses - _RUN_STATUSES))
        raise Invalid(
            f"runStatus is made of {', '.join(sorted(_RUN_STATUSES))}; there is no {unknown[:100]}",
            param="runStatus",
        )
    creators = [wanted.creator] if isinstance(wanted.creator, str) else wanted.creator
    return Filter(
        name=wanted.name or None,
        types=_folded(wanted.serviceType),
        statuses=statuses,
        creators=frozenset(creators) if creators else None,
        protocol_version=wanted.protocolVersion,
    )


def _folded(texts: Sequence[str] | None) -> frozenset[str] | None:
    return frozenset(text.casefold() for text in texts) if texts else None


def _service(view: View, scope: Mapping[str, Any]) -> wire.Service:
    service, stable = view.service, view.stable
    return wire.Service(
        serviceId=service.id,
        modelId=stable.set_id,
        modelVersionId=stable.reference,
        name=service.name,
        description=service.description,
        url=url_of(scope, service.type, service.suffix),
        serviceType=service.type,
        runStatus=view.status,
        chargeStatus="Free",
        resourceConfig=wire.ResourceConfig(
            type=service.resource_type or None,
            qps=service.qps or None,
            replicasCount=stable.replicas,
        ),
        protocolVersion=service.protocol_version,
        creator=service.creator,
        createTime=moment(service.created_ms),
        modifyTime=moment(service.modified_ms),
        serviceNumber=service.number,
        urlSuffix=service.suffix,
        failedReason=view.reason,
        loadPolicy="warm" if service.warm else "onDemand",
        loaded=view.loaded,
        idleSeconds=UNSET if service.idle_seconds is None else service.idle_seconds,
        priority=service.priority,
        fallback=service.fallback,
        deployments=[_deployment(state) for state in view.deployments],
    )


def _deployment(state: DeploymentState) -> wire.Deployment:
    row = state.deployment
    return wire.Deployment(
        deploymentId=row.id,
        role=row.role,
        modelSetId=row.set_id,
        modelId=row.reference,
        weight=row.weight,
        replicasCount=row.replicas,
        readyCount=state.ready,
        generation=row.generation,
        engineOptions=dict(row.options),
        memoryBytes=UNSET if row.memory_bytes is None else row.memory_bytes,
        loadingSeconds=UNSET if state.loading_seconds is None else round(state.loading_seconds, 1),
        expectedSeconds=round(row.load_seconds, 1) if row.load_seconds else UNSET,
        failedReason=state.error,
    )


async def _metrics(
    wanted: wire.DescribeServiceMetric, deployments: Deployments, access: Access, usage: Usage
) -> wire.ServiceMetrics:
    first, last = _day(wanted.startTime, "startTime"), _day(wanted.endTime, "endTime")
    if first > last:
        raise Invalid("startTime must not be after endTime", param="startTime")
    if wanted.serviceId:
        views = [await deployments.get(key) for key in dict.fromkeys(wanted.serviceId)]
    else:
        views, _ = await deployments.page(Filter(), None, ALL)
    apps = {key.id: key.app_id for key in access.all()}
    found: dict[tuple[str, str], wire.Metric] = {}
    by_suffix = {view.service.suffix: view.service.id for view in views}
    for key, count in (await usage.ledger.counts(first, last)).items():
        service_id = by_suffix.get(key.model)
        if service_id is not None:
            metric = found.setdefault((service_id, apps.get(key.key_id, "")), wire.Metric())
            metric.inputTokensTotal += count.prompt_tokens
            metric.outputTokensTotal += count.completion_tokens
            metric.tokensTotal += count.total_tokens
            metric.succeedCallTotal += count.requests
    failures = await deployments.failures(first, last, [view.service.id for view in views])
    for (service_id, key_id), calls in failures.items():
        metric = found.setdefault((service_id, apps.get(key_id, "")), wire.Metric())
        metric.failureCallTotal += calls
    for metric in found.values():
        metric.callTotal = metric.succeedCallTotal + metric.failureCallTotal
    listed = [
        wire.ServiceMetric(
            serviceId=view.service.id,
            serviceName=view.service.name,
            appList=[
                wire.AppMetric(appId=app_id, metric=metric)
                for (service_id, app_id), metric in sorted(found.items(), key=lambda item: item[0])
                if service_id == view.service.id and wanted.appId in {None, app_id}
            ],
        )
        for view in views
    ]
    return wire.ServiceMetrics(
        startTime=wanted.startTime, endTime=wanted.endTime, serviceList=listed
    )


def _day(text: str, param: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{param} must be a time such as 2026-01-31T00:00:00Z, got {text[:40]!r}", param=param
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment.astimezone(UTC).date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days
