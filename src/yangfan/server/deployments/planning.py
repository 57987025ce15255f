"""From what a caller deploys to what an engine needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from yangfan import errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yangfan.engines.base import Engine
    from yangfan.server.models import Models, Plan, Registry, Version

BOUNDS = {"slots": (1, 1024), "threads": (1, 1024), "context_tokens": (64, 1 << 24)}
"""Least and most of the options that every engine has."""


class Planned(NamedTuple):
    """What to start, and what it is.

    Attributes:
        plan: For the engine.
        reference: What was found: id of a model version, or name of a model. It means the same tomorrow.
        set_id: Model set that it belongs to; "" for none.
        adapter: Name of the one of its adapters that answers; None for the model itself.
    """

    plan: Plan
    reference: str
    set_id: str = ""
    adapter: str | None = None


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
    """Plans what the settings serve, by name, and every version of the registry.

    A path is neither: whoever may sign a call may not open any file of the machine with it. Options are those of a table
    [options.MODEL] of the settings, but for two: `adapters` names versions of the registry instead of files, and `adapter` says which
    of them answers.

    Args:
        registry: Model versions.
        models: From names to plans.
        served: What the settings serve: name in calls to what they name.
    """

    def __init__(self, registry: Registry, models: Models, served: Mapping[str, str]) -> None:
        self._registry = registry
        self._models = models
        self._served = served

    async def plan(self, reference: str, options: Mapping[str, Any]) -> Planned:
        """What to start for ``amv-…``, v1's integer, ``SET:VERSION``, ``SET@label``, a set, or a served model, also ``MODEL:ADAPTER``."""
        own = dict(options)
        adapter = own.pop("adapter", None)
        if not (adapter is None or isinstance(adapter, str)):
            raise _invalid("adapter must be the name of one of the adapters")
        given = await self._adapters(own.pop("adapters", None))
        if given:
            own["adapters"] = given
        _check_bounds(own)
        try:
            planned = await self._planned(reference, own)
        except errors.ConfigurationError as error:
            if error.message.startswith("settings: options."):
                raise _invalid(error.message.partition(": ")[2].partition(": ")[2]) from None
            raise errors.Conflict(f"{reference} cannot be deployed: {error.message}") from None
        except errors.FetchError as error:
            raise errors.Conflict(f"{reference} cannot be deployed: {error.message}") from None
        known = planned.plan.spec.adapters
        wanted = adapter or planned.adapter
        if wanted is None and len(given) == 1:
            wanted = next(iter(given))
        if wanted is not None and wanted not in known:
            names = ", ".join(known) or "none"
            raise errors.NotFound(f"there is no adapter {wanted[:64]!r}; there are: {names}")
        return planned._replace(adapter=wanted)

    async def _planned(self, reference: str, options: Mapping[str, Any]) -> Planned:
        name, _, adapter = reference.partition(":")
        served = self._served.get(name.casefold())
        if served is not None:
            plan = await self._models.plan(served, options=options)
            return Planned(plan, reference, adapter=adapter or None)
        version = await self._version(reference)
        plan = await self._registry.plan(version.id, options)
        # An adapter is served by its base, and is called by its own id there.
        adapter = version.id if version.id in plan.spec.adapters else None
        return Planned(plan, version.id, version.set_id, adapter)

    async def _version(self, reference: str) -> Version:
        try:
            version = await self._registry.find(reference)
        except errors.NotFound as error:
            raise errors.NotFound(
                f"no model {reference[:80]!r} can be deployed: {error.message}; `yangfan models list` shows what is served,"
                " and `yangfan pull NAME` fetches one of the catalogue"
            ) from None
        if version.is_preset and not self._models.here(version.set_name):
            raise errors.Conflict(
                f"{version.set_name} is not on this machine yet; `yangfan pull {version.set_name}` fetches it"
            )
        return version

    async def _adapters(self, given: Any) -> dict[str, str]:
        """Names of adapters to their files."""
        if given is None:
            return {}
        try:
            items = msgspec.convert(given, dict[str, str])
        except msgspec.ValidationError:
            raise _invalid("adapters must be an object of names and model versions") from None
        found: dict[str, str] = {}
        for name, reference in items.items():
            version = await self._registry.find(reference)
            stored = await asyncio.to_thread(self._registry.files.get, version.id)
            if version.state != "Ready" or stored is None:
                raise errors.Conflict(f"the adapter {version.name} is {version.state}")
            found[name] = str(stored.path)
        return found

    def engine(self, plan: Plan, workdir: Path) -> Engine:
        """The engine of a plan, not yet started."""
        return self._models.engine(plan, workdir)


def _check_bounds(options: Mapping[str, Any]) -> None:
    for name, (least, most) in BOUNDS.items():
        value = options.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or not least <= value <= most:
            raise _invalid(f"{name} must be from {least} to {most}, got {str(value)[:40]}")


def _invalid(message: str) -> errors.Invalid:
    return errors.Invalid(f"engineOptions: {message}", param="engineOptions")
