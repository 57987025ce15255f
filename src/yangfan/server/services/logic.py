"""All services of this installation, and what each name in a call means."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING

from yangfan.errors import ConfigurationError, ModelNotFound
from yangfan.server.services.service import Service, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.protocol.presets import Preset, Presets

CHAT = "chat"

MAX_REMEMBERED_NAMES = 1024
"""Spellings whose meaning is kept; callers choose spellings, so there has to be an end."""


class Services:
    """Names to services.

    Args:
        services: What is served; the first one answers every preset name that `mapping` does not give to another.
        presets: Qianfan's names.
        mapping: Preset name to name of a service.

    Raises:
        ConfigurationError: Two services share a name, or `mapping` names what does not exist.
    """

    def __init__(
        self, services: Sequence[Service], presets: Presets, mapping: Mapping[str, str]
    ) -> None:
        """Check the names."""
        self._services = {service.name.casefold(): service for service in services}
        if len(self._services) != len(services):
            raise ConfigurationError("settings: `models` names the same model twice")
        self._default = services[0]
        self._presets = presets
        self._resolved: dict[str, Target] = {}
        self._mapping: dict[str, Service] = {}
        for preset_name, service_name in mapping.items():
            preset, service = presets.find(preset_name), self._services.get(service_name.casefold())
            if preset is None:
                raise ConfigurationError(
                    f"settings: `presets` has {preset_name!r}, which is no Qianfan model name"
                )
            if service is None:
                raise ConfigurationError(
                    f"settings: `presets` gives {preset_name!r} to {service_name!r}, which `models` lacks"
                )
            self._mapping[preset.name] = service

    @property
    def all(self) -> list[Service]:
        """Every service, the default first."""
        return list(self._services.values())

    def resolve(self, name: str) -> Target:
        """The service that answers to a name: a served model's, or any preset's name, alias or endpoint suffix.

        Raises:
            ModelNotFound: Nothing answers to it; the message lists what does.
        """
        known = self._resolved.get(name)
        if known is not None:
            return known
        service = self._services.get(name.casefold())
        preset = self._presets.find(name)
        if service is None and preset is not None and preset.type == CHAT:
            service = self._mapping.get(preset.name, self._default)
        if service is None:
            raise self._unknown(name, preset)
        target = Target(name, service, preset)
        if len(self._resolved) < MAX_REMEMBERED_NAMES:
            self._resolved[name] = target
        return target

    def names(self) -> list[tuple[str, Service]]:
        """Every chat name to list: served models first, then presets in lower case, as v2 spells them."""
        listed = {service.name: service for service in self.all}
        for preset in self._presets.all:
            if preset.type == CHAT:
                listed.setdefault(
                    preset.name.lower().replace(" ", "-"),
                    self._mapping.get(preset.name, self._default),
                )
        return list(listed.items())

    async def start(self) -> None:
        """Start every engine, side by side; if one fails, stop all.

        Raises:
            EngineFailed: An engine does not start.
        """
        results = await asyncio.gather(
            *(s.replica.start() for s in self.all), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    async def stop(self) -> None:
        """Stop every engine."""
        await asyncio.gather(*(service.replica.stop() for service in self.all))

    def _unknown(self, name: str, preset: Preset | None) -> ModelNotFound:
        served = ", ".join(service.name for service in self.all)
        if preset is not None:
            return ModelNotFound(
                f"{name[:64]!r} is a model for {preset.type}, not for chat; chat is served by: {served}"
            )
        spellings = {
            spelling.casefold(): spelling
            for known in self._presets.all
            for spelling in known.spellings
        }
        close = difflib.get_close_matches(name[:64].casefold(), [*self._services, *spellings], n=3)
        hint = (
            f"; did you mean {' or '.join(spellings.get(match, match) for match in close)}?"
            if close
            else ""
        )
        return ModelNotFound(
            f"no model {name[:64]!r}{hint} Served here: {served}, and every Qianfan chat name such as ernie_speed"
            " (GET /v2/models lists them)"
        )
