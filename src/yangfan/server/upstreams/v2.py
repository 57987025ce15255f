"""v2: the platform's own Actions on upstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan.protocol.v2 import upstreams as wire
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import moment, success
from yangfan.server.upstreams.types import Upstream

if TYPE_CHECKING:
    from yangfan.server.upstreams.logic import Upstreams


def routes(upstreams: Upstreams) -> list[Route]:
    """What this file answers."""

    async def create(call: Call[wire.CreateUpstream]) -> Reply:
        request = call.request
        made = await upstreams.create(
            Upstream(
                request.name,
                request.baseUrl,
                request.dialect,
                request.apiKey,
                None if request.models is None else tuple(request.models),
                request.kinds,
                request.rename,
                request.presets,
                request.firstByteTimeoutInSeconds,
                request.idleTimeoutInSeconds,
            )
        )
        return success(_wire(upstreams, made))

    async def describe(call: Call[wire.DescribeUpstreams]) -> Reply:
        del call
        return success(wire.UpstreamList([_wire(upstreams, each) for each in upstreams.all()]))

    async def modify(call: Call[wire.ModifyUpstream]) -> Reply:
        request = call.request
        models = request.models
        wanted: dict[str, Any] = {
            "base_url": request.baseUrl,
            "dialect": request.dialect,
            "secret": request.apiKey,
            "models": tuple(models) if isinstance(models, list) else models,
            "kinds": request.kinds,
            "rename": request.rename,
            "presets": request.presets,
            "first_byte_timeout_seconds": request.firstByteTimeoutInSeconds,
            "idle_timeout_seconds": request.idleTimeoutInSeconds,
        }
        changes = {name: value for name, value in wanted.items() if value is not UNSET}
        return success(_wire(upstreams, await upstreams.modify(request.name, changes)))

    async def remove(call: Call[wire.NamedUpstream]) -> Reply:
        await upstreams.remove(call.request.name)
        return success(True)  # noqa: FBT003 - the result of the Action

    async def test(call: Call[wire.NamedUpstream]) -> Reply:
        trial = await upstreams.test(call.request.name)
        return success(
            wire.UpstreamTrial(trial.ok, trial.message, trial.models, trial.milliseconds)
        )

    return [
        Route(wire.CREATE_UPSTREAM, create),
        Route(wire.DESCRIBE_UPSTREAMS, describe, body=lambda body, _scope: body or b"{}"),
        Route(wire.MODIFY_UPSTREAM, modify),
        Route(wire.DELETE_UPSTREAM, remove),
        Route(wire.TEST_UPSTREAM, test),
    ]


def _wire(upstreams: Upstreams, upstream: Upstream) -> wire.Upstream:
    count, error = upstreams.state(upstream.name)
    return wire.Upstream(
        name=upstream.name,
        baseUrl=upstream.base_url,
        dialect=upstream.dialect,
        apiKey=upstream.masked,
        models=UNSET if upstream.models is None else list(upstream.models),
        kinds=dict(upstream.kinds),
        rename=dict(upstream.rename),
        presets=upstream.presets,
        firstByteTimeoutInSeconds=upstream.first_byte_timeout_seconds,
        idleTimeoutInSeconds=upstream.idle_timeout_seconds,
        source="database" if upstream.managed else "settings",
        modelCount=count,
        error=error,
        createTime=moment(upstream.created_ms),
    )
