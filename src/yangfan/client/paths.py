"""Paths of v1, which name the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from yangfan.protocol import presets

if TYPE_CHECKING:
    from yangfan.protocol.endpoint import Endpoint


class Paths:
    """From model names to the paths of one endpoint.

    Args:
        endpoint: Its path ends with ``{endpoint}``.
        kinds: What the presets do that are meant; a name of another kind is taken as a service's suffix.
    """

    def __init__(self, endpoint: Endpoint[Any, Any], *kinds: presets.PresetType) -> None:
        """The table of names is read at the first call."""
        self._endpoint = endpoint
        self._kinds = kinds
        self._presets: presets.Presets | None = None

    def of(self, model: str) -> str:
        """The path of a preset by any of its names, else of a service whose suffix is `model`."""
        if self._presets is None:
            self._presets = presets.load()
        preset = self._presets.find(model)
        suffix = preset.suffix if preset is not None and preset.type in self._kinds else model
        return self._endpoint.path.replace("{endpoint}", quote(suffix, safe=""))
