"""`yangfan services`: names in front of deployed model versions, and how they are kept running."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import printable, show_json, show_table

if TYPE_CHECKING:
    from yangfan.client._sync.client import Client
    from yangfan.client.types import Service, ServiceDeployment

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Name = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Suffix or id, see `services list` / 服务后缀或 ID")
]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Model version amv-…, or model name / 模型版本或模型名"),
]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Wait and show what happens / 等待并显示进度")
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option", "-o", metavar="KEY=VALUE", help="For the engine; repeatable / 引擎参数"
    ),
]
STATUS_STYLES = {
    "Serving": "green",
    "Failed": "red",
    "Deploying": "yellow",
    "New": "yellow",
    "Stopped": "dim",
}
POLL_SECONDS = 0.3


def services() -> None:
    """Publish models as services: roll out, scale, roll back. / 发布与管理模型服务。"""


@connected
def create(  # noqa: PLR0913 - what a service is made of, one option each
    connection: Connection,
    model: Model,
    suffix: Annotated[
        str, typer.Argument(metavar="SUFFIX", help="Name in calls / 调用时使用的名称")
    ] = "",
    *,
    name: Annotated[str, typer.Option(help="For people / 显示名称")] = "",
    description: Annotated[str, typer.Option(help="For people / 描述")] = "",
    replicas: Annotated[int, typer.Option(min=1, max=64, help="Engines / 副本数")] = 1,
    on_demand: Annotated[
        bool, typer.Option("--on-demand", help="Load at the first call / 首次调用时加载")
    ] = False,
    idle: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Unload when idle for so long / 空闲多久后卸载"),
    ] = None,
    priority: Annotated[int, typer.Option(help="Higher ones start first / 启动优先级")] = 0,
    fallback: Annotated[
        str, typer.Option(metavar="NAME", help="Answers when this cannot / 备用服务")
    ] = "",
    qps: Annotated[
        float | None, typer.Option(min=0, help="Calls a second at most / 每秒调用上限")
    ] = None,
    memory_mb: Annotated[
        int | None, typer.Option(metavar="MB", help="What an engine needs / 单副本内存")
    ] = None,
    option: Options = None,
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Publish a model as a service. / 发布模型为服务。"""
    with connection.client() as client:
        made = client.services.create(
            model,
            suffix,
            name=name,
            description=description,
            replicas=replicas,
            warm=not on_demand,
            idle_seconds=idle,
            priority=priority,
            fallback=fallback,
            qps=qps,
            engine_options=_options(option),
            memory_bytes=None if memory_mb is None else memory_mb * 1_000_000,
        )
        _tell(client, made, watch=watch, as_json=as_json)


@connected
def list_services(
    connection: Connection,
    *,
    name: Annotated[str | None, typer.Option(help="Part of a name / 名称包含")] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only these; repeatable / 只列出这些状态")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """List services. / 列出服务。"""
    with connection.client() as client:
        found = client.services.list(name=name, statuses=status)
    if as_json:
        show_json(found)
        return
    show_table(
        ("name", "id", "status", "model", "ready", "load", "priority"),
        [
            (
                each.suffix,
                each.id,
                each.status,
                each.model,
                f"{sum(deployment.ready for deployment in each.deployments)}/{each.replicas}",
                "warm" if each.warm else "on demand",
                str(each.priority),
            )
            for each in found
        ],
        STATUS_STYLES,
    )


@connected
def show(
    connection: Connection, service: Name, *, watch: Watch = False, as_json: AsJSON = False
) -> None:
    """Show a service and its deployments. / 查看服务详情。"""
    with connection.client() as client:
        found = client.services.get(service)
        if watch:
            found = _watch(client, found)
        if as_json:
            show_json(found)
            return
        last = client.services.events(service)[-5:]
    for label, value in (
        ("name", found.suffix),
        ("id", found.id),
        ("status", found.status + (f": {found.failed_reason}" if found.failed_reason else "")),
        ("url", found.url),
        ("load", "warm" if found.warm else "on demand"),
        ("fallback", found.fallback or "none"),
        ("calls a second", f"{found.qps:g}" if found.qps else "any number"),
    ):
        typer.echo(f"{label:<10}{printable(value)}")
    show_table(
        ("role", "model", "weight", "ready", "state"),
        [
            (
                each.role,
                each.model,
                f"{each.weight} %",
                f"{each.ready}/{each.replicas}",
                _state(each),
            )
            for each in found.deployments
        ],
    )
    for event in last:
        typer.echo(f"{event.at:%Y-%m-%d %H:%M:%SZ}  {event.kind}: {printable(event.message)}")


@connected
def modify(  # noqa: PLR0913 - what can be changed, one option each
    connection: Connection,
    service: Name,
    *,
    name: Annotated[str | None, typer.Option(help="For people / 显示名称")] = None,
    description: Annotated[str | None, typer.Option(help="For people / 描述")] = None,
    warm: Annotated[
        bool | None,
        typer.Option("--warm/--on-demand", help="Keep loaded, or load at a call / 是否常驻"),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Unload when idle for so long / 空闲多久后卸载"),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(help="Higher ones start first / 启动优先级")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(metavar="NAME", help="Answers when this cannot / 备用服务")
    ] = None,
    qps: Annotated[
        float | None,
        typer.Option(min=0, help="Calls a second at most, 0 for any / 每秒调用上限，0 为不限"),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Change how a service is called and kept; the calls go on. / 修改服务。"""
    with connection.client() as client:
        changed = client.services.update(
            service,
            name=name,
            description=description,
            warm=warm,
            idle_seconds=idle,
            priority=priority,
            fallback=fallback,
            qps=qps,
        )
        _tell(client, changed, watch=False, as_json=as_json)


@connected
def scale(
    connection: Connection,
    service: Name,
    replicas: Annotated[int, typer.Argument(metavar="N", min=1, max=64, help="Engines / 副本数")],
    *,
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Change how many engines run side by side. / 调整副本数。"""
    with connection.client() as client:
        changed = client.services.scale(service, replicas)
        _tell(client, changed, watch=watch, as_json=as_json)


@connected
def rollout(  # noqa: PLR0913 - what a rollout is made of, one option each
    connection: Connection,
    service: Name,
    model: Model,
    *,
    weight: Annotated[
        int, typer.Option(min=1, max=100, help="Percent of the calls / 承接的调用比例")
    ] = 100,
    replicas: Annotated[int | None, typer.Option(min=1, max=64, help="Engines / 副本数")] = None,
    bake: Annotated[
        float, typer.Option(metavar="SECONDS", help="Watch it so long / 观察时长")
    ] = 10.0,
    memory_mb: Annotated[
        int | None, typer.Option(metavar="MB", help="What an engine needs / 单副本内存")
    ] = None,
    option: Options = None,
    watch: Watch = False,
    as_json: AsJSON = False,
) -> None:
    """Give calls to another version, once it runs well. / 灰度或滚动发布新版本。"""
    with connection.client() as client:
        changed = client.services.rollout(
            service,
            model,
            weight=weight,
            replicas=replicas,
            engine_options=_options(option),
            memory_bytes=None if memory_mb is None else memory_mb * 1_000_000,
            bake_seconds=bake,
        )
        _tell(client, changed, watch=watch, as_json=as_json)


@connected
def promote(connection: Connection, service: Name, *, as_json: AsJSON = False) -> None:
    """Give all calls to the version being tried. / 将灰度版本转正。"""
    with connection.client() as client:
        _tell(client, client.services.promote(service), watch=False, as_json=as_json)


@connected
def rollback(
    connection: Connection, service: Name, *, watch: Watch = False, as_json: AsJSON = False
) -> None:
    """Take the new version back, or return to the one before. / 回滚。"""
    with connection.client() as client:
        _tell(client, client.services.rollback(service), watch=watch, as_json=as_json)


@connected
def stop(connection: Connection, service: Name, *, as_json: AsJSON = False) -> None:
    """Stop a service after its calls; it stays stopped. / 停止服务。"""
    with connection.client() as client:
        _tell(client, client.services.stop(service), watch=False, as_json=as_json)


@connected
def start(
    connection: Connection, service: Name, *, watch: Watch = False, as_json: AsJSON = False
) -> None:
    """Start a stopped service. / 启动服务。"""
    with connection.client() as client:
        _tell(client, client.services.start(service), watch=watch, as_json=as_json)


@connected
def logs(
    connection: Connection,
    service: Name,
    *,
    tail: Annotated[
        int, typer.Option(metavar="BYTES", min=1, max=1 << 20, help="Of each engine / 字节数")
    ] = 16384,
    as_json: AsJSON = False,
) -> None:
    """Show what its engines printed. / 查看引擎日志。"""
    with connection.client() as client:
        found = client.services.logs(service, tail_bytes=tail)
    if as_json:
        show_json(found)
        return
    for log in found:
        typer.echo(f"==> {log.engine} <==\n{printable(log.text)}")


@connected
def events(
    connection: Connection,
    service: Name,
    *,
    after: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, help="Only those after it / 起始编号")
    ] = 0,
    as_json: AsJSON = False,
) -> None:
    """List what happened to a service, the oldest first. / 查看服务事件。"""
    with connection.client() as client:
        found = client.services.events(service, after=after)
    if as_json:
        show_json(found)
        return
    show_table(
        ("number", "at", "kind", "message"),
        [(str(e.number), f"{e.at:%Y-%m-%d %H:%M:%SZ}", e.kind, e.message) for e in found],
    )


@connected
def usage(
    connection: Connection,
    service: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]…", help="Only these / 只看这些服务")
    ] = None,
    *,
    days: Annotated[int, typer.Option(min=1, max=366, help="So many, with today / 天数")] = 7,
    app: Annotated[
        str | None, typer.Option(metavar="APP", help="Only this application / 只看该应用")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Count calls and tokens of services, by application. / 统计服务调用量。"""
    end = datetime.now(UTC)
    with connection.client() as client:
        start = end - timedelta(days=days - 1)
        found = client.services.metrics(start, end, services=service, app_id=app)
    if as_json:
        show_json(found)
        return
    show_table(
        ("service", "id", "app", "calls", "failed", "input tokens", "output tokens"),
        [
            (
                each.name,
                each.service_id,
                each.app_id,
                *map(str, (each.calls, each.failed_calls, each.input_tokens, each.output_tokens)),
            )
            for each in found
        ],
    )


@connected
def presets(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List the names that are answered without a service of their own. / 列出预置服务。"""
    with connection.client() as client:
        found = client.services.presets()
    if as_json:
        show_json(found)
        return
    show_table(
        ("name", "type", "model", "url"),
        [(each.name, each.type, each.model, each.url) for each in found],
    )


@connected
def remove(connection: Connection, service: Name) -> None:
    """Stop a service and forget it. / 删除服务。"""
    with connection.client() as client:
        client.services.delete(service)
    typer.echo(f"{service} is removed. / 已删除。", err=True)


SUBCOMMANDS = {
    "create": create,
    "list": list_services,
    "show": show,
    "modify": modify,
    "scale": scale,
    "rollout": rollout,
    "promote": promote,
    "rollback": rollback,
    "stop": stop,
    "start": start,
    "logs": logs,
    "events": events,
    "usage": usage,
    "presets": presets,
    "rm": remove,
}


def _options(given: list[str] | None) -> dict[str, Any] | None:
    """KEY=VALUE pairs; a value that is JSON is what it says, any other is a text."""
    if not given:
        return None
    found: dict[str, Any] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not (sign and key.strip()):
            raise typer.BadParameter(f"--option takes KEY=VALUE; {text!r} is no such pair")
        try:
            found[key.strip()] = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            found[key.strip()] = value
    return found


def _tell(client: Client, service: Service, *, watch: bool, as_json: bool) -> None:
    if watch:
        service = _watch(client, service)
    if as_json:
        show_json(service)
    else:
        typer.echo(f"{service.suffix}\t{service.id}\t{service.status}")
    if watch and service.status == "Failed":
        raise typer.Exit(1)


def _watch(client: Client, service: Service) -> Service:
    """Show events and progress on stderr until nothing is under way."""
    seen = 0
    while True:
        for event in client.services.events(service.id, after=seen):
            seen = event.number
            _line(f"{event.kind}: {event.message}")
        service = client.services.get(service.id)
        if _settled(service):
            for event in client.services.events(service.id, after=seen):
                _line(f"{event.kind}: {event.message}")
            return service
        if sys.stderr.isatty():
            states = (f"{each.role} {each.model}: {_state(each)}" for each in service.deployments)
            sys.stderr.write(f"\r\x1b[K{printable('; '.join(states))[:100]}")
            sys.stderr.flush()
        time.sleep(POLL_SECONDS)


def _line(text: str) -> None:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    typer.echo(clear + printable(text), err=True)


def _settled(service: Service) -> bool:
    """Whether nothing is under way: a share of the calls that was reached counts as the end, too."""
    if service.status in {"Failed", "Stopped"}:
        return True
    if service.status != "Serving":
        return False
    candidate = service.candidate
    if candidate is not None and (candidate.weight == 100 or candidate.ready < candidate.replicas):
        return False
    stable = next(each for each in service.deployments if each.role == "stable")
    return not service.loaded or stable.ready == stable.replicas


def _state(deployment: ServiceDeployment) -> str:
    if deployment.failed_reason:
        return deployment.failed_reason
    if deployment.role == "previous":
        return "kept for a rollback"
    if deployment.loading_seconds is None:
        return "ready" if deployment.ready else "not loaded"
    if not deployment.expected_seconds:
        return f"loading, {deployment.loading_seconds:.0f} s so far"
    share = min(deployment.loading_seconds / deployment.expected_seconds, 0.99)
    return f"loading, {share:.0%} of about {deployment.expected_seconds:.0f} s"
