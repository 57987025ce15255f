"""The nouns of services that callers make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.engines.base import Kind
    from yangfan.protocol.presets import PresetType

Desired = Literal["running", "stopped"]
Role = Literal["stable", "candidate", "previous"]
"""stable: takes the calls; candidate: being tried; previous: what to go back to, not running."""

RunStatus = Literal["New", "Deploying", "Serving", "Failed", "Stopped"]
"""v2's runStatus (specification D.4); the official SDK's deploy loop breaks on any other."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a service is meant to be.

    Attributes:
        number: Row number, which v1 calls serviceId.
        id: ``svco-…``.
        suffix: Name in calls: the last segment of its v1 path, the `model` of v2.
        type: What it is for, first of all; `kinds` all that it can be asked for.
        desired: Whether it is to run.
        warm: Whether its engines run all the time; otherwise the first call loads them.
        idle_seconds: Without calls for so long, engines that calls loaded are stopped; None for never.
        priority: Services with a higher one start first.
        fallback: Name of the service or model that answers when this one cannot; "" for none.
        context_tokens: Prompt and answer together, as its engine last said; 0 where no engine ever ran.
        creator: Id of the key that made it.
    """

    number: int
    id: str
    name: str
    suffix: str
    description: str
    type: PresetType
    kinds: frozenset[Kind]
    desired: Desired
    warm: bool
    idle_seconds: float | None
    priority: int
    fallback: str
    protocol_version: int
    resource_type: str
    qps: float
    context_tokens: int
    creator: str
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model version behind a service.

    Attributes:
        id: ``dep-…``.
        reference: What is deployed: id of a model version, or name of a model.
        set_id: Model set of the version; "" where there is none.
        weight: Share of the calls, 0 to 100; the stable deployment takes what a candidate leaves.
        replicas: Engines side by side.
        options: What the engine is told beside what the version says.
        memory_bytes: What one replica needs, if its owner said so.
        bake_seconds: How long a candidate with all of the calls is watched before it becomes stable.
        generation: Rises with each deployment of a service.
        load_seconds: How long the last load took; 0 where there was none.
    """

    id: str
    service_id: str
    role: Role
    reference: str
    set_id: str
    weight: int
    replicas: int
    options: Mapping[str, Any]
    memory_bytes: int | None
    bake_seconds: float
    generation: int
    created_ms: int
    load_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a service."""

    number: int
    at_ms: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment and how it is doing.

    Attributes:
        ready: Replicas that can answer now.
        loading_seconds: How long it has been loading; None while it is not.
        error: Why it cannot run; "" where nothing stands in the way.
    """

    deployment: Deployment
    ready: int = 0
    loading_seconds: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A service and how it is doing."""

    service: Service
    status: RunStatus
    reason: str
    deployments: tuple[DeploymentState, ...] = field(default_factory=tuple)

    @property
    def stable(self) -> Deployment:
        """What takes the calls."""
        return next(s.deployment for s in self.deployments if s.deployment.role == "stable")

    @property
    def loaded(self) -> bool:
        """Whether an engine can answer now."""
        return any(state.ready for state in self.deployments)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which services to list; None for all."""

    name: str | None = None
    types: frozenset[str] | None = None
    statuses: frozenset[str] | None = None
    creators: frozenset[str] | None = None
    protocol_version: int | None = None
