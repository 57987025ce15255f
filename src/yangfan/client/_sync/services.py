# Generated from _async by scripts/unasync.py; edit there.
"""`client.services`: names in front of deployed model versions, and how they are kept running."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from yangfan.client.types import (
    JSON,
    PresetService,
    Service,
    ServiceDeployment,
    ServiceEvent,
    ServiceLog,
    ServiceUsage,
)
from yangfan.errors import Conflict, DeadlineExceeded
from yangfan.protocol.v2 import services as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yangfan.client._sync.session import Session
    from yangfan.protocol.endpoint import Endpoint

PAGE = 100
POLL_SECONDS = 0.2


class Services:
    """Names in front of deployed model versions. Every call is signed: it needs access_key and secret_access_key.

    `create`, `list`, `get`, `update` with a `model`, `metrics` and `presets` also work against Baidu's cloud; the rest is of
    Yangfan servers. A service is named by its id (``svco-…``) or, on a Yangfan server, by its suffix.
    """

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def create(  # noqa: PLR0913 - what a service is made of, one argument each
        self,
        model: str,
        suffix: str = "",
        *,
        model_set: str | None = None,
        name: str = "",
        description: str = "",
        replicas: int = 1,
        warm: bool = True,
        idle_seconds: float | None = None,
        priority: int = 0,
        fallback: str = "",
        qps: float | None = None,
        engine_options: Mapping[str, Any] | None = None,
        memory_bytes: int | None = None,
    ) -> Service:
        """Publish a model version; it answers as soon as it has loaded, see `wait`.

        Args:
            model: Id of a model version (``amv-…``), or name of a model that is on the server.
            suffix: Name in calls: 1 to 64 letters, digits, dots, dashes and underscores. One is made up by default.
            model_set: Id of its model set (``am-…``), which Baidu's cloud wants.
            name: For people; the suffix by default.
            description: For people, at most 500 characters.
            replicas: Engines side by side, 1 to 64.
            warm: Keep its engines running; otherwise the first call loads them.
            idle_seconds: Without calls for so long, engines that calls loaded are stopped; never by default.
            priority: Services with a higher one start first, -1000 to 1000.
            fallback: Name of the service or model that answers when this one cannot.
            qps: Calls a second that it takes, all callers together; more are refused with `RateLimited`. Any number by default.
            engine_options: What the engine is told: slots, threads, context_tokens and what it takes itself.
            memory_bytes: What one engine needs, where the estimate from its files is wrong.

        Raises:
            NotFound: There is no such model.
            Invalid: Something is not usable.
            Conflict: The suffix is taken, or the machine can never run it.
            Overloaded: There is no room for it now; the message says what it needs and what is free.
        """
        given: JSON = {
            "modelId": model,
            "modelSetId": model_set,
            "urlSuffix": suffix or None,
            "name": name or None,
            "description": description or None,
            "resourceConfig": {"replicasCount": replicas}
            if qps is None
            else {"replicasCount": replicas, "qps": qps},
            "loadPolicy": "warm" if warm else "onDemand",
            "idleSeconds": idle_seconds,
            "priority": priority or None,
            "fallback": fallback or None,
            "engineOptions": None if engine_options is None else dict(engine_options),
            "memoryBytes": memory_bytes,
        }
        made = self._call(wire.CREATE_SERVICE, given)
        return self.get(made.serviceId)

    def list(
        self,
        *,
        name: str | None = None,
        types: Iterable[str] | None = None,
        statuses: Iterable[str] | None = None,
    ) -> tuple[Service, ...]:
        """All services in order of creation.

        Args:
            name: Only those with this in their name or suffix.
            types: Only those for these kinds of call: chat, embeddings, reranker, text2image, image2text.
            statuses: Only those that are New, Deploying, Serving, Failed or Stopped.
        """
        body: JSON = {
            "maxKeys": PAGE,
            "name": name,
            "serviceType": None if types is None else [*types],
            "runStatus": None if statuses is None else [*statuses],
        }
        found: list[Service] = []
        while True:
            page = self._call(wire.DESCRIBE_SERVICES, body)
            found += [_service(item) for item in page.serviceList]
            if page.pageInfo.nextMarker is UNSET:
                return tuple(found)
            body["marker"] = page.pageInfo.nextMarker

    def get(self, service: str) -> Service:
        """A service and how it is doing.

        Raises:
            NotFound: There is none of that id or suffix.
        """
        return _service(self._call(wire.DESCRIBE_SERVICE, {"serviceId": service}))

    def update(  # noqa: PLR0913 - what can be changed, one argument each
        self,
        service: str,
        *,
        model: str | None = None,
        model_set: str | None = None,
        name: str | None = None,
        description: str | None = None,
        warm: bool | None = None,
        idle_seconds: float | None = None,
        priority: int | None = None,
        fallback: str | None = None,
        qps: float | None = None,
    ) -> Service:
        """Change what is given; a `model` is rolled out to all calls, see `rollout`.

        Raises:
            NotFound: There is no such service or model.
            Invalid: Something is not usable.
            Conflict: A rollout goes on already.
        """
        body: JSON = {
            "serviceId": service,
            "modelId": model,
            "modelSetId": model_set,
            "name": name,
            "description": description,
            "idleSeconds": idle_seconds,
            "priority": priority,
            "fallback": fallback,
            "qps": qps,
        }
        if warm is not None:
            body["loadPolicy"] = "warm" if warm else "onDemand"
        self._call(wire.MODIFY_SERVICE, body)
        return self.get(service)

    def stop(self, service: str) -> Service:
        """No longer answer; calls under way end first. It stays stopped after a restart of the server."""
        self._call(wire.STOP_SERVICE, {"serviceId": service})
        return self.get(service)

    def start(self, service: str) -> Service:
        """Run a stopped service again.

        Raises:
            Overloaded: There is no room for it now.
        """
        self._call(wire.START_SERVICE, {"serviceId": service})
        return self.get(service)

    def delete(self, service: str) -> None:
        """Stop a service, after its calls, and forget it."""
        self._call(wire.DELETE_SERVICE, {"serviceId": service})

    def scale(self, service: str, replicas: int) -> Service:
        """Have so many engines side by side, 1 to 64; those that go end their calls first.

        Raises:
            Overloaded: There is no room for so many.
        """
        self._call(wire.SCALE_SERVICE, {"serviceId": service, "replicasCount": replicas})
        return self.get(service)

    def rollout(
        self,
        service: str,
        model: str,
        *,
        model_set: str | None = None,
        weight: int = 100,
        replicas: int | None = None,
        engine_options: Mapping[str, Any] | None = None,
        memory_bytes: int | None = None,
        bake_seconds: float = 10.0,
    ) -> Service:
        """Give a share of the calls to another model version, once that runs and answers.

        A version that does not start, or fails too many calls, is taken back by itself; callers do not notice.

        Args:
            service: Which one.
            model: Id of a model version, or name of a model that is on the server.
            model_set: Id of its model set.
            weight: Percent of the calls. With 100 it becomes the service's version once it was watched for `bake_seconds`; with less it
                stays beside the old one until `promote` or `rollback`.
            replicas: Engines side by side; as many as now by default.
            engine_options: What the engine is told.
            memory_bytes: What one engine needs, where the estimate from its files is wrong.
            bake_seconds: How long to watch it, 0 to 86400.

        Raises:
            Conflict: A rollout goes on already, or the model is for other calls.
            Overloaded: There is no room for both versions.
        """
        body: JSON = {
            "serviceId": service,
            "modelId": model,
            "modelSetId": model_set,
            "weight": weight,
            "replicasCount": replicas,
            "engineOptions": None if engine_options is None else dict(engine_options),
            "memoryBytes": memory_bytes,
            "bakeSeconds": bake_seconds,
        }
        self._call(wire.ROLLOUT_SERVICE, body)
        return self.get(service)

    def promote(self, service: str) -> Service:
        """Give all calls to the version that is being tried.

        Raises:
            Conflict: None is, or it does not run yet.
        """
        self._call(wire.PROMOTE_SERVICE, {"serviceId": service})
        return self.get(service)

    def rollback(self, service: str) -> Service:
        """Take the version that is being tried back; where none is, roll out the one before.

        Raises:
            Conflict: There is nothing to go back to.
        """
        self._call(wire.ROLLBACK_SERVICE, {"serviceId": service})
        return self.get(service)

    def metrics(
        self,
        start: datetime,
        end: datetime,
        *,
        services: Sequence[str] | None = None,
        app_id: str | None = None,
    ) -> tuple[ServiceUsage, ...]:
        """What services were used for, by application; whole days (UTC) are told.

        Args:
            start: Aware.
            end: Aware.
            services: Only these.
            app_id: Only this application.
        """
        body: JSON = {
            "startTime": _wire_time(start),
            "endTime": _wire_time(end),
            "serviceId": None if services is None else [*services],
            "appId": app_id,
        }
        found = self._call(wire.DESCRIBE_SERVICE_METRIC, body)
        return tuple(
            ServiceUsage(
                service_id=item.serviceId,
                name=item.serviceName,
                app_id=app.appId,
                calls=app.metric.succeedCallTotal,
                failed_calls=app.metric.failureCallTotal,
                input_tokens=app.metric.inputTokensTotal,
                output_tokens=app.metric.outputTokensTotal,
            )
            for item in found.serviceList
            for app in item.appList
        )

    def logs(self, service: str, *, tail_bytes: int = 16384) -> tuple[ServiceLog, ...]:
        """The end of what each of its engines printed, at most 1 MiB of each."""
        body: JSON = {"serviceId": service, "tailBytes": tail_bytes}
        found = self._call(wire.DESCRIBE_SERVICE_LOGS, body)
        return tuple(ServiceLog(item.engine, item.text) for item in found.logList)

    def events(self, service: str, *, after: int = 0) -> tuple[ServiceEvent, ...]:
        """What happened to it after the event of that number, the oldest first; the last 200 are kept."""
        body: JSON = {"serviceId": service, "marker": after, "maxKeys": 200}
        found = self._call(wire.DESCRIBE_SERVICE_EVENTS, body)
        return tuple(
            ServiceEvent(item.number, _time(item.time), item.kind, item.message)
            for item in found.eventList
        )

    def presets(self) -> tuple[PresetService, ...]:
        """Names that are answered without a service of their own."""
        found = self._call(wire.DESCRIBE_PRESET_SERVICES, {})
        return tuple(
            PresetService(item.name, item.serviceType, item.url, item.model)
            for item in found.serviceList
        )

    def wait(
        self, service: str, *, rolled_out: bool = False, timeout_seconds: float = 600.0
    ) -> Service:
        """Wait until it serves.

        Args:
            service: Which one.
            rolled_out: Wait for the end of a rollout as well, however that ends.
            timeout_seconds: How long at most.

        Raises:
            Conflict: It failed or was stopped; the message says why.
            DeadlineExceeded: It took longer.
        """
        waited = 0.0
        while True:
            found = self.get(service)
            if found.status in {"Failed", "Stopped"}:
                raise Conflict(
                    f"{found.suffix} is {found.status}: {found.failed_reason or 'by a caller'}"
                )
            if found.status == "Serving" and not (rolled_out and found.candidate is not None):
                return found
            if waited >= timeout_seconds:
                raise DeadlineExceeded(
                    f"{found.suffix} is still {found.status} after {timeout_seconds:g} s"
                )
            self._session.transport.sleep(POLL_SECONDS)
            waited += POLL_SECONDS

    def _call(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        given = {name: value for name, value in body.items() if value is not None}
        call = self._session.management_call(endpoint, given)
        return (self._session.fetch(call, endpoint.reply)).result


def _service(item: wire.Service) -> Service:
    return Service(
        id=item.serviceId,
        suffix=item.urlSuffix or item.url.rpartition("/")[2],
        name=item.name,
        description=item.description,
        type=item.serviceType,
        status=item.runStatus,
        failed_reason=item.failedReason,
        model=item.modelVersionId,
        model_set=item.modelId,
        url=item.url,
        replicas=item.resourceConfig.replicasCount or 1,
        warm=item.loadPolicy == "warm",
        loaded=item.loaded,
        idle_seconds=None if item.idleSeconds is UNSET else item.idleSeconds,
        priority=item.priority,
        fallback=item.fallback,
        qps=item.resourceConfig.qps or 0.0,
        created_at=_time(item.createTime),
        deployments=tuple(map(_deployment, item.deployments)),
    )


def _deployment(item: wire.Deployment) -> ServiceDeployment:
    return ServiceDeployment(
        id=item.deploymentId,
        role=item.role,
        model=item.modelId,
        weight=item.weight,
        replicas=item.replicasCount,
        ready=item.readyCount,
        generation=item.generation,
        engine_options=item.engineOptions,
        loading_seconds=None if item.loadingSeconds is UNSET else item.loadingSeconds,
        expected_seconds=None if item.expectedSeconds is UNSET else item.expectedSeconds,
        failed_reason=item.failedReason,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _wire_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
