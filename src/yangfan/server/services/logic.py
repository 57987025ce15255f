"""All services of this installation, and what each name in a call means."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from yangfan.errors import ConfigurationError, ModelNotFound, ModelOffline
from yangfan.server.services.service import AdaptedService, Service, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from yangfan.engines.base import Kind
    from yangfan.protocol.presets import Preset, Presets, PresetType
    from yangfan.server.services.replica import Replica

SERVED_BY: Final[Mapping[PresetType, Sequence[Kind]]] = {
    "chat": ("chat",),
    "completions": ("chat",),
    "embeddings": ("embeddings",),
    "reranker": ("rerank", "embeddings"),
    "text2image": ("images",),
    "image2text": ("vision",),
}
"""Which models can answer a call of each type, the better ones first: documents can be sorted by how similar they are, too."""

NAMED_BY: Final[Mapping[PresetType, Sequence[PresetType]]] = {
    "chat": ("chat", "image2text"),
    "completions": ("completions", "chat"),
}
"""Which presets a call of each type may name, if more than its own: who chats can go on from a text, too, and who reads pictures
can chat."""

_EXAMPLES: Final[Mapping[PresetType, str]] = {
    "chat": "ernie_speed",
    "completions": "sqlcoder_7b",
    "embeddings": "embedding-v1",
    "reranker": "bce_reranker_base",
    "text2image": "sd_xl",
    "image2text": "fuyu_8b",
}

MAX_REMEMBERED_NAMES = 1024
"""Spellings whose meaning is kept; callers choose spellings, so there has to be an end."""


MAX_SHOWN_NAMES = 20


class Listed(NamedTuple):
    """A name that calls may use, the service that answers to it, and the type of call that it is for."""

    name: str
    service: Service
    type: PresetType


class Offered(NamedTuple):
    """A name that is answered though nobody made a service for it: as Qianfan spells it, and as its v1 path does."""

    name: str
    suffix: str
    type: PresetType
    service: Service


class Fleet(Protocol):
    """Services that come and go together while the server runs, such as the models of an upstream."""

    name: str

    @property
    def services(self) -> Sequence[Service]:
        """Those to list."""
        ...

    def find(self, name: str) -> Service | None:
        """The one of that name, listed or not. Raises ModelOffline where that is stopped."""
        ...

    def stand_for(self, preset: Preset) -> Service | None:
        """The one that is the preset's model; None if it is not there."""
        ...


class Services:
    """Names to services.

    A name means, in this order: a model served here; what the settings map a preset to; a model of a fleet, the oldest first; the
    preset's own model in a fleet; for a preset, the first model served here that can answer.

    Args:
        services: What is served; the first one that can answers every preset name that `mapping` does not give to another.
        presets: Qianfan's names.
        mapping: Preset name to name of a service.
        expecting: Whether fleets will be attached, so that `mapping` may name what is not there yet.

    Raises:
        ConfigurationError: Two services share a name, or `mapping` names what does not exist or cannot answer.
    """

    def __init__(
        self,
        services: Sequence[Service],
        presets: Presets,
        mapping: Mapping[str, str],
        *,
        expecting: bool = False,
    ) -> None:
        """Check the names."""
        adapted = [
            AdaptedService(service, adapter)
            for service in services
            if "chat" in service.kinds
            for adapter in service.adapters
        ]
        self._services = {service.name.casefold(): service for service in (*services, *adapted)}
        if len(self._services) != len(services) + len(adapted):
            raise ConfigurationError("settings: `models` names the same model twice")
        self._presets = presets
        self._resolved: dict[tuple[PresetType, str], Target] = {}
        self._fleets: dict[str, Fleet] = {}
        self._mapping: dict[str, Service | str] = {}
        for preset_name, service_name in mapping.items():
            preset, service = presets.find(preset_name), self._services.get(service_name.casefold())
            if preset is None:
                raise ConfigurationError(
                    f"settings: `presets` has {preset_name!r}, which is no Qianfan model name"
                )
            if service is None and expecting:
                self._mapping[preset.name] = service_name
                continue
            if service is None:
                raise ConfigurationError(
                    f"settings: `presets` gives {preset_name!r} to {service_name!r}, which `models` lacks"
                )
            if not _can(service, preset.type):
                raise ConfigurationError(
                    f"settings: `presets` gives {preset_name!r}, a model for {preset.type}, to {service_name!r}, which is for"
                    f" {type_of(service)}"
                )
            self._mapping[preset.name] = service

    @property
    def all(self) -> list[Service]:
        """Every service of this machine, the default first."""
        return list(self._services.values())

    @property
    def everywhere(self) -> list[Service]:
        """Every service, those of fleets last."""
        return [
            *self.all,
            *(service for fleet in self._fleets.values() for service in fleet.services),
        ]

    @property
    def here(self) -> list[Service]:
        """Every service whose model runs on this machine, those of fleets last."""
        fleets = (service for fleet in self._fleets.values() for service in fleet.services)
        return [*self.all, *(service for service in fleets if not service.remote)]

    def attach(self, fleet: Fleet) -> None:
        """Answer to the names of `fleet` from now on; one of the same name is replaced."""
        self._fleets[fleet.name] = fleet
        self.forget()

    def detach(self, name: str) -> None:
        """No longer answer to the names of a fleet."""
        self._fleets.pop(name, None)
        self.forget()

    def forget(self) -> None:
        """Look names up anew: a fleet has other services than before."""
        self._resolved.clear()

    def resolve(self, name: str, wanted: PresetType = "chat") -> Target:
        """The service that answers to a name: a served model's, or any preset's name, alias or endpoint suffix.

        Args:
            name: As the caller wrote it.
            wanted: The type of call.

        Raises:
            ModelNotFound: Nothing answers to it, or not to this type of call; the message lists what does.
        """
        known = self._resolved.get((wanted, name))
        if known is not None:
            return known
        preset = self._presets.find(name)
        service = self._named(name, preset)
        if (
            service is None
            and preset is not None
            and preset.type in NAMED_BY.get(wanted, (wanted,))
        ):
            service = self._serving(preset)
        if service is None or not _can(service, wanted):
            raise self._unknown(name, wanted)
        target = Target(name, service, preset)
        if len(self._resolved) < MAX_REMEMBERED_NAMES:
            self._resolved[wanted, name] = target
        return target

    def find(self, name: str) -> Listed:
        """What a name is, whatever it is for.

        Raises:
            ModelNotFound: Nothing answers to it; the message lists what does.
        """
        preset = self._presets.find(name)
        service = self._named(name, preset)
        if service is not None:
            return Listed(name, service, type_of(service))
        wanted = preset.type if preset is not None else "chat"
        return Listed(name, self.resolve(name, wanted).service, wanted)

    def names(self) -> list[Listed]:
        """Every name to list: served models first, then presets in lower case, as v2 spells them."""
        listed = {
            service.name: Listed(service.name, service, type_of(service)) for service in self.all
        }
        for service in self.everywhere:
            listed.setdefault(service.name, Listed(service.name, service, type_of(service)))
        for preset in self._presets.all:
            service = self._serving_now(preset)
            if service is not None:
                name = preset.v2_name
                listed.setdefault(name, Listed(name, service, preset.type))
        return list(listed.values())

    def offered(self, *, apart_from: str) -> list[Offered]:
        """Presets that something answers, then models of the settings and of fleets.

        Args:
            apart_from: Name of a fleet to leave out.
        """
        fleets = [fleet for name, fleet in self._fleets.items() if name != apart_from]
        found: dict[str, Offered] = {}
        for preset in self._presets.all:
            service = self._serving_now(preset)
            if service is not None:
                found[preset.name] = Offered(preset.name, preset.suffix, preset.type, service)
        for service in (*self.all, *(each for fleet in fleets for each in fleet.services)):
            offered = Offered(service.name, service.name, type_of(service), service)
            found.setdefault(service.name, offered)
        return list(found.values())

    async def start(self) -> None:
        """Start every engine, side by side; if one fails, stop all.

        Raises:
            EngineFailed: An engine does not start.
        """
        results = await asyncio.gather(
            *(replica.start() for replica in self._replicas), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    async def stop(self) -> None:
        """Stop every engine."""
        await asyncio.gather(*(replica.stop() for replica in self._replicas))

    @property
    def _replicas(self) -> list[Replica]:
        """Each engine process once, whatever number of names it answers to."""
        return list(dict.fromkeys(service.replica for service in self.all))

    def _named(self, name: str, preset: Preset | None) -> Service | None:
        """Who has this very name."""
        service = self._services.get(name.casefold())
        if service is not None or (preset is not None and preset.name in self._mapping):
            return service
        return self._of_fleet(name)

    def _of_fleet(self, name: str) -> Service | None:
        found = (fleet.find(name) for fleet in self._fleets.values())
        return next((service for service in found if service is not None), None)

    def _serving_now(self, preset: Preset) -> Service | None:
        """`_serving`; None where that is stopped."""
        try:
            return self._serving(preset)
        except ModelOffline:
            return None

    def _serving(self, preset: Preset) -> Service | None:
        """Who answers to a preset name: the one that the settings name, the model itself, else the first that can."""
        mapped = self._mapping.get(preset.name)
        if mapped is not None:
            return self._of_fleet(mapped) if isinstance(mapped, str) else mapped
        for fleet in self._fleets.values():
            service = fleet.stand_for(preset)
            if service is not None:
                return service
        kinds = SERVED_BY.get(preset.type, ())
        for kind in ("vision", *kinds) if preset.vision else kinds:
            for service in self.all:
                if kind in service.kinds:
                    return service
        return None

    def _unknown(self, name: str, wanted: PresetType) -> ModelNotFound:
        preset = self._presets.find(name)
        found = self._named(name, preset)
        own = preset.type if preset is not None else None
        if found is not None:
            own = type_of(found)
        if own is None:
            return self._stranger(name, wanted)
        mapped = self._mapping.get(preset.name) if preset is not None else None
        if isinstance(mapped, str):
            return ModelNotFound(
                f"the settings give {name[:64]!r} to {mapped!r}, which no upstream offers now; `yangfan upstreams list` shows why"
            )
        if own == wanted:
            return ModelNotFound(
                f"{name[:64]!r} is a model for {wanted}, and none is served here; start `yangfan serve` with one more"
                " --model (`yangfan models catalogue` lists them)"
            )
        able = _some(service.name for service in self.everywhere if _can(service, wanted))
        return ModelNotFound(
            f"{name[:64]!r} is a model for {own}, not for {wanted}; {wanted} is served by: {able or 'no model'}"
        )

    def _stranger(self, name: str, wanted: PresetType) -> ModelNotFound:
        """For a name that nobody has: the names like it."""
        base = self._services.get(name.partition(":")[0].casefold())
        if base is not None and ":" in name:
            adapters = ", ".join(f"{base.name}:{adapter}" for adapter in base.adapters)
            return ModelNotFound(
                f"{base.name} has no adapter {name.partition(':')[2][:64]!r}; "
                + (f"there are: {adapters}" if adapters else "it has none")
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
            else "."
        )
        served = _some(service.name for service in self.everywhere)
        return ModelNotFound(
            f"no model {name[:64]!r}{hint} Served here: {served}, and every Qianfan {wanted} name such as"
            f" {_EXAMPLES.get(wanted, 'ernie_speed')} (GET /v2/models lists them)"
        )


def _some(names: Iterable[str]) -> str:
    """A list of names for a message, cut where it becomes long."""
    found = list(names)
    more = ["…"] if len(found) > MAX_SHOWN_NAMES else []
    return ", ".join([*found[:MAX_SHOWN_NAMES], *more])


def type_of(service: Service) -> PresetType:
    """What a service is for, first of all."""
    return types_of(service.kinds)[0]


def types_of(kinds: Collection[Kind]) -> list[PresetType]:
    """The types of call that a model of these kinds is made for, the first one first; then those that it can answer, too."""
    own: list[PresetType] = [wanted for wanted, able in SERVED_BY.items() if able[0] in kinds]
    assert own, f"{kinds} answer no type of call"
    return own + [
        wanted for wanted, able in SERVED_BY.items() if wanted not in own and set(able) & set(kinds)
    ]


def _can(service: Service, wanted: PresetType) -> bool:
    return any(kind in service.kinds for kind in SERVED_BY.get(wanted, ()))
