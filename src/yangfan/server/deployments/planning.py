"""From what a caller deploys to what an engine needs. Whoever else can plan, such as a registry of models, fits in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from yangfan import errors
from yangfan.engines.base import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yangfan.engines.base import Engine
    from yangfan.server.models import Models, Plan

FIELDS = ("context_tokens", "slots", "threads")
"""Options that are fields of an EngineSpec; the rest are the engine's own."""

MOST_SLOTS = 1024
MOST_TOKENS = 1 << 24


class Planned(NamedTuple):
    """What to start, and what it is.

    Attributes:
        plan: For the engine.
        adapter: Name of the one of its adapters that answers; None for the model itself.
        memory_bytes: What one engine of it needs; None if nobody said.
        set_id: Model set that it belongs to; "" for none.
    """

    plan: Plan
    adapter: str | None = None
    memory_bytes: int | None = None
    set_id: str = ""


class Planner(Protocol):
    """Knows what can be deployed here."""

    async def plan(self, reference: str, options: Mapping[str, Any]) -> Planned:
        """What to start for a model version or a model's name.

        Raises:
            NotFound: There is no such thing.
            Conflict: It is there and cannot run: not ready, not fetched, no engine for it.
            Invalid: An option is wrong.
        """
        ...

    def engine(self, plan: Plan, workdir: Path) -> Engine:
        """The engine of a plan, not yet started. Raises ConfigurationError."""
        ...


class ModelPlanner:
    """Plans models that are on this machine by name: those of the catalogue that were fetched, those of the settings, echo.

    A path is no name: whoever may sign a call may not open any file of the machine with it.

    Args:
        models: Where they are.
        served: What the settings serve: name in calls to what they name.
    """

    def __init__(self, models: Models, served: Mapping[str, str]) -> None:
        self._models = models
        self._served = served

    async def plan(self, reference: str, options: Mapping[str, Any]) -> Planned:
        """What to start for a model's name; ``MODEL:ADAPTER`` for one with an adapter of the settings."""
        name, _, adapter = reference.partition(":")
        given = self._served.get(name.casefold(), name)
        if given == name and not self._here(name):
            raise errors.NotFound(
                f"no model {name[:64]!r} on this machine; `yangfan models list` shows what is served, and `yangfan pull NAME`"
                " fetches one of the catalogue"
            )
        try:
            plan = await self._models.plan(given)
        except errors.ConfigurationError as error:
            raise errors.Conflict(f"{name} cannot be deployed: {error.message}") from None
        if adapter and adapter not in plan.spec.adapters:
            known = ", ".join(plan.spec.adapters) or "none"
            raise errors.NotFound(f"{name} has no adapter {adapter[:64]!r}; there are: {known}")
        return Planned(with_options(plan, options), adapter or None)

    def _here(self, name: str) -> bool:
        try:
            return self._models.here(name)
        except errors.ConfigurationError:
            return False  # it cannot even be a name

    def engine(self, plan: Plan, workdir: Path) -> Engine:
        """The engine of a plan, not yet started."""
        return self._models.engine(plan, workdir)


def with_options(plan: Plan, options: Mapping[str, Any]) -> Plan:
    """A plan with a caller's options over its own.

    Raises:
        Invalid: One has the wrong type or is out of range.
    """
    own = dict(options)
    fields: dict[str, Any] = {name: own.pop(name) for name in FIELDS if name in own}
    whole = {
        **msgspec.structs.asdict(plan.spec),
        **fields,
        "options": {**plan.spec.options, **own},
    }
    try:
        spec = msgspec.convert(whole, EngineSpec)
    except msgspec.ValidationError as error:
        raise errors.Invalid(f"engineOptions: {error}", param="engineOptions") from None
    for name, least, most in (
        ("slots", 1, MOST_SLOTS),
        ("threads", 1, MOST_SLOTS),
        ("context_tokens", 64, MOST_TOKENS),
    ):
        value = getattr(spec, name)
        if value is not None and not least <= value <= most:
            raise errors.Invalid(
                f"engineOptions: {name} must be from {least} to {most}, got {value}",
                param="engineOptions",
            )
    return msgspec.structs.replace(plan, spec=spec)
