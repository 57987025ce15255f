"""The models of one upstream as services: which names it answers, and what each is for."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from yangfan.server.services import Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.engines.base import Kind
    from yangfan.engines.remote import RemoteEngine
    from yangfan.protocol.presets import Preset, Presets
    from yangfan.server.services import Replica, ServicePolicy
    from yangfan.server.upstreams.types import Upstream

CHAT: Final[frozenset[Kind]] = frozenset({"chat", "vision"})
_KINDS: Final[Mapping[str, frozenset[Kind]]] = {
    "chat": CHAT,
    "completions": CHAT,
    "image2text": CHAT,
    "embeddings": frozenset({"embeddings"}),
    "embedding": frozenset({"embeddings"}),
    "rerank": frozenset({"rerank"}),
    "reranker": frozenset({"rerank"}),
    "images": frozenset({"images"}),
    "text2image": frozenset({"images"}),
}
"""What upstreams, presets and settings call a kind of model."""

_SIGNS: Final[tuple[tuple[str, str], ...]] = (
    ("rerank", "rerank"),
    ("embed", "embeddings"),
    ("bge-", "embeddings"),
    ("tao-8k", "embeddings"),
    ("dall-e", "images"),
    ("gpt-image", "images"),
    ("stable-diffusion", "images"),
    ("flux", "images"),
    ("irag", "images"),
)
"""What in a name tells its kind, where nothing else does."""

MAX_UNLISTED = 1024
"""Names beyond the list that are remembered; callers choose them, so there has to be an end."""


class UpstreamFleet:
    """`yangfan.server.services.Fleet` of one upstream.

    Args:
        upstream: What it is.
        engine: Its engine; one child serves every model.
        replica: The same, kept alive.
        policy: Waiting and overload.
        presets: Qianfan's names.
    """

    def __init__(
        self,
        upstream: Upstream,
        engine: RemoteEngine,
        replica: Replica,
        policy: ServicePolicy,
        presets: Presets,
    ) -> None:
        self.name = upstream.name
        self._upstream = upstream
        self._engine = engine
        self._replica = replica
        self._policy = policy
        self._presets = presets
        self._successors = _successors()
        self._rename = {name.casefold(): there for name, there in upstream.rename.items()}
        self._listed: dict[str, Service] = {}
        self._unlisted: dict[str, Service] = {}
        self.list(upstream.seen)

    def list(self, seen: Sequence[tuple[str, str]]) -> None:
        """Take over what the upstream lists; what the upstream's owner chose stays."""
        types = dict(seen)
        names = self._upstream.models
        offered = list(types) if names is None else names
        listed = {
            name.casefold(): self._service(name, types.get(name, "")) for name in offered if name
        }
        # A service that is still there stays the same object: its calls in flight are counted.
        self._listed = {
            name: known
            if (known := self._listed.get(name)) is not None and known.kinds == service.kinds
            else service
            for name, service in listed.items()
        }

    @property
    def services(self) -> Sequence[Service]:
        """Those to list."""
        return list(self._listed.values())

    def find(self, name: str) -> Service | None:
        """By its own name, a new name for it, or ``UPSTREAM/name``, which reaches models beyond the list, too."""
        folded = name.casefold()
        if folded.startswith(f"{self.name.casefold()}/"):
            rest = name[len(self.name) + 1 :]
            return self._one(self._rename.get(rest.casefold(), rest))
        if folded in self._rename:
            return self._one(self._rename[folded])
        return self._listed.get(folded)

    def stand_for(self, preset: Preset) -> Service | None:
        """The preset's own model: under a new name, under one of its names, or as v2 spells it."""
        if not self._upstream.presets:
            return None
        spelled = preset.v2_name
        spellings = list(dict.fromkeys([spelled, *map(str.casefold, preset.spellings)]))
        for spelling in spellings:
            if spelling in self._rename:
                return self._one(self._rename[spelling], preset.type)
        for spelling in spellings:
            if spelling in self._listed:
                return self._listed[spelling]
        if self._upstream.dialect != "qianfan":
            return None
        return self._one(self._successors.get(spelled, spelled), preset.type)

    def _one(self, model: str, kind: str = "") -> Service | None:
        """A model of the upstream, listed or not; None where its owner offers only what is listed."""
        folded = model.casefold()
        known = self._listed.get(folded) or self._unlisted.get(folded)
        if known is not None or not model:
            return known
        if self._upstream.models is not None and folded not in map(
            str.casefold, self._rename.values()
        ):
            return None
        service = self._service(model, kind)
        if len(self._unlisted) < MAX_UNLISTED:
            self._unlisted[folded] = service
        return service

    def _service(self, model: str, kind: str) -> Service:
        engine = self._engine.for_model(model, self._kinds(model, kind))
        created = self._upstream.created_ms // 1000
        return Service(model, self._replica, self._policy, created=created, remote=engine)

    def _kinds(self, model: str, kind: str) -> frozenset[Kind]:
        said = self._upstream.kinds.get(model) or kind
        if said in _KINDS:
            return _KINDS[said]
        preset = self._presets.find(model)
        if preset is not None:
            return _KINDS[preset.type]
        folded = model.casefold()
        return next((_KINDS[found] for sign, found in _SIGNS if sign in folded), CHAT)


def _successors() -> Mapping[str, str]:
    raw = resources.files("yangfan.server.upstreams").joinpath("qianfan.toml").read_bytes()
    return msgspec.toml.decode(raw, type=dict[str, dict[str, str]])["rename"]
