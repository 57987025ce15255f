"""What a process keeps of the services that it runs, and how each of them is doing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yangfan.server.deployments.placement import estimate_bytes
from yangfan.server.deployments.types import Deployment, DeploymentState, RunStatus, Service, View

if TYPE_CHECKING:
    from yangfan.server.deployments.managed import ManagedService, Route
    from yangfan.server.deployments.planning import Planned
    from yangfan.server.deployments.pool import Pool


@dataclass(slots=True)
class Deployed:
    """A deployment that may run: its row, its replicas and how it takes calls."""

    row: Deployment
    planned: Planned | None = None
    pool: Pool | None = None
    route: Route | None = None
    error: str = ""
    line: bytes | None = None


@dataclass(slots=True)
class Running:
    """A service that is meant to run."""

    row: Service
    service: ManagedService
    stable: Deployed
    candidate: Deployed | None = None
    previous: Deployment | None = None
    begun: bool = False
    failures: int = 0
    retry: asyncio.TimerHandle | None = None
    rolling: asyncio.Task[None] | None = None
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Line:
    """Replicas that deployments share, each with an adapter of its own."""

    pool: Pool
    planned: Planned
    users: set[str]


def state_of(deployed: Deployed) -> DeploymentState:
    """A deployment and how it is doing."""
    pool = deployed.pool
    if pool is None:
        return DeploymentState(deployed.row, error=deployed.error)
    return DeploymentState(
        deployed.row, pool.ready, pool.loading_seconds, deployed.error or pool.error
    )


def status_of(running: Running) -> RunStatus:
    """A service's runStatus."""
    if running.service.ready:
        return "Serving"
    if not running.begun and not running.failures:
        return "New"
    if reason_of(running):
        return "Failed"
    if not running.row.warm and running.stable.pool is not None:
        return "Serving"  # a call loads it
    return "Deploying"


def reason_of(running: Running) -> str:
    """Why a service does not run; "" where nothing stands in the way."""
    stable = running.stable
    return stable.error or ("" if stable.pool is None else stable.pool.error)


def weight_of(deployed: Deployed) -> int:
    """The share of the calls that a deployment takes now."""
    return 0 if deployed.route is None else deployed.route.weight


def view_of(running: Running) -> View:
    """A service that is meant to run, and how it is doing."""
    states = [state_of(running.stable)]
    if running.candidate is not None:
        states.append(state_of(running.candidate))
    if running.previous is not None:
        states.append(DeploymentState(running.previous))
    return View(running.row, status_of(running), reason_of(running), tuple(states))


def need_bytes(given: int | None, planned: Planned) -> int:
    """What one replica needs: what its owner said, else what the plan says, else an estimate."""
    if given is not None:
        return given
    return planned.plan.memory_bytes or estimate_bytes(planned.plan)


def need_bytes_of(row: Deployment, planned: Planned) -> int:
    """What one replica of a deployment needs."""
    return need_bytes(row.memory_bytes, planned)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)
